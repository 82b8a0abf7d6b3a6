"""Tables with an action a line -> entries: CSV and Excel, with headers as people write them."""

import pathlib
import re

from keras_actionformer.data.annotations import ROUNDING_SEC
from keras_actionformer.data.boris import boris_entries, is_boris
from keras_actionformer.data.entries import Reading, add_action, media_entry, set_once
from keras_actionformer.data.table_columns import (
    NAMES,
    Column,
    choose_columns,
    worded_columns,
)
from keras_actionformer.data.table_files import read_table
from keras_actionformer.data.table_times import Cell, Times
from keras_actionformer.errors import UserError, suggest

_ACTIONS = ("video", "start", "end or length or duration", "label")
_EVENTS = ("time", "label", "status")  # of BORIS, one a line
_NO_CELLS = dict.fromkeys(NAMES, "")
_NUMBERS = ("start", "end", "length", "duration", "video_duration", "fps")


def table_entries(path, reading):
    """Reads a table with the columns `video,start,end,label`, one action a line.

    More columns may be `subset`, `duration`, `fps` and `label_id`; others are passed over. What
    belongs to the video may stand in any of its lines, but not differ between them. A line with
    neither start, end nor label is a video without actions. Headers may say the same in other words
    (table_columns.py), times be written in other ways (table_times.py), and the file be one that
    BORIS has exported (boris.py).

    Args:
      path: str or `os.PathLike`, see `table_files.read_table`.
      reading: `Reading`.

    Returns:
      dict, the entries that `build_annotations` takes.

    Raises:
      UserError: the file is unreadable or empty, its header lacks a column, or a line is wrong.
    """
    actions = _ACTIONS[1:] if reading.recording else _ACTIONS
    table = read_table(path, worded_columns, [actions, _EVENTS], reading.tell)
    if is_boris(table):
        return boris_entries(table, reading)
    columns = choose_columns(table.where, worded_columns(table.header))
    lacking = [name for name in actions if columns.keys().isdisjoint(name.split(" or "))]
    if lacking:
        raise UserError(
            f"{table.where} lacks {', '.join(name.split(' or ')[0] for name in lacking)}."
        )
    return _entries(_Rows(table, columns, reading), reading)


def read_video_times(path, tell, is_timed=True):
    """Reads a table of videos with the columns `video,duration,fps`; one of the last two may lack.

    Args:
      path: str or `os.PathLike`.
      tell: function of a str, called with what is assumed.
      is_timed: bool, False where both may lack.

    Yields:
      (str, a line as errors name it; str, the video; dict, its `duration` and `fps`).
    """
    required = ("video", "duration or video_duration or fps") if is_timed else ("video",)
    table = read_table(path, worded_columns, [required], tell)
    columns = choose_columns(table.where, worded_columns(table.header))
    rows = _Rows(table, columns, Reading(tell))
    for where, row in rows:
        times = {}
        if row["fps"]:
            times["fps"] = rows.number(where, row, "fps")
        for name in ("duration", "video_duration"):
            if row[name]:
                times["duration"] = rows.seconds(where, row, name, times)
        yield where, row["video"], times


def read_video_names(path, tell):
    """Reads the videos that a table names in its column `video`, each once, in their order.

    Args:
      path: str or `os.PathLike`.
      tell: function of a str, called with what is assumed.

    Returns:
      list of str.
    """
    table = read_table(path, worded_columns, [("video",)], tell)
    columns = choose_columns(table.where, worded_columns(table.header))
    return list(dict.fromkeys(row["video"] for _, row in table.rows({"video": columns["video"]})))


def read_groups(path, column, tell):
    """Reads what a column of a table says of each video: a subject, a camera, a place.

    Args:
      path: str or `os.PathLike`, see `table_files.read_table`.
      column: str, the column's header, upper or lower case alike.
      tell: function of a str, called with what is assumed.

    Returns:
      dict of video to str.

    Raises:
      UserError: there is no such column, or two lines of a video differ in it.
    """

    if pathlib.Path(path).suffix.lower() in (".json", ".eaf") or pathlib.Path(path).is_dir():
        raise UserError(f"'{path}' is no table, which could have a column {column!r}.")

    def columns_of(header):
        own = [("group", Column(text, place)) for place, text in enumerate(header)
               if text.strip().lower() == column.strip().lower()]  # fmt: skip
        return [row for row in worded_columns(header) if row[0] == "video"] + own

    table = read_table(path, columns_of, [("video",)], tell)
    columns = choose_columns(table.where, columns_of(table.header))
    if "group" not in columns:
        near = suggest(column, table.header) or "."
        raise UserError(f"{table.where} has no column {column!r}{near}")
    entries = {}
    for where, row in table.rows(columns):
        set_once(where, media_entry(entries, where, row["video"]), column, row["group"])
    return {video_id: entry[column] for video_id, entry in entries.items()}


class _Rows:
    """The lines of a table, and how its numbers are to be read."""

    def __init__(self, table, columns, reading):
        self.columns = columns
        self._table, self._fps = table, reading.fps
        numbers = [name for name in _NUMBERS if name in columns]
        cells = (self.cell(*row, name) for row in self for name in numbers if row[1][name])
        self._times = Times(cells, reading.time_unit)

    def __iter__(self):
        for where, row in self._table.rows(self.columns):
            yield where, _NO_CELLS | row

    def cell(self, where, row, name):
        column = self.columns[name]
        return Cell(where, column.header, row[name], column.unit)

    def number(self, where, row, name):
        return self._times.number(self.cell(where, row, name))

    def seconds(self, where, row, name, entry):
        return self._times.seconds(self.cell(where, row, name), entry.get("fps", self._fps))


def _entries(rows, reading):
    entries, videos = {}, []
    for where, row in rows:
        name = row["video"] if "video" in rows.columns else reading.recording
        entry = media_entry(entries, where, name)
        videos.append(entry)
        if row["subset"]:
            set_once(where, entry, "subset", row["subset"])
        if row["fps"]:
            set_once(where, entry, "fps", rows.number(where, row, "fps"))
    # Frames of a video are seconds when all of its lines are read, as any may tell the rate.
    length = _length_column(rows, videos)
    duration = "duration" if "duration" in rows.columns and length != "duration" else None
    for (where, row), entry in zip(rows, videos, strict=True):
        for name in ("video_duration", duration):
            if name and row[name]:
                set_once(where, entry, "duration", rows.seconds(where, row, name, entry))
        if row["start"] or row["end"] or row["label"] or (length and row[length]):
            start_sec = rows.seconds(where, row, "start", entry)
            if "end" in rows.columns:
                end_sec = rows.seconds(where, row, "end", entry)
            else:
                # The sum would turn 3.3 s into 3.3000000000000003.
                end_sec = round(start_sec + rows.seconds(where, row, length, entry), 9)
            add_action(entry, where, row["label"], start_sec, end_sec)
            if row["label_id"]:
                id_ = whole_number(where, "label_id", row["label_id"])
                entry["annotations"][-1]["label_id"] = id_
    return entries


def _length_column(rows, videos):
    """Which column says how long each action is: "length", "duration", or None."""
    if "length" in rows.columns or "duration" not in rows.columns:
        return "length" if "length" in rows.columns else None
    if "end" not in rows.columns:
        return "duration"
    # A duration beside an end may be that of the action or of the video.
    of_actions = of_videos = True
    first, differing = {}, None
    for (where, row), entry in zip(rows, videos, strict=True):
        if not row["duration"]:
            continue
        duration_sec = rows.seconds(where, row, "duration", entry)
        if first.setdefault(id(entry), duration_sec) != duration_sec:
            of_videos, differing = False, differing or where
        if not (row["start"] and row["end"]):
            of_actions = False
            continue
        start_sec, end_sec = (rows.seconds(where, row, name, entry) for name in ("start", "end"))
        of_actions &= abs(end_sec - start_sec - duration_sec) <= ROUNDING_SEC + 1e-9
        of_videos &= end_sec <= duration_sec + ROUNDING_SEC + 1e-9
    if differing and not of_actions:
        header = rows.columns["duration"].header
        raise UserError(
            f"{differing}: {header!r} is neither the length of each action, end - start, nor that "
            "of the video, which an earlier line gives differently; correct it, or call it "
            "'action duration' or 'video duration'."
        )
    return "duration" if of_actions and not of_videos else None


def whole_number(where, name, text):
    """Returns the int that `text` says."""
    if not re.fullmatch(r"-?[0-9]{1,9}", text):
        raise UserError(f"{where}: {name!r} must be a whole number, but it is {text!r}.")
    return int(text)
