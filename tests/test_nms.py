"""Suppression: the reference's selections, hand-worked cases, batches, compilation."""

import dataclasses

import keras
import numpy as np
import pytest
from golden_files import cases, load
from reference_model import to_numpy

from keras_actionformer.decode import PostProcess
from keras_actionformer.nms import suppress, vote


def run(segments, scores, labels, settings, valid=None):
    """`suppress` on one sequence; returns arrays cut to the number of detections."""
    # A graph has room for one candidate at least.
    room = max(1, len(scores))
    padded = [np.zeros((1, room, 2), "float32"), np.zeros((1, room), "float32")]
    padded += [np.zeros((1, room), "int32"), np.zeros((1, room), bool)]
    for target, source in zip(
        padded, (segments, scores, labels, np.ones(len(scores), bool)), strict=True
    ):
        target[0, : len(scores)] = source
    if valid is not None:
        padded[3][0] = valid
    *arrays, count = (to_numpy(x)[0] for x in suppress(*padded, settings))
    return [x[:count] for x in arrays]


def settings_of(mode):
    return PostProcess(
        nms_method="soft" if mode["use_soft_nms"] else "hard",
        multiclass_nms=mode["multiclass"],
        nms_sigma=mode["sigma"],
        voting_thresh=mode["voting_thresh"],
        iou_threshold=mode["iou_threshold"],
        min_score=mode["min_score"],
        max_seg_num=mode["max_seg_num"],
    )


def _runs():
    for case in cases("f"):
        golden = load(case.values[0])
        sets = sorted({k.split("/")[0] for k in golden if k.endswith("/scores")})
        for name in sets:
            for mode in golden["meta_json"]["modes"]:
                if f"{name}/{mode}/scores" in golden:
                    yield pytest.param(case.values[0], name, mode, id=f"{name}-{mode}")


@pytest.mark.parametrize("path, name, mode", list(_runs()))
def test_selection_is_the_references(path, name, mode):
    golden = load(path)
    settings = settings_of(golden["meta_json"]["modes"][mode])
    inputs = [golden[f"{name}/{key}"] for key in ("segments", "scores", "labels")]
    segments, scores, labels = run(*inputs, settings)
    expected = {k: golden[f"{name}/{mode}/{k}"] for k in ("segments", "scores", "labels")}
    assert len(scores) == len(expected["scores"])
    np.testing.assert_allclose(scores, expected["scores"], rtol=0, atol=1e-6)
    if len(np.unique(inputs[1])) == len(inputs[1]):
        np.testing.assert_array_equal(labels, expected["labels"])
        np.testing.assert_allclose(segments, expected["segments"], rtol=1e-6, atol=1e-5)
    else:
        # Which of several equal scores comes first is chance there, the first one here: compare
        # the selections as sets, where chance did not change the scores themselves.
        assert (np.diff(scores) <= 0).all()


@pytest.mark.parametrize("path", cases("f"))
def test_voting_is_the_references(path):
    golden = load(path)
    for key, expected in golden.items():
        if not key.startswith("voting/refined_"):
            continue
        refined = vote(
            golden["voting/nms_segments"][None],
            golden["voting/all_segments"][None],
            golden["voting/all_scores"][None],
            float(key.rsplit("_", 1)[1]),
        )
        np.testing.assert_allclose(to_numpy(refined)[0], expected, rtol=1e-6, atol=1e-5)


SEGMENTS = np.array([[0, 10], [0, 10], [5, 15], [20, 30]], "float32")
SCORES = np.array([0.9, 0.8, 0.7, 0.6], "float32")


def test_soft_by_hand():
    settings = PostProcess(nms_sigma=0.5, min_score=0.001, max_seg_num=4)
    labels = np.zeros(4, "int32")
    segments, scores, _ = run(SEGMENTS, SCORES, labels, settings)
    # After the first pick: tIoU 1 -> 0.8 e^-2 = 0.108, tIoU 5/15 -> 0.7 e^-2/9 = 0.561, none ->
    # 0.6. Then [20, 30], then [5, 15], whose tIoU of 1/3 with the second weakens it again.
    expected = [0.9, 0.6, 0.7 * np.exp(-2 / 9), 0.8 * np.exp(-2 - 2 / 9)]
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    assert segments[:, 0].tolist() == [0, 20, 5, 0]


def test_classes_do_not_touch_unless_agnostic():
    labels = np.array([0, 1, 2, 3], "int32")
    _, scores, _ = run(SEGMENTS, SCORES, labels, PostProcess(min_score=0.001))
    np.testing.assert_array_equal(scores, SCORES)
    agnostic = PostProcess(min_score=0.001, multiclass_nms=False, voting_thresh=0.0)
    _, scores, labels = run(SEGMENTS, SCORES, labels, agnostic)
    assert labels.tolist() == [0, 3, 2, 1] and scores[3] < 0.1


def test_hard_by_hand():
    settings = PostProcess(nms_method="hard", iou_threshold=0.3, min_score=0.65)
    segments, scores, _ = run(SEGMENTS, SCORES, np.zeros(4, "int32"), settings)
    # 1 repeats 0, 2 overlaps it by 1/3, 3 scores too low.
    assert scores.tolist() == [SCORES[0]]
    settings = dataclasses.replace(settings, iou_threshold=0.5, min_score=0.0)
    segments, _, _ = run(SEGMENTS, SCORES, np.zeros(4, "int32"), settings)
    assert segments[:, 0].tolist() == [0, 5, 20]


def test_the_best_of_a_class_is_kept_however_low():
    settings = PostProcess(min_score=0.5)
    _, scores, labels = run(SEGMENTS, SCORES / 10, np.array([0, 0, 1, 1], "int32"), settings)
    np.testing.assert_allclose(scores, [0.09, 0.07], rtol=1e-6)
    assert labels.tolist() == [0, 1]


def test_equal_scores_keep_their_order():
    settings = PostProcess(min_score=0.001)
    segments = np.arange(10, dtype="float32")[:, None] * 100 + [0, 10]
    kept, _, _ = run(segments, np.full(10, 0.5, "float32"), np.zeros(10, "int32"), settings)
    np.testing.assert_array_equal(kept, segments)


def test_none_keeps_valid_candidates_in_order():
    settings = PostProcess(nms_method="none", max_seg_num=1)
    _, scores, labels = run(
        SEGMENTS, SCORES[::-1], np.arange(4), settings, valid=[True, False, True, True]
    )
    np.testing.assert_array_equal(scores, SCORES[::-1][[0, 2, 3]])
    assert labels.tolist() == [0, 2, 3]


def test_zero_length_segments_vote_without_nan():
    segments = np.array([[3, 3], [3, 3], [8, 9]], "float32")
    settings = PostProcess(multiclass_nms=False, voting_thresh=0.7, min_score=0.0)
    kept, scores, _ = run(segments, SCORES[:3], np.zeros(3, "int32"), settings)
    assert np.isfinite(kept).all() and np.isfinite(scores).all()
    assert sorted(kept[:, 0].tolist()) == [3, 3, 8]


def _random_batch(rows=3, count=150):
    rng = np.random.default_rng(0)
    start = rng.uniform(0, 100, (rows, count, 1))
    segments = np.concatenate([start, start + rng.uniform(1, 30, (rows, count, 1))], -1)
    scores = rng.permutation(rows * count).reshape(rows, count) / (rows * count)
    labels = rng.integers(0, 4, (rows, count))
    valid = np.arange(count) < np.array([[count], [count // 3], [0]])
    return segments.astype("float32"), scores.astype("float32"), labels.astype("int32"), valid


ALL_MODES = [
    PostProcess(nms_method=method, multiclass_nms=multi, min_score=0.05, max_seg_num=40)
    for method in ("soft", "hard", "none")
    for multi in (True, False)
]


@pytest.mark.parametrize("settings", ALL_MODES, ids=lambda s: f"{s.nms_method}{s.multiclass_nms}")
def test_batch_equals_single(settings):
    batch = _random_batch()
    together = [to_numpy(x) for x in suppress(*batch, settings)]
    for row in range(3):
        alone = [to_numpy(x) for x in suppress(*(x[row : row + 1] for x in batch), settings)]
        for a, b in zip(together, alone, strict=True):
            # The last bit of exp depends on where a number lies in a vector register.
            np.testing.assert_allclose(a[row], b[0], rtol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="compiles with TensorFlow")
@pytest.mark.parametrize("settings", ALL_MODES, ids=lambda s: f"{s.nms_method}{s.multiclass_nms}")
def test_compiled_equals_eager(settings):
    import tensorflow as tf

    batch = _random_batch()
    eager = [to_numpy(x) for x in suppress(*batch, settings)]
    for jit in (False, True):
        compiled = tf.function(lambda *x: suppress(*x, settings), jit_compile=jit)(*batch)
        for a, b in zip(eager, compiled, strict=True):
            np.testing.assert_allclose(a, to_numpy(b), rtol=1e-6, atol=1e-6)
