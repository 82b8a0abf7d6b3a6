"""Precision, recall and F1 of what scores high enough, and which score that should be.

A detection is right when it finds an instance as for the mAP (see `evaluation`): visited by falling
score, each takes the free instance of highest tIoU if that reaches the threshold, 0.5 by default.
What is left out for its low score would have come later and changes nothing above it. Unlike the
mAP, detections of classes that the ground truth has not count: as wrong ones.

NumPy only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_actionformer.detection.text_table import table
from keras_actionformer.detection.thresholds import Thresholds
from keras_actionformer.errors import UserError
from keras_actionformer.evaluation.ranking import common_class_names, flatten, rank
from keras_actionformer.evaluation.shares import percent

if TYPE_CHECKING:
    from keras_actionformer.data.annotations import Video
    from keras_actionformer.detection.detections import Detections

TIOU = 0.5
# A class with fewer gets no threshold of its own. Tuned on four videos of the made-up data (some
# 8 instances a class), those of classes with 5 or more cost 0.7 points of F1 on other videos, those
# of classes with 10 or more nothing.
MIN_INSTANCES = 10


# eq=False: comparing arrays gives an array, so a generated `==` would raise.
@dataclasses.dataclass(frozen=True, eq=False)
class ThresholdScores:
    """What detections above score thresholds find. `print(scores)` says it in a sentence.

    Attributes:
      tiou: float, from which overlap on an instance is found.
      class_ids: int (classes,), the label ids that occur, rising.
      class_names: tuple of str (classes,), `class_<id>` where no name is known.
      thresholds: float (classes,).
      is_own: bool (classes,), False where the threshold is the one for all classes.
      ground_truth: int (classes,), instances.
      found: int (classes,), detections at or above the threshold.
      right: int (classes,), those that find an instance; as many instances are found.
    """

    tiou: float
    class_ids: np.ndarray
    class_names: tuple[str, ...]
    thresholds: np.ndarray
    is_own: np.ndarray
    ground_truth: np.ndarray
    found: np.ndarray
    right: np.ndarray

    @property
    def precision(self) -> float:
        """float: share of the detections that are right; NaN without detections."""
        return self._all_shares()[0]

    @property
    def recall(self) -> float:
        """float: share of the instances that are found."""
        return self._all_shares()[1]

    @property
    def f1(self) -> float:
        """float: harmonic mean of precision and recall, 2 right / (found + instances)."""
        return self._all_shares()[2]

    def __str__(self) -> str:
        low, high = self.thresholds.min(), self.thresholds.max()
        scores = f"{low:g}" if low == high else f"{low:g} to {high:g} (by class)"
        truth, found, right = self._all_counts()
        precision, recall, f1 = map(percent, self._all_shares())
        return (
            f"Scores of {scores} or more, tIoU {self.tiou:.2f}: precision {precision}, recall "
            f"{recall}, F1 {f1}:\n{right} of {found} detections are right, {right} of {truth} "
            "instances are found"
        )

    def per_class_table(self) -> str:
        """Returns a text table, a class a line and all of them in the last; shares in percent."""
        rows = [("class", "score", "truth", "found", "right", "precision", "recall", "F1")]
        marks = np.where(self.is_own, "", "*" if self.is_own.any() else "")
        for place, name in enumerate(self.class_names):
            threshold = f"{self.thresholds[place]:g}{marks[place]}"
            rows.append((name, threshold, *_texts(*self._counts(place))))
        rows.append(("all", "", *_texts(*self._all_counts())))
        lines = [table(rows, ("<", ">7"), gap=" ")]
        if marks.any():
            lines.append(
                "* The threshold of all classes together: where it was tuned, the class had fewer "
                f"than\n  {MIN_INSTANCES} instances, or none was found."
            )
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as plain numbers, lists and strings, ready for `json.dump`."""
        return {
            "tiou": self.tiou,
            **_values(*self._all_counts()),
            "classes": [
                {
                    "label_id": int(self.class_ids[place]),
                    "label": name,
                    "threshold": float(self.thresholds[place]),
                    **_values(*self._counts(place)),
                }
                for place, name in enumerate(self.class_names)
            ],
        }

    def _counts(self, place):
        return tuple(int(x[place]) for x in (self.ground_truth, self.found, self.right))

    def _all_counts(self):
        return tuple(int(x.sum()) for x in (self.ground_truth, self.found, self.right))

    def _all_shares(self):
        return _shares(*self._all_counts())


def _shares(truth, found, right):
    """Precision, recall and F1; NaN where there is nothing to have a share of."""
    pairs = ((right, found), (right, truth), (2 * right, found + truth))
    return tuple(part / whole if whole else np.nan for part, whole in pairs)


def _values(truth, found, right):
    """Counts and shares for a file."""
    shares = zip(("precision", "recall", "f1"), _shares(truth, found, right), strict=True)
    return {
        "num_ground_truth": truth,
        "num_detections": found,
        "num_right": right,
        **{name: None if np.isnan(share) else share for name, share in shares},
    }


def _texts(truth, found, right):
    """Counts and shares for a table."""
    return [*map(str, (truth, found, right)), *map(percent, _shares(truth, found, right))]


def score_above(
    ground_truth: Sequence[Video],
    detections: Mapping[str, Detections],
    thresholds: float | Thresholds,
    tiou: float = TIOU,
    class_names: Sequence[str] | None = None,
) -> ThresholdScores:
    """Counts what detections at or above score thresholds find.

    Args:
      ground_truth, detections, class_names: as for `evaluation.evaluate`.
      thresholds: float for all classes, or the `Thresholds` of a model.
      tiou: float in (0, 1].

    Raises:
      UserError: see `evaluation.evaluate`.
    """
    if not isinstance(thresholds, Thresholds):
        thresholds = Thresholds(thresholds)
    names = common_class_names(detections, class_names)
    kept = {video_id: found.filter(min_score=thresholds) for video_id, found in detections.items()}
    ranked = rank(*flatten(ground_truth, kept), tiou, all_classes=True)
    count = len(ranked.class_ids)
    labels = ranked.class_ids.tolist()
    own = [*thresholds.per_class] or [None] * (max(labels) + 1)
    return ThresholdScores(
        tiou=tiou,
        class_ids=ranked.class_ids,
        class_names=tuple(names[i] if i < len(names) else f"class_{i}" for i in labels),
        thresholds=thresholds.of(ranked.class_ids),
        is_own=np.array([own[label] is not None for label in labels]),
        ground_truth=ranked.ground_truth_per_class,
        found=np.bincount(ranked.classes, minlength=count),
        right=np.bincount(ranked.classes[ranked.hits(tiou)], minlength=count),
    )


def recommend_thresholds(
    ground_truth: Sequence[Video],
    detections: Mapping[str, Detections],
    num_classes: int,
    tiou: float = TIOU,
    class_names: Sequence[str] | None = None,
) -> Thresholds | None:
    """Finds the score threshold of the best F1: one for all classes, and one a class.

    To be asked of videos that the model was not trained on, or its scores are higher than they will
    be. A class with fewer than `MIN_INSTANCES` instances, or none that is found, gets no threshold
    of its own.

    Args:
      ground_truth, detections, class_names: as for `evaluation.evaluate`.
      num_classes: int, K, those of the model.
      tiou: float in (0, 1].

    Returns:
      `Thresholds` of K classes; None where no detection finds anything.

    Raises:
      UserError: see `evaluation.evaluate`.
    """
    common_class_names(detections, class_names)
    arrays = flatten(ground_truth, detections)
    ranked = rank(*arrays, tiou, all_classes=True)
    *_, scores = arrays
    scores, hits = scores[ranked.rows], ranked.hits(tiou)
    common = best_threshold(scores, hits, int(ranked.ground_truth_per_class.sum()))
    if common is None:
        return None
    per_class = [None] * num_classes
    for place, label in enumerate(ranked.class_ids.tolist()):
        num_ground_truth = int(ranked.ground_truth_per_class[place])
        if label < num_classes and num_ground_truth >= MIN_INSTANCES:
            mine = ranked.classes == place
            per_class[label] = best_threshold(scores[mine], hits[mine], num_ground_truth)
    return Thresholds(common, per_class)


def thresholds_of_best_f1(ground_truth, detections, class_names):
    """As `recommend_thresholds`, for detections of which nobody has said a number of classes.

    Args:
      ground_truth, detections: as there.
      class_names: sequence of str, perhaps empty.

    Returns:
      `Thresholds`; of 0, with which all counts, where none can be recommended.
    """
    ids = [found.labels for found in detections.values()]
    num_classes = 1 + int(np.max(np.concatenate([np.zeros(1, np.int64), *ids])))
    found = recommend_thresholds(
        ground_truth,
        detections,
        max(num_classes, len(class_names)),
        class_names=class_names or None,
    )
    return found or Thresholds(0.0)


def tune_thresholds(ground_truth, detections, num_classes, class_names=None):
    """`recommend_thresholds` for who has asked for them: there being none is an error."""
    thresholds = recommend_thresholds(
        ground_truth, detections, num_classes, class_names=class_names
    )
    if thresholds is None:
        raise UserError(
            "No detection overlaps with an instance of its class by half or more, so that no score "
            "threshold is better than another: train for longer, or take more videos."
        )
    return thresholds


def best_threshold(scores, hits, num_ground_truth):
    """The score threshold of the best F1, in the middle of those that are as good.

    Of N instances sqrt(N) / 2 more or fewer are found by chance, as of N coins that many more or
    fewer show heads, and F1 = 2 right / (found + N) is then off by sqrt(N) / (found + N). So all
    thresholds around the best one, in an unbroken range with an F1 that near to it, are as good. On
    other videos of the made-up data set the middle of this range does better than the best one
    itself, by 1.6 points of F1 with 20 instances, and than the middle of those with exactly the
    best F1, by 1.0; with hundreds of instances it does the same.

    Example: with these 4 instances F1 may be 2 / 8 below the best one, which is 1 from 0.6 on. From
    0.7 on it is 6 / 7, from 0.8 on 4 / 6, and with the mistakes 8 / 11: 0.45 is amid 0.2 and 0.7.

    >>> best_threshold(np.array([0.9, 0.8, 0.7, 0.6, 0.2, 0.2, 0.2]), np.arange(7) < 4, 4)
    0.45

    Args:
      scores: float (M,), in any order, equal ones allowed.
      hits: bool (M,), which detections are right.
      num_ground_truth: int, N.

    Returns:
      float with as few digits as tell it, or None where no detection is right.
    """
    order = np.argsort(-scores, kind="stable")
    scores, right = scores[order], np.cumsum(hits[order])
    if not len(scores) or not right[-1]:
        return None
    is_last = np.append(scores[1:] < scores[:-1], True)  # of equal scores all are found, or none
    found = np.flatnonzero(is_last) + 1
    highs, right = scores[is_last], right[is_last]
    lows = np.append(highs[1:], min(0.0, highs[-1]))  # lows[i] < threshold i <= highs[i]
    f1 = 2 * right / (found + num_ground_truth)
    best = int(np.argmax(f1))
    tolerance = np.sqrt(num_ground_truth) / (found[best] + num_ground_truth)
    worse = np.flatnonzero(f1 < f1[best] - tolerance)
    first = np.max(worse[worse < best], initial=-1) + 1
    last = np.min(worse[worse > best], initial=len(f1)) - 1
    return _rounded(lows[last], highs[first])


def _rounded(low, high):
    """The middle of low < x <= high with as few digits as lie between, two at least."""
    middle = (low + high) / 2
    for digits in range(2, 7):
        rounded = round(float(middle), digits)
        if low < rounded <= high:
            return rounded
    return float(middle if low < middle else high)  # of neighbours in float64
