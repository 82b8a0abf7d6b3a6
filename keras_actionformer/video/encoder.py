"""What turns clips of a video into features: a small protocol."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from keras_actionformer.video.reading import Framing


@dataclasses.dataclass(frozen=True)
class Sampling:
    """Which frames make a feature.

    Args:
      fps: float, frames a second to read the video at; of an encoder, None is the video's own rate.
      window_frames: int, frames that a step sees.
      stride_frames: int, frames from one step to the next.
        Where they are asked for, each may be None: as suits the encoder.
    """

    fps: float | None = None
    window_frames: int | None = None
    stride_frames: int | None = None


# Of single pictures: half a second each, four a second.
PICTURES = Sampling(fps=8, window_frames=4, stride_frames=2)


class Encoder(Protocol):
    """A function of clips, uint8 (B, frames, height, width, 3), to features, float32 (B, width).

    It may have `prepare` and `seconds_a_frame`, too, see `NetworkEncoder`.

    Attributes:
      width: int, C.
      clip_frames: int, frames of a clip, which are taken evenly from a window. 1: it looks at
        single pictures, and a window has the mean of its pictures' features. None: a clip is a
        window, whatever its length.
      framing: `Framing`, how pictures get its size.
      sampling: `Sampling` that suits it.
      batch_clips: int, the most clips to give it at once.
      record: dict of text and numbers: its name, the SHA-256 of its weights and whatever else its
        features depend on.
    """

    width: int
    clip_frames: int | None
    framing: Framing
    sampling: Sampling
    batch_clips: int
    record: dict[str, Any]

    def __call__(self, clips: np.ndarray) -> np.ndarray: ...


@dataclasses.dataclass(frozen=True)
class NetworkEncoder:
    """An `Encoder` of a function.

    Args:
      function: of uint8 (B, frames, height, width, 3) to float (B, width).
      width, clip_frames, framing, sampling, batch_clips, record: see `Encoder`.
      prepare: function of the pictures of a video, an iterator of uint8 (height, width, 3), that
        yields as many of what the clips shall be made of, uint8 (height, width, channels); or None.
      seconds_a_frame: function of the pictures of a video that measures how long that takes for
        one, where it is so long that it is told before; or None.
    """

    function: Callable[[np.ndarray], np.ndarray]
    width: int
    clip_frames: int
    framing: Framing
    sampling: Sampling
    batch_clips: int
    record: dict[str, Any]
    prepare: Callable[[Iterator[np.ndarray]], Iterator[np.ndarray]] | None = None
    seconds_a_frame: Callable[[Iterator[np.ndarray]], float] | None = None

    @classmethod
    def of_pictures(cls, function, width, framing, record, sampling=PICTURES):
        """Makes one of a function of pictures, uint8 (B, height, width, 3)."""
        return cls(lambda clips: function(clips[:, 0]), width, 1, framing, sampling, 8, record)

    def __call__(self, clips: np.ndarray) -> np.ndarray:
        return np.asarray(self.function(clips), np.float32)
