"""HDF5 files of strangers: opened when a process of its own has looked through them."""

import functools
import os
import pathlib
import signal
import subprocess
import sys

from keras_actionformer.files import check_is_file

# Of a processor; a small file takes half a second.
_SURVEY_SEC, _SURVEY_SEC_PER_GB = 30, 60
# On a machine that is busy otherwise a second of a processor may take that many.
_PATIENCE = 30


def open_hdf5(path):
    """Opens an HDF5 file for reading.

    A file that HDF5 does not survive costs another process its life; one that holds links or data
    of other files, or claims more than it can hold, is refused (`hdf5_survey`). No lock is asked
    for: not every file system has locks, and another process may be writing.

    Args:
      path: str or `os.PathLike`.

    Returns:
      `h5py.File`.

    Raises:
      OSError: there is no such file, or it cannot be read.
      ValueError: it is damaged or refused.
      Exception: anything that h5py raises over damaged bytes.
    """
    import h5py

    check_is_file(path)
    status = os.stat(path)
    problem = _problem(pathlib.Path(path).absolute(), status.st_size, status.st_mtime_ns)
    if problem:
        raise ValueError(problem)
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        # One that this process has open, asking for locks, HDF5 opens again in no other way.
        try:
            file = h5py.File(path, "r")
        except OSError:
            raise error from None
        file.flush()  # a memory map shows what is on the disk
        return file


@functools.lru_cache(maxsize=256)
def _problem(path, num_bytes, _modified_ns):
    """What is wrong with a file, or None; looked for once as long as the file stays as it is."""
    from keras_actionformer.containers import hdf5_survey

    if getattr(sys, "frozen", False) or not sys.executable:  # no Python to start another of
        hdf5_survey.survey(path, num_bytes)
        return None
    limit_sec = int(_SURVEY_SEC + _SURVEY_SEC_PER_GB * num_bytes / 1e9)
    too_long = f"HDF5 does not get through it in {limit_sec} s"
    package = str(pathlib.Path(__file__).parents[2])
    try:
        done = subprocess.run(
            [sys.executable, "-m", hdf5_survey.__name__, path, str(limit_sec)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([package, *filter(None, sys.path)])},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE * limit_sec,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return too_long
    if hasattr(signal, "SIGXCPU") and done.returncode == -signal.SIGXCPU:
        return too_long
    if done.returncode == hdf5_survey.REFUSED:
        return done.stdout.decode("utf-8", "replace").strip()
    if done.returncode:
        return f"HDF5 does not survive it: status {done.returncode}"
    return None
