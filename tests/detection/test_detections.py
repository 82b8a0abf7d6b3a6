"""Detections: checks, selection, printing."""

import sys

import numpy as np
import pytest

from keras_actionformer.detection.detections import Detections
from keras_actionformer.errors import UserError

NAMES = ("run", "jump", "swim")


def three():
    return Detections([[1.0, 4.5], [2.0, 2.5], [0.1, 9.0]], [0.25, 0.9, 0.5], [0, 1, 0], NAMES)


def test_arrays_are_kept_or_converted():
    segments = np.zeros((2, 2), np.float32)
    found = Detections(segments, np.zeros(2, np.float16), np.zeros(2, np.int32))
    assert found.segments_sec is segments
    assert found.scores.dtype == np.float64
    assert found.labels.dtype == np.int64
    assert Detections([[1, 2]], [1], [0]).segments_sec.dtype == np.float64


@pytest.mark.parametrize("segments", [[], np.zeros((0, 2)), np.zeros(0, np.float32)])
def test_no_detections(segments):
    found = Detections(segments, [], [], NAMES)
    assert len(found) == 0
    assert found.segments_sec.shape == (0, 2)
    assert found.labels.dtype == np.int64
    assert found.names == [] and found.to_dicts() == []
    assert len(found.filter(min_score=0.5, labels="run")) == len(found.top_k(3)) == 0
    assert str(found) == "0 detections"


@pytest.mark.parametrize(
    "segments, scores, labels, names, text",
    [
        ([[0, 1]], [0.5, 0.6], [0], (), r"scores must hold one number a segment, shape \(1,\)"),
        ([[0, 1]], [0.5], [0, 1], (), "labels must hold one number a segment"),
        ([[0, 1, 2]], [0.5], [0], (), r"segments_sec must have shape \(M, 2\).*got \(1, 3\)"),
        ([0, 1], [0.5], [0], (), r"segments_sec must have shape \(M, 2\)"),
        ([[0, 1], [2]], [0.5, 0.5], [0, 0], (), "segments_sec must be an array of numbers"),
        ([["a", "b"]], [0.5], [0], (), "segments_sec must hold numbers"),
        ([[0, np.nan]], [0.5], [0], (), "segments_sec must be finite"),
        ([[0, 1]], [np.inf], [0], (), "scores must be finite"),
        ([[0, 1]], [0.5], [0.0], (), "labels must be integer class ids"),
        ([[0, 1]], [0.5], [-1], (), "labels must be 0 or larger, got -1"),
        ([[0, 1]], [0.5], [3], NAMES, r"label id 3 has no name; .* ids must be in 0\.\.2"),
        ([[0, 1]], [0.5], [0], (1, 2), "class_names must be strings"),
    ],
)
def test_bad_arrays_are_told(segments, scores, labels, names, text):
    with pytest.raises(UserError, match=text):
        Detections(segments, scores, labels, names)


@pytest.mark.parametrize(
    "index, rows",
    [
        (slice(1, None), [1, 2]),
        (np.array([True, False, True]), [0, 2]),
        ([2, 0], [2, 0]),
        (-1, [2]),
        (np.int64(0), [0]),
    ],
)
def test_indexing(index, rows):
    found = three()[index]
    assert found.scores.tolist() == three().scores[rows].tolist()
    assert found.labels.tolist() == three().labels[rows].tolist()
    assert found.segments_sec.tolist() == three().segments_sec[rows].tolist()
    assert found.class_names == NAMES


def test_filter():
    assert three().filter(min_score=0.5).scores.tolist() == [0.9, 0.5]  # 0.5 itself stays
    assert three().filter(labels="jump").scores.tolist() == [0.9]
    assert three().filter(labels=0).scores.tolist() == [0.25, 0.5]
    assert three().filter(labels=["jump", 0], min_score=0.3).scores.tolist() == [0.9, 0.5]
    assert len(three().filter(labels=[])) == 0
    assert len(three().filter()) == 3
    with pytest.raises(UserError, match="no class named 'jmp'; did you mean 'jump'"):
        three().filter(labels="jmp")


def test_top_k():
    assert three().top_k(2).scores.tolist() == [0.9, 0.5]
    assert len(three().top_k(10)) == 3
    assert len(three().top_k(0)) == 0
    equal = Detections([[0, 1], [2, 3], [4, 5]], [0.5, 0.7, 0.5], [0, 0, 0])
    assert equal.top_k(2).segments_sec.tolist() == [[2, 3], [0, 1]]  # the earlier of the equals
    with pytest.raises(UserError, match="k must be 0 or larger, got -1"):
        three().top_k(-1)


def test_names_without_class_names():
    found = Detections([[0, 1]], [0.5], [7])
    assert found.names == ["class_7"]
    assert found.to_dicts() == [{"label": 7, "score": 0.5, "segment": [0.0, 1.0]}]


def test_printing():
    lines = str(three()).splitlines()
    assert lines[0] == "3 detections"
    assert lines[1].split() == ["start_sec", "end_sec", "score", "label"]
    assert lines[2].split() == ["1.00", "4.50", "0.2500", "run"]
    many = Detections(np.zeros((25, 2)), np.zeros(25), np.zeros(25, int))
    assert str(many).splitlines()[-1] == "... and 15 more"


def test_to_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)  # as if it were not installed
    with pytest.raises(UserError, match=r"keras-actionformer\[pandas\]"):
        three().to_pandas()
    monkeypatch.undo()
    pytest.importorskip("pandas")
    frame = three().to_pandas()
    assert list(frame.columns) == ["start_sec", "end_sec", "label", "score"]
    assert frame["label"].tolist() == ["run", "jump", "run"]
