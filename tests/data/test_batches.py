"""Items of the reference, training batches of the three length modes, evaluation sequences."""

import dataclasses

import h5py
import numpy as np
import pytest

from helpers import golden_files
from helpers.golden_files import ReplayedDraws
from keras_actionformer.data.annotation_files import load_annotations
from keras_actionformer.data.annotations import Video
from keras_actionformer.data.batches import (
    _aligned_zeros,
    count_items,
    evaluation_items,
    steps_per_epoch,
    told_by_batch,
    train_dataset,
)
from keras_actionformer.data.examples import Sequence, make_items, resize_feats, segments_to_grid
from keras_actionformer.data.features import FeatureFiles, videos_with_features
from keras_actionformer.data.grid import FeatureGrid, Timing
from keras_actionformer.data.windows import Lengths, truncate
from keras_actionformer.errors import UserError

# The reference's items -------------------------------------------------


def reference_runs():
    for case in golden_files.cases("h"):
        for name in golden_files.load(case.values[0])["meta_json"]["runs"]:
            yield pytest.param(case.values[0], name, id=f"{case.id}-{name}")


@pytest.mark.parametrize("path,name", list(reference_runs()))
def test_items_of_the_reference(path, name):
    """Features, timing, segments, labels and order of every item that the reference makes."""
    golden = golden_files.load(path)
    meta = golden["meta_json"]
    run, folder = meta["runs"][name], path.parent / meta["dataset"]
    settings = run["kwargs"]
    agnostic = settings["num_classes"] == 1
    annotations = load_annotations(
        folder / settings["json_file"],
        num_classes=settings["num_classes"],
        class_agnostic=agnostic,
        drop_duplicates=meta["dataset"] in ("anet", "ego4d"),
        outside="keep",
    )
    assert list(annotations.empty_label_ids()) == run["attributes"]["empty_label_ids"]
    if not agnostic:
        assert all(annotations.class_names[id_] == n for n, id_ in run["label_dict"].items())
    folders = settings["feat_folder"]
    features = FeatureFiles(
        [folder / name for name in ([folders] if isinstance(folders, str) else folders)],
        settings["input_dim"],
        prefix=settings["file_prefix"] or "",
        suffix=settings["file_ext"],
    )
    chosen = [v for v in annotations.videos if v.subset.lower() in run["split"]]
    items = list(
        evaluation_items(
            videos_with_features(chosen, features),
            features,
            Timing(
                stride_frames=settings["feat_stride"] if settings["feat_stride"] > 0 else None,
                window_frames=settings["num_frames"],
                fps=settings["default_fps"],
                downsample_rate=settings["downsample_rate"],
            ),
        )
    )
    assert [video.video_id for video, _, _ in items] == [i["video_id"] for i in run["items"]]
    draws = ReplayedDraws(run.get("randint_calls", []))
    for i, ((video, feats, grid), timing) in enumerate(zip(items, run["items"], strict=True)):
        feats, segments, labels, grid = reference_item(run, video, feats, grid, draws)
        assert (grid.fps, grid.stride_frames, grid.window_frames) == pytest.approx(
            (timing["fps"], timing["feat_stride"], timing["feat_num_frames"]), rel=1e-9
        )
        # The reference writes 1e8 for an unknown duration.
        assert (video.duration_sec or 1e8) == pytest.approx(timing["duration"])
        assert bool(len(video.labels)) == timing["has_segments"]
        np.testing.assert_allclose(feats.T, golden[f"{name}/{i}/feats"], rtol=0, atol=1e-5)
        if timing["has_segments"]:
            # The reference converts in float32: three roundings of numbers up to a few thousand.
            np.testing.assert_allclose(
                segments, golden[f"{name}/{i}/segments"], rtol=1e-6, atol=1e-5
            )
            np.testing.assert_array_equal(labels, golden[f"{name}/{i}/labels"])
    assert not draws.calls


def reference_item(run, video, feats, grid, draws):
    """What the network gets of a video in a run of the reference."""
    settings = run["kwargs"]
    num_steps, resize_to, labels = len(feats), None, video.labels
    if settings["force_upsampling"]:
        resize_to = settings["max_seq_len"]
        feats = resize_feats(feats, resize_to)
    if run["is_training"] and len(labels):
        sequence = Sequence(num_steps, *feats.shape, window=None)
        lengths = Lengths(settings["max_seq_len"], settings["trunc_thresh"], resize_to=resize_to)
        (item,) = make_items([video], [sequence], [grid], lengths)
        start, length, kept, segments = truncate(
            item.feats_len, item.segments_grid, settings["max_seq_len"],
            settings["trunc_thresh"], item.offset_grid, settings["crop_ratio"], draws,
        )  # fmt: skip
        feats, labels = feats[start : start + length], item.labels[kept]
    if resize_to is not None:
        grid = grid.resize(num_steps, resize_to)
    if not run["is_training"]:
        segments = segments_to_grid(video.segments_sec, grid)
    return feats, segments, labels, grid


# Training batches ------------------------------------------------------

GRID = dict(stride_frames=10, window_frames=20, fps=10)  # One step a second.


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


def stream(videos, features, first_epoch=0, num_epochs=1, **settings):
    """`train_dataset` with the fields of `Timing` and `Lengths` among its arguments."""
    return train_dataset(
        videos,
        features,
        taken(Timing, settings),
        taken(Lengths, settings),
        epochs=range(first_epoch, num_epochs),
        **settings,
    )


def taken(kind, settings):
    """A dataclass of those of the settings that are its fields; they are removed."""
    names = [field.name for field in dataclasses.fields(kind) if field.name in settings]
    return kind(**{name: settings.pop(name) for name in names})


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
    dataset = stream(videos, features, max_seq_len=10, batch_size=2, num_epochs=3, **GRID)
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
    dataset = stream(
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


def test_batches_as_long_as_needed_hold_the_same(small_set):
    videos, features = small_set
    settings = dict(max_seq_len=16, batch_size=2, num_epochs=4, crop_ratio=(0.5, 1), **GRID)
    expected = batches(stream(videos, features, **settings))
    dataset = stream(
        videos, features, padded_steps=lambda longest: min(longest + 3, 16), **settings
    )
    inputs, targets = dataset.element_spec
    assert inputs["feats"].shape.as_list() == [2, None, 3]
    assert inputs["mask"].shape.as_list() == [2, None]
    assert targets["segments"].shape.as_list() == [2, 3, 2]
    found = batches(dataset)
    lengths = [batch["mask"].shape[1] for batch in found]
    assert len(set(lengths)) > 4
    for batch, whole, length in zip(found, expected, lengths, strict=True):
        assert length == min(batch["mask"].sum(axis=1).max() + 3, 16)
        assert not whole["mask"][:, length:].any()
        whole["feats"], whole["mask"] = whole["feats"][:, :length], whole["mask"][:, :length]
    assert_equal_batches(found, expected)


def test_parts_of_batches_are_rows_of_whole_ones(small_set):
    videos, features = small_set
    settings = dict(max_seq_len=16, batch_size=6, num_epochs=3, crop_ratio=(0.5, 1), **GRID)
    settings["padded_steps"] = lambda longest: longest + 1
    whole = batches(stream(videos, features, **settings))
    parts = [batches(stream(videos, features, part=(i, 3), **settings)) for i in range(3)]
    assert all(len(batch["mask"]) == 2 for part in parts for batch in part)
    together = [
        {name: np.concatenate([batch[name] for batch in step]) for name in step[0]}
        for step in zip(*parts, strict=True)
    ]
    assert_equal_batches(together, whole)


def test_every_epoch_has_its_own_order_and_windows(small_set):
    videos, features = small_set
    found = batches(stream(videos, features, max_seq_len=6, batch_size=7, num_epochs=4, **GRID))
    orders = [tuple(int(row[0, 0]) // 1000 for row in batch["feats"]) for batch in found]
    assert all(sorted(order) == list(range(7)) for order in orders)
    assert len(set(orders)) == 4
    firsts = {int(row[0, 0]) for batch in found for row in batch["feats"] if row[0, 0] >= 4000}
    assert len(firsts) > 3


def test_unshuffled_keeps_the_order(small_set):
    videos, features = small_set
    dataset = stream(
        videos, features, max_seq_len=40, batch_size=3, num_epochs=2, shuffle=False, **GRID
    )
    found = [int(row[0, 0]) // 1000 for batch in batches(dataset) for row in batch["feats"]]
    assert found == [0, 1, 2, 3, 4, 5] * 2


@pytest.mark.parametrize("first_epoch", [1, 3, 4])
def test_a_resumed_stream_is_the_tail_of_the_whole(small_set, first_epoch):
    videos, features = small_set
    arguments = dict(max_seq_len=6, batch_size=2, num_epochs=4, crop_ratio=(0.5, 1), seed=5, **GRID)
    whole = batches(stream(videos, features, **arguments))
    rest = stream(videos, features, first_epoch=first_epoch, **arguments)
    assert rest.cardinality().numpy() == 3 * (4 - first_epoch)
    assert_equal_batches(batches(rest), whole[3 * first_epoch :])


def test_the_seed_decides(small_set):
    videos, features = small_set
    arguments = dict(max_seq_len=6, batch_size=2, num_epochs=3, **GRID)
    first = batches(stream(videos, features, seed=1, **arguments))
    assert_equal_batches(batches(stream(videos, features, seed=1, **arguments)), first)
    other = batches(stream(videos, features, seed=2, **arguments))
    assert any((a["feats"] != b["feats"]).any() for a, b in zip(first, other, strict=True))


def test_without_epochs_each_pass_is_the_next_one(small_set):
    videos, features = small_set
    timing, lengths = Timing(**GRID), Lengths(max_seq_len=8)
    endless = train_dataset(videos, features, timing, lengths, batch_size=4)
    assert endless.cardinality().numpy() == 1  # three of the seven videos sit out an epoch
    seen = set()
    for epoch in range(5):
        one = train_dataset(
            videos, features, timing, lengths, batch_size=4, epochs=range(epoch, epoch + 1)
        )
        found = batches(endless)
        assert_equal_batches(found, batches(one))
        seen |= {int(value // 1000) for batch in found for value in batch["feats"][:, 0, 0]}
    assert seen == set(range(7))


@pytest.mark.parametrize("downsample_rate", [1, 2])
@pytest.mark.parametrize("cache_bytes", [0, 200])
def test_memory_makes_no_difference(small_set, cache_bytes, downsample_rate):
    videos, features = small_set
    arguments = dict(
        max_seq_len=6, batch_size=2, num_epochs=2, downsample_rate=downsample_rate, **GRID
    )
    cached = batches(stream(videos, features, **arguments))
    read = batches(stream(videos, features, cache_bytes=cache_bytes, **arguments))
    assert_equal_batches(read, cached)


def test_one_video_without_actions_among_others(small_set):
    videos, features = small_set
    dataset = stream(videos[:2], features, max_seq_len=20, batch_size=2, **GRID)
    (batch,) = batches(dataset)
    assert sorted(batch["labels"][:, 0]) == [-1, 0]


def test_actions_beyond_the_features_are_left_out(small_set, caplog):
    _, features = small_set
    segments_sec = np.array([[14.5, 15.0], [2.0, 3.0]])  # v2 ends at 13 s.
    late = Video("v2", "training", None, None, segments_sec, np.array([0, 1]))
    with caplog.at_level("WARNING"):
        dataset = stream([late], features, max_seq_len=20, batch_size=1, **GRID)
    assert "1 action in 1 video start after the end of the features" in caplog.text
    (batch,) = batches(dataset)
    np.testing.assert_array_equal(batch["labels"], [[1]])
    np.testing.assert_array_equal(batch["segments"], [[[1, 2]]])


def test_features_that_do_not_fit_the_durations(small_set, caplog):
    videos, features = small_set
    arguments = dict(max_seq_len=6, batch_size=2, stride_frames=10, window_frames=20)
    with pytest.raises(UserError, match="7 of 7 videos.*fps or stride_frames is likely wrong"):
        stream(videos, features, fps=20, **arguments)
    with caplog.at_level("WARNING"):
        stream(videos, features, fps=20, check_durations=False, **arguments)
    assert "7 of 7 videos do not fit" in caplog.text
    caplog.clear()
    with caplog.at_level("WARNING"):
        stream(videos, features, fps=10, **arguments)
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
        (dict(part=(0, 3)), r"part=\(0, 3\) must be .* must divide batch_size=2"),
        (dict(part=(2, 2)), r"part=\(2, 2\) must be \(index, number\) with 0 <= index < number"),
        (dict(first_epoch=2), "first of epochs must lie in 0..1"),
        (dict(fps=None), "Video 'v0' has no 'fps' in the annotations"),
        (dict(downsample_rate=0), "downsample_rate must be a whole number"),
        (dict(feats_dtype="bfloat16"), "feats_dtype must be .* but is 'bfloat16'"),
        (dict(window_steps=7), "window_steps must be at most max_seq_len=6, but it is 7"),
        (dict(window_steps=0), "window_steps must be a whole number"),
        (dict(window_steps=4, window_overlap=1), "window_overlap must lie in"),
        (dict(window_steps=4, resize_to=6), "resized to one length or cut to sliding windows"),
    ],
)
def test_wrong_arguments(small_set, changes, text):
    videos, features = small_set
    arguments = dict(max_seq_len=6, batch_size=2, **GRID) | changes
    with pytest.raises(UserError, match=text):
        stream(videos, features, **arguments)


def test_wrong_data_is_told_before_training(small_set):
    videos, features = small_set
    arguments = dict(max_seq_len=6, batch_size=1, **GRID)
    with pytest.raises(UserError, match="There is no training video"):
        stream([], features, **arguments)
    with pytest.raises(UserError, match="No training video has an action"):
        stream(videos[:1], features, **arguments)
    np.save(features.paths("v3")[0], np.eye(20, 4))
    with pytest.raises(UserError, match="has 4 channels but that of 'v0' has 3"):
        stream(videos, features, **arguments)
    bad_value = np.eye(9, 3)
    bad_value[4, 1] = np.inf
    np.save(features.paths("v3")[0], bad_value)
    with pytest.raises(UserError, match="v3.npy' has a NaN or infinite value at step 4"):
        stream(videos, features, **arguments)
    features.paths("v5")[0].unlink()
    with pytest.raises(UserError, match="v5.npy' does not exist"):
        stream(videos, features, **arguments)


def test_formats_make_no_difference(small_set, tmp_path):
    videos, features = small_set
    (tmp_path / "halves").mkdir()
    with h5py.File(tmp_path / "halves.h5", "w") as file:
        for video in videos:
            feats = features.load(video.video_id)
            np.save(tmp_path / "halves" / f"{video.video_id}.npy", feats[:, :2])
            file[video.video_id] = feats[:, 2:]
    joined = FeatureFiles([tmp_path / "halves", tmp_path / "halves.h5"], feats_dim=(2, 1))
    arguments = dict(max_seq_len=6, batch_size=2, num_epochs=2, downsample_rate=2, **GRID)
    expected = batches(stream(videos, features, **arguments))
    for cache_bytes in (0, 10**6):
        found = stream(videos, joined, cache_bytes=cache_bytes, **arguments)
        assert_equal_batches(batches(found), expected)


@pytest.mark.parametrize("cache_bytes", [0, 200, 10**6])
@pytest.mark.parametrize("resize_to", [None, 6])
def test_features_of_half_the_bytes_are_rounded_ones(small_set, cache_bytes, resize_to):
    videos, features = small_set
    arguments = dict(max_seq_len=6, batch_size=2, num_epochs=2, resize_to=resize_to, **GRID)
    expected = batches(stream(videos, features, **arguments))
    dataset = stream(videos, features, cache_bytes=cache_bytes, feats_dtype="float16", **arguments)
    assert dataset.element_spec[0]["feats"].dtype.name == "float16"
    for batch in expected:
        batch["feats"] = batch["feats"].astype("float16")
    assert any((batch["feats"] % 2).any() for batch in expected)
    assert_equal_batches(batches(dataset), expected)


def test_features_beyond_half_precision_are_refused(small_set):
    videos, features = small_set
    feats = np.eye(9, 3)
    feats[4, 1] = -65_520  # the first that is rounded to infinity
    np.save(features.paths("v3")[0], feats)
    arguments = dict(max_seq_len=6, batch_size=1, **GRID)
    with pytest.raises(UserError, match="v3.npy' has values up to 6.552e.04, beyond 65504, the"):
        stream(videos, features, feats_dtype="float16", **arguments)
    feats[4, 1] = -65_519
    np.save(features.paths("v3")[0], feats)
    stream(videos, features, feats_dtype="float16", **arguments)


@pytest.mark.parametrize(
    "num_items, num_devices, fix",
    [
        (7, 1, "set it to 1..7."),
        (7, 2, "set it to 2..6, a multiple of the 2 devices."),
        (3, 4, "that is too few for 4 devices: train on 3 or fewer."),
    ],
)
def test_a_batch_size_that_is_advised_can_be_shared(num_items, num_devices, fix):
    with pytest.raises(UserError, match=f"there are {num_items} training videos .*; {fix}$"):
        steps_per_epoch(num_items, 8, num_devices)


def test_features_below_half_precision_are_refused(small_set):
    videos, features = small_set
    feats = np.eye(9, 3) * 6.1e-5  # float16 has all its digits from 6.104e-05 on
    np.save(features.paths("v3")[0], feats)
    arguments = dict(max_seq_len=6, batch_size=1, **GRID)
    with pytest.raises(UserError, match="v3.npy' has values of 6.1e-05 at most, but below 6.104e"):
        stream(videos, features, feats_dtype="float16", **arguments)
    stream(videos, features, feats_dtype="float32", **arguments)
    feats[4, 1] = 6.2e-5
    np.save(features.paths("v3")[0], feats)
    stream(videos, features, feats_dtype="float16", **arguments)


@pytest.mark.parametrize("resize_to", [None, 6])
def test_features_that_are_replaced_after_they_were_read(small_set, resize_to):
    videos, features = small_set
    arguments = dict(max_seq_len=6, batch_size=1, cache_bytes=0, resize_to=resize_to, **GRID)
    dataset = stream(videos, features, **arguments)
    path = features.paths("v3")[0]
    feats = np.load(path)
    for other in (feats[:, :1], feats[:2]):  # of one channel NumPy would make three
        np.save(path, other)
        with pytest.raises(Exception, match="had the shape") as caught:  # TensorFlow's own
            batches(dataset)
        told = f"had the shape {feats.shape} when the training began, but has {other.shape} now"
        assert told in told_by_batch(caught.value)


def test_tensorflow_takes_the_features_over_uncopied():
    """TensorFlow copies arrays that do not start at a multiple of 64 bytes."""
    for shape in [(2, 3, 5), (1, 1, 1), (4, 1000, 7)]:
        for dtype in ("float32", "float16"):
            zeros = _aligned_zeros(shape, dtype)
            assert zeros.shape == shape and zeros.dtype == dtype and not zeros.any()
            assert zeros.ctypes.data % 64 == 0 and zeros.flags["C_CONTIGUOUS"]


# Resized sequences -----------------------------------------------------


@pytest.mark.parametrize("cache_bytes", [0, 10**6])
def test_resized_sequences(small_set, cache_bytes):
    videos, features = small_set
    dataset = stream(
        videos, features, max_seq_len=16, batch_size=7, resize_to=16, shuffle=False,
        cache_bytes=cache_bytes, **GRID,
    )  # fmt: skip
    (batch,) = batches(dataset)
    assert batch["mask"].all()
    for i, video in enumerate(videos):
        feats = features.load(video.video_id)
        np.testing.assert_array_equal(batch["feats"][i], resize_feats(feats, 16))
        # All T + 1 seconds that the steps have seen are shared out over the new steps.
        segments = video.segments_sec * 16 / (len(feats) + 1) - 0.5
        np.testing.assert_allclose(batch["segments"][i, : len(segments)], segments, atol=1e-5)


def test_resized_sequences_are_cropped_and_resumed(small_set):
    videos, features = small_set
    arguments = dict(
        max_seq_len=16, batch_size=3, resize_to=16, crop_ratio=(0.5, 1), num_epochs=3, **GRID
    )
    whole = batches(stream(videos, features, **arguments))
    lengths = {int(row.sum()) for batch in whole for row in batch["mask"]}
    assert min(lengths) >= 8 and max(lengths) <= 16 and len(lengths) > 3
    rest = batches(stream(videos, features, first_epoch=1, **arguments))
    assert_equal_batches(rest, whole[2:])


def test_actions_mostly_behind_resized_features_are_left_out(small_set, caplog):
    _, features = small_set
    # v2 has seen 13 s: 2 of 8 s, 3 of 5 s and 2 of 2 s lie in it.
    segments_sec = np.array([[11.0, 19.0], [10.0, 15.0], [2.0, 4.0]])
    late = Video("v2", "training", None, None, segments_sec, np.array([0, 1, 2]))
    with caplog.at_level("WARNING"):
        dataset = stream([late], features, max_seq_len=26, batch_size=1, resize_to=26, **GRID)
    assert "1 action in 1 video start after the end of the features, or lie most" in caplog.text
    (batch,) = batches(dataset)
    np.testing.assert_array_equal(batch["labels"], [[1, 2]])
    np.testing.assert_allclose(batch["segments"], [[[19.5, 26.5], [3.5, 7.5]]], atol=1e-4)


def test_a_duration_shared_out_over_the_steps():
    none = np.zeros((0, 2)), np.zeros(0, int)
    timing = Timing(stride_frames=None, window_frames=16)
    grid = timing.grid_of(Video("v", "training", 40.0, 25.0, *none), num_steps=10)
    assert (grid.step_sec, grid.offset_grid) == (4.0, 0.5)
    unknown_rate = timing.grid_of(Video("v", "training", 40.0, None, *none), num_steps=10)
    assert unknown_rate.to_sec(3.0) == grid.to_sec(3.0) == 14.0
    with pytest.raises(UserError, match="has no 'duration' .* stride_frames=None"):
        timing.grid_of(Video("v", "training", None, 25.0, *none), num_steps=10)


def test_features_of_fixed_length(small_set):
    videos, features = small_set
    arguments = dict(stride_frames=None, window_frames=0, max_seq_len=40, batch_size=7)
    (batch,) = batches(stream(videos, features, shuffle=False, **arguments))
    for i, video in enumerate(videos):
        length = batch["mask"][i].sum()
        segments = video.segments_sec * length / video.duration_sec - 0.5
        np.testing.assert_allclose(batch["segments"][i, : len(segments)], segments, atol=1e-5)


# Sliding windows -------------------------------------------------------


@pytest.mark.parametrize("downsample_rate", [1, 2])
@pytest.mark.parametrize("cache_bytes", [0, 10**6])
def test_every_sliding_window_is_an_item(small_set, cache_bytes, downsample_rate):
    videos, features = small_set
    timing = Timing(downsample_rate=downsample_rate, **GRID)
    lengths = Lengths(max_seq_len=8, window_steps=6, window_overlap=0.5)
    count = count_items(videos, features, timing, lengths)
    dataset = train_dataset(
        videos, features, timing, lengths, batch_size=1, shuffle=False, cache_bytes=cache_bytes
    )
    found = batches(dataset)
    assert len(found) == count == dataset.cardinality().numpy()
    expected = []
    for i, video in enumerate(videos):
        num_steps = -(-int(video.duration_sec - 1) // downsample_rate)
        starts = [*range(0, num_steps - 6, 3), num_steps - 6] if num_steps > 6 else [0]
        expected += [(1000 * i + start * downsample_rate, video, start) for start in starts]
    assert len(found) == len(expected)
    for batch, (value, video, start) in zip(found, expected, strict=True):
        length = batch["mask"].sum()
        np.testing.assert_array_equal(
            batch["feats"][0, :length, 0], value + downsample_rate * np.arange(length)
        )
        labels = batch["labels"][0][batch["labels"][0] >= 0]
        offset = 1.0 / downsample_rate
        whole = video.segments_sec / downsample_rate - offset
        if length < 6 or video.duration_sec - 1 <= 6 * downsample_rate:
            assert len(labels) == len(whole)  # One window holds everything, uncut.
            continue
        cut = np.clip(whole, start - offset, start + length + offset)
        kept = (cut[:, 1] - cut[:, 0]) / (whole[:, 1] - whole[:, 0]) >= 0.5
        np.testing.assert_array_equal(labels, video.labels[kept])
        np.testing.assert_allclose(
            batch["segments"][0, : len(labels)], cut[kept] - start, atol=1e-5
        )


def test_sliding_windows_are_shuffled_and_resumed(small_set):
    videos, features = small_set
    arguments = dict(
        max_seq_len=6, batch_size=2, window_steps=6, window_overlap=0.5, num_epochs=3, **GRID
    )
    whole = batches(stream(videos, features, **arguments))
    lengths = Lengths(max_seq_len=6, window_steps=6, window_overlap=0.5)
    steps = count_items(videos, features, Timing(**GRID), lengths) // 2
    assert len(whole) == 3 * steps
    firsts = [tuple(b["feats"][:, 0, 0]) for b in whole]
    assert firsts[:steps] != firsts[steps : 2 * steps]
    rest = batches(stream(videos, features, first_epoch=2, **arguments))
    assert_equal_batches(rest, whole[2 * steps :])


# Evaluation sequences --------------------------------------------------


def test_evaluation_items(small_set):
    videos, features = small_set
    items = list(evaluation_items(videos, features, Timing(downsample_rate=2, **GRID)))
    assert [video.video_id for video, _, _ in items] == [f"v{i}" for i in range(7)]
    for i, (video, feats, grid) in enumerate(items):
        np.testing.assert_array_equal(feats, features.load(f"v{i}")[::2])
        assert feats.flags["C_CONTIGUOUS"]
        assert grid == FeatureGrid(10, 20, 20)


def test_evaluation_checks_come_first(small_set):
    videos, features = small_set
    features.paths("v6")[0].unlink()
    with pytest.raises(UserError, match="v6.npy' does not exist"):
        evaluation_items(videos, features, Timing(**GRID))
    assert len(videos_with_features(videos, features)) == 6
