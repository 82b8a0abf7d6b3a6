"""Errors of starts and ends, by hand."""

import json

import numpy as np
import pytest

from helpers.crowded_videos import video
from keras_actionformer import Detections, analyze

TRUTH = [video("a", [[0, 10], [20, 40]], [3, 5])]
FOUND = {
    "a": Detections(
        # Inside of an instance, from before one on, wrong, and with a low score.
        [[1, 9], [18, 40], [60, 70], [0, 10]],
        [0.9, 0.8, 0.7, 0.1],
        [3, 5, 5, 3],
    )
}


def test_by_hand():
    errors = analyze(TRUTH, FOUND, thresholds=0.5).boundaries
    assert errors.labels.tolist() == [3, 5] and len(errors) == 2
    assert errors.start_errors_sec.tolist() == [1, -2]
    assert errors.end_errors_sec.tolist() == [-1, 0]
    assert errors.lengths_sec.tolist() == [10, 20]
    spreads = errors.spreads()
    # Between -2 and 1 s: a quarter of the way is -1.25; the sizes are 1 and 2 s.
    assert list(vars(spreads["start_sec"]).values()) == [-0.5, -1.25, -0.5, 0.25, 1.5]
    # 1 s of 10 too late and 2 s of 20 too early.
    assert list(vars(spreads["start_percent"]).values()) == [0, -5, 0, 5, 10]
    assert spreads["end_percent"].bias == -5


def test_forms():
    errors = analyze(TRUTH, FOUND, thresholds=0.5).boundaries
    lines = [line.split() for line in str(errors).splitlines()]
    assert ["start", "(s)", "-0.50", "-1.25", "-0.50", "+0.25", "1.50"] in lines
    content = json.loads(json.dumps(errors.to_dict(), allow_nan=False))
    assert content["num_matched"] == 2 and content["end_sec"]["median"] == -0.5
    nothing = analyze(TRUTH, {}).boundaries
    assert len(nothing) == 0 and np.isnan(nothing.spreads()["end_sec"].median)
    assert "Boundaries of 0 detections" in str(nothing) and "nan" not in str(nothing)
    assert nothing.to_dict()["start_sec"]["bias"] is None
    json.dumps(nothing.to_dict(), allow_nan=False)


def test_to_pandas():
    pytest.importorskip("pandas")
    assert analyze(TRUTH, FOUND, thresholds=0.5).boundaries.to_pandas().shape == (2, 4)
