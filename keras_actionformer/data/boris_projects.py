"""Projects of BORIS (.boris, JSON): read and written.

The events of a subject and a behavior are starts and ends by turns, which nothing else calls so.
"""

import datetime
import functools
import pathlib

from keras_actionformer.checks import number, shown
from keras_actionformer.data.drafts import without_overlap
from keras_actionformer.data.entries import (
    add_action,
    json_field,
    media_entry,
    with_spans,
)
from keras_actionformer.errors import UserError

_BEHAVIORS, _SUBJECTS = "behaviors_conf", "subjects_conf"


# Of an object: (where, item, name, kind).
_field = functools.partial(json_field, writer="BORIS writes it")


def is_boris_project(content):
    """Whether the content of a JSON file is a project of BORIS."""
    return isinstance(content, dict) and {_BEHAVIORS, "observations"} <= content.keys()


def boris_project_entries(source, content, reading):
    """Makes entries of a project's observations, each of a video.

    Args:
      source: str, the file as errors name it.
      content: dict, see `is_boris_project`.
      reading: `Reading`.

    Returns:
      dict, the entries that `build_annotations` takes.

    Raises:
      UserError: something is wrong, or it is not clear which video it is about.
    """
    behaviors = _field(source, content, _BEHAVIORS, dict)
    of_points = {
        _field(f"{source}, behavior {key!r:.40}", behavior, "code", str)
        for key, behavior in behaviors.items()
        if _field(f"{source}, behavior {key!r:.40}", behavior, "type", str).startswith("Point")
    }
    entries = {}
    for name, observation in _field(source, content, "observations", dict).items():
        where = f"{source}, observation {name!r:.80}"
        entry = media_entry(entries, where, _media(where, observation) or name)
        if entry.setdefault("observation", name) != name:
            raise UserError(
                f"{where}: the observation {entry['observation']!r} is of the same video; delete "
                "one of them."
            )
        offset_sec = number(f"{where}: 'time offset'", observation.get("time offset") or 0)
        for label, start_sec, end_sec in _pairs(where, observation, of_points):
            times = (round(time_sec - offset_sec, 6) for time_sec in (start_sec, end_sec))
            add_action(entry, where, label, *times)
    return with_spans(entries, source, reading.tell)


def _media(where, observation):
    """Returns the file that an observation is of; None where it is live, or of pictures."""
    players = _field(where, observation, "file", dict | list)
    if isinstance(players, list) or not players.get("1"):
        return None
    files = _field(where, players, "1", list)
    if len(files) > 1:
        raise UserError(
            f"{where} has the media files {shown(files[0])} and {shown(files[1])} one after the "
            "other, and its times count through both; make an observation of each."
        )
    if not isinstance(files[0], str):
        raise UserError(f"{where} must have the name of a file, but it is {shown(files[0])}.")
    return files[0]


def _pairs(where, observation, of_points):
    """Returns (behavior, start, end in seconds) of the events of an observation, by time."""
    found, open_ = [], {}
    events = []
    for event in _field(where, observation, "events", list):
        if not isinstance(event, list) or len(event) < 4:
            raise UserError(
                f"{where}: an event must be a time, a subject, a behavior and modifiers, but it is "
                f"{shown(event)}."
            )
        time_sec = number(f"{where}: the time of an event", event[0])
        events.append((time_sec, tuple(map(str, event[1:4]))))
    for time_sec, key in sorted(events):
        if key[1] in of_points:
            found.append((key[1], time_sec, time_sec))
        elif key in open_:
            found.append((key[1], open_.pop(key), time_sec))
        else:
            open_[key] = time_sec
    for key, time_sec in open_.items():
        raise UserError(
            f"{where}: the {key[1]!r} that begins at {time_sec:g} s has no end; correct it in "
            "BORIS, which can list unpaired events."
        )
    return sorted(found, key=lambda pair: pair[1:])


# === Writing ===


def boris_project(drafts):
    """Returns a project of `Draft`s that have media files, as JSON holds it.

    Scores are the comments of the events. BORIS takes the events of a subject and a behavior as
    starts and ends by turns, so that what overlaps is another subject's.
    """
    now = datetime.datetime.now().isoformat(timespec="seconds")
    behaviors = dict.fromkeys(name for draft in drafts for name in draft.class_names)
    observations, subjects = {}, {"": None}
    for draft in drafts:
        events = []
        for label in {span.label for span in draft.spans}:
            lists = without_overlap([span for span in draft.spans if span.label == label])
            for place, spans in enumerate(lists):
                subject = f"overlap {place}" if place else ""
                subjects[subject] = None
                for span in spans:
                    start_sec, end_sec = span.times_sec
                    events.append([start_sec, subject, label, "", f"score {span.score:.4f}"])
                    events.append([end_sec, subject, label, "", ""])
        media = draft.media if "://" in draft.media else str(pathlib.Path(draft.media).absolute())
        observations[draft.video_id] = {
            "type": "MEDIA",
            "date": now,
            "description": "",
            "time offset": 0.0,
            "file": {"1": [media], **{str(player): [] for player in range(2, 9)}},
            "media_info": {"length": {}, "fps": {}, "offset": {"1": 0.0}},  # BORIS looks itself
            "events": sorted(events),
            "independent_variables": {},
            "observation time interval": [0, 0],
            "close_behaviors_between_videos": False,
        }
    return {
        "time_format": "s",
        "project_date": now,
        "project_name": "Drafts of keras-actionformer",
        "project_description": "",
        "project_format_version": "7.0",
        _SUBJECTS: {
            str(i): {"key": "", "name": subject, "description": ""}
            for i, subject in enumerate(filter(None, subjects))
        },
        _BEHAVIORS: {
            str(i): {
                "type": "State event",
                "key": "",
                "code": behavior,
                "description": "",
                "category": "",
                "modifiers": "",
                "excluded": "",
                "coding map": "",
            }
            for i, behavior in enumerate(behaviors)
        },
        "observations": observations,
        "behavioral_categories": [],
        "independent_variables": {},
        "coding_map": {},
        "behaviors_coding_map": [],
        "converters": {},
    }
