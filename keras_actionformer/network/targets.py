"""Label assignment: which point learns which action (paper, section 3.4)."""

from keras import ops

from keras_actionformer.network.architecture import TIE_STEPS


def assign_targets(
    points,
    segments,
    labels,
    num_classes,
    center_sample,
    center_sample_radius,
    point_classes="shortest",
):
    """Assigns ground-truth actions to points.

    A point is positive for an action when
      1. it lies strictly inside the action, and, with center sampling, within
         `center_sample_radius` strides of its level from the action's center;
      2. the farther of the action's two boundaries lies at a distance within the regression
         range of its level;
      3. no shorter action fulfils 1 and 2 at this point. Actions that tie (lengths within 1e-3
         steps) all give it their class; the first of the shortest gives it its offsets. Where
        `point_classes` is `"all"`, longer actions give it their class, too.

    Args:
      points: (P, 4) float32: time, range min, range max, stride, see `make_points`.
      segments: (B, N, 2) float32, actions in steps of the input grid.
      labels: (B, N) int, class ids; -1 marks an entry that is padding.
      num_classes: int, K.
      center_sample: `"radius"` or `"none"`.
      center_sample_radius: float, in strides.
      point_classes: `"shortest"` or `"all"`.

    Returns:
      cls_targets (B, P, K) float32 of zeros and ones, reg_targets (B, P, 2) float32: distances
      to start and end in strides (meaningless where `cls_targets` is all zero).
    """
    time, range_min, range_max, stride = (points[:, i : i + 1] for i in range(4))  # (P, 1)
    labels = ops.cast(labels, "int32")
    start = ops.expand_dims(segments[:, :, 0], 1)  # (B, 1, N)
    end = ops.expand_dims(segments[:, :, 1], 1)
    to_start, to_end = time - start, end - time  # (B, P, N)

    if center_sample == "radius":
        center, reach = 0.5 * (start + end), stride * center_sample_radius
        inner_start = ops.maximum(center - reach, start)
        inner_end = ops.minimum(center + reach, end)
        inside = ops.minimum(time - inner_start, inner_end - time) > 0
    else:
        inside = ops.minimum(to_start, to_end) > 0
    farther = ops.maximum(to_start, to_end)
    in_range = ops.logical_and(farther >= range_min, farther <= range_max)
    real = ops.expand_dims(labels >= 0, 1)
    candidate = ops.logical_and(ops.logical_and(inside, in_range), real)

    length = ops.where(candidate, end - start, float("inf"))
    shortest = ops.min(length, axis=2, keepdims=True)
    chosen = candidate
    if point_classes == "shortest":
        chosen = ops.logical_and(length <= shortest + TIE_STEPS, candidate)
    one_hot = ops.one_hot(labels, num_classes, dtype="float32")  # a label of -1 gives zeros
    cls_targets = ops.minimum(ops.matmul(ops.cast(chosen, "float32"), one_hot), 1.0)

    first = ops.expand_dims(ops.argmin(length, axis=2), 2)
    distances = [ops.take_along_axis(x, first, axis=2) for x in (to_start, to_end)]
    return cls_targets, ops.concatenate(distances, axis=2) / stride
