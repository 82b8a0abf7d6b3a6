"""How far the starts and ends of what is found are from those of the instances.

NumPy only.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_actionformer.detection.text_table import table
from keras_actionformer.errors import counted
from keras_actionformer.evaluation.shares import plain
from keras_actionformer.extras import import_extra

if TYPE_CHECKING:
    import pandas


@dataclasses.dataclass(frozen=True)
class Spread:
    """How errors are spread, in their unit; below 0 is too early. NaN where there are none.

    Attributes:
      bias: float, the mean.
      lower_quartile, median, upper_quartile: float, of the signed errors.
      median_absolute: float, half of the errors are at most that large.
    """

    bias: float
    lower_quartile: float
    median: float
    upper_quartile: float
    median_absolute: float


# eq=False: comparing arrays gives an array, so a generated `==` would raise.
@dataclasses.dataclass(frozen=True, eq=False)
class BoundaryErrors:
    """Errors of the boundaries of R detections that have found an instance of their class.

    `print(errors)` shows how they are spread, in seconds and in percent of the instance's length.

    Attributes:
      tiou: float, from which overlap on an instance is found.
      labels: int (R,), class ids.
      start_errors_sec: float (R,), start of the detection minus that of the instance.
      end_errors_sec: float (R,).
      lengths_sec: float (R,), of the instances.
    """

    tiou: float
    labels: np.ndarray
    start_errors_sec: np.ndarray
    end_errors_sec: np.ndarray
    lengths_sec: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def spreads(self) -> dict[str, Spread]:
        """The `Spread` of "start_sec", "end_sec", "start_percent" and "end_percent"."""
        return {
            "start_sec": _spread(self.start_errors_sec),
            "end_sec": _spread(self.end_errors_sec),
            "start_percent": _spread(100 * self.start_errors_sec / self.lengths_sec),
            "end_percent": _spread(100 * self.end_errors_sec / self.lengths_sec),
        }

    def __str__(self) -> str:
        rows = [("error of the", "bias", "25 %", "median", "75 %", "median size")]
        names = ("start (s)", "end (s)", "start (% of length)", "end (% of length)")
        for name, spread in zip(names, self.spreads().values(), strict=True):
            signed = (spread.bias, spread.lower_quartile, spread.median, spread.upper_quartile)
            rows.append(
                (name, *(f"{x:+.2f}" for x in signed), f"{spread.median_absolute:.2f}")
                if len(self)
                else (name, *["-"] * 5)
            )
        return (
            f"Boundaries of {counted(len(self), 'detection')} that found an instance at tIoU "
            f"{self.tiou:.2f}; - is too early\n{table(rows, ('<', '>6'))}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns how they are spread as plain numbers, ready for `json.dump`."""
        return {
            "tiou": self.tiou,
            "num_matched": len(self),
            **{
                name: {field: plain(value) for field, value in vars(spread).items()}
                for name, spread in self.spreads().items()
            },
        }

    def to_pandas(self) -> pandas.DataFrame:
        """Returns a `pandas.DataFrame`, a detection a row: label_id, start_error_sec,
        end_error_sec, length_sec.

        Raises:
          UserError: pandas is not installed.
        """
        pandas = import_extra("pandas", "pandas", "pandas", "BoundaryErrors.to_pandas")
        return pandas.DataFrame(
            {
                "label_id": self.labels,
                "start_error_sec": self.start_errors_sec,
                "end_error_sec": self.end_errors_sec,
                "length_sec": self.lengths_sec,
            }
        )


def boundary_errors(columns, tiou, thresholds):
    """Measures the boundaries of the detections above thresholds that find an instance.

    Args:
      columns: `Columns`.
      tiou: float in (0, 1].
      thresholds: float (classes,).

    Returns:
      `BoundaryErrors`.
    """
    matches = columns.ranked.matches(tiou)
    rows = np.flatnonzero((matches >= 0) & (columns.scores >= thresholds[columns.classes]))
    instances = columns.gt_segments_sec[matches[rows]]
    start_errors_sec, end_errors_sec = (columns.segments_sec[rows] - instances).T
    return BoundaryErrors(
        tiou=float(tiou),
        labels=columns.class_ids[columns.classes[rows]],
        start_errors_sec=start_errors_sec,
        end_errors_sec=end_errors_sec,
        lengths_sec=instances[:, 1] - instances[:, 0],
    )


def _spread(errors):
    if not len(errors):
        return Spread(*[np.nan] * 5)
    quartiles = np.percentile(errors, [25, 50, 75])
    return Spread(*map(float, (errors.mean(), *quartiles, np.median(abs(errors)))))
