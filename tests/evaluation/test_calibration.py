"""Whether scores are probabilities, by hand."""

import json

import numpy as np
import pytest

from helpers.crowded_videos import video
from keras_actionformer import Detections, analyze

TRUTH = [video("a", [[0, 10], [20, 30]], [0, 0])]


def found(*scores):
    """The first instance, the same again, nothing, the second instance."""
    return {"a": Detections([[0, 10], [0, 9], [50, 60], [20, 30]], scores, [0] * 4)}


def test_by_hand():
    result = analyze(TRUTH, found(0.96, 0.94, 0.12, 0.1)).calibration
    # 0.1 is in the bin that begins there.
    assert result.num_detections.tolist() == [0, 2, 0, 0, 0, 0, 0, 0, 0, 2]
    assert result.num_right.tolist() == [0, 1, 0, 0, 0, 0, 0, 0, 0, 1]
    np.testing.assert_allclose(result.mean_scores[[1, 9]], [0.11, 0.95])
    np.testing.assert_array_equal(result.precision[[0, 1, 9]], [np.nan, 0.5, 0.5])
    # Half of each are right: 0.39 and 0.45 off, with two detections each.
    assert result.expected_error == pytest.approx((0.39 + 0.45) / 2)


def test_scores_at_the_edges():
    result = analyze(TRUTH, found(1.7, 1.0, 0.3, 0.0)).calibration
    assert result.num_detections.tolist() == [1, 0, 0, 1, 0, 0, 0, 0, 0, 2]


def test_perfect_scores():
    assert analyze(TRUTH, found(1, 0, 0, 1)).calibration.expected_error == 0


def test_forms():
    result = analyze(TRUTH, found(0.96, 0.94, 0.12, 0.1)).calibration
    assert "calibration error 42.0 %" in str(result)
    lines = [line.split() for line in str(result).splitlines()]
    assert ["0.1", "to", "0.2", "2", "0.110", "50.0"] in lines
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False))["precision"][0] is None
    nothing = analyze(TRUTH, {}).calibration
    assert nothing.to_dict()["expected_error"] is None and "error - %" in str(nothing)


def test_to_pandas():
    pytest.importorskip("pandas")
    frame = analyze(TRUTH, found(0.96, 0.94, 0.12, 0.1)).calibration.to_pandas()
    assert frame["num_right"].sum() == 2
