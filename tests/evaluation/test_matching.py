"""Matching: overlap checked by hand, and a slow twin that visits detections one by one."""

import numpy as np
import pytest

from keras_actionformer.data.instances import usable_instances
from keras_actionformer.evaluation.average_precision import average_precision
from keras_actionformer.evaluation.evaluation import evaluate_arrays
from keras_actionformer.evaluation.matching import temporal_iou

# The same float64 operations in another order: only the last bits may differ.
EXACT = 1e-9


@pytest.mark.parametrize(
    "segment, other, expected",
    [
        ([0, 2], [1, 4], 1 / 4),  # 1 s shared of 0..4
        ([0, 2], [0, 2], 1.0),
        ([0, 2], [2, 4], 0.0),  # they only touch
        ([0, 8], [2, 4], 2 / 8),  # one inside the other
        ([3, 3], [3, 3], 0.0),  # empty segments overlap nothing, and nothing is divided by 0
    ],
)
def test_temporal_iou(segment, other, expected):
    segment, other = np.array(segment, float), np.array(other, float)
    assert temporal_iou(segment, other) == expected
    assert temporal_iou(other, segment) == expected


# --- a slow twin, written as the protocol is told ------------------------------------------------


def slow_hits(truth, found, threshold):
    """True positives of one class, visiting detections one by one."""
    taken, hits = set(), []
    order = sorted(range(len(found)), key=lambda row: (found[row][2], row), reverse=True)
    for row in order:
        name, segment, _ = found[row]
        wishes = [
            (temporal_iou(segment, other), place)
            for place, (other_name, other) in enumerate(truth)
            if other_name == name and place not in taken
        ]
        best = max(wishes, default=(0.0, None))
        hits.append(best[0] >= threshold)
        if hits[-1]:
            taken.add(best[1])
    return hits


def slow_covered(truth, found, threshold, k):
    """How many instances of one class overlap with one of the k * n best detections of a video."""
    covered = 0
    for name in {name for name, _ in truth}:
        segments = [segment for one, segment in truth if one == name]
        rows = [(score, row, seg) for row, (one, seg, score) in enumerate(found) if one == name]
        rows.sort(key=lambda entry: entry[:2], reverse=True)
        best = [segment for _, _, segment in rows[: k * len(segments)]]
        for segment in segments:
            covered += any(temporal_iou(segment, other) >= threshold for other in best)
    return covered


def random_case(seed):
    """Crowded segments on a coarse grid: many equal scores, equal tIoUs and contested instances."""
    rng = np.random.default_rng(seed)
    grid = lambda count, step: np.sort(rng.integers(0, 12, (count, 2)) * step, axis=1)  # noqa: E731
    gt_segments = grid(40, 1.0) + [0.0, 0.5]
    segments = grid(150, 1.0) + [0.0, 0.5]
    scores = rng.integers(1, 10, 150) / 10
    return (
        (rng.integers(0, 3, 40), gt_segments, rng.integers(0, 2, 40)),
        (rng.integers(-1, 3, 150), segments, rng.integers(0, 3, 150), scores),
    )


@pytest.mark.parametrize("seed", range(20))
def test_equals_the_slow_twin(seed):
    ground_truth, found = random_case(seed)
    keep = usable_instances(*ground_truth)
    thresholds = (0.2, 0.5, 0.8)
    result = evaluate_arrays(*ground_truth, *found, thresholds)
    for column, label in enumerate(result.class_ids):
        of_class = keep & (ground_truth[2] == label)
        truth = list(zip(ground_truth[0][of_class], ground_truth[1][of_class]))
        mine = [(name, seg, score) for name, seg, one, score in zip(*found) if one == label]
        for place, threshold in enumerate(thresholds):
            expected = average_precision(np.array(slow_hits(truth, mine, threshold)), len(truth))
            assert result.ap[place, column] == pytest.approx(expected, abs=EXACT)
            for k, recall in zip(result.recall_at, result.recall[place, :, column]):
                expected = slow_covered(truth, mine, threshold, k) / len(truth)
                assert recall == pytest.approx(expected, abs=EXACT)


def test_blocks_of_pairs_change_nothing(monkeypatch):
    ground_truth, found = random_case(0)
    expected = evaluate_arrays(*ground_truth, *found)
    # One detection has up to 20 pairs here, more than a block.
    monkeypatch.setattr("keras_actionformer.evaluation.matching._BLOCK_PAIRS", 7)
    result = evaluate_arrays(*ground_truth, *found)
    np.testing.assert_array_equal(result.ap, expected.ap)
    np.testing.assert_array_equal(result.recall, expected.recall)


def test_order_of_videos_and_rows_changes_nothing_without_equal_scores():
    rng = np.random.default_rng(3)
    ground_truth, (videos, segments, labels, _) = random_case(3)
    found = (videos, segments, labels, rng.permutation(150) / 150)
    expected = evaluate_arrays(*ground_truth, *found)
    shuffle = rng.permutation(150)
    result = evaluate_arrays(*ground_truth, *(column[shuffle] for column in found))
    np.testing.assert_array_equal(result.ap, expected.ap)
    np.testing.assert_array_equal(result.recall, expected.recall)
