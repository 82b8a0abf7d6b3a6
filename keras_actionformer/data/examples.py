"""Training items: videos, or windows of them, in the form from which batches are cut."""

import collections
import dataclasses

import numpy as np
from absl import logging

from keras_actionformer.data.arrays import in_dtype
from keras_actionformer.data.feature_checks import constant_problem, stop_at_error
from keras_actionformer.data.grid import spread_grid
from keras_actionformer.data.resizing import resize_feats
from keras_actionformer.data.windows import cut_segments, cut_to_features, sliding_windows
from keras_actionformer.errors import UserError, counted


@dataclasses.dataclass(frozen=True, eq=False)
class Sequence:
    """The features of one video, read and checked, in memory or to be read again.

    Args:
      num_steps: int, steps of the feature file after downsampling.
      feats_len: int, steps after resizing.
      feats_dim: int, C.
      window: function of (start, length) to an array (length, C) of real numbers.
    """

    num_steps: int
    feats_len: int
    feats_dim: int
    window: collections.abc.Callable


@dataclasses.dataclass(frozen=True, eq=False)
class Item:
    """A sequence, or a window of one, with its segments.

    Args:
      feats_len: int, T.
      feats_dim, window: see `Sequence`.
      segments_grid: float32 (N, 2) in grid units.
      labels: int32 (N,).
      offset_grid: float, how far beyond the ends of a window actions are kept.
    """

    feats_len: int
    feats_dim: int
    window: collections.abc.Callable
    segments_grid: np.ndarray
    labels: np.ndarray
    offset_grid: float


def read_sequences(videos, features, downsample_rate, lengths, cache_bytes, feats_dtype):
    """Reads and checks every feature file once, and keeps those that fit into `cache_bytes`.

    Args: see `train_dataset`.

    Returns:
      list of `Sequence`.
    """
    for video in videos:  # A missing file is told before minutes are spent on reading the others.
        if not features.has(video.video_id):
            features.load(video.video_id)
    sequences, cached_bytes = [], 0
    for video in videos:
        where = features.describe(video.video_id)
        feats = features.load(video.video_id)
        read_again = _read_again(features, video.video_id, feats.shape)
        feats = feats[::downsample_rate]
        stop_at_error(constant_problem(video, feats, where))
        num_steps, feats_dim = feats.shape
        if sequences and feats_dim != sequences[0].feats_dim:
            raise UserError(
                f"{where} has {feats_dim} channels but that of "
                f"{videos[0].video_id!r} has {sequences[0].feats_dim}; all must be equal."
            )
        feats = as_trained(feats, lengths, feats_dtype, where)
        feats_len = len(feats)
        if cached_bytes + feats.nbytes <= cache_bytes:
            cached_bytes += feats.nbytes
            window = _window_of(np.ascontiguousarray(feats))
        elif lengths.resize_to is None:
            window = _window_of_file(read_again, downsample_rate)
        else:
            window = _window_of_resized(read_again, downsample_rate, lengths)
        sequences.append(Sequence(num_steps, feats_len, feats_dim, window))
    logging.info(
        "Features of %d videos read, %.0f MB of them kept in memory.",
        len(videos),
        cached_bytes / 1e6,
    )
    return sequences


def as_trained(feats, lengths, feats_dtype, where):
    """Features of a video as a training keeps them.

    Args:
      feats: float32 (T, C), all finite.
      lengths: `Lengths`, which may say that they are resized.
      feats_dtype: `"float32"` or `"float16"`.
      where: str, what a message calls them.

    Raises:
      UserError: they are too large for `feats_dtype`, or too small.
    """
    if lengths.resize_to is not None:
        feats = resize_feats(feats, lengths.resize_to, lengths.resize_method)
    if feats_dtype == "float16":
        largest, least = np.abs(feats).max(), np.finfo(feats_dtype).tiny
        if 0 < largest < least:
            raise UserError(
                f"{where} has values of {largest:.4g} at most, but below {least:.4g} {feats_dtype} "
                "has few digits, or none; leave feats_dtype at 'float32', or scale the features."
            )
    return in_dtype(feats, feats_dtype, where)


def _read_again(features, video_id, shape):
    """Opens features that were read before, as often as it is called.

    They have been checked: were they other ones now, a training would go on with anything.
    """

    def open_features():
        feats = features.open(video_id)
        if feats.shape != shape:
            raise UserError(
                f"{features.describe(video_id)} had the shape {shape} when the training began, but "
                f"has {feats.shape} now; put the first one back, and leave files as they are while "
                "a training reads them."
            )
        return feats

    return open_features


def _window_of(feats):
    return lambda start, length: feats[start : start + length]


def _window_of_file(read_again, rate):
    """Reads no more than the window's steps, where the file's format allows that."""
    return lambda start, length: read_again()[start * rate : (start + length - 1) * rate + 1 : rate]


def _window_of_resized(read_again, rate, lengths):
    return lambda start, length: resize_feats(
        read_again()[::rate], lengths.resize_to, lengths.resize_method
    )[start : start + length]


def segments_to_grid(segments_sec, grid):
    """Converts segments (N, 2) in seconds to float32 grid units."""
    return grid.to_grid(np.asarray(segments_sec, np.float64)).astype(np.float32)


def make_items(videos, sequences, grids, lengths):
    """Joins features with the segments that there are features to learn from.

    A segment that starts after the features' end is left out. Of resized sequences, one that lies
    mostly behind it is left out as well, and the others are cut there (`cut_to_features`).
    Sequences are then cut to sliding windows, where `lengths` asks for them, and all repeated.

    Args:
      videos: sequence of `Video`.
      sequences: sequence of `Sequence`, one a video.
      grids: sequence of `FeatureGrid`, one a video, of the features before resizing.
      lengths: `Lengths`.

    Returns:
      list of `Item`.

    Raises:
      UserError: no video has an action.
    """
    items, num_dropped = [], []
    for video, sequence, grid in zip(videos, sequences, grids, strict=True):
        length, resize_to = sequence.feats_len, lengths.resize_to
        is_spread = resize_to is not None and lengths.spread_duration
        if is_spread:
            grid = spread_grid(_duration_of(video), resize_to)
        elif resize_to is not None:
            grid = grid.resize(sequence.num_steps, resize_to)
        segments = segments_to_grid(video.segments_sec, grid)
        if is_spread:
            segments = np.minimum(segments, np.float32(length))
        if resize_to is not None and not is_spread:
            kept, segments = cut_to_features(
                segments, length, lengths.trunc_thresh, grid.offset_grid
            )
        else:
            kept = np.flatnonzero(segments[:, 0] < length + grid.offset_grid)
            segments = segments[kept]
        labels = np.asarray(video.labels, np.int32)[kept]
        reach = grid.offset_grid if lengths.cut_beyond_ends else 0.0
        items.append(Item(length, sequence.feats_dim, sequence.window, segments, labels, reach))
        num_dropped.append(len(video.labels) - len(labels))
    if any(num_dropped):
        logging.warning(
            "%s in %s start after the end of the features%s and are left out.",
            counted(sum(num_dropped), "action"),
            counted(np.count_nonzero(num_dropped), "video"),
            "" if lengths.resize_to is None else ", or lie mostly behind it,",
        )
    if not any(len(item.labels) for item in items):
        raise UserError("No training video has an action; check the subset and the annotations.")
    if lengths.window_steps is not None:
        items = _cut_to_windows(items, lengths)
    return items * lengths.repeats


def _duration_of(video):
    if video.duration_sec is None:
        raise UserError(
            f"Video {video.video_id!r} has no 'duration' in the annotations, which the steps of "
            "a resized sequence share out (spread_duration); add it there."
        )
    return video.duration_sec


def _cut_to_windows(items, lengths):
    """Cuts every item that is longer than a window into sliding windows, each an item."""
    windows = []
    for item in items:
        places = sliding_windows(item.feats_len, lengths.window_steps, lengths.window_overlap)
        if len(places) == 1:
            windows.append(item)
            continue
        for start, length in places:
            kept, segments = cut_segments(
                item.segments_grid, start, length, lengths.trunc_thresh, item.offset_grid
            )
            windows.append(
                dataclasses.replace(
                    item,
                    feats_len=length,
                    window=_part_of(item.window, start),
                    segments_grid=segments,
                    labels=item.labels[kept],
                )
            )
    return windows


def _part_of(window, first):
    return lambda start, length: window(first + start, length)
