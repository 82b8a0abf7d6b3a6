"""Names that two files write in different ways are told, and do not score 0."""

import json

import pytest

from keras_actionformer.data.annotation_files import load_annotations
from keras_actionformer.detection.detections import load_detections
from keras_actionformer.errors import UserError
from keras_actionformer.evaluation.evaluation import evaluate
from keras_actionformer.evaluation.near_names import class_twin

VIDEOS = ("v_a01", "v_b02", "v_c03")
LABELS = ("high jump", "run")


def score(folder, videos=VIDEOS, labels=LABELS, true_videos=VIDEOS, true_labels=LABELS):
    """The mAP of files in which every video has both classes, all found exactly."""
    times = ([1.0, 5.0], [10.0, 20.0])
    database = {
        video: {
            "subset": "test",
            "duration": 60.0,
            "annotations": [
                {"label": label, "segment": time}
                for label, time in zip(true_labels, times, strict=True)
            ],
        }
        for video in true_videos
    }
    results = {
        video: [
            {"label": label, "segment": time, "score": 0.9}
            for label, time in zip(labels, times, strict=True)
        ]
        for video in videos
    }
    (folder / "truth.json").write_text(json.dumps({"database": database}))
    (folder / "found.json").write_text(json.dumps({"results": results}))
    truth = load_annotations(folder / "truth.json")
    found = load_detections(folder / "found.json", truth.class_names)
    return evaluate(truth.subset("test"), found, class_names=truth.class_names).average_mean_ap


@pytest.mark.parametrize(
    "videos",
    [
        VIDEOS,
        (*VIDEOS, "other", "more"),
        VIDEOS[:1],
        ("A01", *VIDEOS[:2]),  # one of three
        ("x", "y", "z"),  # wrong, but no twins
        (),
    ],
)
def test_ids_that_differ_in_fact(tmp_path, videos):
    assert score(tmp_path, videos=videos) <= 1


@pytest.mark.parametrize(
    "videos, text",
    [
        (("a01", "b02", "c03"), "'a01' for 'v_a01', 'b02' for 'v_b02', 'c03' for 'v_c03' (3 of 3)"),
        (("V_A01", "V_B02", "v_c03"), "'V_A01' for 'v_a01', 'V_B02' for 'v_b02' (2 of 3)"),
        (("v_a01.mp4", "v_b02.mp4", "v_c03.mp4"), "'v_a01.mp4' for 'v_a01'"),
        (("x/v_a01.mp4", "x/v_b02.MP4"), "'x/v_a01.mp4' for 'v_a01'"),
        (("v_a1", "v_b2", "v_c3"), "'v_a1' for 'v_a01'"),
        (("v-a01", "v b02", "v_c03 "), "'v b02' for 'v_b02'"),
        # Most of the ground truth's, though few of all that was detected.
        (("a01", "b02", *(f"other{i}" for i in range(9))), "(2 of 11)"),
        # Most of what was detected, though few of the ground truth's.
        (("a01",), "(1 of 1)"),
    ],
)
def test_ids_of_videos_written_in_another_way(tmp_path, videos, text):
    with pytest.raises(UserError) as error:
        score(tmp_path, videos=videos)
    assert "names of videos in another way" in str(error.value) and text in str(error.value)


def test_ids_that_are_numbers(tmp_path):
    assert score(tmp_path, videos=("1", "10"), true_videos=("1", "10")) == 1
    with pytest.raises(UserError, match="'1' for '001'"):
        score(tmp_path, videos=("1", "10"), true_videos=("001", "010"))


@pytest.mark.parametrize(
    "labels, text",
    [
        (("High Jump", "Run"), "'High Jump' for 'high jump', 'Run' for 'run'"),
        (("high_jump", "run "), "'high_jump' for 'high jump'"),
        (("HighJump", "walk"), ""),
        (("0", "1"), "'0' for 'high jump', '1' for 'run'"),
    ],
)
def test_names_of_classes_written_in_another_way(tmp_path, labels, text):
    if not text:  # one of two
        assert score(tmp_path, labels=labels) == 0
        return
    with pytest.raises(UserError, match="names of classes in another way") as error:
        score(tmp_path, labels=labels)
    assert text in str(error.value)


def test_classes_that_are_called_by_numbers(tmp_path):
    numbers = ("1", "0")
    assert score(tmp_path, labels=numbers, true_labels=numbers) == 1


def test_ids_of_classes_from_one(tmp_path):
    assert score(tmp_path, labels=(0, 1)) == 1
    assert 0 < score(tmp_path, labels=(1, 1)) < 1
    with pytest.raises(UserError, match="class ids 1 to 2, but .* begin with 0, and the last is 1"):
        score(tmp_path, labels=(1, 2))
    with pytest.raises(UserError, match="class ids 2 to 2, but .* subtract 1"):
        score(tmp_path, labels=(2, 2))


def test_what_names_of_classes_share():
    names = ("High-Jump", "high_jump", "HighJump", " high  jump ", "High - Jump")
    assert {class_twin(name) for name in names} == {"highjump"}
    for a, b in (("+1", "-1"), ("A", "A+"), ("C", "C#"), ("!", "?"), ("jump", "jumps")):
        assert class_twin(a) != class_twin(b)
