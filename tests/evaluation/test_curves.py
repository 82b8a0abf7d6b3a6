"""Precision, recall and F1 over thresholds: by hand, and against those at one threshold."""

import json

import numpy as np
import pytest

from helpers.crowded_videos import random_case, video
from keras_actionformer import Detections, analyze
from keras_actionformer.evaluation.curves import Curve
from keras_actionformer.evaluation.score_thresholds import score_above

TRUTH = [video("a", [[0, 10], [20, 30], [40, 50]], [0, 0, 0])]
FOUND = {
    # Found, wrong and found with the same score, wrong; a class that nobody knows.
    "a": Detections(
        [[0, 10], [60, 70], [20, 30], [80, 90], [0, 10]], [0.9, 0.8, 0.8, 0.3, 0.5], [0, 0, 0, 0, 1]
    )
}


def test_by_hand():
    curves = analyze(TRUTH, FOUND).curves
    known, unknown = curves.classes
    assert known.name == "class_0" and known.label_id == 0 and known.num_ground_truth == 3
    assert known.thresholds.tolist() == [0.9, 0.8, 0.3]
    np.testing.assert_allclose(known.precision, [1, 2 / 3, 2 / 4])
    np.testing.assert_allclose(known.recall, [1 / 3, 2 / 3, 2 / 3])
    np.testing.assert_allclose(known.f1, [2 / 4, 4 / 6, 4 / 7])
    assert unknown.precision.tolist() == [0] and np.isnan(unknown.recall).all()
    assert curves.all_classes.thresholds.tolist() == [0.9, 0.8, 0.5, 0.3]
    np.testing.assert_allclose(curves.all_classes.precision, [1, 2 / 3, 2 / 4, 2 / 5])


@pytest.mark.parametrize("seed", range(3))
def test_each_point_is_what_is_found_from_there_on(seed):
    truth, found = random_case(seed)
    curves = analyze(truth, found).curves
    for place in (0, 50, 200, -1):
        threshold = float(curves.all_classes.thresholds[place])
        expected = score_above(truth, found, threshold)
        assert curves.all_classes.precision[place] == expected.precision
        assert curves.all_classes.recall[place] == expected.recall
        assert curves.all_classes.f1[place] == expected.f1
    for column, curve in enumerate(curves.classes):
        threshold = float(curve.thresholds[30])
        expected = score_above(truth, found, threshold)
        assert curve.precision[30] == expected.right[column] / expected.found[column]


def test_thinned_curves_keep_their_shape():
    rng = np.random.default_rng(0)
    scores = np.sort(rng.beta(0.3, 2, 8000))[::-1]
    hits = rng.random(8000) < scores
    right, found = np.cumsum(hits), np.arange(1, 8001)
    curve = Curve(
        "all", None, 1200, scores, right / found, right / 1200, 2 * right / (found + 1200)
    )
    thin = curve.thinned()
    assert 100 < len(thin) <= 203
    assert thin.f1.max() == curve.f1.max()
    assert thin.thresholds[0] == scores[0] and thin.thresholds[-1] == scores[-1]
    for name in ("precision", "recall", "f1"):
        drawn = np.interp(scores[::-1], thin.thresholds[::-1], getattr(thin, name)[::-1])
        assert abs(drawn - getattr(curve, name)[::-1]).max() < 0.03
    assert thin.thinned() is not None and curve.thinned(8000) is curve


def test_forms():
    curves = analyze(TRUTH, FOUND).curves
    lines = [line.split() for line in str(curves).splitlines()]
    assert ["class_0", "3", "0.800", "66.67", "66.67", "66.67"] in lines
    assert ["class_1", "0", "0.500", "0.00", "-", "0.00"] in lines
    content = json.loads(json.dumps(curves.to_dict(), allow_nan=False))
    assert content["classes"][0]["precision"] == [1, 0.66667, 0.5]
    assert content["classes"][1]["recall"] == [None] and content["all"]["label_id"] is None
    lines = [line.split() for line in str(analyze(TRUTH, {}).curves).splitlines()]
    assert ["all", "3", "-", "-", "-", "-"] in lines


def test_to_pandas():
    pytest.importorskip("pandas")
    assert len(analyze(TRUTH, FOUND).curves.to_pandas()) == 3 + 1 + 4
