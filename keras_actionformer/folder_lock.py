"""One process at a time in a folder: two would leave settings of one and results of the other."""

import contextlib
import os
import pathlib
import socket
import time

from absl import logging

from keras_actionformer.errors import UserError
from keras_actionformer.files import reason_of, take_lock


@contextlib.contextmanager
def alone_in(folder, work, option):
    """Has a folder to itself within the block; whoever only reads the folder need not ask.

    The lock ends with its process, however that ends. Where the file system has none, the work
    goes on, and this is told.

    Args:
      folder: str or path; created when missing, and taken away again when nothing was written.
      work: str, what is done there, such as `training`; the lock is then `training.lock`.
      option: str, of the command, that names the folder.

    Raises:
      UserError: another process does such work in it.
    """
    folder = pathlib.Path(folder)
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _locked(folder / f"{work}.lock", option):
            yield
    finally:
        with contextlib.suppress(OSError):
            for each in made:
                each.rmdir()


@contextlib.contextmanager
def _locked(path, option):
    descriptor = _open_locked(path, option)
    try:
        with contextlib.suppress(OSError):  # it is for others to read
            os.truncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield
    finally:
        if os.name == "nt":  # an open file cannot be removed there
            os.close(descriptor)
        with contextlib.suppress(OSError):
            path.unlink()
        if os.name != "nt":
            os.close(descriptor)


def _open_locked(path, option):
    """Opens the lock file, locked; returns its descriptor."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            take_lock(descriptor)
        except BlockingIOError:
            os.close(descriptor)
            time.sleep(0.1)  # who has just locked it will have written who it is
            raise UserError(
                f"{path.parent} is in use: {_holder(path)} is {path.stem} there. Wait until it "
                f"ends, stop it, or use another {option}."
            ) from None
        except OSError as error:
            logging.warning(
                "%s cannot be locked (%s): see to it that no other %s uses this folder.",
                path,
                reason_of(error),
                path.stem,
            )
            return descriptor
        if _is_at(path, descriptor):
            return descriptor
        os.close(descriptor)  # who had it has ended, and removed it, in between


def _holder(path):
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace")[:200] or "another process"
    return "another process"


def _is_at(path, descriptor):
    """Whether a path leads to an open file still."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
