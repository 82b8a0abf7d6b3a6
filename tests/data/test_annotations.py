"""Annotation files: what they become, and what is told about wrong ones."""

import json

import numpy as np
import pytest

from helpers import golden_files
from keras_actionformer.data.annotation_files import load_annotations, save_annotations
from keras_actionformer.data.examples import segments_to_grid
from keras_actionformer.data.grid import FeatureGrid
from keras_actionformer.errors import UserError


def action(label="jump", segment=(1.0, 2.5), **more):
    return {"label": label, "segment": list(segment), **more}


def video(*actions, subset="training", duration=10.0, **more):
    return {"subset": subset, "duration": duration, "annotations": list(actions), **more}


def load(tmp_path, database, **arguments):
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps({"database": database}))
    return load_annotations(path, **arguments)


def test_fields(tmp_path):
    loaded = load(
        tmp_path,
        {
            "a": video(action("run"), action("jump", (0.5, 9)), fps=25),
            "b": {"subset": "Test"},
        },
    )
    assert loaded.class_names == ("jump", "run")  # Alphabetical when there are no ids.
    a, b = loaded.videos
    assert (a.video_id, a.subset, a.duration_sec, a.fps) == ("a", "training", 10.0, 25.0)
    np.testing.assert_array_equal(a.segments_sec, [[1.0, 2.5], [0.5, 9.0]])
    np.testing.assert_array_equal(a.labels, [1, 0])
    assert a.segments_sec.dtype == np.float64 and a.labels.dtype == np.int64
    assert b.duration_sec is None and b.fps is None
    assert b.segments_sec.shape == (0, 2) and b.labels.shape == (0,)


def test_subsets(tmp_path):
    loaded = load(tmp_path, {"a": video(), "b": video(subset="Test"), "c": video()})
    assert [v.video_id for v in loaded.subset("TRAINING")] == ["a", "c"]
    assert [v.video_id for v in loaded.subset("test")] == ["b"]
    with pytest.raises(UserError, match="'Test', 'training'; did you mean 'training'"):
        loaded.subset("trainig")


def test_label_ids_of_the_file_and_empty_classes(tmp_path):
    database = {
        "a": video(action("run", label_id=3), action("jump", label_id=1)),
        "b": video(action("run", label_id=3), subset="test"),
    }
    loaded = load(tmp_path, database, num_classes=5)
    assert loaded.class_names == ("class_0", "jump", "class_2", "run", "class_4")
    np.testing.assert_array_equal(loaded.videos[0].labels, [3, 1])
    assert loaded.empty_label_ids() == (0, 2, 4)
    assert loaded.empty_label_ids("test") == (0, 1, 2, 4)


def test_a_real_class_may_be_called_like_an_unused_one(tmp_path):
    loaded = load(tmp_path, {"a": video(action("class_1", label_id=0))}, num_classes=2)
    assert loaded.class_names == ("class_1", "class_1 (unused)")
    np.testing.assert_array_equal(loaded.videos[0].labels, [0])


def test_given_class_names_decide_the_ids(tmp_path):
    loaded = load(tmp_path, {"a": video(action("run"))}, class_names=["walk", "run", "jump"])
    assert loaded.class_names == ("walk", "run", "jump")
    np.testing.assert_array_equal(loaded.videos[0].labels, [1])


def test_rounding_at_the_ends_is_clipped(tmp_path):
    loaded = load(tmp_path, {"a": video(action(segment=(-0.05, 10.05)), action(segment=(9, 10)))})
    np.testing.assert_array_equal(loaded.videos[0].segments_sec, [[0, 10], [9, 10]])


def test_segments_outside_may_be_kept(tmp_path):
    database = {"a": video(action(segment=(8, 25.5)), action(segment=(30, 31)))}
    loaded = load(tmp_path, database, outside="keep")
    np.testing.assert_array_equal(loaded.videos[0].segments_sec, [[8, 25.5], [30, 31]])


def test_an_unknown_duration_limits_nothing(tmp_path):
    loaded = load(tmp_path, {"a": video(action(segment=(8, 1e5)), duration=None)})
    np.testing.assert_array_equal(loaded.videos[0].segments_sec, [[8, 1e5]])


def test_saved_and_loaded_again(tmp_path):
    database = {
        "a": video(action("run", (0.1, 1 / 3), label_id=2), action(label_id=0), fps=29.97),
        "ü b": {"subset": "test"},
    }
    first = load(tmp_path, database, num_classes=3)
    save_annotations(tmp_path / "copy.json", first)
    second = load_annotations(tmp_path / "copy.json")
    # Unused classes keep their names.
    assert second.class_names == first.class_names == ("jump", "class_1", "run")
    for a, b in zip(first.videos, second.videos, strict=True):
        np.testing.assert_array_equal(a.segments_sec, b.segments_sec)
        np.testing.assert_array_equal(a.labels, b.labels)
        for name in ("video_id", "subset", "duration_sec", "fps"):
            assert getattr(a, name) == getattr(b, name)


def test_class_names_of_the_file(tmp_path):
    path = tmp_path / "names.json"
    database = {"a": video(action("run"), action("jump"))}
    path.write_text(json.dumps({"class_names": ["walk", "run", "jump"], "database": database}))
    loaded = load_annotations(path, num_classes=3)
    assert loaded.class_names == ("walk", "run", "jump")
    np.testing.assert_array_equal(loaded.videos[0].labels, [1, 2])
    # Names given by the caller come first.
    assert load_annotations(path, class_names=["jump", "run"]).class_names == ("jump", "run")
    assert load_annotations(path, class_agnostic=True).class_names == ("action",)
    with pytest.raises(UserError, match="names.json': class_names has 3 names, but num_classes=4"):
        load_annotations(path, num_classes=4)
    path.write_text(json.dumps({"class_names": ["run"], "database": database}))
    with pytest.raises(UserError, match="'a', annotation 1: label 'jump' is none of the 1 class"):
        load_annotations(path)
    path.write_text(json.dumps({"class_names": "run", "database": database}))
    with pytest.raises(UserError, match="class_names must be a list of names, but is 'run'"):
        load_annotations(path)


@pytest.mark.parametrize(
    "one, other", [("caf\u00e9", "cafe\u0301"), ("jump", "jump "), ("long jump", "long\u00a0jump")]
)
def test_texts_that_look_alike(tmp_path, one, other):
    with pytest.raises(UserError, match="the labels '.*' and '.*' differ in spaces or in how"):
        load(tmp_path, {"a": video(action(one), action(other))})
    with pytest.raises(UserError, match="the video ids '.*' and '.*' differ in spaces or in how"):
        load(tmp_path, {one: video(), other: video(action())})


def test_labels_in_another_case_are_others(tmp_path):
    names = load(tmp_path, {"a": video(action("Jump"), action("jump"))}).class_names
    assert names == ("Jump", "jump")


def test_default_subset(tmp_path):
    database = {"a": {"duration": 3, "annotations": []}, "b": video(subset="Test")}
    loaded = load(tmp_path, database, default_subset="training")
    assert [v.subset for v in loaded.videos] == ["training", "Test"]
    with pytest.raises(UserError, match="'a' lacks the field 'subset', .* give default_subset"):
        load(tmp_path, database)


def test_duplicates(tmp_path):
    actions = [
        action(segment=(1, 2)),
        action(segment=(1.0009, 1.9991)),  # The same, to a millisecond.
        action(segment=(1.0018, 2)),  # Near the second, which is gone, but not the first.
        action("run", (1, 2)),
        action(segment=(5, 5)),  # ActivityNet has such, too.
        action(segment=(6, 6.0009)),
    ]
    loaded = load(tmp_path, {"a": video(*actions), "b": video(actions[0])}, drop_duplicates=True)
    np.testing.assert_array_equal(loaded.videos[0].segments_sec, [[1, 2], [1.0018, 2], [1, 2]])
    np.testing.assert_array_equal(loaded.videos[0].labels, [0, 0, 1])
    assert len(loaded.videos[1].labels) == 1
    # Only on request, and it is no pardon for what is wrong.
    assert len(load(tmp_path, {"a": video(*actions[:4])}).videos[0].labels) == 4
    with pytest.raises(UserError, match=r"annotation 1: 'segment' \[5, 4\] must end after"):
        load(tmp_path, {"a": video(actions[0], action(segment=(5, 4)))}, drop_duplicates=True)


def test_class_agnostic(tmp_path):
    database = {"a": video(action("run", label_id=7), action("jump", label_id=2)), "b": video()}
    for num_classes in (None, 1):
        loaded = load(tmp_path, database, num_classes=num_classes, class_agnostic=True)
        assert loaded.class_names == ("action",)
        np.testing.assert_array_equal(loaded.videos[0].labels, [0, 0])
    # Without it a file of many classes does not fit one class.
    with pytest.raises(UserError, match=r"label_id 7 of label 'run' is outside 0..0"):
        load(tmp_path, database, num_classes=1)


def test_class_agnostic_keeps_equal_segments_of_different_labels(tmp_path):
    database = {"a": video(action("run"), action("jump"), action("run"))}
    loaded = load(tmp_path, database, class_agnostic=True, drop_duplicates=True)
    assert len(loaded.videos[0].labels) == 2


@pytest.mark.parametrize("path", golden_files.cases("h"))
def test_segments_and_labels_of_the_reference(path):
    golden = golden_files.load(path)
    meta = golden["meta_json"]
    runs = {name: run for name, run in meta["runs"].items() if not run["is_training"]}
    assert runs
    for name, run in runs.items():
        settings = run["kwargs"]
        anet = meta["dataset"] == "anet"
        annotations = load_annotations(
            path.parent / meta["dataset"] / settings["json_file"],
            num_classes=settings["num_classes"],
            outside="keep",
            drop_duplicates=anet,
            class_agnostic=anet and settings["num_classes"] == 1,
        )
        videos = {v.video_id: v for v in annotations.videos if v.subset.lower() in run["split"]}
        for i, item in enumerate(run["items"]):
            video = videos[item["video_id"]]
            assert bool(len(video.labels)) == item["has_segments"]
            if item["has_segments"]:
                np.testing.assert_array_equal(video.labels, golden[f"{name}/{i}/labels"])
                grid = FeatureGrid(item["fps"], item["feat_stride"], item["feat_num_frames"])
                # The reference converts in float32: three roundings of numbers up to a few hundred.
                np.testing.assert_allclose(
                    segments_to_grid(video.segments_sec, grid),
                    golden[f"{name}/{i}/segments"],
                    rtol=1e-6,
                    atol=1e-4,
                )


@pytest.mark.parametrize(
    "database,arguments,text",
    [
        ({}, {}, "holds no video"),
        ({"v": 3}, {}, "video 'v' must be an object"),
        ({"v": {"subse": "test"}}, {}, "'v' lacks the field 'subset'.*did you mean 'subse'"),
        ({"v": video(subset=3)}, {}, "'v': 'subset' must be a text, but it is 3"),
        ({"v": video(duration=-4)}, {}, "'v': 'duration' must be a number above 0, but it is -4"),
        ({"v": video(fps="30 Hz")}, {}, "'v': 'fps' must be a finite number, but it is '30 Hz'"),
        ({"v": {"subset": "t", "anotations": []}}, {}, "'annotations'.*did you mean 'anotations'"),
        ({"v": {"subset": "t", "annotations": {}}}, {}, "'annotations' must be a list"),
        ({"v": video(action(), {"segment": [0, 1]})}, {}, "annotation 1 lacks the field 'label'"),
        ({"v": video({"label": "x"})}, {}, "annotation 0 lacks the field 'segment'"),
        ({"v": video(action(label=7))}, {}, "'label' must be a text, but it is 7"),
        ({"v": video(action(segment=[1]))}, {}, r"two finite numbers .* but it is \[1\]"),
        ({"v": video(action(segment=[1, "2"]))}, {}, "two finite numbers"),
        ({"v": video(action(segment=[1, float("nan")]))}, {}, "two finite numbers"),
        ({"v": video(action(segment=[3, 3]))}, {}, r"\[3, 3\] must end after it starts"),
        ({"v": video(action(segment=[-0.06, 3]))}, {}, r"\[-0.06, 3\] starts before 0 s"),
        ({"v": video(action(segment=[9, 10.06]))}, {}, "ends after the video's duration of 10.0 s"),
        ({"v": video(action(label_id="1"))}, {}, "'label_id' must be a whole number"),
        ({"v": video(action(label_id=1), action())}, {}, "lacks 'label_id' while others have one"),
        ({"v": video(action(label_id=-1))}, {}, "label_id -1 of label 'jump' must be 0 or more"),
        ({"v": video(action(label_id=10**9))}, {}, "label_id 1000000000 .* must be below 10000"),
        (
            {"v": video(action(label_id=7))},
            {"num_classes": 5},
            r"label_id 7 of label 'jump' is outside 0..4 \(num_classes=5\)",
        ),
        (
            {"v": video(action("a", label_id=1)), "w": video(action("b", label_id=1))},
            {},
            "video 'w', annotation 0: label_id 1 names 'b', but elsewhere 'a'",
        ),
        (
            {"v": video(action("a", label_id=1)), "w": video(action("a", label_id=2))},
            {},
            "video 'w', annotation 0: label 'a' has the label_id 2, but elsewhere 1",
        ),
        (
            {"v": video(action("a"), action("b"), action("c"))},
            {"num_classes": 2},
            "3 different labels but num_classes is 2",
        ),
        (
            {"v": video(action("jmp"))},
            {"class_names": ["run", "jump"]},
            "label 'jmp' is none of the 2 class names; did you mean 'jump'",
        ),
        (
            {"v": video(action("run", label_id=1))},
            {"class_names": ["run", "jump"]},
            "label 'run' has the label_id 1 but is number 0 of the class names",
        ),
        ({"v": video()}, {"class_names": ["a", "a"]}, "class_names has 'a' 2 times"),
        ({"v": video()}, {"class_names": ["a"], "num_classes": 3}, "1 name, but num_classes=3"),
        (
            {"v": video()},
            {"class_names": ["a"], "class_agnostic": True},
            "class_agnostic=True makes all labels one class; leave class_names out",
        ),
        ({"v": video()}, {"num_classes": 3, "class_agnostic": True}, "set num_classes to 1"),
        ({"v": video(action(label=""))}, {}, "'label' must be a text, but it is ''"),
        ({"v": video(action(label="a\ud800"))}, {}, "'label' must be valid text, but 'a"),
        ({"v": video()}, {"class_names": ["\ud800"]}, "class_names must be valid text"),
        ({"\ud800": video()}, {}, "a video id must be valid text"),
        ({"v": video(action(label="x" * 200_000)), "w": video(action(label=3))}, {}, "label.*is 3"),
        ({"v": video()}, {"outside": "drop"}, "outside must be 'error' or 'keep'"),
    ],
)
def test_wrong_content(tmp_path, database, arguments, text):
    with pytest.raises(UserError, match=text):
        load(tmp_path, database, **arguments)


@pytest.mark.parametrize(
    "content,text",
    [
        (b'{"database": {\n  "v": }}', "is not valid JSON: .* in line 2, column 8"),
        (b"[]", "lacks the field 'database'"),
        (b'{"results": {}}', "holds detections .* are two files swapped"),
        (b'{"databse": {}}', "lacks the field 'database'; did you mean 'databse'"),
        (b'{"database": []}', "'database' must be an object"),
        (b"[" * 100_000, "nests lists or objects too deeply"),
        (b'{"database": {"v": {"subset": "t"}, "v": {"subset": "t"}}}', "has 'v' twice"),
        (b'{"database":\n "\xff"}', "is not UTF-8 text in line 2"),
    ],
)
def test_wrong_files(tmp_path, content, text):
    path = tmp_path / "wrong.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"wrong.json.*{text}"):
        load_annotations(path)


@pytest.mark.parametrize("name", ["v.ass", "v.json.gz", "v"])
def test_files_of_no_known_kind(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"1\n00:00:01,000 --> 00:00:02,000\njump\n\xff")
    with pytest.raises(UserError, match=f"{name}' .* is no JSON; read are .json, .*.eaf, .*.csv"):
        load_annotations(path)
    path.write_text(json.dumps({"database": {"v": {"subset": "test", "annotations": []}}}))
    assert load_annotations(path, ["jump"]).videos[0].video_id == "v"
    with pytest.raises(UserError, match="missing.ass' does not exist"):
        load_annotations(tmp_path / "missing.ass")


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(UserError, match="none.json' does not exist"):
        load_annotations(tmp_path / "none.json")
    with pytest.raises(UserError, match="cannot be read"):
        load_annotations(tmp_path)
