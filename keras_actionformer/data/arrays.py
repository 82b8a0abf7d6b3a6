"""Features as arrays (T, C): some steps of a long one read, all looked through, or resized.

Nothing here but `resize_feats` has all of a sequence in memory at once.
"""

import mmap
import numbers

import numpy as np

from keras_actionformer.errors import UserError

_STEPS_AT_ONCE = 4096  # that are read and looked through


def read_steps(feats, start, stop):
    """Some steps of a sequence as float32.

    Of a memory map, they are not kept: its pages would count as this process's memory until the
    system takes them back, up to the size of the file.
    """
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite
        steps = feats[start:stop].astype("float32", copy=isinstance(feats, np.memmap))
    if isinstance(feats, np.memmap) and feats.mode != "c" and hasattr(mmap, "MADV_DONTNEED"):
        feats._mmap.madvise(mmap.MADV_DONTNEED)  # changes of mode "c" are in these pages alone
    return steps


def not_finite(feats):
    """Counts the steps of `feats` (T, C) with values that are no finite float32.

    Returns:
      (int, int or None): how many there are, and the first of them.
    """
    count, first = 0, None
    for start in range(0, len(feats), _STEPS_AT_ONCE):
        part = read_steps(feats, start, start + _STEPS_AT_ONCE)
        bad = np.flatnonzero(~np.isfinite(part).all(axis=1))
        if first is None and len(bad):
            first = start + int(bad[0])
        count += len(bad)
    return count, first


def resize_feats(feats, num_steps):
    """Resizes features in time by linear interpolation.

    Steps are taken for intervals of equal length that fill the sequence before and after, and
    values beyond the centres of the first and the last step are theirs (the rule that other
    libraries call `align_corners=False`).

    Args:
      feats: float (T, C).
      num_steps: int, the T to return.

    Returns:
      float32 (num_steps, C).

    Raises:
      UserError: `num_steps` is no whole number above 0.
    """
    if not isinstance(num_steps, numbers.Integral) or num_steps < 1:
        raise UserError(f"num_steps must be a whole number above 0, but it is {num_steps!r}.")
    feats = np.asarray(feats, np.float32)
    if len(feats) == num_steps:
        return feats
    # As the reference: a scale in float32, and positions that are rounded to float32 once, at the
    # end (one fused multiply-add); the rounding shows in long sequences.
    scale = np.float64(np.float32(len(feats) / num_steps))
    position = (scale * (np.arange(num_steps) + 0.5) - 0.5).astype(np.float32)
    position = np.clip(position, 0, len(feats) - 1)
    left = position.astype(np.int64)
    right = np.minimum(left + 1, len(feats) - 1)
    weight = (position - left.astype(np.float32))[:, None]
    return feats[left] * (1 - weight) + feats[right] * weight
