"""Projects of BORIS, with the fields that those of version 8.27 have (format 7.0)."""

import copy
import json

import pytest

from helpers.annotation_files import load_rows
from keras_actionformer.errors import UserError

PROJECT = {
    "time_format": "hh:mm:ss",
    "project_date": "2024-05-01T10:00:00",
    "project_name": "hens",
    "project_description": "",
    "project_format_version": "7.0",
    "subjects_conf": {"0": {"key": "h", "name": "hen", "description": ""}},
    "behaviors_conf": {
        "0": {"type": "State event", "key": "e", "code": "eat", "modifiers": ""},
        "1": {"type": "Point event", "key": "p", "code": "peck", "modifiers": ""},
    },
    "observations": {
        "day 1": {
            "file": {"1": ["C:/films/v1.mp4"], "2": []},
            "type": "MEDIA",
            "date": "2024-05-01T10:00:00",
            "description": "",
            "time offset": 0.5,
            "events": [
                [2.0, "", "eat", "", "", 50],
                [2.5, "hen", "eat", "grain", "", 62],
                [3.0, "", "eat", "", "score 0.3", 75],
                [3.5, "hen", "eat", "grain", "", 87],
                [4.25, "", "peck", "", "", 106],
                [3.0, "", "eat", "", "", 75],
                [4.625, "", "eat", "", "", 115],
            ],
        },
        "live": {"file": [], "type": "LIVE", "time offset": 0.0, "events": []},
    },
}


def load(tmp_path, change=lambda project, day: None):
    project = copy.deepcopy(PROJECT)
    change(project, project["observations"]["day 1"])
    return load_rows(tmp_path, "hens.boris", json.dumps(project))


def test_events_are_starts_and_ends_by_turns(tmp_path):
    rows, (points, empty) = load(tmp_path)
    # An end and a start at the same time are two bouts, whichever stands first.
    assert rows == [
        ("v1", 1.5, 2.5, "eat"), ("v1", 2.0, 3.0, "eat"), ("v1", 2.5, 4.125, "eat"),
    ]  # fmt: skip
    assert "point events are left out" in points and "1 of 'peck'." in points
    assert "videos without any action are left out: 1, first 'live'" in empty


def test_an_observation_without_a_file_is_the_video(tmp_path):
    def change(project, day):
        day["file"] = {"1": []}

    assert {row[0] for row in load(tmp_path, change)[0]} == {"day 1"}


def unpaired(project, day):
    day["events"].pop()


def two_files(project, day):
    day["file"]["1"].append("v2.mp4")


def two_observations(project, day):
    project["observations"]["day 2"] = day


def no_events(project, day):
    day["events"] = None


def no_times(project, day):
    day["events"][0][0] = "2.0"


def no_events_of_boris(project, day):
    day["events"][0] = [2.0, "eat"]


def no_ethogram(project, day):
    project["behaviors_conf"] = []


@pytest.mark.parametrize(
    "change,text",
    [
        (unpaired, "'day 1': the 'eat' that begins at 3 s has no end"),
        (two_files, "the media files 'C:/films/v1.mp4' and 'v2.mp4' one after the other"),
        (two_observations, "'day 2': the observation 'day 1' is of the same video"),
        (no_events, "must have 'events' as BORIS writes it, but it is None"),
        (no_times, "the time of an event must be a finite number, but it is '2.0'"),
        (no_events_of_boris, r"an event must be a time, .*but it is \[2.0, 'eat'\]"),
        (no_ethogram, "must have 'behaviors_conf' as BORIS writes it"),
    ],
)
def test_wrong_projects(tmp_path, change, text):
    with pytest.raises(UserError, match=f"hens.boris'.*{text}"):
        load(tmp_path, change)
