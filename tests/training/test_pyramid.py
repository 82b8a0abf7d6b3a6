"""Counting what levels learn: equal to the training's own label assignment."""

import types

import numpy as np
import pytest

from keras_actionformer.data.annotations import Video
from keras_actionformer.data.grid import FeatureGrid
from keras_actionformer.errors import UserError
from keras_actionformer.model import ActionFormer
from keras_actionformer.network.architecture import Architecture, adjoining_ranges
from keras_actionformer.network.points import make_points
from keras_actionformer.network.targets import assign_targets
from keras_actionformer.training.config import default_config
from keras_actionformer.training.pyramid import (
    Pyramid,
    check_reach,
    count_points,
    suggest_pyramid,
)

RANGES = {
    "adjoining": adjoining_ranges(4),
    "overlapping": ((0, 6), (2, 12), (4, 24), (8, 10000)),
    "with gaps": ((0, 2), (4, 5), (8, 9), (30, 40)),
}


@pytest.mark.parametrize("center_sample", ["radius", "none"])
@pytest.mark.parametrize("ranges", RANGES)
def test_counts_equal_the_assignment(center_sample, ranges):
    rng = np.random.default_rng(0)
    pyramid = Pyramid(64, (1, 2, 4, 8), RANGES[ranges], center_sample, 1.5)
    num_points = 0
    for _ in range(20):
        num_steps, num_actions = 8 * int(rng.integers(4, 20)), int(rng.integers(1, 12))
        start = rng.uniform(-3, num_steps, num_actions)
        segments = np.stack([start, start + rng.exponential(12, num_actions)], 1).astype("float32")
        # Ends on points, and actions of equal length, are where rules differ most easily.
        segments[::3] = np.round(segments[::3])
        segments[-1] = segments[0]
        points = make_points(num_steps, pyramid.strides, pyramid.regression_range)
        # Each action is a class of its own, so that the targets tell which points learn it.
        targets, _ = assign_targets(
            points, segments[None], np.arange(num_actions)[None], num_actions, center_sample, 1.5
        )
        sizes = [num_steps // stride for stride in pyramid.strides]
        levels = np.split(np.asarray(targets)[0], np.cumsum(sizes)[:-1])
        expected = np.stack([level.sum(axis=0) for level in levels], axis=1)
        np.testing.assert_array_equal(count_points(segments, num_steps, pyramid), expected)
        num_points += expected.sum()
    assert num_points > 50


def test_no_action():
    pyramid = Pyramid(64, (1, 2), ((0, 4), (4, 10000)))
    assert count_points(np.zeros((0, 2)), 10, pyramid).shape == (0, 2)


# --- pyramids ------------------------------------------------------------------------------------

SMALL = {
    "input_dim": 4, "num_classes": 2, "embd_dim": 8, "fpn_dim": 8, "head_dim": 8, "n_head": 2,
    "backbone_arch": (1, 0, 2), "scale_factor": 4, "fpn_start_level": 1, "n_mha_win_size": 3,
    "max_seq_len": 32,
}  # fmt: skip


def arguments(**changes):
    return {**default_config().model.to_dict(), **SMALL, **changes}


def test_the_pyramid_of_a_model():
    model = ActionFormer(**SMALL)
    pyramid = Architecture(**arguments())
    assert pyramid.strides == model.strides == (4, 16)
    assert [list(pair) for pair in pyramid.regression_range] == model.config["regression_range"]
    assert pyramid.max_seq_len == 32 and pyramid.center_sample == "radius"


@pytest.mark.parametrize(
    "changes",
    [{"n_head": 3}, {"regression_range": ((0, 4),)}, {"embd_dim": "8"}, {"max_seq_len": 0}],
)
def test_wrong_arguments_are_told_as_by_the_model(changes):
    with pytest.raises(UserError) as told:
        ActionFormer(**{**SMALL, **changes})
    with pytest.raises(UserError) as told_here:
        Architecture(**arguments(**changes))
    assert str(told_here.value) == str(told.value)


def sequences(lengths, durations_sec):
    """Sequences of two steps a second; the first has actions of these durations."""
    video = Video("v", "training", None, None, np.array([[0.0, d] for d in durations_sec]), None)
    empty = Video("w", "training", None, None, np.zeros((0, 2)), None)
    grid = FeatureGrid(fps=2, stride_frames=1, window_frames=1)
    return [
        types.SimpleNamespace(video=video if i == 0 else empty, grid=grid, num_steps=length)
        for i, length in enumerate(lengths)
    ]


@pytest.mark.parametrize(
    "lengths, durations_sec, num_levels, max_seq_len",
    [
        # 64 steps, 2^(L+2) for L = 4, and 128 for a window twice as long.
        ([100] * 19 + [900], [32.0], 4, 128),
        ([100] * 19 + [900], [20.0], 4, 104),  # nine in ten sequences have 100 steps: 13 times 8
        ([100] * 19 + [900], [32.5], 5, 144),  # 65 steps; twice that, 130, is 9 times 16
        ([100] * 20, [49.0], 5, 112),  # no sequence has the 196 steps that are twice the longest
        ([5, 5], [0.1], 2, 6),  # two levels at least
    ],
)
def test_suggestions_by_hand(lengths, durations_sec, num_levels, max_seq_len):
    pyramid = suggest_pyramid(sequences(lengths, durations_sec))
    assert len(pyramid.strides) == num_levels and pyramid.max_seq_len == max_seq_len
    assert pyramid.strides[-1] == 2 ** (num_levels - 1)
    assert pyramid.regression_range[-1] == (2 ** (num_levels - 1), 10000)


def test_levels_that_fit_no_action():
    (sequence,) = sequences([100], [10.0])
    check_reach([sequence.video], [sequence.grid], Pyramid(64, (1, 2), ((0, 4), (4, 10000))))
    with pytest.raises(UserError, match=r"any of the 1 training actions: they last 20 to 20 steps"):
        check_reach([sequence.video], [sequence.grid], Pyramid(64, (1, 2), ((0, 4), (4, 8))))


def test_half_of_the_actions_at_no_level_are_too_many():
    pyramid = Pyramid(64, (1, 2), ((0, 4), (4, 8)))
    few, half = [[3.0, 3.0, 10.0], [3.0, 10.0]]  # seconds; 20 steps are learnt at no level
    (sequence,) = sequences([100], few)
    check_reach([sequence.video], [sequence.grid], pyramid)
    (sequence,) = sequences([100], half)
    with pytest.raises(UserError, match="learns 1 of the 2 training actions.* seconds, not min"):
        check_reach([sequence.video], [sequence.grid], pyramid)
