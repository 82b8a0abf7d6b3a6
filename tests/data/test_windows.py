"""The truncation rule and sliding windows."""

import collections

import numpy as np
import pytest

from helpers.golden_files import ReplayedDraws
from keras_actionformer.data.windows import (
    Lengths,
    check_windows,
    cut_to_features,
    sliding_windows,
    truncate,
)
from keras_actionformer.errors import UserError

# Random windows --------------------------------------------------------


def test_truncation_by_hand():
    # T = 10, window of 4 steps from 3, reach [3 - 1, 7 + 1] = [2, 8].
    segments = np.array([[0, 4], [0, 4.1], [0, 3.9], [5, 6], [7, 9], [8, 9]], np.float32)
    start, length, kept, cut = truncate(10, segments, 4, 0.5, 1.0, None, ReplayedDraws([(0, 6, 3)]))
    assert (start, length) == (3, 4)
    # Inside: 2 of 4, 2.1 of 4.1, 1.9 of 3.9, all, 1 of 2, none.
    np.testing.assert_array_equal(kept, [0, 1, 3, 4])
    np.testing.assert_allclose(cut, [[-1, 1], [-1, 1.1], [2, 3], [4, 5]], rtol=1e-6)
    assert cut.dtype == np.float32


def test_windows_without_an_action_are_drawn_again():
    segments = np.array([[50, 60]], np.float32)
    draws = ReplayedDraws([(0, 90, 0), (0, 90, 80), (0, 90, 52)])
    start, _, kept, cut = truncate(100, segments, 10, 0.5, 0.0, None, draws)
    assert start == 52 and not draws.calls
    np.testing.assert_array_equal(kept, [0])
    np.testing.assert_array_equal(cut, [[0, 8]])


def test_the_last_window_stands_when_none_keeps_an_action():
    segments = np.array([[50, 60]], np.float32)
    draws = ReplayedDraws([(0, 95, 0)] * 199 + [(0, 95, 7)])
    start, length, kept, cut = truncate(100, segments, 5, 0.9, 0.0, None, draws)
    assert (start, length, len(kept)) == (7, 5, 0) and not draws.calls
    assert cut.shape == (0, 2)


def test_windows_that_cut_an_action_are_drawn_again_where_it_must_be_whole():
    segments = np.array([[50, 60], [62, 64]], np.float32)
    # From 45 it cuts the second; from 80 it keeps none; from 48 it ends at 66, behind both.
    for keeps, starts in (
        ("whole_actions", (45, 80, 48)),
        ("an_action", (45,)),
        ("anything", (80,)),
    ):
        draws = ReplayedDraws([(0, 82, start) for start in starts])
        found, _, _, _ = truncate(100, segments, 18, 0.5, 0.0, None, draws, keeps)
        assert found == starts[-1] and not draws.calls


def test_a_sequence_without_actions_takes_the_first_window():
    none = np.zeros((0, 2), np.float32)
    start, length, kept, cut = truncate(100, none, 10, 0.5, 1.0, None, ReplayedDraws([(0, 90, 42)]))
    assert (start, length, len(kept), cut.shape) == (42, 10, 0, (0, 2))


def test_short_sequences():
    segments = np.array([[2, 5]], np.float32)
    for crop_ratio, calls in [(None, []), ((0.9, 1.0), [(9, 10, 10)])]:
        start, length, kept, cut = truncate(
            10, segments, 20, 0.5, 1.0, crop_ratio, ReplayedDraws(calls)
        )
        assert (start, length, list(kept)) == (0, 10, [0])
        np.testing.assert_array_equal(cut, segments)
    draws = ReplayedDraws([(9, 10, 9), (0, 1, 1)])
    start, length, _, cut = truncate(10, segments, 20, 0.5, 1.0, (0.9, 1.0), draws)
    assert (start, length) == (1, 9)
    np.testing.assert_array_equal(cut, [[1, 4]])


def test_truncation_equals_a_transcription_over_many_draws():
    """The rule written once more, one segment at a time, on the same random numbers."""
    trials = np.random.default_rng(0)
    shortened = 0
    for trial in range(500):
        feats_len = int(trials.integers(1, 60))
        starts = trials.uniform(-2, feats_len, trials.integers(0, 6))
        ends = starts + trials.uniform(0.2, 40, len(starts))
        segments = np.stack([starts, ends], 1).astype(np.float32)
        max_seq_len, thresh = int(trials.integers(1, 60)), trials.uniform(0.1, 1)
        crop_ratio = None if trial % 2 else (0.5, 1.0)
        offset = float(trials.integers(0, 5)) / 2
        arguments = (feats_len, segments, max_seq_len, thresh, offset, crop_ratio)
        found = truncate(*arguments, np.random.default_rng(trial))
        expected = transcription(*arguments, np.random.default_rng(trial))
        assert found[:2] == expected[:2]
        assert list(found[2]) == expected[2]
        np.testing.assert_allclose(found[3], np.reshape(expected[3], (-1, 2)), rtol=1e-6, atol=1e-5)
        shortened += found[1] < feats_len
    assert 100 < shortened < 450


def transcription(feats_len, segments, max_seq_len, thresh, offset, crop_ratio, rng):
    whole = (0, feats_len, list(range(len(segments))), segments)
    if feats_len <= max_seq_len:
        if not crop_ratio:
            return whole
        low = max(round(crop_ratio[0] * feats_len), 1)
        max_seq_len = rng.integers(low, min(round(crop_ratio[1] * feats_len), feats_len) + 1)
        if max_seq_len == feats_len:
            return whole
    for _ in range(200):
        first = rng.integers(0, feats_len - max_seq_len + 1)
        kept, cut = [], []
        for i, (begin, end) in enumerate(segments):
            left, right = max(first - offset, begin), min(first + max_seq_len + offset, end)
            if max(right - left, 0) / abs(end - begin) >= thresh:
                kept.append(i)
                cut.append([left - first, right - first])
        if kept or len(segments) == 0:
            break
    return first, max_seq_len, kept, cut


LENGTH, OFFSET, THRESH = 60, 1.5, 0.5
# Short and long, overlapping, at both ends, and far from each other so that many windows are empty.
SEGMENTS = np.array([[-1, 3], [2, 12], [4.5, 5], [40, 52], [44, 47.25], [57, 61]], np.float32)


@pytest.mark.parametrize("crop_ratio", [None, (0.3, 0.5)])
def test_windows_of_ten_thousand_draws(crop_ratio):
    """Every window that the rule allows is drawn, with its segments, about as often as others.

    The windows, and with them the expected counts, are listed from the rule. The draws are always
    the same: the test cannot fail by chance.
    """
    max_seq_len = 20 if crop_ratio is None else 100
    lengths = [20] if crop_ratio is None else range(18, 31)
    shares = {}
    for length in lengths:
        accepted = {}
        for start in range(LENGTH - length + 1):
            low, high = start - OFFSET, start + length + OFFSET
            segments = {}
            for i, (begin, end) in enumerate(SEGMENTS.tolist()):
                left, right = max(begin, low), min(end, high)
                if right - left >= THRESH * (end - begin):
                    segments[i] = (left - start, right - start)
            if segments:
                accepted[start, length] = segments
        assert len(accepted) < LENGTH - length + 1  # The others are drawn again.
        for window, segments in accepted.items():
            shares[window] = segments, 1 / len(lengths) / len(accepted)

    draws, rng = 10_000, np.random.default_rng(0)
    counts = collections.Counter()
    for _ in range(draws):
        start, length, kept, cut = truncate(
            LENGTH, SEGMENTS, max_seq_len, THRESH, OFFSET, crop_ratio, rng
        )
        counts[start, length] += 1
        assert (
            dict(zip(kept.tolist(), map(tuple, cut.tolist()), strict=True))
            == shares[start, length][0]
        )
    assert counts.keys() == shares.keys()
    expected = np.array([draws * shares[window][1] for window in shares])
    found = np.array([counts[window] for window in shares])
    # Five standard deviations of a count.
    assert (abs(found - expected) < 5 * np.sqrt(expected)).all()


def test_segments_behind_the_features_by_hand():
    # Features end at 10 + 1 = 11: inside are all, 4 of 8, 1 of 3, none, all.
    segments = np.array([[2, 11], [7, 15], [10, 13], [11, 12], [-5, 1]], np.float32)
    kept, cut = cut_to_features(segments, 10, 0.5, 1.0)
    np.testing.assert_array_equal(kept, [0, 1, 4])
    np.testing.assert_array_equal(cut, [[2, 11], [7, 11], [-5, 1]])


# Sliding windows -------------------------------------------------------


@pytest.mark.parametrize(
    "num_steps,window_steps,overlap,starts",
    [
        (10, 4, 0.5, [0, 2, 4, 6]),
        (11, 4, 0.5, [0, 2, 4, 6, 7]),  # The last is moved to the end.
        (10, 4, 0.0, [0, 4, 6]),
        (10, 4, 0.25, [0, 3, 6]),
        (10, 10, 0.5, [0]),
        (3, 10, 0.5, [0]),
        (5, 3, 0.99, [0, 1, 2]),  # Windows move by one step at least.
    ],
)
def test_sliding_windows_by_hand(num_steps, window_steps, overlap, starts):
    found = sliding_windows(num_steps, window_steps, overlap)
    assert found == [(start, min(window_steps, num_steps)) for start in starts]


@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.75])
def test_sliding_windows_leave_no_gap(overlap):
    for num_steps in range(1, 60):
        windows = sliding_windows(num_steps, 8, overlap)
        covered = {step for start, length in windows for step in range(start, start + length)}
        assert covered == set(range(num_steps))
        assert len(set(windows)) == len(windows) and windows == sorted(windows)


def test_wrong_windows():
    for steps in (0, -3, 2.5):
        with pytest.raises(UserError, match="window_steps must be a whole number"):
            check_windows(steps, 0.5)
    for overlap in (-0.1, 1.0):
        with pytest.raises(UserError, match="window_overlap must lie in"):
            check_windows(8, overlap)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(max_seq_len=2.5), "max_seq_len must be a whole number, but it is 2.5"),
        (dict(max_seq_len="8"), "max_seq_len must be a whole number, but it is '8'"),
        (dict(trunc_thresh=float("nan")), "trunc_thresh must be a finite number, but it is nan"),
        (dict(trunc_thresh=None), "trunc_thresh must be a finite number, but it is None"),
        (dict(crop_ratio=0.9), "crop_ratio must be .low, high. .* but is 0.9"),
        (dict(crop_ratio=("a", 1)), "crop_ratio must be a finite number, but it is 'a'"),
        (dict(crop_ratio=(0.9, 0.95, 1)), "crop_ratio must be .low, high."),
        (dict(resize_to=0), "resize_to must be a whole number from 1 up, but it is 0"),
        (dict(resize_to=True), "resize_to must be a whole number from 1 up, but it is True"),
        (dict(window_steps=3.5), "window_steps must be a whole number from 1 up, but it is 3.5"),
        (dict(window_steps=4, window_overlap="half"), "window_overlap must be a finite number"),
    ],
)
def test_lengths_check_what_they_are_made_of(changes, message):
    with pytest.raises(UserError, match=message):
        Lengths(**{"max_seq_len": 8, **changes})
