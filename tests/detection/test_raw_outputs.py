"""Raw outputs: `detect` chooses among them, and what follows from them by hand."""

import functools

import numpy as np
import pytest

from helpers.models import CHANNELS, small_model
from keras_actionformer import Detections, FeatureGrid, PostProcess, RawOutputs, UserError
from keras_actionformer.detection import detector
from keras_actionformer.detection.tiles import tile_length

# Every candidate is a detection.
ALL = PostProcess(nms_method="none", pre_nms_topk=10**5, max_seg_num=10**5, pre_nms_thresh=0.2)


def feats_of(num_steps):
    return np.random.default_rng(num_steps).standard_normal((num_steps, CHANNELS), "float32")


def candidates(raw, grid):
    """What `decode` would make of raw outputs: (M, 4) of start, end, score and class, sorted."""
    length_steps = np.diff(raw.segments_sec)[:, 0] * grid.fps / grid.stride_frames
    point, label = np.nonzero(raw.scores > ALL.pre_nms_thresh)
    kept = length_steps[point] > ALL.duration_thresh
    point, label = point[kept], label[kept]
    segments = np.maximum(raw.segments_sec[point], 0)
    return in_order(np.column_stack([segments, raw.scores[point, label], label]))


def in_order(rows):
    return rows[np.lexsort(rows.round(4).T)]


@pytest.mark.parametrize(
    "num_steps, changes",
    [
        (37, {}),
        (64, {"fpn_start_level": 1, "fpn_type": "fpn"}),
        (23, {"n_mha_win_size": -1}),  # which cannot run in tiles
        (30, {"force_upsampling": True, "use_abs_pe": True}),
    ],
)
def test_decoding_by_hand_gives_the_candidates_of_detect(num_steps, changes):
    model = small_model(postprocess=ALL, **changes)
    feats, resized = feats_of(num_steps), model.architecture.resize_to
    grid = model.grid if resized is None else model.grid.resize(num_steps, resized)
    found = model.detect(feats)
    raw = model.raw(feats)
    steps = resized or num_steps
    assert np.bincount(raw.levels).tolist() == [-(-steps // s) for s in model.strides]
    assert raw.class_names == model.class_names and len(raw) == len(raw.points_sec)
    expected = candidates(raw, grid)
    ours = in_order(np.column_stack([found.segments_sec, found.scores, found.labels]))
    assert len(expected) > 20
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)


def test_points_lie_on_the_grid():
    model = small_model()
    raw = model.raw(feats_of(10), fps=50)
    # Steps 0, 4 and 8 at level 2; half a window of 16 frames before each, 50 frames a second.
    np.testing.assert_allclose(raw.points_sec[raw.levels == 2], [0.16, 0.48, 0.80], rtol=1e-6)


def test_long_sequences_run_in_tiles(monkeypatch):
    model, feats = small_model(), feats_of(400)
    whole = model.raw(feats)
    tiles = functools.partial(tile_length, model.architecture)
    monkeypatch.setattr(detector, "tile_length", lambda *_: tiles(160))
    cut = model.raw(feats)
    np.testing.assert_array_equal(cut.points_sec, whole.points_sec)
    np.testing.assert_array_equal(cut.levels, whole.levels)
    np.testing.assert_allclose(cut.scores, whole.scores, atol=1e-5)
    np.testing.assert_allclose(cut.segments_sec, whole.segments_sec, atol=1e-3)


def test_one_or_many():
    model = small_model()
    many = model.raw([feats_of(9), feats_of(12)], fps=[25, 30], grid=FeatureGrid(None, 4, 16))
    alone = model.raw(feats_of(12), fps=30)
    assert isinstance(alone, RawOutputs)
    np.testing.assert_allclose(many[1].segments_sec, alone.segments_sec, atol=1e-5)
    with pytest.raises(UserError, match="does not know the timing"):
        small_model(grid=None).raw(feats_of(9))


def test_nan_is_told():
    model = small_model()
    variable = model.trainable_variables[0]
    variable.assign(np.full(variable.shape, np.nan))
    with pytest.raises(UserError, match=r"NaN or infinite numbers of feats\b"):
        model.raw(feats_of(9))


# Level 0 has points at 0, 1, 2 and 3 s, level 1 at 0 and 2 s.
RAW = RawOutputs(
    points_sec=np.array([0.0, 1, 2, 3, 0, 2]),
    levels=np.array([0, 0, 0, 0, 1, 1]),
    scores=np.array([[0.1], [0.2], [0.3], [0.9], [0.6], [0.4]]),
    segments_sec=np.array([[0, 1], [0.5, 1.5], [1, 3], [2.9, 3.1], [0, 4], [1, 3]]),
)


def test_curves_by_hand():
    times, scores = RAW.score_curve(0)
    assert times.tolist() == [0, 1, 2, 3]
    # The coarse points speak for up to 1 s, which is halfway, and from there on.
    assert scores.tolist() == [0.6, 0.6, 0.4, 0.9]


def test_levels_by_hand():
    found = Detections([[1, 3], [0, 4], [2.9, 3.1]], [0.5, 0.5, 0.5], [0, 0, 0])
    # Two points see 1 to 3 s, and the one of level 1 is surer; but 0 to 4 s with 0.6 counts half.
    assert RAW.levels_of(found).tolist() == [1, 1, 0]
