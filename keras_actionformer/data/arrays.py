"""Features as arrays (T, C): some steps of a long one read, or all looked through.

Nothing here has all of a sequence in memory at once.
"""

import mmap

import numpy as np

from keras_actionformer.errors import UserError

FEATS_DTYPES = ("float32", "float16")  # in which features are kept and handed on
_STEPS_AT_ONCE = 4096  # that are read and looked through


def read_steps(feats, start, stop):
    """Some steps of a sequence as float32.

    Of a memory map, they are not kept: its pages would count as this process's memory until the
    system takes them back, up to the size of the file.
    """
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite
        steps = feats[start:stop].astype("float32", copy=isinstance(feats, np.memmap))
    file = _mapped_file(feats)
    if file is not None and hasattr(mmap, "MADV_DONTNEED"):
        file.madvise(mmap.MADV_DONTNEED)
    return steps


def _mapped_file(feats):
    """The `mmap.mmap` whose pages `feats` shows and can do without, or None."""
    # Changes of mode "c" are in its pages alone.
    if not isinstance(feats, np.memmap) or feats.mode == "c":
        return None
    base = feats.base
    while isinstance(base, np.ndarray):
        base = base.base
    return base  # None of a copy, which numpy calls a memmap, too


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


def in_dtype(feats, dtype, where):
    """Returns finite features as `"float32"` or `"float16"`.

    Args:
      feats: float (T, C), all finite.
      dtype: str.
      where: str, what a message calls the features.

    Raises:
      UserError: a value is too large for the type.
    """
    if feats.dtype == dtype:
        return feats
    with np.errstate(over="ignore"):  # what is too large becomes infinite
        converted = feats.astype(dtype)
    if not np.isfinite(converted).all():
        raise UserError(
            f"{where} has values up to {np.abs(feats).max():.4g}, beyond {np.finfo(dtype).max:g}, "
            f"the largest of {dtype}; leave feats_dtype at 'float32', or scale the features."
        )
    return converted
