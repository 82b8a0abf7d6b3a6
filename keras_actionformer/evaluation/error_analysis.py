"""What a detector gets wrong, and where: one value with every analysis of its detections.

NumPy only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_actionformer.evaluation.columns import join_columns
from keras_actionformer.evaluation.evaluation import TIOU_THRESHOLDS, checked_tiou_thresholds
from keras_actionformer.evaluation.false_positives import FalsePositives, false_positives

if TYPE_CHECKING:
    from keras_actionformer.data.annotations import Video
    from keras_actionformer.detection.detections import Detections


@dataclasses.dataclass(frozen=True, eq=False)
class ErrorAnalysis:
    """What `analyze` has found. `print(analysis)` shows it.

    Attributes:
      tiou: float, from which overlap on an instance is found.
      false_positives: `FalsePositives`, kinds of wrong detections.
    """

    tiou: float
    false_positives: FalsePositives

    def __str__(self) -> str:
        return str(self.false_positives)

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as plain numbers, lists and strings, ready for `json.dump`."""
        return {"tiou": self.tiou, "false_positives": self.false_positives.to_dict()}


def analyze(
    ground_truth: Sequence[Video],
    detections: Mapping[str, Detections],
    tiou: float = 0.5,
    tiou_thresholds: Sequence[float] | np.ndarray = TIOU_THRESHOLDS,
    class_names: Sequence[str] | None = None,
) -> ErrorAnalysis:
    """Analyzes the errors of detections of many videos.

    Args:
      ground_truth, detections, class_names: as for `evaluate`.
      tiou: float in (0, 1], from which overlap on an instance is found.
      tiou_thresholds: sequence of float in (0, 1], over which the mAP is averaged.

    Returns:
      An `ErrorAnalysis`.

    Raises:
      UserError: see `evaluate`.
    """
    tiou_thresholds = checked_tiou_thresholds(tiou_thresholds)
    tiou = float(checked_tiou_thresholds(tiou)[0])
    columns = join_columns(ground_truth, detections, min(tiou, *tiou_thresholds), class_names)
    return ErrorAnalysis(tiou=tiou, false_positives=false_positives(columns, tiou, tiou_thresholds))
