"""AR@AN: by hand, and against the rule of the ActivityNet challenge written as loops."""

import json

import numpy as np
import pytest

from helpers.crowded_videos import random_case, video
from keras_actionformer import Detections, evaluate


def average_recall(truth, found):
    return evaluate(truth, found, average_recall=True).average_recall


def test_by_hand():
    truth = [video("a", [[0, 10]], [0]), video("b", [[0, 10]], [1]), video("c", [], [])]
    found = {
        "a": Detections([[0, 10], [50, 60], [70, 80]], [0.8, 0.9, 0.1], [1, 0, 0]),
        "b": Detections([[0, 8]], [0.5], [0]),
        # Neither a video without instances nor one that nobody knows counts.
        "c": Detections([[0, 8]], [0.5], [0]),
        "d": Detections([[0, 8]], [0.5], [0]),
    }
    result = average_recall(truth, found)
    # Four proposals in two videos, three quarters of them in a: of one a video on average, a may
    # show 1.5, so 1, and b 0.5, so none; of two, a all three and b its one.
    assert result.recall[:, 0].tolist() == [0] * 10
    # The class does not matter. That of b has a tIoU of 0.8: enough for seven thresholds of ten.
    assert result.recall[:, 1].tolist() == [1] * 7 + [0.5] * 3
    assert result.average_recall[1:] == pytest.approx(0.85)
    # A trapezoid from 0 to 0.85, and 98 of 0.85.
    assert result.auc == pytest.approx((0.85 / 2 + 98 * 0.85) / 100)


def slow_recall(truth, found, tiou_thresholds):
    annotated = [one for one in truth if len(one.labels)]
    total = sum(len(found[one.video_id]) for one in annotated)
    ratio = 100 * float(len(annotated)) / total
    shown = {}
    for one in annotated:
        best = found[one.video_id].top_k(len(found[one.video_id])).segments_sec
        shown[one.video_id] = best[: min(int(len(best) * ratio), len(best))]
    parts = np.arange(1, 101) / 100 * (100 * float(len(annotated)) / sum(map(len, shown.values())))
    recall = np.zeros((len(tiou_thresholds), 100))
    for row, threshold in enumerate(tiou_thresholds):
        for column, part in enumerate(parts):
            hits = 0
            for one in annotated:
                best = shown[one.video_id]
                best = best[: min(int(len(best) * part), len(best))]
                for start, end in one.segments_sec:
                    common = np.minimum(best[:, 1], end) - np.maximum(best[:, 0], start)
                    common = np.maximum(common, 0)
                    union = best[:, 1] - best[:, 0] + end - start - common
                    hits += bool((common / union >= threshold).any())
            recall[row, column] = hits / sum(len(one.labels) for one in annotated)
    return recall


@pytest.mark.parametrize("count", [37, 180])  # fewer and more than 100 a video
def test_equals_the_slow_twin(count):
    truth, found = random_case(2, count=count)
    found["video_0"] = found["video_0"][: count // 2]
    result = average_recall(truth, found)
    np.testing.assert_allclose(result.recall, slow_recall(truth, found, result.tiou_thresholds))


def test_no_proposals():
    truth, _ = random_case(0)
    assert average_recall(truth, {}).auc == 0


def test_forms():
    truth, found = random_case(0)
    plain = evaluate(truth, found)
    result = evaluate(truth, found, average_recall=True)
    assert str(result) == f"{plain}\n{result.average_recall}"
    header, row = str(result.average_recall).splitlines()
    assert header.split() == ["Proposals", "a", "video", "1", "5", "10", "20", "50", "100", "AUC"]
    assert row.split()[-1] == f"{100 * result.average_recall.auc:.2f}"
    content = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert content.pop("average_recall")["auc"] == result.average_recall.auc
    assert content == plain.to_dict()
