"""Settings between scores and detections: checked when they are made."""

import pytest

from keras_actionformer.detection.postprocess import PostProcess
from keras_actionformer.errors import UserError


def test_settings_are_checked():
    with pytest.raises(UserError, match="nms_method must be"):
        PostProcess(nms_method="sofd")
    with pytest.raises(UserError, match="nms_sigma must be above 0"):
        PostProcess(nms_sigma=0)
    with pytest.raises(UserError, match="max_seg_num must be at least 1"):
        PostProcess(max_seg_num=0)
