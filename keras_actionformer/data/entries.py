"""Entries, one a video: what readers of annotation files fill (annotations.py says with what)."""

import dataclasses
import re
from collections.abc import Callable

from keras_actionformer.checks import shown
from keras_actionformer.errors import UserError

# What the name of a video may end with in a table, where its feature file has another suffix.
MEDIA_SUFFIXES = frozenset(
    "mp4 m4v mov avi mkv webm ogv mpg mpeg m2v mts m2ts ts vob dv wmv asf flv 3gp mxf "
    "wav mp3 m4a aac ogg flac csv tsv txt npy npz parquet".split()
)


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a reader is told besides the file.

    Args:
      tell: function of a str, called with a sentence for what a reader assumes or leaves out.
      fps: float, frames a second of videos whose file counts frames and names no rate; or None.
      time_unit: str, what plain numbers are where the file does not say: one of
        `table_times.PLAIN_UNITS`; or None.
      recording: str, the video of a file that names none, or None.
    """

    tell: Callable[[str], object]
    fps: float | None = None
    time_unit: str | None = None
    recording: str | None = None


def video_entry(entries, where, video_id):
    """Returns a video's entry, a new one when this is its first line."""
    if not video_id:
        raise UserError(f"{where} names no video.")
    # Its errors name the first line.
    where = f"{where} (video {video_id!r})"
    return entries.setdefault(video_id, {"where": where, "annotations": []})


def media_entry(entries, where, name):
    """Returns the entry of a video that is called by its file, e.g. `C:\\\\films\\\\v1.mp4`.

    The id is what the feature file is called, too: `v1`. Where this makes one video of two files,
    which of them is meant is not known.
    """
    video_id = _without_suffix(name)
    entry = video_entry(entries, where, video_id)
    if entry.setdefault("file", name) != name:
        raise UserError(
            f"{where}: {name!r} and {entry['file']!r} would both be the video {video_id!r}, as "
            "folders and suffixes of files do not count; give each video its own name."
        )
    return entry


def file_name(path):
    """The last part of a path of any system, as it stands in a file of another machine."""
    return re.split(r"[/\\]", path)[-1]


def _without_suffix(name):
    stem, _, suffix = file_name(name).rpartition(".")
    return stem if stem and suffix.lower() in MEDIA_SUFFIXES else name


def set_once(where, entry, name, value):
    """Sets a field of a video's entry, which an earlier line may have set to the same value."""
    if entry.setdefault(name, value) != value:
        raise UserError(
            f"{where}: {name!r} is {value!r}, but an earlier line of this video has "
            f"{entry[name]!r}; a video has one."
        )


def json_field(where, item, name, kind, writer):
    """Returns a field of a JSON object, checked to be there and of a type.

    Args:
      where: str, the object as errors name it.
      item: what should be the object.
      name: str, the field.
      kind: type, or union of some.
      writer: str, who writes such files, as in "VIA writes it".
    """
    value = item.get(name) if isinstance(item, dict) else None
    if not isinstance(value, kind):
        raise UserError(f"{where} must have {name!r} as {writer}, but it is {shown(value)}.")
    return value


def add_action(entry, where, label, start_sec, end_sec):
    """Adds an action to a video's entry."""
    segment = [start_sec, end_sec]
    entry["annotations"].append({"where": where, "label": label, "segment": segment})


def without_points(entries, source, tell):
    """Leaves out the actions without a length that labelling tools have, and says how many."""
    labels = []
    for entry in entries.values():
        spans, points = [], []
        for action in entry["annotations"]:
            start_sec, end_sec = action["segment"]
            (points if start_sec == end_sec else spans).append(action)
        entry["annotations"] = spans
        labels += [action["label"] for action in points]
    if labels:
        classes = ", ".join(map(repr, sorted(set(labels))[:5]))
        tell(
            f"{source}: point events are left out, as an action has a start and an end: "
            f"{len(labels)} of {classes}."
        )
    return entries


def without_unlabelled(entries, source, tell):
    """Leaves out the videos in which a tool has no action: whether anybody looked is not known."""
    empty = [video_id for video_id, entry in entries.items() if not entry["annotations"]]
    if empty:
        names = ", ".join(map(repr, empty[:5]))
        tell(f"{source}: videos without any action are left out: {len(empty)}, first {names}.")
    return {video_id: entry for video_id, entry in entries.items() if entry["annotations"]}


def with_spans(entries, source, tell):
    """Leaves out actions without a length, and the videos that have no other."""
    return without_unlabelled(without_points(entries, source, tell), source, tell)
