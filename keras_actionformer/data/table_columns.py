"""What the columns of a table are, told by its header: `Video`, `Start (s)`, `Verhalten`."""

import dataclasses
import re

from keras_actionformer.errors import UserError

# What a column is called here -> what a header may call it: any case, spaces, "-" and "_" alike.
NAMES = {
    "video": (
        "video, video id, video name, video file, file, file name, media, media file, "
        "media file name, recording, recording id, datei, dateiname, videodatei, aufnahme"
    ),
    "start": "start, begin, onset, from, beginn, anfang, von",
    "end": "end, stop, offset, to, ende, bis",
    "length": "action duration, bout duration, event duration, behavior duration",
    "label": (
        "label, class, class name, action, behavior, behaviour, activity, "
        "verhalten, klasse, aktivität, event, event name, event type, category, code, annotation, "
        "tag, ereignis, kategorie"
    ),
    "label_id": "label id, class id",
    "subset": "subset, split",
    # Of the video where there is an end, too, as long as the numbers do not say otherwise.
    "duration": "duration, dauer",
    "video_duration": "video duration, media duration, total length, videodauer",
    "fps": "fps, frame rate, bildrate",
    # Of the events that BORIS writes one a line.
    "time": "time",
    "status": "status, behavior type",
}
# What means a start or an end beside its counterpart only: an offset may be anything.
_PAIRS = {"offset": "onset", "from": "to", "to": "from", "von": "bis", "bis": "von"}
# Beside one of these, other names of videos and of labels are details: a file's, a category.
_FIRST_NAMES = {
    "video": {"video", "videoid", "videoname"},
    "label": {
        "label", "class", "classname", "action", "behavior", "behaviour", "activity", "verhalten",
        "klasse", "aktivität",
    },
}  # fmt: skip
_TIMES = {"start", "end", "length", "duration", "video_duration"}
# What a header says that numbers are.
_UNIT_WORDS = {
    "seconds": "s sec secs second seconds sek sekunde sekunden ss.msec ss.ms",
    "milliseconds": "ms msec millisecond milliseconds millisekunden",
    "minutes": "min minute minutes minuten",
    "hours": "h hour hours stunden",
    "frames": "frame frames bild bilder",
    "mm:ss": "mm:ss m:ss mm:ss.s mm:ss,s mm:ss.ms min:sec min:s",
    "h:mm": "h:mm hh:mm",
    "h:mm:ss": "h:mm:ss hh:mm:ss h:mm:ss.s hh:mm:ss.s hh:mm:ss,s hh:mm:ss.ms",
}
_UNITS = {word: unit for unit, words in _UNIT_WORDS.items() for word in words.split()}
_PREFERRED = ("seconds", "h:mm:ss", "mm:ss", "h:mm", "milliseconds", "minutes", "hours", "frames")
_ROLES = {
    name.replace(" ", ""): role for role, names in NAMES.items() for name in names.split(", ")
}


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
      header: str, what the file calls it.
      place: int, which of the cells of a line, from 0.
      name: str, what its header says without the unit.
      unit: str, what the header says of its numbers, see table_times.py; or None.
    """

    header: str
    place: int
    name: str = ""
    unit: str | None = None


def worded_columns(header):
    """Returns the columns of a header in people's words, as [(what it is of `NAMES`, `Column`)]."""
    found = []
    for place, text in enumerate(header):
        words = re.findall(r"[^\W_]+(?:[:.,][^\W_]+)*", text.lower())
        words = [word for word in words if word not in ("t", "in")]  # t-start, Dauer in Sekunden
        for role, column in _roles(text, place, words):
            found.append((role, column))
    names = {column.name for _, column in found}
    return [
        (role, column) for role, column in found if _PAIRS.get(column.name, column.name) in names
    ]


def _roles(text, place, words):
    name = "".join(words)
    if name in _ROLES:
        yield _ROLES[name], Column(text, place, name)
        return
    # A time column may say its unit, and that it is a time.
    units = [_UNITS[word] for word in words if word in _UNITS]
    name = "".join(word for word in words if word not in _UNITS)
    glued = re.fullmatch("(.+?)(frame|sec|ms)s?", name)  # StartFrame
    if not units and glued:
        name, units = glued[1], [_UNITS[glued[2]]]
    name = name.removesuffix("time").removesuffix("timestamp").removesuffix("zeit")
    if _ROLES.get(name) in _TIMES and len(set(units)) <= 1:
        yield _ROLES[name], Column(text, place, name, units[0] if units else None)


def spelled_columns(names):
    """Returns a function like `worded_columns` for a file of which the header is known.

    Args:
      names: sequence of str, what its columns are called, here and in the file.
    """

    def columns(header):
        found = enumerate(text.lower() for text in header)
        return [(text, Column(text, place)) for place, text in found if text in names]

    return columns


def choose_columns(where, found):
    """Decides which column is read where several may be the same thing.

    One that says the same in another unit is passed over, seconds are read first: `Start (s)` and
    `Start (frame)`. `Start` and `Onset` are not the same.

    Args:
      where: str, the header's line as errors name it.
      found: list of (what a column is, `Column`).

    Returns:
      dict, what a column is -> `Column`.

    Raises:
      UserError: two columns may be the same thing.
    """
    chosen = {}
    for role, column in found:
        other = chosen.setdefault(role, column)
        if other is column:
            continue
        first_names = _FIRST_NAMES.get(role, ())
        if (column.name in first_names) != (other.name in first_names):
            chosen[role] = column if column.name in first_names else other
        elif column.name == other.name and _rank(column) != _rank(other):
            chosen[role] = min(column, other, key=_rank)
        else:
            raise UserError(
                f"{where}: the columns {other.header!r} and {column.header!r} both mean {role!r}; "
                "remove one."
            )
    return chosen


def _rank(column):
    return _PREFERRED.index(column.unit or "seconds")
