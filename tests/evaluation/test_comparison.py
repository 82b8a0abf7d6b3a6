"""Comparisons: what is drawn twice counts twice, real differences are found, and noise is not."""

import json

import numpy as np
import pytest

from helpers.made_up_scores import made_up
from keras_actionformer import UserError, evaluate
from keras_actionformer.data.annotations import Video
from keras_actionformer.detection.detections import Detections
from keras_actionformer.evaluation.comparison import _average_precisions, _counts_until, compare

TIOUS = (0.3, 0.5)


def test_weights_of_detections_by_hand():
    """Three detections by falling score, of videos that are drawn 2, 0 and 1 times.

    Right are the first and the last. With four instances drawn: precision is 2/2 after the first
    (twice) and 3/3 after the last, so AP is 3 of 4. Drawn once each, precision is 1, then 2/3.
    """
    weights, right = np.array([[2, 0, 1], [1, 1, 1], [0, 3, 0]]), np.array([0, 2])
    seen, counts = _counts_until(np.array([0, 1, 2]), right)
    ap = _average_precisions(
        weights[:, right], weights[:, seen] @ counts, [np.array([0, 1])], np.array([4, 4, 0])
    )
    np.testing.assert_allclose(ap[:2, 0], [3 / 4, (1 + 2 / 3) / 4])
    assert np.isnan(ap[2, 0])  # no instance was drawn


def test_detections_are_counted_by_video_until_each_right_one():
    """Of six detections, of videos 4, 2, 4, 4, 2 and 7, the second and the fourth are right."""
    seen, counts = _counts_until(np.array([4, 2, 4, 4, 2, 7]), np.array([1, 3]))
    assert seen.tolist() == [2, 4]  # that of video 7 comes after the last right one
    assert counts.tolist() == [[1, 1], [1, 3]]
    seen, counts = _counts_until(np.array([4, 2]), np.array([], int))
    assert seen.shape == (0,) and counts.shape == (0, 0)


def test_scores_are_those_of_evaluate():
    scored, other = made_up(12), made_up(12, blur_sec=1.5)
    comparison = compare(
        scored.videos, {"a": scored.detections, "b": other.detections}, TIOUS, num_resamples=100
    )
    for one, detections in zip(comparison.compared, (scored.detections, other.detections)):
        expected = evaluate(scored.videos, detections, TIOUS)
        np.testing.assert_array_equal(one.ap, expected.ap)
    (difference,) = comparison.differences
    a, b = comparison.compared
    assert difference.average_mean_ap.value == pytest.approx(b.ap.mean() - a.ap.mean())
    assert difference.f1.value == pytest.approx(b.f1 - a.f1)
    assert [one.value for one in difference.classes] == pytest.approx((b.ap - a.ap).mean(axis=0))
    assert difference.average_mean_ap.low <= difference.average_mean_ap.value
    assert len(difference.mean_ap) == 2 and len(difference.classes) == 3


def test_drawing_every_video_twice_changes_nothing(monkeypatch):
    """A draw that holds each video as often as any other has the scores of the whole."""
    monkeypatch.setattr(
        "keras_actionformer.evaluation.comparison._draw",
        lambda rng, num_videos, num_resamples: np.full((num_resamples, num_videos), 2, np.int32),
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
    assert "Found by b alone: 1 instance, by a alone: 1, by both: 1, by neither: 1." in text
    values = json.loads(json.dumps(comparison.to_dict(), allow_nan=False))
    assert [one["name"] for one in values["compared"]] == ["a", "b"]


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


def test_the_spread_of_runs_by_hand():
    """Runs of mAP 1 and 1/2 around 3/4 spread by 0.354; of two and one, t has one degree."""
    segments = np.array([[0.0, 2.0], [10.0, 12.0]])
    truth = Video("v", "test", 40.0, None, segments, np.array([0, 0]))
    both = {"v": Detections(segments, [0.9, 0.8], [0, 0], ("run",))}
    first = {"v": Detections(segments[:1], [0.9], [0], ("run",))}
    runs = {"a1": both, "a2": first, "b": both}
    recipes = {"a1": "a", "a2": "a", "b": "b"}
    comparison = compare([truth], runs, TIOUS, num_resamples=20_000, recipes=recipes)
    assert comparison.names == ("a", "b")
    assert (comparison.spread, comparison.degrees_of_freedom) == (pytest.approx(0.125**0.5), 1)
    (difference,) = comparison.differences
    interval = difference.average_mean_ap
    assert interval.value == pytest.approx(0.25)
    # The one video is in every draw: what is left is t at 97.5 % times the error of a difference.
    width = 12.706 * 0.125**0.5 * (1 / 2 + 1) ** 0.5
    assert (interval.low, interval.high) == pytest.approx((0.25 - width, 0.25 + width), rel=0.1)
    # An instance that one of two finds is not found by more than half of them.
    assert (difference.num_both, len(difference.gained), len(difference.lost)) == (1, 1, 0)
    text = str(comparison)
    assert "a is the mean of a1 100.00, a2 50.00." in text
    assert "spread by 35.36 points of mAP (1 degree of freedom)" in text


def test_runs_of_one_recipe_are_compared_with_each_other():
    scored = made_up(12)
    rng = np.random.default_rng(0)
    runs = {name: noisy(scored.detections, rng, 0.5) for name in "abc"}
    comparison = compare(scored.videos, runs, TIOUS, recipes=dict.fromkeys(runs, "all"))
    assert comparison.names == ("a", "b", "c") and comparison.degrees_of_freedom == 2
    assert not any(one.average_mean_ap.is_real for one in comparison.differences)


@pytest.mark.slow
def test_recipes_whose_seeds_matter():
    """40 times three runs of two recipes that are alike, and of a worse one.

    A run's blur is drawn as a seed draws it. Between runs alone a difference is often real, as
    they are different detectors; between the alike recipes, one of 20 is called so.
    """
    run_is_real, recipe_is_real, worse_is_real = 0, 0, 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        scored = made_up(20, seed, names=("run", "jump"))

        def run(blur_sec, rng=rng, scored=scored):
            return noisy(scored.detections, rng, rng.uniform(0.2, 1.8) * blur_sec)

        blurs = {"a": 0.5, "again": 0.5, "worse": 5.0}
        runs = {f"{name}{n}": run(blur) for name, blur in blurs.items() for n in range(3)}
        recipes = {name: name[:-1] for name in runs}
        again, worse = compare(
            scored.videos, runs, TIOUS, num_resamples=200, recipes=recipes
        ).differences
        recipe_is_real += again.average_mean_ap.is_real
        worse_is_real += worse.average_mean_ap.is_real
        pair = {name: runs[name] for name in ("a0", "again0")}
        (alone,) = compare(scored.videos, pair, TIOUS, num_resamples=200).differences
        run_is_real += alone.average_mean_ap.is_real
    assert recipe_is_real <= 6 < run_is_real
    assert worse_is_real >= 38


def test_one_is_no_comparison():
    scored = made_up(2)
    with pytest.raises(UserError, match="two or more detectors, but got 1"):
        compare(scored.videos, {"a": scored.detections})
