"""What BORIS exports as tables (versions 7 to 10) -> entries.

*Aggregated events* have an action a line, with its start and stop. *Tabular events* have an event a
line: a behaviour's START, its STOP, or a POINT. Those of version 7 tell above the header what the
observation is.
"""

import re

from keras_actionformer.data.entries import (
    add_action,
    media_entry,
    set_once,
    without_points,
)
from keras_actionformer.data.table_times import Cell, Times
from keras_actionformer.errors import UserError

_AGGREGATED = {"observation id", "behavior", "behavior type", "start (s)", "stop (s)"}
_TABULAR = {"observation id", "behavior", "behavior type", "time"}
_TABULAR_7 = {"behavior", "status", "time", "media file path"}
_NUMBERS = {"time offset (s)", "start (s)", "stop (s)", "time"}
# Of the media file, as long as there is one: name here -> what versions call it.
_ABOUT_MEDIA = {
    "duration": ("media duration (s)", "total length"),
    "fps": ("fps", "fps (frame/s)"),
}
_MEDIA = ("media file name", "media file", "media file path")
_NO_MEDIA = ("", "NA", "LIVE", "Not found")


def is_boris(table):
    """Whether BORIS has written a `Table`."""
    header = {text.lower() for text in table.header}
    return any(header >= columns for columns in (_AGGREGATED, _TABULAR, _TABULAR_7))


def boris_entries(table, reading):
    """Makes entries of a `Table` that BORIS has written.

    The videos are the media files of the observations, or the observations where these have none.
    Events of all subjects count; points, which have no length, do not. Times become those of the
    media file where an observation has an offset.

    Args:
      table: `Table`.
      reading: `Reading`.

    Returns:
      dict, the entries that `build_annotations` takes.

    Raises:
      UserError: a line is wrong, or it is not clear which video it is about.
    """
    lines = _Lines(table)
    events = _aggregated if "start (s)" in lines.headers else _tabular
    videos, entries = _videos(lines), {}
    for where, row, start_sec, end_sec in events(lines):
        observation = row.get("observation id", "")
        entry = media_entry(entries, where, videos[observation])
        if entry.setdefault("observation", observation) != observation:
            raise UserError(
                f"{where}: the observations {entry['observation']!r} and {observation!r} are of "
                "one video: two views of the same events, or two parts of them; keep the lines of "
                "one, or give all of them one observation id."
            )
        for name, columns in _ABOUT_MEDIA.items():
            value = lines.about_media(where, row, columns)
            if value is not None:
                set_once(where, entry, name, value)
        add_action(entry, where, row["behavior"], start_sec, end_sec)
    return without_points(entries, table.source, reading.tell)


class _Lines:
    """The lines of a table by the names of the columns in lower case, and its numbers."""

    def __init__(self, table):
        self._names = [text.lower() for text in table.header]
        self.headers = dict(zip(self._names, table.header, strict=True))
        # Of version 7, lines above the header say this for all.
        about = {cells[0].lower(): cells[1] for cells in table.above if len(cells) > 1}
        self._same = {
            name: about[name] for name in ("observation id", "time offset (s)") if name in about
        }
        self._table = table
        known = _NUMBERS.union(*_ABOUT_MEDIA.values())
        self._times = Times(
            self._cell(where, row, name) for where, row in self for name in known if row.get(name)
        )

    def __iter__(self):
        for where, cells in self._table.lines:
            yield where, self._same | dict(zip(self._names, cells, strict=True))

    def _cell(self, where, row, name):
        return Cell(where, self.headers.get(name, name), row[name])

    def media_seconds(self, where, row, name):
        """A time as it is in the media file."""
        offset_sec = 0.0
        if row.get("time offset (s)"):
            offset_sec = self._times.seconds(self._cell(where, row, "time offset (s)"))
        return round(self._times.seconds(self._cell(where, row, name)) - offset_sec, 6)

    def about_media(self, where, row, names):
        """The number in one of some columns; None where it is that of no file, or of several."""
        for name in names:
            if re.fullmatch("[0-9.,]+", row.get(name, "")):
                return self._times.number(self._cell(where, row, name))
        return None


def _videos(lines):
    """Returns {observation id: its media file, or itself}."""
    files = {}
    for where, row in lines:
        observation = row.get("observation id", "")
        # Of several players, the first counts: "player #1:a.mp4;b.mp4|player #2:c.mp4".
        player = re.match(r"player #1:(.*?)(\|player #|$)", row.get("source", ""))
        names = player[1].split(";") if player else [row.get(name, "") for name in _MEDIA]
        found = files.setdefault(observation, {})
        found.update((name.strip(), where) for name in names if name.strip() not in _NO_MEDIA)
        if len(found) > 1:
            first, second, *_ = found
            raise UserError(
                f"{where}: the observation {observation!r} has the media files {first!r} and "
                f"{second!r} one after the other, and its times count through both; make an "
                "observation of each."
            )
    return {observation: next(iter(found), observation) for observation, found in files.items()}


def _aggregated(lines):
    """Yields (place, row, start, end in seconds)."""
    for where, row in lines:
        times = [lines.media_seconds(where, row, name) for name in ("start (s)", "stop (s)")]
        yield where, row, *times


def _tabular(lines):
    """Yields (place, row, start, end in seconds); a start and the stop after it become one."""
    open_ = {}
    for where, row in lines:
        status = row.get("status") or row.get("behavior type", "")
        time_sec = lines.media_seconds(where, row, "time")
        modifiers = [text for name, text in row.items() if name.startswith("modifier")]
        key = (row.get("observation id"), row.get("subject"), row["behavior"], *modifiers)
        if status == "POINT":
            yield where, row, time_sec, time_sec
        elif status == "START" and key not in open_:
            open_[key] = where, time_sec
        elif status == "STOP" and key in open_:
            start, start_sec = open_.pop(key)
            yield start, row, start_sec, time_sec
        elif status in ("START", "STOP"):
            missing = "STOP before it" if status == "START" else "START"
            raise UserError(
                f"{where}: this {status} of {row['behavior']!r} has no {missing}; correct the "
                "observation in BORIS, which can list unpaired events."
            )
        else:
            raise UserError(f"{where} must be START, STOP or POINT, but it is {status!r}.")
    for key, (where, _) in open_.items():
        raise UserError(
            f"{where}: this START of {key[2]!r} has no STOP; correct the observation in BORIS, "
            "which can list unpaired events."
        )
