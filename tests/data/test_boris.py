"""BORIS' tables, with the columns and words that its exports of versions 7, 8.27 and 10.0 have."""

import pytest

from helpers.annotation_files import load_rows
from keras_actionformer.data.annotation_files import load_annotations
from keras_actionformer.errors import UserError

# "Aggregated events" and "Tabular events" of versions 8.27 and 10.0; a modifier is a column more.
AGGREGATED = (
    "Observation id,Observation date,Description,Observation type,Source,Time offset (s),"
    "Coding duration,Media duration (s),FPS (frame/s),Subject,"
    "Observation duration by subject by observation,Behavior,Behavioral category,Modifier #1,"
    "Behavior type,Start (s),Stop (s),Duration (s),Media file name,Image index start,"
    "Image index stop,Image file path start,Image file path stop,Comment start,Comment stop"
).split(",")
TABULAR = (
    "Observation id,Observation date,Description,Observation duration,Observation type,Source,"
    "Time offset (s),Media duration (s),FPS,Subject,Behavior,Behavioral category,Modifier #1,"
    "Behavior type,Time,Media file name,Image index,Image file path,Comment"
).split(",")
COMMON = {
    "Observation id": "cage 1",
    "Observation date": "2024-05-01 10:00:00",
    "Observation type": "Media file(s)",
    "Source": "player #1:C:/films/v1.mp4",
    "Time offset (s)": "0.0",
    "Media duration (s)": "60.040",
    "FPS": "25.000",
    "FPS (frame/s)": "25.000",
    "Subject": "No focal subject",
    "Media file name": "C:/films/v1.mp4",
    "Image file path": "NA",
}


def table(header, *events, separator="\t", **common):
    """A table of events, dicts of what differs from `COMMON`."""
    lines = [header]
    lines += [[(COMMON | common | event).get(name, "") for name in header] for event in events]
    return "".join(separator.join(line) + "\r\n" for line in lines)


def state(behavior, start, stop, **more):
    times = {"Start (s)": start, "Stop (s)": stop, "Duration (s)": "1.000"}
    return {"Behavior": behavior, "Behavior type": "STATE", **times, **more}


def event(behavior, status, time, **more):
    return {"Behavior": behavior, "Behavior type": status, "Time": time, **more}


POINT = {"Behavior": "peck", "Behavior type": "POINT", "Start (s)": "3.000", "Stop (s)": "3.000"}


@pytest.mark.parametrize("name,separator", [("a.tsv", "\t"), ("a.csv", ",")])
def test_aggregated_events(tmp_path, name, separator):
    content = table(
        AGGREGATED,
        state("eat", "1.500", "2.500", Subject="hen"),
        state("eat", "2.000", "4.125", Subject="cock"),
        {**POINT, "Duration (s)": "NA"},
        separator=separator,
    )
    rows, (note,) = load_rows(tmp_path, name, content)
    assert rows == [("v1", 1.5, 2.5, "eat"), ("v1", 2.0, 4.125, "eat")]
    assert "point events are left out, as an action has a start and an end: 1 of 'peck'." in note
    (video,) = load_annotations(tmp_path / name, default_subset="t").videos
    assert (video.duration_sec, video.fps) == (60.04, 25.0)


def test_tabular_events_are_paired_by_subject_and_modifier(tmp_path):
    content = table(
        TABULAR,
        event("eat", "START", "1.500", Subject="hen"),
        event("eat", "START", "2.000", Subject="cock"),
        event("eat", "START", "2.250", Subject="cock", **{"Modifier #1": "corn"}),
        event("peck", "POINT", "2.300"),
        event("eat", "STOP", "2.500", Subject="hen"),
        event("eat", "STOP", "3.000", Subject="cock", **{"Modifier #1": "corn"}),
        event("eat", "STOP", "4.000", Subject="cock"),
    )
    rows, (note,) = load_rows(tmp_path, "a.tsv", content)
    assert rows == [("v1", 1.5, 2.5, "eat"), ("v1", 2.25, 3.0, "eat"), ("v1", 2.0, 4.0, "eat")]
    assert "point events" in note


# "Export events > Tabular events" of version 7: what the observation is stands above the header.
TABULAR_7 = """\
Observation id\tcage 1\t\t\t\t\t\t\t
\t\t\t\t\t\t\t\t
Media file(s)\t\t\t\t\t\t\t\t
\t\t\t\t\t\t\t\t
Player #1\tvideo_25fps.mp4\t\t\t\t\t\t\t
\t\t\t\t\t\t\t\t
Observation date\t2016-11-27 01:57:26\t\t\t\t\t\t\t
\t\t\t\t\t\t\t\t
Description\t\t\t\t\t\t\t\t
\t\t\t\t\t\t\t\t
Time offset (s)\t1.0\t\t\t\t\t\t\t
\t\t\t\t\t\t\t\t
independent variables\t\t\t\t\t\t\t\t
variable\tvalue\t\t\t\t\t\t\t
weather\tsunny\t\t\t\t\t\t\t
\t\t\t\t\t\t\t\t
Time\tMedia file path\tTotal length\tFPS\tSubject\tBehavior\tBehavioral category\tComment\tStatus
3.300\tvideo_25fps.mp4\t359.960\t25.0\tsubject1\tswim\t\t\tSTART
7.750\tvideo_25fps.mp4\t359.960\t25.0\tsubject1\tswim\t\t\tSTOP
8.000\tvideo_25fps.mp4\t359.960\t25.0\tsubject1\tcall\t\t\tPOINT
"""


def test_tabular_events_of_version_7(tmp_path):
    rows, (note,) = load_rows(tmp_path, "a.tsv", TABULAR_7)
    assert rows == [
        ("video_25fps", 2.3, 6.75, "swim")
    ]  # in the media file, an offset of 1 s earlier
    assert "point events" in note


def test_aggregated_events_of_version_7(tmp_path):
    content = (
        "Observation id,Observation date,Description,Media file,Total length,FPS,Subject,Behavior,"
        "Behavioral category,Modifiers,Behavior type,Start (s),Stop (s),Duration (s),Comment start,"
        "Comment stop\n"
        "6008,2021-12-06 13:26:24,,T:/films/6008.mp4,1381.010,29.97,No focal subject,hold,,,STATE,"
        "689.000,989.023,300.023,,\n"
    )
    rows, notes = load_rows(tmp_path, "a.csv", content)
    assert (rows, notes) == ([("6008", 689.0, 989.023, "hold")], [])


def test_times_become_those_of_the_media_file(tmp_path):
    events = [state("eat", "11.500", "12.500")]
    content = table(AGGREGATED, *events, **{"Time offset (s)": "10.0"})
    assert load_rows(tmp_path, "a.tsv", content)[0] == [("v1", 1.5, 2.5, "eat")]


def test_a_live_observation_is_its_own_video(tmp_path):
    live = {
        "Source": "NA",
        "Media file name": "NA",
        "Media duration (s)": "NA",
        "FPS (frame/s)": "NA",
    }
    content = table(AGGREGATED, state("eat", "1.5", "2.5"), **live)
    assert load_rows(tmp_path, "a.tsv", content)[0] == [("cage 1", 1.5, 2.5, "eat")]


def test_a_second_player_shows_the_same_time(tmp_path):
    both = {
        "Source": "player #1:a.mp4|player #2:b.mp4",
        "Media file name": "a.mp4",
        "Media duration (s)": "60.000|60.000",
        "FPS (frame/s)": "25.000|25.000",
    }
    content = table(AGGREGATED, state("eat", "1.5", "2.5"), **both)
    assert load_rows(tmp_path, "a.tsv", content)[0] == [("a", 1.5, 2.5, "eat")]


def test_independent_variables_with_names_of_columns(tmp_path):
    header = [*AGGREGATED[:9], "Class", "Video", *AGGREGATED[9:]]
    content = table(header, state("eat", "1.5", "2.5"), Class="b", Video="x")
    assert load_rows(tmp_path, "a.tsv", content)[0] == [("v1", 1.5, 2.5, "eat")]


@pytest.mark.parametrize(
    "content,text",
    [
        (
            table(AGGREGATED, state("eat", "1", "2"), Source="player #1:a.mp4;b.mp4"),
            "2: the observation 'cage 1' has the media files 'a.mp4' and 'b.mp4' one after",
        ),
        (
            table(
                AGGREGATED,
                state("eat", "1", "2"),
                state("eat", "1", "2", **{"Observation id": "second look"}),
            ),
            "3: the observations 'cage 1' and 'second look' are of one video",
        ),
        (table(TABULAR, event("eat", "STOP", "1")), "2: this STOP of 'eat' has no START;"),
        (table(TABULAR, event("eat", "START", "1")), "2: this START of 'eat' has no STOP;"),
        (
            table(TABULAR, event("eat", "START", "1"), event("eat", "START", "2")),
            "3: this START of 'eat' has no STOP before it",
        ),
        (table(TABULAR, event("eat", "stopp", "1")), "2 must be START, STOP or POINT, .* 'stopp'"),
        (table(TABULAR, event("eat", "START", "NA")), "2: 'Time' must be a number, but it is 'NA'"),
        (
            table(AGGREGATED, state("eat", "1,500", "2")),
            "2: 'Start .s.' is '1,500', which may be 1.5 with a decimal",
        ),
    ],
)
def test_wrong_or_ambiguous_tables(tmp_path, content, text):
    with pytest.raises(UserError, match=f"a.tsv', line {text}"):
        load_rows(tmp_path, "a.tsv", content)
