"""What a detector found: segments in seconds with a class and a score."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_actionformer.checks import number
from keras_actionformer.detection.bouts import find_bouts
from keras_actionformer.detection.detection_files import read_columns, write_rows
from keras_actionformer.detection.text_table import table
from keras_actionformer.detection.thresholds import ScoreThreshold, Thresholds
from keras_actionformer.errors import UserError, counted, said_of, suggest
from keras_actionformer.extras import import_extra

if TYPE_CHECKING:
    import matplotlib.figure
    import numpy.typing as npt
    import pandas

    from keras_actionformer.data.annotations import Video

_PRINTED_ROWS = 10


# eq=False: comparing arrays gives an array, so a generated `==` would raise.
@dataclasses.dataclass(frozen=True, eq=False)
class Detections:
    """The detections of one video, in the order they were given.

    The arrays are checked on creation and kept without a copy when their type already fits.

    Example:

    >>> found = Detections([[1.0, 4.5], [2.0, 2.5]], [0.9, 0.2], [0, 1], ("run", "jump"))
    >>> found.filter(min_score=0.5).names
    ['run']

    Attributes:
      segments_sec: float32 or float64 (M, 2), start and end in seconds.
      scores: float32 or float64 (M,), higher is more certain.
      labels: int64 (M,), class ids, 0 or larger.
      class_names: tuple of str, the name of class id `i` at place `i`; empty when there are none.

    Raises:
      UserError: an array has the wrong shape or type, lengths differ, a number is NaN or infinite,
        or a label is negative or has no name in `class_names`.
    """

    segments_sec: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...] = ()

    if TYPE_CHECKING:  # what it takes is more than what it keeps

        def __init__(
            self,
            segments_sec: npt.ArrayLike,
            scores: npt.ArrayLike,
            labels: npt.ArrayLike,
            class_names: Sequence[str] = (),
        ) -> None: ...

    def __post_init__(self):
        segments_sec = _float_array("segments_sec", self.segments_sec)
        if segments_sec.size == 0 and segments_sec.ndim <= 2:
            segments_sec = segments_sec.reshape(0, 2)
        if segments_sec.ndim != 2 or segments_sec.shape[1] != 2:
            raise UserError(
                "Detections: segments_sec must have shape (M, 2), [start, end] in seconds, "
                f"got {segments_sec.shape}."
            )
        scores = _float_array("scores", self.scores)
        labels = _label_array(self.labels)
        for name, array in (("scores", scores), ("labels", labels)):
            if array.shape != segments_sec.shape[:1]:
                raise UserError(
                    f"Detections: {name} must hold one number a segment, shape "
                    f"({len(segments_sec)},), got {array.shape}."
                )
        class_names = tuple(self.class_names)
        if any(not isinstance(name, str) for name in class_names):
            raise UserError(f"Detections: class_names must be strings, got {class_names!r}.")
        if class_names and len(labels) and labels.max() >= len(class_names):
            raise UserError(
                f"Detections: label id {labels.max()} has no name; class_names has "
                f"{len(class_names)} entries, so ids must be in 0..{len(class_names) - 1}."
            )
        object.__setattr__(self, "segments_sec", segments_sec)
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "class_names", class_names)

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[Detections]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int | slice | npt.ArrayLike) -> Detections:
        """Returns the detections that a mask, slice, array of places or single place selects."""
        if isinstance(index, (int, np.integer)):
            index = [index]
        return dataclasses.replace(
            self,
            segments_sec=self.segments_sec[index],
            scores=self.scores[index],
            labels=self.labels[index],
        )

    def __str__(self) -> str:
        return self.describe()

    def describe(self, noun: str = "detection") -> str:
        """Returns how many there are and, as a text table, the first of them.

        Args:
          noun: str, what one of them is called, as "bout".
        """
        lines = [counted(len(self), noun)]
        if len(self):
            rows = [("start_sec", "end_sec", "score", " label")]
            for (start, end), score, name in zip(
                self.segments_sec[:_PRINTED_ROWS], self.scores, self.names
            ):
                rows.append((f"{start:.2f}", f"{end:.2f}", f"{score:.4f}", f" {name}"))
            lines.append(table(rows, (">10", ">10", ">7", "<"), gap=" "))
        if len(self) > _PRINTED_ROWS:
            lines.append(f"... and {len(self) - _PRINTED_ROWS} more")
        return "\n".join(lines)

    @property
    def names(self) -> list[str]:
        """List of M strings, the class name of each detection (`class_<id>` without names)."""
        if self.class_names:
            return [self.class_names[label] for label in self.labels.tolist()]
        return [f"class_{label}" for label in self.labels.tolist()]

    def filter(
        self,
        min_score: ScoreThreshold | None = None,
        labels: int | str | Sequence[int | str] | None = None,
    ) -> Detections:
        """Returns the detections that pass every given condition, in the same order.

        Args:
          min_score: float, keep `score >= min_score`; a dict of class id or name to the float of
            each class; or the `Thresholds` of a model. None keeps every score.
          labels: class id or name, or a sequence of them; None keeps every class.

        Raises:
          UserError: a name is not in `class_names`, or a class has no `min_score`.
        """
        keep = np.ones(len(self), dtype=bool)
        if min_score is not None:
            keep &= self.scores >= self._least_scores(min_score)
        if labels is not None:
            wanted = [labels] if isinstance(labels, (str, int, np.integer)) else labels
            keep &= np.isin(self.labels, [self._label_id(label) for label in wanted])
        return self[keep]

    def bouts(
        self,
        threshold: ScoreThreshold | None = None,
        merge_gaps_sec: float = 0.0,
        min_length_sec: float = 0.0,
    ) -> Detections:
        """Returns what a person would write down: one bout of a class after the other, by time.

        In this order: detections below the threshold are dropped; of two of a class that overlap
        the one of lower score is cut to what is free of the other, or dropped where that is less
        than three quarters of it; bouts of a class that follow each other closely become one, with
        the higher score; short ones are dropped. Bouts of different classes may overlap.

        Example:

        >>> found = Detections([[5, 9], [0, 4], [1, 4.5]], [0.9, 0.8, 0.7], [0, 0, 0], ("run",))
        >>> print(found.bouts(threshold=0.5))
        2 detections
         start_sec    end_sec   score  label
              0.00       4.00  0.8000  run
              5.00       9.00  0.9000  run
        >>> found.bouts(threshold=0.5, merge_gaps_sec=2).segments_sec.tolist()
        [[0.0, 9.0]]

        Args:
          threshold: as `min_score` of `filter`; `model.thresholds` are those that a model
            recommends.
          merge_gaps_sec: float, bouts of a class become one where less time than this is between
            them.
          min_length_sec: float, shorter bouts are dropped.

        Returns:
          `Detections`, ordered by start.

        Raises:
          UserError: see `filter`; or a number of seconds is negative.
        """
        found = self.filter(min_score=threshold)
        segments_sec, scores, labels = find_bouts(
            found.segments_sec, found.scores, found.labels, merge_gaps_sec, min_length_sec
        )
        return Detections(segments_sec, scores, labels, self.class_names)

    def top_k(self, k: int) -> Detections:
        """Returns the `k` highest scores, best first; equal scores keep their order."""
        if k < 0:
            raise UserError(f"Detections.top_k: k must be 0 or larger, got {k}.")
        return self[np.argsort(-self.scores, kind="stable")[:k]]

    def to_dicts(self) -> list[dict[str, Any]]:
        """Returns a list of M dicts `{"label", "score", "segment": [start_sec, end_sec]}`.

        `label` is the class name, or the integer id when the detections have no class names.
        """
        return [
            {"label": label, "score": score, "segment": segment}
            for label, score, segment in zip(
                self._written_labels(), self.scores.tolist(), self.segments_sec.tolist()
            )
        ]

    def to_pandas(self) -> pandas.DataFrame:
        """Returns a `pandas.DataFrame` with columns start_sec, end_sec, label, score.

        Raises:
          UserError: pandas is not installed.
        """
        pandas = import_extra("pandas", "pandas", "pandas", "Detections.to_pandas")
        return pandas.DataFrame(
            {
                "start_sec": self.segments_sec[:, 0],
                "end_sec": self.segments_sec[:, 1],
                "label": self._written_labels(),
                "score": self.scores,
            }
        )

    def plot(
        self,
        ground_truth: Video | None = None,
        path: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> matplotlib.figure.Figure:
        """Draws the detections, and what happened, over time; see `plot_timeline`.

        Example:

        ```python
        model.detect(feats).plot(video, "timeline.png", min_score=0.3)
        ```

        Args:
          ground_truth, path: as for `plot_timeline`.
          **options: its others.

        Raises:
          UserError: matplotlib is missing (extra `plot`), or see `plot_timeline`.
        """
        from keras_actionformer.report.timeline import plot_timeline  # which draws this class

        return plot_timeline(self, ground_truth, path, **options)

    def save(self, path: str | os.PathLike[str], video_id: str = "video") -> None:
        """Writes the detections of this one video, see `save_detections`."""
        save_detections(path, {video_id: self})

    def _label_id(self, label):
        if not isinstance(label, str):
            return label
        if label not in self.class_names:
            raise UserError(
                f"Detections: there is no class named {label!r}{suggest(label, self.class_names)}."
            )
        return self.class_names.index(label)

    def _least_scores(self, threshold):
        """The score that each detection must reach: float (M,), or one float for all."""
        if isinstance(threshold, Thresholds):
            return threshold.of(self.labels)
        if not isinstance(threshold, Mapping):
            return number("A score threshold", threshold)
        known = range(len(self.class_names)) if self.class_names else np.unique(self.labels)
        by_label = {self._label_id(label): value for label, value in threshold.items()}
        lacking = [label for label in known if label not in by_label]
        if lacking:
            name = self.class_names[lacking[0]] if self.class_names else f"id {lacking[0]}"
            raise UserError(
                f"Detections: the thresholds have none for class {name!r}; name every class, or "
                "give one number for all."
            )
        return np.array([number("A threshold", by_label[x]) for x in self.labels.tolist()])

    def _written_labels(self):
        return self.names if self.class_names else self.labels.tolist()


def save_detections(path: str | os.PathLike[str], detections: Mapping[str, Detections]) -> None:
    """Writes the detections of several videos to one file; see `detection_files` for its forms.

    Numbers are written so that reading them back gives the same float64 values. A CSV file cannot
    name a video without detections; a JSON file keeps it with an empty list.

    Args:
      path: str or `os.PathLike` ending in `.json` or `.csv`.
      detections: dict, video id to `Detections`.

    Raises:
      UserError: the suffix is another one, or only some videos have class names.
    """
    named = {bool(found.class_names) for found in detections.values() if len(found)}
    if len(named) == 2:
        raise UserError(
            f"{path}: some videos have class names and some only ids, but a file holds one kind. "
            "Create all Detections with class_names, or none."
        )
    write_rows(path, {video_id: found.to_dicts() for video_id, found in detections.items()})


def load_detections(
    path: str | os.PathLike[str], class_names: Sequence[str] | None = None
) -> dict[str, Detections]:
    """Reads a file of detections; `detection_files` describes the forms.

    Labels in the file are class names or integer ids. With `class_names`, a name becomes its place
    in that tuple and a name that is not there gets an id after the last one, so nothing is lost
    and an evaluation can count it. Without, the names are numbered in alphabetical order. Integer
    ids stay as they are; when one has no name in `class_names`, the detections carry no names.

    Args:
      path: str or `os.PathLike` ending in `.json` or `.csv`.
      class_names: sequence of str, index = class id (for example `Annotations.class_names`), or
        None.

    Returns:
      dict, video id to `Detections` (float64, order of the file; all share one `class_names`).

    Raises:
      UserError: the file is missing, broken, lacks a field, or holds something else than numbers
        and labels; the text names the file and the video.
    """
    columns, names = read_columns(path, class_names)
    detections = {}
    for video_id, (segments, scores, ids) in columns.items():
        with said_of(f"{path}: video {video_id!r}"):
            found = Detections(segments, scores, ids, names)
        backwards = found.segments_sec[:, 1] < found.segments_sec[:, 0]
        if backwards.any():
            raise UserError(
                f"{path}: video {video_id!r} has a segment that ends before it starts: "
                f"{found.segments_sec[backwards][0].tolist()}."
            )
        detections[video_id] = found
    return detections


def _array(name, values):
    try:
        return np.asarray(values)
    except ValueError as error:
        raise UserError(f"Detections: {name} must be an array of numbers: {error}.") from error


def _float_array(name, values):
    array = _array(name, values)
    if array.dtype.kind not in "fiu" and array.size:
        raise UserError(f"Detections: {name} must hold numbers, got dtype {array.dtype}.")
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise UserError(f"Detections: {name} must be finite, got NaN or infinity.")
    return array


def _label_array(values):
    array = _array("labels", values)
    if array.dtype.kind not in "iu" and array.size:
        raise UserError(f"Detections: labels must be integer class ids, got dtype {array.dtype}.")
    array = array.astype(np.int64, copy=False)
    if array.size and array.min() < 0:
        raise UserError(f"Detections: labels must be 0 or larger, got {array.min()}.")
    return array
