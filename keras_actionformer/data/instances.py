"""Which annotated instances count, for training and for every score."""

import collections
import itertools

import numpy as np

# Annotators sometimes store one instance twice, or with no length; both would count as misses.
SAME_SEC = 1e-3


def usable_instances(videos, segments_sec, labels):
    """Tells which ground-truth instances count.

    Left out are instances shorter than a millisecond, and those whose start and end both lie
    within a millisecond of an instance that is kept, of the same class, earlier in the same video.

    Args:
      videos: int (N,), index of the video of each instance.
      segments_sec: float (N, 2), start and end in seconds.
      labels: int (N,), class ids.

    Returns:
      bool (N,).
    """
    usable = segments_sec[:, 1] - segments_sec[:, 0] >= SAME_SEC
    # Sorted by start, repeats stand in runs of starts that are close; nearly all runs have one row.
    rows = np.flatnonzero(usable)
    rows = rows[np.lexsort((segments_sec[rows, 0], labels[rows], videos[rows]))]
    near = (
        (np.diff(videos[rows]) == 0)
        & (np.diff(labels[rows]) == 0)
        & (np.diff(segments_sec[rows, 0]) <= SAME_SEC)
    )
    for run in np.split(rows, np.flatnonzero(~near) + 1) if near.any() else ():
        if len(run) > 1:
            usable[_repeats(np.sort(run), segments_sec)] = False
    return usable


def _repeats(rows, segments_sec):
    """Returns the rows that repeat an earlier one which is kept; each looks at its neighbours."""
    repeats, kept = [], collections.defaultdict(list)  # kept: cell of 1 ms -> (start, end)
    for row, (start, end) in zip(rows.tolist(), segments_sec[rows].tolist()):
        cell = start // SAME_SEC, end // SAME_SEC
        around = itertools.product(*((place - 1, place, place + 1) for place in cell))
        near = (other for place in around for other in kept.get(place, ()))
        if any(abs(start - s) <= SAME_SEC and abs(end - e) <= SAME_SEC for s, e in near):
            repeats.append(row)
        else:
            kept[cell].append((start, end))
    return repeats
