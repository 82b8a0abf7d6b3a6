"""What an evaluation has found: its numbers, as text tables and as plain values for a file."""

import dataclasses
from typing import Any

import numpy as np

from keras_actionformer.detection.text_table import table
from keras_actionformer.errors import counted
from keras_actionformer.evaluation.average_recall import AverageRecall
from keras_actionformer.evaluation.error_analysis import ErrorAnalysis
from keras_actionformer.evaluation.score_thresholds import ThresholdScores


# eq=False: comparing arrays gives an array, so a generated `==` would raise.
@dataclasses.dataclass(frozen=True, eq=False)
class EvaluationResult:
    """Scores in 0..1 (the tables print percent). `print(result)` shows them.

    Attributes:
      tiou_thresholds: float (thresholds,).
      recall_at: tuple of int, the factors k of Recall@kx.
      class_ids: int (classes,), the label ids that occur in the ground truth, rising.
      class_names: tuple of str (classes,), `class_<id>` where no name is known.
      ap: float (thresholds, classes), average precision.
      recall: float (thresholds, recall_at, classes).
      ground_truth_per_class: int (classes,), instances.
      detections_per_class: int (classes,).
      num_ground_truth_left_out: int, instances shorter than a millisecond or repeated.
      num_videos_without_detections: int, videos with instances and no detection.
      num_detections_outside: int, of the evaluated detections, those in videos that are not in the
        ground truth; they are false positives.
      num_detections_ignored: int, detections of classes that are not in the ground truth.
      above_thresholds: `ThresholdScores`, what is found from some score on; or None.
      average_recall: `AverageRecall`, AR@AN; or None.
      errors: `ErrorAnalysis`; or None.
    """

    tiou_thresholds: np.ndarray
    recall_at: tuple[int, ...]
    class_ids: np.ndarray
    class_names: tuple[str, ...]
    ap: np.ndarray
    recall: np.ndarray
    ground_truth_per_class: np.ndarray
    detections_per_class: np.ndarray
    num_ground_truth_left_out: int
    num_videos_without_detections: int
    num_detections_outside: int
    num_detections_ignored: int
    above_thresholds: ThresholdScores | None = None
    average_recall: AverageRecall | None = None
    errors: ErrorAnalysis | None = None

    @property
    def mean_ap(self) -> np.ndarray:
        """float (thresholds,): mean of `ap` over classes."""
        return self.ap.mean(axis=1)

    @property
    def average_mean_ap(self) -> float:
        """float: mean of `mean_ap` over thresholds."""
        return float(self.mean_ap.mean())

    @property
    def mean_recall(self) -> np.ndarray:
        """float (thresholds, recall_at): mean of `recall` over classes."""
        return self.recall.mean(axis=2)

    @property
    def num_ground_truth(self) -> int:
        """int: evaluated instances."""
        return int(self.ground_truth_per_class.sum())

    @property
    def num_detections(self) -> int:
        """int: evaluated detections."""
        return int(self.detections_per_class.sum())

    def __str__(self) -> str:
        rows = [("tIoU", *(f"{t:.2f}" for t in self.tiou_thresholds), "average")]
        rows.append(("mAP", *_percent(self.mean_ap)))
        for factor, recall in zip(self.recall_at, self.mean_recall.T):
            rows.append((f"Recall@{factor}x", *_percent(recall)))
        lines = [
            f"{counted(self.num_detections, 'detection')}, "
            f"{counted(self.num_ground_truth, 'ground-truth instance')} of "
            f"{counted(len(self.class_ids), 'class')} (percent)",
            _score_table(rows),
        ]
        notes = {
            "Videos with ground truth but no detection": self.num_videos_without_detections,
            "Detections in other videos, false positives": self.num_detections_outside,
            "Detections of other classes, ignored": self.num_detections_ignored,
            "Instances repeated or under 1 ms, left out": self.num_ground_truth_left_out,
        }
        lines += [f"{text}: {number}" for text, number in notes.items() if number]
        more = (self.above_thresholds, self.average_recall)
        lines += [str(one) for one in more if one is not None]
        text = "\n".join(lines)
        return text if self.errors is None else f"{text}\n\n{self.errors}"

    def per_class_table(self) -> str:
        """Returns a text table, one class a line: instances, detections and AP in percent.

        Where scores above thresholds are known, a second one with these follows.
        """
        thresholds = [f"AP@{t:.2f}" for t in self.tiou_thresholds]
        rows = [("class", "truth", "found", *thresholds, "average")]
        for column, name in enumerate(self.class_names):
            truth, found = self.ground_truth_per_class[column], self.detections_per_class[column]
            rows.append((name, str(truth), str(found), *_percent(self.ap[:, column])))
        tables = [_score_table(rows)]
        if self.above_thresholds is not None:
            tables.append(self.above_thresholds.per_class_table())
        return "\n\n".join(tables)

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as plain numbers, lists and strings, ready for `json.dump`."""
        return {
            "tiou_thresholds": self.tiou_thresholds.tolist(),
            "mean_ap": self.mean_ap.tolist(),
            "average_mean_ap": self.average_mean_ap,
            "recall_at": list(self.recall_at),
            "mean_recall": self.mean_recall.tolist(),
            "num_ground_truth": self.num_ground_truth,
            "num_detections": self.num_detections,
            "num_ground_truth_left_out": self.num_ground_truth_left_out,
            "num_videos_without_detections": self.num_videos_without_detections,
            "num_detections_outside": self.num_detections_outside,
            "num_detections_ignored": self.num_detections_ignored,
            **{
                name: getattr(self, name).to_dict()
                for name in ("above_thresholds", "average_recall", "errors")
                if getattr(self, name) is not None
            },
            "classes": [
                {
                    "label_id": int(self.class_ids[column]),
                    "label": name,
                    "num_ground_truth": int(self.ground_truth_per_class[column]),
                    "num_detections": int(self.detections_per_class[column]),
                    "ap": self.ap[:, column].tolist(),
                    "recall": self.recall[:, :, column].tolist(),
                }
                for column, name in enumerate(self.class_names)
            ],
        }


def _percent(values):
    """Formats scores and, last, their mean."""
    return [f"{100 * value:.2f}" for value in [*values, np.mean(values)]]


def _score_table(rows):
    return table(rows, ("<", ">7"), gap=" ")
