"""Splits: whole groups, shares of every class, and their files."""

import collections

import numpy as np
import pytest

from keras_actionformer.data.annotations import Annotations, Video
from keras_actionformer.datasets.splits import load_split, save_split, split_videos, with_split
from keras_actionformer.errors import UserError


def video(name, *labels, subset="all"):
    segments = np.stack([np.arange(len(labels)), np.arange(len(labels)) + 0.5], axis=1)
    return Video(name, subset, 100.0, 25.0, segments.reshape(-1, 2), np.array(labels, np.int64))


def counts(videos, split, num_classes):
    """Actions by subset and class."""
    found = collections.defaultdict(lambda: np.zeros(num_classes, int))
    for one in videos:
        np.add.at(found[split[one.video_id]], one.labels, 1)
    return found


def test_every_subset_has_its_share_of_every_class():
    rng = np.random.default_rng(0)
    videos = [video(f"v{i}", *rng.choice(3, 8, p=[0.7, 0.25, 0.05])) for i in range(60)]
    split = split_videos(videos, {"training": 0.7, "validation": 0.15, "test": 0.15})
    assert list(split) == [one.video_id for one in videos]
    found = counts(videos, split, 3)
    total = sum(found.values())
    for subset, share in (("training", 0.7), ("validation", 0.15), ("test", 0.15)):
        np.testing.assert_allclose(found[subset] / total, share, atol=0.06)


def test_every_subset_has_its_share_of_the_time():
    """Two of twenty videos are long: each half gets one of them."""
    videos = []
    for i in range(20):
        segments = np.array([[0.0, 50.0 if i % 10 == 7 else 10.0], [60.0, 65.0]])
        videos.append(Video(f"v{i}", "all", 100.0, 25.0, segments, np.array([0, 1])))
    for seed in range(10):
        split = split_videos(videos, {"a": 0.5, "b": 0.5}, seed=seed)
        assert collections.Counter(split.values()) == {"a": 10, "b": 10}
        assert {split["v7"], split["v17"]} == {"a", "b"}


def test_a_rare_class_is_in_both_subsets():
    # Only two of ten videos have it: at random, both would often be in one.
    videos = [video(f"v{i}", 0, 0, *([1] if i in (3, 7) else [])) for i in range(10)]
    for seed in range(20):
        found = counts(videos, split_videos(videos, {"a": 0.5, "b": 0.5}, seed=seed), 2)
        assert found["a"][1] == found["b"][1] == 1


def test_a_group_stays_together():
    videos = [video(f"v{i}", i % 2) for i in range(30)]
    groups = {one.video_id: f"subject {i // 3}" for i, one in enumerate(videos)}
    split = split_videos(videos, {"training": 0.8, "validation": 0.2}, groups)
    of_group = collections.defaultdict(set)
    for name, subset in split.items():
        of_group[groups[name]].add(subset)
    assert all(len(subsets) == 1 for subsets in of_group.values())
    assert collections.Counter(split.values()) == {"training": 24, "validation": 6}


def test_a_seed_gives_one_split():
    videos = [video(f"v{i}", 0) for i in range(12)]
    shares = {"training": 0.75, "test": 0.25}
    first = split_videos(videos, shares, seed=1)
    assert first == split_videos(videos, shares, seed=1) != split_videos(videos, shares, seed=2)
    assert collections.Counter(first.values()) == {"training": 9, "test": 3}


@pytest.mark.parametrize("num_videos", [3, 4])
def test_no_subset_is_empty(num_videos):
    videos = [video(f"v{i}") for i in range(num_videos)]  # without any action
    split = split_videos(videos, {"training": 0.98, "validation": 0.01, "test": 0.01})
    assert set(split.values()) == {"training", "validation", "test"}


def test_too_few_groups():
    with pytest.raises(UserError, match="There are 1 groups of videos, too few for 2 subsets"):
        split_videos([video("v0"), video("v1")], {"a": 0.5, "b": 0.5}, {"v0": "x", "v1": "x"})


def test_files(tmp_path):
    split = {"v,1": "training", "Übung": "test"}
    save_split(tmp_path / "split.csv", split)
    assert load_split(tmp_path / "split.csv") == split
    annotations = Annotations((video("v,1"), video("Übung"), video("other")), ())
    found = with_split(annotations, split, "split.csv")
    assert [one.subset for one in found.videos] == ["training", "test", "all"]
    with pytest.raises(UserError, match="'split.csv' names the video 'Übung', which the annot"):
        with_split(Annotations((video("v,1"),), ()), split, "split.csv")


def test_a_split_that_a_spreadsheet_has_saved(tmp_path):
    (tmp_path / "split.csv").write_text("\ufeffvideo;subset\r\nv,1;test\r\n;\r\n")
    assert load_split(tmp_path / "split.csv") == {"v,1": "test"}


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "must begin with the line video,subset"),
        ("v1,training\n", "must begin with the line video,subset"),
        ("video,subset\n" + 200_000 * "v" + ",a\n", "line 2: no valid CSV"),
        ('video,subset\n"v1,a\n', "line 2: no valid CSV"),
        ("video,subset\nv1\n", "line 2: expected a video and its subset, got 'v1'"),
        ("video,subset\nv1,\n", "line 2: expected a video and its subset"),
        ("video,subset\nv1,a\n\nv1,b\n", "line 4: 'v1' has a line already"),
    ],
)
def test_what_is_no_split(tmp_path, text, message):
    (tmp_path / "split.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        load_split(tmp_path / "split.csv")
