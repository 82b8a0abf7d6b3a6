"""What counts as the same detections."""

import numpy as np
import pytest

from keras_actionformer.deploy.export_check import _compare_detections, _tied
from keras_actionformer.detection.detections import Detections
from keras_actionformer.detection.postprocess import PostProcess
from keras_actionformer.detection.raw_outputs import RawOutputs

# Two levels say much the same of a point; a third point is less sure.
SEGMENTS_SEC = np.array([[-1.0, 2.0], [-3.0, 4.0], [5.0, 6.0]], np.float32)
SCORES = np.array([[0.5], [0.5 + 1e-7], [0.3]], np.float32)


@pytest.mark.parametrize("found, seconds", [([0, 4], 0), ([0, 2], 0), ([0, 3], 1), ([5, 6], 5)])
def test_of_those_that_tie_each_is_right(found, seconds):
    raw = RawOutputs(np.zeros(3, np.float32), np.array([0, 1, 0]), SCORES, SEGMENTS_SEC)
    expected = Detections([[0, 4], [5, 6]], [0.5, 0.3], [0, 0])
    outputs = {
        "num_detections": np.array([2]),
        "detection_segments": np.array([[found, [5, 6]]], np.float32),
        "detection_scores": np.array([[0.5, 0.3]], np.float32),
        "detection_classes": np.array([[0, 0]]),
    }
    tied = _tied(expected, raw, 5.5)
    assert [len(one) for one in tied] == [3, 1]
    result = _compare_detections(
        PostProcess(), [(expected, _tied(expected, raw, None))], [(0, outputs, 0)], "float32"
    )
    assert (result["seconds"] > 1e-4) == bool(seconds)
