"""Writing files so that a reader never meets a half-written one."""

import contextlib
import errno
import os
import pathlib
import shutil
import uuid


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


@contextlib.contextmanager
def atomic_folder(folder):
    """Yields an empty folder to write to, which takes the place of `folder` when the block ends.

    A crash, a full disk or Ctrl-C inside the block leaves whatever `folder` held before. Of two
    writers at one time the later one stays.

    Args:
      folder: str or `os.PathLike`; of a link, the folder it leads to is replaced.

    Yields:
      `pathlib.Path` of a folder beside it.
    """
    folder = pathlib.Path(os.path.realpath(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:12]}.part")
    temporary.mkdir()
    try:
        yield temporary
        for path in temporary.rglob("*"):
            if path.is_file():
                with open(path, "rb+") as file:
                    os.fsync(file.fileno())
        _put_in_place(temporary, folder)
    except BaseException as error:
        restore_folder(folder)
        if isinstance(error, OSError) and str(error.filename or "").startswith(str(temporary)):
            error.filename = str(folder)
        raise
    finally:
        # Either what was not finished, or what was replaced.
        shutil.rmtree(temporary, ignore_errors=True)


def _put_in_place(temporary, folder):
    """Renames `temporary` to `folder`; what `folder` was is `temporary` afterwards."""
    previous = _previous(folder)
    while True:
        shutil.rmtree(previous, ignore_errors=True)
        try:
            # After a kill between these two the old folder lies beside its place: `restore_folder`.
            with contextlib.suppress(FileNotFoundError):
                os.replace(folder, previous)
            os.replace(temporary, folder)
            break
        except OSError as error:
            # Another writer was there in between.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    with contextlib.suppress(FileNotFoundError):
        os.replace(previous, temporary)


def restore_folder(folder):
    """Puts a folder back that `atomic_folder` had moved aside when its process was killed."""
    folder = pathlib.Path(os.path.realpath(folder))
    if not folder.exists() and _previous(folder).exists():
        os.replace(_previous(folder), folder)


def _previous(folder):
    return folder.with_name(f".{folder.name}.previous")
