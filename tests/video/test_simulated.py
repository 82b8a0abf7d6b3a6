"""Made-up videos: their files are what they say, and what happens in them can be learned."""

import csv
import itertools

import numpy as np
import pytest

from keras_actionformer.data.annotation_files import load_annotations
from keras_actionformer.video.reading import probe, read_frames
from keras_actionformer.video.simulated import BEHAVIOURS, HEIGHT, WIDTH, simulate_videos

pytest.importorskip("av")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    return folder, simulate_videos(folder, num_train=3, num_test=1)


def test_files_have_the_rates_that_people_have(made):
    folder, _ = made
    facts = [probe(path) for path in sorted((folder / "videos").glob("training*"))]
    assert [fact.path.suffix for fact in facts] == [".mp4", ".webm", ".mkv"]
    np.testing.assert_allclose([fact.fps for fact in facts[:2]], [30_000 / 1001, 8], rtol=3e-3)
    assert {(fact.height, fact.width) for fact in facts} == {(HEIGHT, WIDTH)}
    times = np.array([time for time, _ in read_frames(facts[2].path)])
    assert 0.03 < np.diff(times).min() < 0.05 and 0.12 < np.diff(times).max() < 0.15
    assert all(50 < fact.duration_sec < 71 for fact in facts)


def test_the_table_names_the_videos_and_what_happens_in_them(made):
    folder, num_bouts = made
    annotations = load_annotations(folder / "bouts.csv")
    assert sum(len(video.labels) for video in annotations.videos) == num_bouts
    assert set(annotations.class_names) <= set(BEHAVIOURS)
    assert [len(annotations.subset(name)) for name in ("training", "test")] == [3, 1]
    overlaps = 0
    for video in annotations.videos:
        duration_sec = probe(next((folder / "videos").glob(f"{video.video_id}.*"))).duration_sec
        lengths = np.diff(video.segments_sec)
        assert (lengths >= 1.99).all() and (lengths <= 12.01).all()
        assert video.segments_sec.max() < duration_sec
        overlaps += sum(a[1] > b[0] for a, b in itertools.pairwise(video.segments_sec))
    assert overlaps  # of the two shapes


def test_a_larger_set_begins_with_a_smaller_one(made, tmp_path):
    folder, _ = made
    simulate_videos(tmp_path, num_train=1, num_test=1)
    rows = list(csv.reader(open(folder / "bouts.csv", encoding="utf-8")))
    fewer = list(csv.reader(open(tmp_path / "bouts.csv", encoding="utf-8")))
    names = {row[0] for row in fewer[1:]}
    assert [row for row in rows[1:] if row[0] in names] == fewer[1:]
    for name in names:
        pictures = [
            [picture for _, picture in itertools.islice(read_frames(root / "videos" / name), 5)]
            for root in (folder, tmp_path)
        ]
        # FFmpeg rounds otherwise where memory lies otherwise.
        np.testing.assert_allclose(*np.array(pictures, int), atol=10)


def test_another_seed_gives_other_videos(made, tmp_path):
    folder, _ = made
    simulate_videos(tmp_path, num_train=1, num_test=0, seed=1)
    first = next(read_frames(folder / "videos" / "training_00.mp4"))[1]
    assert (first != next(read_frames(tmp_path / "videos" / "training_00.mp4"))[1]).any()
