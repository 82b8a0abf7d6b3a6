"""Suppression: the reference's selections, hand-worked cases, batches, compilation."""

import dataclasses

import keras
import numpy as np
import pytest

from helpers.golden_files import cases, load
from helpers.models import to_numpy
from keras_actionformer.detection.postprocess import PostProcess
from keras_actionformer.detection.suppression import suppress, vote


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


def test_other_ways_of_making_scores_fall_by_hand():
    def scores_by(method, **changes):
        settings = PostProcess(nms_method=method, min_score=0.001, max_seg_num=4, **changes)
        return run(SEGMENTS, SCORES, np.zeros(4, "int32"), settings)[1]

    # 1 - 1 leaves nothing of the second; the third, 1/3 inside of the first, keeps 2/3 of 0.7.
    scores = scores_by("linear", iou_threshold=0.3)
    np.testing.assert_allclose(scores, [0.9, 0.6, 0.7 * 2 / 3], rtol=1e-5)
    np.testing.assert_allclose(scores_by("linear", iou_threshold=0.5), [0.9, 0.7, 0.6], rtol=1e-5)
    np.testing.assert_allclose(scores_by("vanilla", iou_threshold=0.3), [0.9, 0.6], rtol=1e-5)
    # A limit of 0.3 + 0.01 * 10 steps: the third, with 1/3, stays as it is.
    scores = scores_by("improved", iou_threshold=0.3, iou_threshold_per_step=0.01)
    np.testing.assert_allclose(scores, [0.9, 0.7, 0.6, 0.8 * np.exp(-2)], rtol=1e-5)


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


def plain_suppression(segments, scores, labels, settings):
    """Soft or hard NMS of one class after the other, then a sort and a cut: indices, scores."""
    soft, kept = settings.nms_method == "soft", []
    starts, ends = segments.T
    lengths = ends - starts + np.float32(1e-6)
    for label in np.unique(labels) if settings.multiclass_nms else [None]:
        left = np.flatnonzero((labels == label) | (label is None))
        current = scores.copy()
        if not soft and settings.min_score > 0:
            left = left[scores[left] > settings.min_score]
        while len(left):
            best = left[np.argmax(current[left])]
            kept.append((-current[best], best))
            left = left[left != best]
            overlap = np.minimum(ends[best], ends[left]) - np.maximum(starts[best], starts[left])
            overlap = np.maximum(overlap, 0)
            tiou = overlap / (lengths[best] + lengths[left] - overlap)
            if soft:
                current[left] *= np.exp(-(tiou**2) / settings.nms_sigma)
                left = left[current[left] >= settings.min_score]
            else:
                left = left[tiou < settings.iou_threshold]
    kept = sorted(kept)[: settings.max_seg_num]
    return np.array([i for _, i in kept], int), np.array([-s for s, _ in kept])


def plain_voting(segments, all_segments, all_scores, threshold):
    """One segment after the other, in float64."""
    voted = segments.astype("float64")
    starts, ends = all_segments.T.astype("float64")
    for i, (start, end) in enumerate(segments.astype("float64")):
        overlap = np.maximum(np.minimum(end, ends) - np.maximum(start, starts), 0)
        tiou = overlap / (end - start + ends - starts - overlap)
        weights = np.where(tiou >= threshold, tiou * all_scores, 0)
        voted[i] = weights @ starts / weights.sum(), weights @ ends / weights.sum()
    return voted


def _random_candidates(seed, count, num_classes, span, ties):
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, span, count)
    segments = np.stack([start, start + rng.uniform(1, 30, count)], axis=1).astype("float32")
    scores = rng.beta(1, 3, count)
    scores = np.ceil(scores * 8) / 8 if ties else scores
    return segments, scores.astype("float32"), rng.integers(0, num_classes, count, "int32")


@pytest.mark.parametrize("multiclass", [True, False])
@pytest.mark.parametrize(
    "method, min_score, ties",
    [("soft", 0.0, False), ("soft", 0.1, False), ("hard", 0.1, False), ("hard", 0.0, True)],
)  # equal scores weakened by nearly nothing are ordered by their last bit
@pytest.mark.parametrize(
    "count, num_classes, span, max_seg_num",
    [
        (1, 1, 100, 5),
        (20, 3, 100, 30),  # more slots than candidates
        (40, 30, 50, 15),  # hardly a class has two
        (300, 4, 3000, 7),  # few overlap: the pool is enough
        (300, 2, 20, 12),  # nearly all overlap: it is not
        (400, 1, 300, 14),
    ],
)
def test_random_candidates_as_by_plain_suppression(
    count, num_classes, span, max_seg_num, method, min_score, ties, multiclass
):
    settings = PostProcess(
        nms_method=method,
        multiclass_nms=multiclass,
        iou_threshold=0.37,
        min_score=min_score,
        max_seg_num=max_seg_num,
        voting_thresh=0.6,
    )
    candidates = _random_candidates(count + num_classes, count, num_classes, span, ties)
    index, expected = plain_suppression(*candidates, settings)
    segments, scores, labels = run(*candidates, settings)
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    np.testing.assert_array_equal(labels, candidates[2][index])
    expected = candidates[0][index]
    if not multiclass:
        expected = plain_voting(expected, *candidates[:2], settings.voting_thresh)
    np.testing.assert_allclose(segments, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("method", ["soft", "hard"])
def test_a_pool_of_the_best_is_not_taken_for_all(method):
    """Of a hundred repetitions of the best segment one is left: the next best are all others."""
    repeated = np.tile(np.array([[0, 10]], "float32"), (100, 1))
    apart = np.arange(1, 5, dtype="float32")[:, None] * 20 + [0, 10]
    segments = np.concatenate([apart, repeated]).astype("float32")
    scores = np.array([0.4, 0.3, 0.2, 0.5] + 100 * [0.9], "float32")
    settings = PostProcess(nms_method=method, max_seg_num=5, min_score=0.15)
    kept, scores, _ = run(segments, scores, np.zeros(104, "int32"), settings)
    np.testing.assert_array_equal(kept[:, 0], [0, 80, 20, 40, 60])
    np.testing.assert_allclose(scores, [0.9, 0.5, 0.4, 0.3, 0.2], rtol=1e-6)


def test_a_pool_of_equal_scores_is_not_taken_for_all():
    segments = np.arange(200, dtype="float32")[:, None] * 100 + [0, 10]
    scores = np.full(200, 0.5, "float32")
    scores[150] = 0.6
    kept, _, _ = run(segments, scores, np.zeros(200, "int32"), PostProcess(max_seg_num=5))
    np.testing.assert_array_equal(kept, segments[[150, 0, 1, 2, 3]])


def test_what_is_gone_stays_so_where_scores_fall_to_zero():
    """exp(-tIoU^2 / sigma) is 0 in float32: such candidates come last, each once."""
    segments = np.tile(np.array([[0, 10]], "float32"), (6, 1))
    scores = np.linspace(0.9, 0.4, 6).astype("float32")
    for min_score in (0.0, -2.0):
        settings = PostProcess(nms_sigma=1e-4, min_score=min_score, max_seg_num=10)
        _, kept, labels = run(segments, scores, np.zeros(6, "int32"), settings)
        np.testing.assert_allclose(kept, [0.9, 0, 0, 0, 0, 0], rtol=1e-6)


@pytest.mark.parametrize("count", [1, 255, 256, 257, 700])
def test_voting_by_any_number(count):
    rng = np.random.default_rng(count)
    segments, scores, _ = (
        np.stack(x) for x in zip(*(_random_candidates(i, count, 1, 50, False) for i in (1, 2)))
    )
    chosen = rng.integers(0, count, 20)
    voted = to_numpy(vote(segments[:, chosen], segments, scores, 0.7))
    for row in range(2):
        expected = plain_voting(segments[row, chosen], segments[row], scores[row], 0.7)
        np.testing.assert_allclose(voted[row], expected, rtol=1e-5)


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
        run = tf.function(lambda *x: suppress(*x, settings), jit_compile=jit, autograph=False)
        for a, b in zip(eager, run(*batch), strict=True):
            np.testing.assert_allclose(a, to_numpy(b), rtol=1e-6, atol=1e-6)
