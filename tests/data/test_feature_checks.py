"""Lengths of features against durations of videos."""

import numpy as np
import pytest

from keras_actionformer.data.annotations import Video
from keras_actionformer.data.feature_checks import length_problem
from keras_actionformer.data.grid import FeatureGrid

DURATIONS_SEC = (200.0, 310.0, 55.5, 1000.0)


def problem(grid, true_grid, durations_sec=DURATIONS_SEC):
    """What is said when features on `true_grid` are taken to be on `grid`."""
    none = np.zeros((0, 2)), np.zeros(0, int)
    videos = [Video(f"v{i}", "training", d, None, *none) for i, d in enumerate(durations_sec)]
    lengths = [
        int((d * true_grid.fps - true_grid.window_frames) / true_grid.stride_frames) + 1
        for d in durations_sec
    ]
    return length_problem(videos, [grid] * len(videos), lengths)


def test_right_settings_have_no_problem():
    for window in (0, 16, 64):
        grid = FeatureGrid(30, 4, window)
        assert problem(grid, grid) is None
    assert problem(FeatureGrid(29.97, 4, 16), FeatureGrid(30, 4, 16)) is None
    none = np.zeros((0, 2)), np.zeros(0, int)
    unknown = Video("v", "training", None, None, *none)
    assert length_problem([unknown], [FeatureGrid(1, 1, 1)], [7]) is None
    assert length_problem([], [], []) is None


@pytest.mark.parametrize(
    "true,cause",
    [
        ((25, 4, 16), "(fps=25 would fit)"),
        ((24, 4, 16), "(fps=24 would fit)"),
        ((60, 4, 16), "(fps=60 or stride_frames=2 would fit)"),
        ((30, 8, 16), "(fps=15 or stride_frames=8 would fit)"),
        ((30, 1, 16), "(fps=120 or stride_frames=1 would fit)"),
        ((30, 32, 16), "(stride_frames=32 would fit)"),
        ((30, 2.5, 16), "(stride_frames=2.5 would fit)"),  # No usual value, but all agree on it.
    ],
)
def test_the_likely_cause_is_named(true, cause):
    sentence, is_error = problem(FeatureGrid(30, 4, 16), FeatureGrid(*true))
    assert is_error and sentence.startswith("The features of 4 of 4 videos do not fit")
    assert "'v0' lasts 200 s, which at fps=30 and stride_frames=4 makes 1500 steps" in sentence
    assert "fps or stride_frames is likely wrong" in sentence and cause in sentence


def test_no_cause_is_named_where_the_videos_disagree():
    none = np.zeros((0, 2)), np.zeros(0, int)
    videos = [Video(f"v{i}", "training", 100.0, None, *none) for i in range(4)]
    sentence, _ = length_problem(videos, [FeatureGrid(10, 10, 10)] * 4, [30, 60, 173, 370])
    assert "is likely wrong. Set" in sentence


def test_single_files_are_no_error():
    none = np.zeros((0, 2)), np.zeros(0, int)
    videos = [Video(f"v{i}", "training", 100.0, None, *none) for i in range(4)]
    grids = [FeatureGrid(10, 10, 10)] * 4
    assert length_problem(videos, grids, [100, 91, 109, 100]) is None
    sentence, is_error = length_problem(videos, grids, [100, 50, 100, 200])
    assert not is_error and sentence.startswith("The features of 2 of 4 videos")
    assert "'v1' lasts 100 s" in sentence and "it has 50 (0.50 times as many)" in sentence


def test_a_few_steps_more_or_less_are_no_problem_for_short_videos():
    none = np.zeros((0, 2)), np.zeros(0, int)
    video, grid = Video("v", "training", 3.0, None, *none), FeatureGrid(1, 1, 1)
    for length, fits in [(1, True), (6, True), (7, False)]:
        assert (length_problem([video], [grid], [length]) is None) == fits
