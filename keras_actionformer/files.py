"""Writing files so that a reader never meets a half-written one."""

import contextlib
import os
import pathlib
import tempfile


@contextlib.contextmanager
def atomic_write(path, mode="w"):
    """Opens a temporary file beside `path` and moves it to `path` when the block succeeds.

    A crash, a full disk or Ctrl-C inside the block leaves whatever `path` held before.

    Args:
      path: str or `os.PathLike`, the file to write. Its folder is created when missing.
      mode: `"w"` for text (UTF-8) or `"wb"` for bytes.

    Yields:
      The open file.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        with os.fdopen(handle, mode, **text) as file:
            yield file
            file.flush()
            # Without fsync a power cut may leave the new name on an empty file.
            os.fsync(file.fileno())
        # mkstemp creates files only their owner can read; give the permissions of a usual file.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        _name_file(error, path)
        raise


@contextlib.contextmanager
def atomic_path(path):
    """Like `atomic_write` for writers that want a path: yields one with the same suffix."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        _name_file(error, path)
        raise


def _name_file(error, path):
    """Lets an error of writing, a full disk say, tell which file it was about."""
    if isinstance(error, OSError) and error.filename is None:
        error.filename = str(path)


def remove_leftovers(folder):
    """Deletes what writers that were killed left half-written in a folder, where there is one."""
    for path in pathlib.Path(folder).glob(".*.part*"):
        path.unlink(missing_ok=True)
