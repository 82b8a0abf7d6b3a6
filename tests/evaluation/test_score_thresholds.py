"""Precision, recall and F1 above a score, and the best score: by hand, against slow twins."""

import doctest
import json

import numpy as np
import pytest

from keras_actionformer import Detections, Thresholds, UserError, Video, evaluate
from keras_actionformer.evaluation import score_thresholds
from keras_actionformer.evaluation.score_thresholds import (
    MIN_INSTANCES,
    best_threshold,
    recommend_thresholds,
    score_above,
    tune_thresholds,
)

NAMES = ("run", "jump", "fall")


def video(video_id, segments_sec, labels):
    segments_sec = np.array(segments_sec, np.float64).reshape(-1, 2)
    return Video(video_id, "test", None, None, segments_sec, np.array(labels, np.int64))


TRUTH = [
    video("a", [[0, 10], [20, 30], [40, 50]], [0, 0, 1]),
    video("b", [[0, 10]], [0]),
]
FOUND = {
    "a": Detections(
        # Right, the same once more, right with a tIoU of 0.5, too short, of a class not annotated.
        [[0, 10], [1, 10], [20, 25], [40, 44], [60, 70]],
        [0.9, 0.8, 0.7, 0.6, 0.5],
        [0, 0, 0, 1, 2],
        NAMES,
    ),
    "b": Detections([[0, 10]], [0.3], [0], NAMES),
}


def test_counts_by_hand():
    scores = score_above(TRUTH, FOUND, 0.4)
    assert scores.class_names == NAMES and scores.class_ids.tolist() == [0, 1, 2]
    assert scores.ground_truth.tolist() == [3, 1, 0]
    assert scores.found.tolist() == [3, 1, 1]
    assert scores.right.tolist() == [2, 0, 0]
    assert scores.precision == 2 / 5 and scores.recall == 2 / 4
    assert scores.f1 == pytest.approx(4 / 9)
    # All of them: the one in the other video is right, too.
    assert score_above(TRUTH, FOUND, 0.3).right.tolist() == [3, 0, 0]
    # With a threshold for each class.
    own = score_above(TRUTH, FOUND, Thresholds(0.65, [0.75, None, 0.5]))
    assert own.found.tolist() == [2, 0, 1] and own.right.tolist() == [1, 0, 0]
    assert own.thresholds.tolist() == [0.75, 0.65, 0.5]
    assert own.is_own.tolist() == [True, False, True]
    # 0.5 of an instance is enough, and a bit more is not.
    assert score_above(TRUTH, FOUND, 0.4, tiou=0.51).right.tolist() == [1, 0, 0]


def test_texts():
    scores = score_above(TRUTH, FOUND, Thresholds(0.65, [0.75, None, 0.5]))
    assert str(scores) == (
        "Scores of 0.5 to 0.75 (by class) or more, tIoU 0.50: precision 33.33, recall 25.00, F1 "
        "28.57:\n1 of 3 detections are right, 1 of 4 instances are found"
    )
    assert str(score_above(TRUTH, FOUND, 0.95)) == (
        "Scores of 0.95 or more, tIoU 0.50: precision -, recall 0.00, F1 0.00:\n0 of 0 detections "
        "are right, 0 of 4 instances are found"
    )
    lines = scores.per_class_table().splitlines()
    assert [line.split() for line in lines[:5]] == [
        ["class", "score", "truth", "found", "right", "precision", "recall", "F1"],
        ["run", "0.75", "3", "2", "1", "50.00", "33.33", "40.00"],
        ["jump", "0.65*", "1", "0", "0", "-", "0.00", "0.00"],
        ["fall", "0.5", "0", "1", "0", "0.00", "-", "0.00"],
        ["all", "4", "3", "1", "33.33", "25.00", "28.57"],
    ]
    assert lines[5].startswith("* The threshold of all classes together: where it was tuned")
    assert "*" not in score_above(TRUTH, FOUND, 0.4).per_class_table()


def test_an_evaluation_has_them_where_asked_for():
    plain, result = evaluate(TRUTH, FOUND), evaluate(TRUTH, FOUND, thresholds=0.4)
    assert str(result) == f"{plain}\n{score_above(TRUTH, FOUND, 0.4)}"
    assert result.per_class_table().startswith(f"{plain.per_class_table()}\n\nclass")
    content = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    above = content.pop("above_thresholds")
    assert content == plain.to_dict()
    assert above["precision"] == 0.4 and above["num_right"] == 2
    assert [one["recall"] for one in above["classes"]] == [2 / 3, 0.0, None]
    other = {"a": Detections([[0, 1]], [0.5], [0], ("jump",))}
    with pytest.raises(UserError, match="call class id 0 'jump', elsewhere it is 'run'"):
        recommend_thresholds(TRUTH, other, 3, class_names=NAMES)


# --- against slow twins --------------------------------------------------------------------------


def random_case(seed, count=300):
    """Crowded segments, many equal scores; what scores higher is right more often."""
    rng = np.random.default_rng(seed)
    truth, found = [], {}
    for name in "abc":
        starts = np.arange(0, 12 * 30, 12) + rng.uniform(0, 2, 30)
        segments = np.stack([starts, starts + rng.uniform(5, 10, 30)], axis=1)
        labels = rng.integers(0, 2, 30)
        truth.append(video(name, segments, labels))
        near = rng.integers(0, 30, count // 3)
        moved = segments[near] + rng.normal(0, 1.5, (count // 3, 2))
        error = abs(moved - segments[near]).max(axis=1)
        scores = np.round(np.clip(0.8 - 0.2 * error + rng.normal(0, 0.1, count // 3), 0, 1), 2)
        found[name] = Detections(np.sort(moved, axis=1), scores, labels[near], ("x", "y"))
    return truth, found


def slow_right(truth, found, label):
    """Which of the detections find something, of a class, visited one by one."""
    rows = []
    for place, one in enumerate(truth):
        mine = found[one.video_id]
        for row, (segment, score) in enumerate(zip(mine.segments_sec, mine.scores)):
            if mine.labels[row] == label:
                rows.append((-score, -place, -row, segment, one.video_id))
    free = {one.video_id: [s for s, x in zip(one.segments_sec, one.labels) if x == label]
            for one in truth}  # fmt: skip
    right = 0
    # Of equal scores the later video and row comes first, as `evaluation` says.
    for *_, segment, name in sorted(rows, key=lambda row: row[:3]):

        def tiou(other):
            shared = min(segment[1], other[1]) - max(segment[0], other[0])
            return shared / (max(segment[1], other[1]) - min(segment[0], other[0]))

        best = max(free[name], key=tiou, default=None)
        if best is not None and tiou(best) >= 0.5:
            right += 1
            free[name] = [s for s in free[name] if s is not best]
    return right


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_slow_twin(seed):
    truth, found = random_case(seed)
    for threshold in (0.0, 0.4, 0.6):
        scores = score_above(truth, found, threshold)
        kept = {name: one.filter(min_score=threshold) for name, one in found.items()}
        assert scores.right.tolist() == [slow_right(truth, kept, label) for label in (0, 1)]
        assert scores.found.sum() == sum(map(len, kept.values()))


@pytest.mark.parametrize("seed", range(10))
def test_no_threshold_is_much_better(seed):
    truth, found = random_case(seed)
    chosen = recommend_thresholds(truth, found, 2)
    f1 = score_above(truth, found, chosen.common).f1
    every = {
        threshold: score_above(truth, found, threshold) for threshold in np.arange(0, 1.01, 0.01)
    }
    best = max(every.values(), key=lambda scores: scores.f1)
    # As `best_threshold` says: by no more than chance.
    assert f1 >= best.f1 - np.sqrt(90) / (best.found.sum() + 90) - 1e-9
    # The same on each side of the middle, and not at its edge: a bit more or less is as good.
    for nearby in (chosen.common - 0.02, chosen.common + 0.02):
        assert score_above(truth, found, nearby).f1 >= best.f1 - 0.1
    # For each class by itself as for a data set of this class alone.
    for label in (0, 1):
        alone = [video(one.video_id, one.segments_sec[one.labels == label],
                       one.labels[one.labels == label]) for one in truth]  # fmt: skip
        mine = {name: one.filter(labels=label) for name, one in found.items()}
        assert recommend_thresholds(alone, mine, 2).common == chosen.per_class[label]


def test_order_and_monotone_changes_of_scores():
    truth, found = random_case(0)
    chosen = recommend_thresholds(truth, found, 2)
    shuffled = dict(reversed(found.items()))
    assert recommend_thresholds(truth[::-1], shuffled, 2) == chosen
    halved = {name: Detections(one.segments_sec, one.scores / 2, one.labels, one.class_names)
              for name, one in found.items()}  # fmt: skip
    half = recommend_thresholds(truth, halved, 2)
    assert score_above(truth, halved, half.common).found.sum() == pytest.approx(
        score_above(truth, found, chosen.common).found.sum(), abs=3
    )


# --- the threshold of the best F1 ----------------------------------------------------------------


def best(scores, hits, num_ground_truth):
    return best_threshold(np.array(scores), np.array(hits, bool), num_ground_truth)


def test_between_right_and_wrong():
    """20 right ones above 0.7 and 60 wrong ones below 0.2: F1 is 1 between, and may be
    sqrt(20) / 40 = 0.112 lower. With 4 right ones less it is 32 / 36 = 0.889, with 5 less 0.857."""
    scores = [*np.linspace(0.7, 0.89, 20), *[0.2] * 60]
    hits = [True] * 20 + [False] * 60
    assert best(scores, hits, 20) == pytest.approx((0.2 + 0.74) / 2)
    # The order in which they come does not matter.
    order = np.random.default_rng(0).permutation(80)
    assert best(np.array(scores)[order], np.array(hits)[order], 20) == best(scores, hits, 20)


def test_equal_scores_are_found_together():
    """A threshold between equal scores is none: with 0.5 all four are found, right or wrong."""
    assert best([0.9, 0.5, 0.5, 0.5, 0.5], [True, False, False, True, True], 3) == 0.25
    # F1 of 0.9 alone is 2 / 4, that of all 6 / 8.


def test_all_right():
    """Without a wrong one the middle is that of 0 and the highest that loses no more than chance:
    of 16, 3 less give 26 / 29 = 0.897, and 1 - 4 / 32 = 0.875; 4 less give 0.857."""
    scores = np.linspace(0.5, 0.8, 16)  # by 0.02
    assert best(scores, np.ones(16), 16) == pytest.approx(0.28)  # (0 + 0.56) / 2


def test_nothing_right():
    assert best([], [], 3) is None
    assert best([0.5, 0.3], [False, False], 3) is None
    nothing = {"a": Detections([[60, 70]], [0.5], [0])}
    assert recommend_thresholds(TRUTH, nothing, 2) is None
    with pytest.raises(UserError, match="No detection overlaps"):
        tune_thresholds(TRUTH, nothing, 2)


def test_one_instance_and_negative_scores():
    assert best([0.8], [True], 1) == 0.4
    assert -3 < best([-1.0, -3.0], [True, False], 1) <= -1  # such as logits


def test_as_few_digits_as_tell_it():
    digits = best([0.12345, 0.12341, 0.1], [True, False, False], 1)
    assert 0 < digits <= 0.12345 and len(str(digits)) == 4
    assert 0.12341 < score_thresholds._rounded(0.12341, 0.12345) <= 0.12345
    assert score_thresholds._rounded(0.5, np.nextafter(0.5, 1)) == np.nextafter(0.5, 1)


def test_few_instances_take_the_common_threshold():
    """Of class 0 there is one too few; class 2 has no instance, and 3 is not even found."""
    labels = [0] * (MIN_INSTANCES - 1) + [1] * MIN_INSTANCES
    segments = np.arange(len(labels))[:, None] * 10 + np.array([[0, 5]])
    truth = [video("a", segments, labels)]
    scores = np.where(np.array(labels) == 0, 0.5, 0.9)
    wrong = segments[:4] + 5.0
    found = {"a": Detections(np.concatenate([segments, wrong]), [*scores, 0.1, 0.1, 0.1, 0.1],
                             [*labels, 0, 1, 2, 2])}  # fmt: skip
    chosen = recommend_thresholds(truth, found, 4)
    assert chosen.per_class[0] is None and chosen.per_class[2:] == (None, None)
    assert chosen.per_class[1] is not None and 0.1 < chosen.common <= 0.5
    # What the model calls otherwise than the ground truth is wrong, and no class of its own.
    assert recommend_thresholds(truth, found, 2) == Thresholds(chosen.common, chosen.per_class[:2])


def test_example():
    ran = doctest.testmod(score_thresholds)
    assert ran.attempted and not ran.failed
