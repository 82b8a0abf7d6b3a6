"""Whether scores are probabilities: of detections with a score of 0.7, are 70 % right?

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

NUM_BINS = 10


# eq=False: comparing arrays gives an array, so a generated `==` would raise.
@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """Detections in bins of their score. `print(calibration)` shows them.

    Attributes:
      tiou: float, from which overlap a detection is right, as for the mAP.
      edges: float (11,), of the bins; a bin has its lower edge in it. What scores above 1 is in the
        last one.
      num_detections: int (10,).
      num_right: int (10,).
      mean_scores: float (10,), NaN of an empty bin.
    """

    tiou: float
    edges: np.ndarray
    num_detections: np.ndarray
    num_right: np.ndarray
    mean_scores: np.ndarray

    @property
    def precision(self) -> np.ndarray:
        """float (10,): share of the detections that are right, NaN of an empty bin."""
        return quotient(self.num_right, self.num_detections)

    @property
    def expected_error(self) -> float:
        """float: the expected calibration error (Naeini et al., AAAI 2015).

        How far the mean score of a bin is from its precision, on average over the detections; NaN
        without detections.
        """
        filled = self.num_detections > 0
        gaps = abs(self.mean_scores - self.precision)[filled] * self.num_detections[filled]
        return float(quotient(gaps.sum(), self.num_detections.sum()))

    def __str__(self) -> str:
        rows = [("scores", "detections", "mean score", "right %")]
        for place, number in enumerate(self.num_detections):
            rows.append(
                (
                    f"{self.edges[place]:.1f} to {self.edges[place + 1]:.1f}",
                    str(number),
                    f"{self.mean_scores[place]:.3f}" if number else "-",
                    percent(self.precision[place], 1),
                )
            )
        error = percent(self.expected_error, 1)
        return (
            f"Scores and how many detections are right at tIoU {self.tiou:.2f}; expected "
            f"calibration error {error} %\n{table(rows, ('<', '>'))}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as plain numbers, lists and strings, ready for `json.dump`."""
        return {
            "tiou": self.tiou,
            "expected_error": plain(self.expected_error),
            "edges": self.edges.tolist(),
            "num_detections": self.num_detections.tolist(),
            "num_right": self.num_right.tolist(),
            "mean_scores": plain(self.mean_scores),
            "precision": plain(self.precision),
        }

    def to_pandas(self) -> pandas.DataFrame:
        """Returns a `pandas.DataFrame`, a bin a row: from_score, to_score, num_detections,
        num_right, mean_score, precision.

        Raises:
          UserError: pandas is not installed.
        """
        pandas = import_extra("pandas", "pandas", "pandas", "Calibration.to_pandas")
        return pandas.DataFrame(
            {
                "from_score": self.edges[:-1],
                "to_score": self.edges[1:],
                "num_detections": self.num_detections,
                "num_right": self.num_right,
                "mean_score": self.mean_scores,
                "precision": self.precision,
            }
        )


def calibration(columns, tiou):
    """Counts right detections by score.

    Args:
      columns: `Columns`.
      tiou: float in (0, 1].

    Returns:
      `Calibration`.
    """
    edges = np.arange(NUM_BINS + 1) / NUM_BINS
    bins = np.clip(np.searchsorted(edges, columns.scores, side="right") - 1, 0, NUM_BINS - 1)
    count = lambda weights: np.bincount(bins, weights, minlength=NUM_BINS)  # noqa: E731
    number = count(None)
    return Calibration(
        tiou=float(tiou),
        edges=edges,
        num_detections=number,
        num_right=count(columns.ranked.hits(tiou)).astype(np.int64),
        mean_scores=quotient(count(columns.scores), number),
    )
