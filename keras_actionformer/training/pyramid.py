"""What the levels of a pyramid would learn of a data set, and which pyramid would suit it.

NumPy only: `count_points` follows the rule of `targets.assign_targets` without a network.
"""

import dataclasses

import numpy as np

from keras_actionformer.errors import UserError
from keras_actionformer.network.architecture import TIE_STEPS, adjoining_ranges


@dataclasses.dataclass(frozen=True)
class Pyramid:
    """Levels of points, and the length of the sequences they are trained on.

    Fields are those of `Architecture`, which can stand wherever a `Pyramid` is asked for.

    Args:
      max_seq_len: int, training length in steps.
      strides: L ints, steps between the points of a level.
      regression_range: L pairs of numbers, in steps (see `make_points`).
      center_sample: `"radius"` or `"none"` (see `assign_targets`).
      center_sample_radius: float, in strides.
    """

    max_seq_len: int
    strides: tuple
    regression_range: tuple
    center_sample: str = "radius"
    center_sample_radius: float = 1.5


def suggest_pyramid(sequences):
    """Suggests a pyramid whose levels double their stride.

    1. With the ranges (0, 4), (2, 8), (4, 16), ..., (2^(L-1), 10000) of L levels, level l takes
       actions of 2^(l+1) to 2^(l+3) steps: the center of an action lies half its length from its
       ends. L is the least number of levels for which 199 in 200 actions are no longer than that
       on the last one, which takes the others, too, for want of an upper limit.
    2. Two levels that are next to each other share half of what they take, where the reference's
       benchmarks share none: twice as many points learn an action, and propose it. With 10 users
       of UCI HAPT to learn from, the mAP on 11 others rises from 90.0 to 91.9.
    3. `max_seq_len` holds 9 in 10 sequences whole, and twice the longest action of rule 1 (or
       else the longest sequence) so that random windows rarely cut one. It is rounded up to a
       multiple of the last stride.

    Args:
      sequences: objects with the fields `video` (`Video`), `grid` (`FeatureGrid`) and `num_steps`,
        those of the training videos, with at least one action.

    Returns:
      `Pyramid`.
    """
    lengths = [sequence.num_steps for sequence in sequences]
    durations = [np.diff(s.video.segments_sec)[:, 0] / s.grid.step_sec for s in sequences]
    longest = max(np.quantile(np.concatenate(durations), 0.995), 1.0)
    # The backbone has at least one strided level, and ten reach actions of 4096 steps.
    num_levels = int(np.clip(np.ceil(np.log2(longest)) - 2, 2, 10))
    strides = tuple(2**level for level in range(num_levels))
    steps = max(np.quantile(lengths, 0.9), min(2 * longest, np.max(lengths)))
    max_seq_len = int(np.ceil(steps / strides[-1])) * strides[-1]
    ranges = tuple((low // 2, high) for low, high in adjoining_ranges(num_levels))
    return Pyramid(max_seq_len, strides, ranges)


def count_points(segments_grid, num_steps, pyramid):
    """Counts the points of each level that learn each action of a sequence.

    The sequence is taken whole, be it longer than `max_seq_len`; random windows that cut an action
    may move it to a lower level.

    Args:
      segments_grid: float (N, 2), actions in steps of the feature grid.
      num_steps: int, length of the sequence.
      pyramid: `Pyramid` or `Architecture`.

    Returns:
      int64 (N, L): positive points, zero in all levels for an action that nothing learns.
    """
    start, end = np.asarray(segments_grid, np.float32).reshape(-1, 2).T
    length, center = end - start, np.float32(0.5) * (start + end)
    counts = np.zeros((len(start), len(pyramid.strides)), np.int64)
    levels = zip(pyramid.strides, pyramid.regression_range, strict=True)
    for level, (stride, (low, high)) in enumerate(levels):
        time = np.arange(0, num_steps, stride, dtype=np.float32)
        inner_start, inner_end = start, end
        if pyramid.center_sample == "radius":
            reach = np.float32(stride * pyramid.center_sample_radius)
            inner_start = np.maximum(center - reach, start)
            inner_end = np.minimum(center + reach, end)
        first = np.searchsorted(time, inner_start, side="right")
        last = np.searchsorted(time, inner_end, side="left")
        shortest, candidates = np.full(len(time), np.inf, np.float32), []
        for i in range(len(start)):
            points = np.arange(first[i], last[i])
            farther = np.maximum(time[points] - start[i], end[i] - time[points])
            points = points[(farther >= low) & (farther <= high)]
            shortest[points] = np.minimum(shortest[points], length[i])
            candidates.append(points)
        for i, points in enumerate(candidates):
            counts[i, level] = np.count_nonzero(length[i] <= shortest[points] + TIE_STEPS)
    return counts


def check_reach(videos, grids, pyramid):
    """Checks that the levels fit the lengths of the actions at all.

    Args:
      videos: sequence of `Video`, to be trained on.
      grids: sequence of `FeatureGrid`, one a video.
      pyramid: `Pyramid` or `Architecture`.

    Raises:
      UserError: there are actions, and half of them or more are learnt at no level. Sound data
        has a few such actions (THUMOS14: 4 of 3,007), a wrong unit has most.
    """
    num_actions = sum(len(video.segments_sec) for video in videos)
    num_learnt, durations = 0, []
    for video, grid in zip(videos, grids, strict=True):
        segments_grid = grid.to_grid(video.segments_sec)
        num_steps = int(np.ceil(np.max(segments_grid, initial=0.0))) + 1
        learnt = count_points(segments_grid, num_steps, pyramid).any(axis=1)
        num_learnt += np.count_nonzero(learnt)
        if 2 * num_learnt > num_actions:
            return
        durations.extend(np.diff(segments_grid)[~learnt, 0])
    if durations:
        count = f"{len(durations)} of" if num_learnt else "any of"
        ranges = ", ".join(f"({low:g}, {high:g})" for low, high in pyramid.regression_range)
        raise UserError(
            f"No level of the model learns {count} the {num_actions} training actions: they last "
            f"{min(durations):.3g} to {max(durations):.3g} steps of the features, while the "
            f"levels' regression_range is {ranges}; are the times seconds, not minutes or frames? "
            "Correct them, fps, stride_frames or regression_range."
        )
