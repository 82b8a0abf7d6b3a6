"""Feature files, the truncation rule, training batches and evaluation sequences."""

import golden_files
import numpy as np
import pytest

from keras_actionformer.annotations import Video, load_annotations
from keras_actionformer.dataset import (
    evaluation_items,
    segments_to_grid,
    steps_per_epoch,
    train_dataset,
    truncate,
    video_grid,
)
from keras_actionformer.errors import UserError
from keras_actionformer.features import FeatureFiles, videos_with_features

# The reference's items -------------------------------------------------

# Readers that pad; the others resize the features or join several folders.
PADDED_READERS = ("thumos", "epic")


class ReplayedDraws:
    """Gives the random numbers the reference has drawn, and checks that it was asked the same."""

    def __init__(self, calls):
        self.calls = list(calls)

    def integers(self, low, high, endpoint):
        expected_low, expected_high, value = self.calls.pop(0)
        assert endpoint and (low, high) == (expected_low, expected_high)
        return value


def supported(meta, run):
    settings = run["kwargs"]
    return (
        meta["dataset"] in PADDED_READERS
        and isinstance(settings["feat_folder"], str)
        and settings["file_ext"].endswith((".npy", ".npz"))
        and not settings["force_upsampling"]
    )


@pytest.mark.parametrize("path", golden_files.cases("h"))
def test_items_of_the_reference(path):
    golden = golden_files.load(path)
    meta = golden["meta_json"]
    runs = {name: run for name, run in meta["runs"].items() if supported(meta, run)}
    if not runs:
        pytest.skip("a reader that does not pad")
    for name, run in runs.items():
        check_run(path.parent / meta["dataset"], golden, name, run)


def check_run(folder, golden, name, run):
    settings = run["kwargs"]
    annotations = load_annotations(
        folder / settings["json_file"], num_classes=settings["num_classes"], outside="keep"
    )
    assert list(annotations.empty_label_ids()) == run["attributes"]["empty_label_ids"]
    assert all(annotations.class_names[id_] == n for n, id_ in run["label_dict"].items())

    features = FeatureFiles(
        folder / settings["feat_folder"],
        settings["input_dim"],
        prefix=settings["file_prefix"] or "",
        suffix=settings["file_ext"],
    )
    chosen = [v for v in annotations.videos if v.subset.lower() in run["split"]]
    items = evaluation_items(
        videos_with_features(chosen, features),
        features,
        stride_frames=settings["feat_stride"],
        window_frames=settings["num_frames"],
        default_fps=settings["default_fps"],
        downsample_rate=settings["downsample_rate"],
    )
    draws = ReplayedDraws(run.get("randint_calls", []))
    items = list(items)
    assert len(items) == run["n_items"]
    for i, ((video, feats, grid), timing) in enumerate(zip(items, run["items"], strict=True)):
        assert (video.video_id, grid.fps, grid.stride_frames, grid.window_frames) == (
            timing["video_id"], timing["fps"], timing["feat_stride"], timing["feat_num_frames"],
        )  # fmt: skip
        # The reference writes 1e8 for an unknown duration.
        assert (video.duration_sec or 1e8) == pytest.approx(timing["duration"])
        assert bool(len(video.labels)) == timing["has_segments"]
        segments, labels = segments_to_grid(video.segments_sec, grid), video.labels
        if run["is_training"]:
            start, length, kept, segments = truncate(
                len(feats), segments, settings["max_seq_len"], settings["trunc_thresh"],
                grid.offset_grid, settings["crop_ratio"], draws,
            )  # fmt: skip
            feats, labels = feats[start : start + length], labels[kept]
        np.testing.assert_array_equal(feats.T, golden[f"{name}/{i}/feats"])
        if timing["has_segments"]:
            # The reference converts in float32: three roundings of numbers up to a few thousand.
            np.testing.assert_allclose(
                segments, golden[f"{name}/{i}/segments"], rtol=1e-6, atol=1e-5
            )
            np.testing.assert_array_equal(labels, golden[f"{name}/{i}/labels"])
    assert not draws.calls


# Feature files ---------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int16, np.uint8])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_feature_types(tmp_path, dtype, suffix):
    stored = np.arange(12).reshape(4, 3).astype(dtype)
    save_feats(tmp_path / f"x_v{suffix}", stored)
    feats = FeatureFiles(tmp_path, feats_dim=3, prefix="x_", suffix=suffix).load("v")
    assert feats.dtype == np.float32 and feats.flags["C_CONTIGUOUS"] and feats.flags["WRITEABLE"]
    np.testing.assert_array_equal(feats, stored)


def save_feats(path, feats):
    if path.suffix == ".npz":
        np.savez(path, feats=feats)
    else:
        np.save(path, feats)


BAD_VALUE = np.zeros((9, 3))
BAD_VALUE[4, 1] = np.inf
BAD_VALUE[7, 2] = np.nan


@pytest.mark.parametrize(
    "feats,text",
    [
        (np.zeros(3), r"must have the shape \(time steps, channels\), but it is \(3,\)"),
        (np.zeros((1, 3, 4)), r"but it is \(1, 3, 4\)"),
        (np.zeros((0, 3)), r"is empty: its shape is \(0, 3\)"),
        (np.zeros((3, 8)), r"its shape is \(3, 8\); it seems to be transposed"),
        (np.zeros((8, 4)), "must have 3 channels.*correct feats_dim"),
        (np.full((2, 3), "a"), "must hold real numbers"),
        (np.zeros((2, 3), np.complex64), "must hold real numbers"),
        (np.array([[None, "x", 1]], object), "cannot be read as a NumPy array"),
        (BAD_VALUE, r"NaN or infinite value at step 4 \(2 of 9 steps\)"),
        (np.full((5, 3), 1e300), r"NaN or infinite value at step 0 \(5 of 5 steps\)"),
    ],
)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_wrong_features(tmp_path, feats, text, suffix):
    save_feats(tmp_path / f"v{suffix}", feats)
    with pytest.raises(UserError, match=text):
        FeatureFiles(tmp_path, feats_dim=3, suffix=suffix).load("v")


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("keep_bytes", [0, 5, 90, 200])
def test_broken_files(tmp_path, suffix, keep_bytes):
    path = tmp_path / f"v{suffix}"
    save_feats(path, np.ones((50, 3)))
    path.write_bytes(path.read_bytes()[:keep_bytes])
    with pytest.raises(UserError, match=f"v{suffix}' cannot be read"):
        FeatureFiles(tmp_path, suffix=suffix).load("v")


def test_npz_without_feats(tmp_path):
    np.savez(tmp_path / "v.npz", features=np.ones((2, 3)))
    with pytest.raises(UserError, match="no array 'feats', only 'features'"):
        FeatureFiles(tmp_path, suffix=".npz").load("v")


def test_missing_features(tmp_path):
    np.save(tmp_path / "video_0001.npy", np.ones((2, 3)))
    with pytest.raises(UserError, match="holds 1 .*did you mean 'video_0001.npy'"):
        FeatureFiles(tmp_path).load("video_001")
    with pytest.raises(UserError, match="does not exist"):
        FeatureFiles(tmp_path).load("folder/video")
    with pytest.raises(UserError, match="Feature folder '.*none' does not exist"):
        FeatureFiles(tmp_path / "none")
    with pytest.raises(UserError, match="suffix must end in .npy or .npz"):
        FeatureFiles(tmp_path, suffix=".pt")


# Truncation ------------------------------------------------------------


def test_truncation_by_hand():
    # T = 10, window of 4 steps from 3, reach [3 - 1, 7 + 1] = [2, 8].
    segments = np.array([[0, 4], [0, 4.1], [0, 3.9], [5, 6], [7, 9], [8, 9]], np.float32)
    start, length, kept, cut = truncate(10, segments, 4, 0.5, 1.0, None, ReplayedDraws([(0, 6, 3)]))
    assert (start, length) == (3, 4)
    # Inside: 2 of 4, 2.1 of 4.1, 1.9 of 3.9, all, 1 of 2, none.
    np.testing.assert_array_equal(kept, [0, 1, 3, 4])
    np.testing.assert_allclose(cut, [[-1, 1], [-1, 1.1], [2, 3], [4, 5]], rtol=1e-6)
    assert cut.dtype == np.float32


def test_windows_without_an_action_are_drawn_again():
    segments = np.array([[50, 60]], np.float32)
    draws = ReplayedDraws([(0, 90, 0), (0, 90, 80), (0, 90, 52)])
    start, _, kept, cut = truncate(100, segments, 10, 0.5, 0.0, None, draws)
    assert start == 52 and not draws.calls
    np.testing.assert_array_equal(kept, [0])
    np.testing.assert_array_equal(cut, [[0, 8]])


def test_the_last_window_stands_when_none_keeps_an_action():
    segments = np.array([[50, 60]], np.float32)
    draws = ReplayedDraws([(0, 95, 0)] * 199 + [(0, 95, 7)])
    start, length, kept, cut = truncate(100, segments, 5, 0.9, 0.0, None, draws)
    assert (start, length, len(kept)) == (7, 5, 0) and not draws.calls
    assert cut.shape == (0, 2)


def test_a_sequence_without_actions_takes_the_first_window():
    none = np.zeros((0, 2), np.float32)
    start, length, kept, cut = truncate(100, none, 10, 0.5, 1.0, None, ReplayedDraws([(0, 90, 42)]))
    assert (start, length, len(kept), cut.shape) == (42, 10, 0, (0, 2))


def test_short_sequences():
    segments = np.array([[2, 5]], np.float32)
    for crop_ratio, calls in [(None, []), ((0.9, 1.0), [(9, 10, 10)])]:
        start, length, kept, cut = truncate(
            10, segments, 20, 0.5, 1.0, crop_ratio, ReplayedDraws(calls)
        )
        assert (start, length, list(kept)) == (0, 10, [0])
        np.testing.assert_array_equal(cut, segments)
    draws = ReplayedDraws([(9, 10, 9), (0, 1, 1)])
    start, length, _, cut = truncate(10, segments, 20, 0.5, 1.0, (0.9, 1.0), draws)
    assert (start, length) == (1, 9)
    np.testing.assert_array_equal(cut, [[1, 4]])


def test_truncation_equals_a_transcription_over_many_draws():
    """The rule written once more, one segment at a time, on the same random numbers."""
    trials = np.random.default_rng(0)
    shortened = 0
    for trial in range(500):
        feats_len = int(trials.integers(1, 60))
        starts = trials.uniform(-2, feats_len, trials.integers(0, 6))
        ends = starts + trials.uniform(0.2, 40, len(starts))
        segments = np.stack([starts, ends], 1).astype(np.float32)
        max_seq_len, thresh = int(trials.integers(1, 60)), trials.uniform(0.1, 1)
        crop_ratio = None if trial % 2 else (0.5, 1.0)
        offset = float(trials.integers(0, 5)) / 2
        arguments = (feats_len, segments, max_seq_len, thresh, offset, crop_ratio)
        found = truncate(*arguments, np.random.default_rng(trial))
        expected = transcription(*arguments, np.random.default_rng(trial))
        assert found[:2] == expected[:2]
        assert list(found[2]) == expected[2]
        np.testing.assert_allclose(
            found[3], np.reshape(expected[3], (-1, 2)), rtol=1e-6, atol=1e-5
        )
        shortened += found[1] < feats_len
    assert 100 < shortened < 450


def transcription(feats_len, segments, max_seq_len, thresh, offset, crop_ratio, rng):
    whole = (0, feats_len, list(range(len(segments))), segments)
    if feats_len <= max_seq_len:
        if not crop_ratio:
            return whole
        low = max(round(crop_ratio[0] * feats_len), 1)
        max_seq_len = rng.integers(low, min(round(crop_ratio[1] * feats_len), feats_len) + 1)
        if max_seq_len == feats_len:
            return whole
    for _ in range(200):
        first = rng.integers(0, feats_len - max_seq_len + 1)
        kept, cut = [], []
        for i, (begin, end) in enumerate(segments):
            left, right = max(first - offset, begin), min(first + max_seq_len + offset, end)
            if max(right - left, 0) / abs(end - begin) >= thresh:
                kept.append(i)
                cut.append([left - first, right - first])
        if kept or len(segments) == 0:
            break
    return first, max_seq_len, kept, cut


# Training batches ------------------------------------------------------

GRID = dict(stride_frames=10, window_frames=20, default_fps=10)  # One step a second.


@pytest.fixture
def small_set(tmp_path):
    """Seven videos whose features tell the video and the step: value = 1000 * video + step."""
    videos = []
    for i, length in enumerate([5, 8, 12, 20, 33, 7, 9]):
        feats = 1000.0 * i + np.arange(length)[:, None] + np.zeros((1, 3))
        np.save(tmp_path / f"v{i}.npy", feats.astype(np.float32))
        segments = np.array([[1.0, 3.0], [3.5, 5.0], [length - 2.0, length]][: i % 4])
        labels = np.arange(len(segments))
        segments = segments.reshape(-1, 2)
        videos.append(Video(f"v{i}", "training", length + 1.0, None, segments, labels))
    return videos, FeatureFiles(tmp_path)


def batches(dataset):
    return [
        {name: tensor.numpy() for part in batch for name, tensor in part.items()}
        for batch in dataset
    ]


def assert_equal_batches(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_shapes_and_types(small_set):
    videos, features = small_set
    dataset = train_dataset(videos, features, max_seq_len=10, batch_size=2, num_epochs=3, **GRID)
    inputs, targets = dataset.element_spec
    assert {name: (spec.shape.as_list(), spec.dtype.name) for name, spec in inputs.items()} == {
        "feats": ([2, 10, 3], "float32"),
        "mask": ([2, 10], "bool"),
    }
    assert {name: (spec.shape.as_list(), spec.dtype.name) for name, spec in targets.items()} == {
        "segments": ([2, 3, 2], "float32"),
        "labels": ([2, 3], "int32"),
    }
    # Three batches of two in an epoch of seven.
    assert dataset.cardinality().numpy() == 9 == len(batches(dataset))
    assert steps_per_epoch(7, 2) == 3


def test_content_of_every_row(small_set):
    videos, features = small_set
    dataset = train_dataset(
        videos, features, max_seq_len=10, batch_size=2, num_epochs=6, crop_ratio=(0.5, 1), **GRID
    )
    seen = []
    for batch in batches(dataset):
        for feats, mask, segments, labels in zip(
            batch["feats"], batch["mask"], batch["segments"], batch["labels"], strict=True
        ):
            length = mask.sum()
            assert mask[:length].all() and not feats[length:].any()
            index, start = divmod(int(feats[0, 0]), 1000)
            seen.append(index)
            np.testing.assert_array_equal(
                feats[:length, 1], 1000 * index + start + np.arange(length)
            )
            kept = labels[labels >= 0]
            assert (labels[len(kept) :] == -1).all() and not segments[len(kept) :].any()
            whole = videos[index].segments_sec[kept] - 1.0  # to_grid of this grid
            cut = np.clip(whole, start - 1.0, start + length + 1.0) - start
            np.testing.assert_allclose(segments[: len(kept)], cut, atol=1e-5)
    assert set(seen) == set(range(7))


def test_every_epoch_has_its_own_order_and_windows(small_set):
    videos, features = small_set
    found = batches(
        train_dataset(videos, features, max_seq_len=6, batch_size=7, num_epochs=4, **GRID)
    )
    orders = [tuple(int(row[0, 0]) // 1000 for row in batch["feats"]) for batch in found]
    assert all(sorted(order) == list(range(7)) for order in orders)
    assert len(set(orders)) == 4
    firsts = {int(row[0, 0]) for batch in found for row in batch["feats"] if row[0, 0] >= 4000}
    assert len(firsts) > 3


def test_unshuffled_keeps_the_order(small_set):
    videos, features = small_set
    dataset = train_dataset(
        videos, features, max_seq_len=40, batch_size=3, num_epochs=2, shuffle=False, **GRID
    )
    found = [int(row[0, 0]) // 1000 for batch in batches(dataset) for row in batch["feats"]]
    assert found == [0, 1, 2, 3, 4, 5] * 2


@pytest.mark.parametrize("first_epoch", [1, 3, 4])
def test_a_resumed_stream_is_the_tail_of_the_whole(small_set, first_epoch):
    videos, features = small_set
    arguments = dict(max_seq_len=6, batch_size=2, num_epochs=4, crop_ratio=(0.5, 1), seed=5, **GRID)
    whole = batches(train_dataset(videos, features, **arguments))
    rest = train_dataset(videos, features, first_epoch=first_epoch, **arguments)
    assert rest.cardinality().numpy() == 3 * (4 - first_epoch)
    assert_equal_batches(batches(rest), whole[3 * first_epoch :])


def test_the_seed_decides(small_set):
    videos, features = small_set
    arguments = dict(max_seq_len=6, batch_size=2, num_epochs=3, **GRID)
    first = batches(train_dataset(videos, features, seed=1, **arguments))
    assert_equal_batches(batches(train_dataset(videos, features, seed=1, **arguments)), first)
    other = batches(train_dataset(videos, features, seed=2, **arguments))
    assert any((a["feats"] != b["feats"]).any() for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("downsample_rate", [1, 2])
@pytest.mark.parametrize("cache_bytes", [0, 200])
def test_memory_makes_no_difference(small_set, cache_bytes, downsample_rate):
    videos, features = small_set
    arguments = dict(
        max_seq_len=6, batch_size=2, num_epochs=2, downsample_rate=downsample_rate, **GRID
    )
    cached = batches(train_dataset(videos, features, **arguments))
    read = batches(train_dataset(videos, features, cache_bytes=cache_bytes, **arguments))
    assert_equal_batches(read, cached)


def test_one_video_without_actions_among_others(small_set):
    videos, features = small_set
    dataset = train_dataset(videos[:2], features, max_seq_len=20, batch_size=2, **GRID)
    (batch,) = batches(dataset)
    assert sorted(batch["labels"][:, 0]) == [-1, 0]


def test_actions_beyond_the_features_are_left_out(small_set, caplog):
    _, features = small_set
    segments_sec = np.array([[14.5, 15.0], [2.0, 3.0]])  # v2 ends at 13 s.
    late = Video("v2", "training", None, None, segments_sec, np.array([0, 1]))
    with caplog.at_level("WARNING"):
        dataset = train_dataset([late], features, max_seq_len=20, batch_size=1, **GRID)
    assert "1 actions in 1 videos start after the end of the features" in caplog.text
    (batch,) = batches(dataset)
    np.testing.assert_array_equal(batch["labels"], [[1]])
    np.testing.assert_array_equal(batch["segments"], [[[1, 2]]])


def test_features_that_do_not_fit_the_durations(small_set, caplog):
    videos, features = small_set
    arguments = dict(max_seq_len=6, batch_size=2, stride_frames=10, window_frames=20)
    with pytest.raises(UserError, match="7 of 7 videos.*fps or stride_frames is likely wrong"):
        train_dataset(videos, features, default_fps=20, **arguments)
    with caplog.at_level("WARNING"):
        train_dataset(videos, features, default_fps=20, check_durations=False, **arguments)
    assert "7 of 7 videos do not fit" in caplog.text
    caplog.clear()
    with caplog.at_level("WARNING"):
        train_dataset(videos, features, default_fps=10, **arguments)
    assert not caplog.text


@pytest.mark.parametrize(
    "changes,text",
    [
        (dict(batch_size=8), "batch_size is 8 but there are 7 training videos"),
        (dict(batch_size=0), "batch_size is 0"),
        (dict(max_seq_len=0), "max_seq_len must be 1 or more"),
        (dict(trunc_thresh=0), "trunc_thresh must lie in"),
        (dict(crop_ratio=(0.9, 1.1)), "crop_ratio must be"),
        (dict(seed=-1), "seed must be 0 or more"),
        (dict(first_epoch=2), "first_epoch must lie in 0..1"),
        (dict(default_fps=None), "Video 'v0' has no 'fps' in the annotations"),
        (dict(downsample_rate=0), "downsample_rate must be a whole number"),
    ],
)
def test_wrong_arguments(small_set, changes, text):
    videos, features = small_set
    arguments = dict(max_seq_len=6, batch_size=2, **GRID) | changes
    with pytest.raises(UserError, match=text):
        train_dataset(videos, features, **arguments)


def test_wrong_data_is_told_before_training(small_set):
    videos, features = small_set
    arguments = dict(max_seq_len=6, batch_size=1, **GRID)
    with pytest.raises(UserError, match="There is no training video"):
        train_dataset([], features, **arguments)
    with pytest.raises(UserError, match="No training video has an action"):
        train_dataset(videos[:1], features, **arguments)
    np.save(features.path("v3"), np.ones((20, 4)))
    with pytest.raises(UserError, match="has 4 channels but that of 'v0' has 3"):
        train_dataset(videos, features, **arguments)
    np.save(features.path("v3"), BAD_VALUE)
    with pytest.raises(UserError, match="v3.npy' has a NaN or infinite value at step 4"):
        train_dataset(videos, features, **arguments)
    features.path("v5").unlink()
    with pytest.raises(UserError, match="v5.npy' does not exist"):
        train_dataset(videos, features, **arguments)


# Evaluation sequences --------------------------------------------------


def test_evaluation_items(small_set):
    videos, features = small_set
    items = list(evaluation_items(videos, features, downsample_rate=2, **GRID))
    assert [video.video_id for video, _, _ in items] == [f"v{i}" for i in range(7)]
    for i, (video, feats, grid) in enumerate(items):
        np.testing.assert_array_equal(feats, features.load(f"v{i}")[::2])
        assert feats.flags["C_CONTIGUOUS"]
        assert grid == video_grid(video, 10, 20, default_fps=10, downsample_rate=2)


def test_evaluation_checks_come_first(small_set):
    videos, features = small_set
    features.path("v6").unlink()
    with pytest.raises(UserError, match="v6.npy' does not exist"):
        evaluation_items(videos, features, **GRID)
    assert len(videos_with_features(videos, features)) == 6
