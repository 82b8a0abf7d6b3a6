"""From annotated videos and feature files to training batches and evaluation sequences.

Both meet the same steps: a feature file is read and checked (features.py), seconds become grid
units (`video_grid`), long sequences are cut to a random window (`truncate`, training only) and
equal shapes are stacked (`train_dataset`) or sequences handed out whole (`evaluation_items`).
Readers and rules are those of ActionFormer (Zhang, Wu, Li, ECCV 2022, section 4.1 and its released
code).
"""

import collections
import dataclasses

import numpy as np
from absl import logging

from keras_actionformer.errors import UserError
from keras_actionformer.timing import FeatureGrid

# A features length may differ from what duration, fps and stride give by the larger of these.
LENGTH_TOLERANCE = 0.2
LENGTH_TOLERANCE_STEPS = 2


def video_grid(video, stride_frames, window_frames, default_fps=None, downsample_rate=1):
    """Returns the `FeatureGrid` of one video.

    Args:
      video: `Video`.
      stride_frames: float, frames from one step of the feature file to the next.
      window_frames: float, frames a step has seen.
      default_fps: float, frames a second of every video, or None to take each video's own.
      downsample_rate: int; of the steps in the file every `downsample_rate`-th is used.

    Raises:
      UserError: neither `default_fps` nor the annotations say the frame rate.
    """
    fps = video.fps if default_fps is None else default_fps
    if fps is None:
        raise UserError(
            f"Video {video.video_id!r} has no 'fps' in the annotations; add it there or set "
            "default_fps."
        )
    return FeatureGrid(fps, stride_frames, window_frames).downsample(downsample_rate)


def segments_to_grid(segments_sec, grid):
    """Converts segments (N, 2) in seconds to float32 grid units."""
    return grid.to_grid(np.asarray(segments_sec, np.float64)).astype(np.float32)


def truncate(
    feats_len,
    segments_grid,
    max_seq_len,
    trunc_thresh,
    offset_grid,
    crop_ratio,
    rng,
    max_trials=200,
):
    """Chooses the random window of a training sequence (the reference's truncation rule).

    1. A sequence longer than `max_seq_len` gets a window of that length. A shorter one stays whole
       or, with a `crop_ratio` of (low, high), gets a window whose length is a uniform integer in
       `[max(round(low * T), 1), min(round(high * T), T)]`; length T means it stays whole.
    2. The window's start is a uniform integer in `[0, T - length]`. The window reaches half a
       feature window (`offset_grid`) over both its ends, where actions still leave traces.
    3. A segment is kept when at least `trunc_thresh` of its length lies in that reach.
    4. Windows that keep no segment are drawn again, `max_trials` times at most; then the last one
       stands. A sequence without segments takes the first.
    5. Kept segments are cut to the reach and counted from the window's start.

    Args:
      feats_len: int, T.
      segments_grid: float32 (N, 2), `[start, end]` in grid units.
      max_seq_len: int, the longest sequence to return.
      trunc_thresh: float in (0, 1].
      offset_grid: float, `FeatureGrid.offset_grid`.
      crop_ratio: (low, high), or None.
      rng: `np.random.Generator`, or anything with its `integers(low, high, endpoint=True)`.
      max_trials: int.

    Returns:
      (start, length, kept, segments): two ints, the int (M,) indices of kept segments, and these
      segments as float32 (M, 2) in grid units of the window.
    """
    everything = (0, feats_len, np.arange(len(segments_grid)), segments_grid)
    length = max_seq_len
    if feats_len <= max_seq_len:
        if crop_ratio is None:
            return everything
        shortest = max(round(crop_ratio[0] * feats_len), 1)
        longest = max(min(round(crop_ratio[1] * feats_len), feats_len), shortest)
        length = int(rng.integers(shortest, longest, endpoint=True))
        if length == feats_len:
            return everything

    for _ in range(max_trials):
        start = int(rng.integers(0, feats_len - length, endpoint=True))
        left = np.maximum(segments_grid[:, 0], np.float32(start - offset_grid))
        right = np.minimum(segments_grid[:, 1], np.float32(start + length + offset_grid))
        # Rounding to float32 may leave a segment without length; 0 / 0 keeps it out.
        with np.errstate(invalid="ignore"):
            inside = np.maximum(right - left, 0) / (segments_grid[:, 1] - segments_grid[:, 0])
        kept = np.flatnonzero(inside >= trunc_thresh)
        if len(kept) or not len(segments_grid):
            break
    segments = np.stack([left[kept], right[kept]], axis=1) - np.float32(start)
    return start, length, kept, segments


def steps_per_epoch(num_videos, batch_size):
    """Returns the number of full batches that `num_videos` videos give.

    Raises:
      UserError: there is no video, or less than one batch of them.
    """
    if num_videos == 0:
        raise UserError("There is no training video; check the name of the training subset.")
    if batch_size < 1 or batch_size > num_videos:
        raise UserError(
            f"batch_size is {batch_size} but there are {num_videos} training videos; set it to "
            f"1..{num_videos}."
        )
    return num_videos // batch_size


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
    seed=0,
    num_epochs=1,
    first_epoch=0,
    shuffle=True,
    check_durations=True,
    cache_bytes=4 * 2**30,
):
    """Builds the stream of training batches, from `first_epoch` to the end of `num_epochs`.

    Every batch has the same shape, so the training step compiles once. The stream is a function of
    its arguments alone: epoch e visits the videos in the order of `default_rng([seed, e])`, and
    cuts the i-th of `videos` by `default_rng([seed, e, i])`. A run resumed at `first_epoch` thus
    sees what an uninterrupted one would. Videos that fill no whole batch sit out an epoch.

    All feature files are read and checked before this function returns.

    Args:
      videos: sequence of `Video`, the training videos.
      features: `FeatureFiles`.
      stride_frames: float, frames from one step of the feature files to the next.
      window_frames: float, frames a step has seen.
      max_seq_len: int, T: longer sequences are truncated, shorter ones padded with zeros.
      batch_size: int, B.
      default_fps: float, or None to take each video's own (see `video_grid`).
      downsample_rate: int, take every so-many-th step (see `video_grid`).
      trunc_thresh: float, see `truncate`.
      crop_ratio: (low, high) or None, see `truncate`.
      seed: int, 0 or more.
      num_epochs: int, epochs of the whole training.
      first_epoch: int, epochs that are done already.
      shuffle: bool, False keeps the order of `videos` in every epoch.
      check_durations: bool, whether it is an error when the length of most feature files does not
        fit the videos' durations; otherwise a warning.
      cache_bytes: int, how many bytes of features to keep in memory; the others are read again
        whenever they are needed.

    Returns:
      `tf.data.Dataset` of known cardinality, `(num_epochs - first_epoch) * steps_per_epoch`, of
      ({"feats": float32 (B, T, C), "mask": bool (B, T)},
       {"segments": float32 (B, N, 2) in grid units, "labels": int32 (B, N), -1 = padding}),
      N the most segments of any video.

    Raises:
      UserError: too few videos, a feature file that fails a check, no fps, no action at all, or an
        argument out of its range.
    """
    steps = steps_per_epoch(len(videos), batch_size)
    _check_settings(max_seq_len, trunc_thresh, crop_ratio, seed, num_epochs, first_epoch)
    grids = [
        video_grid(video, stride_frames, window_frames, default_fps, downsample_rate)
        for video in videos
    ]
    items = _load_items(videos, grids, features, downsample_rate, cache_bytes)
    _check_lengths(videos, grids, [item.feats_len for item in items], check_durations)
    items = _drop_segments_beyond(items)
    return _stream(
        _BatchMaker(items, max_seq_len, batch_size, trunc_thresh, crop_ratio, seed, shuffle),
        range(first_epoch * steps, num_epochs * steps),
    )


def _check_settings(max_seq_len, trunc_thresh, crop_ratio, seed, num_epochs, first_epoch):
    if max_seq_len < 1:
        raise UserError(f"max_seq_len must be 1 or more, but it is {max_seq_len}.")
    if not 0 < trunc_thresh <= 1:
        raise UserError(f"trunc_thresh must lie in (0, 1], but it is {trunc_thresh}.")
    if crop_ratio is not None and not (
        len(crop_ratio) == 2 and 0 < crop_ratio[0] <= crop_ratio[1] <= 1
    ):
        raise UserError(f"crop_ratio must be (low, high) with 0 < low <= high <= 1: {crop_ratio}.")
    if seed < 0:
        raise UserError(f"seed must be 0 or more, but it is {seed}.")
    if not 0 <= first_epoch <= num_epochs:
        raise UserError(f"first_epoch must lie in 0..{num_epochs}, but it is {first_epoch}.")


@dataclasses.dataclass(frozen=True, eq=False)
class _Item:
    """A training video, ready to be cut: `window(start, length)` gives its features."""

    feats_len: int
    feats_dim: int
    window: collections.abc.Callable
    segments_grid: np.ndarray
    labels: np.ndarray
    offset_grid: float


def _load_items(videos, grids, features, downsample_rate, cache_bytes):
    """Reads and checks every feature file once, and keeps those that fit into `cache_bytes`."""
    for video in videos:  # A missing file is told before minutes are spent on reading the others.
        if not features.has(video.video_id):
            features.load(video.video_id)
    items, cached_bytes = [], 0
    for video, grid in zip(videos, grids, strict=True):
        feats = features.load(video.video_id)[::downsample_rate]
        if items and feats.shape[1] != items[0].feats_dim:
            raise UserError(
                f"Feature file '{features.path(video.video_id)}' has {feats.shape[1]} channels but "
                f"that of {videos[0].video_id!r} has {items[0].feats_dim}; all must be equal."
            )
        cached = cached_bytes + feats.nbytes <= cache_bytes
        if cached:
            cached_bytes += feats.nbytes
            feats = np.ascontiguousarray(feats)
        items.append(
            _Item(
                *feats.shape,
                _window_of(feats) if cached
                else _window_of_file(features, video.video_id, downsample_rate),
                segments_to_grid(video.segments_sec, grid),
                np.asarray(video.labels, np.int32),
                grid.offset_grid,
            )
        )
    logging.info(
        "%d training videos with %d actions read from '%s', %.0f MB of features kept in memory.",
        len(items), sum(len(item.labels) for item in items), features.folder, cached_bytes / 1e6,
    )
    return items


def _window_of(feats):
    return lambda start, length: feats[start : start + length]


def _window_of_file(features, video_id, rate):
    return lambda start, length: features.open(video_id)[::rate][start : start + length]


def _check_lengths(videos, grids, lengths, check_durations):
    """Compares the features' lengths with the videos' durations: a wrong fps or stride shows here.

    Counting windows that lie in the video wholly or only in part gives different lengths; all
    between the two are right.
    """
    known, wrong = 0, []
    for video, grid, length in zip(videos, grids, lengths, strict=True):
        if video.duration_sec is None:
            continue
        known += 1
        steps = video.duration_sec * grid.fps / grid.stride_frames
        most, least = steps + 1, steps + 1 - 2 * grid.offset_grid
        gap = max(length - most, least - length)
        if gap > max(LENGTH_TOLERANCE * steps, LENGTH_TOLERANCE_STEPS):
            wrong.append((video, grid, length, steps))
    if not wrong:
        return
    video, grid, length, steps = wrong[0]
    message = (
        f"The features of {len(wrong)} of {known} videos do not fit the videos' durations: "
        f"{video.video_id!r} lasts {video.duration_sec:g} s, which at fps={grid.fps:g} and "
        f"stride_frames={grid.stride_frames:g} makes {steps:.0f} steps, but it has {length} "
        f"({length / max(steps, 1e-9):.2f} times as many); fps or stride_frames is likely wrong"
    )
    if check_durations and len(wrong) > known / 2:
        raise UserError(message + ". Pass check_durations=False if the durations are wrong.")
    logging.warning("%s.", message)


def _drop_segments_beyond(items):
    """Drops segments that start after the features' end: there is nothing to learn them from."""
    keep = [item.segments_grid[:, 0] < item.feats_len + item.offset_grid for item in items]
    dropped = sum(int(np.count_nonzero(~k)) for k in keep)
    if dropped:
        logging.warning(
            "%d actions in %d videos start after the end of the features and are left out.",
            dropped, sum(not k.all() for k in keep),
        )
    items = [
        dataclasses.replace(item, segments_grid=item.segments_grid[k], labels=item.labels[k])
        for item, k in zip(items, keep, strict=True)
    ]
    if not any(len(item.labels) for item in items):
        raise UserError("No training video has an action; check the subset and the annotations.")
    return items


class _BatchMaker:
    """Makes the batch of any training step, counted from the start of the training."""

    def __init__(self, items, max_seq_len, batch_size, trunc_thresh, crop_ratio, seed, shuffle):
        self.items = items
        self.trunc_thresh = trunc_thresh
        self.crop_ratio = crop_ratio
        self.seed = seed
        self.shuffle = shuffle
        self.steps_per_epoch = len(items) // batch_size
        most_segments = max(len(item.labels) for item in items)
        # Shapes of feats, mask, segments and labels.
        self.shapes = (
            (batch_size, max_seq_len, items[0].feats_dim),
            (batch_size, max_seq_len),
            (batch_size, most_segments, 2),
            (batch_size, most_segments),
        )

    def __call__(self, step):
        """Returns feats, mask, segments and labels of one step (int, 0 = first of epoch 0)."""
        epoch, step_of_epoch = divmod(int(step), self.steps_per_epoch)
        batch_size = self.shapes[0][0]
        first = step_of_epoch * batch_size
        feats = np.zeros(self.shapes[0], np.float32)
        mask = np.zeros(self.shapes[1], np.bool_)
        segments = np.zeros(self.shapes[2], np.float32)
        labels = np.full(self.shapes[3], -1, np.int32)
        for row, index in enumerate(self._order(epoch)[first : first + batch_size]):
            start, length, kept, cut = self._cut(epoch, int(index))
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
            self.shapes[1][1],
            self.trunc_thresh,
            item.offset_grid,
            self.crop_ratio,
            np.random.default_rng([self.seed, epoch, index]),
        )


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
      stride_frames: float, frames from one step of the feature files to the next.
      window_frames: float, frames a step has seen.
      default_fps: float, or None to take each video's own (see `video_grid`).
      downsample_rate: int, take every so-many-th step (see `video_grid`).

    Returns:
      iterator of (`Video`, feats float32 (T, C), `FeatureGrid`).

    Raises:
      UserError: a video has no fps, or its feature file fails a check.
    """
    grids = [
        video_grid(video, stride_frames, window_frames, default_fps, downsample_rate)
        for video in videos
    ]
    lengths = [len(features.open(video.video_id)[::downsample_rate]) for video in videos]
    _check_lengths(videos, grids, lengths, check_durations=False)
    return (
        (video, np.ascontiguousarray(features.load(video.video_id)[::downsample_rate]), grid)
        for video, grid in zip(videos, grids, strict=True)
    )
