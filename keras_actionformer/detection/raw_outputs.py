"""What the network says at every point of its pyramid, before anything is chosen."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from keras_actionformer.detection.detections import Detections


# eq=False: comparing arrays gives an array, so a generated `==` would raise.
@dataclasses.dataclass(frozen=True, eq=False)
class RawOutputs:
    """The network's outputs for one sequence, at the P points that it has: level by level, by time.

    Times may lie before 0 and after the sequence's end, where `detect` clips them.

    Attributes:
      points_sec: float32 (P,), when the points are.
      levels: int64 (P,), of the pyramid; 0 is the finest one that has points.
      scores: float32 (P, K), of each class, in 0..1 (after the sigmoid).
      segments_sec: float32 (P, 2), start and end of the action that each point sees, if any.
      class_names: tuple of K str; empty when there are none.
    """

    points_sec: np.ndarray
    levels: np.ndarray
    scores: np.ndarray
    segments_sec: np.ndarray
    class_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.points_sec)

    def score_curve(self, label: int) -> tuple[np.ndarray, np.ndarray]:
        """A class over time: the highest score that any level gives each point of the finest one.

        Points of a coarser level speak for the time around them, up to halfway to the next.

        Args:
          label: int, class id.

        Returns:
          (float (T,) seconds, float (T,) scores).
        """
        times = self.points_sec[self.levels == 0]
        highest = np.zeros(len(times), self.scores.dtype)
        for level in np.unique(self.levels):
            mine = self.levels == level
            points_sec = self.points_sec[mine]
            nearest = np.searchsorted((points_sec[1:] + points_sec[:-1]) / 2, times)
            highest = np.maximum(highest, self.scores[mine, label][nearest])
        return times, highest

    def levels_of(self, detections: Detections) -> np.ndarray:
        """Which level has found each detection: int64 (M,).

        Of all points it is the one that says the most for a detection: the score that it gives the
        class, times the tIoU of its segment. (Suppression has averaged segments that overlap, so
        that none may be quite that of the detection.)
        """
        starts, ends = self.segments_sec.T.astype(np.float64)
        levels = np.zeros(len(detections), np.int64)
        for place, (start, end) in enumerate(detections.segments_sec):
            inside = np.minimum(ends, end) - np.maximum(starts, start)
            either = np.maximum(ends, end) - np.minimum(starts, start)
            tiou = np.maximum(inside, 0) / np.maximum(either, 1e-9)
            levels[place] = self.levels[np.argmax(tiou * self.scores[:, detections.labels[place]])]
        return levels
