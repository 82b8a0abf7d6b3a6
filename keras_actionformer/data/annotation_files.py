"""Annotation files, read and written: the JSON form of ActivityNet, and tables.

```json
{"class_names": ["jump", "run"],
 "database": {"video_1": {"subset": "training", "duration": 61.5, "fps": 30.0,
                          "annotations": [{"label": "jump", "label_id": 0,
                                           "segment": [3.2, 4.75]}]}}}
```

`class_names`, `duration`, `fps` and `label_id` may be absent. A CSV file with one action a line is
read as well; other formats of published data sets have readers of their own (datasets/formats.py).
Here is what files say; whether it makes sense, `annotations.build_annotations` checks.
"""

import csv
import io
import math
import os
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Literal

from keras_actionformer.checks import check_class_names
from keras_actionformer.data.annotations import Annotations, build_annotations
from keras_actionformer.errors import UserError, suggest
from keras_actionformer.files import read_json, read_text, write_json

# What a column is called here -> what a header may call it (any case, "-" and " " as "_").
CSV_COLUMNS = {
    "video": ("video", "video_id", "video_name"),
    "start": ("start", "start_sec", "t_start", "start_time"),
    "end": ("end", "end_sec", "t_end", "end_time", "stop"),
    "label": ("label", "class", "class_name", "action"),
    "label_id": ("label_id", "class_id"),
    "subset": ("subset", "split"),
    "duration": ("duration", "duration_sec"),
    "fps": ("fps",),
}


def load_annotations(
    path: str | os.PathLike[str],
    class_names: Sequence[str] | None = None,
    num_classes: int | None = None,
    outside: Literal["error", "keep"] = "error",
    default_subset: str | None = None,
    drop_duplicates: bool = False,
    class_agnostic: bool = False,
    on_error: Callable[[UserError], object] | None = None,
) -> Annotations:
    """Loads and checks an annotation file.

    Label ids are, in this order: the places in `class_names` when given; those in the file's own
    `class_names`; the `label_id`s of the file when it has them; the alphabetical order of the
    labels. An id that nobody uses is named `class_<id>`.

    Args:
      path: str or `os.PathLike`, a `.csv` file (see `csv_entries`) or a JSON file (see the
        head of this module).
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

    Returns:
      `Annotations`.

    Raises:
      UserError: the file is missing, is no JSON or CSV, lacks a field, or has a wrong value in one.
    """
    file_names = None
    if pathlib.Path(path).suffix.lower() == ".csv":
        entries = csv_entries(path)
    else:
        entries, file_names = json_entries(path)
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


def json_entries(path):
    """Returns the entries that `build_annotations` takes, and the file's class names or None."""
    where = f"Annotation file '{path}'"
    content = read_json(path, "Annotation file")
    if not isinstance(content, dict) or "database" not in content:
        keys = list(content) if isinstance(content, dict) else []
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


def csv_entries(path):
    """Reads a table with the columns `video,start,end,label`, one action a line, times in seconds.

    More columns may be `subset`, `duration` (seconds), `fps` and `label_id`; others are passed
    over. What belongs to the video may stand in any of its lines, but not differ between them. A
    line with neither start, end nor label is a video without actions. The header may say
    `video-id`, `video_id`, `t-start`, `start_sec`, `class` and the like instead.

    Args:
      path: str or `os.PathLike`, the CSV file (UTF-8, commas).

    Returns:
      dict, the entries that `build_annotations` takes.

    Raises:
      UserError: the file is unreadable or empty, its header lacks a column, or a line is wrong.
    """
    entries = {}
    for where, row in read_table(path, CSV_COLUMNS, ("video", "start", "end", "label")):
        entry = video_entry(entries, where, row["video"])
        if row["subset"]:
            set_once(where, entry, "subset", row["subset"])
        set_video_times(where, entry, row)
        if row["start"] or row["end"] or row["label"]:
            segment = [number(where, name, row[name]) for name in ("start", "end")]
            action = {"where": where, "label": row["label"], "segment": segment}
            if row["label_id"]:
                action["label_id"] = whole_number(where, "label_id", row["label_id"])
            entry["annotations"].append(action)
    return entries


def read_table(path, columns, required):
    """Reads a CSV file with a header.

    Args:
      path: str or `os.PathLike`.
      columns: dict, what a column is called here -> tuple of what the header may call it.
      required: the names of the columns that the header must have.

    Returns:
      list of (str, the line as errors name it; dict from each of `columns` to the cell's text, ""
      where there is none).
    """
    reader = csv.reader(io.StringIO(read_text(path, "Annotation file"), newline=""), strict=True)
    lines = []
    try:
        for cells in reader:
            if any(cells):
                where = f"Annotation file '{path}', line {reader.line_num}"
                lines.append((where, [cell.strip() for cell in cells]))
    except csv.Error as error:
        raise UserError(
            f"Annotation file '{path}', line {reader.line_num}: no valid CSV ({error}); save it "
            "with commas between the cells."
        ) from None
    expected = ",".join(columns[name][0] for name in required)
    if not lines:
        raise UserError(f"Annotation file '{path}' is empty; its first line must be {expected}.")
    (where, header), rows = lines[0], lines[1:]
    places = _column_places(where, header, columns)
    missing = [name for name in required if name not in places]
    for separator, called in ((";", "semicolons"), ("\t", "tabs")):
        if missing and len(header) == 1 and separator in header[0]:
            raise UserError(f"{where} has {called} between its cells; save the table with commas.")
    if missing:
        raise UserError(
            f"{where} must be a header with the columns {expected}, but it is "
            f"{','.join(header)!r:.100} and lacks {', '.join(columns[n][0] for n in missing)}."
        )
    if not rows:
        raise UserError(f"Annotation file '{path}' has a header but no line below it.")
    for where, cells in rows:
        if len(cells) != len(header):
            raise UserError(
                f"{where} has {len(cells)} cells but the header {len(header)}; a text with a comma "
                'needs "quotes".'
            )
    return [
        (where, {name: cells[places[name]] if name in places else "" for name in columns})
        for where, cells in rows
    ]


def _column_places(where, header, columns):
    places = {}
    for place, text in enumerate(header):
        key = re.sub("[- ]", "_", text.lower())
        for name, spellings in columns.items():
            if key in spellings and name in places:
                raise UserError(
                    f"{where}: the columns {header[places[name]]!r} and {text!r} both mean "
                    f"{name!r}; remove one."
                )
            if key in spellings:
                places[name] = place
    return places


def video_entry(entries, where, video_id):
    """Returns a video's entry, a new one when this is its first line."""
    if not video_id:
        raise UserError(f"{where} names no video.")
    # Its errors name the first line.
    where = f"{where} (video {video_id!r})"
    return entries.setdefault(video_id, {"where": where, "annotations": []})


def set_once(where, entry, name, value):
    """Sets a field of a video's entry, which an earlier line may have set to the same value."""
    if entry.setdefault(name, value) != value:
        raise UserError(
            f"{where}: {name!r} is {value!r}, but an earlier line of this video has "
            f"{entry[name]!r}; a video has one."
        )


def set_video_times(where, entry, row):
    """Sets `duration` and `fps` of a video's entry, where the line has them."""
    for name in ("duration", "fps"):
        if row[name]:
            set_once(where, entry, name, number(where, name, row[name]))


def number(where, name, text):
    """Returns the finite float that `text` says."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{where}: {name!r} must be a number, but it is {text!r}.")
    return value


def whole_number(where, name, text):
    """Returns the int that `text` says."""
    if not re.fullmatch(r"-?[0-9]{1,9}", text):
        raise UserError(f"{where}: {name!r} must be a whole number, but it is {text!r}.")
    return int(text)


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
