"""Sequences of features made shorter or longer in time."""

import numbers

import numpy as np

from keras_actionformer.data.arrays import read_steps
from keras_actionformer.errors import UserError


def resize_feats(feats, num_steps, method="linear"):
    """Resizes features in time, as `Architecture.resize_method` says.

    `"linear"` interpolates: steps are taken for intervals of equal length that fill the sequence
    before and after, and values beyond the centres of the first and the last step are theirs (the
    rule that other libraries call `align_corners=False`). `"roi_align"` takes the mean of as many
    interpolated samples as a new step has old ones, rounded up, of float16 (OpenTAD).

    Args:
      feats: float (T, C).
      num_steps: int, the T to return.
      method: `"linear"` or `"roi_align"`.

    Returns:
      float32 (num_steps, C).

    Raises:
      UserError: `num_steps` is no whole number above 0.
    """
    if not isinstance(num_steps, numbers.Integral) or num_steps < 1:
        raise UserError(f"num_steps must be a whole number above 0, but it is {num_steps!r}.")
    feats = np.asarray(feats, np.float32)
    if method == "roi_align":
        return _roi_align(feats, num_steps)
    if len(feats) == num_steps:
        return feats
    left, right, weight = _neighbours(len(feats), num_steps)
    return feats[left] * (1 - weight) + feats[right] * weight


def _neighbours(num_steps, new_steps):
    """Of each new step, the old steps it lies between and how near it is to the second, (N, 1)."""
    # As the reference: a scale in float32, and positions that are rounded to float32 once, at the
    # end (one fused multiply-add); the rounding shows in long sequences.
    scale = np.float64(np.float32(num_steps / new_steps))
    position = (scale * (np.arange(new_steps) + 0.5) - 0.5).astype(np.float32)
    return _around(position, num_steps)


def _around(position, num_steps):
    """The steps on both sides of positions (...) float32, and weights (..., 1) of the second."""
    position = np.clip(position, 0, num_steps - 1)
    left = position.astype(np.int64)
    right = np.minimum(left + 1, num_steps - 1)
    return left, right, (position - left.astype(np.float32))[..., None]


def _to_half(x):
    """Rounds float32 to the 11 bits of float16, also beyond its range, as `ResizeTo` does."""
    fraction, exponent = np.frexp(x)
    return np.ldexp(np.round(fraction * 2048) / 2048, exponent)


def _roi_align(feats, num_steps):
    """`"roi_align"` of `resize_feats`; the sequence's end is rounded to float16, too."""
    box = _to_half(np.float32(len(feats))) / np.float32(num_steps)  # old steps of a new one
    feats = _to_half(feats)
    samples = int(np.ceil(box))
    place = np.arange(num_steps, dtype=np.float32)[:, None]
    nth = np.arange(samples, dtype=np.float32)
    position = (place * box - np.float32(0.5)) + (nth + np.float32(0.5)) * box / samples
    counts = position <= len(feats)  # a rounded end may lie behind the sequence's
    left, right, weight = _around(position, len(feats))
    total = np.zeros((num_steps, feats.shape[1]), np.float32)
    for i in range(samples):
        values = feats[left[:, i]] * (1 - weight[:, i]) + feats[right[:, i]] * weight[:, i]
        total += values * counts[:, i, None]
    return total / np.float32(samples)


class ResizedSteps:
    """Features (T, C) that are resized (`"linear"`) when they are sliced, as far as that needs.

    Args:
      feats: array-like (T, C) with `shape` and slices in time.
      num_steps: int, the T to show.
    """

    ndim = 2
    dtype = np.dtype(np.float32)

    def __init__(self, feats, num_steps):
        self._feats = feats
        self._places = _neighbours(feats.shape[0], num_steps)
        self.shape = (num_steps, feats.shape[1])

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, steps):
        left, right, weight = (places[steps] for places in self._places)
        if not len(left):
            return np.zeros((0, self.shape[1]), self.dtype)
        first = left.min()
        feats = read_steps(self._feats, first, right.max() + 1)
        with np.errstate(invalid="ignore"):  # infinite values become NaN, which is refused
            return feats[left - first] * (1 - weight) + feats[right - first] * weight
