"""Which class is found as which: by hand, and against precision and recall."""

import json

import numpy as np
import pytest

from helpers.crowded_videos import random_case, video
from keras_actionformer import Detections, Thresholds, analyze
from keras_actionformer.evaluation.score_thresholds import score_above

NAMES = ("run", "jump", "fall")
TRUTH = [video("a", [[0, 10], [20, 30], [40, 50], [60, 70]], [0, 1, 0, 2])]
FOUND = {
    "a": Detections(
        [
            [0, 10],  # a run that is one
            [20, 30],  # a jump that is called a run
            [20, 28],  # and, with a low score, a jump
            [41, 50],  # overlaps more with the second run than
            [40, 45],  # what calls it a run, which comes first all the same
        ],
        [0.9, 0.8, 0.3, 0.7, 0.6],
        [0, 0, 1, 1, 0],
        NAMES,
    ),
    "b": Detections([[0, 5]], [0.9], [2], NAMES),  # where nothing is known to be
}


def test_by_hand():
    matrix = analyze(TRUTH, FOUND, thresholds=0.5).confusion
    assert matrix.names == (*NAMES, "background")
    assert matrix.counts.tolist() == [
        [2, 0, 0, 0],
        [1, 0, 0, 0],
        [0, 0, 0, 1],
        [0, 1, 1, 0],
    ]
    # Two runs, one jump and one fall; a false alarm of a jump is one for each jump.
    assert matrix.shares.tolist() == [[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 1, 1, 0]]
    # From 0.2 on the jump is found as one, and the run that was there is a false alarm.
    matrix = analyze(TRUTH, FOUND, thresholds=Thresholds(0.5, [None, 0.2, None])).confusion
    assert matrix.thresholds.tolist() == [0.5, 0.2, 0.5]
    assert matrix.counts.tolist() == [
        [2, 0, 0, 0],
        [0, 1, 0, 0],
        [0, 0, 0, 1],
        [1, 1, 1, 0],
    ]
    # Half a run is not enough for more: what calls it a jump finds it then.
    matrix = analyze(TRUTH, FOUND, tiou=0.6, thresholds=0.5).confusion
    assert matrix.counts[0].tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("threshold", [0.2, 0.7])
def test_everything_counts_once(seed, threshold):
    truth, found = random_case(seed)
    matrix = analyze(truth, found, thresholds=threshold).confusion
    expected = score_above(truth, found, threshold)
    assert matrix.class_ids.tolist() == expected.class_ids.tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(matrix.counts[:-1].sum(axis=1), expected.ground_truth)
    np.testing.assert_array_equal(matrix.counts[:, :-1].sum(axis=0), expected.found)
    np.testing.assert_array_equal(matrix.counts.diagonal()[:-1], expected.right)
    assert matrix.counts[-1, -1] == 0


def test_forms():
    matrix = analyze(TRUTH, FOUND, thresholds=0.5).confusion
    lines = [line.split() for line in str(matrix).splitlines()]
    assert ["jump", "1", "0", "0", "1", "1", "run", "(1)"] in lines
    assert ["fall", "1", "0", "1", "0", "1"] in lines
    assert ["all", "4", "2", "1", "1", "2"] in lines
    content = json.loads(json.dumps(matrix.to_dict(), allow_nan=False))
    assert content["labels"][-1] == "background" and content["counts"][1] == [1, 0, 0, 0]
    assert "most often" in str(analyze(TRUTH, {}).confusion)


def test_to_pandas():
    pytest.importorskip("pandas")
    frame = analyze(TRUTH, FOUND, thresholds=0.5).confusion.to_pandas()
    assert frame.loc["jump", "run"] == 1 and frame.loc["background", "fall"] == 1
