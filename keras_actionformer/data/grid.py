"""Seconds and steps of the feature grid: the one place where time is converted.

Features are computed on windows of `window_frames` frames that start every `stride_frames` frames.
Step `i` is centred on frame `i * stride_frames + window_frames / 2`, so that

    grid = (seconds * fps - window_frames / 2) / stride_frames

A model learns on one such grid; detections mean seconds only together with it.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from keras_actionformer.checks import flag, frames_a_second, number, positive_whole
from keras_actionformer.errors import UserError

if TYPE_CHECKING:
    from keras_actionformer.data.annotations import Video


@dataclasses.dataclass(frozen=True)
class FeatureGrid:
    """How the steps of a feature sequence lie in time.

    Example:

    ```python
    grid = FeatureGrid(fps=30, stride_frames=4, window_frames=16)
    grid.to_grid(1.0)   # 5.5: one second is half a step behind the centre of step 5
    grid.to_sec(5.5)    # 1.0
    ```

    Args:
      fps: float, frames (or samples of a sensor) a second, or a text such as "30000/1001"; None
        when each sequence has its own, which must then be told before anything is converted
        (`with_fps`).
      stride_frames: float, frames from one step to the next.
      window_frames: float, frames that one step has seen; 0 when a step is one instant.

    Raises:
      UserError: a value is not a finite number, `fps` or `stride_frames` is not above 0, or
        `window_frames` is below 0.
    """

    fps: float | None
    stride_frames: float
    window_frames: float

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name != "fps" or value is not None:
                checked = frames_a_second if field.name == "fps" else number
                # The way round `frozen`: NumPy's numbers become Python's, which JSON can hold.
                object.__setattr__(self, field.name, checked(field.name, value))
        if self.stride_frames <= 0:
            raise UserError(f"stride_frames must be above 0, but it is {self.stride_frames}.")
        if self.window_frames < 0:
            raise UserError(f"window_frames must be 0 or more, but it is {self.window_frames}.")

    @property
    def step_sec(self) -> float:
        """Seconds from one step to the next."""
        return self.stride_frames / self._known_fps()

    @property
    def offset_grid(self) -> float:
        """Half a window in steps: frame 0 lies this far before step 0."""
        return 0.5 * self.window_frames / self.stride_frames

    def to_grid(self, seconds: Any) -> Any:
        """Converts seconds (float, NumPy array or tensor of any shape) to grid units."""
        return (seconds * self._known_fps() - 0.5 * self.window_frames) / self.stride_frames

    def to_sec(self, grid: Any) -> Any:
        """Converts grid units (float, NumPy array or tensor of any shape) to seconds."""
        return (grid * self.stride_frames + 0.5 * self.window_frames) / self._known_fps()

    def with_fps(self, fps: float | None) -> FeatureGrid:
        """Returns the grid of a sequence with `fps` frames a second; None changes nothing."""
        return self if fps is None else dataclasses.replace(self, fps=fps)

    def downsample(self, rate: int) -> FeatureGrid:
        """Returns the grid of `feats[::rate]`: the stride grows, the window stays.

        Raises:
          UserError: `rate` is not a whole number of at least 1.
        """
        rate = positive_whole("downsample_rate", rate)
        return dataclasses.replace(self, stride_frames=self.stride_frames * rate)

    def resize(self, num_steps: int, new_steps: int) -> FeatureGrid:
        """Returns the grid of `num_steps` features that were resized to `new_steps`.

        All frames that the features have seen are shared out evenly, without overlap, as the
        reference does for ActivityNet: a new step sees as many frames as its stride.

        Args:
          num_steps: int, length of the sequence before.
          new_steps: int, length after, see `resize_feats`.
        """
        num_frames = (num_steps - 1) * self.stride_frames + self.window_frames
        stride_frames = num_frames / new_steps
        return FeatureGrid(self.fps, stride_frames, stride_frames)

    def stretch(self, rate: float) -> FeatureGrid:
        """Returns the grid of features of which each took the place of `rate` old ones.

        Stride and window grow alike, as OpenTAD has it for what it resizes to a length.
        """
        return FeatureGrid(self.fps, self.stride_frames * rate, self.window_frames * rate)

    def _known_fps(self):
        if self.fps is None:
            raise UserError("The frame rate of this sequence is not known: pass its fps.")
        return self.fps


def spread_grid(duration_sec: float, num_steps: int) -> FeatureGrid:
    """Returns the grid of steps that share out a duration from 0 s on, as OpenTAD has it."""
    return FeatureGrid(1.0, duration_sec / num_steps, 0.0)


@dataclasses.dataclass(frozen=True)
class Timing:
    """How the feature files of a data set lie in time: what makes the `FeatureGrid` of each video.

    Features of fixed length, whatever the video's, have no stride in common: with `stride_frames`
    None a video's duration is shared out over its steps, and a step sees as much as its stride.

    Example:

    ```python
    timing = Timing(stride_frames=4, window_frames=16, fps=30)
    timing.grid_of(video)   # FeatureGrid(fps=30, stride_frames=4, window_frames=16)
    ```

    Args:
      stride_frames: float, frames from one step of a feature file to the next, or None.
      window_frames: float, frames a step has seen; not used where `stride_frames` is None.
      fps: float, frames a second of every video, or None to take each video's own.
      downsample_rate: int; of the steps in a file every `downsample_rate`-th is used.
      check_durations: bool, whether it is an error when the length of most training files does not
        fit the videos' durations; otherwise a warning.

    Raises:
      UserError: a value is not of its kind or out of its range, as for `FeatureGrid`.
    """

    stride_frames: float | None
    window_frames: float
    fps: float | None = None
    downsample_rate: int = 1
    check_durations: bool = True

    def __post_init__(self):
        spread = self.stride_frames is None  # window_frames is not used then
        FeatureGrid(self.fps, *((1, 1) if spread else (self.stride_frames, self.window_frames)))
        positive_whole("downsample_rate", self.downsample_rate)
        flag("check_durations", self.check_durations)

    def grid_of(self, video: Video, num_steps: int | None = None) -> FeatureGrid:
        """Returns the `FeatureGrid` of the steps of one video that are used.

        Args:
          video: `Video`.
          num_steps: int, how many these are; needed where `stride_frames` is None.

        Raises:
          UserError: nobody says the frame rate, or the annotations do not say the duration that is
            to be shared out.
        """
        fps = video.fps if self.fps is None else self.fps
        if self.stride_frames is None:
            if not video.duration_sec:
                raise UserError(
                    f"Video {video.video_id!r} has no 'duration' in the annotations, which "
                    "stride_frames=None shares out over its features; add it there or set "
                    "stride_frames (data.stride_frames of a configuration)."
                )
            fps = 1.0 if fps is None else fps  # Seconds do not depend on it here.
            stride_frames = video.duration_sec * fps / num_steps
            return FeatureGrid(fps, stride_frames, window_frames=stride_frames)
        if fps is None:
            raise UserError(
                f"Video {video.video_id!r} has no 'fps' in the annotations; add it there or set "
                "the frame rate of all videos (data.fps of a configuration)."
            )
        grid = FeatureGrid(fps, self.stride_frames, self.window_frames)
        return grid.downsample(self.downsample_rate)
