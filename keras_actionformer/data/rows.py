"""Rows of a picture, or tiers of a file, in which nothing overlaps."""

import bisect
import math


def free_rows(segments, most=math.inf):
    """For each segment the first row, 0 or more, where none before it is in its way.

    Args:
      segments: sequence of (start, end).
      most: int, how many rows there may be; what finds no place in them has the row `most`.

    Returns:
      list of int.
    """
    rows, filled = [], []  # filled: of each row the segments in it, by time; none overlap
    for start, end in segments:
        for row, others in enumerate(filled):
            place = bisect.bisect_left(others, (end,))  # of those before it the last ends last
            if place == 0 or others[place - 1][1] <= start:
                others.insert(place, (start, end))
                break
        else:
            row = len(filled)
            if row < most:
                filled.append([(start, end)])
        rows.append(row)
    return rows
