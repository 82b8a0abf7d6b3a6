"""From the steps that the network sees to seconds, and where windows of a sequence lie."""

import math

import numpy as np

from keras_actionformer.data.grid import FeatureGrid, spread_grid
from keras_actionformer.data.windows import sliding_windows
from keras_actionformer.errors import UserError

SECONDS = FeatureGrid(1.0, 1.0, 0.0)  # of what is in seconds already


def grid_of_steps(architecture, settings, grid, num_steps, duration_sec):
    """The `FeatureGrid` of the steps that the network sees of a sequence.

    Args:
      architecture: `Architecture`, which may resize sequences.
      settings: `PostProcess`.
      grid: `FeatureGrid` of the features; it does not matter where durations are shared out.
      num_steps: int, T of the features.
      duration_sec: float or None.

    Raises:
      UserError: the duration is to be shared out, and not known.
    """
    resize_to, longest = architecture.resize_to, architecture.max_seq_len
    if resize_to is not None and settings.spread_duration:
        if duration_sec is None:
            raise UserError(
                "The model shares out the duration of a sequence over its steps (spread_duration): "
                "pass duration_sec."
            )
        return spread_grid(duration_sec, resize_to)
    if resize_to is not None:
        return grid.resize(num_steps, resize_to)
    if architecture.resize_longer and num_steps > longest:
        return grid.stretch(num_steps / longest)
    return grid


def windows_of(settings, num_steps, grid, duration_sec, window_steps, overlap):
    """The windows (start, length) of a sequence.

    Args:
      settings: `PostProcess`.
      num_steps: int, T.
      grid, duration_sec: `FeatureGrid`, and float or None. OpenTAD, whose windows may not reach the
        end, counts the steps of a video and not its features.
      window_steps, overlap: as for `sliding_windows`.
    """
    if settings.sliding_reaches_end:
        return sliding_windows(num_steps, window_steps, overlap)
    steps = num_steps
    if duration_sec is not None:
        steps = math.ceil(round(duration_sec * grid.fps) / grid.stride_frames)
    windows = sliding_windows(steps, window_steps, overlap, reach_end=False)
    return [(start, length) for start, length in windows if start < num_steps]


def clipped_sec(segments, grid, duration_sec):
    """Segments (M, 2) of a grid in seconds, cut to [0, duration], in the type they have.

    In float32, as candidates have it, the reference converts and clips.
    """
    segments_sec = np.maximum(grid.to_sec(segments), 0.0)
    return segments_sec if duration_sec is None else np.minimum(segments_sec, duration_sec)


def rounded(segments_sec, scores):
    """Seconds to 2 decimals and scores to 4, each as Python rounds it; float32."""
    times, scores = (
        np.array([round(value, decimals) for value in values.ravel().tolist()], "float32")
        for values, decimals in ((segments_sec, 2), (scores, 4))
    )
    return times.reshape(-1, 2), scores
