"""Files: read with what is wrong told in a sentence, written so that none is ever half there."""

import codecs
import contextlib
import errno
import glob
import hashlib
import itertools
import json
import os
import pathlib
import shutil
import stat
import uuid

from keras_actionformer import remote
from keras_actionformer.errors import UserError

try:
    import fcntl
except ImportError:  # on Windows
    import msvcrt

    fcntl = None

_LONGEST_REASON = 200  # characters of another library's message
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_LOCKED_BYTE = 2**30  # on Windows a locked byte cannot be read: one that no lock file has

# === Reading ===


def read_bytes(path, kind, most_bytes=None):
    """Reads a file.

    Args:
      path: str or `os.PathLike`; a str may be an address, see remote.py.
      kind: str, what messages call the file, e.g. `"Annotation file"`.
      most_bytes: int, what a larger file is refused for; None for any size.

    Returns:
      bytes.

    Raises:
      UserError: the file does not exist, cannot be read or is too large.
    """
    try:
        if remote.is_address(path):
            content = remote.read(path, end=None if most_bytes is None else most_bytes + 1)
        else:
            check_is_file(path)
            with open(path, "rb") as file:
                content = file.read(-1 if most_bytes is None else most_bytes + 1)
    except FileNotFoundError:
        raise UserError(f"{kind} '{path}' does not exist; check its path.") from None
    except (OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{kind} '{path}' cannot be read: {reason_of(error)}.") from None
    if most_bytes is not None and len(content) > most_bytes:
        raise UserError(
            f"{kind} '{path}' has more than {most_bytes // 2**20} MB; check that it is the right "
            "file, or split it."
        )
    return content


def check_is_file(path):
    """Raises OSError where there is nothing, and ValueError for what could block: a pipe, say."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("it is no file, but a folder, a pipe or a device")


def read_text(path, kind, errors="strict"):
    """Reads a text file: UTF-8, with or without a byte order mark.

    Args:
      path, kind: as `read_bytes`.
      errors: str, as for `open`: what to do about bytes that are not UTF-8.

    Returns:
      str.

    Raises:
      UserError: the file does not exist, cannot be read, or is not UTF-8 (in which line is told).
    """
    content = read_bytes(path, kind).removeprefix(codecs.BOM_UTF8)
    try:
        return content.decode("utf-8", errors)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{kind} '{path}' is not UTF-8 text in line {line}; save it as UTF-8."
        ) from None


def sha256(path):
    """Returns the SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path, kind):
    """Reads a JSON file in which no object has a key twice.

    Args:
      path, kind: as `read_text`.

    Returns:
      What `json.loads` makes of it.

    Raises:
      UserError: see `read_text`; or it is no such JSON (where is told).
    """
    text = read_text(path, kind)
    try:
        return parse_json(text)
    except RepeatedKeyError as error:
        raise UserError(
            f"{kind} '{path}' has {error.key!r} twice in one object; every video id and "
            "every field may appear once, so merge or rename the entries."
        ) from None
    except ValueError as error:
        raise UserError(f"{kind} '{path}' is not valid JSON: {error}.") from None


def parse_json(text):
    """`json.loads`, for texts that were written by others.

    Raises:
      ValueError: the text is no JSON, nests too deeply, or is a `RepeatedKeyError`; what is wrong
        and where, to be put into a sentence.
    """
    try:
        return json.loads(text, object_pairs_hook=unique_keys)
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} in line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise ValueError("it nests lists or objects too deeply to be read") from None


class RepeatedKeyError(ValueError):
    """Of two equal keys a dict would keep the last: one of two videos would be lost."""

    def __init__(self, key):
        super().__init__(f"{key!r} stands twice in one object")
        self.key = key


def unique_keys(pairs):
    """Returns a list of (key, value) as a dict, or raises `RepeatedKeyError`."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise RepeatedKeyError(next(key for key in keys if keys.count(key) > 1))
    return found


@contextlib.contextmanager
def told_if_unreadable(problem, fix=""):
    """Raises `UserError` "PROBLEM (the reader's words); FIX." for whatever goes wrong in the block.

    The block is the call of a reader and no more: a stranger's bytes make NumPy, HDF5, zipfile and
    Keras raise nearly anything, and a fault of our own would be told as one of the file. A
    `UserError` passes as it is.

    Args:
      problem: str, e.g. `"'config.json' is damaged"`.
      fix: str, what to do about it, e.g. `"get the preset again"`; or empty.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{problem} ({reason_of(error)}){f'; {fix}' if fix else ''}.") from error


def reason_of(error):
    """What an error of a reader says, briefly: it may quote a file at length."""
    if isinstance(error, KeyError):
        return f"it lacks {str(error):.{_LONGEST_REASON}}"
    text = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
    reason = text.splitlines()[0].rstrip(".")
    return reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}..."


# === Names ===


def path_inside(folder, name):
    """The path that a name has in a folder: names come from files of others, as ids of videos do.

    Args:
      folder: str or `os.PathLike`; a str may be an address.
      name: str; with a slash it is that of a file in a folder in there.

    Returns:
      `pathlib.Path`, or the address as a str.

    Raises:
      UserError: the name leads out of the folder, or is none that a file can have.
    """
    path = pathlib.PurePath(name)
    if path.anchor or ".." in path.parts:
        raise UserError(f"The name {name[:200]!r} leads out of '{folder}'; rename it.")
    try:
        is_name = b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        is_name = False
    if not is_name:
        raise UserError(f"No file can be called {name[:200]!r}; rename it.")
    if remote.is_address(folder):
        return remote.join(folder, path.as_posix())
    return pathlib.Path(folder, path)


# === Writing ===


def write_json(path, content, indent=1, ensure_ascii=True):
    """Writes `content` as a JSON file, all at once; the arguments are those of `json.dump`."""
    # What of a file's name is no UTF-8, JSON can only write as \\udcff.
    with atomic_write(path, errors="backslashreplace") as file:
        json.dump(content, file, indent=indent, ensure_ascii=ensure_ascii)
        file.write("\n")


@contextlib.contextmanager
def atomic_path(path):
    """Yields a path to write to, and moves that file to `path` when the block succeeds.

    A crash, a full disk or Ctrl-C inside the block leaves whatever `path` held before. What a
    writer that was killed has left goes when `path` is written again.

    Args:
      path: str or `os.PathLike`, the file to write. Its folder is created when missing.

    Yields:
      `pathlib.Path` of an empty file in the same folder, with the same suffix.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, lock = _new_part(path)
    try:
        yield temporary
        _flush_to_disk(temporary)
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        # A full disk, say, should tell which file it was about.
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise
    finally:
        if lock is not None:
            os.close(lock)


def _new_part(path):
    """An empty hidden file beside `path`, and the descriptor that holds its lock; None without one.

    It has the name of what a killed writer of `path` has left, and so takes that away.
    """
    unlocked = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}"), None
    if fcntl is None:  # Windows renames nothing that is open
        return unlocked
    for number in itertools.count():
        part = path.with_name(f".{path.stem}.{number}.part{path.suffix}")
        try:
            descriptor = os.open(part, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            if isinstance(error, PermissionError) and part.exists():
                continue  # another user has left it
            error.filename = str(path)
            raise
        try:
            take_lock(descriptor)
            # Otherwise its writer was done before it was locked here.
            if os.path.samestat(os.fstat(descriptor), os.stat(part)):
                os.truncate(descriptor, 0)
                return part, descriptor
        except (BlockingIOError, FileNotFoundError):
            pass  # another writer's
        except OSError:  # the file system has no locks
            os.close(descriptor)
            part.unlink(missing_ok=True)
            return unlocked
        os.close(descriptor)


def _flush_to_disk(path):
    """Without it a power cut may leave a new name on an empty file; not every disk can do it."""
    with open(path, "rb+") as file:
        try:
            os.fsync(file.fileno())
        except OSError as error:
            if error.errno not in _NO_SYNC:
                raise


@contextlib.contextmanager
def atomic_write(path, mode="w", errors="strict"):
    """`atomic_path` with the file opened.

    Args:
      path: str or `os.PathLike`, the file to write. Its folder is created when missing.
      mode: `"w"` for text (UTF-8) or `"wb"` for bytes.
      errors: str, as for `open`: what to do about text that UTF-8 does not hold.

    Yields:
      The open file.
    """
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n", "errors": errors}
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
    writers at one time the later one stays. What a writer that was killed has left goes.

    Args:
      folder: str or `os.PathLike`; of a link, the folder it leads to is replaced.

    Yields:
      `pathlib.Path` of a folder beside it.
    """
    folder = pathlib.Path(os.path.realpath(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder)
    temporary, lock = _new_beside(folder)
    try:
        yield temporary
        for path in temporary.rglob("*"):
            if path.is_file():
                _flush_to_disk(path)
        _put_in_place(temporary, folder)
    except BaseException as error:
        restore_folder(folder)
        if isinstance(error, OSError) and str(error.filename or temporary).startswith(
            str(temporary)
        ):
            error.filename = str(folder)
        raise
    finally:
        # Either what was not finished, or what was replaced.
        shutil.rmtree(temporary, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _new_beside(folder):
    """A new hidden folder, and the file descriptor that holds its lock; None without locks."""
    while True:
        temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:12]}.part")
        temporary.mkdir()
        try:
            lock = lock_folder(temporary)
        except (BlockingIOError, FileNotFoundError):
            continue  # another writer has taken it for abandoned before it was locked
        except OSError:
            return temporary, None
        if temporary.is_dir():
            return temporary, lock
        os.close(lock)


def _remove_abandoned(folder):
    """Deletes the hidden folders of writers that were killed; a living one has locked its own."""
    for path in folder.parent.glob(f".{glob.escape(folder.name)}.*.part"):
        with contextlib.suppress(OSError):
            lock = lock_folder(path)
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)


def lock_folder(folder):
    """Locks a folder, and returns the file descriptor that holds the lock until its process ends.

    Raises:
      BlockingIOError: a living process has locked it.
      OSError: its file system has no locks.
    """
    descriptor = os.open(folder, os.O_RDONLY)  # which Windows refuses
    try:
        take_lock(descriptor)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def take_lock(descriptor):
    """Locks what is open until it is closed or its process ends, in whatever way.

    Args:
      descriptor: int, of an open file.

    Raises:
      BlockingIOError: somebody else has locked it.
      OSError: its file system has no locks.
    """
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    except PermissionError as error:  # so Windows and some disks of a network call a taken lock
        raise BlockingIOError(*error.args) from None


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
