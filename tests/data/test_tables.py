"""Tables as people have them: separators, encodings, headers, units, names of videos."""

import logging

import numpy as np
import pytest

from helpers.annotation_files import load_rows
from keras_actionformer.data.annotation_files import load_annotations
from keras_actionformer.data.tables import read_groups
from keras_actionformer.errors import UserError

ROWS = [("v1", 1.5, 2.25, "eat"), ("v1", 62.5, 63.0, "sleep")]


# === Separators and encodings ===


@pytest.mark.parametrize(
    "content",
    [
        "video,label,start,end\nv1,eat,1.5,2.25\nv1,sleep,62.5,63\n",
        "Video;Label;Start (s);End (s)\nv1;eat;1,5;2,25\nv1;sleep;62,5;63\n",
        "Video\tLabel\tStart\tEnd\r\nv1\teat\t1.5\t2.25\r\nv1\tsleep\t1:02.5\t0:01:03\r\n",
        'Video,Label,Start,End\nv1,eat,"1,5","2,25"\nv1,sleep,"62,5",63\n',
        "sep=;\r\nvideo;label;start;end\r\nv1;eat;1.5;2.25\r\nv1;sleep;62.5;63\r\n",
        # What a spreadsheet leaves of a title and of columns that were once there.
        "May;;;;;\n;;;;;\nVideo;Label;Start;End;;\nv1;eat;1,5;2,25;;\nv1;sleep;62,5;63;;\n",
    ],
)
def test_separators(tmp_path, content):
    assert load_rows(tmp_path, "t.csv", content) == (ROWS, [])


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.txt", "T.TAB"])
def test_suffixes(tmp_path, name):
    content = "video\tlabel\tstart\tend\nv1\teat\t1.5\t2.25\nv1\tsleep\t62.5\t63\n"
    assert load_rows(tmp_path, name, content) == (ROWS, [])


def test_a_table_of_a_german_excel(tmp_path):
    content = "Video;Verhalten;Start (s);Ende (s)\r\nKäfig 1.mp4;fressen;1,5;3\r\n"
    content += "Käfig 1.mp4;schläft;4;5,25\r\n"
    rows, (note,) = load_rows(tmp_path, "t.csv", content.encode("latin-1"))
    assert rows == [("Käfig 1", 1.5, 3.0, "fressen"), ("Käfig 1", 4.0, 5.25, "schläft")]
    assert (
        "t.csv' is not UTF-8 and is read as Windows-1252 (Latin-1), so that line 2 has 'Käfig'"
        in note
    )
    with pytest.raises(UserError, match="line 2 .video 'Käfig 1'. lacks the field 'subset'"):
        load_annotations(tmp_path / "t.csv")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf16(tmp_path, encoding):
    # Excel's "Unicode text" is UTF-16 with a mark and tabs; without the mark, zeros tell.
    content = "Video\tBehaviour\tOnset\tOffset\nv1\tÄsen\t1\t2\n".encode(encoding)
    rows, (note,) = load_rows(tmp_path, "t.txt", content)
    assert rows == [("v1", 1.0, 2.0, "Äsen")]
    assert "t.txt' is read as UTF-16" in note


def test_an_assumption_is_logged_once_where_nobody_asks(tmp_path, caplog):
    path = tmp_path / "t.csv"
    path.write_bytes("video,start,end,label,subset\nv,1,2,été,t\n".encode("cp1252"))
    with caplog.at_level(logging.WARNING):
        load_annotations(path)
    (record,) = caplog.records
    assert "line 2 has 'été'; save it as UTF-8 if that is wrong." in record.getMessage()


@pytest.mark.parametrize("content", [b"\x00\x00\x00", b"\x81\x8d", b"v\x00\x00\x00\xff" * 9])
def test_what_is_no_text(tmp_path, content):
    with pytest.raises(UserError, match="t.csv' is not UTF-8 text in line 1; save it as UTF-8"):
        load_rows(tmp_path, "t.csv", content)


# === Headers ===


@pytest.mark.parametrize(
    "header,line,expected",
    [
        ("Video,Behaviour,Onset,Offset", "v,eat,1,2.5", (1, 2.5)),
        ("Recording,Activity,Begin,Duration", "v,eat,1,1.5", (1, 2.5)),
        ("Video,Class,Start (ms),End (ms)", "v,eat,1234,2000", (1.234, 2)),
        ("Video,Class,Start (mm:ss),End (mm:ss)", "v,eat,01:02,01:05", (62, 65)),
        ("Video,Class,Start (frame),End (frame),fps", "v,eat,50,75,25", (2, 3)),
        ("Datei,Klasse,Beginn,Dauer (ms)", "v,eat,1,500", (1, 1.5)),
        ("video,label,start,end,start_frame,end_frame", "v,eat,1,2,25,50", (1, 2)),
    ],
)
def test_headers(tmp_path, header, line, expected):
    assert load_rows(tmp_path, "t.csv", f"{header}\n{line}\n") == ([("v", *expected, "eat")], [])


def test_start_and_duration_add_up_to_what_a_person_would_write(tmp_path):
    rows, _ = load_rows(tmp_path, "t.csv", "video,label,start,duration\nv,a,1.1,2.2\n")
    assert rows == [("v", 1.1, 3.3, "a")]  # in floats, 1.1 + 2.2 is 3.3000000000000003


@pytest.mark.parametrize(
    "header,line,text",
    [
        ("Video,Behaviour,Start", "v,eat,1", "lacks end"),
        ("Video,Start,End", "v,1,2", "lacks label"),
        ("Video,Behaviour,Start,Onset,End", "v,eat,1,2,3", "'Start' and 'Onset' both mean 'start'"),
        ("Video,Behaviour,Start,End", 'v,eat,"1,500",2', "'Start' is '1,500', which may be 1.5"),
        (
            "Video,Behaviour,Start,End",
            "v,eat,1:02,1:03",
            "'Start' is '1:02', which may be 1 min 2 s",
        ),
        (
            "Video,Behaviour,Start (frame),End",
            "v,eat,25,2",
            "'Start .frame.' counts frames",
        ),
        (
            "Video,Behaviour,Start,End",
            "v,eat,1,5,2,5",
            "has 6 cells but the header 4; a text or number that",
        ),
        ("Video;Behaviour;Start;End", "v;eat;1", "has 3 cells but the header 4; a text"),
    ],
)
def test_wrong_or_ambiguous_tables(tmp_path, header, line, text):
    with pytest.raises(UserError, match=f"Annotation file '.*t.csv', line [12].*{text}"):
        load_rows(tmp_path, "t.csv", f"{header}\n{line}\n")


# === Units of times ===


def test_frames_take_the_rate_of_their_video_or_of_the_caller(tmp_path):
    content = "video,label,start frame,end frame,fps\na,x,50,100,\nb,x,50,100,25\nb,x,75,100,\n"
    rows, _ = load_rows(tmp_path, "t.csv", content, fps=50.0)
    assert rows == [("a", 1.0, 2.0, "x"), ("b", 2.0, 4.0, "x"), ("b", 3.0, 4.0, "x")]


def test_the_caller_may_say_what_numbers_are(tmp_path):
    content = "video,label,start,end\na,x,50,100\n"
    rows, _ = load_rows(tmp_path, "t.csv", content, fps=50.0, time_unit="frames")
    assert rows == [("a", 1.0, 2.0, "x")]
    for wrong, text in (
        ({"time_unit": "second"}, "time_unit must be .* did you mean 'seconds'"),
        ({"fps": 0}, "fps must be above 0"),
        ({"fps": float("nan")}, "fps must be a finite number"),
    ):
        with pytest.raises(UserError, match=text):
            load_rows(tmp_path, "t.csv", content, **wrong)


# === A duration beside an end ===


@pytest.mark.parametrize(
    "lines,duration",
    [
        ("v,a,1,2.5,1.5\nv,a,4,5,1\n", None),  # of each action, end - start
        ("v,a,1,2.5,60\nv,a,4,5,60\n", 60.0),  # of the video
        ("v,a,1,2.5,\nv,a,4,5,60\n", 60.0),
        ("v,a,0,60,60\n", 60.0),  # of both
    ],
)
def test_whose_a_duration_is(tmp_path, lines, duration):
    path = tmp_path / "t.csv"
    path.write_text(f"Video,Label,Start,End,Duration (s)\n{lines}")
    (video,) = load_annotations(path, default_subset="t").videos
    assert video.duration_sec == duration
    assert len(video.labels) == lines.count("\n")


def test_a_duration_of_neither(tmp_path):
    content = "Video,Label,Start,End,Duration (s)\nv,a,1,2.5,1.5\nv,a,4,5,60\n"
    with pytest.raises(UserError, match="line 3: 'Duration .s.' is neither the length of each"):
        load_rows(tmp_path, "t.csv", content)
    rows, _ = load_rows(tmp_path, "t.csv", content.replace("Duration (s)", "Bout duration (s)"))
    assert rows == [("v", 1.0, 2.5, "a"), ("v", 4.0, 5.0, "a")]


# === Names of videos ===


def test_a_video_is_called_as_its_feature_file(tmp_path):
    content = "video,label,start,end\nv1.mp4,a,1,2\n/data/cam/v2.MOV,a,1,2\nC:\\x\\v3.avi,a,1,2\n"
    content += "subject.1,a,1,2\nsome/v4,a,1,2\n.mp4,a,1,2\n"
    rows, _ = load_rows(tmp_path, "t.csv", content)
    assert [row[0] for row in rows] == ["v1", "v2", "v3", "subject.1", "some/v4", ".mp4"]


@pytest.mark.parametrize(
    "first,second", [("v.mp4", "v.avi"), ("v", "v.mp4"), ("a/v.mp4", "b/v.mp4")]
)
def test_videos_that_differ_in_what_is_dropped(tmp_path, first, second):
    content = f"video,label,start,end\n{first},a,1,2\n{second},a,1,2\n"
    with pytest.raises(
        UserError, match=f"line 3: '{second}' and '{first}' would both be the video"
    ):
        load_rows(tmp_path, "t.csv", content)


def test_ids_in_json_stay_as_they_are(tmp_path):
    content = '{"database": {"v.mp4": {"annotations": []}, "v.avi": {"annotations": []}}}'
    path = tmp_path / "t.json"
    path.write_text(content)
    videos = load_annotations(path, default_subset="t").videos
    assert [video.video_id for video in videos] == ["v.mp4", "v.avi"]


# === Large and other files ===


@pytest.mark.parametrize("name", ["t.xls", "t.ods"])
def test_other_spreadsheets(tmp_path, name):
    with pytest.raises(UserError, match=f"{name}': save the table as .xlsx or .csv"):
        load_rows(tmp_path, name, b"\xd0\xcf\x11\xe0")


def test_many_lines(tmp_path):
    count = 2_000
    lines = "".join(f"v{i % 50};x;{i // 50},5;{i // 50 + 1},5\n" for i in range(count))
    rows, _ = load_rows(tmp_path, "t.csv", f"Video;Label;Start;End\n{lines}")
    assert len(rows) == count
    np.testing.assert_allclose([end - start for _, start, end, _ in rows], 1.0)


def test_groups(tmp_path):
    table = tmp_path / "a.csv"
    table.write_text(
        "Video;Start;End;Label;Subject\na.mp4;1;2;x;Anna\na.mp4;3;4;x;Anna\nb;1;2;y;Bo\n"
    )
    assert read_groups(table, "subject", lambda text: None) == {"a": "Anna", "b": "Bo"}
    with pytest.raises(UserError, match="has no column 'subjct'; did you mean 'Subject'?"):
        read_groups(table, "subjct", lambda text: None)
    table.write_text("video,start,end,label,subject\na,1,2,x,Anna\na,3,4,x,Bo\n")
    with pytest.raises(UserError, match="line 3: 'subject' is 'Bo', but an earlier line .* 'Anna'"):
        read_groups(table, "subject", lambda text: None)
