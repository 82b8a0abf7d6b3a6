"""From the heads' outputs to candidate segments (reference: `inference_single_video`)."""

import dataclasses
import math

import keras
import numpy as np
from keras import ops

from keras_actionformer.checks import from_fields
from keras_actionformer.detection.postprocess import PostProcess
from keras_actionformer.network.points import make_points, point_mask

LARGEST = float(np.finfo("float32").max)  # what is not NaN or infinite is at most this


def decode(logits, offsets, points, mask, num_points, settings):
    """Lists the candidates of every level, best first within a level (or of all levels).

    Args:
      logits: (B, P, K) float.
      offsets: (B, P, 2) float, distances to start and end in strides.
      points: (P, 4) float32, see `make_points`.
      mask: (B, P) bool, validity of the points.
      num_points: L ints or scalar tensors, points of each level; their sum is P.
      settings: `PostProcess`.

    Returns:
      segments (B, N, 2) float32 in grid steps, scores (B, N) float32, labels (B, N) int32,
      valid (B, N) bool, where N is the sum over levels of `min(pre_nms_topk, T_l * K)`, or,
      without `topk_per_level`, `min(pre_nms_topk, P * K)`. Where
      the network has computed a NaN or infinity at a valid point, all scores of the sequence are
      NaN and valid: it must not look like one without actions.
    """
    scores = point_scores(logits, mask)
    is_sound = is_finite_at(mask, logits, offsets)
    return best_candidates(scores, None, offsets, is_sound, points, num_points, settings)


def point_scores(logits, mask):
    """Scores (B, P, K) float32 in 0..1 of logits (B, P, K), 0 where `mask (B, P)` is False."""
    return ops.sigmoid(ops.cast(logits, "float32")) * ops.cast(ops.expand_dims(mask, -1), "float32")


def is_finite_at(mask, logits, offsets):
    """(B, 1) bool: whether all that the network has computed at points of the mask is finite."""
    return ops.expand_dims(ops.logical_and(_is_finite(logits, mask), _is_finite(offsets, mask)), 1)


def best_candidates(scores, classes, offsets, is_sound, points, num_points, settings):
    """Lists the candidates of every level from what each point offers.

    Args:
      scores: (B, P, K) float32.
      classes: (B, P, K) int32, the class of each score; None: its place, 0..K-1.
      offsets, points, num_points, settings: as for `decode`.
      is_sound: (B, 1) bool, see `is_finite_at`.

    Returns:
      As `decode`.
    """
    num_choices = scores.shape[-1]
    reach = ops.cast(offsets, "float32") * points[:, 3:]
    starts, ends = points[:, 0] - reach[:, :, 0], points[:, 0] + reach[:, :, 1]  # (B, P)

    top_scores, top, first = [], [], 0
    for length in num_points if settings.topk_per_level else [sum(num_points)]:
        flat = ops.reshape(scores[:, first : first + length], (-1, length * num_choices))
        level_scores, level_top = ops.top_k(
            flat, smaller(settings.pre_nms_topk, length * num_choices)
        )
        top_scores.append(level_scores)
        top.append(ops.cast(level_top, "int32") + first * num_choices)
        first = first + length
    top_scores, top = ops.concatenate(top_scores, axis=1), ops.concatenate(top, axis=1)
    point, labels = top // num_choices, top % num_choices
    if classes is not None:
        flat = ops.reshape(classes, (-1, sum(num_points) * num_choices))
        labels = ops.take_along_axis(flat, top, axis=1)
    start = ops.take_along_axis(starts, point, axis=1)
    end = ops.take_along_axis(ends, point, axis=1)
    valid = ops.logical_and(
        top_scores > settings.pre_nms_thresh, end - start > settings.duration_thresh
    )
    top_scores = ops.where(is_sound, top_scores, math.nan)
    valid = ops.logical_or(valid, ops.logical_not(is_sound))
    return ops.stack([start, end], axis=-1), top_scores, labels, valid


def _is_finite(x, mask):
    """(B,) bool: whether `x (B, P, D)` is finite at all points of `mask (B, P)`.

    By comparing, which unlike `isfinite` TFLite has.
    """
    is_finite = ops.abs(ops.cast(x, "float32")) <= LARGEST
    is_missing = ops.logical_not(ops.expand_dims(mask, -1))
    return ops.all(ops.logical_or(is_finite, is_missing), axis=(1, 2))


def smaller(limit, size):
    """min of an int and an int or tensor; stays an int (which XLA needs) where it can."""
    return min(limit, size) if isinstance(size, int) else ops.minimum(limit, size)


@keras.saving.register_keras_serializable("keras_actionformer")
class CandidateDecoder(keras.layers.Layer):
    """Raw outputs to candidate segments in the graph.

    Args:
      strides: strides of the levels, in steps.
      regression_range: a pair a level.
      settings: `PostProcess`, or a dict of its fields.
      point_offset: float, see `make_points`.

    Call: `(logits (B, P, K), offsets (B, P, 2), mask (B, T)) -> segments (B, N, 2) in grid
    steps, scores (B, N), labels (B, N) int32, valid (B, N) bool`; see `decode`.
    """

    def __init__(self, strides, regression_range, settings, point_offset=0.0, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})  # half precision would move ends
        self.strides = tuple(strides)
        self.regression_range = regression_range
        self.settings = from_fields("settings", settings, PostProcess)
        self.point_offset = point_offset

    def call(self, logits, offsets, mask):
        num_steps = ops.shape(mask)[1]
        return self.decode(
            logits,
            offsets,
            make_points(num_steps, self.strides, self.regression_range, self.point_offset),
            point_mask(mask, self.strides),
            [num_steps // stride for stride in self.strides],
        )

    def decode(self, logits, offsets, points, mask, num_points):
        """See the function `decode`."""
        return decode(logits, offsets, points, mask, num_points, self.settings)

    def compute_output_spec(self, logits, offsets, mask):
        return candidates_spec(logits.shape[0], keras.KerasTensor)

    def get_config(self):
        return {
            **super().get_config(),
            "strides": self.strides,
            "regression_range": self.regression_range,
            "settings": dataclasses.asdict(self.settings),
            "point_offset": self.point_offset,
        }


def candidates_spec(batch, tensor):
    """What `decode` returns for a batch, each made by `tensor` from a shape and a dtype."""
    return (
        tensor((batch, None, 2), dtype="float32"),
        tensor((batch, None), dtype="float32"),
        tensor((batch, None), dtype="int32"),
        tensor((batch, None), dtype="bool"),
    )
