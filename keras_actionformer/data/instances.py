"""Which annotated instances count, for training and for every score."""

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
        kept = []
        for row in np.sort(run) if len(run) > 1 else ():
            distance = np.abs(segments_sec[kept] - segments_sec[row])
            if (distance <= SAME_SEC).all(axis=1).any():
                usable[row] = False
            else:
                kept.append(row)
    return usable
