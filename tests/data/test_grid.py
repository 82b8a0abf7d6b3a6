"""Seconds and grid units."""

from fractions import Fraction

import numpy as np
import pytest

from keras_actionformer.data.grid import FeatureGrid, Timing
from keras_actionformer.errors import UserError


def test_one_second_by_hand():
    grid = FeatureGrid(fps=30, stride_frames=4, window_frames=16)
    # Frame 30 lies 22 frames behind frame 8, the centre of step 0: 22 / 4 steps.
    assert grid.to_grid(1.0) == 5.5
    assert grid.to_sec(5.5) == 1.0
    assert grid.to_grid(0.0) == -grid.offset_grid == -2.0
    assert grid.step_sec == pytest.approx(4 / 30)


@pytest.mark.parametrize(
    "fps,stride,window", [(30, 4, 16), (29.97, 16, 32), (50, 25, 50), (15, 1, 0)]
)
def test_there_and_back(fps, stride, window):
    grid = FeatureGrid(fps, stride, window)
    seconds = np.linspace(-3, 20000, 1001)
    np.testing.assert_allclose(grid.to_sec(grid.to_grid(seconds)), seconds, atol=1e-9)


def test_downsampling_keeps_the_window():
    grid = FeatureGrid(fps=30, stride_frames=4, window_frames=16).downsample(2)
    assert (grid.stride_frames, grid.window_frames) == (8, 16)
    assert grid.offset_grid == 1.0


@pytest.mark.parametrize(
    "values,text",
    [
        ((0, 4, 16), "fps must be above 0, but it is 0"),
        ((30, -4, 16), "stride_frames must be above 0, but it is -4"),
        ((30, 4, -1), "window_frames must be 0 or more, but it is -1"),
        ((float("nan"), 4, 16), "fps must be a finite number, but it is nan"),
        ((30, "4", 16), "stride_frames must be a finite number, but it is '4'"),
        ((30, 4, None), "window_frames must be a finite number, but it is None"),
    ],
)
def test_wrong_values(values, text):
    with pytest.raises(UserError, match=text):
        FeatureGrid(*values)


@pytest.mark.parametrize("rate", [0, -1, 1.5, "2", True, float("nan"), [2]])
def test_wrong_downsampling(rate):
    with pytest.raises(UserError, match="downsample_rate must be a whole number"):
        FeatureGrid(30, 4, 16).downsample(rate)


@pytest.mark.parametrize(
    "fps, expected",
    [("25", 25.0), (" 29.97 ", 29.97), ("30000/1001", 30000 / 1001), (Fraction(25, 2), 12.5)],
)
def test_frame_rates_as_video_tools_print_them(fps, expected):
    assert FeatureGrid(None, 4, 16).with_fps(fps) == FeatureGrid(expected, 4, 16)


@pytest.mark.parametrize("fps", [0, "25 fps", "0", "25/0", "-25", "1/2/3", float("inf"), [25]])
def test_wrong_frame_rates(fps):
    with pytest.raises(UserError, match="fps must be"):
        FeatureGrid(None, 4, 16).with_fps(fps)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(stride_frames="4"), "stride_frames must be a finite number, but it is '4'"),
        (dict(stride_frames=0), "stride_frames must be above 0"),
        (dict(window_frames=float("nan")), "window_frames must be a finite number, but it is nan"),
        (dict(window_frames=-1), "window_frames must be 0 or more"),
        (dict(fps=-25), "fps must be above 0"),
        (dict(downsample_rate=1.5), "downsample_rate must be a whole number from 1 up"),
        (dict(downsample_rate=True), "downsample_rate must be a whole number from 1 up"),
        (dict(stride_frames=None, downsample_rate=0), "downsample_rate must be a whole number"),
        (dict(check_durations="no"), "check_durations must be True or False, but it is 'no'"),
    ],
)
def test_a_timing_checks_what_it_is_made_of(changes, message):
    with pytest.raises(UserError, match=message):
        Timing(**{"stride_frames": 4, "window_frames": 16, **changes})
