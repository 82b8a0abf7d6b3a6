"""The points of the pyramid: where and at what scale the network may see an action.

Level l has one point every `stride_l` steps of the input grid, at the start of its stride or in its
middle. All levels stand one after
another on a single axis of P points, the axis of the heads' outputs, the targets, the losses and
the decoding.
"""

import numpy as np
from keras import ops


def padded_length(num_steps, stride):
    """Steps after padding `num_steps` to a multiple of `stride` (at least one of them)."""
    return (num_steps + stride - 1) // stride * stride


def make_points(num_steps, strides, regression_range, offset=0.0):
    """Lists the points of every level (reference: `PointGenerator`).

    Args:
      num_steps: int or scalar tensor, input steps, a multiple of every stride.
      strides: L ints, steps between the points of a level.
      regression_range: L pairs of floats; a point regresses actions whose farther boundary lies
        at a distance within this range, in steps.
      offset: float, how far a point lies behind the start of its stride, in strides.

    Returns:
      (P, 4) float32: time in steps, range min, range max, stride.
    """
    levels = []
    for stride, limits in zip(strides, regression_range, strict=True):
        time = ops.arange(0, num_steps, stride, dtype="float32") + offset * stride
        constants = np.array([[*limits, stride]], "float32")
        constants = ops.broadcast_to(constants, (ops.shape(time)[0], 3))
        levels.append(ops.concatenate([ops.expand_dims(time, -1), constants], axis=1))
    return ops.concatenate(levels, axis=0)


def points_of(architecture, num_steps):
    """`make_points` with the settings of an `Architecture`."""
    return make_points(
        num_steps, architecture.strides, architecture.regression_range, architecture.point_offset
    )


def point_mask(mask, strides):
    """Validity of every point: `mask (B, T)` bool, T a multiple of the strides -> `(B, P)`."""
    return ops.concatenate([mask[:, ::stride] for stride in strides], axis=1)
