"""The graphs that are exported: from features to detections in seconds, or to raw outputs.

They hold what the library does around the network at inference, too: sequences padded with
anything are masked by their lengths, and each may have its own frame rate and duration. Optional
inputs that are not given are 0.
"""

import collections.abc
import dataclasses

from keras import ops

from keras_actionformer.detection.suppression import compact
from keras_actionformer.errors import UserError

_UNLIMITED_SEC = 3e38


@dataclasses.dataclass(frozen=True)
class ExportGraph:
    """Something to export.

    Attributes:
      function: callable from tensors to a dict of tensors; its arguments are the inputs.
      defaults: dict from every input, in order, to the value that stands for "not given", or to
        None where it has to be given.
      weights: list of Keras variables that the function uses.
    """

    function: collections.abc.Callable
    defaults: dict
    weights: list


def raw_graph(model):
    """The network alone.

    Returns:
      `ExportGraph` of `(feats (B, T, C) float32, num_steps (B,) int32) -> {"logits" (B, P, K),
      "offsets" (B, P, 2), "points" (P, 4)}`; see `Heads` and `make_points`.
    """
    network = model.detector().network

    def run(feats, num_steps):
        num_steps = _known_steps(feats, num_steps)
        outputs = network({"feats": feats, "num_steps": num_steps})
        points = model.points(ops.shape(outputs["mask"])[1])
        return {"logits": outputs["logits"], "offsets": outputs["offsets"], "points": points}

    return ExportGraph(run, {"feats": None, "num_steps": 0}, network.weights)


def detection_graph(model):
    """From features to detections.

    Returns:
      `ExportGraph` of `(feats (B, T, C) float32, num_steps (B,) int32, fps (B,) float32,
      duration_sec (B,) float32) -> {"detection_segments" (B, M, 2) seconds, "detection_scores"
      (B, M), "detection_classes" (B, M) int32, "num_detections" (B,) int32}`; the last three
      inputs may have one entry for all sequences.
    """
    if model.postprocess.sliding_steps or model.postprocess.round_results:
        raise UserError(
            "The model cuts sequences into windows or rounds what it finds (sliding_steps, "
            "round_results of postprocess), which an export does not: open it with "
            "postprocess={'sliding_steps': 0, 'round_results': False} and export that, and give it "
            "one window after another."
        )
    grid, is_suppressed = model.grid, model.postprocess.nms_method != "none"
    # What keeps all candidates moves them to the front once, and in seconds.
    detector = model.detector().graph if is_suppressed else model.detector().candidates

    def run(feats, num_steps, fps, duration_sec):
        num_steps = _known_steps(feats, num_steps)
        fps, duration_sec = (_one_each(feats, x) for x in (fps, duration_sec))
        found = detector({"feats": feats, "num_steps": num_steps})
        if is_suppressed:
            segments, scores, labels, count = found
            limit = model.postprocess.max_seg_num  # servers tell the size of outputs
            scores, labels = (ops.reshape(x, (-1, limit)) for x in (scores, labels))
            segments = ops.reshape(segments, (-1, limit, 2))
            slot = ops.expand_dims(ops.arange(limit, dtype="int32"), 0)
            is_detection = slot < ops.expand_dims(count, -1)
        else:
            segments, scores, labels, is_detection = found
        segments_sec = _to_sec(
            model, segments, _wide(ops.cast(num_steps, "float32")), _wide(fps), _wide(duration_sec)
        )
        if model.postprocess.drop_empty:
            # What the network computes a NaN of is told by its scores, which must stay.
            has_length = segments_sec[:, :, 0] < segments_sec[:, :, 1]
            stays = ops.logical_or(has_length, ops.isnan(scores))
            is_detection = ops.logical_and(is_detection, stays)
        if model.postprocess.drop_empty or not is_suppressed:
            segments_sec, scores, labels, count = compact(
                segments_sec, scores, labels, is_detection
            )
        else:
            segments_sec = ops.where(ops.expand_dims(is_detection, -1), segments_sec, 0.0)
        return {
            "detection_segments": segments_sec,
            "detection_scores": scores,
            "detection_classes": labels,
            "num_detections": count,
        }

    defaults = {
        "feats": None,
        "num_steps": 0,
        # What the model does not know has to be given.
        "fps": None if grid is not None and grid.fps is None else 0.0,
        "duration_sec": None if grid is None else 0.0,
    }
    return ExportGraph(run, defaults, detector.weights)


def _to_sec(model, segments, num_steps, fps, duration_sec):
    """`FeatureGrid.to_sec` and clipping of `segments (B, M, 2)`; (B, 1, 1) the others."""
    grid, settings = model.grid, model.architecture
    if settings.resize_to is not None and model.postprocess.spread_duration:
        segments_sec = segments * (duration_sec / settings.resize_to)
        return ops.minimum(ops.maximum(segments_sec, 0.0), duration_sec)
    if grid is None:  # a video's duration is shared out over its steps
        fps = 1.0
        stride_frames = window_frames = duration_sec / num_steps
    else:
        fps = fps if grid.fps is None else ops.where(fps > 0, fps, grid.fps)
        stride_frames, window_frames = grid.stride_frames, grid.window_frames
    if settings.resize_to is not None:
        num_frames = (num_steps - 1) * stride_frames + window_frames
        stride_frames = window_frames = num_frames / settings.resize_to
    elif settings.resize_longer:
        rate = ops.maximum(num_steps / settings.max_seq_len, 1.0)
        stride_frames, window_frames = stride_frames * rate, window_frames * rate
    segments_sec = (segments * stride_frames + 0.5 * window_frames) / fps
    limit = ops.where(duration_sec > 0, duration_sec, _UNLIMITED_SEC)
    return ops.minimum(ops.maximum(segments_sec, 0.0), limit)


def _known_steps(feats, num_steps):
    """(B,) int32: the valid steps, where 0 stands for all."""
    steps = ops.shape(feats)[1]
    num_steps = ops.where(num_steps > 0, ops.minimum(num_steps, steps), steps)
    return _one_each(feats, num_steps)


def _one_each(feats, x):
    """Spreads `x (1,)` or `(B,)` to (B,)."""
    return ops.broadcast_to(x, (ops.shape(feats)[0],))


def _wide(x):
    return ops.expand_dims(ops.expand_dims(x, -1), -1)
