"""Bouts: cases worked by hand, what holds for all of them, and their counts."""

import doctest

import numpy as np
import pytest

from keras_actionformer import Detections, Thresholds, UserError, load_detections
from keras_actionformer.detection import bouts, detections
from keras_actionformer.detection.bouts import bout_table, count_bouts, save_bout_counts


def of_one_class(*rows):
    """`Detections` of (start, end, score)."""
    rows = np.array(rows, np.float64).reshape(-1, 3)
    return Detections(rows[:, :2], rows[:, 2], np.zeros(len(rows), np.int64), ("run",))


@pytest.mark.parametrize(
    "rows, expected",
    [
        ([], []),
        # Apart: by time, whatever the scores.
        ([(5, 9, 0.9), (0, 4, 0.1)], [(0, 4, 0.1), (5, 9, 0.9)]),
        # Touching is not overlapping, and no gap is shorter than 0 s.
        ([(0, 4, 0.9), (4, 9, 0.8)], [(0, 4, 0.9), (4, 9, 0.8)]),
        # The same once more, a bit longer: 1 of 5 s are free.
        ([(0, 4, 0.9), (0, 5, 0.8)], [(0, 4, 0.9)]),
        # A neighbour that begins too early: 6 of 8 s are free, which is enough.
        ([(0, 4, 0.9), (2, 10, 0.8)], [(0, 4, 0.9), (4, 10, 0.8)]),
        ([(6, 10, 0.9), (0, 8, 0.8)], [(0, 6, 0.8), (6, 10, 0.9)]),
        # 5.9 of 8 s are too little.
        ([(0, 4.1, 0.9), (2, 10, 0.8)], [(0, 4.1, 0.9)]),
        # Inside a better one, and around one: of 0..20 the larger rest, 5..20, is three quarters.
        ([(0, 9, 0.9), (3, 4, 0.8)], [(0, 9, 0.9)]),
        ([(4, 5, 0.9), (0, 20, 0.8)], [(4, 5, 0.9), (5, 20, 0.8)]),
        # Between two: 4..10 is free of 3..11.
        ([(0, 4, 0.9), (10, 12, 0.8), (3, 11, 0.7)], [(0, 4, 0.9), (4, 10, 0.7), (10, 12, 0.8)]),
        # Nothing lasts no time.
        ([(3, 3, 0.9), (0, 4, 0.8)], [(0, 4, 0.8)]),
    ],
)
def test_overlaps(rows, expected):
    found = of_one_class(*rows).bouts()
    assert [(*segment, score) for segment, score in zip(found.segments_sec.tolist(), found.scores)]\
        == expected  # fmt: skip


def test_gaps_and_lengths():
    found = of_one_class((0, 2, 0.5), (2.5, 4, 0.7), (5, 6, 0.6), (9, 9.4, 0.9))
    joined = found.bouts(merge_gaps_sec=0.6)
    assert joined.segments_sec.tolist() == [[0, 4], [5, 6], [9, 9.4]]
    assert joined.scores.tolist() == [0.7, 0.6, 0.9]  # the higher one of two
    assert found.bouts(merge_gaps_sec=0.5).segments_sec.tolist() == found.segments_sec.tolist()
    assert found.bouts(merge_gaps_sec=1.1).segments_sec.tolist() == [[0, 6], [9, 9.4]]
    # Short ones are dropped when gaps are closed: 5..6 would be too short alone.
    long = found.bouts(merge_gaps_sec=1.1, min_length_sec=1.5)
    assert long.segments_sec.tolist() == [[0, 6]]
    assert found.bouts(min_length_sec=1).segments_sec.tolist() == [[0, 2], [2.5, 4], [5, 6]]
    for name in ("merge_gaps_sec", "min_length_sec"):
        with pytest.raises(UserError, match=f"{name} must be 0 or more seconds, but is -1"):
            found.bouts(**{name: -1})


def test_thresholds_of_every_kind():
    found = Detections([[0, 1], [2, 3], [4, 5]], [0.5, 0.4, 0.3], [0, 1, 0], ("run", "jump"))
    assert found.bouts(0.4).segments_sec[:, 0].tolist() == [0, 2]
    by_class = {"run": 0.3, "jump": 0.45}
    for threshold in (by_class, {0: 0.3, 1: 0.45}, Thresholds(0.3, [None, 0.45])):
        assert found.bouts(threshold).segments_sec[:, 0].tolist() == [0, 4]
        assert found.filter(min_score=threshold).scores.tolist() == [0.5, 0.3]
    with pytest.raises(UserError, match="none for class 'jump'; name every class"):
        found.bouts({"run": 0.3})
    with pytest.raises(UserError, match="no class named 'jmp'; did you mean 'jump'"):
        found.bouts({"run": 0.3, "jmp": 0.3})
    with pytest.raises(UserError, match="A score threshold must be a finite number"):
        found.bouts("0.3")
    without_names = Detections([[0, 1], [2, 3]], [0.5, 0.4], [0, 4])
    assert len(without_names.bouts({0: 0.6, 4: 0.3})) == 1
    with pytest.raises(UserError, match="none for class 'id 4'"):
        without_names.bouts({0: 0.6})


@pytest.mark.parametrize("seed", range(20))
def test_what_holds_for_all_bouts(seed):
    rng = np.random.default_rng(seed)
    count = 200
    starts = rng.uniform(0, 50, count).astype(np.float32)
    segments = np.stack([starts, starts + rng.exponential(2, count).astype(np.float32)], axis=1)
    scores = rng.uniform(0, 1, count).astype(np.float32)
    found = Detections(segments, scores, rng.integers(0, 3, count), ("a", "b", "c"))
    bouts = found.bouts(0.3, merge_gaps_sec=0.2, min_length_sec=0.5)
    assert bouts.segments_sec.dtype == bouts.scores.dtype == np.float32
    assert len(bouts) and (np.diff(bouts.segments_sec[:, 0]) >= 0).all()
    assert bouts.scores.min() >= 0.3
    lengths = np.diff(bouts.segments_sec)
    assert lengths.min() >= 0.5 - 1e-5
    for label in range(3):
        mine = bouts.filter(labels=label).segments_sec
        gaps = mine[1:, 0] - mine[:-1, 1]
        assert gaps.min(initial=1) >= 0.2 - 1e-5
        # The best detection of a class is whole in one of its bouts, if it is long enough.
        best = found.filter(labels=label).top_k(1).segments_sec[0]
        if best[1] - best[0] >= 0.5:
            assert ((mine[:, 0] <= best[0]) & (mine[:, 1] >= best[1])).any()
    again = bouts.bouts(0.3, merge_gaps_sec=0.2, min_length_sec=0.5)
    np.testing.assert_array_equal(again.segments_sec, bouts.segments_sec)
    # The order of the detections does not matter, nor do other classes.
    shuffled = found[rng.permutation(count)].bouts(0.3, 0.2, 0.5)
    np.testing.assert_array_equal(shuffled.segments_sec, bouts.segments_sec)
    alone = found.filter(labels="b").bouts(0.3, 0.2, 0.5).segments_sec
    np.testing.assert_array_equal(alone, bouts.filter(labels="b").segments_sec)


def test_counts_and_table(tmp_path):
    names = ("run", "jump")
    bouts = {
        "a": Detections([[0, 1.5], [2, 4]], [0.9, 0.8], [0, 0], names),
        "b": Detections([[1, 2], [3, 3.25]], [0.9, 0.8], [0, 1], names),
        "c": Detections(np.zeros((0, 2)), [], [], names),
    }
    rows = count_bouts(bouts)
    assert [tuple(row.values()) for row in rows] == [
        ("a", "run", 2, 3.5), ("a", "jump", 0, 0.0), ("b", "run", 1, 1.0), ("b", "jump", 1, 0.25),
        ("c", "run", 0, 0.0), ("c", "jump", 0, 0.0),
    ]  # fmt: skip
    assert bout_table(rows).splitlines() == [
        "video       class  bouts  seconds",
        "a           run        2     3.50",
        "b           run        1     1.00",
        "b           jump       1     0.25",
        "all videos  run        3     4.50",
        "all videos  jump       1     0.25",
    ]
    save_bout_counts(tmp_path / "counts.csv", rows)
    lines = (tmp_path / "counts.csv").read_text().splitlines()
    assert lines[:3] == ["video,label,bouts,seconds", "a,run,2,3.5", "a,jump,0,0.0"]
    # Without names, the classes that occur anywhere.
    ids = {"a": Detections([[0, 1]], [0.9], [3]), "b": Detections(np.zeros((0, 2)), [], [])}
    assert [(row["label"], row["bouts"]) for row in count_bouts(ids)] == [
        ("class_3", 1), ("class_3", 0),
    ]  # fmt: skip


def test_bouts_are_saved_like_detections(tmp_path):
    found = of_one_class((0, 4, 0.9), (0, 5, 0.8), (7, 8, 0.7)).bouts(0.5)
    found.save(tmp_path / "bouts.csv", "v")
    again = load_detections(tmp_path / "bouts.csv", ("run",))["v"]
    assert again.segments_sec.tolist() == [[0, 4], [7, 8]]


def test_examples():
    for module in (bouts, detections):
        ran = doctest.testmod(module)
        assert ran.attempted and not ran.failed
