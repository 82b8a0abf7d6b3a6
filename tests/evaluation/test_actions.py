"""Scores of actions as verbs, nouns and actions: by hand, and against the challenge's own way."""

import numpy as np
import pytest

from keras_actionformer import Detections, UserError, Video, evaluate_actions

NAMES = ("0,3", "0,7", "1,3")


def video(video_id, segments, labels):
    segments = np.array(segments, np.float64).reshape(-1, 2)
    return Video(video_id, "validation", 60.0, None, segments, np.array(labels, np.int64))


def test_by_hand():
    # Verb 0 with noun 3 at 0-10 s; verb 1 with noun 3 at 20-30 s.
    truth = [video("a", [[0, 10], [20, 30]], [0, 2])]
    # The best finds the first with another noun, the next the second, the last the first as it is.
    found = {"a": Detections([[0, 10], [20, 30], [0, 10]], [0.9, 0.8, 0.7], [1, 2, 0], NAMES)}
    levels = evaluate_actions(truth, found, NAMES)
    assert [r.class_names for r in levels.values()] == [("0", "1"), ("3",), ("0,3", "1,3")]
    # Verbs: right, right, and a second one of the same action, after all is found.
    assert levels["verb"].average_mean_ap == pytest.approx(1.0)
    # Nouns: noun 3 is found by the second and by the third, before which nothing of it is wrong.
    assert levels["noun"].average_mean_ap == pytest.approx(1.0)
    assert levels["action"].average_mean_ap == pytest.approx(1.0)
    # Of the scores the other way round, action (0, 3) still has one detection alone; verb 0 has a
    # right one first, too. Only where the noun is wrong and the verb, too, does AP fall.
    wrong = {"a": Detections([[0, 10], [20, 30]], [0.9, 0.8], [2, 2], NAMES)}
    levels = evaluate_actions(truth, wrong, NAMES)
    # Verb 1: the first is wrong, the second right: precision 1/2. Verb 0 is missed.
    assert levels["verb"].average_mean_ap == pytest.approx((0 + 0.5) / 2)
    assert levels["noun"].average_mean_ap == pytest.approx(1.0)  # both are of noun 3
    assert levels["action"].average_mean_ap == pytest.approx((0 + 0.5) / 2)


def test_what_happens_twice_at_once_counts_twice():
    truth = [video("a", [[0, 10], [0, 10]], [0, 1])]  # verb 0 with nouns 3 and 7
    found = {"a": Detections([[0, 10], [0, 10]], [0.9, 0.8], [0, 1], NAMES)}
    levels = evaluate_actions(truth, found, NAMES)
    assert levels["verb"].num_ground_truth == 2 and levels["verb"].average_mean_ap == 1.0
    once = {"a": found["a"][:1]}
    assert evaluate_actions(truth, once, NAMES)["verb"].average_mean_ap == 0.5


def mean_ap(truth, found, tiou):
    """mAP as the challenge computes it, written down from what it does, one row after the other.

    Args:
      truth: [(video, start, end, class)].
      found: [(video, start, end, class, score)], scores all different.
    """
    aps = []
    for name in sorted({row[3] for row in truth}):
        instances = [row for row in truth if row[3] == name]
        taken, hits = set(), []
        for video_id, start, end, *_ in sorted(
            (row for row in found if row[3] == name), key=lambda row: -row[4]
        ):
            overlaps = []
            for i, (other, s, e, _) in enumerate(instances):
                if other == video_id:
                    inside = max(min(e, end) - max(s, start), 0)
                    overlaps.append((inside / (e - s + end - start - inside), i))
            free = [i for o, i in sorted(overlaps, reverse=True) if o >= tiou and i not in taken]
            taken.update(free[:1])
            hits.append(bool(free))
        right = np.cumsum(hits)
        recall = right / len(instances)
        precision = right / np.arange(1, len(hits) + 1)
        area, before = 0.0, 0.0
        for i, value in enumerate(recall):
            area += (value - before) * max(precision[i:])
            before = value
        aps.append(area)
    return np.mean(aps)


@pytest.mark.parametrize("seed", range(4))
def test_against_the_challenges_own_way(seed):
    rng = np.random.default_rng(seed)
    names = tuple(f"{verb},{noun}" for verb in (0, 4, 96) for noun in (1, 299))
    truth, found, rows, found_rows = [], {}, [], []
    for i in range(5):
        count, many = int(rng.integers(1, 7)), int(rng.integers(0, 30))
        starts = rng.uniform(0, 40, count).round(2)
        segments = np.stack([starts, starts + rng.uniform(1, 9, count).round(2)], axis=1)
        segments = np.repeat(segments, 2, axis=0)  # two at once
        labels = rng.integers(6, size=2 * count)
        truth.append(video(f"v{i}", segments, labels))
        near = segments[rng.integers(2 * count, size=many)] + rng.normal(0, 1.5, (many, 2))
        near[:, 1] = np.maximum(near[:, 1], near[:, 0] + 0.1)
        guesses, scores = rng.integers(6, size=many), rng.random(many)
        found[f"v{i}"] = Detections(near, scores, guesses, names)
        rows += [(f"v{i}", *times, k) for times, k in zip(segments.tolist(), labels.tolist())]
        found_rows += [
            (f"v{i}", *times, k, score)
            for times, k, score in zip(near.tolist(), guesses.tolist(), scores.tolist())
        ]
    levels = evaluate_actions(truth, found, names)
    of = {
        "verb": lambda k: int(names[k].split(",")[0]),
        "noun": lambda k: int(names[k].split(",")[1]),
        "action": lambda k: tuple(map(int, names[k].split(","))),
    }
    for level, result in levels.items():
        part = of[level]
        ours = [(*row[:3], part(row[3])) for row in rows]
        theirs = [(*row[:3], part(row[3]), row[4]) for row in found_rows]
        expected = [mean_ap(ours, theirs, tiou) for tiou in (0.1, 0.2, 0.3, 0.4, 0.5)]
        np.testing.assert_allclose(result.mean_ap, expected, rtol=1e-12)


def test_videos_that_are_written_otherwise_are_told():
    truth = [video("P01_11", [[0, 10]], [0])]
    found = {"P01_11.MP4": Detections([[0, 10]], [0.9], [0], NAMES)}
    with pytest.raises(UserError, match="names of videos in another way .* 'P01_11.MP4' for 'P01"):
        evaluate_actions(truth, found, NAMES)


def test_classes_that_are_no_pairs():
    truth = [video("a", [[0, 10]], [0])]
    found = Detections([[0, 10]], [0.9], [0], ("take plate",))
    with pytest.raises(UserError, match="The detections must call actions.*'take plate'"):
        evaluate_actions(truth, {"a": found}, NAMES)
    with pytest.raises(UserError, match="The ground truth must call actions"):
        evaluate_actions(truth, {}, ("take plate",))
    with pytest.raises(UserError, match="The detections must have class names"):
        evaluate_actions(truth, {"a": Detections([[0, 10]], [0.9], [0])}, NAMES)
