"""CSV tables of annotations: what they become, and what is told about wrong ones."""

import json

import numpy as np
import pytest

from keras_actionformer.data.annotation_files import load_annotations, save_annotations
from keras_actionformer.errors import UserError


def load(tmp_path, content, **arguments):
    path = tmp_path / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return load_annotations(path, **arguments)


def test_a_plain_table(tmp_path):
    table = "video,start,end,label\nb,1,2.5,run\na,0.5,9,jump\nb,3,4,jump\n"
    loaded = load(tmp_path, table, default_subset="training")
    assert loaded.class_names == ("jump", "run")
    b, a = loaded.videos  # In the order of the file.
    assert (a.video_id, a.subset, a.duration_sec, a.fps) == ("a", "training", None, None)
    np.testing.assert_array_equal(b.segments_sec, [[1, 2.5], [3, 4]])
    np.testing.assert_array_equal(b.labels, [1, 0])
    np.testing.assert_array_equal(a.segments_sec, [[0.5, 9]])


def test_all_columns_in_another_order(tmp_path):
    table = (
        "fps,label_id,subset,note,duration,label,end,start,video\n"
        "25,3,Test,x,10,run,2,1,a\n"
        ",1,,,,jump,5,4,a\n"
        "30,,validation,,,,,,b\n"
    )
    loaded = load(tmp_path, table)
    assert loaded.class_names == ("class_0", "jump", "class_2", "run")
    a, b = loaded.videos
    assert (a.subset, a.duration_sec, a.fps) == ("Test", 10.0, 25.0)
    np.testing.assert_array_equal(a.labels, [3, 1])
    # A line of nothing but the video: no actions.
    assert (b.subset, b.fps, b.segments_sec.shape) == ("validation", 30.0, (0, 2))
    assert loaded.subset("test") == (a,)


@pytest.mark.parametrize(
    "header",
    [
        "video-id,t-start,t-end,label,fps,duration",
        "video_id,start_sec,end_sec,class,fps,duration_sec",
        "Video ID,Start Time,End Time,Action,FPS,Duration",
        "\ufeffvideo,start,stop,class_name,fps,duration",
    ],
)
def test_other_headers(tmp_path, header):
    loaded = load(tmp_path, f"{header}\nv, 0.2 ,1.1,bowl,30.0,33.83\n", default_subset="test")
    (video,) = loaded.videos
    assert (video.video_id, video.fps, video.duration_sec) == ("v", 30.0, 33.83)
    np.testing.assert_array_equal(video.segments_sec, [[0.2, 1.1]])
    assert loaded.class_names == ("bowl",)


def test_spelling_of_the_file(tmp_path):
    # Byte order mark, Windows line ends, quotes, an accent, blank lines, capital suffix.
    path = tmp_path / "TABLE.CSV"
    path.write_bytes(
        'video,start,end,label,subset\r\n\r\n"v,1",1,2,"say ""été""",t\r\n,,,,\r\n'.encode(
            "utf-8-sig"
        )
    )
    loaded = load_annotations(path)
    assert loaded.videos[0].video_id == "v,1" and loaded.class_names == ('say "été"',)


@pytest.mark.parametrize(
    "names", [np.array(["c", "b"]), {"c": 0, "b": 1}.keys(), (name for name in "cb")]
)
def test_class_names_may_be_anything_in_order(tmp_path, names):
    loaded = load(tmp_path, HEADER + "v,1,2,b,t\n", class_names=names)
    assert loaded.class_names == ("c", "b") and loaded.videos[0].labels.tolist() == [1]


@pytest.mark.parametrize(
    "names", ["cb", {"c", "b"}, {"c": 0}, 3, np.array("c"), ["c", 1], ["c", ""]]
)
def test_what_is_no_list_of_class_names(tmp_path, names):
    with pytest.raises(UserError, match="class_names must be"):
        load(tmp_path, HEADER + "v,1,2,b,t\n", class_names=names)


def test_given_class_names_decide_the_ids(tmp_path):
    table = "video,start,end,label,subset\nv,1,2,b,t\n"
    loaded = load(tmp_path, table, class_names=["c", "b"])
    np.testing.assert_array_equal(loaded.videos[0].labels, [1])


def test_a_table_becomes_json(tmp_path):
    table = "video,start,end,label,subset,fps\nv,1,2.25,b,t,25\nw,0.1,2,a,u,30\n"
    first = load(tmp_path, table)
    save_annotations(tmp_path / "copy.json", first)
    second = load_annotations(tmp_path / "copy.json")
    assert second.class_names == first.class_names == ("a", "b")
    for a, b in zip(first.videos, second.videos, strict=True):
        assert (a.video_id, a.subset, a.fps) == (b.video_id, b.subset, b.fps)
        np.testing.assert_array_equal(a.segments_sec, b.segments_sec)
        np.testing.assert_array_equal(a.labels, b.labels)


HEADER = "video,start,end,label,subset\n"


@pytest.mark.parametrize(
    "content,text",
    [
        ("", "is empty; its first line must be video,start,end,label"),
        ("\n\n", "is empty"),
        (HEADER, "has a header but no line below it"),
        (
            "v,1,2,run\nv,3,4,jump\n",
            "line 1 must be a header with the columns video,start,end,label, but it is "
            "'v,1,2,run' and lacks video, start, end, label",
        ),
        ("video,start,end\nv,1,2\n", "line 1 .* and lacks label"),
        ("video;start;end\nv;1;2\n", "line 1 .* it is 'video,start,end' and lacks label"),
        ("video,start,end,label\nv,1,2,a\n", "line 2 .video 'v'. lacks the field 'subset'"),
        ("video,video-id,start,end,label\n", "columns 'video' and 'video-id' both mean 'video'"),
        (HEADER + "v,1,2,run\n", "line 2 has 4 cells but the header 5"),
        (HEADER + "v,1,2,run, fast,t\n", 'line 2 has 6 cells .* needs "quotes"'),
        (HEADER + ",1,2,run,t\n", "line 2 names no video"),
        (HEADER + "v,1,2,a,t\nv,one,2,a,t\n", "line 3: 'start' must be a number.*'one'"),
        (HEADER + "v,,2,a,t\n", "line 2: 'start' must be a number, but it is ''"),
        (HEADER + "v,1,nan,a,t\n", "line 2: 'end' must be a number, but it is 'nan'"),
        (HEADER + "v,1,00:02,a,t\n", "line 2: 'end' is '00:02', which may be 0 min 2 s or 0 h 2"),
        (HEADER + "v,1,2,,t\n", "line 2: 'label' must be a text"),
        (HEADER + "v,1,2,a,t\nv,2,2,a,t\n", r"line 3: 'segment' \[2.0, 2.0\] must end after it"),
        (HEADER + "v,-3,2,a,t\n", r"line 2: 'segment' \[-3.0, 2.0\] starts before 0 s"),
        (
            HEADER + "v,1,2,a,t\nv,1,2,a,u\n",
            "line 3: 'subset' is 'u', but an earlier line of this video has 't'",
        ),
        ("video,start,end,label,fps\nv,1,2,a,x\n", "line 2: 'fps' must be a number, but it is 'x'"),
        (
            "video,start,end,label,subset,duration\nv,1,2,a,t,0\n",
            "line 2 .video 'v'.: 'duration' must be a number above 0",
        ),
        (
            "video,start,end,label,subset,duration\nv,1,2,a,t,\nv,1,20,a,t,10\n",
            r"line 3: 'segment' \[1.0, 20.0\] ends after the video's duration of 10.0 s",
        ),
        (
            "video,start,end,label,subset,label_id\nv,1,2,a,t,1.5\n",
            "line 2: 'label_id' must be a whole number, but it is '1.5'",
        ),
        (
            "video,start,end,label,subset,label_id\nv,1,2,a,t,1\nv,1,2,b,t,1\n",
            "line 3: label_id 1 names 'b', but elsewhere 'a'",
        ),
        (
            "video,start,end,label,subset,label_id\nv,1,2,a,t,1\nv,1,2,b,t,\n",
            "line 3 lacks 'label_id' while others have one",
        ),
        (HEADER + 'v,1,2,"run,t\n', "line 2: no valid CSV"),
        (HEADER.encode() + b"v,1,2,\x81t\xe9,t\n", "is not UTF-8 text in line 2"),
        (HEADER.encode("utf-16"), "has a header but no line below it"),
    ],
)
def test_wrong_tables(tmp_path, content, text):
    with pytest.raises(UserError, match=f"Annotation file '.*table.csv'.*{text}"):
        load(tmp_path, content)


def test_unknown_label(tmp_path):
    with pytest.raises(UserError, match="line 2: label 'jmp' is none of .* did you mean 'jump'"):
        load(tmp_path, HEADER + "v,1,2,jmp,t\n", class_names=["jump"])


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="none.csv' does not exist"):
        load_annotations(tmp_path / "none.csv")


# === Folders ===


def test_a_folder_of_tables(tmp_path):
    # One that names no video is of the recording it is called as.
    (tmp_path / "a.csv").write_text("start,end,label\n1,2,run\n")
    (tmp_path / "b.csv").write_text("video,start,end,label\nv,1,2,jump\nw,3,4,run\n")
    (tmp_path / "notes.md").write_text("not read")
    (tmp_path / "below.csv").mkdir()
    annotations = load_annotations(tmp_path, default_subset="t")
    assert [video.video_id for video in annotations.videos] == ["a", "v", "w"]
    assert annotations.class_names == ("jump", "run")


def test_a_folder_of_json_files(tmp_path):
    for name in "ab":
        content = {"database": {name: {"subset": "t", "annotations": []}}}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    assert [video.video_id for video in load_annotations(tmp_path).videos] == ["a", "b"]
    (tmp_path / "c.json").write_text(json.dumps({"class_names": ["x"], "database": {}}))
    with pytest.raises(
        UserError, match="c.json' has class_names, which one file of a folder cannot"
    ):
        load_annotations(tmp_path)


@pytest.mark.parametrize(
    "files,text",
    [
        ({}, "cannot be read: it must hold files of one kind .*, but it holds none"),
        ({"a.csv": HEADER, "a.eaf": ""}, "of one kind .*, but it holds .csv and .eaf"),
        (
            {"a.csv": HEADER + "v,1,2,a,t\n", "b.csv": HEADER + "v,1,2,a,t\n"},
            "the video 'v' stands in 'a.csv' and in 'b.csv'; which of them counts is not clear",
        ),
        ({"a.csv": HEADER + ",1,2,a,t\n"}, "a.csv', line 2 names no video"),
    ],
)
def test_wrong_folders(tmp_path, files, text):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=text):
        load_annotations(tmp_path)
