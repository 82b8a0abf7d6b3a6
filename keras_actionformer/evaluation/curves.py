"""Precision, recall and F1 of each class over all score thresholds.

A detection is right when it finds an instance as for the mAP; see `score_thresholds` for the same
at one threshold.

NumPy only.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_actionformer.detection.text_table import table
from keras_actionformer.evaluation.shares import percent, plain, quotient
from keras_actionformer.extras import import_extra

if TYPE_CHECKING:
    import pandas

# Points of a curve in a file: nobody sees more.
FILE_POINTS = 200


# eq=False: comparing arrays gives an array, so a generated `==` would raise.
@dataclasses.dataclass(frozen=True, eq=False)
class Curve:
    """One class at S thresholds, or all classes together.

    Attributes:
      name: str, the class, or "all".
      label_id: int, or None for all classes.
      num_ground_truth: int, instances.
      thresholds: float (S,), falling: each score that a detection has.
      precision: float (S,), share of the detections with that score or a higher one that are right.
      recall: float (S,), share of the instances that they find; NaN without instances.
      f1: float (S,), 2 right / (detections + instances).
    """

    name: str
    label_id: int | None
    num_ground_truth: int
    thresholds: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray

    def __len__(self) -> int:
        return len(self.thresholds)

    def thinned(self, max_points: int = FILE_POINTS) -> Curve:
        """Returns the curve with about as few points, spread so that its shape stays.

        They are as far from each other along the curve, both ends of a jump being kept; its first,
        its last and that of the highest F1 are among them.
        """
        if len(self) <= max_points:
            return self
        points = np.nan_to_num([self.thresholds, self.precision, self.recall, self.f1])
        way = np.append(0, np.cumsum(abs(np.diff(points)).max(axis=0)))
        evenly = np.searchsorted(way, np.linspace(0, way[-1], max_points // 2))
        kept = np.unique([*evenly, *np.maximum(evenly - 1, 0), self.f1.argmax(), len(self) - 1])
        return dataclasses.replace(
            self,
            thresholds=self.thresholds[kept],
            precision=self.precision[kept],
            recall=self.recall[kept],
            f1=self.f1[kept],
        )


@dataclasses.dataclass(frozen=True)
class Curves:
    """Precision, recall and F1 over thresholds. `print(curves)` shows the best F1 of each class.

    Attributes:
      tiou: float, from which overlap on an instance is found.
      classes: tuple of `Curve`, those that occur, by rising label id.
      all_classes: `Curve`, all detections together.
    """

    tiou: float
    classes: tuple[Curve, ...]
    all_classes: Curve

    def __str__(self) -> str:
        rows = [("class", "truth", "score", "precision", "recall", "F1")]
        for curve in (*self.classes, self.all_classes):
            if len(curve):
                best = curve.f1.argmax()
                shares = (x[best] for x in (curve.precision, curve.recall, curve.f1))
                texts = (f"{curve.thresholds[best]:.3f}", *map(percent, shares))
            else:
                texts = ("-",) * 4
            rows.append((curve.name, str(curve.num_ground_truth), *texts))
        return (
            f"The score of the highest F1 of each class, tIoU {self.tiou:.2f} (percent)\n"
            f"{table(rows, ('<', '>7'), gap=' ')}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the curves as plain numbers, lists and strings, ready for `json.dump`.

        Each is thinned to about 200 points, and numbers are rounded to 5 digits after the point.
        """
        return {
            "tiou": self.tiou,
            "classes": [_plain(curve) for curve in self.classes],
            "all": _plain(self.all_classes),
        }

    def to_pandas(self) -> pandas.DataFrame:
        """Returns a `pandas.DataFrame`: label, threshold, precision, recall, f1; "all" comes last.

        Raises:
          UserError: pandas is not installed.
        """
        pandas = import_extra("pandas", "pandas", "pandas", "Curves.to_pandas")
        parts = [
            pandas.DataFrame(
                {
                    "label": curve.name,
                    "threshold": curve.thresholds,
                    "precision": curve.precision,
                    "recall": curve.recall,
                    "f1": curve.f1,
                }
            )
            for curve in (*self.classes, self.all_classes)
        ]
        return pandas.concat(parts, ignore_index=True)


def precision_recall_curves(columns, tiou):
    """Precision, recall and F1 over thresholds.

    Args:
      columns: `Columns`.
      tiou: float in (0, 1].

    Returns:
      `Curves`.
    """
    hits = columns.ranked.hits(tiou)
    instances = columns.ground_truth_per_class
    edges = np.searchsorted(columns.classes, np.arange(len(instances) + 1))
    curves = []
    for place, name in enumerate(columns.class_names):
        mine = slice(edges[place], edges[place + 1])
        label = int(columns.class_ids[place])
        curves.append(_curve(name, label, int(instances[place]), columns.scores[mine], hits[mine]))
    order = np.argsort(-columns.scores, kind="stable")
    scores, hits = columns.scores[order], hits[order]
    return Curves(
        tiou=float(tiou),
        classes=tuple(curves),
        all_classes=_curve("all", None, int(instances.sum()), scores, hits),
    )


def _curve(name, label_id, num_ground_truth, scores, hits):
    """The `Curve` of detections by falling score."""
    is_last = np.append(scores[1:] < scores[:-1], True)[: len(scores)]  # of equal ones
    found = np.flatnonzero(is_last) + 1
    right = np.cumsum(hits)[is_last]
    return Curve(
        name=name,
        label_id=label_id,
        num_ground_truth=num_ground_truth,
        thresholds=scores[is_last],
        precision=quotient(right, found),
        recall=quotient(right, num_ground_truth),
        f1=quotient(2 * right, found + num_ground_truth),
    )


def _plain(curve):
    curve = curve.thinned()
    return {
        "label": curve.name,
        "label_id": curve.label_id,
        "num_ground_truth": curve.num_ground_truth,
        **{
            name: plain(getattr(curve, name).round(5))
            for name in ("thresholds", "precision", "recall", "f1")
        },
    }
