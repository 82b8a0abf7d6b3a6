"""From the heads' outputs to candidate segments (reference: `inference_single_video`)."""

import dataclasses

from keras import ops

from keras_actionformer.arguments import choice, flag, number, shown, whole
from keras_actionformer.errors import UserError

_KINDS = {float: number, int: whole, bool: flag}
_MAX_COUNT = 100_000  # suppression takes a round for each detection: a file must not ask for days
_MIN_SIGMA = 1e-6  # tIoU^2 / sigma stays a number in float32


@dataclasses.dataclass(frozen=True)
class PostProcess:
    """Settings from scores and offsets to detections; the names are the reference's.

    Attributes:
      pre_nms_thresh: candidates must score above this.
      pre_nms_topk: most candidates of one level.
      duration_thresh: candidates must be longer than this, in grid steps.
      nms_method: `"soft"`, `"hard"` or `"none"`. `"none"` keeps every candidate, level by level.
      multiclass_nms: bool, suppress within a class only; otherwise across classes.
      iou_threshold: hard NMS drops candidates whose tIoU with a better one reaches this.
      nms_sigma: width of Soft-NMS, whose factor is `exp(-tIoU^2 / sigma)`.
      min_score: NMS drops candidates whose score falls below this (soft; the best one of a
        class stays) or does not exceed this (hard).
      max_seg_num: most detections of a sequence.
      voting_thresh: class-agnostic NMS only: boundaries become a score-weighted mean of the
        candidates whose tIoU reaches this; 0 turns it off.

    Raises:
      UserError: a value is of another type or out of its range.
    """

    pre_nms_thresh: float = 0.001
    pre_nms_topk: int = 5000
    duration_thresh: float = 0.05
    nms_method: str = "soft"
    multiclass_nms: bool = True
    iou_threshold: float = 0.1
    nms_sigma: float = 0.5
    min_score: float = 0.01
    max_seg_num: int = 1000
    voting_thresh: float = 0.75

    def __post_init__(self):
        choice("nms_method", self.nms_method, "soft", "hard", "none")
        for field in dataclasses.fields(self):
            if field.type in _KINDS:
                value = _KINDS[field.type](field.name, getattr(self, field.name))
                object.__setattr__(self, field.name, value)  # the way round `frozen`
        for name in ("pre_nms_topk", "max_seg_num"):
            count = getattr(self, name)
            if not 1 <= count <= _MAX_COUNT:
                raise UserError(
                    f"{name} must be at least 1 and at most {_MAX_COUNT}, but is {shown(count)}."
                )
        for name in ("pre_nms_thresh", "iou_threshold", "min_score", "voting_thresh"):
            if getattr(self, name) > 1:
                raise UserError(
                    f"{name} must be at most 1, for so are scores and tIoU, but is "
                    f"{shown(getattr(self, name))}."
                )
        if self.nms_sigma < _MIN_SIGMA:
            raise UserError(
                f"nms_sigma must be above 0 ({_MIN_SIGMA:g} or more), but is {self.nms_sigma:g}."
            )


def decode(logits, offsets, points, mask, num_points, settings):
    """Lists the candidates of every level, best first within a level.

    Args:
      logits: (B, P, K) float.
      offsets: (B, P, 2) float, distances to start and end in strides.
      points: (P, 4) float32, see `make_points`.
      mask: (B, P) bool, validity of the points.
      num_points: L ints or scalar tensors, points of each level; their sum is P.
      settings: `PostProcess`.

    Returns:
      segments (B, N, 2) float32 in grid steps, scores (B, N) float32, labels (B, N) int32,
      valid (B, N) bool, where N is the sum over levels of `min(pre_nms_topk, T_l * K)`.
    """
    num_classes = logits.shape[-1]
    scores = ops.sigmoid(ops.cast(logits, "float32"))
    scores = scores * ops.cast(ops.expand_dims(mask, -1), "float32")
    reach = ops.cast(offsets, "float32") * points[:, 3:]
    starts, ends = points[:, 0] - reach[:, :, 0], points[:, 0] + reach[:, :, 1]  # (B, P)

    top_scores, top, first = [], [], 0
    for length in num_points:
        flat = ops.reshape(scores[:, first : first + length], (-1, length * num_classes))
        level_scores, level_top = ops.top_k(
            flat, smaller(settings.pre_nms_topk, length * num_classes)
        )
        top_scores.append(level_scores)
        top.append(ops.cast(level_top, "int32") + first * num_classes)
        first = first + length
    top_scores, top = ops.concatenate(top_scores, axis=1), ops.concatenate(top, axis=1)
    point, labels = top // num_classes, top % num_classes
    start = ops.take_along_axis(starts, point, axis=1)
    end = ops.take_along_axis(ends, point, axis=1)
    valid = ops.logical_and(
        top_scores > settings.pre_nms_thresh, end - start > settings.duration_thresh
    )
    return ops.stack([start, end], axis=-1), top_scores, labels, valid


def smaller(limit, size):
    """min of an int and an int or tensor; stays an int (which XLA needs) where it can."""
    return min(limit, size) if isinstance(size, int) else ops.minimum(limit, size)
