"""From detections to bouts: what one would write into a table after watching the video once.

Detections are candidates, which may overlap and repeat each other; bouts of a class follow one
another. NumPy only.
"""

from __future__ import annotations

import bisect
import csv
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_actionformer.checks import number
from keras_actionformer.detection.text_table import table
from keras_actionformer.errors import UserError
from keras_actionformer.files import atomic_write

if TYPE_CHECKING:
    from keras_actionformer.detection.detections import Detections

# Of two detections of a class that overlap the better one stays whole. The other one is cut to what
# is free, if that is most of it: then it is a neighbour whose end is a little off, or else it is
# the same bout once more.
_LEAST_FREE = 0.75


def find_bouts(segments_sec, scores, labels, merge_gaps_sec, min_length_sec):
    """Bouts of one video, see `Detections.bouts`.

    Args:
      segments_sec: float (M, 2), start and end in seconds.
      scores: float (M,).
      labels: int (M,), class ids.
      merge_gaps_sec, min_length_sec: floats, 0 or larger.

    Returns:
      (segments_sec (N, 2), scores (N,), labels (N,)), by start, end and label; of the dtypes given.

    Raises:
      UserError: a number of seconds is none, or negative.
    """
    for name, value in (("merge_gaps_sec", merge_gaps_sec), ("min_length_sec", min_length_sec)):
        if number(name, value) < 0:
            raise UserError(f"{name} must be 0 or more seconds, but is {value}.")
    bouts = []
    for label in np.unique(labels).tolist():
        mine = labels == label
        apart = _without_overlap(segments_sec[mine], scores[mine])
        for start, end, score in _merged(apart, merge_gaps_sec):
            if end - start >= min_length_sec:
                bouts.append((start, end, label, score))
    bouts.sort()
    starts, ends, labels_found, scores_found = zip(*bouts) if bouts else ((), (), (), ())
    return (
        np.stack([np.array(x, segments_sec.dtype) for x in (starts, ends)], axis=1),
        np.array(scores_found, scores.dtype),
        np.array(labels_found, labels.dtype),
    )


def _without_overlap(segments_sec, scores):
    """[start, end, score] of what stays of the detections of a class, by time."""
    starts, ends, kept = [], [], []  # disjoint, by time
    order = np.argsort(-scores, kind="stable")
    for (start, end), score in zip(segments_sec[order].tolist(), scores[order].tolist()):
        if end <= start:
            continue
        # The better ones that it overlaps, and what is free before, between and behind them.
        first, stop = bisect.bisect_right(ends, start), bisect.bisect_left(starts, end)
        lefts, rights = [start, *ends[first:stop]], [*starts[first:stop], end]
        length, gap = max((right - left, i) for i, (left, right) in enumerate(zip(lefts, rights)))
        if length < _LEAST_FREE * (end - start):
            continue
        place = first + gap
        starts.insert(place, lefts[gap])
        ends.insert(place, rights[gap])
        kept.insert(place, score)
    return zip(starts, ends, kept)


def _merged(bouts, merge_gaps_sec):
    """(start, end, score) of bouts, those that follow within less than so many seconds as one."""
    merged = []
    for start, end, score in bouts:
        if merged and start - merged[-1][1] < merge_gaps_sec:
            merged[-1][1:] = end, max(score, merged[-1][2])
        else:
            merged.append([start, end, score])
    return merged


# === Counts ===


def count_bouts(bouts: Mapping[str, Detections]) -> list[dict[str, Any]]:
    """Counts the bouts of each class in each video, and sums up their lengths.

    Example:

    >>> from keras_actionformer import Detections
    >>> found = Detections([[1.0, 4.5], [6.0, 7.5]], [0.9, 0.8], [0, 0], ("run", "jump"))
    >>> for row in count_bouts({"v1": found.bouts()}):
    ...     print(*row.values())
    v1 run 2 5.0
    v1 jump 0 0.0

    Args:
      bouts: dict, video id to what `Detections.bouts` returns.

    Returns:
      list of dicts `{"video", "label", "bouts", "seconds"}`, for every video and every class that
      has a name or, without names, was found somewhere.
    """
    labels = {}  # in order
    for found in bouts.values():
        labels |= dict.fromkeys(found.class_names)
    labels |= dict.fromkeys(sorted({name for found in bouts.values() for name in found.names}))
    rows = []
    for video, found in bouts.items():
        lengths_sec = found.segments_sec[:, 1] - found.segments_sec[:, 0]
        names = np.array(found.names, dtype=object)
        for label in labels:
            mine = names == label
            rows.append(
                {
                    "video": video,
                    "label": label,
                    "bouts": int(mine.sum()),
                    "seconds": round(float(lengths_sec[mine].sum(dtype=np.float64)), 3),
                }
            )
    return rows


def bout_table(rows):
    """A text table of what `count_bouts` returns, without zeros, and with sums over the videos."""
    totals = {}
    for row in rows:
        bouts, seconds = totals.get(row["label"], (0, 0.0))
        totals[row["label"]] = bouts + row["bouts"], seconds + row["seconds"]
    lines = [("video", "class", "bouts", "seconds")]
    lines += [
        (row["video"], row["label"], str(row["bouts"]), f"{row['seconds']:.2f}")
        for row in rows
        if row["bouts"]
    ]
    if len({row["video"] for row in rows}) > 1:
        lines += [
            ("all videos", label, str(bouts), f"{seconds:.2f}")
            for label, (bouts, seconds) in totals.items()
        ]
    return table(lines, ("<", "<", ">"))


def save_bout_counts(path, rows):
    """Writes what `count_bouts` returns as a CSV file."""
    with atomic_write(path) as file:
        writer = csv.DictWriter(
            file, fieldnames=["video", "label", "bouts", "seconds"], lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(rows)
