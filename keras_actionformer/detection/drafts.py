"""Detections as drafts for labelling tools, whose corrected files are annotations again."""

from __future__ import annotations

import os
import pathlib
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from keras_actionformer.checks import choice
from keras_actionformer.data.audacity import audacity_text
from keras_actionformer.data.boris_projects import boris_project
from keras_actionformer.data.drafts import Draft, Span, line_of
from keras_actionformer.data.elan import elan_text
from keras_actionformer.data.label_studio import label_studio_tasks
from keras_actionformer.data.subtitles import srt_text, vtt_text
from keras_actionformer.data.via import via_project
from keras_actionformer.errors import UserError
from keras_actionformer.files import atomic_folder, path_inside, write_json

if TYPE_CHECKING:
    from keras_actionformer.detection.detections import Detections


class Format(NamedTuple):
    """What a tool reads.

    Attributes:
      suffix: str, of its files.
      is_folder: bool, whether each video has a file of its own; or else one holds all.
      media: bool or None: whether it must be told where the videos are; None: it may.
      write: function of a `Draft` that returns a text or, of a list of all, what JSON holds.
    """

    suffix: str
    is_folder: bool
    media: bool | None
    write: Callable


FORMATS = {
    "elan": Format(".eaf", True, None, elan_text),
    "boris": Format(".boris", False, True, boris_project),
    "via": Format(".json", False, True, via_project),
    "label_studio": Format(".json", False, True, label_studio_tasks),
    "audacity": Format(".txt", True, False, audacity_text),
    "srt": Format(".srt", True, False, srt_text),
    "vtt": Format(".vtt", True, False, vtt_text),
}


# Where videos are: an address or a path with {} for their ids, or the path of each.
Media = str | Mapping[str, str | os.PathLike[str]]


def takes_paths(format_name: str) -> bool:
    """Whether a file of a format can name the paths of its videos; Label Studio wants addresses."""
    return FORMATS[format_name].media is not False and format_name != "label_studio"


def check_drafts(
    path: str | os.PathLike[str], format_name: str, media: Media | None = None
) -> None:
    """Checks what `save_drafts` is given before anything is detected.

    Raises:
      UserError: there is no such format, `path` is taken or called wrongly, or `media` is.
    """
    format_ = FORMATS[choice("format", format_name, *FORMATS)]
    place, is_named = pathlib.Path(path), pathlib.Path(path).suffix.lower() == format_.suffix
    if format_.is_folder and (is_named or place.is_file()):
        raise UserError(
            f"'{path}' must be a new folder, as the format {format_name} has a file for each video "
            f"({format_.suffix}): choose a name such as 'drafts'."
        )
    if not format_.is_folder and not is_named:
        raise UserError(
            f"'{path}' must end in {format_.suffix}, as the format {format_name} has one file for "
            "all videos."
        )
    is_taken = place.is_dir() and any(place.iterdir()) if format_.is_folder else place.exists()
    if is_taken:
        raise UserError(
            f"'{path}' is there already, and somebody may have corrected it: choose a new name."
        )
    if media is not None and format_.media is False:
        raise UserError(
            f"A file of the format {format_name} does not name its video: leave out media."
        )
    if media is None and format_.media:
        example = "films/{}.mp4" if takes_paths(format_name) else "https://host/films/{}.mp4"
        raise UserError(
            f"The format {format_name} needs media: where the tool finds the videos, with {{}} for "
            f"their ids, as {example}."
        )
    if isinstance(media, Mapping):
        if not takes_paths(format_name):
            raise UserError(
                f"The format {format_name} needs the address of videos in media, not their paths."
            )
    elif media is not None and "{}" not in media:
        raise UserError(f"media must have {{}} for the id of a video, but it is {media!r:.200}.")


def check_draft_ids(video_ids: Iterable[str]) -> None:
    """Raises UserError for an id that a file of a draft could not have, or not be found by."""
    for video_id in video_ids:
        # Slashes of either kind would be folders, and hidden files are not read.
        if not video_id or video_id[0] in ".~" or "/" in video_id or "\\" in video_id:
            raise UserError(
                f"The video {video_id[:200]!r} cannot be drafted, as files of videos have no slash "
                "in their names and begin with neither '.' nor '~'; rename it."
            )
        path_inside(".", video_id)


def save_drafts(
    path: str | os.PathLike[str],
    format_name: str,
    detections: Mapping[str, Detections],
    media: Media | None = None,
) -> None:
    """Writes detections for a labelling tool, all at once; `load_annotations` reads them back.

    Times are rounded to milliseconds, and scores are kept where the tool has a place for them.
    Class names lose line breaks, control characters and repeated spaces.

    Args:
      path: str or `os.PathLike`, where nothing is yet: a folder for the formats of which each video
        has a file, or else a file.
      format_name: str, one of `FORMATS`.
      detections: dict, video id to `Detections`.
      media: str, the path or address at which the tool finds a video, with `{}` for its id; or
        dict, video id to path; or None where the format needs none.

    Raises:
      UserError: see `check_drafts` and `check_draft_ids`; or class names are empty or the same once
        they are lines of text.
    """
    check_drafts(path, format_name, media)
    check_draft_ids(detections)
    format_ = FORMATS[format_name]
    lines = _lines({name for found in detections.values() for name in _names(found)})
    drafts = [
        Draft(
            video_id,
            None if media is None else _media_of(video_id, media, format_name),
            _spans(found, lines),
            [lines[name] for name in _names(found)],
        )
        for video_id, found in detections.items()
    ]
    if not format_.is_folder:
        write_json(path, format_.write(drafts))
        return
    with atomic_folder(path) as folder:
        for draft in drafts:
            file = path_inside(folder, f"{draft.video_id}{format_.suffix}")
            file.write_text(format_.write(draft), encoding="utf-8", newline="\n")


def _names(found):
    """The class names of `Detections`, without which they are called by their ids."""
    return found.class_names or sorted(set(found.names))


def _lines(names):
    """Returns {class name: it as a line of text}, which must tell the classes apart."""
    lines, homes = {}, {}
    for name in sorted(names):
        line = lines[name] = line_of(name)
        if not line:
            raise UserError(f"The class name {name!r:.200} is no text; rename the class.")
        if homes.setdefault(line, name) != name:
            raise UserError(
                f"The class names {homes[line]!r:.200} and {name!r:.200} are both {line!r:.200} in "
                "a line of text; rename one of these classes."
            )
    return lines


def _media_of(video_id, media, format_name):
    if isinstance(media, Mapping):
        if video_id not in media:
            raise UserError(f"media lacks the path of the video {video_id!r:.200}.")
        return str(media[video_id])
    if "://" in media or format_name == "label_studio":  # an address
        video_id = urllib.parse.quote(os.fsencode(video_id))
    return media.replace("{}", video_id)


def _spans(found, lines):
    """The `Span`s of `Detections` that lie at 0 s or later."""
    spans = []
    for (start_sec, end_sec), name, score in zip(
        found.segments_sec.tolist(), found.names, found.scores.tolist(), strict=True
    ):
        start_ms = max(round(start_sec * 1000), 0)
        # What is shorter than a millisecond has one: without a length it would not be read.
        end_ms = max(round(end_sec * 1000), start_ms + 1)
        if end_sec > 0:
            spans.append(Span(start_ms, end_ms, lines[name], score))
    return sorted(spans)
