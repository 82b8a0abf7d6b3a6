"""Writing files so that a reader never meets a half-written one."""

import contextlib
import os
import pathlib


@contextlib.contextmanager
def atomic_path(path):
    """Yields a path to write to, and moves that file to `path` when the block succeeds.

    A crash, a full disk or Ctrl-C inside the block leaves whatever `path` held before.

    Args:
      path: str or `os.PathLike`, the file to write. Its folder is created when missing.

    Yields:
      `pathlib.Path` in the same folder, with the same suffix.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            # Without it a power cut may leave the new name on an empty file.
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        # A full disk, say, should tell which file it was about.
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise


@contextlib.contextmanager
def atomic_write(path, mode="w"):
    """`atomic_path` with the file opened.

    Args:
      path: str or `os.PathLike`, the file to write. Its folder is created when missing.
      mode: `"w"` for text (UTF-8) or `"wb"` for bytes.

    Yields:
      The open file.
    """
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    with atomic_path(path) as temporary, open(temporary, mode, **text) as file:
        yield file


def remove_leftovers(folder):
    """Deletes what writers that were killed left half-written in a folder, where there is one."""
    for path in pathlib.Path(folder).glob(".*.part*"):
        path.unlink(missing_ok=True)
