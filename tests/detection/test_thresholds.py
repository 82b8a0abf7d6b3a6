"""Score thresholds: what they hold, and what they are for a class."""

import numpy as np
import pytest

from keras_actionformer import Thresholds, UserError
from keras_actionformer.detection.thresholds import check_thresholds


def test_a_class_without_its_own_takes_the_common_one():
    thresholds = Thresholds(0.4, [0.3, None, 0.5])
    assert thresholds.of(np.array([2, 1, 0, 0])).tolist() == [0.5, 0.4, 0.3, 0.3]
    assert Thresholds(0.4).of(np.array([0, 7])).tolist() == [0.4, 0.4]
    assert thresholds.of(np.zeros(0, np.int64)).shape == (0,)


def test_text():
    assert str(Thresholds(0.4)) == str(Thresholds(0.4, [None, None])) == "0.4"
    assert str(Thresholds(0.4, [0.35, None, 0.5])) == "0.4 (0.35 to 0.5 by class)"
    assert str(Thresholds(0.4, [0.35, None])) == "0.4 (0.35 by class)"


@pytest.mark.parametrize(
    "fields, text",
    [
        ({"common": "a"}, "common must be a finite number, but it is 'a'"),
        ({"common": 0.5, "per_class": [0.1, float("nan")]}, "per_class must be a finite number"),
        ({"common": 0.5, "per_class": 0.1}, "per_class must be a list .* but is 0.1"),
        ({"common": 0.5, "per_class": [0.1]}, "has 1 in per_class, but num_classes=2"),
        ({"common": 0.5, "by_class": []}, "'by_class', which Thresholds does not know"),
        ({"per_class": []}, "lacks 'common'"),
        ("0.5", "thresholds must be a Thresholds, a dict"),
    ],
)
def test_wrong_fields(fields, text):
    with pytest.raises(UserError, match=text):
        check_thresholds(fields, 2)


def test_of_other_classes():
    with pytest.raises(UserError, match="those of 2 classes, but a detection has the class id 2"):
        Thresholds(0.4, [0.3, 0.3]).of(np.array([0, 2]))
