"""Which classes are taken for which, and for nothing: the confusion matrix above score thresholds.

First each detection finds instances of its own class as for the mAP; then those that have found
none find, by falling score, the instances that are left, of whatever class. So a class is right as
often as precision and recall count it, and every instance and every detection counts once.

NumPy only.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_actionformer.detection.text_table import table
from keras_actionformer.evaluation.matching import match_detections
from keras_actionformer.extras import import_extra

if TYPE_CHECKING:
    import pandas

BACKGROUND = "background"


# eq=False: comparing arrays gives an array, so a generated `==` would raise.
@dataclasses.dataclass(frozen=True, eq=False)
class ConfusionMatrix:
    """Instances by their class and the class they are found as. `print(matrix)` sums it up.

    Attributes:
      tiou: float, from which overlap on an instance is found.
      class_ids: int (classes,), the label ids that occur, rising.
      class_names: tuple of str (classes,).
      thresholds: float (classes,), scores from which on detections of each class count.
      counts: int (classes + 1, classes + 1); a row a true class, a column a found one; the last row
        is of detections where nothing is (false alarms), the last column of missed instances.
    """

    tiou: float
    class_ids: np.ndarray
    class_names: tuple[str, ...]
    thresholds: np.ndarray
    counts: np.ndarray

    @property
    def names(self) -> tuple[str, ...]:
        """The names of rows and columns: those of the classes, and "background"."""
        return (*self.class_names, BACKGROUND)

    @property
    def shares(self) -> np.ndarray:
        """float (classes + 1, classes + 1): counts by the instances of their true class.

        False alarms are by those of the class that they are found as, and may be more than 1; where
        there is no instance all is 0.
        """
        instances = np.maximum(self.counts[:-1].sum(axis=1), 1)
        shares = self.counts / np.append(instances, 1)[:, None]
        shares[-1, :-1] = self.counts[-1, :-1] / instances
        return shares

    def __str__(self) -> str:
        rows = [("class", "truth", "right", "missed", "as others", "false alarms", "most often as")]
        confused = self.counts[:-1, :-1].copy()
        np.fill_diagonal(confused, 0)
        columns = (
            self.counts[:-1].sum(axis=1),
            self.counts.diagonal()[:-1],
            self.counts[:-1, -1],
            confused.sum(axis=1),
            self.counts[-1, :-1],
        )
        for place, name in enumerate(self.class_names):
            other = int(confused[place].argmax())
            often = f"{self.class_names[other]} ({confused[place, other]})"
            rows.append(
                (
                    name,
                    *(str(column[place]) for column in columns),
                    often if confused[place, other] else "",
                )
            )
        rows.append(("all", *(str(column.sum()) for column in columns), ""))
        low, high = self.thresholds.min(), self.thresholds.max()
        scores = f"{low:g}" if low == high else f"{low:g} to {high:g} (by class)"
        return (
            f"Instances and what they are found as, scores of {scores} or more, tIoU "
            f"{self.tiou:.2f}\n{table(rows, ('<', '>', '>', '>', '>', '>', '<'))}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as plain numbers, lists and strings, ready for `json.dump`."""
        return {
            "tiou": self.tiou,
            "labels": list(self.names),
            "label_ids": self.class_ids.tolist(),
            "thresholds": self.thresholds.tolist(),
            "counts": self.counts.tolist(),
        }

    def to_pandas(self) -> pandas.DataFrame:
        """Returns a `pandas.DataFrame`: an index of true classes, a column a found one.

        Raises:
          UserError: pandas is not installed.
        """
        pandas = import_extra("pandas", "pandas", "pandas", "ConfusionMatrix.to_pandas")
        return pandas.DataFrame(
            self.counts,
            index=pandas.Index(self.names, name="truth"),
            columns=pandas.Index(self.names, name="found"),
        )


def confusion_matrix(columns, tiou, thresholds):
    """Counts which class is found as which.

    Args:
      columns: `Columns`.
      tiou: float in (0, 1].
      thresholds: float (classes,).

    Returns:
      `ConfusionMatrix`.
    """
    background = len(columns.class_ids)
    above = columns.scores >= thresholds[columns.classes]
    matches = np.where(above, columns.ranked.matches(tiou), -1)
    is_free = np.ones(len(columns.gt_classes), bool)
    is_free[matches[matches >= 0]] = False
    rows = np.flatnonzero(above & (matches < 0))
    rows = rows[np.argsort(-columns.scores[rows], kind="stable")]
    pairs = columns.pairs_of_any_class(rows, np.flatnonzero(is_free), tiou)
    matches[rows] = match_detections(*pairs, tiou, len(rows), len(is_free))

    found_as = np.full(len(is_free), background)
    found_as[matches[matches >= 0]] = columns.classes[matches >= 0]
    counts = np.zeros((background + 1, background + 1), np.int64)
    np.add.at(counts, (columns.gt_classes, found_as), 1)
    np.add.at(counts, (background, columns.classes[above & (matches < 0)]), 1)
    return ConfusionMatrix(
        tiou=float(tiou),
        class_ids=columns.class_ids,
        class_names=columns.class_names,
        thresholds=thresholds,
        counts=counts,
    )
