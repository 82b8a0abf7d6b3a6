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


@dataclasses.dataclass(frozen=True, eq=False)
class Compared:
    """A run, or several runs of one recipe, whose scores are the means of theirs.

    Attributes:
      name: str.
      runs: tuple of str, their names.
      thresholds: tuple of `Thresholds`, scores from which on detections of each run count as found.
      results: tuple of `EvaluationResult`, one a run.
    """

    name: str
    runs: tuple[str, ...]
    thresholds: tuple[Thresholds, ...]
    results: tuple[EvaluationResult, ...]

    @property
    def ap(self) -> np.ndarray:
        """float (thresholds, classes), average precision."""
        return np.mean([result.ap for result in self.results], axis=0)

    @property
    def f1(self) -> float:
        """float, above the thresholds; 0 where nothing is found."""
        found = [result.above_thresholds for result in self.results]
        return float(np.mean([np.nan_to_num(one.f1) if one else 0.0 for one in found]))

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as plain numbers, lists and strings, ready for `json.dump`."""
        return {
            "name": self.name,
            "runs": list(self.runs),
            "thresholds": [
                {"common": one.common, "per_class": list(one.per_class)} for one in self.thresholds
            ],
            "results": [result.to_dict() for result in self.results],
        }


@dataclasses.dataclass(frozen=True)
class Difference:
    """One beside the first one; scores are its own minus those of the first.

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
    """What was scored on the same videos. `print(comparison)` shows the tables.

    Attributes:
      compared: tuple of `Compared`.
      num_videos: int.
      num_resamples: int, how often videos were drawn.
      confidence: float, of the intervals.
      tiou: float, from which overlap an instance counts as found.
      spread: float, standard deviation of the average mAP of runs of one recipe; None where no
        recipe has several runs, so that the intervals know of the videos alone.
      degrees_of_freedom: int, of the spread: runs more than recipes.
      differences: tuple of `Difference`, one for each of the compared but for the first.
    """

    compared: tuple[Compared, ...]
    num_videos: int
    num_resamples: int
    confidence: float
    tiou: float
    spread: float | None
    degrees_of_freedom: int
    differences: tuple[Difference, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """tuple of str, of the compared."""
        return tuple(one.name for one in self.compared)

    def __str__(self) -> str:
        base, *others = self.compared
        rows = [("", "mAP", "difference", "", "F1", "difference", "")]
        rows.append((base.name, _percent(base.ap), "", "", _percent(base.f1), "", ""))
        for one, difference in zip(others, self.differences, strict=True):
            ours, theirs = difference.average_mean_ap, difference.f1
            ap, f1 = _percent(one.ap), _percent(one.f1)
            rows.append(
                (one.name, ap, str(ours), _verdict(ours), f1, str(theirs), _verdict(theirs))
            )
        columns = ("<", ">6", ">", "<", ">6", ">", "<")
        told = [f"\n{self._told(difference)}" for difference in self.differences]
        return "\n".join([*self.head(), table(rows, columns), *told])

    def head(self) -> list[str]:
        """What the numbers are: sentences, a line each."""
        result = self.compared[0].results[0]
        sentences = [
            f"{counted(self.num_videos, 'video')}, "
            f"{counted(result.num_ground_truth, 'instance')}, scores in percent; differences to "
            f"{self.names[0]} in points,",
            f"with the {100 * self.confidence:.0f} % interval of {self.num_resamples} draws of the "
            f"videos{'' if self.spread is None else ' and of the spread of the runs'}.",
        ]
        for one in self.compared:
            if len(one.runs) > 1:
                scores = [
                    f"{run} {_percent(own.ap)}"
                    for run, own in zip(one.runs, one.results, strict=True)
                ]
                sentences.append(f"{one.name} is the mean of {', '.join(scores)}.")
                sentences.append("It finds what more than half of them find.")
        if self.spread is not None:
            sentences.append(
                f"Runs that differ by their seed alone spread by {100 * self.spread:.2f} points of "
                f"mAP ({counted(self.degrees_of_freedom, 'degree')} of freedom)."
            )
        else:
            sentences.append(
                "How far a recipe's runs spread is not known: give several seeds of one for that."
            )
        return sentences

    def _told(self, difference):
        found = (
            f"Found by {difference.name} alone: {counted(len(difference.gained), 'instance')}, by "
            f"{self.names[0]} alone: {len(difference.lost)}, by both: {difference.num_both}, by "
            f"neither: {difference.num_neither}."
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
        base = self.compared[0]
        first = base.results[0]
        head = ("class", "truth", f"AP {base.name}")
        rows = [(*head, *(text for one in self.differences for text in (one.name, "")))]
        for place, name in enumerate(first.class_names):
            row = [name, str(first.ground_truth_per_class[place]), _percent(base.ap[:, place])]
            for difference in self.differences:
                interval = difference.classes[place]
                row += [str(interval), _verdict(interval)]
            rows.append(tuple(row))
        return table(rows, ("<", ">", ">", *(">", "<") * len(self.differences)))

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as plain numbers, lists and strings, ready for `json.dump`."""
        return {
            "compared": [one.to_dict() for one in self.compared],
            "num_videos": self.num_videos,
            "num_resamples": self.num_resamples,
            "confidence": self.confidence,
            "tiou": self.tiou,
            "spread": self.spread,
            "degrees_of_freedom": self.degrees_of_freedom,
            "differences": [difference.to_dict() for difference in self.differences],
        }


def _verdict(interval):
    return "real" if interval.is_real else "may be chance"


def _percent(scores):
    return f"{100 * np.mean(scores):.2f}"
