"""What a header says its columns are."""

import pytest

from keras_actionformer.data.table_columns import choose_columns, worded_columns
from keras_actionformer.errors import UserError


def chosen(header):
    columns = choose_columns("line 1", worded_columns(header))
    return {role: (column.header, column.unit) for role, column in columns.items()}


@pytest.mark.parametrize(
    "text,role,unit",
    [
        ("Video", "video", None),
        ("video-id", "video", None),
        ("videoID", "video", None),
        ("File name", "video", None),
        ("Start (s)", "start", "seconds"),
        ("start_sec", "start", "seconds"),
        ("t-start", "start", None),
        ("Start Time", "start", None),
        ("StartFrame", "start", "frames"),
        ("Start [ms]", "start", "milliseconds"),
        ("Onset", "start", None),
        ("End time (mm:ss)", "end", "mm:ss"),
        ("Stop (h:mm:ss.s)", "end", "h:mm:ss"),
        ("End (min)", "end", "minutes"),
        ("Frame end", "end", "frames"),
        ("Begin Time - hh:mm:ss.ms", "start", "h:mm:ss"),  # of ELAN's tab-delimited text
        ("Begin Time - ss.msec", "start", "seconds"),
        ("Behaviour", "label", None),
        ("Behavior", "label", None),
        ("Activity", "label", None),
        ("CLASS", "label", None),
        ("Duration (s)", "duration", "seconds"),
        ("Bout duration", "length", None),
        ("Total length", "video_duration", None),
        ("Verhalten", "label", None),
        ("Beginn", "start", None),
        ("Ende (s)", "end", "seconds"),
        ("Dauer in Sekunden", "duration", "seconds"),
        ("Aktivität", "label", None),
    ],
)
def test_words(text, role, unit):
    assert chosen([text]) == {role: (text, unit)}


@pytest.mark.parametrize(
    "text",
    ["", "Note", "Start (parsec)", "Start (s, ms)", "Time offset (s)", "Starting block", "s"],
)
def test_other_words(text):
    assert chosen([text]) == {}


@pytest.mark.parametrize("start,end", [("Onset", "Offset"), ("from", "to"), ("Von (s)", "Bis (s)")])
def test_words_that_mean_it_beside_each_other(start, end):
    assert {role: header for role, (header, _) in chosen([start, end]).items()} == {
        "start": start,
        "end": end,
    }
    assert "end" not in chosen([end]) and chosen(["Start", "End", end])["end"][0] == "End"


def test_the_same_in_another_unit():
    assert chosen(["start_frame", "start", "Start (ms)"]) == {"start": ("start", None)}
    assert chosen(["Begin Time - msec", "Begin Time - hh:mm:ss.ms"])["start"][1] == "h:mm:ss"


def test_the_video_beside_its_file():
    assert chosen(["File", "Video"]) == {"video": ("Video", None)}


def test_the_label_beside_its_category():
    assert chosen(["Event"]) == {"label": ("Event", None)}
    assert chosen(["Category", "Behaviour", "Tag"]) == {"label": ("Behaviour", None)}
    with pytest.raises(UserError, match="columns 'Event' and 'Code' both mean 'label'"):
        chosen(["Event", "Code"])


@pytest.mark.parametrize(
    "header", [("Start", "Onset"), ("Start (s)", "Begin (ms)"), ("start", "start_sec")]
)
def test_two_that_may_be_the_start(header):
    with pytest.raises(UserError, match="columns '(.*)' and '(.*)' both mean 'start'; remove one"):
        chosen(header)


@pytest.mark.parametrize("header", [("Label", "Behaviour"), ("video", "video_id"), ("End", "Ende")])
def test_two_that_may_be_another_thing(header):
    with pytest.raises(UserError, match=f"columns '{header[0]}' and '{header[1]}' both mean"):
        chosen(header)
