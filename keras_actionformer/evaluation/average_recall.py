"""AR@AN: how many instances are covered by so many proposals a video, whatever their classes.

As the ActivityNet challenge scores proposals: a video gets a share of the proposals in proportion
to how many it has, its best ones by score; an instance is covered where one of them overlaps enough
with it (any number of instances may share one). Recall is averaged over tIoU thresholds from 0.5 to
0.95; AN is the average number of proposals a video with instances.

NumPy only.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from keras_actionformer.data.instances import usable_instances
from keras_actionformer.detection.text_table import table
from keras_actionformer.evaluation.matching import overlapping_pairs

MAX_NUMBER = 100
_TIOU_THRESHOLDS = np.arange(10, 20) / 20
_PRINTED = (1, 5, 10, 20, 50, 100)


# eq=False: comparing arrays gives an array, so a generated `==` would raise.
@dataclasses.dataclass(frozen=True, eq=False)
class AverageRecall:
    """Recall of proposals in 0..1. `print(result)` shows it in percent.

    Attributes:
      tiou_thresholds: float (10,), 0.5, 0.55 ... 0.95.
      numbers: int (100,), AN: 1, 2 ... 100 proposals a video on average.
      recall: float (10, 100), share of the instances that are covered.
    """

    tiou_thresholds: np.ndarray
    numbers: np.ndarray
    recall: np.ndarray

    @property
    def average_recall(self) -> np.ndarray:
        """float (100,): mean of `recall` over thresholds, the AR at each AN."""
        return self.recall.mean(axis=0)

    @property
    def auc(self) -> float:
        """float: area under AR over AN from 1 to 100, divided by 100."""
        curve = self.average_recall
        return float((curve[1:] + curve[:-1]).sum() / 2 / self.numbers[-1])

    def __str__(self) -> str:
        recall = [self.average_recall[number - 1] for number in _PRINTED]
        rows = [
            ("Proposals a video", *map(str, _PRINTED), "AUC"),
            ("average recall", *(f"{100 * value:.2f}" for value in (*recall, self.auc))),
        ]
        return table(rows, ("<", ">5"))

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as plain numbers and lists, ready for `json.dump`."""
        return {
            "tiou_thresholds": self.tiou_thresholds.tolist(),
            "numbers": self.numbers.tolist(),
            "recall": self.recall.tolist(),
            "average_recall": self.average_recall.tolist(),
            "auc": self.auc,
        }


def measure_average_recall(
    gt_videos, gt_segments_sec, gt_labels, videos, segments_sec, labels, scores
):
    """Recall of the detections as proposals.

    Args:
      gt_videos, gt_segments_sec, gt_labels, videos, segments_sec, labels, scores: as for
        `ranking.rank`; the detections' labels do not matter, and neither do those in videos
        without instances. There is an instance that counts.

    Returns:
      `AverageRecall`.
    """
    del labels
    usable = usable_instances(gt_videos, gt_segments_sec, gt_labels)
    order = np.argsort(gt_videos[usable], kind="stable")
    gt_segments_sec = gt_segments_sec[usable][order]
    annotated, gt_places = np.unique(gt_videos[usable][order], return_inverse=True)

    # Detections by video, then falling score; of equal scores the later one first, as for the mAP.
    rows = np.flatnonzero(np.isin(videos, annotated))
    rows = rows[np.lexsort((-rows, -scores[rows], videos[rows]))]
    places = np.searchsorted(annotated, videos[rows])
    available = np.bincount(places, minlength=len(annotated))
    ranks = np.arange(len(rows)) - (np.cumsum(available) - available)[places]

    count = np.bincount(gt_places)
    pair_det, pair_gt, tiou = overlapping_pairs(
        segments_sec[rows],
        gt_segments_sec,
        (np.cumsum(count) - count)[places],
        count[places],
        _TIOU_THRESHOLDS[0],
    )
    numbers = np.arange(1, MAX_NUMBER + 1)
    allowed = _allowed(available, numbers)[gt_places]
    recall = []
    for threshold in _TIOU_THRESHOLDS:
        enough = tiou >= threshold
        first = np.full(len(gt_places), len(rows))  # rank of the first that covers each instance
        np.minimum.at(first, pair_gt[enough], ranks[pair_det[enough]])
        recall.append(np.mean(first[:, None] < allowed, axis=0))
    return AverageRecall(_TIOU_THRESHOLDS, numbers, np.stack(recall))


def _allowed(available, numbers):
    """How many proposals of each video are looked at: int (videos, numbers).

    Args:
      available: int (videos,), how many it has.
      numbers: int (numbers,), how many there may be in a video on average; the last is the most.
    """
    if not available.sum():
        return np.zeros((len(available), len(numbers)), np.int64)
    # Both steps round down, as there: first to the most, then to each number.
    ratio = numbers[-1] * len(available) / available.sum()
    most = np.minimum((available * ratio).astype(np.int64), available)
    parts = numbers / numbers[-1] * (numbers[-1] * len(available) / max(most.sum(), 1))
    return np.minimum((most[:, None] * parts).astype(np.int64), most[:, None])
