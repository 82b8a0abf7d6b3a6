"""What a detector gets wrong, and where: one value with every analysis of its detections.

NumPy only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_actionformer.detection.thresholds import Thresholds
from keras_actionformer.evaluation.average_precision import (
    TIOU_THRESHOLDS,
    checked_tiou_thresholds,
)
from keras_actionformer.evaluation.boundaries import BoundaryErrors, boundary_errors
from keras_actionformer.evaluation.calibration import Calibration, calibration
from keras_actionformer.evaluation.columns import join_columns
from keras_actionformer.evaluation.confusion import ConfusionMatrix, confusion_matrix
from keras_actionformer.evaluation.curves import Curves, precision_recall_curves
from keras_actionformer.evaluation.false_positives import FalsePositives, false_positives
from keras_actionformer.evaluation.score_thresholds import TIOU, recommend_thresholds
from keras_actionformer.evaluation.sensitivity import Sensitivity, sensitivity

if TYPE_CHECKING:
    from keras_actionformer.data.annotations import Video
    from keras_actionformer.detection.detections import Detections


@dataclasses.dataclass(frozen=True)
class ErrorAnalysis:
    """What `analyze` has found. `print(analysis)` shows all of it, as text tables.

    Attributes:
      tiou: float, from which overlap on an instance is found.
      thresholds: `Thresholds`, scores from which on `confusion` and `boundaries` count detections;
        the other analyses look at all of them.
      false_positives: `FalsePositives`, kinds of wrong detections, and what each costs.
      sensitivity: `Sensitivity`, missed instances and mAP by length and the like.
      confusion: `ConfusionMatrix`, which classes are taken for which.
      boundaries: `BoundaryErrors`, of what is found.
      calibration: `Calibration`, whether scores are probabilities.
      curves: `Curves`, precision, recall and F1 of each class.
    """

    tiou: float
    thresholds: Thresholds
    false_positives: FalsePositives
    sensitivity: Sensitivity
    confusion: ConfusionMatrix
    boundaries: BoundaryErrors
    calibration: Calibration
    curves: Curves

    def __str__(self) -> str:
        return "\n\n".join(map(str, self._parts().values()))

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as plain numbers, lists and strings, ready for `json.dump`."""
        return {
            "tiou": self.tiou,
            "thresholds": {
                "common": self.thresholds.common,
                "per_class": list(self.thresholds.per_class),
            },
            **{name: part.to_dict() for name, part in self._parts().items()},
        }

    def _parts(self):
        """The analyses by their names, in the order in which they are told."""
        names = [field.name for field in dataclasses.fields(self)]
        return {name: getattr(self, name) for name in names if name not in ("tiou", "thresholds")}


def analyze(
    ground_truth: Sequence[Video],
    detections: Mapping[str, Detections],
    tiou: float = TIOU,
    tiou_thresholds: Sequence[float] | np.ndarray = TIOU_THRESHOLDS,
    thresholds: float | Thresholds | None = None,
    edges: str = "thumos14",
    class_names: Sequence[str] | None = None,
) -> ErrorAnalysis:
    """Tells what detections of many videos get wrong: of which kinds, where and by how much.

    The first two analyses are those of DETAD (Alwassel et al., ECCV 2018), which the ActionFormer
    paper uses in its appendix B.

    Args:
      ground_truth, detections, class_names: as for `evaluate`.
      tiou: float in (0, 1], from which overlap on an instance is found.
      tiou_thresholds: sequence of float in (0, 1], over which the mAP without a kind of false
        positives is averaged.
      thresholds: float, or the `Thresholds` of a model: scores from which on detections count
        where only those count that would be told. None takes those of the best F1 on these videos,
        and all where nothing is found.
      edges: where the bins of coverage, length and number of instances end: "thumos14" or
        "activitynet", as DETAD has them for these data sets, or "data", which puts as many
        instances into each.

    Returns:
      An `ErrorAnalysis`.

    Raises:
      UserError: see `evaluate`; or `edges` is something else.
    """
    tiou_thresholds = checked_tiou_thresholds(tiou_thresholds)
    tiou = float(checked_tiou_thresholds(tiou)[0])
    columns = join_columns(ground_truth, detections, min(tiou, *tiou_thresholds), class_names)
    if thresholds is None:
        num_classes = int(columns.class_ids.max()) + 1
        thresholds = recommend_thresholds(ground_truth, detections, num_classes, tiou, class_names)
        thresholds = thresholds or Thresholds(0.0)
    elif not isinstance(thresholds, Thresholds):
        thresholds = Thresholds(thresholds)
    by_class = thresholds.of(columns.class_ids)
    return ErrorAnalysis(
        tiou=tiou,
        thresholds=thresholds,
        false_positives=false_positives(columns, tiou, tiou_thresholds),
        sensitivity=sensitivity(columns, tiou, edges),
        confusion=confusion_matrix(columns, tiou, by_class),
        boundaries=boundary_errors(columns, tiou, by_class),
        calibration=calibration(columns, tiou),
        curves=precision_recall_curves(columns, tiou),
    )
