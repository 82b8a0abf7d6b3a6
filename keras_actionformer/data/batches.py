"""From annotated videos and feature files to training batches and evaluation sequences.

Both meet the same steps: a feature file is read and checked (features.py), seconds become grid
units (`Timing.grid_of`), sequences get the length the training wants (`Lengths`) and equal shapes
are stacked (`train_dataset`), or sequences are handed out whole (`evaluation_items`): no way to a
training length changes what is evaluated.

Readers and rules are those of ActionFormer (Zhang, Wu, Li, ECCV 2022, section 4.1 and its released
code); the sliding windows are those of OpenTAD, but always reach the end of a sequence.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from absl import logging

from keras_actionformer.checks import choice
from keras_actionformer.data.arrays import FEATS_DTYPES
from keras_actionformer.data.examples import make_items, read_sequences
from keras_actionformer.data.feature_checks import late_problem, length_problem, stop_at_error
from keras_actionformer.data.windows import Lengths, sliding_windows, truncate
from keras_actionformer.errors import UserError
from keras_actionformer.quiet import quiet_start

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_actionformer.data.annotations import Video
    from keras_actionformer.data.features import FeatureFiles
    from keras_actionformer.data.grid import Timing

_MAX_SEED = 2**32 - 1  # NumPy's, which Keras sets as well


def count_items(videos, features, timing, lengths):
    """Returns the number of training items: videos, or sliding windows of them, and repeats.

    Args: see `train_dataset`. Features are opened, not read, and only to count windows.
    """
    if lengths.window_steps is None:
        return lengths.repeats * len(videos)
    return lengths.repeats * sum(
        len(sliding_windows(length, lengths.window_steps, lengths.window_overlap))
        for length in _open_lengths(videos, features, timing.downsample_rate)
    )


def _open_lengths(videos, features, downsample_rate):
    """Steps of each video's features after downsampling, without reading their values."""
    return [-(-features.open(v.video_id).shape[0] // downsample_rate) for v in videos]


def steps_per_epoch(num_items, batch_size, num_devices=1):
    """Returns the number of full batches that `num_items` training items give.

    Args:
      num_items: int.
      batch_size: int.
      num_devices: int, how many devices share a batch.

    Raises:
      UserError: there is no item, or less than one batch of them.
    """
    if num_items == 0:
        raise UserError("There is no training video; check the name of the training subset.")
    if batch_size < 1 or batch_size > num_items:
        largest = num_items - num_items % num_devices
        fix = f"set it to {num_devices}..{largest}"
        if num_devices > 1:
            fix += f", a multiple of the {num_devices} devices"
        if not largest:
            fix = f"that is too few for {num_devices} devices: train on {num_items} or fewer"
        raise UserError(
            f"batch_size is {batch_size} but there are {num_items} training videos (or windows of "
            f"them); {fix}."
        )
    return num_items // batch_size


def train_dataset(
    videos: Sequence[Video],
    features: FeatureFiles,
    timing: Timing,
    lengths: Lengths,
    batch_size: int,
    epochs: range | None = None,
    seed: int = 0,
    shuffle: bool = True,
    cache_bytes: int = 4 * 2**30,
    feats_dtype: Literal["float32", "float16"] = "float32",
    part: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """Builds the stream of training batches: `model.fit(train_dataset(...), epochs=35)`.

    Each pass over it is the next epoch, as `fit` wants it; with `epochs` one pass is all of these.
    An epoch is a function of the arguments alone: epoch e visits the items (videos, or windows of
    them) in the order of `default_rng([seed, e])`, and cuts the i-th of them by `default_rng([seed,
    e, i])`. A run resumed at a later epoch thus sees what an uninterrupted one would. Items that
    fill no whole batch sit out an epoch, in each of them other ones (without `shuffle` the last).

    All feature files are read and checked before this function returns.

    Example:

    ```python
    timing, lengths = Timing(stride_frames=4, window_frames=16, fps=30), Lengths(max_seq_len=2304)
    model.fit(train_dataset(videos, features, timing, lengths, batch_size=2), epochs=35)
    ```

    Args:
      videos: sequence of `Video`, the training videos.
      features: `FeatureFiles`.
      timing: `Timing`, how the feature files lie in time.
      lengths: `Lengths`, how sequences become as long as the training wants them.
      batch_size: int, B.
      epochs: range of ints, from the epochs that are done already to those of the whole training:
        a stream that ends with the last, and begins again at the first. None: an epoch a pass.
        (For `validation_data`, `range(1)` gives the same batches every time.)
      seed: int, 0 or more.
      shuffle: bool, False keeps the order of `videos` in every epoch.
      cache_bytes: int, how many bytes of features to keep in memory; the others are read again
        whenever they are needed.
      feats_dtype: str, `"float32"`, or `"float16"`: features take half the bytes in memory and on
        the way to the model, which computes in its own type all the same.
      part: two ints, which of how many equal parts of every batch to make: (1, 4) is the second
        quarter of its rows, as long as those of the others. For processes that share batches.

    Returns:
      `tf.data.Dataset` of known cardinality, `len(epochs) * steps_per_epoch` or, without epochs,
      `steps_per_epoch`, of
      ({"feats": feats_dtype (B, T, C), "mask": bool (B, T)},
       {"segments": float32 (B, N, 2) in grid units, "labels": int32 (B, N), -1 = padding}),
      B the rows of `part`, N the most segments of any video; T is None in the specification of a
      data set whose batches differ in it.

    Raises:
      UserError: too few videos, a feature file that fails a check, no fps, no action at all, or an
        argument out of its range.
    """
    check_seed(seed)
    choice("feats_dtype", feats_dtype, *FEATS_DTYPES)
    index, num_parts = part
    if not 0 <= index < num_parts or batch_size % num_parts:
        raise UserError(
            f"part={part} must be (index, number) with 0 <= index < number, and the number must "
            f"divide batch_size={batch_size}."
        )
    if epochs is not None and not 0 <= epochs.start <= epochs.stop:
        raise UserError(
            f"The first of epochs must lie in 0..{epochs.stop}, but it is {epochs.start}."
        )
    # What is lacking is told before features are read.
    for video in videos:
        timing.grid_of(video, num_steps=1)
    steps_per_epoch(count_items(videos, features, timing, lengths), batch_size)
    sequences = read_sequences(
        videos, features, timing.downsample_rate, lengths, cache_bytes, feats_dtype
    )
    num_steps = [sequence.num_steps for sequence in sequences]
    grids = [timing.grid_of(video, n) for video, n in zip(videos, num_steps, strict=True)]
    problem = length_problem(videos, grids, num_steps)
    if problem is not None:
        sentence, is_error = problem
        if is_error and timing.check_durations:
            raise UserError(sentence)
        logging.warning("%s", sentence)
    stop_at_error(late_problem(videos, grids, num_steps))
    items = make_items(videos, sequences, grids, lengths)
    maker = _BatchMaker(items, lengths, batch_size, seed, shuffle, feats_dtype, part)
    return _stream(maker, epochs)


def check_seed(seed):
    """Raises UserError where a seed is none of NumPy's."""
    if not 0 <= seed <= _MAX_SEED:
        raise UserError(f"seed must be 0 or more, and at most {_MAX_SEED}, but it is {seed}.")


@dataclasses.dataclass
class _BatchMaker:
    """Makes the batch of any training step, counted from the start of the training.

    Fields are what `train_dataset` takes under the same names; `items` is a list of `Item`.
    """

    items: list
    lengths: Lengths
    batch_size: int
    seed: int
    shuffle: bool
    feats_dtype: str
    part: tuple[int, int]

    def __post_init__(self):
        self.steps_per_epoch = len(self.items) // self.batch_size
        self.most_segments = max(len(item.labels) for item in self.items)
        index, num_parts = self.part
        self.num_rows = self.batch_size // num_parts
        self.rows = slice(index * self.num_rows, (index + 1) * self.num_rows)  # of a batch

    @property
    def types(self):
        """Types of feats, mask, segments and labels."""
        return self.feats_dtype, "bool", "float32", "int32"

    @property
    def shapes(self):
        """Shapes of feats, mask, segments and labels, None where batches differ."""
        return self._shapes(None if self.lengths.padded_steps else self.lengths.max_seq_len)

    def _shapes(self, num_steps):
        return (
            (self.num_rows, num_steps, self.items[0].feats_dim),
            (self.num_rows, num_steps),
            (self.num_rows, self.most_segments, 2),
            (self.num_rows, self.most_segments),
        )

    def __call__(self, step):
        """Returns feats, mask, segments and labels of one step (int, 0 = first of epoch 0)."""
        epoch, step_of_epoch = divmod(int(step), self.steps_per_epoch)
        first = step_of_epoch * self.batch_size
        indices = [int(i) for i in self._order(epoch)[first : first + self.batch_size]]
        cuts = [self._cut(epoch, index) for index in indices]
        num_steps = self.lengths.max_seq_len
        if self.lengths.padded_steps is not None:
            num_steps = self.lengths.padded_steps(max(length for _, length, _, _ in cuts))
        feats_shape, mask_shape, segments_shape, labels_shape = self._shapes(num_steps)
        feats = _aligned_zeros(feats_shape, self.feats_dtype)
        mask = np.zeros(mask_shape, np.bool_)
        segments = np.zeros(segments_shape, np.float32)
        labels = np.full(labels_shape, -1, np.int32)
        rows = zip(indices[self.rows], cuts[self.rows], strict=True)
        for row, (index, (start, length, kept, cut)) in enumerate(rows):
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
            self.lengths.max_seq_len,
            self.lengths.trunc_thresh,
            item.offset_grid,
            self.lengths.crop_ratio,
            np.random.default_rng([self.seed, epoch, index]),
            self.lengths.cut_keeps,
        )


def _aligned_zeros(shape, dtype):
    """Returns zeros that TensorFlow takes over as they are: it copies what is unaligned."""
    alignment, num_bytes = 64, np.dtype(dtype).itemsize * math.prod(shape)
    memory = np.zeros(num_bytes + alignment, np.uint8)
    first = -memory.ctypes.data % alignment
    return memory[first : first + num_bytes].view(dtype).reshape(shape)


def _stream(batch_maker, epochs):
    """Wraps a `_BatchMaker` as a `tf.data.Dataset` of a range of epochs, or of an epoch a pass."""
    with quiet_start():
        import tensorflow as tf  # Here, so that evaluation and data tools work without it.

    def make(step):
        feats, mask, segments, labels = (
            tf.ensure_shape(tensor, shape)
            for tensor, shape in zip(
                tf.numpy_function(batch_maker, [step], batch_maker.types),
                batch_maker.shapes,
                strict=True,
            )
        )
        return {"feats": feats, "mask": mask}, {"segments": segments, "labels": labels}

    # Two batches at a time hide the reading of one behind the training on the other; more would
    # only take memory and cores from the training itself.
    return (
        _steps(tf, epochs, batch_maker.steps_per_epoch).map(make, num_parallel_calls=2).prefetch(2)
    )


def told_by_batch(error):
    """What a `UserError` said that was raised while a batch was made, or None for another error.

    TensorFlow, which calls for the batch, makes an error of its own of it, with the text in it.

    Args:
      error: exception that went through a training stream.
    """
    name = f"{UserError.__module__}.{UserError.__qualname__}: "
    _, found, text = str(error).rpartition(name)
    return text.splitlines()[0] if found else None


def _steps(tf, epochs, steps_per_epoch):
    """`tf.data.Dataset` of the steps of a range of epochs, or in each pass of the next epoch."""
    if epochs is not None:
        return tf.data.Dataset.range(epochs.start * steps_per_epoch, epochs.stop * steps_per_epoch)
    passes = itertools.count()

    def next_epoch(steps):
        first = steps_per_epoch * tf.numpy_function(lambda: next(passes), [], tf.int64)
        return tf.data.Dataset.range(first, first + steps)

    one_pass = tf.data.Dataset.from_tensors(tf.constant(steps_per_epoch, tf.int64))
    return one_pass.flat_map(next_epoch).apply(
        tf.data.experimental.assert_cardinality(steps_per_epoch)
    )


def evaluation_items(videos, features, timing):
    """Hands out videos with their whole feature sequence, one after the other.

    Frame rates, all feature files' existence, shapes and lengths are checked before the first is
    handed out; NaN and infinite values when their file's turn comes.

    Args:
      videos: sequence of `Video`.
      features: `FeatureFiles`.
      timing: `Timing`, how the feature files lie in time.

    Returns:
      iterable of (`Video`, feats float32 (T, C), `FeatureGrid`), which has a length, and reads the
      files each time it is gone through.

    Raises:
      UserError: a video has no fps, or its feature file fails a check.
    """
    num_steps = _open_lengths(videos, features, timing.downsample_rate)
    grids = [timing.grid_of(video, n) for video, n in zip(videos, num_steps, strict=True)]
    problem = length_problem(videos, grids, num_steps)
    if problem is not None:
        logging.warning("%s", problem[0])
    return _WholeSequences(videos, features, timing.downsample_rate, grids)


@dataclasses.dataclass(frozen=True, eq=False)
class _WholeSequences:
    """What `evaluation_items` returns; fields are its arguments, and a `FeatureGrid` a video."""

    videos: Sequence
    features: FeatureFiles
    downsample_rate: int
    grids: list

    def __len__(self):
        return len(self.videos)

    def __iter__(self):
        for video, grid in zip(self.videos, self.grids, strict=True):
            feats = self.features.load(video.video_id)[:: self.downsample_rate]
            yield video, np.ascontiguousarray(feats), grid
