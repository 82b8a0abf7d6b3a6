"""Fusion with video scores: the reference's numbers, small cases, the way to ActivityNet's mAP."""

import doctest
import json
import os

import numpy as np
import pytest
from absl import logging

from helpers import golden_files
from keras_actionformer.data.annotation_files import load_annotations
from keras_actionformer.detection.detections import Detections, load_detections, save_detections
from keras_actionformer.errors import UserError
from keras_actionformer.evaluation import fusion
from keras_actionformer.evaluation.evaluation import evaluate
from keras_actionformer.evaluation.fusion import fuse_scores, fuse_videos
from keras_actionformer.evaluation.video_scores import VideoScores, load_video_scores

NAMES = ("run", "jump", "swim")
SCORES = {"v1": [0.7, 0.2, 0.1], "v2": [0.0, 0.25, 0.75]}
GOLDEN_RUNS = [
    pytest.param(case.values[0], run, id=f"{case.id}-{run}")
    for case in golden_files.cases("i")
    for run in golden_files.load(case.values[0])["meta_json"]["runs"]
]


def two_segments():
    return Detections([[1.0, 4.5], [2.0, 2.5]], [0.16, 0.81], [0, 0], ("action",))


# --- the reference's numbers ---------------------------------------------------------------------


@pytest.mark.skipif(
    "KERAS_ACTIONFORMER_GOLDEN" in os.environ, reason="other files may be of other things"
)
def test_there_are_golden_runs():
    assert GOLDEN_RUNS


@pytest.mark.parametrize("path, run", GOLDEN_RUNS)
def test_equals_the_reference(path, run):
    golden = golden_files.load(path)
    settings = dict(golden["meta_json"]["runs"][run])
    video_scores = load_video_scores(path.with_name(settings.pop("file")))
    detections = {}
    for video_id in np.unique(golden["in/video_id"]).tolist():  # the reference sorts its videos
        rows = golden["in/video_id"] == video_id
        segments_sec = np.stack([golden["in/t-start"][rows], golden["in/t-end"][rows]], axis=1)
        detections[video_id] = Detections(
            segments_sec, golden["in/score"][rows], golden["in/label"][rows]
        )

    fused = fuse_videos(detections, video_scores, **settings)

    videos = [video_id for video_id, found in fused.items() for _ in range(len(found))]
    assert videos == golden[f"{run}/video_id"].tolist()
    segments_sec = np.concatenate([found.segments_sec for found in fused.values()])
    np.testing.assert_array_equal(segments_sec[:, 0], golden[f"{run}/t-start"])
    np.testing.assert_array_equal(segments_sec[:, 1], golden[f"{run}/t-end"])
    labels = np.concatenate([found.labels for found in fused.values()])
    np.testing.assert_array_equal(labels, golden[f"{run}/label"])
    scores = np.concatenate([found.scores for found in fused.values()])
    np.testing.assert_allclose(scores, golden[f"{run}/score"], rtol=0, atol=1e-6)


# --- one video, by hand --------------------------------------------------------------------------


def test_best_segments_for_best_classes():
    fused = fuse_scores(two_segments(), [0.01, 0.25, 0.64], class_names=NAMES)
    assert fused.names == ["swim", "swim", "jump", "jump"]
    assert fused.segments_sec.tolist() == [[2, 2.5], [1, 4.5], [2, 2.5], [1, 4.5]]
    # 0.8 * 0.9, 0.8 * 0.4, 0.5 * 0.9, 0.5 * 0.4: the roots of the products.
    np.testing.assert_allclose(fused.scores, [0.72, 0.32, 0.45, 0.2], rtol=1e-12)


def test_num_pred_and_topk_cut():
    fused = fuse_scores(two_segments(), SCORES["v1"], num_pred=1, topk=1)
    assert fused.segments_sec.tolist() == [[2, 2.5]] and fused.labels.tolist() == [0]
    assert fused.class_names == ()
    assert len(fuse_scores(two_segments(), SCORES["v1"], num_pred=9, topk=3)) == 6


def test_of_equal_scores_the_later_one_comes_first():
    found = Detections([[0, 1], [0, 2], [0, 3]], [0.5, 0.5, 0.5], [0, 0, 0])
    fused = fuse_scores(found, [0.5, 0.5, 0.0], num_pred=2)
    assert fused.labels.tolist() == [1, 1, 0, 0]
    assert fused.segments_sec[:, 1].tolist() == [3, 2, 3, 2]


def test_no_detections_stay_none():
    fused = fuse_scores(Detections([], [], []), SCORES["v1"], class_names=NAMES)
    assert len(fused) == 0 and fused.class_names == NAMES


@pytest.mark.parametrize(
    "scores, options, text",
    [
        ([0.5, -0.1], {}, "finite and 0 or larger .*softmax.* of class 1 is -0.1"),
        ([np.nan, 0.1], {}, "score of class 0 is nan"),
        ([[0.5, 0.5]], {}, r"video_scores must have the shape \(classes,\).* \(1, 2\)"),
        ([], {}, r"but it is \(0,\)"),
        (["a"], {}, "video_scores must be a list of numbers"),
        ([10**400], {}, "video_scores must be a list of numbers"),
        ([0.5, 0.5], {"topk": 3}, r"topk must be a whole number in 1\.\.2, .* but it is 3"),
        ([0.5, 0.5], {"topk": 0}, "topk must be .* but it is 0"),
        ([0.5, 0.5], {"num_pred": 0}, "num_pred must be a whole number 1 or larger, but it is 0"),
        ([0.5, 0.5], {"num_pred": 2.5}, "num_pred must be .* but it is 2.5"),
        ([0.5, 0.5], {"class_names": NAMES}, "class_names has 3 names, but num_classes=2"),
    ],
)
def test_bad_arguments_are_told(scores, options, text):
    with pytest.raises(UserError, match=text):
        fuse_scores(two_segments(), scores, **options)


def test_negative_detection_scores_are_told():
    with pytest.raises(UserError, match="scores of detections must be 0 or larger .* -0.5"):
        fuse_scores(Detections([[0, 1]], [-0.5], [0]), SCORES["v1"])


# --- many videos ---------------------------------------------------------------------------------


def test_every_video_uses_its_own_scores():
    video_scores = VideoScores(SCORES, NAMES)
    fused = fuse_videos({"v2": two_segments(), "v1": two_segments()}, video_scores, topk=1)
    assert {video_id: set(found.names) for video_id, found in fused.items()} == {
        "v2": {"swim"},
        "v1": {"run"},
    }
    assert list(fused) == ["v2", "v1"]


def test_a_video_without_scores_is_told():
    video_scores = VideoScores({"abc": [1.0, 0.0]})
    with pytest.raises(UserError, match="1 of 2 videos .* 'v_abc'.*did you mean 'abc'"):
        fuse_videos({"abc": two_segments(), "v_abc": two_segments()}, video_scores)


def test_several_classes_are_replaced_with_a_warning(monkeypatch):
    told = []
    monkeypatch.setattr(logging, "warning", lambda text, *values: told.append(text % values))
    one_class = two_segments()
    two_classes = Detections(one_class.segments_sec, one_class.scores, [0, 1])
    video_scores = VideoScores(SCORES, NAMES)
    expected = fuse_videos({"v1": one_class}, video_scores)["v1"]
    assert told == []
    fused = fuse_videos({"v1": two_classes}, video_scores)["v1"]
    assert len(told) == 1 and "those of 1 videos have several" in told[0]
    assert fused.to_dicts() == expected.to_dicts()


# --- ActivityNet's way ---------------------------------------------------------------------------


def test_one_class_detections_reach_the_score_of_their_classes(tmp_path):
    """The classifier's file has another order of classes and one that the ground truth lacks."""
    truth = {"a": ("jump", [1.0, 4.0]), "b": ("run", [2.0, 9.0])}
    database = {
        video_id: {"subset": "validation", "annotations": [{"label": label, "segment": segment}]}
        for video_id, (label, segment) in truth.items()
    }
    (tmp_path / "truth.json").write_text(json.dumps({"database": database}))
    one_class = {
        video_id: Detections([segment], [0.9], [0], ("action",))
        for video_id, (_, segment) in truth.items()
    }
    save_detections(tmp_path / "one_class.json", one_class)
    classifier = {
        "class": ["swim", "run", "jump"],
        "results": {"a": [0.1, 0.1, 0.8], "b": [0.1, 0.8, 0.1]},
    }
    (tmp_path / "classifier.json").write_text(json.dumps(classifier))

    annotations = load_annotations(tmp_path / "truth.json")
    video_scores = load_video_scores(tmp_path / "classifier.json", annotations.class_names)
    detections = fuse_videos(load_detections(tmp_path / "one_class.json"), video_scores)
    save_detections(tmp_path / "fused.json", detections)
    read_again = load_detections(tmp_path / "fused.json", annotations.class_names)
    for fused in (detections, read_again):
        result = evaluate(annotations.subset("validation"), fused)
        assert result.ap.tolist() == np.ones_like(result.ap).tolist()

    # In the classifier's own order, ids mean other classes: nothing is scored by mistake.
    unordered = fuse_videos(one_class, load_video_scores(tmp_path / "classifier.json"))
    with pytest.raises(UserError, match="Number the classes alike"):
        evaluate(annotations.subset("validation"), unordered, class_names=annotations.class_names)


def test_the_examples_run():
    ran = doctest.testmod(fusion)
    assert ran.attempted and not ran.failed
