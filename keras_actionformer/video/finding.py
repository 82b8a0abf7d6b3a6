"""Which videos are meant: files, those of folders, and those that a table names."""

import os
import pathlib

from keras_actionformer.data.entries import file_name
from keras_actionformer.data.tables import read_video_names
from keras_actionformer.errors import UserError, suggest

SUFFIXES = (
    ".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg",
    ".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv",
)  # fmt: skip
_TABLES = (".csv", ".tsv", ".txt", ".xlsx", ".xlsm")


def find_video_files(names, tell):
    """Finds video files.

    Args:
      names: list of str or path: a file; a folder of them; or a table with a column `video`, whose
        names are looked for beside it and may lack their suffix.
      tell: function of a str, called with what is assumed of a table.

    Returns:
      dict of video id, the file's name without its suffix, to `pathlib.Path`.

    Raises:
      UserError: there is nothing of a name, or two files would have features of one name.
    """
    found = {}
    names = [pathlib.Path(name) for name in names if os.fspath(name)]
    if not names:
        raise UserError("--videos names no video: give files, folders of them, or a table.")
    for path in names:
        if not path.exists():
            comma = "; of one with a comma in its name, name the folder" if len(names) > 1 else ""
            raise UserError(
                f"'{path}' does not exist; name a video, a folder of them or a table{comma}."
            )
    for path in [path for name in names for path in _files_of(name, tell)]:
        other = found.setdefault(path.stem, path)
        if os.path.realpath(other) != os.path.realpath(path):
            raise UserError(
                f"'{other}' and '{path}' would both have features called {path.stem!r}; rename "
                "one, or extract them to two folders."
            )
    return found


def _files_of(path, tell):
    if path.is_dir():
        inside = _in_folder(path)
        if not inside:
            raise UserError(f"The folder '{path}' holds no video ({', '.join(SUFFIXES)}).")
        return inside
    if path.suffix.lower() in _TABLES:
        beside = _in_folder(path.parent)
        return [_named(path, name, beside) for name in read_video_names(path, tell)]
    return [path]


def _in_folder(folder):
    """The videos of a folder, sorted; hidden ones are of the system."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )


def _named(table, name, beside):
    """The video that a line of a table means."""
    path = table.parent / name
    if path.is_file():
        return path
    short = file_name(name)
    fitting = [other for other in beside if short in (other.name, other.stem)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        both = " and ".join(f"'{other.name}'" for other in fitting)
        raise UserError(f"'{table}' names the video {name!r}, which may be {both}; add its suffix.")
    near = suggest(short, [other.stem for other in beside]) or "."
    raise UserError(f"'{table}' names the video {name!r}, which is not beside it{near}")
