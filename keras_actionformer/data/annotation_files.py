"""Annotation files, read and written: the JSON form of ActivityNet, tables, labelling tools' files.

```json
{"class_names": ["jump", "run"],
 "database": {"video_1": {"subset": "training", "duration": 61.5, "fps": 30.0,
                          "annotations": [{"label": "jump", "label_id": 0,
                                           "segment": [3.2, 4.75]}]}}}
```

`class_names`, `duration`, `fps` and `label_id` may be absent. A table with an action a line is read
as well (tables.py), and so are subtitles and what BORIS, ELAN, VIA, Label Studio and Audacity write
(a module each); other formats of published data sets have readers of their own
(datasets/formats.py). Here is what files say; whether it makes sense,
`annotations.build_annotations` checks.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Literal

from absl import logging

from keras_actionformer.checks import check_class_names, choice, number
from keras_actionformer.data.annotations import Annotations, build_annotations
from keras_actionformer.data.audacity import audacity_entries, is_audacity
from keras_actionformer.data.boris_projects import boris_project_entries, is_boris_project
from keras_actionformer.data.elan import elan_entries
from keras_actionformer.data.entries import Reading
from keras_actionformer.data.label_studio import is_label_studio, label_studio_entries
from keras_actionformer.data.subtitles import subtitle_entries
from keras_actionformer.data.table_files import MOST_BYTES, decode
from keras_actionformer.data.table_times import PLAIN_UNITS
from keras_actionformer.data.tables import table_entries
from keras_actionformer.data.via import is_via, via_entries
from keras_actionformer.data.workbooks import WORKBOOKS
from keras_actionformer.errors import UserError, suggest
from keras_actionformer.files import read_bytes, read_json, write_json

_LABEL_FILES = (".txt", ".tsv", ".tab")  # of Audacity, or tables
_TABLES = (".csv", *_LABEL_FILES, *WORKBOOKS)
_SUBTITLES = (".srt", ".vtt")
_KINDS = (".json", ".boris", ".eaf", *_SUBTITLES, *_TABLES)
_OTHER_TABLES = (".xls", ".xlsb", ".ods", ".numbers")


def load_annotations(
    path: str | os.PathLike[str],
    class_names: Sequence[str] | None = None,
    num_classes: int | None = None,
    outside: Literal["error", "keep"] = "error",
    default_subset: str | None = None,
    drop_duplicates: bool = False,
    class_agnostic: bool = False,
    on_error: Callable[[UserError], object] | None = None,
    on_note: Callable[[str], object] | None = None,
    fps: float | None = None,
    time_unit: Literal["seconds", "milliseconds", "minutes", "hours", "frames"] | None = None,
) -> Annotations:
    """Loads and checks an annotation file, or a folder of one file a recording.

    Label ids are, in this order: the places in `class_names` when given; those in the file's own
    `class_names`; the `label_id`s of the file when it has them; the alphabetical order of the
    labels. An id that nobody uses is named `class_<id>`.

    Args:
      path: str or `os.PathLike`: a JSON file (see the head of this module, or of VIA or Label
        Studio), a table (`.csv`, `.tsv`, `.txt` or `.xlsx`, see `tables.table_entries`; of BORIS,
        too), a project of BORIS (`.boris`), a file of ELAN (`.eaf`) or of Audacity (`.txt`),
        subtitles (`.srt`, `.vtt`); or a folder of such files of one kind.
      class_names: sequence of str, the known classes in the order of their ids, or None.
      num_classes: int, how many classes there are, or None for those the file has.
      outside: what to do about a segment that lies outside its video (starts before 0 or ends
        after `duration`) by more than `ROUNDING_SEC`: `"error"`, or `"keep"` as it stands. Some
        published annotations have such segments (THUMOS14: 30 of 6,365) and published scores count
        them.
      default_subset: str, the subset of videos for which the file names none; None for an error.
      drop_duplicates: bool; True leaves out annotations that repeat one of the same label and
        video, and those shorter than 1 ms. ActivityNet has both; its scores count neither.
      class_agnostic: bool; True makes all labels one class, `AGNOSTIC_NAME`, as for proposals.
      on_error: function of a `UserError`, called for what is wrong and for each video that is wrong
        in itself, which is then left out; or None to raise the first error. An error of the whole
        file is raised in any case.
      on_note: function of a str, called with each sentence about what was assumed or left out, such
        as the encoding of a table; None logs it as a warning.
      fps: float, frames a second where a file counts frames and names no rate, or None.
      time_unit: str, what plain numbers of times are where a file does not say it: None is
        `"seconds"` for a table, and an error for Label Studio's time series.

    Returns:
      `Annotations`.

    Raises:
      UserError: the file is missing or of no known form, lacks a field, has a wrong value in one,
        or may be read in two ways.
    """
    if fps is not None and not number("fps", fps) > 0:
        raise UserError(f"fps must be above 0, but it is {fps}.")
    if time_unit is not None:
        choice("time_unit", time_unit, *PLAIN_UNITS)
    reading = Reading(on_note or (lambda note: logging.warning("%s", note)), fps, time_unit)
    read = _folder_entries if pathlib.Path(path).is_dir() else _file_entries
    entries, file_names = read(path, reading)
    if default_subset is not None:
        for entry in entries.values():
            entry.setdefault("subset", default_subset)
    if class_names is None and not class_agnostic:
        class_names = file_names

    def build(entries):
        source = f"Annotation file '{path}'"
        return build_annotations(
            source, entries, class_names, num_classes, outside, drop_duplicates, class_agnostic
        )

    return build(entries if on_error is None else _sound_entries(entries, build, on_error))


def _sound_entries(entries, build, on_error):
    """Leaves out the videos that are wrong in themselves, unless that is all of them."""
    try:
        build(entries)
        return entries
    except UserError as error:
        on_error(error)
    sound = {}
    for video_id, entry in entries.items():
        try:
            build({video_id: entry})
            sound[video_id] = entry
        except UserError as error:
            on_error(error)
    return sound or entries


def _file_entries(path, reading):
    """Returns the entries that `build_annotations` takes, and the file's class names or None."""
    path = pathlib.Path(path)
    suffix = path.suffix.lower()
    if suffix in _OTHER_TABLES:
        raise UserError(f"Annotation file '{path}': save the table as .xlsx or .csv.")
    if suffix == ".eaf":
        return elan_entries(path, reading), None
    of_path = dataclasses.replace(reading, recording=path.stem)
    if suffix in (*_SUBTITLES, *_LABEL_FILES):
        source, notes = f"Annotation file '{path}'", []
        text = decode(read_bytes(path, "Annotation file", MOST_BYTES), source, notes.append)
        is_of_one = suffix in _SUBTITLES or is_audacity(text)
        if reading.recording and not text.strip():  # of Audacity, without any label
            is_of_one = True
        for note in notes if is_of_one else ():  # reading a table tells them, too
            reading.tell(note)
        if suffix in _SUBTITLES:
            return subtitle_entries(source, text, of_path, suffix == ".vtt"), None
        if is_of_one:
            return audacity_entries(source, text, of_path), None
    if suffix in _TABLES:
        return table_entries(path, reading), None
    content = _json_of(path, suffix)
    for is_of, entries in (
        (is_via, via_entries),
        (is_boris_project, boris_project_entries),
        (is_label_studio, label_studio_entries),
    ):
        if is_of(content):
            return entries(f"Annotation file '{path}'", content, reading), None
    return _database_entries(path, content)


def _json_of(path, suffix):
    """The JSON of a file; what else has another ending may be of any kind that is not read."""
    try:
        return read_json(path, "Annotation file")
    except UserError:
        if suffix in _KINDS or not path.is_file():
            raise
        ending = f"ends in {suffix!r}" if suffix else "has no ending"
        raise UserError(
            f"Annotation file '{path}' {ending} and is no JSON; read are {', '.join(_KINDS)}, of "
            "which the ending tells the kind: rename it, or export it as one of these."
        ) from None


def _folder_entries(folder, reading):
    """As `_file_entries`, of a folder in which each file is of one recording, or of some."""
    paths = sorted(
        path
        for path in pathlib.Path(folder).iterdir()
        if path.suffix.lower() in _KINDS and path.is_file() and not path.name.startswith((".", "~"))
    )
    kinds = sorted({path.suffix.lower() for path in paths})
    if len(kinds) != 1:
        raise UserError(
            f"Annotation folder '{folder}' cannot be read: it must hold files of one kind "
            f"({', '.join(_KINDS)}), but it holds {' and '.join(kinds) or 'none'}."
        )
    found, names, homes = {}, None, {}
    for path in paths:
        of_path = dataclasses.replace(reading, recording=path.stem)
        entries, names = _file_entries(path, of_path)
        if names:
            raise UserError(
                f"Annotation file '{path}' has class_names, which one file of a folder cannot give "
                "for all of them; leave them out."
            )
        for video_id, entry in entries.items():
            if video_id in found:
                raise UserError(
                    f"Annotation folder '{folder}': the video {video_id!r} stands in "
                    f"'{homes[video_id].name}' and in '{path.name}'; which of them counts is not "
                    "clear, so keep one."
                )
            found[video_id], homes[video_id] = entry, path
    return found, None


def json_entries(path):
    """Returns the entries that `build_annotations` takes, and the file's class names or None."""
    return _database_entries(path, read_json(path, "Annotation file"))


def _database_entries(path, content):
    where = f"Annotation file '{path}'"
    if not isinstance(content, dict) or "database" not in content:
        keys = list(content) if isinstance(content, dict) else []
        if "results" in keys:
            raise UserError(
                f"{where} holds detections ('results') and no annotations ('database'): are two "
                "files swapped?"
            )
        raise UserError(
            f'{where} must hold {{"database": {{video id: ...}}}}, but its top level lacks the '
            f"field 'database'{suggest('database', keys) or '.'}"
        )
    database, names = content["database"], content.get("class_names")
    if not isinstance(database, dict):
        raise UserError(f"{where}: 'database' must be an object of video ids, not a list or value.")
    check_class_names(names, source=where)
    return {id_: _json_entry(f"{where}, video {id_!r}", e) for id_, e in database.items()}, names


def _json_entry(where, entry):
    """Returns a video's entry with the places in it that errors name."""
    if not isinstance(entry, dict):
        raise UserError(f"{where} must be an object with 'subset' and 'annotations'.")
    # Videos without known actions (test videos of a challenge) have no 'annotations' at all;
    # a field with nearly this name is a slip of the pen that would lose the video's actions.
    if "annotations" not in entry and suggest("annotations", entry):
        raise UserError(
            f"{where} lacks the field 'annotations', which may be [] when the video has no actions"
            f"{suggest('annotations', entry)}"
        )
    actions = entry.get("annotations", [])
    if not isinstance(actions, list):
        raise UserError(f"{where}: 'annotations' must be a list, but it is {actions!r:.60}.")
    entry = {**entry, "where": where, "annotations": []}
    for i, action in enumerate(actions):
        place = f"{where}, annotation {i}"
        if not isinstance(action, dict):
            raise UserError(f"{place} must be an object with 'label' and 'segment'.")
        entry["annotations"].append({**action, "where": place})
    return entry


def save_annotations(path: str | os.PathLike[str], annotations: Annotations) -> None:
    """Writes `annotations` to `path` in the form that `load_annotations` reads, all at once."""
    database = {}
    for video in annotations.videos:
        entry = {"subset": video.subset}
        if video.duration_sec is not None:
            entry["duration"] = float(video.duration_sec)
        if video.fps is not None:
            entry["fps"] = float(video.fps)
        entry["annotations"] = [
            {
                "label": annotations.class_names[label],
                "label_id": int(label),
                "segment": [float(start), float(end)],
            }
            for (start, end), label in zip(video.segments_sec, video.labels, strict=True)
        ]
        database[video.video_id] = entry
    content = {"version": "1.0", "class_names": annotations.class_names, "database": database}
    write_json(path, content)
