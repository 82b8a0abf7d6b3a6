"""False negatives and normalized mAP by length and the like: by hand, and what must hold."""

import json

import numpy as np
import pytest

from helpers.crowded_videos import random_case, video
from keras_actionformer import Detections, UserError, analyze

TRUTH = [
    video("a", [[0, 2], [10, 15]], [0, 0], 100),
    video("b", [[0, 10], [20, 40]], [0, 1], 50),
    video("c", [[0, 2]], [0]),  # of unknown duration, and missed
]
FOUND = {
    "a": Detections([[0, 2], [10, 15]], [0.9, 0.6], [0, 0]),
    # The second is wrong.
    "b": Detections([[0, 10], [30, 35], [20, 40]], [0.8, 0.7, 0.5], [0, 0, 1]),
}


def characteristics(*args, **options):
    result = analyze(*args, **options).sensitivity
    return result, {one.name: one for one in result.characteristics}


def test_by_hand():
    result, by = characteristics(TRUTH, FOUND)
    assert (result.num_instances, result.num_missed, result.miss_rate) == (5, 1, 1 / 5)

    # 2, 5, 10, 20 and 2 s long.
    length = by["length"]
    assert length.bins == ("XS", "S", "M", "L", "XL")
    assert length.num_instances.tolist() == [2, 1, 1, 0, 1]
    assert length.num_missed.tolist() == [1, 0, 0, 0, 0]
    np.testing.assert_array_equal(length.miss_rate, [1 / 2, 0, 0, np.nan, 0])
    # Five instances of two classes: normalized precision counts as if each class had 2.5. Of two
    # short ones one is found first; of S the mistake comes before: 2.5 / (2.5 + 1).
    np.testing.assert_allclose(length.mean_ap_normalized, [1 / 2, 5 / 7, 1, np.nan, 1])
    # All runs: hit, hit, miss, hit of four; the last at 3 * 2.5 / 4 right and 1 wrong.
    last = 1.875 / 2.875
    assert result.mean_ap_normalized == pytest.approx(((1 + 1 + last) / 4 + 1) / 2)
    np.testing.assert_allclose(
        result.relative(length)[0], (1 / 2) / result.mean_ap_normalized, rtol=1e-12
    )

    # 0.02 (the upper edge is in a bin), 0.05, 0.2 and 0.4 of their videos.
    coverage = by["coverage"]
    assert coverage.num_instances.tolist() == [1, 0, 1, 0, 2]
    assert coverage.num_missed.sum() == 0
    np.testing.assert_allclose(coverage.mean_ap_normalized[[0, 2, 4]], [1, 5 / 7, 1])

    # Alone in its class and video: the runs of b and c and the jump; two runs in a.
    instances = by["instances"]
    assert instances.bins == ("XS", "S", "M", "L")
    assert instances.num_instances.tolist() == [3, 2, 0, 0]
    assert instances.num_missed.tolist() == [1, 0, 0, 0]
    np.testing.assert_allclose(
        instances.mean_ap_normalized[:2],
        [(1 / 2 + 1) / 2, (1 + 2.5 / (2.5 + 1)) / 2],
    )


@pytest.mark.parametrize("mistakes, missed", [(18, 0), (19, 1)])
def test_what_nobody_would_look_at_is_missed(mistakes, missed):
    # Precision is 1 / 19 when it is found, or 1 / 20: no more than 5 %.
    truth = [video("a", [[0, 10]], [0])]
    segments = [*([100 + 20 * k, 110 + 20 * k] for k in range(mistakes)), [0, 10]]
    found = {"a": Detections(segments, np.linspace(0.9, 0.1, len(segments)), [0] * len(segments))}
    assert analyze(truth, found).sensitivity.num_missed == missed


def test_precision_of_a_class_does_not_see_the_class_before():
    # 30 mistakes of class 0 come first in the columns, and have nothing to do with class 1.
    truth = [video("a", [[0, 10], [0, 10]], [0, 1])]
    mistakes = [[100 + 20 * k, 110 + 20 * k] for k in range(30)]
    found = {"a": Detections([*mistakes, [0, 10]], [0.9] * 31, [0] * 30 + [1])}
    assert analyze(truth, found).sensitivity.num_missed == 1


def test_other_edges():
    lengths = np.arange(1, 11)
    truth = [video("a", [[20 * k, 20 * k + k] for k in lengths], [0] * 10, 40)]
    _, by = characteristics(truth, {}, edges="data")
    assert by["length"].num_instances.tolist() == [2] * 5
    assert by["length"].edges.tolist() == [0, 2, 4, 6, 8, 10]
    # All have ten in their video: there is one bin.
    assert by["instances"].num_instances.tolist() == [10] and by["instances"].bins == ("XS",)
    _, by = characteristics(truth, {}, edges="activitynet")
    assert by["length"].num_instances.tolist() == [10, 0, 0, 0, 0]
    assert by["coverage"].num_instances.tolist() == [8, 2, 0, 0, 0]  # to 8 s, and 9 and 10 s
    with pytest.raises(UserError, match="edges must be 'thumos14', 'activitynet' or 'data'"):
        analyze(truth, {}, edges="thumos")


def test_an_instance_beyond_its_video_covers_all_of_it():
    _, by = characteristics([video("a", [[0, 50]], [0], 40)], {})
    assert by["coverage"].num_instances.tolist() == [0, 0, 0, 0, 1]


@pytest.mark.parametrize("edges", ["thumos14", "data"])
def test_what_must_hold(edges):
    truth, found = random_case(1)
    result, by = characteristics(truth, found, edges=edges)
    assert set(by) == {"coverage", "length", "instances"}
    for one in by.values():
        assert one.num_instances.sum() == result.num_instances
        assert one.num_missed.sum() == result.num_missed
    # One bin of all instances is all of them.
    single = by["instances"]
    filled = single.num_instances == result.num_instances
    np.testing.assert_allclose(single.mean_ap_normalized[filled], result.mean_ap_normalized)


def test_forms():
    result = analyze(TRUTH, FOUND).sensitivity
    lines = [line.split() for line in str(result).splitlines()]
    assert ["length", "XS", "0", "3", "2", "50.0", "50.00", "0.60"] in lines
    assert ["XL", "18", "inf", "1", "0.0", "100.00", "1.20"] in lines
    assert ["L", "12", "18", "0", "-", "-", "-"] in lines
    assert ["all", "5", "20.0", "83.15", "1.00"] in lines
    content = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    length = content["characteristics"]["length"]
    assert length["edges"] == [0, 3, 6, 12, 18, None] and length["miss_rate"][3] is None
    assert "coverage" not in analyze(TRUTH[2:], {}).sensitivity.to_dict()["characteristics"]


def test_to_pandas():
    pytest.importorskip("pandas")
    frame = analyze(TRUTH, FOUND).sensitivity.to_pandas()
    assert len(frame) == 5 + 5 + 4 and frame["num_missed"].sum() == 0 + 1 + 1
