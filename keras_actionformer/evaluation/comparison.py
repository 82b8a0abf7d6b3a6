"""Is one detector better than another, or was chance kinder to it? Scores with intervals.

How far a difference of scores may be due to which videos happen to be in the ground truth is told
by the paired bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13:
percentile intervals): as many videos as there are are drawn with replacement, both detectors are
scored on what was drawn, and of many such differences the middle 95 % are the interval. A
difference whose interval does not hold 0 is called real. Videos are drawn, and not instances, as
instances of a video are alike.

Trainings of one recipe differ, too, by their seeds. Where a recipe was trained several times, its
score is the mean of its runs, and the spread of the runs around the means of their recipes, pooled
over the recipes, says how far a mean may be off: to each drawn difference comes one of Student's t
distribution, of as many degrees of freedom as there are runs more than recipes. Few runs tell
little of their spread, and the intervals are as wide as that asks for.

Detections are matched once, for a video's matches do not depend on the others: a video that is
drawn twice counts twice, with its detections and its instances, in the sums of which AP is made.

NumPy only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_actionformer.checks import positive_whole
from keras_actionformer.detection.thresholds import Thresholds
from keras_actionformer.errors import UserError
from keras_actionformer.evaluation.comparison_result import (
    Compared,
    Comparison,
    Difference,
    Instance,
    Interval,
)
from keras_actionformer.evaluation.evaluation import TIOU_THRESHOLDS, evaluate
from keras_actionformer.evaluation.ranking import common_class_names, flatten, rank
from keras_actionformer.evaluation.score_thresholds import TIOU, thresholds_of_best_f1

if TYPE_CHECKING:
    from keras_actionformer.data.annotations import Video
    from keras_actionformer.detection.detections import Detections

NUM_RESAMPLES = 1000
CONFIDENCE = 0.95
_BLOCK = 4_000_000  # weights of videos, or of right detections, held at a time


def compare(
    ground_truth: Sequence[Video],
    runs: Mapping[str, Mapping[str, Detections]],
    tiou_thresholds: Sequence[float] = TIOU_THRESHOLDS,
    thresholds: Mapping[str, float | Thresholds | None] | None = None,
    class_names: Sequence[str] | None = None,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
    recipes: Mapping[str, str] | None = None,
) -> Comparison:
    """Compares runs, or recipes of several runs each, with the first of them.

    Args:
      ground_truth, tiou_thresholds, class_names: as for `evaluate`.
      runs: dict, the name of each run (of any detector) to its detections (video id to
        `Detections`); two or more.
      thresholds: dict, name to the score, or the `Thresholds`, from which on its detections count
        for F1 and for what it finds (at a tIoU of 0.5); those of the best F1 on these videos where
        it has none.
      num_resamples: int, how often videos are drawn.
      seed: int, of the random numbers that draw them.
      recipes: dict, name of each run to that of its recipe: runs of one recipe differ by chance
        alone, as by the seeds of their trainings. Two recipes or more are compared, a recipe's
        scores being the mean of its runs; runs of one recipe are compared with each other. By
        default each run is its own recipe.

    Returns:
      A `Comparison`, which prints itself.

    Raises:
      UserError: there are fewer than two runs, or see `evaluate`.
    """
    if len(runs) < 2:
        raise UserError(f"A comparison needs two or more detectors, but got {len(runs)}.")
    positive_whole("num_resamples", num_resamples)
    names = tuple(class_names or ())
    for detections in runs.values():
        names = common_class_names(detections, names or None)
    thresholds = {
        name: _thresholds(ground_truth, detections, (thresholds or {}).get(name), names)
        for name, detections in runs.items()
    }
    results = {
        name: evaluate(
            ground_truth,
            detections,
            tiou_thresholds,
            class_names=names or None,
            thresholds=thresholds[name],
        )
        for name, detections in runs.items()
    }
    first = next(iter(results.values()))
    class_ids, tious = first.class_ids, first.tiou_thresholds
    places = _places(ground_truth, runs)
    rng = np.random.default_rng(seed)
    weights = _draw(rng, len(places), num_resamples)
    matched = {
        name: _Matched(ground_truth, detections, places, class_ids, tious, thresholds[name])
        for name, detections in runs.items()
    }

    def gathered(name, own):
        return Compared(
            name,
            tuple(own),
            tuple(thresholds[one] for one in own),
            tuple(results[one] for one in own),
        )

    by_recipe: dict[str, list[str]] = {}
    for name in runs:
        by_recipe.setdefault((recipes or {}).get(name, name), []).append(name)
    alone = {name: gathered(name, [name]) for name in runs}
    spread, freedom = _spread([[alone[name] for name in own] for own in by_recipe.values()])
    by_chance = rng.standard_t(freedom, num_resamples)[:, None] * spread if freedom else 0.0
    if len(by_recipe) == 1:
        compared = list(alone.values())
    else:
        compared = [gathered(name, own) for name, own in by_recipe.items()]
    drawn = [_Drawn([matched[name] for name in one.runs], weights) for one in compared]
    instances = _instances(ground_truth, first.class_names, class_ids)
    return Comparison(
        compared=tuple(compared),
        num_videos=len(ground_truth),
        num_resamples=num_resamples,
        confidence=CONFIDENCE,
        tiou=TIOU,
        spread=float(spread[0]) if freedom else None,
        degrees_of_freedom=freedom,
        differences=tuple(
            _difference(compared[0], other, drawn[0], other_drawn, by_chance, instances)
            for other, other_drawn in zip(compared[1:], drawn[1:], strict=True)
        ),
    )


def _thresholds(ground_truth, detections, given, names):
    if given is None:
        return thresholds_of_best_f1(ground_truth, detections, names)
    return given if isinstance(given, Thresholds) else Thresholds(given)


def _places(ground_truth, runs):
    """The place of each video that may be drawn: {video id: int}."""
    ids = [video.video_id for video in ground_truth]
    ids += [video_id for detections in runs.values() for video_id in detections]
    return {video_id: place for place, video_id in enumerate(dict.fromkeys(ids))}


def _draw(rng, num_videos, num_resamples):
    """How often each video is drawn: int32 (resamples, videos)."""
    shares = np.full(num_videos, 1 / num_videos)
    return rng.multinomial(num_videos, shares, size=num_resamples).astype(np.int32)


def _instances(ground_truth, names, class_ids):
    """Every row of the ground truth as an `Instance`."""
    name_of = dict(zip(class_ids.tolist(), names, strict=True))
    return [
        Instance(video.video_id, float(start), float(end), name_of.get(label, f"class_{label}"))
        for video in ground_truth
        for (start, end), label in zip(video.segments_sec, video.labels.tolist(), strict=True)
    ]


# === Scores ===


def _statistics(ap, f1):
    """What has an interval: mAP on average, F1, mAP of each tIoU threshold, AP of each class.

    Args:
      ap: float (..., thresholds, classes); NaN where no instance of a class is there.
      f1: float (...).

    Returns:
      float (..., 2 + thresholds + classes).
    """
    mean_ap = np.nanmean(ap, axis=-1)
    average = mean_ap.mean(axis=-1, keepdims=True)
    return np.concatenate([average, f1[..., None], mean_ap, ap.mean(axis=-2)], axis=-1)


def _measured(compared):
    """`_statistics` of a `Compared`."""
    return _statistics(compared.ap, np.asarray(compared.f1))


def _spread(recipes):
    """How far runs of one recipe lie apart, pooled over the recipes.

    Args:
      recipes: a list of lists of `Compared`, each of one run.

    Returns:
      (standard deviation of each of the `_statistics`, degrees of freedom)
    """
    scores = [np.stack([_measured(run) for run in recipe]) for recipe in recipes]
    squares = sum(np.sum((own - own.mean(axis=0)) ** 2, axis=0) for own in scores)
    freedom = sum(len(own) - 1 for own in scores)
    return np.sqrt(squares / max(freedom, 1)), freedom


# === Runs ===


class _Matched:
    """What a detector's detections find, in columns.

    Attributes:
      videos: a list of int (M,) for each class of the ground truth: the place of the video of each
        detection, by falling score.
      hits: a list of lists: of each class, for each tIoU threshold, which of these are right.
      instances: int (classes, videos), of the ground truth.
      found, right: int (videos,), detections above the thresholds, and those that are right.
      num_instances: int (videos,).
      is_usable, is_found: bool (N,), rows of the ground truth that count, and that are found.
    """

    def __init__(self, ground_truth, detections, places, class_ids, tious, thresholds):
        arrays = flatten(ground_truth, detections)
        gt_videos, _, gt_labels, _, _, labels, scores = arrays
        ranked = rank(*arrays, min(*tious, TIOU), all_classes=True)
        lengths = [len(found) for found in detections.values()]
        videos = np.repeat([places[video_id] for video_id in detections], lengths)
        videos = videos.astype(np.int64)[ranked.rows]
        matches = [ranked.matches(tiou) >= 0 for tiou in tious]
        rows_of = [np.flatnonzero(labels[ranked.rows] == label) for label in class_ids]
        self.videos = [videos[rows] for rows in rows_of]
        self.hits = [[np.flatnonzero(hits[rows]) for hits in matches] for rows in rows_of]

        usable_videos, usable_labels = gt_videos[ranked.usable], gt_labels[ranked.usable]
        self.instances = np.zeros((len(class_ids), len(places)), np.int64)
        np.add.at(self.instances, (np.searchsorted(class_ids, usable_labels), usable_videos), 1)
        self.num_instances = self.instances.sum(axis=0)

        counts = scores[ranked.rows] >= thresholds.of(labels[ranked.rows])
        match = ranked.matches(TIOU)
        is_right = counts & (match >= 0)
        self.found = np.bincount(videos[counts], minlength=len(places))
        self.right = np.bincount(videos[is_right], minlength=len(places))
        self.is_usable = ranked.usable
        self.is_found = np.zeros(len(gt_videos), bool)
        self.is_found[ranked.gt_rows[match[is_right]]] = True


class _Drawn:
    """Scores of the runs of one recipe on what was drawn.

    Attributes:
      statistics: float (resamples, statistics), see `_statistics`; the means of the runs.
      is_usable, is_found: bool (N,), rows of the ground truth that count, and that more than half
        of the runs find.
    """

    def __init__(self, runs, weights):
        self.statistics = np.mean([_drawn_statistics(run, weights) for run in runs], axis=0)
        self.is_usable = runs[0].is_usable
        self.is_found = np.mean([run.is_found for run in runs], axis=0) > 0.5


def _drawn_statistics(matched, weights):
    """`_statistics` of one run on each draw."""
    ap = np.empty((len(weights), len(matched.hits[0]), len(matched.videos)))
    for place, (videos, hits) in enumerate(zip(matched.videos, matched.hits, strict=True)):
        truth = weights @ matched.instances[place]
        # Precision is best at a right detection: the others are only counted.
        right = np.unique(np.concatenate(hits))
        places_of_hits = [np.searchsorted(right, places) for places in hits]
        seen, counts = _counts_until(videos, right)
        block = max(1, _BLOCK // max(len(right), len(seen), 1))
        for start in range(0, len(weights), block):
            part = slice(start, start + block)
            drawn = weights[part]
            until = drawn[:, seen].astype(float) @ counts  # whole numbers, so that none is rounded
            mine = drawn[:, videos[right]]
            ap[part, :, place] = _average_precisions(mine, until, places_of_hits, truth[part])
    both = weights @ (matched.found + matched.num_instances)
    return _statistics(ap, _quotient(2 * (weights @ matched.right), both))


def _counts_until(videos, right):
    """How many detections a video has up to each right one, that one with them.

    Args:
      videos: int (M,), the place of the video of each detection, by falling score.
      right: int (U,), ascending places of those that are right.

    Returns:
      int (V,), the places of the videos that have any; float (V, U), their counts.
    """
    last = right[-1] + 1 if len(right) else 0
    seen, rows = np.unique(videos[:last], return_inverse=True)
    counts = np.zeros((len(seen), len(right)))
    np.add.at(counts, (rows, np.searchsorted(right, np.arange(last))), 1)
    return seen, np.cumsum(counts, axis=1)


def _average_precisions(weights, until, hits, truth):
    """AP of one class where its detections count several times, or not at all.

    Args:
      weights: int (resamples, U), how often each detection counts that is right at any tIoU
        threshold, by falling score.
      until: float (resamples, U), how many detections count up to it.
      hits: a list of int (H,), for each tIoU threshold the places of those that are right.
      truth: int (resamples,), how many instances there are.

    Returns:
      float (resamples, thresholds), NaN where there are none.
    """
    ap = []
    for places in hits:
        mine = weights[:, places]
        precision = _quotient(np.cumsum(mine, axis=1), until[:, places], empty=0.0)
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        ap.append(_quotient(np.sum(envelope * mine, axis=1), truth))
    return np.stack(ap, axis=1)


def _quotient(part, whole, empty=np.nan):
    return np.divide(part, whole, out=np.full(np.shape(part), empty), where=whole > 0)


# === Two of them ===


def _difference(base, other, base_drawn, other_drawn, by_chance, instances):
    value = _measured(other) - _measured(base)
    several = np.sqrt(1 / len(base.runs) + 1 / len(other.runs))
    drawn = other_drawn.statistics - base_drawn.statistics + several * by_chance
    tail = 100 * (1 - CONFIDENCE) / 2
    intervals = [
        Interval(*map(float, ends))
        for ends in zip(value, *np.nanpercentile(drawn, (tail, 100 - tail), axis=0), strict=True)
    ]
    num_thresholds = len(base.results[0].tiou_thresholds)
    found, base_found = other_drawn.is_found, base_drawn.is_found
    return Difference(
        name=other.name,
        average_mean_ap=intervals[0],
        f1=intervals[1],
        mean_ap=tuple(intervals[2 : 2 + num_thresholds]),
        classes=tuple(intervals[2 + num_thresholds :]),
        num_both=int(np.sum(found & base_found)),
        num_neither=int(np.sum(base_drawn.is_usable & ~found & ~base_found)),
        gained=tuple(instances[row] for row in np.flatnonzero(found & ~base_found)),
        lost=tuple(instances[row] for row in np.flatnonzero(base_found & ~found)),
    )
