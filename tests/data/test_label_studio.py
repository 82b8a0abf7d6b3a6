"""Label Studio's exports JSON and JSON-MIN, as its versions 1.13 to 1.20 write them."""

import json

import pytest

from helpers.annotation_files import load_rows, rows_of
from keras_actionformer.data.annotation_files import load_annotations
from keras_actionformer.errors import UserError


def region(kind, value, name="videoLabels"):
    return {
        "original_length": 12.5,
        "value": value,
        "id": "aB3",
        "from_name": name,
        "to_name": "video",
        "type": kind,
        "origin": "manual",
    }


def frames(start, end, *labels):
    value = {"ranges": [{"start": start, "end": end}], "timelinelabels": list(labels)}
    return region("timelinelabels", value)


def series(start, end, *labels, instant=False):
    value = {"start": start, "end": end, "instant": instant, "timeserieslabels": list(labels)}
    return region("timeserieslabels", value, "label")


def sound(start, end, *labels):
    return region("labels", {"start": start, "end": end, "channel": 0, "labels": list(labels)})


def annotation(*regions, cancelled=False):
    return {
        "id": 7,
        "completed_by": 1,
        "result": list(regions),
        "was_cancelled": cancelled,
        "ground_truth": False,
        "created_at": "2024-05-01T10:00:00.000000Z",
        "lead_time": 12.3,
    }


def task(*annotations, id_=1, **data):
    return {
        "id": id_,
        "annotations": list(annotations),
        "file_upload": None,
        "drafts": [],
        "predictions": [{"result": [frames(1, 9, "guess")]}],
        "data": data or {"video": "/data/upload/3/0a1b2c3d-v1.mp4"},
        "meta": {},
        "project": 3,
    }


def load(tmp_path, content, **arguments):
    return load_rows(tmp_path, "export.json", json.dumps(content), **arguments)


def test_frames_of_a_timeline(tmp_path):
    # They count from 1, and the last one belongs to the span: 1 to 50 are the first two seconds.
    tasks = [task(annotation(frames(1, 50, "eat"), frames(26, 75, "walk", "sing")))]
    assert load(tmp_path, tasks, fps=25.0) == (
        [("v1", 0.0, 2.0, "eat"), ("v1", 1.0, 3.0, "walk"), ("v1", 1.0, 3.0, "sing")],
        [],
    )
    with pytest.raises(UserError, match="task 1, region 0 counts frames, but .* add a column fps"):
        load(tmp_path, tasks)
    tasks[0]["data"]["fps"] = "50"  # as the template of the tag Video has it, framerate="$fps"
    assert load(tmp_path, tasks, fps=25.0)[0][0] == ("v1", 0.0, 1.0, "eat")


@pytest.mark.parametrize(
    "unit,expected",
    [("seconds", (2, 4.5)), ("milliseconds", (0.002, 0.0045)), ("frames", (0.04, 0.09))],
)
def test_a_time_series_is_in_the_unit_of_its_time_column(tmp_path, unit, expected):
    tasks = [task(annotation(series(2, 4.5, "run")), csv="s3://bucket/rec%201.csv?x=1")]
    rows, notes = load(tmp_path, tasks, time_unit=unit, fps=50.0)
    assert rows == [("rec 1", *expected, "run")] and notes == []
    with pytest.raises(UserError, match="'start' is 2, which may be seconds, milliseconds or the"):
        load(tmp_path, tasks, fps=50.0)


def test_sounds_are_in_seconds_and_moments_are_left_out(tmp_path):
    tasks = [
        task(annotation(sound(0.5, 2.25, "call")), audio="/data/local-files/?d=day%201/a.wav"),
        task(annotation(series(3, 3, "step", instant=True)), id_=2, ts="https://a.org/x/b.csv"),
    ]
    rows, (note,) = load(tmp_path, tasks, time_unit="seconds")
    assert rows == [("a", 0.5, 2.25, "call")]
    assert "point events are left out, as an action has a start and an end: 1 of 'step'" in note


def test_tasks_that_nobody_has_labelled(tmp_path):
    tasks = [
        task(annotation(frames(1, 50, "eat")), annotation(frames(1, 9, "x"), cancelled=True)),
        task(id_=2, video="v2.mp4"),
        task(annotation(cancelled=True), id_=3, video="v3.mp4"),
        task(annotation(), id_=4, video="v4.mp4"),  # seen, and nothing is there
    ]
    rows, (note,) = load(tmp_path, tasks, fps=25.0)
    assert rows == [("v1", 0.0, 2.0, "eat")]
    assert "tasks without annotations are left out: 2" in note


def test_other_regions_are_passed_over(tmp_path):
    other = [
        region("videorectangle", {"framesCount": 9, "sequence": [], "labels": ["hen"]}, "box"),
        region("labels", {"start": 0, "end": 4, "text": "word", "labels": ["noun"]}, "ner"),
        region("choices", {"choices": ["good"]}, "quality"),
    ]
    tasks = [task(annotation(*other, frames(1, 50, "eat")))]
    assert load(tmp_path, tasks, fps=25.0)[0] == [("v1", 0.0, 2.0, "eat")]


# JSON-MIN: a record an annotation, the values of each control side by side with the data.
MINIMAL = {
    "video": "/data/upload/3/0a1b2c3d-v1.mp4",
    "subject": "hen",
    "id": 1,
    "videoLabels": [{"ranges": [{"start": 1, "end": 50}], "timelinelabels": ["eat"]}],
    "quality": "good",
    "annotator": 1,
    "annotation_id": 7,
    "created_at": "2024-05-01T10:00:00.000000Z",
    "updated_at": "2024-05-01T10:00:00.000000Z",
    "lead_time": 12.3,
}


def test_json_min(tmp_path):
    unlabelled = {**MINIMAL, "video": "v2.mp4", "id": 2, "annotation_id": None, "videoLabels": []}
    rows, (note,) = load(tmp_path, [MINIMAL, unlabelled], fps=25.0)
    assert rows == [("v1", 0.0, 2.0, "eat")]
    assert "tasks without annotations are left out: 1" in note


def test_a_folder_of_one_task_a_file(tmp_path):
    # As the interface /api/tasks/1 gives them.
    for i in (1, 2):
        content = task(annotation(frames(1, 50, "eat")), id_=i, video=f"v{i}.mp4")
        (tmp_path / f"{i}.json").write_text(json.dumps(content))
    annotations = load_annotations(tmp_path, default_subset="t", fps=25.0)
    assert rows_of(annotations) == [("v1", 0.0, 2.0, "eat"), ("v2", 0.0, 2.0, "eat")]


@pytest.mark.parametrize(
    "tasks,text",
    [
        (
            [task(annotation(), annotation())],
            "task 1: 'v1.mp4' is annotated 2 times; which of them",
        ),
        ([MINIMAL, MINIMAL], "task 1: 'v1.mp4' is annotated 2 times"),
        (
            [{"video": "v1.mp4", "label": "eat", "start": 1.0, "end": 5.2}],
            "task number 0 is none of Label Studio's: it has .* rows of actions as a .csv table",
        ),
        (
            [task(annotation(), id_=5, a="v.mp4", b="w.mp4")],
            "task 5 must have one file of a video or recording in its data, .* 'v.mp4' and 'w.mp4'",
        ),
        ([task(annotation(), text="words")], "task 1 must have one file .* but it has none"),
        ([7], "task number 0 must be an object"),
        ([{"data": 1, "annotations": []}], "task number 0 must have 'data' and 'annotations'"),
        ([task({"id": 3})], "task 1: an annotation must have a list 'result', but it is None"),
        (
            [task(annotation(region("t", {"ranges": 1, "timelinelabels": ["a"]})))],
            "task 1, region 0: 'ranges' must be a list",
        ),
        ([task(annotation(frames("a", 2, "x")))], "'start' must be a finite number, but it is 'a'"),
        ([task(annotation(sound(1, None, "x")))], "'end' must be a finite number, but it is None"),
        (
            [task(annotation(region("t", {"start": 1, "end": 2, "labels": "eat"})))],
            "region 0: 'labels' must be a list of names",
        ),
        (
            [task(annotation(series("2024-05-01 10:00", "2024-05-01 10:01", "x")))],
            "'start' is '2024-05-01 10:00', but times must count from the start of the recording",
        ),
        (
            [task(annotation(sound(1, 2, "x")), id_=1), task(annotation(), id_=2, video="v1.avi")],
            "task 2: 'v1.avi' and 'v1.mp4' would both be the video 'v1'",
        ),
    ],
)
def test_wrong_or_ambiguous_exports(tmp_path, tasks, text):
    with pytest.raises(UserError, match=f"Annotation file '.*export.json'.*{text}"):
        load(tmp_path, tasks, fps=25.0)
