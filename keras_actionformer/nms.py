"""Non-maximum suppression of segments as one loop in the graph, for all classes at once.

Picking the best remaining candidate and weakening only those of its class equals a Soft-NMS per
class followed by a sort and a cut over all classes, because a candidate's score depends on its
own class alone and never grows. So `max_detections` rounds are enough, whatever the number of
candidates, and shapes are static. Equal scores: the candidate that comes first wins.
"""

import math

from keras import ops

# Candidates that are picked, suppressed or padding; below every score.
_GONE = -1.0
# Added to every segment's length by the reference, so that no tIoU divides by zero.
_LENGTH_EPSILON = 1e-6


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
      `"none"`, which keeps all valid candidates in their order.
    """
    if settings.nms_method == "none":
        return _compact(segments, scores, labels, valid)
    index, picked_scores = _pick(segments, scores, labels, valid, settings)
    picked = picked_scores >= 0
    kept = ops.cast(picked, "float32")
    out_segments = ops.stack(
        [ops.take_along_axis(segments[:, :, i], index, axis=1) for i in (0, 1)], axis=-1
    )
    if not settings.multiclass_nms and settings.voting_thresh > 0:
        weights = scores * ops.cast(valid, "float32")
        out_segments = vote(out_segments, segments, weights, settings.voting_thresh)
    out_labels = ops.take_along_axis(labels, index, axis=1) * ops.cast(picked, "int32")
    return (
        out_segments * ops.expand_dims(kept, -1),
        picked_scores * kept,
        out_labels,
        ops.sum(ops.cast(picked, "int32"), axis=1),
    )


def _pick(segments, scores, labels, valid, settings):
    """Returns the picked candidates' indices (B, M) int32 and scores (B, M), -1 for none."""
    soft = settings.nms_method == "soft"
    starts, ends = segments[:, :, 0], segments[:, :, 1]
    # The maximum changes nothing but keeps TensorFlow's graph optimizer from moving the epsilon
    # into `starts`, where it would drown in rounding.
    lengths = ops.maximum(ends - starts, 0.0) + _LENGTH_EPSILON
    if not soft and settings.min_score > 0:
        valid = ops.logical_and(valid, scores > settings.min_score)
    remaining = ops.where(valid, scores, _GONE)
    candidate = ops.expand_dims(ops.arange(ops.shape(scores)[1], dtype="int32"), 0)
    slot = ops.expand_dims(ops.arange(settings.max_seg_num, dtype="int32"), 0)
    nothing = ops.zeros_like(remaining[:, :1])
    index = ops.cast(ops.repeat(nothing, settings.max_seg_num, axis=1), "int32")
    picked_scores = ops.cast(index, "float32") + _GONE

    def any_left(step, remaining, index, picked_scores):
        return ops.logical_and(step < settings.max_seg_num, ops.max(remaining) > _GONE)

    def pick_best(step, remaining, index, picked_scores):
        best = ops.cast(ops.expand_dims(ops.argmax(remaining, axis=1), 1), "int32")  # (B, 1)
        score = ops.take_along_axis(remaining, best, axis=1)
        start, end, length = (
            ops.take_along_axis(x, best, axis=1) for x in (starts, ends, lengths)
        )
        overlap = ops.maximum(ops.minimum(end, ends) - ops.maximum(start, starts), 0.0)
        tiou = overlap / (length + lengths - overlap)
        if soft:
            weakened = remaining * ops.exp(-(tiou**2) / settings.nms_sigma)
            # A class's best is picked before this can reach it: it is never tested.
            weakened = ops.where(weakened < settings.min_score, _GONE, weakened)
        else:
            weakened = ops.where(tiou >= settings.iou_threshold, _GONE, remaining)
        affected = score > _GONE  # False for a sequence that is done before the others
        if settings.multiclass_nms:
            same_class = labels == ops.take_along_axis(labels, best, axis=1)
            affected = ops.logical_and(affected, same_class)
        affected = ops.logical_and(affected, remaining > _GONE)
        remaining = ops.where(affected, weakened, remaining)
        remaining = ops.where(candidate == best, _GONE, remaining)
        now = slot == step
        index = ops.where(now, best, index)
        picked_scores = ops.where(now, score, picked_scores)
        return step + 1, remaining, index, picked_scores

    step = ops.convert_to_tensor(0, dtype="int32")
    _, _, index, picked_scores = ops.while_loop(
        any_left, pick_best, (step, remaining, index, picked_scores)
    )
    return index, picked_scores


def vote(segments, all_segments, all_scores, threshold):
    """Segment voting: each boundary becomes a weighted mean over overlapping candidates.

    Weights are score times tIoU of the candidates whose tIoU with the segment reaches
    `threshold`. A segment that no candidate reaches stays (a zero-length one, say).

    Args:
      segments: (B, M, 2) float32.
      all_segments: (B, N, 2) float32.
      all_scores: (B, N) float32, 0 for padding.
      threshold: float.

    Returns:
      (B, M, 2) float32.
    """
    start, end = segments[:, :, 0:1], segments[:, :, 1:2]  # (B, M, 1)
    all_start = ops.expand_dims(all_segments[:, :, 0], 1)  # (B, 1, N)
    all_end = ops.expand_dims(all_segments[:, :, 1], 1)
    overlap = ops.maximum(ops.minimum(end, all_end) - ops.maximum(start, all_start), 0.0)
    union = (end - start) + (all_end - all_start) - overlap
    tiou = overlap / ops.where(union > 0, union, math.inf)
    reaches = ops.cast(tiou >= threshold, "float32")
    weights = reaches * tiou * ops.expand_dims(all_scores, 1)
    total = ops.sum(weights, axis=2, keepdims=True)
    mean = ops.matmul(weights, all_segments) / ops.where(total > 0, total, 1.0)
    return ops.where(total > 0, mean, segments)


def _compact(segments, scores, labels, valid):
    """Moves the valid candidates to the front, in their order, and zeros the rest."""
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
