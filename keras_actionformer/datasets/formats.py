"""The field's other annotation formats, read into the one checked form of data/annotations.py.

* `read_thumos14`: THUMOS14, a text file for each class.
* `read_epic100`: EPIC-KITCHENS-100 and EPIC-SOUNDS, a CSV file for each subset.

ActivityNet's JSON, and the files that the reference has converted to it, need no reader of their
own, and neither does a table with one action a line (data/annotation_files.py). The data sets here
are taken as published: a segment that lies outside its video stays (`outside="keep"`), since
published scores count it. `save_annotations` writes what they return.
"""

import collections
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Literal

from absl import logging

from keras_actionformer.data.annotations import Annotations, build_annotations
from keras_actionformer.data.entries import set_once, video_entry
from keras_actionformer.data.table_columns import choose_columns, spelled_columns
from keras_actionformer.data.table_files import read_table
from keras_actionformer.data.table_times import Cell, Times
from keras_actionformer.data.tables import read_video_times, whole_number
from keras_actionformer.errors import UserError, suggest
from keras_actionformer.files import read_text

# How data sets (their file names, fields and splits) call the subsets -> how configurations do.
SUBSETS = {
    "train": "training",
    "training": "training",
    "val": "validation",
    "validation": "validation",
    "test": "test",
}


def _add_durations(entries, durations):
    """Adds what is known about videos apart from their annotations; unknown videos stay as is."""
    if isinstance(durations, str | os.PathLike):
        for where, video_id, times in read_video_times(durations, logging.warning):
            for name, value in times.items():
                if video_id in entries:
                    set_once(where, entries[video_id], name, value)
    else:
        for video_id, duration in (durations or {}).items():
            if video_id in entries:
                entries[video_id]["duration"] = duration


def _read_rows(path, names):
    """Yields (a line as errors name it, dict from each of `names` to the text of its column)."""
    find_columns = spelled_columns(names)
    table = read_table(path, find_columns, [names], logging.warning)
    yield from table.rows(choose_columns(table.where, find_columns(table.header)))


# THUMOS14 --------------------------------------------------------------

THUMOS14_CLASSES = (
    "BaseballPitch",
    "BasketballDunk",
    "Billiards",
    "CleanAndJerk",
    "CliffDiving",
    "CricketBowling",
    "CricketShot",
    "Diving",
    "FrisbeeCatch",
    "GolfSwing",
    "HammerThrow",
    "HighJump",
    "JavelinThrow",
    "LongJump",
    "PoleVault",
    "Shotput",
    "SoccerPenalty",
    "TennisSwing",
    "ThrowDiscus",
    "VolleyballSpiking",
)
_PLAIN = Times(())  # numbers have decimal points, as always where no cell says otherwise
# Neither action nor background: the annotators could not tell. The evaluation leaves them out.
_AMBIGUOUS = "Ambiguous"


def read_thumos14(
    folder: str | os.PathLike[str],
    durations: Mapping[str, float] | str | os.PathLike[str] | None = None,
) -> Annotations:
    """Reads THUMOS14's official temporal annotations.

    These are `BaseballPitch_val.txt`, `BaseballPitch_test.txt` and so on, one file for each of the
    20 classes and subset, in which a line is `video_validation_0000051  67.5 75.9` (seconds). The
    segments of `Ambiguous_*.txt` are left out and their number is logged. Label ids are the
    alphabetical order of the classes, as in the reference. The CliffDiving segments are annotated
    as Diving too, and stay both.

    Args:
      folder: str or `os.PathLike`, the folder of the text files of one subset or both, or any
        folder above it (TH14_Temporal_annotations_validation and TH14_Temporal_Annotations_Test
        are what the official archives unpack to).
      durations: the text files have neither durations nor frame rates: a dict from video id to
        seconds, or a CSV file with the columns `video,duration` and perhaps `fps`, or None.

    Returns:
      `Annotations` with the subsets "validation" and "test", videos in the order of their names.

    Raises:
      UserError: files are missing or of unknown classes, or a line is wrong.
    """
    entries, num_ambiguous = {}, 0
    for name, subset, path in _thumos14_files(pathlib.Path(folder)):
        rows = _read_thumos14_file(path)
        if name == _AMBIGUOUS:
            num_ambiguous += len(rows)
            continue
        if not rows:
            raise UserError(f"Annotation file '{path}' is empty; unpack the data set again.")
        for where, video_id, segment in rows:
            entry = video_entry(entries, where, video_id)
            set_once(where, entry, "subset", subset)
            entry["annotations"].append({"where": where, "label": name, "segment": segment})
    logging.info("THUMOS14: %d ambiguous segments are left out.", num_ambiguous)
    for entry in entries.values():
        entry["annotations"].sort(key=lambda action: action["segment"])
    _add_durations(entries, durations)
    entries = dict(sorted(entries.items()))
    return build_annotations(f"Folder '{folder}'", entries, THUMOS14_CLASSES, outside="keep")


def _thumos14_files(folder):
    """Returns (class name or `_AMBIGUOUS`, subset, path) of every text file, in this order."""
    found = {}
    # Unpacking on a Mac leaves files like ._Diving_val.txt.
    for path in sorted(p for p in folder.rglob("*_*.txt") if not p.name.startswith(".")):
        name, _, ending = path.stem.rpartition("_")
        if ending not in ("val", "test"):
            continue
        if name not in (*THUMOS14_CLASSES, _AMBIGUOUS):
            raise UserError(
                f"Annotation file '{path}': {name!r} is none of the 20 classes of THUMOS14"
                f"{suggest(name, THUMOS14_CLASSES) or '.'}"
            )
        if (name, SUBSETS[ending]) in found:
            raise UserError(
                f"Folder '{folder}' has {path.name} twice, in '{path.parent}' and "
                f"'{found[name, SUBSETS[ending]].parent}'; remove one."
            )
        found[name, SUBSETS[ending]] = path
    subsets = {subset for _, subset in found}
    if not subsets:
        raise UserError(
            f"Folder '{folder}' has no file like BaseballPitch_val.txt or BaseballPitch_test.txt; "
            "give the folder of THUMOS14's temporal annotations."
        )
    missing = {(name, subset) for name in THUMOS14_CLASSES for subset in subsets} - set(found)
    if missing:
        raise UserError(
            f"Folder '{folder}' lacks {len(missing)} class files, first that of "
            f"{' in the subset '.join(min(missing))}; unpack the data set again."
        )
    return [(name, subset, path) for (name, subset), path in sorted(found.items())]


def _read_thumos14_file(path):
    """Returns [(place, video id, [start, end] in seconds)] of a file's lines."""
    rows = []
    for i, line in enumerate(read_text(path, "Annotation file").splitlines(), start=1):
        where, words = f"Annotation file '{path}', line {i}", line.split()
        if words and len(words) != 3:
            raise UserError(
                f"{where} must be a video, a start and an end in seconds, but it is {line!r:.80}."
            )
        if words:
            cells = [Cell(where, *pair) for pair in zip(("start", "end"), words[1:], strict=True)]
            segment = [_PLAIN.number(cell) for cell in cells]
            rows.append((where, words[0], segment))
    return rows


# EPIC-KITCHENS-100 and EPIC-SOUNDS -------------------------------------

# target -> the columns of a label's name and id, and how many classes there are. (An action: both.)
_EPIC_TARGETS = {
    "verb": ("verb", "verb_class", 97),
    "noun": ("noun", "noun_class", 300),
    "action": (),
    "sound": ("class", "class_id", 44),
}
_EPIC_TIMES = ("start_timestamp", "stop_timestamp")
_TIMESTAMP = re.compile(r"([0-9]+):([0-5][0-9]):([0-5][0-9](\.[0-9]+)?)")


def read_epic100(
    csv_paths: str
    | os.PathLike[str]
    | Sequence[str | os.PathLike[str]]
    | Mapping[str, str | os.PathLike[str]],
    target: Literal["verb", "noun", "action", "sound"],
    class_file: str | os.PathLike[str] | None = None,
    durations: Mapping[str, float] | str | os.PathLike[str] | None = None,
) -> Annotations:
    """Reads the official CSV files of EPIC-KITCHENS-100 or, as target "sound", EPIC-SOUNDS.

    Those are `EPIC_100_train.csv` and `EPIC_100_validation.csv` (`EPIC_Sounds_train.csv` and so
    on), of which the columns `video_id`, `start_timestamp`, `stop_timestamp` (HH:MM:SS.ss) and
    those of the target are read: `verb` and `verb_class`, `noun` and `noun_class`, or `class` and
    `class_id`. Label ids are those of the files.

    Args:
      csv_paths: str or `os.PathLike`, or several, whose names tell their subsets (train,
        validation or test); or a dict from subset to file.
      target: `"verb"` (97 classes), `"noun"` (300) or `"sound"` (44); or `"action"`: pairs of verb
        and noun, which are called by both ids, as `"0,21"`, of which there are those that occur.
      class_file: str or `os.PathLike`, `EPIC_100_verb_classes.csv` or `EPIC_100_noun_classes.csv`,
        whose column `key` names the classes. Without it a class has the name that most of its
        narrations use (of equally many the alphabetically first), or `class_<id>` when there is
        none: the id is what counts, and narrations call one class by many names ("pick-up" and
        "get" are both verb 0, "take").
      durations: as for `read_thumos14`; `EPIC_100_video_info.csv` has the right form.

    Returns:
      `Annotations` with the subsets "training", "validation" and "test" as far as given.

    Raises:
      UserError: a file is unreadable, lacks a column, or has a wrong line.
    """
    if target not in _EPIC_TARGETS:
        raise UserError(
            f"target must be one of {', '.join(map(repr, _EPIC_TARGETS))}, but it is {target!r}"
            f"{suggest(target, _EPIC_TARGETS) or '.'}"
        )
    if target == "action":
        return _read_epic_actions(csv_paths, durations)
    name_column, id_column, num_classes = _EPIC_TARGETS[target]
    entries, spellings = {}, [collections.Counter() for _ in range(num_classes)]
    for subset, path in _files_by_subset(csv_paths):
        for where, row in _read_rows(path, ("video_id", *_EPIC_TIMES, name_column, id_column)):
            entry = video_entry(entries, where, row["video_id"])
            set_once(where, entry, "subset", subset)
            id_ = _class_id(where, id_column, row[id_column], num_classes)
            spellings[id_][row[name_column]] += 1
            segment = [_seconds(where, name, row[name]) for name in _EPIC_TIMES]
            entry["annotations"].append({"where": where, "label_id": id_, "segment": segment})
    names_of_file = class_file and _read_epic_classes(class_file, target, num_classes)
    class_names = names_of_file or _most_frequent(spellings)
    for entry in entries.values():
        for action in entry["annotations"]:
            action["label"] = class_names[action["label_id"]]
    _add_durations(entries, durations)
    return build_annotations(f"EPIC ({target}s)", entries, class_names, outside="keep")


def _read_epic_actions(csv_paths, durations):
    ids, entries = [_EPIC_TARGETS[name][1:] for name in ("verb", "noun")], {}
    for subset, path in _files_by_subset(csv_paths):
        for where, row in _read_rows(path, ("video_id", *_EPIC_TIMES, *dict(ids))):
            entry = video_entry(entries, where, row["video_id"])
            set_once(where, entry, "subset", subset)
            label = ",".join(str(_class_id(where, name, row[name], count)) for name, count in ids)
            segment = [_seconds(where, name, row[name]) for name in _EPIC_TIMES]
            entry["annotations"].append({"where": where, "label": label, "segment": segment})
    _add_durations(entries, durations)
    return build_annotations("EPIC (actions)", entries, outside="keep")


def _files_by_subset(paths):
    """Returns [(subset, path)]."""
    if isinstance(paths, dict):
        return list(paths.items())
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    pairs = []
    for path in paths:
        words = re.split("[^a-z]+", pathlib.Path(path).stem.lower())
        subsets = [SUBSETS[word] for word in words if word in SUBSETS]
        if len(subsets) != 1:
            raise UserError(
                f"The name of '{path}' does not tell its subset (train, validation or test); give "
                "a dict like {'training': path} instead of a list."
            )
        pairs.append((subsets[0], path))
    return pairs


def _class_id(where, column, text, num_classes):
    id_ = whole_number(where, column, text)
    if not 0 <= id_ < num_classes:
        raise UserError(f"{where}: {column!r} {id_} is outside 0..{num_classes - 1}.")
    return id_


def _seconds(where, column, text):
    match = _TIMESTAMP.fullmatch(text)
    if not match:
        raise UserError(f"{where}: {column!r} must be a time like 00:01:02.34, but it is {text!r}.")
    hours, minutes, seconds = (float(part) for part in match.groups()[:3])
    # The sum would turn 671.27 s into 671.2700000000001.
    return round(hours * 3600 + minutes * 60 + seconds, 6)


def _most_frequent(spellings):
    names = [
        min(counts, key=lambda name: (-counts[name], name)) if counts else f"class_{id_}"
        for id_, counts in enumerate(spellings)
    ]
    for id_, name in enumerate(names):
        if names.index(name) < id_:
            raise UserError(
                f"Most narrations of class {names.index(name)} and of class {id_} say {name!r}; "
                "give the names of the classes as class_file."
            )
    return names


def _read_epic_classes(path, target, num_classes):
    names = {}
    for where, row in _read_rows(path, ("id", "key")):
        id_ = _class_id(where, "id", row["id"], num_classes)
        if not row["key"] or id_ in names:
            raise UserError(f"{where}: class {id_} must have one name; take the official file.")
        names[id_] = row["key"]
    if len(names) != num_classes:
        raise UserError(
            f"Class file '{path}' names {len(names)} classes, but there are {num_classes} "
            f"{target} classes; take the official file for {target}s."
        )
    return [names[id_] for id_ in range(num_classes)]
