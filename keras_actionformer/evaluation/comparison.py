"""Is one detector better than another, or were the videos kinder to it? Scores with intervals.

How far a difference of scores may be due to which videos happen to be in the ground truth is told
by the paired bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13:
percentile intervals): as many videos as there are are drawn with replacement, both detectors are
scored on what was drawn, and of many such differences the middle 95 % are the interval. A
difference whose interval does not hold 0 is called real. Videos are drawn, and not instances, as
instances of a video are alike.

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
    Comparison,
    Difference,
    Instance,
    Interval,
)
from keras_actionformer.evaluation.evaluation import TIOU_THRESHOLDS, evaluate
from keras_actionformer.evaluation.ranking import common_class_names, flatten, rank
from keras_actionformer.evaluation.score_thresholds import TIOU, recommend_thresholds

if TYPE_CHECKING:
    from keras_actionformer.data.annotations import Video
    from keras_actionformer.detection.detections import Detections

NUM_RESAMPLES = 1000
CONFIDENCE = 0.95
_BLOCK = 4_000_000  # weights of detections held at a time


def compare(
    ground_truth: Sequence[Video],
    runs: Mapping[str, Mapping[str, Detections]],
    tiou_thresholds: Sequence[float] = TIOU_THRESHOLDS,
    thresholds: Mapping[str, float | Thresholds | None] | None = None,
    class_names: Sequence[str] | None = None,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compares detectors with the first of them.

    Args:
      ground_truth, tiou_thresholds, class_names: as for `evaluate`.
      runs: dict, the name of each detector to its detections (video id to `Detections`); two or
        more.
      thresholds: dict, name to the score, or the `Thresholds`, from which on its detections count
        for F1 and for what it finds (at a tIoU of 0.5); those of the best F1 on these videos where
        it has none.
      num_resamples: int, how often videos are drawn.
      seed: int, of the random numbers that draw them.

    Returns:
      A `Comparison`, which prints itself.

    Raises:
      UserError: there are fewer than two detectors, or see `evaluate`.
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
    places = _places(ground_truth, runs)
    weights = _draw(len(places), num_resamples, seed)
    class_ids, tious = first.class_ids, first.tiou_thresholds
    drawn = {
        name: _Drawn(
            _Matched(ground_truth, detections, places, class_ids, tious, thresholds[name]), weights
        )
        for name, detections in runs.items()
    }
    base = next(iter(runs))
    instances = _instances(ground_truth, first.class_names, class_ids)
    return Comparison(
        names=tuple(runs),
        num_videos=len(ground_truth),
        num_resamples=num_resamples,
        confidence=CONFIDENCE,
        tiou=TIOU,
        thresholds=tuple(thresholds.values()),
        results=tuple(results.values()),
        differences=tuple(
            _difference(results[base], results[name], drawn[base], drawn[name], name, instances)
            for name in list(runs)[1:]
        ),
    )


def _thresholds(ground_truth, detections, given, names):
    if given is not None:
        return given if isinstance(given, Thresholds) else Thresholds(given)
    labels = [found.labels for found in detections.values()]
    num_labels = 1 + int(np.max(np.concatenate([np.zeros(1, np.int64), *labels])))
    num_classes = max(num_labels, len(names))
    found = recommend_thresholds(ground_truth, detections, num_classes, class_names=names or None)
    return found or Thresholds(0.0)


def _places(ground_truth, runs):
    """The place of each video that may be drawn: {video id: int}."""
    ids = [video.video_id for video in ground_truth]
    ids += [video_id for detections in runs.values() for video_id in detections]
    return {video_id: place for place, video_id in enumerate(dict.fromkeys(ids))}


def _draw(num_videos, num_resamples, seed):
    """How often each video is drawn: int32 (resamples, videos)."""
    rng = np.random.default_rng(seed)
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


# === One detector ===


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
    """Scores of a detector on what was drawn.

    Attributes:
      matched: `_Matched`.
      ap: float (resamples, thresholds, classes); NaN where no instance of a class was drawn.
      f1: float (resamples,).
    """

    def __init__(self, matched, weights):
        self.matched = matched
        num_thresholds = len(matched.hits[0])
        self.ap = np.empty((len(weights), num_thresholds, len(matched.videos)))
        for place, (videos, hits) in enumerate(zip(matched.videos, matched.hits, strict=True)):
            truth = weights @ matched.instances[place]
            block = max(1, _BLOCK // max(len(videos), 1))
            for start in range(0, len(weights), block):
                part = slice(start, start + block)
                self.ap[part, :, place] = _average_precisions(
                    weights[part][:, videos], hits, truth[part]
                )
        both = weights @ (matched.found + matched.num_instances)
        self.f1 = _quotient(2 * (weights @ matched.right), both)

    @property
    def mean_ap(self):
        """float (resamples, thresholds): mean over the classes that were drawn."""
        return np.nanmean(self.ap, axis=2)


def _average_precisions(weights, hits, truth):
    """AP of one class where its detections count several times, or not at all.

    Args:
      weights: int (resamples, M), how often each detection counts, by falling score.
      hits: a list of int (H,), for each tIoU threshold the places of those that are right.
      truth: int (resamples,), how many instances there are.

    Returns:
      float (resamples, thresholds), NaN where there are none.
    """
    visited = np.cumsum(weights, axis=1)
    ap = []
    for places in hits:
        mine = weights[:, places]
        # Precision is best at a right detection: the others need not be looked at.
        precision = _quotient(np.cumsum(mine, axis=1), visited[:, places], empty=0.0)
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        ap.append(_quotient(np.sum(envelope * mine, axis=1), truth))
    return np.stack(ap, axis=1)


def _quotient(part, whole, empty=np.nan):
    return np.divide(part, whole, out=np.full(np.shape(part), empty), where=whole > 0)


# === Two detectors ===


def _difference(base, other, base_drawn, other_drawn, name, instances):
    base_mean, other_mean = base_drawn.mean_ap, other_drawn.mean_ap
    base_f1, other_f1 = base.above_thresholds.f1, other.above_thresholds.f1
    found, base_found = other_drawn.matched.is_found, base_drawn.matched.is_found
    return Difference(
        name=name,
        average_mean_ap=_interval(
            other.average_mean_ap - base.average_mean_ap, other_mean.mean(1) - base_mean.mean(1)
        ),
        mean_ap=tuple(
            _interval(other.mean_ap[place] - base.mean_ap[place], drawn)
            for place, drawn in enumerate((other_mean - base_mean).T)
        ),
        f1=_interval(
            np.nan_to_num(other_f1) - np.nan_to_num(base_f1), other_drawn.f1 - base_drawn.f1
        ),
        classes=tuple(
            _interval((other.ap - base.ap)[:, place].mean(), drawn)
            for place, drawn in enumerate((other_drawn.ap - base_drawn.ap).mean(axis=1).T)
        ),
        num_both=int(np.sum(found & base_found)),
        num_neither=int(np.sum(base_drawn.matched.is_usable & ~found & ~base_found)),
        gained=tuple(instances[row] for row in np.flatnonzero(found & ~base_found)),
        lost=tuple(instances[row] for row in np.flatnonzero(base_found & ~found)),
    )


def _interval(value, drawn):
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.nanpercentile(drawn, (tail, 100 - tail))
    return Interval(float(value), float(low), float(high))
