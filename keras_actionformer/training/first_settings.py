"""Settings to begin with, from what the training videos of a data set hold.

Each number has its rule and its reason here; `init` writes them into a configuration from which
people go on. `docs/your-own-data.md` says on what data they were tried.
"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from keras_actionformer.data.annotations import Video
from keras_actionformer.data.grid import FeatureGrid
from keras_actionformer.training.pyramid import count_points, suggest_pyramid

# For less than so many actions a network of such a width, at least so many steps an epoch, and
# such a stochastic depth. The reference's width of 512 learns thousands of actions.
_SIZES = (
    (200, 64, 12, 0.1),
    (3_000, 128, 36, 0.2),
    (10_000, 256, 36, 0.1),
    (math.inf, 512, 36, 0.1),
)
_BATCH_SIZE = 2
_WARMUP_EPOCHS, _EPOCHS = 5, 30
_LONG_SEQUENCE_STEPS = 1152  # a window of more takes time; only long actions need it


class VideoSteps(NamedTuple):
    """A video with the timing and the number of its features' steps."""

    video: Video
    grid: FeatureGrid
    num_steps: int


@dataclasses.dataclass(frozen=True)
class FirstSettings:
    """What `first_settings` has chosen.

    Attributes:
      width: int, of the network: embedding, pyramid and heads.
      droppath: float, probability of dropping a sample's branch of a block, against overfitting.
      regression_range: pairs of numbers, in steps, one a level.
      max_seq_len: int, training length in steps.
      init_loss_norm: float, points of a batch that learn an action: where the loss begins.
      batch_size: int, sequences.
      repeats: int, times that an epoch sees each training video.
      learning_rate: float.
      warmup_epochs, epochs: ints.
    """

    width: int
    droppath: float
    regression_range: tuple[tuple[float, float], ...]
    max_seq_len: int
    init_loss_norm: float
    batch_size: int
    repeats: int
    learning_rate: float
    warmup_epochs: int
    epochs: int


def first_settings(sequences):
    """Chooses settings for a data set.

    Args:
      sequences: sequence of `VideoSteps`, those of the training videos, with at least one action.

    Returns:
      `FirstSettings`.
    """
    pyramid = suggest_pyramid(sequences)
    num_actions = sum(len(sequence.video.labels) for sequence in sequences)
    _, width, least_steps, droppath = next(size for size in _SIZES if num_actions < size[0])
    # Longer windows than two of the longest action take time and teach nothing more.
    longest = max(np.diff(s.video.segments_sec).max(initial=0) / s.grid.step_sec for s in sequences)
    last_stride = pyramid.strides[-1]
    limit = math.ceil(max(_LONG_SEQUENCE_STEPS, 2 * longest) / last_stride) * last_stride
    max_seq_len = min(pyramid.max_seq_len, limit)
    batch_size = min(_BATCH_SIZE, len(sequences))
    repeats = math.ceil(least_steps * batch_size / len(sequences))
    return FirstSettings(
        width=width,
        droppath=droppath,
        regression_range=pyramid.regression_range,
        max_seq_len=max_seq_len,
        init_loss_norm=round(batch_size * _points_that_learn(sequences, pyramid, max_seq_len), 1),
        batch_size=batch_size,
        repeats=repeats,
        # A wide network, of which each step changes more, takes the reference's rate.
        learning_rate=1e-3 if width <= 128 else 1e-4,
        warmup_epochs=_WARMUP_EPOCHS,
        epochs=_EPOCHS,
    )


def _points_that_learn(sequences, pyramid, max_seq_len):
    """Points that learn an action in a training sequence, on average and at least 1."""
    points = [
        count_points(s.grid.to_grid(s.video.segments_sec), s.num_steps, pyramid).sum()
        * min(1.0, max_seq_len / s.num_steps)
        for s in sequences
    ]
    return max(float(np.mean(points)), 1.0)
