"""All analyses together: what goes in, how they are told, that each stands beside the others."""

import json
import sys

import numpy as np
import pytest

from helpers.crowded_videos import random_case, video
from keras_actionformer import (
    Detections,
    Thresholds,
    UserError,
    analyze,
    evaluate,
    recommend_thresholds,
)

TRUTH, FOUND = random_case(0)
PARTS = ("false_positives", "sensitivity", "confusion", "boundaries", "calibration", "curves")


def test_all_parts_are_told():
    analysis = analyze(TRUTH, FOUND)
    texts = [str(getattr(analysis, name)) for name in PARTS]
    assert str(analysis) == "\n\n".join(texts)
    content = json.loads(json.dumps(analysis.to_dict(), allow_nan=False))
    assert list(content) == ["tiou", "thresholds", *PARTS]
    assert content["calibration"] == analysis.calibration.to_dict()


def test_an_evaluation_has_it_where_asked_for():
    plain = evaluate(TRUTH, FOUND, (0.4,), thresholds=0.3)
    result = evaluate(TRUTH, FOUND, (0.4,), thresholds=0.3, errors="data")
    expected = analyze(TRUTH, FOUND, tiou_thresholds=(0.4,), thresholds=0.3, edges="data")
    assert str(result) == f"{plain}\n\n{expected}"
    content = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert content.pop("errors") == expected.to_dict()
    assert content == plain.to_dict()


def test_thresholds():
    recommended = recommend_thresholds(TRUTH, FOUND, 4)
    assert analyze(TRUTH, FOUND).thresholds == recommended
    assert analyze(TRUTH, FOUND, thresholds=0.4).thresholds == Thresholds(0.4)
    assert analyze(TRUTH, FOUND, thresholds=recommended).thresholds is recommended
    # Where nothing is right there is no best one: all count.
    wrong = {"video_0": Detections([[500, 510]], [0.01], [0])}
    assert analyze(TRUTH, wrong).confusion.counts[-1, 0] == 1


def test_order_of_videos_changes_nothing():
    turned = dict(reversed(FOUND.items()))
    assert analyze(TRUTH[::-1], turned).to_dict() == analyze(TRUTH, FOUND).to_dict()


def test_one_class():
    truth = [video(one.video_id, one.segments_sec, 0 * one.labels, 220) for one in TRUTH]
    found = {
        name: Detections(one.segments_sec, one.scores, 0 * one.labels)
        for name, one in FOUND.items()
    }
    analysis = analyze(truth, found)
    # There is no other class to be taken for.
    assert not analysis.false_positives.counts[:, :, [2, 4]].any()
    assert analysis.confusion.counts.shape == (2, 2)
    gains = analysis.false_positives.at_tiou
    assert gains.mean_ap == gains.mean_ap_normalized
    json.dumps(analysis.to_dict(), allow_nan=False)


@pytest.mark.parametrize("found", [{}, {"video_0": Detections([], [], [])}])
def test_no_detections(found):
    analysis = analyze(TRUTH, found)
    assert analysis.sensitivity.miss_rate == 1
    np.testing.assert_array_equal(
        analysis.confusion.counts[:-1, -1], np.bincount(np.concatenate([x.labels for x in TRUTH]))
    )
    assert "nan" not in str(analysis)
    json.dumps(analysis.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    "truth, options, text",
    [
        ([*TRUTH, TRUTH[0]], {}, "holds video 'video_0' twice"),
        (TRUTH[1:2], {}, "holds no instance to find"),
        (TRUTH, {"tiou": 0}, "tiou_thresholds must be one or more numbers above 0"),
        (TRUTH, {"class_names": ("x",), "thresholds": "high"}, "common must be a finite number"),
    ],
)
def test_wrong_arguments(truth, options, text):
    with pytest.raises(UserError, match=text):
        analyze(truth, FOUND, **options)


@pytest.mark.parametrize("name", PARTS)
def test_pandas_is_an_extra(monkeypatch, name):
    monkeypatch.setitem(sys.modules, "pandas", None)  # as if it were not installed
    with pytest.raises(UserError, match=r"keras-actionformer\[pandas\]"):
        getattr(analyze(TRUTH, FOUND), name).to_pandas()
