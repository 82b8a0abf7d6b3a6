"""Subtitles as annotations: SubRip and WebVTT, as editors and the standard's examples have them."""

import pytest

from helpers.annotation_files import load_rows, rows_of
from keras_actionformer.data.annotation_files import load_annotations
from keras_actionformer.errors import UserError

SRT = (
    "1\r\n00:00:01,500 --> 00:00:02,250\r\neat\r\n\r\n"
    "2\r\n00:01:02,000 --> 01:00:03,004  X1:63 X2:223\r\nrun\r\nfast & far\r\n\r\n"
    "\r\n00:00:05,000 --> 00:00:06,000\r\n3\r\n"
)
VTT = """WEBVTT - some title
Kind: captions

STYLE
::cue { color: red }

NOTE
of nobody

intro
00:01.500 --> 00:02.250 align:start line:0%
<v Ada>eat &amp; <b>drink</b></v>

00:01:02.000 --> 100:00:03.004
a &lt;b&gt;
"""


def test_subrip(tmp_path):
    rows, notes = load_rows(tmp_path, "cage 1.srt", SRT)
    assert rows == [
        ("cage 1", 1.5, 2.25, "eat"),
        ("cage 1", 62.0, 3603.004, "run fast & far"),
        ("cage 1", 5.0, 6.0, "3"),
    ]
    assert notes == []


def test_webvtt(tmp_path):
    rows, _ = load_rows(tmp_path, "v.vtt", VTT)
    assert rows == [("v", 1.5, 2.25, "eat & drink"), ("v", 62.0, 360003.004, "a <b>")]


@pytest.mark.parametrize("newline", ["\n", "\r", "\r\n"])
def test_line_ends_and_byte_order_marks(tmp_path, newline):
    for name, content in (("v.srt", SRT.replace("\r\n", "\n")), ("v.vtt", VTT)):
        plain, _ = load_rows(tmp_path, name, content)
        marked = content.replace("\n", newline).encode("utf-8-sig")
        assert load_rows(tmp_path, name, marked)[0] == plain


def test_another_encoding_is_told(tmp_path):
    content = "1\n00:00:01,000 --> 00:00:02,000\nfütter\n".encode("cp1252")
    rows, (note,) = load_rows(tmp_path, "v.srt", content)
    assert rows == [("v", 1.0, 2.0, "fütter")] and "read as Windows-1252" in note


def test_a_folder_of_files(tmp_path):
    (tmp_path / "a.srt").write_text(SRT)
    (tmp_path / "b.01.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\neat\n")
    (tmp_path / "empty.srt").write_text("\n")
    (tmp_path / "mark.srt").write_text("1\n00:00:01,000 --> 00:00:01,000\neat\n")
    notes = []
    rows = rows_of(load_annotations(tmp_path, default_subset="t", on_note=notes.append))
    assert rows[-1] == ("b.01", 1.0, 2.0, "eat") and [row[0] for row in rows[:3]] == ["a"] * 3
    assert "empty.srt': videos without any action are left out" in notes[0]
    assert "mark.srt': point events are left out" in notes[1]


@pytest.mark.parametrize(
    "line,text",
    [
        ("7\n00:00:09,000 --> 00:00:08,000\na\n", "line 11.*must end after it starts"),
        ("7\n00:00:09,000 -> 00:00:10,000\na\n", "line 10 must be the times of a cue, .*is '7'"),
        ("7\n00:00:09 --> 00:00:10\na\n", "line 11 must be the times of a cue.*'00:00:09 -->"),
        ("7\n00:00:09,000 --> 00:00:10,000\n", "line 11: this cue has no text"),
        ("7\n00:00:09,000 --> 00:00:10,000\na\n\nb\n", "line 14 must be .* no line may be empty"),
    ],
)
def test_wrong_cues(tmp_path, line, text):
    cues = "1\n00:00:01,500 --> 00:00:02,250\neat\n\n" * 2 + "\n"
    with pytest.raises(UserError, match=f"v.srt', {text}"):
        load_rows(tmp_path, "v.srt", cues + line)


def test_webvtt_without_its_head(tmp_path):
    for content in ("00:01.000 --> 00:02.000\na\n", ""):
        with pytest.raises(UserError, match="v.vtt' must begin with WEBVTT"):
            load_rows(tmp_path, "v.vtt", content)
