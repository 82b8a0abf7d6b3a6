"""Scores detections against ground truth: mAP at temporal IoU thresholds and Recall@kx.

The numbers are those of the ActivityNet detection protocol (Caba Heilbron et al., CVPR 2015) as
ActionFormer (arXiv 2202.07925, section 4) reports it:

1. Ground truth shorter than a millisecond, and repeats of an instance, are left out.
2. The detections of a class are visited by falling score over all videos. Each takes, in its own
   video, the free ground truth of highest tIoU if that reaches the threshold: a true positive.
   Every other detection is a false positive, also one in a video without ground truth.
3. AP is the area under the interpolated precision-recall curve (the best precision at this recall
   or a higher one); mAP is the mean over the classes that occur in the ground truth.
4. Recall@kx: of the `n` instances of a class in a video, how many overlap enough with one of the
   `k * n` best detections of that class in that video (no one-to-one matching here).

Equal scores: the detection that comes later is visited first (a stable sort, reversed), where the
order is that of the videos in the dict and of the rows in each video. Of ground truths with equal
tIoU the later one is taken first. Results are therefore the same on every machine.

NumPy only; all arithmetic is float64.
"""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_actionformer.errors import UserError
from keras_actionformer.evaluation.average_precision import (
    TIOU_THRESHOLDS,
    average_precision,
    checked_tiou_thresholds,
)
from keras_actionformer.evaluation.average_recall import measure_average_recall
from keras_actionformer.evaluation.error_analysis import analyze
from keras_actionformer.evaluation.near_names import check_names
from keras_actionformer.evaluation.ranking import common_class_names, flatten, rank
from keras_actionformer.evaluation.result import EvaluationResult
from keras_actionformer.evaluation.score_thresholds import score_above

if TYPE_CHECKING:
    from keras_actionformer.data.annotations import Video
    from keras_actionformer.detection.detections import Detections
    from keras_actionformer.detection.thresholds import Thresholds


def evaluate(
    ground_truth: Sequence[Video],
    detections: Mapping[str, Detections],
    tiou_thresholds: Sequence[float] | np.ndarray = TIOU_THRESHOLDS,
    recall_at: Sequence[int] = (1, 5),
    class_names: Sequence[str] | None = None,
    thresholds: float | Thresholds | None = None,
    average_recall: bool = False,
    errors: str | None = None,
) -> EvaluationResult:
    """Evaluates detections of many videos.

    A video without detections counts as missed. Detections of a video that is not in the ground
    truth count as false positives, detections of a class that is not in the ground truth are
    ignored; the result reports how many there were of both.

    Args:
      ground_truth: sequence of `annotations.Video` (used: `video_id`, `segments_sec` (N, 2) in
        seconds, `labels` (N,)), for example `load_annotations(path).subset("test")`.
      detections: dict, video id to `Detections`, label ids as in the ground truth.
      tiou_thresholds: sequence of float in (0, 1].
      recall_at: sequence of int, the factors k of Recall@kx.
      class_names: sequence of str, index = label id, for the printed tables; default: the names
        that the detections carry.
      thresholds: float, or the `Thresholds` of a model: scores from which on to count precision,
        recall and F1, too (at a tIoU of 0.5).
      average_recall: bool, measures AR@AN of the detections as proposals, too.
      errors: str, the `edges` of `analyze`, such as "thumos14" or "data", for an analysis of the
        errors, too (at a tIoU of 0.5, and with `thresholds`); None for none.

    Returns:
      An `EvaluationResult`.

    Raises:
      UserError: the ground truth has no instance or a video twice, a threshold or factor is out of
        range, the detections number the classes differently from `class_names`, or they write most
        names of videos or classes in another way than the ground truth.
    """
    class_names = common_class_names(detections, class_names)
    check_names(ground_truth, detections, class_names)
    arrays = flatten(ground_truth, detections)
    result = evaluate_arrays(*arrays, tiou_thresholds, recall_at, class_names)
    more = {}
    if thresholds is not None:
        more["above_thresholds"] = score_above(
            ground_truth, detections, thresholds, class_names=class_names
        )
    if average_recall:
        more["average_recall"] = measure_average_recall(*arrays)
    if errors is not None:
        more["errors"] = analyze(
            ground_truth,
            detections,
            tiou_thresholds=tiou_thresholds,
            thresholds=thresholds,
            edges=errors,
            class_names=class_names,
        )
    return dataclasses.replace(result, **more)


def evaluate_arrays(
    gt_videos,
    gt_segments_sec,
    gt_labels,
    videos,
    segments_sec,
    labels,
    scores,
    tiou_thresholds=TIOU_THRESHOLDS,
    recall_at=(1, 5),
    class_names=(),
    keep_all=False,
):
    """The same as `evaluate`, for flat arrays in any order (values are not checked).

    Args:
      gt_videos, gt_segments_sec, gt_labels, videos, segments_sec, labels, scores: as for
        `ranking.rank`.
      tiou_thresholds, recall_at, class_names: as for `evaluate`, and so are result and errors.
      keep_all: as for `ranking.rank`.
    """
    thresholds = checked_tiou_thresholds(tiou_thresholds)
    recall_at = _checked_recall_at(recall_at)

    ranked = rank(
        gt_videos,
        gt_segments_sec,
        gt_labels,
        videos,
        segments_sec,
        labels,
        scores,
        thresholds.min(),
        keep_all=keep_all,
    )
    class_ids, usable = ranked.class_ids, ranked.usable
    hits = np.stack([ranked.hits(threshold) for threshold in thresholds])
    edges = np.searchsorted(ranked.classes, np.arange(len(class_ids) + 1))
    hits_per_class = np.split(hits, edges[1:-1], axis=1)
    gt_per_class = ranked.ground_truth_per_class
    return EvaluationResult(
        tiou_thresholds=thresholds,
        recall_at=recall_at,
        class_ids=class_ids,
        class_names=tuple(
            class_names[i] if i < len(class_names) else f"class_{i}" for i in class_ids.tolist()
        ),
        ap=np.stack(list(map(average_precision, hits_per_class, gt_per_class)), axis=1),
        recall=recall_at_multiples(
            *ranked.pairs, thresholds, recall_at, ranked.ranks, ranked.count, gt_per_class
        ),
        ground_truth_per_class=gt_per_class,
        detections_per_class=np.diff(edges),
        num_ground_truth_left_out=int(len(usable) - usable.sum()),
        num_videos_without_detections=len(np.setdiff1d(gt_videos[usable], videos)),
        num_detections_outside=int(np.sum(videos[ranked.rows] < 0)),
        num_detections_ignored=int(len(labels) - len(ranked.rows)),
    )


def recall_at_multiples(pair_det, pair_gt, tiou, thresholds, recall_at, ranks, count, gt_per_class):
    """Recall@kx of each class.

    Args:
      pair_det, pair_gt, tiou: (R,) each, as `overlapping_pairs` returns them; ground truth is
        ordered by class.
      thresholds: float (thresholds,).
      recall_at: sequence of int, the factors k.
      ranks: int (M,), place of each detection by score among those of its class and video.
      count: int (M,), ground truths of its class and video.
      gt_per_class: int (classes,), each 1 or larger.

    Returns:
      float (thresholds, recall_at, classes) in 0..1.
    """
    starts = np.cumsum(gt_per_class) - gt_per_class
    recall = []
    for factor in recall_at:
        among_best = ranks[pair_det] < factor * count[pair_det]
        best_tiou = np.zeros(gt_per_class.sum())
        np.maximum.at(best_tiou, pair_gt[among_best], tiou[among_best])
        covered = best_tiou >= thresholds[:, None]
        recall.append(np.add.reduceat(covered.astype(np.int64), starts, axis=1) / gt_per_class)
    return np.stack(recall, axis=1)


def _checked_recall_at(recall_at):
    factors = tuple(recall_at)
    if not factors or any(not isinstance(k, numbers.Integral) or k < 1 for k in factors):
        raise UserError(f"recall_at must be one or more integers above 0, got {factors}.")
    return tuple(int(k) for k in factors)
