"""From annotated videos and feature files to training batches and evaluation sequences.

Both meet the same steps: a feature file is read and checked (features.py), seconds become grid
units (`video_grid`), sequences get the length the training wants and equal shapes are stacked
(`train_dataset`), or sequences are handed out whole (`evaluation_items`). There are three ways to
a training length, none of which changes what is evaluated:

- padded: long sequences are cut to a random window (`truncate`), short ones filled with zeros;
- resized: all sequences are resized to one length, then cropped as above (ActivityNet);
- sliding: all sequences are cut to overlapping windows, each an item of its own.

Readers and rules are those of ActionFormer (Zhang, Wu, Li, ECCV 2022, section 4.1 and its released
code); the sliding windows are those of OpenTAD, but always reach the end of a sequence.
"""

import collections.abc
import dataclasses
import math

import numpy as np
from absl import logging

from keras_actionformer.data.examples import cut_to_windows, make_items, read_sequences
from keras_actionformer.data.feature_checks import (
    late_problem,
    length_problem,
    stop_at_error,
)
from keras_actionformer.data.grid import FeatureGrid
from keras_actionformer.data.windows import check_windows, sliding_windows, truncate
from keras_actionformer.errors import UserError

_MAX_SEED = 2**32 - 1  # NumPy's, which Keras sets as well


def video_grid(
    video,
    stride_frames,
    window_frames,
    default_fps=None,
    downsample_rate=1,
    num_steps=None,
):
    """Returns the `FeatureGrid` of one video.

    Features of fixed length, whatever the video's, have no stride in common: with `stride_frames`
    None a video's duration is shared out over its steps, and a step sees as much as its stride.

    Args:
      video: `Video`.
      stride_frames: float, frames from one step of the feature file to the next, or None.
      window_frames: float, frames a step has seen; not used where `stride_frames` is None.
      default_fps: float, frames a second of every video, or None to take each video's own.
      downsample_rate: int; of the steps in the file every `downsample_rate`-th is used.
      num_steps: int, steps that are used; needed where `stride_frames` is None.

    Raises:
      UserError: neither `default_fps` nor the annotations say the frame rate, or the annotations
        do not say the duration that is to be shared out.
    """
    fps = video.fps if default_fps is None else default_fps
    if stride_frames is None:
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
            f"Video {video.video_id!r} has no 'fps' in the annotations; add it there or set the "
            "frame rate of all videos (data.fps of a configuration)."
        )
    return FeatureGrid(fps, stride_frames, window_frames).downsample(downsample_rate)


def count_items(videos, features, window_steps=None, window_overlap=0.5, downsample_rate=1):
    """Returns the number of training items: videos, or sliding windows of them.

    Args: see `train_dataset`. Features are opened, not read, and only to count windows.
    """
    if window_steps is None:
        return len(videos)
    check_windows(window_steps, window_overlap)
    return sum(
        len(sliding_windows(length, window_steps, window_overlap))
        for length in _open_lengths(videos, features, downsample_rate)
    )


def _open_lengths(videos, features, downsample_rate):
    """Steps of each video's features after downsampling, without reading their values."""
    return [-(-features.open(v.video_id).shape[0] // downsample_rate) for v in videos]


def steps_per_epoch(num_items, batch_size):
    """Returns the number of full batches that `num_items` training items give.

    Raises:
      UserError: there is no item, or less than one batch of them.
    """
    if num_items == 0:
        raise UserError("There is no training video; check the name of the training subset.")
    if batch_size < 1 or batch_size > num_items:
        raise UserError(
            f"batch_size is {batch_size} but there are {num_items} training videos (or windows of "
            f"them); set it to 1..{num_items}."
        )
    return num_items // batch_size


def train_dataset(
    videos,
    features,
    *,
    stride_frames,
    window_frames,
    max_seq_len,
    batch_size,
    default_fps=None,
    downsample_rate=1,
    trunc_thresh=0.5,
    crop_ratio=None,
    resize_to=None,
    window_steps=None,
    window_overlap=0.5,
    seed=0,
    num_epochs=1,
    first_epoch=0,
    shuffle=True,
    check_durations=True,
    cache_bytes=4 * 2**30,
    padded_steps=None,
):
    """Builds the stream of training batches, from `first_epoch` to the end of `num_epochs`.

    The stream is a function of its arguments alone: epoch e visits the items (videos, or windows of
    them) in the order of `default_rng([seed, e])`, and cuts the i-th of them by `default_rng([seed,
    e, i])`. A run resumed at `first_epoch` thus sees what an uninterrupted one would. Items that
    fill no whole batch sit out an epoch.

    All feature files are read and checked before this function returns.

    Args:
      videos: sequence of `Video`, the training videos.
      features: `FeatureFiles`.
      stride_frames: float, frames from one step of the feature files to the next, or None to
        share out each video's duration over its steps (see `video_grid`).
      window_frames: float, frames a step has seen.
      max_seq_len: int, T: longer sequences are truncated, shorter ones padded with zeros.
      batch_size: int, B.
      default_fps: float, or None to take each video's own (see `video_grid`).
      downsample_rate: int, take every so-many-th step (see `video_grid`).
      trunc_thresh: float, see `truncate`.
      crop_ratio: (low, high) or None, see `truncate`.
      resize_to: int, steps that every sequence is resized to before it is cut (`resize_feats`),
        or None; segments are then cut to the features as well (`cut_to_features`).
      window_steps: int, length of sliding windows, up to `max_seq_len`, or None: every sequence is
        cut to windows of this length (`sliding_windows`), each an item of its own.
      window_overlap: float in [0, 1), the part of a sliding window that the next one repeats.
      seed: int, 0 or more.
      num_epochs: int, epochs of the whole training.
      first_epoch: int, epochs that are done already.
      shuffle: bool, False keeps the order of `videos` in every epoch.
      check_durations: bool, whether it is an error when the length of most feature files does not
        fit the videos' durations; otherwise a warning.
      cache_bytes: int, how many bytes of features to keep in memory; the others are read again
        whenever they are needed.
      padded_steps: function from the longest sequence of a batch to the batch's T, in steps (see
        `PadAsReference.padded_steps`): short videos then cost less than long ones. None pads every
        batch to `max_seq_len`: one shape, for which a training step compiles once.

    Returns:
      `tf.data.Dataset` of known cardinality, `(num_epochs - first_epoch) * steps_per_epoch`, of
      ({"feats": float32 (B, T, C), "mask": bool (B, T)},
       {"segments": float32 (B, N, 2) in grid units, "labels": int32 (B, N), -1 = padding}),
      N the most segments of any video; T is None in the specification of a data set whose batches
      differ in it.

    Raises:
      UserError: too few videos, a feature file that fails a check, no fps, no action at all, or an
        argument out of its range.
    """
    check_settings(max_seq_len, trunc_thresh, crop_ratio, seed)
    if not 0 <= first_epoch <= num_epochs:
        raise UserError(f"first_epoch must lie in 0..{num_epochs}, but it is {first_epoch}.")
    check_length_mode(max_seq_len, resize_to, window_steps, window_overlap)

    def grid_of(video, num_steps):
        return video_grid(
            video, stride_frames, window_frames, default_fps, downsample_rate, num_steps
        )

    for video in videos:  # What they lack is told before their features are read.
        grid_of(video, num_steps=1)
    num_items = count_items(videos, features, window_steps, window_overlap, downsample_rate)
    steps = steps_per_epoch(num_items, batch_size)
    sequences = read_sequences(videos, features, downsample_rate, resize_to, cache_bytes)
    lengths = [sequence.num_steps for sequence in sequences]
    grids = [grid_of(video, length) for video, length in zip(videos, lengths, strict=True)]
    problem = length_problem(videos, grids, lengths)
    if problem is not None:
        sentence, is_error = problem
        if is_error and check_durations:
            raise UserError(sentence)
        logging.warning("%s", sentence)
    stop_at_error(late_problem(videos, grids, lengths))
    items = make_items(videos, sequences, grids, resize_to, trunc_thresh)
    if window_steps is not None:
        items = cut_to_windows(items, window_steps, window_overlap, trunc_thresh)
    return _stream(
        _BatchMaker(
            items,
            max_seq_len,
            batch_size,
            trunc_thresh,
            crop_ratio,
            seed,
            shuffle,
            padded_steps,
        ),
        range(first_epoch * steps, num_epochs * steps),
    )


def check_settings(max_seq_len, trunc_thresh, crop_ratio, seed):
    """Raises UserError where one of these arguments of `train_dataset` is out of its range."""
    if max_seq_len < 1:
        raise UserError(f"max_seq_len must be 1 or more, but it is {max_seq_len}.")
    if not 0 < trunc_thresh <= 1:
        raise UserError(f"trunc_thresh must lie in (0, 1], but it is {trunc_thresh}.")
    if crop_ratio is not None and not (
        len(crop_ratio) == 2 and 0 < crop_ratio[0] <= crop_ratio[1] <= 1
    ):
        raise UserError(f"crop_ratio must be (low, high) with 0 < low <= high <= 1: {crop_ratio}.")
    if not 0 <= seed <= _MAX_SEED:
        raise UserError(f"seed must be 0 or more, and at most {_MAX_SEED}, but it is {seed}.")


def check_length_mode(max_seq_len, resize_to, window_steps, window_overlap):
    """Raises UserError where these arguments of `train_dataset` do not go together."""
    if window_steps is None:
        return
    check_windows(window_steps, window_overlap)
    if window_steps > max_seq_len:
        raise UserError(
            f"window_steps must be at most max_seq_len={max_seq_len}, but it is {window_steps}."
        )
    if resize_to is not None:
        raise UserError(
            "Sequences are resized to one length or cut to sliding windows, not both: leave out "
            "window_steps or force_upsampling (resize_to)."
        )


@dataclasses.dataclass
class _BatchMaker:
    """Makes the batch of any training step, counted from the start of the training.

    Fields are what `train_dataset` takes under the same names; `items` is a list.
    """

    items: list
    max_seq_len: int
    batch_size: int
    trunc_thresh: float
    crop_ratio: tuple | None
    seed: int
    shuffle: bool
    padded_steps: collections.abc.Callable | None

    def __post_init__(self):
        self.steps_per_epoch = len(self.items) // self.batch_size
        self.most_segments = max(len(item.labels) for item in self.items)

    @property
    def shapes(self):
        """Shapes of feats, mask, segments and labels, None where batches differ."""
        return self._shapes(self.max_seq_len if self.padded_steps is None else None)

    def _shapes(self, num_steps):
        return (
            (self.batch_size, num_steps, self.items[0].feats_dim),
            (self.batch_size, num_steps),
            (self.batch_size, self.most_segments, 2),
            (self.batch_size, self.most_segments),
        )

    def __call__(self, step):
        """Returns feats, mask, segments and labels of one step (int, 0 = first of epoch 0)."""
        epoch, step_of_epoch = divmod(int(step), self.steps_per_epoch)
        first = step_of_epoch * self.batch_size
        indices = [int(i) for i in self._order(epoch)[first : first + self.batch_size]]
        cuts = [self._cut(epoch, index) for index in indices]
        num_steps = self.max_seq_len
        if self.padded_steps is not None:
            num_steps = self.padded_steps(max(length for _, length, _, _ in cuts))
        feats_shape, mask_shape, segments_shape, labels_shape = self._shapes(num_steps)
        feats = _aligned_zeros(feats_shape)
        mask = np.zeros(mask_shape, np.bool_)
        segments = np.zeros(segments_shape, np.float32)
        labels = np.full(labels_shape, -1, np.int32)
        for row, (index, (start, length, kept, cut)) in enumerate(zip(indices, cuts, strict=True)):
            item = self.items[index]
            feats[row, :length] = item.window(start, length)
            mask[row, :length] = True
            segments[row, : len(kept)] = cut
            labels[row, : len(kept)] = item.labels[kept]
        return feats, mask, segments, labels

    def _order(self, epoch):
        if not self.shuffle:
            return np.arange(len(self.items))
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.items))

    def _cut(self, epoch, index):
        item = self.items[index]
        return truncate(
            item.feats_len,
            item.segments_grid,
            self.max_seq_len,
            self.trunc_thresh,
            item.offset_grid,
            self.crop_ratio,
            np.random.default_rng([self.seed, epoch, index]),
        )


def _aligned_zeros(shape):
    """Returns float32 zeros that TensorFlow takes over as they are: it copies what is unaligned."""
    alignment = 64
    memory = np.zeros(4 * math.prod(shape) + alignment, np.uint8)
    first = -memory.ctypes.data % alignment
    return memory[first : first + 4 * math.prod(shape)].view(np.float32).reshape(shape)


def _stream(batch_maker, steps):
    """Wraps a `_BatchMaker` as a `tf.data.Dataset` over a range of steps."""
    import tensorflow as tf  # Here, so that evaluation and data tools work without it.

    types = (tf.float32, tf.bool, tf.float32, tf.int32)

    def make(step):
        feats, mask, segments, labels = (
            tf.ensure_shape(tensor, shape)
            for tensor, shape in zip(
                tf.numpy_function(batch_maker, [step], types), batch_maker.shapes, strict=True
            )
        )
        return {"feats": feats, "mask": mask}, {"segments": segments, "labels": labels}

    # Two batches at a time hide the reading of one behind the training on the other; more would
    # only take memory and cores from the training itself.
    dataset = tf.data.Dataset.range(steps.start, steps.stop)
    return dataset.map(make, num_parallel_calls=2).prefetch(2)


def evaluation_items(
    videos,
    features,
    *,
    stride_frames,
    window_frames,
    default_fps=None,
    downsample_rate=1,
):
    """Hands out videos with their whole feature sequence, one after the other.

    Frame rates, all feature files' existence, shapes and lengths are checked before the first is
    handed out; NaN and infinite values when their file's turn comes.

    Args:
      videos: sequence of `Video`.
      features: `FeatureFiles`.
      stride_frames: float, frames from one step of the feature files to the next, or None (see
        `video_grid`).
      window_frames: float, frames a step has seen.
      default_fps: float, or None to take each video's own (see `video_grid`).
      downsample_rate: int, take every so-many-th step (see `video_grid`).

    Returns:
      iterator of (`Video`, feats float32 (T, C), `FeatureGrid`).

    Raises:
      UserError: a video has no fps, or its feature file fails a check.
    """
    lengths = _open_lengths(videos, features, downsample_rate)
    grids = [
        video_grid(video, stride_frames, window_frames, default_fps, downsample_rate, length)
        for video, length in zip(videos, lengths, strict=True)
    ]
    problem = length_problem(videos, grids, lengths)
    if problem is not None:
        logging.warning("%s", problem[0])
    return (
        (video, np.ascontiguousarray(features.load(video.video_id)[::downsample_rate]), grid)
        for video, grid in zip(videos, grids, strict=True)
    )
