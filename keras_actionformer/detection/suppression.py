"""Non-maximum suppression of segments as one loop in the graph, for all classes at once.

Picking the best remaining candidate and weakening only those of its class equals a Soft-NMS per
class followed by a sort and a cut over all classes, because a candidate's score depends on its
own class alone and never grows. So `max_seg_num` rounds are enough, whatever the number of
candidates, and shapes are static. Equal scores: the candidate that comes first wins.

The rounds look at a pool of the best candidates. If the last pick still scores above whatever
was left outside, the picks are those of all candidates: the ones outside only get weaker, so none
would have been picked, and what is not picked weakens nothing. If it does not, the rounds are
done again with all candidates.
"""

import dataclasses
import math

import keras
from keras import ops

from keras_actionformer.checks import from_fields
from keras_actionformer.detection.decode import LARGEST, smaller
from keras_actionformer.detection.postprocess import PostProcess

# Candidates that are picked, suppressed or padding; below every score.
_GONE = -1.0
# Added to every segment's length by the reference, so that no tIoU divides by zero.
_LENGTH_EPSILON = 1e-6
# Size of the pool, as a multiple of the detections asked for. Of 12,000 simulated candidates, 200
# picked across classes left 2000 to 2600 that had scored above the last; within a class, fewer.
_POOL = 16
# Picks in a turn of the loop, whose own operations took a sixth of the time with one.
_PICKS = 4
# Candidates that vote at once.
_VOTERS = 256


def suppress(segments, scores, labels, valid, settings):
    """Applies the suppression that `settings` ask for.

    Args:
      segments: (B, N, 2) float32, any unit.
      scores: (B, N) float32, in [0, 1].
      labels: (B, N) int32.
      valid: (B, N) bool; False entries are padding.
      settings: `PostProcess`.

    Returns:
      segments (B, M, 2), scores (B, M), labels (B, M), num_detections (B,) int32, best first;
      entries past `num_detections` are zeros. M is `max_seg_num`, or N when `nms_method` is
      `"none"`, which keeps all valid candidates in their order. Of a sequence with a score that is
      NaN (see `decode`), all M are detections, and their scores NaN.
    """
    if settings.nms_method == "none":
        return compact(segments, scores, labels, valid)
    index, picked_scores = _pick(segments, scores, labels, valid, settings)
    has_nan = ops.logical_not(_is_sound(scores, valid))
    picked_scores = ops.where(has_nan, math.nan, picked_scores)
    picked = ops.logical_or(picked_scores > _GONE, has_nan)
    kept = ops.cast(picked, "int32")
    out_segments = _gather(segments, index)
    if not settings.multiclass_nms and settings.voting_thresh > 0:
        weights = ops.where(valid, scores, 0.0)
        out_segments = vote(
            out_segments, segments, weights, settings.voting_thresh, settings.voting_by_tiou
        )
    return (
        out_segments * ops.cast(ops.expand_dims(kept, -1), "float32"),
        ops.where(picked, picked_scores, 0.0),
        ops.take_along_axis(labels, index, axis=1) * kept,
        ops.sum(kept, axis=1),
    )


def _is_sound(scores, valid):
    """(B, 1) bool: whether no valid candidate of a sequence is NaN.

    The comparison must not be negated: TensorFlow would turn it into `>`, which NaN is not either.
    """
    return ops.all(ops.logical_or(scores <= LARGEST, ops.logical_not(valid)), axis=1, keepdims=True)


def _gather(rows, index):
    """Picks `index` (B, M) of `rows` (B, N, C): (B, M, C)."""
    columns = [rows[:, :, i] for i in range(rows.shape[-1])]
    return ops.stack([ops.take_along_axis(x, index, axis=1) for x in columns], axis=-1)


def _pick(segments, scores, labels, valid, settings):
    """Returns the picked candidates' indices (B, M) int32 and scores (B, M), -1 for none."""
    if settings.nms_method == "hard" and settings.min_score > 0:
        valid = ops.logical_and(valid, scores > settings.min_score)
    remaining = ops.where(valid, scores, _GONE)
    # Across classes is within the only class. Floats hold all whole numbers up to 2^24.
    groups = ops.cast(labels if settings.multiclass_nms else ops.zeros_like(labels), "float32")
    rows = ops.concatenate([segments, ops.expand_dims(groups, -1)], axis=-1)

    num_candidates, pool_size = ops.shape(scores)[1], _POOL * settings.max_seg_num
    if isinstance(num_candidates, int) and num_candidates <= pool_size:
        return _rounds(rows, remaining, settings)
    pool_size = smaller(pool_size, num_candidates)
    _, pool = ops.top_k(remaining, pool_size)
    pool = ops.sort(pool, axis=1)  # equal scores again stand in their order
    pool_scores = ops.take_along_axis(remaining, pool, axis=1)
    place, picked_scores = _rounds(_gather(rows, pool), pool_scores, settings)
    # At most this is outside. (A slice of what top_k returned would make XLA sort everything.)
    outside = ops.where(pool_size < num_candidates, ops.min(pool_scores, axis=1), _GONE)
    same = ops.logical_or(picked_scores[:, -1] > outside, outside == _GONE)
    return ops.cond(
        ops.all(same),
        lambda: (ops.take_along_axis(pool, place, axis=1), picked_scores),
        lambda: _rounds(rows, remaining, settings),
    )


def _rounds(rows, remaining, settings):
    """Picks the best remaining candidate and weakens its group, `max_seg_num` times.

    Args:
      rows: (B, N, 3) float32: start, end, group.
      remaining: (B, N) float32, scores.
      settings: `PostProcess`.

    Returns:
      As `_pick`.
    """
    starts, ends, groups = ops.unstack(rows, 3, axis=-1)
    # The maximum changes nothing but keeps TensorFlow's graph optimizer from moving the epsilon
    # into `starts`, where it would drown in rounding.
    lengths = ops.maximum(ends - starts, 0.0) + _LENGTH_EPSILON
    table = ops.reshape(ops.stack([starts, ends, lengths, groups], axis=-1), (-1, 4))
    num_rows, num_candidates = ops.shape(remaining)
    candidate = ops.expand_dims(ops.arange(num_candidates, dtype="int32"), 0)
    first = ops.arange(num_rows, dtype="int32") * num_candidates  # of a sequence, in the table
    slot = ops.expand_dims(ops.arange(settings.max_seg_num, dtype="int32"), 0)
    nothing = ops.zeros_like(remaining[:, :1])
    picked_scores = ops.repeat(nothing, settings.max_seg_num, axis=1) + _GONE
    index = ops.zeros_like(picked_scores, dtype="int32")

    def any_left(step, score, remaining, index, picked_scores):
        return ops.logical_and(step < settings.max_seg_num, ops.max(score) > _GONE)

    def pick_best(step, score, remaining, index, picked_scores):
        score = ops.max(remaining, axis=1, keepdims=True)  # (B, 1)
        # The first of the best; on TensorFlow, argmax of floats takes several operations more.
        best = ops.cast(ops.argmax(ops.cast(remaining == score, "int32"), axis=1), "int32")
        picked = ops.take(table, best + first, axis=0)
        start, end, length, group = ops.split(picked, 4, axis=1)  # (B, 1) each
        best = ops.expand_dims(best, 1)
        overlap = ops.maximum(ops.minimum(end, ends) - ops.maximum(start, starts), 0.0)
        tiou = overlap / (length + lengths - overlap)
        if settings.nms_method != "hard":
            weakened = remaining * _factors(tiou, length, settings)
            # A group's best is picked before this can reach it: it is never tested. Without a
            # limit all that is left stays, and what is gone is not weakened to a score of 0.
            stays = weakened >= settings.min_score if settings.min_score > 0 else remaining >= 0
        else:
            weakened = remaining
            stays = tiou < settings.iou_threshold
        stays = ops.logical_and(stays, candidate != best)
        weakened = ops.where(stays, weakened, _GONE)
        remaining = ops.where(groups == group, weakened, remaining)
        now = slot == step
        index = ops.where(now, best, index)
        picked_scores = ops.where(now, score, picked_scores)
        return step + 1, score, remaining, index, picked_scores

    def pick_some(*state):
        # Past the last slot, or with nothing left, a pick changes no result.
        for _ in range(_PICKS):
            state = pick_best(*state)
        return state

    step = ops.convert_to_tensor(0, dtype="int32")
    *_, index, picked_scores = ops.while_loop(
        any_left, pick_some, (step, nothing, remaining, index, picked_scores)
    )
    return index, picked_scores


def _factors(tiou, length, settings):
    """By how much the scores of candidates fall: (B, N) float32.

    Args:
      tiou: (B, N) float32, theirs with the picked one.
      length: (B, 1) float32, of the picked one.
      settings: `PostProcess`, whose method is neither `"hard"` nor `"none"`.
    """
    if settings.nms_method in ("soft", "improved"):
        factors = ops.exp(tiou * tiou * (-1.0 / settings.nms_sigma))
        if settings.nms_method == "soft":
            return factors
        limit = settings.iou_threshold + settings.iou_threshold_per_step * length
        return ops.where(tiou >= limit, factors, 1.0)
    factors = 1.0 - tiou if settings.nms_method == "linear" else ops.zeros_like(tiou)
    return ops.where(tiou >= settings.iou_threshold, factors, 1.0)


def vote(segments, all_segments, all_scores, threshold, by_tiou=True):
    """Segment voting: each boundary becomes a weighted mean over overlapping candidates.

    Weights are score times tIoU, or scores, of the candidates whose tIoU with the segment reaches
    `threshold`. A segment that no candidate reaches stays (a zero-length one, say). Candidates
    vote some at a time: all of them would take B * M * N numbers.

    Args:
      segments: (B, M, 2) float32.
      all_segments: (B, N, 2) float32.
      all_scores: (B, N) float32, 0 for padding.
      threshold: float.
      by_tiou: bool, whether tIoU counts beside the score.

    Returns:
      (B, M, 2) float32.
    """
    start, end = (ops.expand_dims(segments[:, :, i], 1) for i in (0, 1))  # (B, 1, M)
    # An empty segment overlaps nothing: any length but 0 says so.
    length = ops.where(end > start, end - start, 1.0)
    voters = ops.concatenate([all_segments, ops.expand_dims(all_scores, -1)], axis=-1)
    num_rows, num_voters = ops.shape(all_scores)
    voters = ops.pad(voters, ((0, 0), (0, _VOTERS), (0, 0)))  # a full block wherever one starts

    def any_left(first, total, starts, ends):
        return first < num_voters

    def add(first, total, starts, ends):
        block = ops.slice(voters, (0, first, 0), (num_rows, _VOTERS, 3))
        voter_start, voter_end, score = ops.split(block, 3, axis=2)  # (B, _VOTERS, 1) each
        # Below 0 where the two do not overlap, and so is tIoU.
        overlap = ops.minimum(end, voter_end) - ops.maximum(start, voter_start)
        tiou = overlap / (length + (voter_end - voter_start) - overlap)
        weights = ops.where(tiou >= threshold, tiou * score if by_tiou else score, 0.0)
        # Sums and no matrix product, which accelerators round to fewer digits than times need.
        total, starts, ends = (
            so_far + ops.sum(values, axis=1, keepdims=True)
            for so_far, values in (
                (total, weights),
                (starts, weights * voter_start),
                (ends, weights * voter_end),
            )
        )
        return first + _VOTERS, total, starts, ends

    zero = ops.zeros_like(start)
    first = ops.convert_to_tensor(0, dtype="int32")
    _, total, starts, ends = ops.while_loop(any_left, add, (first, zero, zero, zero))
    votes = ops.where(total > 0, total, 1.0)
    start, end = (
        ops.where(total > 0, sums / votes, old) for sums, old in ((starts, start), (ends, end))
    )
    return ops.stack([start[:, 0], end[:, 0]], axis=-1)


def compact(segments, scores, labels, valid):
    """Moves the valid ones to the front, in their order, and zeros the rest.

    Takes and returns what `suppress` does, with M = N.
    """
    num_candidates = ops.shape(scores)[1]
    position = ops.expand_dims(ops.arange(num_candidates, dtype="int32"), 0)
    order = ops.argsort(ops.where(valid, position, position + num_candidates), axis=1)
    num_valid = ops.sum(ops.cast(valid, "int32"), axis=1)
    kept = position < ops.expand_dims(num_valid, 1)
    starts, ends, scores, labels = (
        ops.where(kept, ops.take_along_axis(x, order, axis=1), ops.zeros((), x.dtype))
        for x in (segments[:, :, 0], segments[:, :, 1], scores, labels)
    )
    return ops.stack([starts, ends], axis=-1), scores, labels, num_valid


@keras.saving.register_keras_serializable("keras_actionformer")
class Suppression(keras.layers.Layer):
    """Candidates to detections in the graph.

    Args:
      settings: `PostProcess`, or a dict of its fields.

    Call: `(segments (B, N, 2), scores (B, N), labels (B, N) int32, valid (B, N) bool) ->
    segments (B, M, 2), scores (B, M), labels (B, M) int32, num_detections (B,) int32`; see
    `suppress`.
    """

    def __init__(self, settings, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.settings = from_fields("settings", settings, PostProcess)

    def call(self, segments, scores, labels, valid):
        return suppress(segments, scores, labels, valid, self.settings)

    def compute_output_spec(self, segments, scores, labels, valid):
        batch = segments.shape[0]
        limit = None if self.settings.nms_method == "none" else self.settings.max_seg_num
        return (
            keras.KerasTensor((batch, limit, 2), "float32"),
            keras.KerasTensor((batch, limit), "float32"),
            keras.KerasTensor((batch, limit), "int32"),
            keras.KerasTensor((batch,), "int32"),
        )

    def get_config(self):
        return {**super().get_config(), "settings": dataclasses.asdict(self.settings)}
