"""Detections of a sequence that goes on: those of the whole one, each told once and in time."""

import numpy as np
import pytest

from keras_actionformer import ActionFormer, FeatureGrid, PostProcess, UserError, simulate_dataset
from keras_actionformer.detection.live import LiveDetector, longest_steps, settled_after


@pytest.fixture(scope="module")
def sequence(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made_up")
    simulate_dataset(folder, num_train=0, num_test=3)
    return np.concatenate([np.load(path) for path in sorted((folder / "feats").glob("*.npy"))])


@pytest.fixture(scope="module")
def model():
    return ActionFormer.from_preset("simulated")


def rows(found):
    order = np.lexsort((found.segments_sec[:, 0], found.segments_sec[:, 1], found.labels))
    found = found[order]
    return found.labels, np.column_stack([found.segments_sec, found.scores])


def live(detector, feats, pieces, duration_sec=None):
    """What is told at which number of steps: [(steps, `Detections`)]."""
    told, done = [], 0
    for count in pieces:
        told.append((done + count, detector.add(feats[done : done + count])))
        done += count
    assert done == len(feats)
    return [*told, (np.inf, detector.finish(duration_sec))]


def test_as_the_whole_sequence(model, sequence):
    duration_sec = float(model.grid.to_sec(len(sequence)))
    whole = model.detect(sequence, duration_sec=duration_sec, score_threshold=0.1)
    assert len(whole) > 30
    longest_sec = np.diff(whole.segments_sec).max()
    longest = int(longest_sec / model.grid.step_sec) + 1
    detector = LiveDetector(model, model.grid, longest, score_threshold=0.1)
    assert detector.delay == settled_after(model.architecture, longest)
    step = max(len(sequence) // 7, 1)
    pieces = [step] * (len(sequence) // step) + [len(sequence) % step]
    told = live(detector, sequence, pieces, duration_sec)
    found = [one for _, part in told for one in part]
    assert len(found) == len(whole)
    labels, numbers = rows(whole)
    ours = [rows(one) for one in found]
    order = np.lexsort(
        ([n[0, 0] for _, n in ours], [n[0, 1] for _, n in ours], [x[0] for x, _ in ours])
    )
    np.testing.assert_array_equal([ours[i][0][0] for i in order], labels)
    np.testing.assert_allclose([ours[i][1][0] for i in order], numbers, rtol=1e-4, atol=1e-3)
    # Each is told with the first piece after its delay, and before the end.
    for steps, part in told[:-1]:
        ends = model.grid.to_grid(part.segments_sec[:, 1])
        assert (ends <= steps - detector.delay + 1e-3).all()
        assert (ends > steps - step - detector.delay - 1e-3).all()
    assert sum(len(part) for _, part in told[:-1]) > len(whole) / 4


def test_memory_does_not_grow(model, sequence):
    detector = LiveDetector(model, model.grid, longest=20, delay=30)
    kept = []
    for _ in range(8):
        detector.add(sequence[:200])
        kept.append(len(detector._tail._kept))
    assert len(detector._tail) == 1600
    # 416 steps that the model sees before a point, 3 actions of 20 and 30 of the delay, and what
    # makes whole strides.
    assert max(kept) <= 416 + 60 + 30 + 32


def test_a_short_delay_tells_early(model, sequence):
    detector = LiveDetector(model, model.grid, longest=20, delay=1, score_threshold=0.2)
    told = live(detector, sequence[:120], [40, 40, 40])
    ends = [model.grid.to_grid(part.segments_sec[:, 1]) for _, part in told]
    assert len(ends[0]) and ends[0].max() <= 39
    # One detection of an action, whatever comes later.
    assert sum(map(len, ends)) == len({float(end) for part in ends for end in part})


def test_what_does_not_go(model):
    assert longest_steps(model.architecture) == 4 * model.architecture.regression_range[-1][0]
    everything = ActionFormer(
        input_dim=3, num_classes=1, backbone_arch=(1, 0, 1), embd_dim=8, fpn_dim=8, head_dim=8,
        n_head=2, n_mha_win_size=-1,
    )  # fmt: skip
    with pytest.raises(UserError, match="in sequences that have ended, because some of its att"):
        LiveDetector(everything, FeatureGrid(1, 1, 1))
    in_windows = ActionFormer(
        input_dim=3, num_classes=1, backbone_arch=(1, 0, 1), embd_dim=8, fpn_dim=8, head_dim=8,
        n_head=2, n_mha_win_size=3, postprocess=PostProcess(sliding_steps=64),
    )  # fmt: skip
    with pytest.raises(UserError, match=r"that have ended, because it cuts them to windows \(sli"):
        LiveDetector(in_windows, FeatureGrid(1, 1, 1))
    with pytest.raises(UserError, match="delay must be a whole number from 1 up"):
        LiveDetector(model, model.grid, delay=0)
    detector = LiveDetector(model, model.grid)
    assert not len(detector.finish())
