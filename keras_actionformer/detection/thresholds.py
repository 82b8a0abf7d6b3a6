"""From which score on detections count: what a model recommends. Does not load Keras."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_actionformer.checks import entries, from_fields, number, shown
from keras_actionformer.errors import UserError, counted


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Score thresholds: one for all classes and, where it is known better, one a class.

    Attributes:
      common: float, for all classes.
      per_class: tuple with the own threshold of each class, by id; None stands for a class that has
        none, such as one with too few instances to tell, and takes the common one. Empty when no
        class has its own.

    Raises:
      UserError: a threshold is no finite number.
    """

    common: float
    per_class: tuple[float | None, ...] = ()

    if TYPE_CHECKING:  # what it takes is more than what it keeps

        def __init__(self, common: float, per_class: Sequence[float | None] = ()) -> None: ...

    def __post_init__(self):
        own = entries(self.per_class)
        if own is None:
            raise UserError(
                "per_class must be a list with a threshold, or None, for each class, but is "
                f"{shown(self.per_class)}."
            )
        per_class = (x if x is None else float(number("per_class", x)) for x in own)
        object.__setattr__(self, "common", float(number("common", self.common)))
        object.__setattr__(self, "per_class", tuple(per_class))

    def __str__(self) -> str:
        own = [x for x in self.per_class if x is not None]
        if not own:
            return f"{self.common:g}"
        low, high = min(own), max(own)
        by_class = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        return f"{self.common:g} ({by_class} by class)"

    def of(self, labels: np.ndarray) -> np.ndarray:
        """The threshold of each of some class ids, int (M,) -> float64 (M,).

        Raises:
          UserError: a class id has no place in `per_class`.
        """
        largest = np.max(labels, initial=-1)
        if self.per_class and largest >= len(self.per_class):
            raise UserError(
                f"The thresholds are those of {counted(len(self.per_class), 'class')}, but a "
                "detection has "
                f"the class id {largest}: take those of the model that has found it."
            )
        by_label = [self.common if x is None else x for x in self.per_class]
        by_label += [self.common] * (largest + 1 - len(by_label))
        return np.array(by_label, np.float64)[labels]


# For all classes, by class id or name, or as a model has them.
ScoreThreshold = float | Mapping[int | str, float] | Thresholds


def check_thresholds(value, num_classes):
    """What a model of some classes is given as thresholds: `Thresholds`, its fields as a dict, or
    None, which stays None.

    Raises:
      UserError: it is something else, or of another number of classes.
    """
    thresholds = from_fields("thresholds", value, Thresholds)
    if thresholds is not None and len(thresholds.per_class) not in (0, num_classes):
        raise UserError(
            f"thresholds has {len(thresholds.per_class)} in per_class, but num_classes="
            f"{num_classes}; make them agree, or leave per_class empty."
        )
    return thresholds
