"""What turns clips of a video into features: a small protocol."""

import dataclasses
from typing import Any, Protocol

import numpy as np

from keras_actionformer.video.reading import Framing


@dataclasses.dataclass(frozen=True)
class Sampling:
    """Which frames make a feature.

    Args:
      fps: float, frames a second to read the video at, or None for its own.
      window_frames: int, frames that a step sees.
      stride_frames: int, frames from one step to the next.
    """

    fps: float | None
    window_frames: int
    stride_frames: int


class Encoder(Protocol):
    """A function of clips, uint8 (B, frames, height, width, 3), to features, float32 (B, width).

    Attributes:
      width: int, C.
      clip_frames: int, frames of a clip, which are taken evenly from a window. 1: it looks at
        single pictures, and a window has the mean of its pictures' features. None: a clip is a
        window, whatever its length.
      framing: `Framing`, how pictures get its size.
      sampling: `Sampling` that suits it.
      batch_clips: int, the most clips to give it at once.
      record: dict of what JSON can hold: its name and whatever else its features depend on.
    """

    width: int
    clip_frames: int | None
    framing: Framing
    sampling: Sampling
    batch_clips: int
    record: dict[str, Any]

    def __call__(self, clips: np.ndarray) -> np.ndarray: ...
