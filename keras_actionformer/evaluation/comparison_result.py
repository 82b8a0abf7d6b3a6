"""What a comparison of detectors has found: as text tables and as plain values for a file."""

import dataclasses
from typing import Any

import numpy as np

from keras_actionformer.detection.text_table import table
from keras_actionformer.detection.thresholds import Thresholds
from keras_actionformer.errors import counted
from keras_actionformer.evaluation.result import EvaluationResult

_PRINTED_INSTANCES = 10


@dataclasses.dataclass(frozen=True)
class Interval:
    """A difference of scores in 0..1, and where it may lie.

    Attributes:
      value: float.
      low, high: float, the ends of the interval.
    """

    value: float
    low: float
    high: float

    @property
    def is_real(self) -> bool:
        """bool, whether 0 lies outside."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        value, low, high = (100 * number for number in (self.value, self.low, self.high))
        return f"{value:+.2f} ({low:+.2f} to {high:+.2f})"

    def to_dict(self) -> dict[str, Any]:
        """Returns plain numbers, ready for `json.dump`."""
        return {**dataclasses.asdict(self), "is_real": self.is_real}


@dataclasses.dataclass(frozen=True)
class Instance:
    """An instance of the ground truth.

    Attributes:
      video_id: str.
      start_sec, end_sec: float.
      label: str, its class.
    """

    video_id: str
    start_sec: float
    end_sec: float
    label: str


@dataclasses.dataclass(frozen=True)
class Difference:
    """A detector beside the first one; scores are its own minus those of the first.

    Attributes:
      name: str.
      average_mean_ap: `Interval`, mAP on average over tIoU thresholds.
      mean_ap: tuple of `Interval`, a tIoU threshold each.
      f1: `Interval`.
      classes: tuple of `Interval`, AP of each class on average over tIoU thresholds.
      num_both, num_neither: int, instances that both find above their thresholds, or none.
      gained, lost: tuples of `Instance` that it alone finds, and that the first alone finds.
    """

    name: str
    average_mean_ap: Interval
    mean_ap: tuple[Interval, ...]
    f1: Interval
    classes: tuple[Interval, ...]
    num_both: int
    num_neither: int
    gained: tuple[Instance, ...]
    lost: tuple[Instance, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as plain numbers, lists and strings, ready for `json.dump`."""
        return {
            "name": self.name,
            "average_mean_ap": self.average_mean_ap.to_dict(),
            "mean_ap": [one.to_dict() for one in self.mean_ap],
            "f1": self.f1.to_dict(),
            "ap": [one.to_dict() for one in self.classes],
            "num_both": self.num_both,
            "num_neither": self.num_neither,
            "gained": [dataclasses.asdict(one) for one in self.gained],
            "lost": [dataclasses.asdict(one) for one in self.lost],
        }


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """Detectors scored on the same videos. `print(comparison)` shows the tables.

    Attributes:
      names: tuple of str.
      num_videos: int.
      num_resamples: int, how often videos were drawn.
      confidence: float, of the intervals.
      tiou: float, from which overlap an instance counts as found.
      thresholds: tuple of `Thresholds`, scores from which on detections count as found.
      results: tuple of `EvaluationResult`, one a detector.
      differences: tuple of `Difference`, one a detector but for the first.
    """

    names: tuple[str, ...]
    num_videos: int
    num_resamples: int
    confidence: float
    tiou: float
    thresholds: tuple[Thresholds, ...]
    results: tuple[EvaluationResult, ...]
    differences: tuple[Difference, ...]

    def __str__(self) -> str:
        base, *others = zip(self.names, self.results, strict=True)
        rows = [("", "mAP", "difference", "", "F1", "difference", "")]
        rows.append((base[0], *_scores(base[1])))
        for (name, result), difference in zip(others, self.differences, strict=True):
            mean_ap, f1 = _scores(result)[0], _scores(result)[3]
            ours, theirs = difference.average_mean_ap, difference.f1
            rows.append(
                (name, mean_ap, str(ours), _verdict(ours), f1, str(theirs), _verdict(theirs))
            )
        columns = ("<", ">6", ">", "<", ">6", ">", "<")
        return "\n".join(
            [
                self.head(),
                table(rows, columns),
                *(f"\n{self._told(difference)}" for difference in self.differences),
            ]
        )

    def head(self) -> str:
        """What the numbers are, in a sentence."""
        result = self.results[0]
        return (
            f"{counted(self.num_videos, 'video')}, "
            f"{counted(result.num_ground_truth, 'instance')}, scores in percent; differences to "
            f"{self.names[0]} in points, with the\n{100 * self.confidence:.0f} % interval of "
            f"{self.num_resamples} draws of the videos"
        )

    def _told(self, difference):
        found = (
            f"{difference.name} finds {counted(len(difference.gained), 'instance')} that "
            f"{self.names[0]} misses, and misses {len(difference.lost)} that it finds; both find "
            f"{difference.num_both}, neither {difference.num_neither}."
        )
        lines = [found, *self._listed("gained", difference.gained)]
        return "\n".join([*lines, *self._listed("lost", difference.lost)])

    def _listed(self, title, instances):
        if not instances:
            return []
        rows = [
            (f"  {one.video_id}", f"{one.start_sec:.2f}", f"{one.end_sec:.2f}", one.label)
            for one in instances[:_PRINTED_INSTANCES]
        ]
        lines = [f"{title}:", table(rows, ("<", ">", ">", "<"))]
        more = len(instances) - _PRINTED_INSTANCES
        return [*lines, f"  ... and {more} more"] if more > 0 else lines

    def per_class_table(self) -> str:
        """Returns a text table of the AP of each class and its differences.

        Of 20 classes that are alike one is called real by chance.
        """
        first = self.results[0]
        head = ("class", "truth", f"AP {self.names[0]}")
        rows = [(*head, *(text for one in self.differences for text in (one.name, "")))]
        for place, name in enumerate(first.class_names):
            row = [name, str(first.ground_truth_per_class[place]), _percent(first.ap[:, place])]
            for difference in self.differences:
                interval = difference.classes[place]
                row += [str(interval), _verdict(interval)]
            rows.append(tuple(row))
        return table(rows, ("<", ">", ">", *(">", "<") * len(self.differences)))

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as plain numbers, lists and strings, ready for `json.dump`."""
        return {
            "names": list(self.names),
            "num_videos": self.num_videos,
            "num_resamples": self.num_resamples,
            "confidence": self.confidence,
            "tiou": self.tiou,
            "thresholds": [
                {"common": one.common, "per_class": list(one.per_class)} for one in self.thresholds
            ],
            "results": [result.to_dict() for result in self.results],
            "differences": [difference.to_dict() for difference in self.differences],
        }


def _scores(result):
    """The cells of a detector that is compared with none."""
    f1 = result.above_thresholds.f1
    return f"{100 * result.average_mean_ap:.2f}", "", "", f"{100 * np.nan_to_num(f1):.2f}", "", ""


def _verdict(interval):
    return "real" if interval.is_real else "may be chance"


def _percent(scores):
    return f"{100 * np.mean(scores):.2f}"
