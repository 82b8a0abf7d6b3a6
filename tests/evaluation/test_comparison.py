"""Comparisons: what is drawn twice counts twice, real differences are found, and noise is not."""

import json

import numpy as np
import pytest

from helpers.made_up_scores import made_up
from keras_actionformer import UserError, evaluate
from keras_actionformer.data.annotations import Video
from keras_actionformer.detection.detections import Detections
from keras_actionformer.evaluation.comparison import _average_precisions, compare

TIOUS = (0.3, 0.5)


def test_weights_of_detections_by_hand():
    """Three detections by falling score, of videos that are drawn 2, 0 and 1 times.

    Right are the first and the last. With four instances drawn: precision is 2/2 after the first
    (twice) and 3/3 after the last, so AP is 3 of 4. Drawn once each, precision is 1, then 2/3.
    """
    weights = np.array([[2, 0, 1], [1, 1, 1], [0, 3, 0]])
    ap = _average_precisions(weights, [np.array([0, 2])], np.array([4, 4, 0]))
    np.testing.assert_allclose(ap[:2, 0], [3 / 4, (1 + 2 / 3) / 4])
    assert np.isnan(ap[2, 0])  # no instance was drawn


def test_scores_are_those_of_evaluate():
    scored, other = made_up(12), made_up(12, blur_sec=1.5)
    comparison = compare(
        scored.videos, {"a": scored.detections, "b": other.detections}, TIOUS, num_resamples=100
    )
    for result, detections in zip(comparison.results, (scored.detections, other.detections)):
        expected = evaluate(scored.videos, detections, TIOUS)
        np.testing.assert_array_equal(result.ap, expected.ap)
    (difference,) = comparison.differences
    a, b = comparison.results
    assert difference.average_mean_ap.value == pytest.approx(b.average_mean_ap - a.average_mean_ap)
    assert difference.average_mean_ap.low <= difference.average_mean_ap.value
    assert len(difference.mean_ap) == 2 and len(difference.classes) == 3


def test_drawing_every_video_twice_changes_nothing(monkeypatch):
    """A draw that holds each video as often as any other has the scores of the whole."""
    monkeypatch.setattr(
        "keras_actionformer.evaluation.comparison._draw",
        lambda num_videos, num_resamples, seed: np.full((num_resamples, num_videos), 2, np.int32),
    )
    scored, other = made_up(12), made_up(12, blur_sec=1.5)
    (difference,) = compare(
        scored.videos, {"a": scored.detections, "b": other.detections}, TIOUS, num_resamples=3
    ).differences
    for interval in (difference.average_mean_ap, difference.f1, *difference.classes):
        assert interval.low == interval.high == pytest.approx(interval.value, abs=1e-12)


def test_what_one_finds_and_the_other_misses():
    segments = np.array([[0.0, 2.0], [10.0, 12.0], [20.0, 22.0], [30.0, 32.0]])
    truth = Video("v", "test", 40.0, None, segments, np.array([0, 1, 0, 1]))
    names = ("run", "jump")
    a = Detections(segments[:3], [0.9, 0.8, 0.3], [0, 1, 0], names)  # the last is too unsure
    b = Detections(segments[[0, 2]], [0.9, 0.8], [0, 0], names)
    comparison = compare(
        [truth], {"a": {"v": a}, "b": {"v": b}}, TIOUS, {"a": 0.5, "b": 0.5}, num_resamples=10
    )
    (difference,) = comparison.differences
    assert (difference.num_both, difference.num_neither) == (1, 1)
    (gained,), (lost,) = difference.gained, difference.lost
    assert (gained.video_id, gained.start_sec, gained.label) == ("v", 20.0, "run")
    assert (lost.start_sec, lost.end_sec, lost.label) == (10.0, 12.0, "jump")
    text = str(comparison)
    assert "b finds 1 instance that a misses, and misses 1 that it finds; both find 1" in text
    assert json.loads(json.dumps(comparison.to_dict(), allow_nan=False))["names"] == ["a", "b"]


def noisy(detections, rng, blur_sec):
    """The same detections with other noise, as a second seed of one recipe has it."""
    return {
        video_id: Detections(
            np.sort(found.segments_sec + rng.normal(0, blur_sec, found.segments_sec.shape), axis=1),
            found.scores + rng.normal(0, 0.1, len(found)),
            found.labels,
            found.class_names,
        )
        for video_id, found in detections.items()
    }


def test_real_differences_are_found_and_noise_is_not():
    """40 times two detectors of one recipe, and one whose boundaries are worse.

    Of the first pairs 95 % should be told to be alike; what is real should be found nearly always,
    in intervals of which nearly 95 % hold what the difference is on average.
    """
    called_real, differences = 0, []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        scored = made_up(20, seed, names=("run", "jump"))
        runs = {
            "a": noisy(scored.detections, rng, 0.3),
            "again": noisy(scored.detections, rng, 0.3),
            "worse": noisy(scored.detections, rng, 1.2),
        }
        again, worse = compare(scored.videos, runs, TIOUS, num_resamples=200).differences
        called_real += again.average_mean_ap.is_real
        differences.append(worse.average_mean_ap)
    assert called_real <= 6  # of 40 at 5 %, more than 6 come about once in 100
    assert sum(one.is_real and one.value < 0 for one in differences) >= 38
    true = np.mean([one.value for one in differences])
    # Of 200 such intervals 93 % did; of 40 fewer than 32 then come about once in 500.
    assert sum(one.low <= true <= one.high for one in differences) >= 32


def test_one_is_no_comparison():
    scored = made_up(2)
    with pytest.raises(UserError, match="two or more detectors, but got 1"):
        compare(scored.videos, {"a": scored.detections})
