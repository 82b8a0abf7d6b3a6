"""Windows of long sequences, random or sliding, and the segments that a window keeps."""

import collections.abc
import dataclasses

import numpy as np

from keras_actionformer.checks import choice, entries, flag, number, positive_whole, shown, whole
from keras_actionformer.errors import UserError

_MAX_TRIALS = 200  # windows that `truncate` draws before it takes one that is not right
_CUT_KEEPS = ("an_action", "whole_actions", "anything")


@dataclasses.dataclass(frozen=True)
class Lengths:
    """How sequences of any length become training sequences of one, in three ways.

    - padded: long sequences are cut to a random window (`truncate`), short ones filled with zeros;
    - resized (`resize_to`): all are resized to one length, then cropped as above (ActivityNet);
    - sliding (`window_steps`): all are cut to overlapping windows, each an item of its own.

    Args:
      max_seq_len: int, T: longer sequences are truncated, shorter ones padded with zeros.
      trunc_thresh: float in (0, 1], share of an action that must stay in a window.
      crop_ratio: (low, high) or None, see `truncate`.
      cut_keeps: `"an_action"`, `"whole_actions"` or `"anything"`, see `truncate`.
      cut_beyond_ends: bool, a window keeps of an action what lies up to half a feature window
        beyond its ends, where the action still leaves traces; False cuts at the ends (OpenTAD).
      resize_to: int, steps that every sequence is resized to before it is cut (`resize_feats`),
        or None; segments are then cut to the features as well (`cut_to_features`).
      resize_method: `"linear"` or `"roi_align"`, see `resize_feats`.
      spread_duration: bool, the steps of a resized sequence share out the video's duration from
        0 s on, and not the frames that features have seen; segments end there, too (OpenTAD).
      window_steps: int, length of sliding windows, up to `max_seq_len`, or None: every sequence is
        cut to windows of this length (`sliding_windows`), each an item of its own.
      window_overlap: float in [0, 1), the part of a sliding window that the next one repeats.
      repeats: int, times that an epoch has each sequence or window, cut at random anew: an epoch of
        few recordings would end after a step or two.
      padded_steps: function from the longest sequence of a batch to the batch's T, in steps (see
        `PadAsReference.padded_steps`): short videos then cost less than long ones. None pads every
        batch to `max_seq_len`: one shape, for which a training step compiles once.

    Raises:
      UserError: a value is out of its range, or two do not go together.
    """

    max_seq_len: int
    trunc_thresh: float = 0.5
    crop_ratio: tuple[float, float] | None = None
    cut_keeps: str = "an_action"
    cut_beyond_ends: bool = True
    resize_to: int | None = None
    resize_method: str = "linear"
    spread_duration: bool = False
    window_steps: int | None = None
    window_overlap: float = 0.5
    repeats: int = 1
    padded_steps: collections.abc.Callable[[int], int] | None = None

    def __post_init__(self):
        if whole("max_seq_len", self.max_seq_len) < 1:
            raise UserError(f"max_seq_len must be 1 or more, but it is {self.max_seq_len}.")
        if not 0 < number("trunc_thresh", self.trunc_thresh) <= 1:
            raise UserError(f"trunc_thresh must lie in (0, 1], but it is {self.trunc_thresh}.")
        _check_crop_ratio(self.crop_ratio)
        choice("cut_keeps", self.cut_keeps, *_CUT_KEEPS)
        choice("resize_method", self.resize_method, "linear", "roi_align")
        for name in ("cut_beyond_ends", "spread_duration"):
            flag(name, getattr(self, name))
        positive_whole("repeats", self.repeats)
        if self.resize_to is not None:
            positive_whole("resize_to", self.resize_to)
        if self.window_steps is None:
            return
        check_windows(self.window_steps, self.window_overlap)
        if self.window_steps > self.max_seq_len:
            raise UserError(
                f"window_steps must be at most max_seq_len={self.max_seq_len}, but it is "
                f"{self.window_steps}."
            )
        if self.resize_to is not None:
            raise UserError(
                "Sequences are resized to one length or cut to sliding windows, not both: leave "
                "out window_steps or force_upsampling (resize_to)."
            )


def truncate(
    feats_len,
    segments_grid,
    max_seq_len,
    trunc_thresh,
    offset_grid,
    crop_ratio,
    rng,
    cut_keeps="an_action",
):
    """Chooses the random window of a training sequence (the reference's truncation rule).

    1. A sequence longer than `max_seq_len` gets a window of that length. A shorter one stays whole
       or, with a `crop_ratio` of (low, high), gets a window whose length is a uniform integer in
       `[max(round(low * T), 1), min(round(high * T), T)]`; length T means it stays whole.
    2. The window's start is a uniform integer in `[0, T - length]`. The window reaches half a
       feature window (`offset_grid`) over both its ends, where actions still leave traces.
    3. A segment is kept when at least `trunc_thresh` of its length lies in that reach.
    4. Windows that keep no segment are drawn again, 200 times at most; then the last one
       stands. With `cut_keeps="whole_actions"` so are windows that cut a segment; with
       `"anything"` none. A sequence without segments takes the first.
    5. Kept segments are cut to the reach and counted from the window's start.

    Args:
      feats_len: int, T.
      segments_grid: float32 (N, 2), `[start, end]` in grid units.
      max_seq_len: int, the longest sequence to return.
      trunc_thresh: float in (0, 1].
      offset_grid: float, `FeatureGrid.offset_grid`.
      crop_ratio: (low, high), or None.
      rng: `np.random.Generator`, or anything with its `integers(low, high, endpoint=True)`.
      cut_keeps: `"an_action"`, `"whole_actions"` or `"anything"`.

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

    for _ in range(_MAX_TRIALS):
        start = int(rng.integers(0, feats_len - length, endpoint=True))
        kept, segments = cut_segments(segments_grid, start, length, trunc_thresh, offset_grid)
        if not len(segments_grid) or cut_keeps == "anything":
            break
        is_cut = cut_keeps == "whole_actions" and _cuts_one(
            segments_grid, start - offset_grid, start + length + offset_grid
        )
        if len(kept) and not is_cut:
            break
    return start, length, kept, segments


def _cuts_one(segments_grid, first, last):
    """Whether one of the segments lies partly in [first, last]."""
    start, end = segments_grid.T
    is_inside = (start < last) & (end > first)
    return bool(np.any(is_inside & ((start < first) | (end > last))))


def cut_segments(segments_grid, start, length, trunc_thresh, offset_grid):
    """Cuts segments to a window: rules 3 and 5 of `truncate`.

    Args:
      segments_grid: float32 (N, 2), `[start, end]` in grid units of the sequence.
      start: int, first step of the window.
      length: int, steps of the window.
      trunc_thresh: float in (0, 1].
      offset_grid: float, `FeatureGrid.offset_grid`.

    Returns:
      (kept, segments): int (M,) indices of kept segments, and these as float32 (M, 2) in grid
      units of the window.
    """
    left = np.maximum(segments_grid[:, 0], np.float32(start - offset_grid))
    kept, right = _mostly_inside(segments_grid, left, start + length + offset_grid, trunc_thresh)
    return kept, np.stack([left[kept], right[kept]], axis=1) - np.float32(start)


def cut_to_features(segments_grid, feats_len, trunc_thresh, offset_grid):
    """Cuts segments to where the features end, and drops those that lie mostly behind.

    Features end at `feats_len + offset_grid`. As the reference for ActivityNet, whose features
    sometimes miss the rest of a video; what reaches over their start stays as it is.

    Args and Returns: see `cut_segments`.
    """
    start = segments_grid[:, 0]
    kept, right = _mostly_inside(segments_grid, start, feats_len + offset_grid, trunc_thresh)
    return kept, np.stack([start[kept], right[kept]], axis=1)


def _mostly_inside(segments_grid, left, limit, trunc_thresh):
    """Indices of segments of which `trunc_thresh` lies in [left, limit], and all their ends."""
    right = np.minimum(segments_grid[:, 1], np.float32(limit))
    # Rounding to float32 may leave a segment without length; 0 / 0 keeps it out.
    with np.errstate(invalid="ignore"):
        inside = np.maximum(right - left, 0) / (segments_grid[:, 1] - segments_grid[:, 0])
    return np.flatnonzero(inside >= trunc_thresh), right


def sliding_windows(num_steps, window_steps, window_overlap, reach_end=True):
    """Covers a sequence with windows of equal length.

    Windows start every `window_steps * (1 - window_overlap)` steps, rounded, and at least one; the
    last one is moved forward so that it ends with the sequence. A sequence that is not longer than
    a window is one window.

    Args:
      num_steps: int, T.
      window_steps: int.
      window_overlap: float in [0, 1), the part of a window that the next one repeats.
      reach_end: bool; False cuts only as many windows as whole strides fit into the sequence, so
        that its end may be in none (OpenTAD).

    Returns:
      list of (start, length), ascending.
    """
    if num_steps <= window_steps:
        return [(0, num_steps)]
    last = num_steps - window_steps
    if not reach_end:
        stride = max(int(window_steps * (1 - window_overlap)), 1)
        starts = (min(i * stride, last) for i in range(max(1, num_steps // stride)))
        return [(start, window_steps) for start in starts]
    stride = max(round(window_steps * (1 - window_overlap)), 1)
    return [(start, window_steps) for start in [*range(0, last, stride), last]]


def check_windows(window_steps, window_overlap):
    """Raises UserError where sliding windows have no length or would not move on."""
    positive_whole("window_steps", window_steps)
    if not 0 <= number("window_overlap", window_overlap) < 1:
        raise UserError(f"window_overlap must lie in [0, 1), but it is {window_overlap}.")


def _check_crop_ratio(value):
    if value is None:
        return
    ratios = [number("crop_ratio", ratio) for ratio in entries(value) or ()]
    if len(ratios) != 2 or not 0 < ratios[0] <= ratios[1] <= 1:
        raise UserError(
            f"crop_ratio must be (low, high) with 0 < low <= high <= 1, but is {shown(value)}."
        )
