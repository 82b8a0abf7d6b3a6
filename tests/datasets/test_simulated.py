"""The made-up data set: its form, its repeatability, and that single steps do not solve it."""

import dataclasses

import numpy as np
import pytest

from helpers.programs import run_program
from keras_actionformer.data.annotation_files import load_annotations
from keras_actionformer.data.annotations import Annotations, Video
from keras_actionformer.data.features import FeatureFiles
from keras_actionformer.data.grid import FeatureGrid
from keras_actionformer.datasets import simulated
from keras_actionformer.datasets.simulated import simulate_dataset, simulate_features
from keras_actionformer.errors import UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated")
    simulate_dataset(folder, num_train=30, num_test=6, seed=3)
    return folder


def test_files(folder):
    annotations = load_annotations(folder / "annotations.json")
    assert annotations.class_names == tuple(simulated.CLASSES)
    assert len(annotations.subset("training")) == 30 and len(annotations.subset("test")) == 6
    assert annotations.empty_label_ids("training") == ()
    features = FeatureFiles(folder / "feats", feats_dim=simulated.FEATS_DIM)
    for video in annotations.videos:
        assert 120 <= video.duration_sec <= 360 and video.fps == simulated.FPS
        # The windows that lie in the sequence wholly.
        frames = round(video.duration_sec * simulated.FPS)
        steps = (frames - simulated.WINDOW_FRAMES) // simulated.STRIDE_FRAMES + 1
        assert len(features.load(video.video_id)) == steps


def test_actions(folder):
    videos = load_annotations(folder / "annotations.json").videos
    lengths = np.concatenate([np.diff(v.segments_sec, axis=1)[:, 0] for v in videos])
    assert lengths.min() > 0.99 and lengths.max() < 120.01
    # Log-uniform: half of all are shorter than the geometric mean of 1 and 120 s.
    assert 6 < np.median(lengths) < 16
    overlaps = 0
    for video in videos:
        for i, (start, end) in enumerate(video.segments_sec):
            others = np.delete(video.segments_sec, i, axis=0)
            meets = (others[:, 0] < end) & (others[:, 1] > start)
            overlaps += meets.sum()
            assert video.labels[i] not in np.delete(video.labels, i)[meets]
        times = np.concatenate([video.segments_sec[:, 0], video.segments_sec[:, 0] + 1e-6])
        running = (video.segments_sec[:, 0] <= times[:, None]) & (
            times[:, None] < video.segments_sec[:, 1]
        )
        assert running.sum(axis=1).max() <= simulated.MAX_OVERLAP
    assert overlaps > 50


def test_classes_share_their_signatures():
    triples = list(simulated.CLASSES.values())
    assert len(set(triples)) == len(triples)
    for position, count in enumerate(simulated.NUM_SIGNATURES):
        used = [triple[position] for triple in triples]
        assert set(used) == set(range(count))
        assert sum(used.count(i) > 1 for i in range(count)) >= 2


def test_the_seed_decides(tmp_path):
    def contents(name, **arguments):
        simulate_dataset(tmp_path / name, **arguments)
        paths = sorted((tmp_path / name).rglob("*.*"))
        return {path.name: path.read_bytes() for path in paths}

    first = contents("a", num_train=2, num_test=1, seed=1)
    assert contents("b", num_train=2, num_test=1, seed=1) == first
    other = contents("c", num_train=2, num_test=1, seed=2)
    assert other.keys() == first.keys() and all(other[name] != first[name] for name in first)
    larger = contents("d", num_train=3, num_test=2, seed=1)
    assert all(larger[name] == first[name] for name in first if name.endswith(".npy"))


def test_a_linear_classifier_of_single_steps_fails(folder):
    """Least squares learns something from 30 sequences, but marks no class well in 6 others."""
    annotations = load_annotations(folder / "annotations.json")
    features = FeatureFiles(folder / "feats")
    inputs, targets = {}, {}
    for subset in ("training", "test"):
        videos = annotations.subset(subset)
        feats = [features.load(video.video_id) for video in videos]
        inputs[subset] = np.concatenate([np.c_[x, np.ones(len(x))] for x in feats])
        targets[subset] = np.concatenate(
            [steps_of(video, len(x)) for video, x in zip(videos, feats, strict=True)]
        )
    weights = np.linalg.lstsq(inputs["training"], targets["training"])[0]
    scores, truth = inputs["test"] @ weights, targets["test"]
    best = [
        max(f1(scores[:, label] > limit, truth[:, label]) for limit in np.arange(0, 1, 0.05))
        for label in range(truth.shape[1])
    ]
    assert 0.3 < np.mean(best) < 0.75


def steps_of(video, length):
    grid = FeatureGrid(simulated.FPS, simulated.STRIDE_FRAMES, simulated.WINDOW_FRAMES)
    times = grid.to_sec(np.arange(length))
    steps = np.zeros((length, len(simulated.CLASSES)), bool)
    for (start, end), label in zip(video.segments_sec, video.labels, strict=True):
        steps[(times >= start) & (times <= end), label] = True
    return steps


def f1(found, truth):
    return 2 * (found & truth).sum() / max(found.sum() + truth.sum(), 1)


def test_program(tmp_path):
    done = run_program(tmp_path, "simulate", "--output=out")
    assert done.returncode == 0 and "Wrote 120 sequences" in done.stdout
    size = sum(path.stat().st_size for path in (tmp_path / "out").rglob("*.*") if path.is_file())
    assert size < 30e6


def test_features_for_real_annotations(tmp_path):
    videos = (
        Video("a", "training", 10.0, 25.0, np.array([[2.0, 4.0]]), np.array([1])),
        Video("b", "test", 0.1, 30.0, np.zeros((0, 2)), np.zeros(0, int)),
    )
    annotations = Annotations(videos, ("walk", "run"))
    told = []
    simulate_features(
        annotations, tmp_path, FeatureGrid(None, 5, 10), feats_dim=400, progress=told.append
    )
    # 250 frames hold the windows that start at 0, 5, ..., 240.
    feats = FeatureFiles(tmp_path, feats_dim=400).load("a")
    assert feats.shape == (49, 400)
    assert FeatureFiles(tmp_path).load("b").shape == (1, 400)
    assert told == ["  1/2 a: 49 steps", "  2/2 b: 1 steps"]
    # Two seconds in are step 9, four are step 19: these, and no others, show the class.
    energy = np.square(feats).mean(axis=1)
    direction = feats[9:20].mean(axis=0) - feats[25:].mean(axis=0)
    seen = feats @ direction
    assert seen[9:20].min() > seen[25:].max() and seen[9:20].min() > seen[:9].max()
    assert 0.8 < energy.mean() < 1.4
    again = tmp_path / "again"
    simulate_features(
        annotations, again, FeatureGrid(25, 5, 10), feats_dim=400, progress=told.append
    )
    np.testing.assert_array_equal(np.load(again / "a.npy"), np.load(tmp_path / "a.npy"))
    with pytest.raises(UserError, match="'b' has no duration"):
        simulate_features(
            Annotations((dataclasses.replace(videos[1], duration_sec=None),), ("walk",)),
            tmp_path / "none",
            FeatureGrid(None, 5, 10),
            feats_dim=4,
        )


@pytest.mark.parametrize("video_id", ["../../x", "/tmp/x", "a/../../x"])
def test_features_are_written_into_their_folder_alone(tmp_path, video_id):
    video = Video(video_id, "test", 60.0, 30.0, np.zeros((0, 2)), np.zeros(0, int))
    sound = dataclasses.replace(video, video_id="v")
    with pytest.raises(UserError, match="leads out of"):
        simulate_features(
            Annotations((sound, video), ("a",)), tmp_path / "x" / "feats", FeatureGrid(30, 8, 16), 4
        )
    assert not list(tmp_path.rglob("*"))  # told before anything is written
