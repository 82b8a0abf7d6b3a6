"""A video and an encoder in, features out, one step after the other."""

import collections
import dataclasses
import itertools

import numpy as np

from keras_actionformer.checks import frames_a_second, positive_whole
from keras_actionformer.data.sidecars import Sidecar
from keras_actionformer.errors import UserError
from keras_actionformer.video.encoder import Sampling
from keras_actionformer.video.reading import count_samples, sample_frames

_LONGEST_WINDOW = 10_000  # frames


def check_sampling(encoder, sampling):
    """Returns a `Sampling` with what is None taken from an encoder's own.

    Raises:
      UserError: a number is out of its range, or a window has fewer frames than a clip.
    """
    own = encoder.sampling
    window = own.window_frames if sampling.window_frames is None else sampling.window_frames
    stride = own.stride_frames if sampling.stride_frames is None else sampling.stride_frames
    window, stride = (
        positive_whole("window_frames", window),
        positive_whole("stride_frames", stride),
    )
    least = 2 if encoder.clip_frames is None else encoder.clip_frames
    if window > _LONGEST_WINDOW:
        raise UserError(
            f"window_frames is {window}, whose pictures are in memory at once; the most are "
            f"{_LONGEST_WINDOW}."
        )
    if window < least:
        raise UserError(
            f"window_frames is {window}, but the encoder {encoder.record['name']} looks at "
            f"{least} frames: set it to {least} or more."
        )
    fps = own.fps if sampling.fps is None else frames_a_second("fps", sampling.fps)
    return Sampling(fps, window, stride)


def record_of(encoder):
    """What features of an encoder depend on, see encoder_records.py."""
    return {**encoder.record, "framing": dataclasses.asdict(encoder.framing)}


def sidecar_of(facts, encoder, sampling):
    """The `Sidecar` that features of a video have.

    Args:
      facts: `VideoFacts`.
      encoder: `Encoder`.
      sampling: `Sampling`, from `check_sampling`.
    """
    fps = facts.fps if sampling.fps is None else sampling.fps
    return Sidecar(
        fps=fps,
        stride_frames=sampling.stride_frames,
        window_frames=sampling.window_frames,
        duration_sec=facts.duration_sec,
        num_frames=count_samples(fps, facts.duration_sec),
        encoder=record_of(encoder),
        video={"file": facts.path.name, "bytes": facts.path.stat().st_size, "fps": facts.fps},
    )


def extract_steps(path, encoder, sidecar, on_step=None):
    """Computes the features of a video, of which no more than a batch is in memory.

    Step i is of the frames from `i * stride_frames` on, `window_frames` of them, at the frame rate
    of the sidecar. Only whole windows make a step; of a video shorter than one, the last picture
    stays until it is full.

    Args:
      path: str or `os.PathLike`.
      encoder: `Encoder`.
      sidecar: `Sidecar`, see `sidecar_of`.
      on_step: function of the seconds of the video that are done, called for each batch, or None.

    Yields:
      float32 (some steps, C).

    Raises:
      UserError: the video cannot be read or is damaged, or the encoder computes what is not finite.
    """
    window, stride = int(sidecar.window_frames), int(sidecar.stride_frames)
    frames = sample_frames(path, sidecar.fps, sidecar.duration_sec, encoder.framing)
    count = 0
    for rows in encode_steps(frames, encoder, window, stride):
        if not np.isfinite(rows).all():
            where = sidecar.grid.to_sec(count)
            raise UserError(f"The features of '{path}' at {where:.1f} s are NaN or infinite.")
        yield rows
        count += len(rows)
        if on_step is not None:
            on_step(min(count * sidecar.grid.step_sec, sidecar.duration_sec))


def encode_steps(frames, encoder, window, stride, batch_clips=None):
    """Yields the steps of the features of a video, float32 (some, C), as its frames come.

    Args:
      frames: iterator of uint8 (height, width, 3), at a constant rate.
      encoder: `Encoder`.
      window, stride: ints, see `Sampling`.
      batch_clips: int, the most clips at once, if it is to be less than the encoder's.
    """
    batch_clips = min(batch_clips or encoder.batch_clips, encoder.batch_clips)
    if (prepare := getattr(encoder, "prepare", None)) is not None:
        frames = prepare(frames)
    if stride > window:  # what lies between two windows is nobody's
        frames = (frame for count, frame in enumerate(frames) if count % stride < window)
    if encoder.clip_frames == 1:
        pictures = ((frame,) for frame in frames)
        rows = (row for rows in _encoded(pictures, encoder, batch_clips) for row in rows)
        yield from (np.mean(rows, axis=0)[None] for rows in _windows(rows, window, stride))
    else:
        places = _spread(encoder.clip_frames or window, window)
        clips = ([clip[i] for i in places] for clip in _windows(frames, window, stride))
        yield from _encoded(clips, encoder, batch_clips)


def _windows(items, length, stride):
    """Yields lists of `length` items, each begun `min(stride, length)` after the one before."""
    window, stride = collections.deque(maxlen=length), min(stride, length)
    is_first, lacking = True, length
    for item in items:
        window.append(item)
        lacking -= 1
        if not lacking:
            yield list(window)
            is_first, lacking = False, stride
    if is_first:
        yield [*window, *itertools.repeat(window[-1], lacking)]


def _spread(count, window):
    """Which frames of a window make a clip of `count`: evenly, and alike from both ends."""
    middles = (np.arange(count) + 0.5) * window / count
    # Where one lies between two frames, the one nearer to the middle of the window.
    is_early = middles < window / 2
    return np.where(is_early, np.floor(middles), np.ceil(middles) - 1).astype(int)


def _encoded(clips, encoder, batch_clips):
    """Yields float32 (up to `batch_clips`, C) of clips, each a sequence of pictures."""
    clips = iter(clips)
    while batch := list(itertools.islice(clips, batch_clips)):
        yield np.asarray(encoder(np.stack([np.stack(clip) for clip in batch])), np.float32)
