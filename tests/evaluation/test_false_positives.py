"""Kinds of false positives: each by hand, and what must hold of any detections."""

import json

import numpy as np
import pytest

from helpers.crowded_videos import random_case, video
from keras_actionformer import Detections, analyze, evaluate
from keras_actionformer.evaluation.average_precision import average_precision
from keras_actionformer.evaluation.columns import join_columns
from keras_actionformer.evaluation.false_positives import KINDS, detection_kinds

NAMES = ("run", "jump")
TRUTH = [
    video(
        "a",
        [[0, 10], [20, 30], [40, 50], [60, 70], [100, 110], [120, 130]],
        [0, 0, 1, 1, 1, 1],
    )
]
FOUND = {
    "a": Detections(
        [
            [0, 10],  # finds the first run
            [0, 9],  # tIoU 0.9 with it, which is taken: double detection
            [40, 50],  # a jump: wrong label
            [20, 24],  # 4 s of the 10 of the second run: localization
            [58, 62],  # 2 s of 12 in common with a jump, 0.17: confusion
            [29.5, 35],  # 0.5 s of 15 in common with a run, 0.03: background
            [20, 30],  # finds the second run
            [40, 50],  # finds the first jump
        ],
        [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.9],
        [0, 0, 0, 0, 0, 0, 0, 1],
        NAMES,
    ),
    "b": Detections([[0, 10]], [0.2], [1], NAMES),  # of no known video: background
}
KIND_OF_RUNS = [0, 1, 2, 3, 4, 5, 0]


def test_each_kind_by_hand():
    columns = join_columns(TRUTH, FOUND, 0.3)
    assert detection_kinds(columns, 0.5).tolist() == [*KIND_OF_RUNS, 0, 5]
    # At 0.4 the fourth finds the second run, so that the last has nothing left to find.
    assert detection_kinds(columns, 0.4)[:7].tolist() == [0, 1, 2, 0, 4, 5, 1]
    # At 0.95 the second is too short, and no longer a repetition.
    assert detection_kinds(columns, 0.95)[:7].tolist() == [0, 3, 2, 3, 4, 5, 0]


def test_slices_of_g_by_hand():
    profile = analyze(TRUTH, FOUND).false_positives
    assert profile.class_names == NAMES and profile.ground_truth_per_class.tolist() == [2, 4]
    # G is 2 for runs: by twos. It is 4 for jumps: both detections are among the first G.
    expected = np.zeros((2, 10, 6), int)
    for place, kind in enumerate(KIND_OF_RUNS):
        expected[0, place // 2, kind] += 1
    expected[1, 0, [0, 5]] = 1
    np.testing.assert_array_equal(profile.counts, expected)
    np.testing.assert_allclose(profile.shares[0], np.array([2, 1, 0, 0, 0, 1]) / 4)
    np.testing.assert_allclose(profile.cumulative_shares[9], np.array([3, 1, 1, 1, 1, 2]) / 9)
    assert np.isnan(profile.shares[4:]).all() and not np.isnan(profile.cumulative_shares).any()


def test_gains_by_hand():
    profile = analyze(TRUTH, FOUND, tiou_thresholds=(0.5,)).false_positives
    # Runs: hits at places 1 and 7, precision 1 and 2/7. Jumps: the first of four is found.
    at = profile.at_tiou
    assert at.mean_ap == pytest.approx(((1 + 2 / 7) / 2 + 1 / 4) / 2)
    # Without any one kind the second run is found at place 6; jumps lose what came later anyway.
    np.testing.assert_allclose(at.gains, (2 / 6 - 2 / 7) / 2 / 2)
    # Six instances of two classes: a hit of the 2 runs counts 3/2, so that 3 of 3 + 5 are right.
    assert at.mean_ap_normalized == pytest.approx(((1 + 3 / 8) / 2 + 1 / 4) / 2)
    np.testing.assert_allclose(at.gains_normalized, (3 / 7 - 3 / 8) / 2 / 2)
    assert profile.average.mean_ap == at.mean_ap
    np.testing.assert_array_equal(profile.average.gains, at.gains)


def test_gains_on_average_over_thresholds():
    alone = [analyze(TRUTH, FOUND, tiou_thresholds=(t,)).false_positives for t in (0.4, 0.95)]
    both = analyze(TRUTH, FOUND, tiou_thresholds=(0.4, 0.95)).false_positives
    assert both.at_tiou.mean_ap == alone[0].at_tiou.mean_ap  # that is of `tiou`
    expected = np.mean([one.average.gains_normalized for one in alone], axis=0)
    np.testing.assert_allclose(both.average.gains_normalized, expected)
    assert both.average.mean_ap == pytest.approx(np.mean([x.average.mean_ap for x in alone]))


def test_of_equal_overlaps_the_own_class_counts():
    # A dive from a cliff is annotated as both; the second detection repeats the first in its class.
    truth = [video("a", [[0, 10], [0, 10]], [1, 0])]
    for order in ([0, 1], [1, 0]):
        truth[0] = video("a", [[0, 10], [0, 10]], order)
        found = {"a": Detections([[0, 10], [0, 10], [0, 3]], [0.9, 0.8, 0.7], [0, 0, 0])}
        assert detection_kinds(join_columns(truth, found, 0.5), 0.5).tolist() == [0, 1, 3]


def test_only_ten_times_g_are_looked_at():
    truth = [video("a", [[0, 10]], [0])]
    misses = [[100 + 20 * k, 110 + 20 * k] for k in range(12)]
    found = {"a": Detections([*misses, [0, 10]], np.linspace(0.9, 0.1, 13), [0] * 13)}
    profile = analyze(truth, found).false_positives
    assert profile.counts.sum() == 10 and profile.at_tiou.mean_ap == 0
    assert evaluate(truth, found).average_mean_ap == pytest.approx(1 / 13)


# --- what must hold of any detections ------------------------------------------------------------


def slow_kinds(truth, found, tiou):
    """{kind: number} over all detections of annotated classes, visited one by one."""

    def overlap(one, other):
        common = max(0, min(one[1], other[1]) - max(one[0], other[0]))
        return common / (one[1] - one[0] + other[1] - other[0] - common)

    rows = sorted(
        (
            (score, one.video_id, segment, label)
            for one in truth
            for segment, score, label in zip(
                found[one.video_id].segments_sec,
                found[one.video_id].scores,
                found[one.video_id].labels,
            )
        ),
        key=lambda row: -row[0],
    )
    instances = {one.video_id: list(zip(one.segments_sec, one.labels)) for one in truth}
    counts, taken = dict.fromkeys(KINDS, 0), set()
    for _, name, segment, label in rows:
        if label == 3:
            continue
        tious = [overlap(segment, other) for other, _ in instances[name]]
        free = [
            (t, i)
            for i, t in enumerate(tious)
            if t >= tiou and instances[name][i][1] == label and (name, i) not in taken
        ]
        best = int(np.argmax(tious)) if tious else None
        if free:
            taken.add((name, max(free)[1]))
            kind = "true positive"
        elif best is None or tious[best] < 0.1:
            kind = "background"
        elif instances[name][best][1] == label:
            kind = "double detection" if tious[best] >= tiou else "localization"
        else:
            kind = "wrong label" if tious[best] >= tiou else "confusion"
        counts[kind] += 1
    return counts


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("tiou", [0.3, 0.5, 0.8])
def test_equals_the_slow_twin(seed, tiou):
    truth, found = random_case(seed)
    columns = join_columns(truth, found, tiou)
    kinds = detection_kinds(columns, tiou)[columns.classes < 3]
    counts = dict(zip(KINDS, np.bincount(kinds, minlength=6).tolist()))
    assert counts == slow_kinds(truth, found, tiou)


@pytest.mark.parametrize("seed", range(3))
def test_shares_and_gains(seed):
    truth, found = random_case(seed)
    profile = analyze(truth, found).false_positives
    sums = profile.shares.sum(axis=1)
    assert np.allclose(sums[~np.isnan(sums)], 1)
    np.testing.assert_allclose(profile.cumulative_shares.sum(axis=1), 1)
    for gains in (profile.at_tiou, profile.average):
        assert (gains.gains >= 0).all() and (gains.gains_normalized >= 0).all()
    # Fewer than 10G detections a class: nothing is cut off, and the mAP is that of `evaluate`.
    if (profile.counts.sum(axis=(1, 2)) < 10 * profile.ground_truth_per_class).all():
        assert profile.average.mean_ap == pytest.approx(evaluate(truth, found).average_mean_ap)


def test_without_all_kinds_recall_alone_is_left():
    # The mAP of the true positives alone is how many are found, whatever the norm.
    for norm in (None, 7.0):
        assert average_precision(np.ones(3, bool), 4, norm) == 3 / 4


def test_order_of_videos_and_repeats_change_nothing():
    truth, found = random_case(0)
    expected = analyze(truth, found).false_positives.to_dict()
    turned = dict(reversed(found.items()))
    assert analyze(truth[::-1], turned).false_positives.to_dict() == expected
    # An instance that is annotated twice counts once.
    first = truth[0]
    twice = video(
        first.video_id,
        np.concatenate([first.segments_sec, first.segments_sec[:3]]),
        np.concatenate([first.labels, first.labels[:3]]),
    )
    assert analyze([twice, *truth[1:]], found).false_positives.to_dict() == expected


def test_no_detections():
    profile = analyze(TRUTH, {}).false_positives
    assert not profile.counts.any() and profile.at_tiou.mean_ap == 0
    assert "true positive" in str(profile)
    json.dumps(profile.to_dict(), allow_nan=False)


def test_forms():
    profile = analyze(TRUTH, FOUND).false_positives
    lines = [line.split() for line in str(profile).splitlines()]
    assert ["true", "positive", "50.0", "0.0", "0.0", "100.0", *"------", "33.3"] in lines
    assert ["number", "4", "2", "2", "1", "0", "0", "0", "0", "0", "0", "9"] in lines
    # On average: three thresholds as above; at 0.3 and 0.4 the second run is found at place 4 and
    # without the wrong label at 3, so that plain precision there rises from 2/4 to 2/3, and
    # normalized precision from 3/5 to 3/4.
    assert ["wrong", "label", "+1.34", "+1.19", "+2.30", "+2.38"] in lines
    content = json.loads(json.dumps(profile.to_dict(), allow_nan=False))
    assert content["kinds"] == list(KINDS)
    assert content["shares"][0] == [0.5, 0.25, 0, 0, 0, 0.25] and content["shares"][9][0] is None
    assert content["classes"][1]["num_ground_truth"] == 4


def test_to_pandas():
    pytest.importorskip("pandas")
    frame = analyze(TRUTH, FOUND).false_positives.to_pandas()
    first = frame[(frame.multiple == 1) & (frame.kind == "true positive")]
    assert first["label"].tolist() == ["run", "jump"] and first["count"].tolist() == [1, 1]
