"""Label assignment against the reference and against a case worked by hand."""

import numpy as np
import pytest

from helpers.golden_files import cases, load
from helpers.models import to_numpy
from keras_actionformer.network.targets import assign_targets


def _sets():
    for case in cases("b"):
        for name in load(case.values[0])["meta_json"]["sets"]:
            yield pytest.param(case.values[0], name, id=f"{case.id}-{name}")


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("path, name", list(_sets()))
def test_targets_are_the_references(path, name, padding):
    golden = load(path)
    case = golden["meta_json"]["sets"][name]
    segments, labels = golden[f"{name}/gt_segments"], golden[f"{name}/gt_labels"]
    segments = np.concatenate([segments.reshape(-1, 2), np.zeros((padding, 2), "float32")])
    labels = np.concatenate([labels, np.full(padding, -1, labels.dtype)])
    expected_cls, expected_reg = golden[f"{name}/cls_targets"], golden[f"{name}/reg_targets"]
    if not len(labels):  # a batch always has room for one action
        segments, labels = np.zeros((1, 2), "float32"), np.full(1, -1)
    cls_targets, reg_targets = assign_targets(
        golden[f"{name}/points"],
        segments[None].astype("float32"),
        labels[None].astype("int32"),
        expected_cls.shape[1],
        case["center_sample"],
        case["radius"],
    )
    np.testing.assert_array_equal(to_numpy(cls_targets)[0], expected_cls)
    positive = expected_cls.any(axis=1)
    np.testing.assert_allclose(
        to_numpy(reg_targets)[0][positive], expected_reg[positive], rtol=0, atol=1e-5
    )


POINTS = np.array(
    [[t, 0, 4, 1] for t in range(8)] + [[t, 4, 100, 2] for t in range(0, 8, 2)], "float32"
)


def _assign(segments, labels, center_sample="none", point_classes="shortest"):
    segments, labels = np.array([segments], "float32"), np.array([labels], "int32")
    cls_targets, reg_targets = assign_targets(
        POINTS, segments, labels, 2, center_sample, 0.6, point_classes
    )
    return to_numpy(cls_targets)[0], to_numpy(reg_targets)[0]


def test_range_decides_the_level():
    # [1, 4]: at t = 2 and 3 the farther end is 2 away, within (0, 4) of level 0, strictly
    # inside. Level 1 needs 4 or more: none. [0.5, 7]: level 0 reaches t = 3 and 4 (4 and 3.5
    # away); level 1 has t = 2 (5 away), 4 is 3.5 away, 6 is 5.5 away.
    cls_targets, reg_targets = _assign([[1, 4], [0.5, 7]], [0, 1])
    assert np.flatnonzero(cls_targets[:, 0]).tolist() == [2, 3]
    assert np.flatnonzero(cls_targets[:, 1]).tolist() == [4, 9, 11]
    np.testing.assert_allclose(reg_targets[2], [1, 2])
    np.testing.assert_allclose(reg_targets[9], [0.75, 2.5])  # (1.5, 5) in strides of 2


def test_center_sampling_keeps_points_near_the_center():
    # Center 2.5, reach 0.6 strides: (1.9, 3.1) at level 0. t = 2 and 3 stay.
    cls_targets, _ = _assign([[0.9, 4.1]], [0], center_sample="radius")
    assert np.flatnonzero(cls_targets[:, 0]).tolist() == [2, 3]


def test_shortest_wins_and_ties_share():
    cls_targets, reg_targets = _assign([[1, 4], [1.5, 3.5]], [0, 1])
    assert cls_targets[2].tolist() == [0, 1]
    np.testing.assert_allclose(reg_targets[2], [0.5, 1.5])
    cls_targets, reg_targets = _assign([[1, 4], [1, 4.0005]], [0, 1])
    assert cls_targets[2].tolist() == [1, 1]
    np.testing.assert_allclose(reg_targets[2], [1, 2])


def test_a_point_may_learn_the_classes_of_all_its_actions():
    cls_targets, reg_targets = _assign([[1, 4], [1.5, 3.5]], [0, 1], point_classes="all")
    assert cls_targets[2].tolist() == [1, 1]
    np.testing.assert_allclose(reg_targets[2], [0.5, 1.5])  # of the shortest all the same


def test_no_action_gives_no_positive():
    cls_targets, _ = _assign([[0, 0], [0, 0]], [-1, -1])
    assert not cls_targets.any()
