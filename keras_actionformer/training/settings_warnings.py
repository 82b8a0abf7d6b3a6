"""What cannot work, or not well, although it can be trained: a sentence each, with the fix."""

import numpy as np

from keras_actionformer.errors import counted
from keras_actionformer.training.annotation_warnings import some_names, unlearned_classes
from keras_actionformer.training.epochs import num_epochs
from keras_actionformer.training.pyramid import count_points

_TIME_CONSTANTS = 3  # after which an average has forgotten 95 % of what it began with
_FEWEST_STEPS = 200  # of a training from nothing
_LONG_STEPS = 100  # more than a short action needs to be told from others ...
_GOOD_STEPS = 8  # ... for which so many do
_FEWEST_ACTIONS = 5


def settings_warnings(config, class_names, videos, grids, steps_per_epoch, pyramid):
    """Lists settings that do not suit the training videos.

    Args:
      config: `ConfigDict`, see `default_config`.
      class_names: tuple of str.
      videos: sequence of `Video`, those to train on.
      grids: sequence of `FeatureGrid`, one a video; empty where they depend on the features.
      steps_per_epoch: int, batches.
      pyramid: `Architecture` or `Pyramid`.

    Returns:
      list of str.
    """
    return [
        *_schedule_warnings(config.train, steps_per_epoch),
        *(_length_warnings(videos, grids, pyramid) if grids else ()),
        *_class_warnings(class_names, videos),
    ]


def _schedule_warnings(train, steps_per_epoch):
    epochs = num_epochs(train)
    steps = epochs * steps_per_epoch // train.accumulate_batches
    if train.ema != "auto" and steps * (1 - train.ema) < _TIME_CONSTANTS:
        yield (
            f"The average of the weights, which is what is saved, will still be "
            f"{train.ema**steps:.0%} the initial weights after {steps} steps with train.ema="
            f'{train.ema:g}; set it to "auto".'
        )
    if steps < _FEWEST_STEPS:
        yield (
            f"The training has {counted(steps, 'step')} ({counted(epochs, 'epoch')} of "
            f"{steps_per_epoch}), too few to "
            f"learn from nothing; set data.repeats={-(-_FEWEST_STEPS * 2 // steps)} or more epochs."
        )
    if train.warmup_epochs >= train.epochs:
        yield (
            f"The learning rate rises for {counted(train.warmup_epochs, 'epoch')} and falls for "
            f"{train.epochs}: the warm-up should be the smaller part."
        )


def _length_warnings(videos, grids, pyramid):
    lengths, counts = [], []
    for video, grid in zip(videos, grids, strict=True):
        segments_grid = grid.to_grid(video.segments_sec)
        num_steps = int(np.ceil(np.max(segments_grid, initial=0.0))) + 1
        lengths.append(segments_grid[:, 1] - segments_grid[:, 0])
        counts.append(count_points(segments_grid, num_steps, pyramid))
    lengths, counts = np.concatenate(lengths), np.concatenate(counts)
    if not len(lengths):
        return
    shortest = float(np.quantile(lengths, 0.05))
    if shortest >= _LONG_STEPS:
        stride = np.median([grid.stride_frames for grid in grids])
        better = stride * 2 ** round(np.log2(shortest / _GOOD_STEPS))
        yield (
            f"The shortest actions last {shortest:.0f} steps of the features, more than a network "
            f"sees at once: take a stride of about {better:g} frames instead of {stride:g}, and "
            "windows that are no shorter."
        )
    empty = np.flatnonzero(~counts.any(axis=0))
    if 2 * len(empty) > counts.shape[1]:  # a few are none too many: other videos may need them
        yield (
            f"{len(empty)} of {counts.shape[1]} levels learn no training action (level "
            f"{', level '.join(map(str, empty))}); `inspect` suggests a pyramid that suits them."
        )


def _class_warnings(class_names, videos):
    yield from unlearned_classes(class_names, videos)
    labels = np.concatenate([np.zeros(0, np.int64), *(video.labels for video in videos)])
    counts = np.bincount(labels.astype(np.int64), minlength=len(class_names))
    few = [
        class_names[label] for label in np.flatnonzero((counts > 0) & (counts < _FEWEST_ACTIONS))
    ]
    if few:
        yield (
            f"{len(few)} of {len(class_names)} classes have less than {_FEWEST_ACTIONS} training "
            f"actions: {some_names(few)}; join them with others, or label more."
        )
