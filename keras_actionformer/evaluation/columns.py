"""Ground truth and detections of many videos as columns, with what finds what: for error analyses.

NumPy only; all arithmetic is float64.
"""

import dataclasses

import numpy as np

from keras_actionformer.evaluation.average_precision import average_precision
from keras_actionformer.evaluation.matching import overlapping_pairs
from keras_actionformer.evaluation.near_names import check_names
from keras_actionformer.evaluation.ranking import Ranked, common_class_names, flatten, rank


@dataclasses.dataclass(frozen=True, eq=False)
class Columns:
    """Instances by class, then video; detections by class, then falling score.

    Unlike for the mAP, detections of classes that the ground truth has not are among them.

    Attributes:
      class_ids: int (classes,), the label ids that occur, rising; "class" below is a place in it.
      class_names: tuple of str (classes,), `class_<id>` where no name is known.
      num_videos: int, those of the ground truth.
      durations_sec: float (num_videos,), NaN where unknown.
      gt_videos, gt_classes: int (N,), of each instance that counts.
      gt_segments_sec: float (N, 2).
      videos, classes: int (M,), of each detection; video -1 is none of the ground truth.
      segments_sec: float (M, 2).
      scores: float (M,).
      ranked: `Ranked`, which tells what finds what.
    """

    class_ids: np.ndarray
    class_names: tuple[str, ...]
    num_videos: int
    durations_sec: np.ndarray
    gt_videos: np.ndarray
    gt_classes: np.ndarray
    gt_segments_sec: np.ndarray
    videos: np.ndarray
    classes: np.ndarray
    segments_sec: np.ndarray
    scores: np.ndarray
    ranked: Ranked

    @property
    def ground_truth_per_class(self):
        """int (classes,), instances."""
        return self.ranked.ground_truth_per_class

    @property
    def norm(self):
        """float, instances of a class on average: the N of normalized AP."""
        instances = self.ground_truth_per_class
        return float(instances.sum() / np.count_nonzero(instances))

    def places_in_class(self):
        """int (M,), how many detections of its class come before each."""
        starts = np.searchsorted(self.classes, np.arange(len(self.class_ids)))
        return np.arange(len(self.classes)) - starts[self.classes]

    def pairs_of_any_class(self, rows, gt_rows, min_tiou):
        """Lists the pairs of a detection and an instance of a video, whatever their classes.

        Args:
          rows: int (R,), some of the detections.
          gt_rows: int (S,), some of the instances.
          min_tiou: float, pairs below are dropped.

        Returns:
          (place in `rows`, instance, tIoU) of each pair, see `matching.overlapping_pairs`.
        """
        gt_rows = gt_rows[np.argsort(self.gt_videos[gt_rows], kind="stable")]
        videos, gt_videos = self.videos[rows], self.gt_videos[gt_rows]
        first = np.searchsorted(gt_videos, videos, side="left")
        count = np.searchsorted(gt_videos, videos, side="right") - first
        pair_det, pair_gt, tiou = overlapping_pairs(
            self.segments_sec[rows], self.gt_segments_sec[gt_rows], first, count, min_tiou
        )
        return pair_det, gt_rows[pair_gt], tiou

    def mean_ap(self, hits, kept, instances=None, normalized=True):
        """Mean over classes of the AP of some of the detections.

        Args:
          hits: bool (M,), those that find an instance.
          kept: bool (M,), those to score.
          instances: int (classes,), how many are to be found; classes without any do not count.
            None for all.
          normalized: bool, see `average_precision`.

        Returns:
          float in 0..1, NaN without instances.
        """
        instances = self.ground_truth_per_class if instances is None else instances
        hits, classes = hits[kept], self.classes[kept]
        edges = np.searchsorted(classes, np.arange(len(instances) + 1))
        norm = self.norm if normalized else None
        scores = [
            average_precision(hits[edges[place] : edges[place + 1]], instances[place], norm)
            for place in np.flatnonzero(instances)
        ]
        return float(np.mean(scores)) if scores else np.nan


def join_columns(ground_truth, detections, min_tiou, class_names=None):
    """Joins the videos.

    Args:
      ground_truth, detections, class_names: as for `evaluation.evaluate`.
      min_tiou: float, the least tIoU that `ranked` will be asked for.

    Returns:
      `Columns`.

    Raises:
      UserError: see `evaluation.evaluate`.
    """
    names = common_class_names(detections, class_names)
    check_names(ground_truth, detections, names)
    arrays = flatten(ground_truth, detections)
    gt_videos, gt_segments_sec, gt_labels, videos, segments_sec, _, scores = arrays
    ranked = rank(*arrays, min_tiou, all_classes=True)
    rows, gt_rows = ranked.rows, ranked.gt_rows
    durations = (video.duration_sec for video in ground_truth)
    return Columns(
        class_ids=ranked.class_ids,
        class_names=tuple(
            names[i] if i < len(names) else f"class_{i}" for i in ranked.class_ids.tolist()
        ),
        num_videos=len(ground_truth),
        durations_sec=np.array([np.nan if one is None else one for one in durations], np.float64),
        gt_videos=gt_videos[gt_rows],
        gt_classes=np.searchsorted(ranked.class_ids, gt_labels[gt_rows]),
        gt_segments_sec=gt_segments_sec[gt_rows],
        videos=videos[rows],
        classes=ranked.classes,
        segments_sec=segments_sec[rows],
        scores=scores[rows],
        ranked=ranked,
    )
