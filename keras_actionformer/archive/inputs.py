"""Which files an archive holds: those of folders, of patterns and of tables, here or elsewhere."""

import dataclasses
import glob
import os
import posixpath

from keras_actionformer import remote
from keras_actionformer.data.tables import read_video_times
from keras_actionformer.errors import UserError
from keras_actionformer.files import told_if_unreadable

_TABLES = (".csv", ".tsv", ".txt", ".xlsx", ".xlsm")


@dataclasses.dataclass(frozen=True)
class Input:
    """A file to detect in.

    Args:
      video: str, the id of the video.
      path: str, a whole path or an address: other machines have other current folders.
      fps: float, frames a second, where a table tells it; or None.
      duration_sec: float, likewise.
    """

    video: str
    path: str
    fps: float | None = None
    duration_sec: float | None = None


def find_inputs(names, suffixes, tell):
    """Finds the files of an archive; none of them is opened.

    The id of a video is its file's path from the folder, or from the part of a pattern that has no
    wildcard, without its suffix: `2026/may/cam1`. In a table it is the name without suffix.

    Args:
      names: list of str: a file; a folder, with all below it; a pattern with `*`, `**`, `?` or
        `[...]`; or a table with a column `video` of files, from the table's folder on, and perhaps
        columns `fps` and `duration`. Each a path or an address.
      suffixes: tuple of str, what files end with; others in a folder are passed over.
      tell: function of a str, called with what is assumed of a table.

    Returns:
      dict of video id to `Input`, sorted by id.

    Raises:
      UserError: nothing is found, two files have one id, or a file has two frame rates or
        durations.
    """
    found = {}
    for name in names:
        inputs = list(_inputs_of(name, suffixes, tell))
        if not inputs:
            raise UserError(
                f"'{name}' does not exist, or holds no file that ends in {', '.join(suffixes)}."
            )
        for item in inputs:
            other = found.setdefault(item.video, item)
            if other.path != item.path:
                raise UserError(
                    f"'{other.path}' and '{item.path}' are both the video {item.video!r}: name a "
                    "folder or a pattern above both, and ids tell them apart; or name one of them "
                    "alone, by a pattern or a table."
                )
            if other != item:
                raise UserError(
                    f"'{item.path}' is named twice, with {_times(other)} and with {_times(item)}: "
                    "name it once."
                )
    return dict(sorted(found.items()))


def _times(item):
    return f"fps {item.fps} and duration {item.duration_sec}"


def _inputs_of(name, suffixes, tell):
    if name.lower().endswith(_TABLES):
        yield from _in_table(name, suffixes, tell)
        return
    folder, files = _listed(name, suffixes)
    for file in files:
        if file.endswith(suffixes) and not posixpath.basename(file).startswith("."):
            path = remote.join(folder, file) if folder else file
            yield Input(posixpath.splitext(file)[0], _whole(path))


def _listed(name, suffixes):
    """A folder, and the files in it that a name means, as paths from there with slashes."""
    is_remote = remote.is_address(name)
    is_file = remote.split_pattern(name)[1] is None if is_remote else os.path.isfile(name)
    if name.endswith(suffixes) and is_file:
        folder, file = posixpath.split(name.replace(os.sep, "/"))
        return folder, [file]
    if is_remote:
        with told_if_unreadable(f"'{name}' cannot be listed"):
            return remote.find(name)
    if os.path.isdir(name):
        folder, pattern = name, "**"
    else:
        folder, pattern = remote.split_pattern(name)
    if pattern is None:
        return folder, []
    files = glob.glob(pattern, root_dir=folder or None, recursive=True)
    files = [file for file in files if os.path.isfile(os.path.join(folder, file))]
    return folder, [file.replace(os.sep, "/") for file in files]


def _in_table(table, suffixes, tell):
    folder = posixpath.dirname(table.replace(os.sep, "/"))
    for where, name, times in read_video_times(table, tell, is_timed=False):
        file = name.replace("\\", "/")
        if not file.endswith(suffixes):
            raise UserError(f"{where}: {name!r} must end in {', '.join(suffixes)}.")
        is_whole = remote.is_address(file) or posixpath.isabs(file)
        path = file if is_whole or not folder else remote.join(folder, file)
        video = posixpath.splitext(posixpath.basename(file) if is_whole else file)[0]
        yield Input(video, _whole(path), times.get("fps"), times.get("duration"))


def _whole(path):
    return path if remote.is_address(path) else os.path.abspath(path)
