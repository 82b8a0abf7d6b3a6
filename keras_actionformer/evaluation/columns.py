"""Ground truth and detections of many videos as columns, with what finds what: for error analyses.

NumPy only; all arithmetic is float64.
"""

import dataclasses

import numpy as np

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
    durations = (getattr(video, "duration_sec", None) for video in ground_truth)
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
