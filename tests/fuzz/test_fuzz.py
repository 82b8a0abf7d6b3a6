"""Changed files are read right or refused in a sentence, soon and in little memory.

Of a failure the file stays: `REPEAT` in the message makes it again.
"""

import contextlib
import os
import random
import resource
import signal
import sys
import time
import warnings

import ml_collections
import pytest

from fuzz.mutations import ODD_VALUES, mutate
from fuzz.readers import READERS, read_survey
from helpers.small_run import small_config, write_data
from keras_actionformer import UserError
from keras_actionformer.containers import hdf5_files
from keras_actionformer.training.config import check_config

# Of 20,000 changed files each reader gets as many as its kind had faults.
SHARES = {"a.npy": 3, "a.npz": 2, "packed.npz": 2, "a.h5": 2, "newest.hdf5": 2, "config.json": 2}
TOTAL = 20_000
MOST_SEC, MOST_BYTES = 2, 500 * 2**20
_OPENED, _REFUSED, _FAILED = 0, 1, 2


class Hang(BaseException):
    """Longer than any file may take; no reader catches it."""


def _raise_hang(signum, frame):
    raise Hang


@contextlib.contextmanager
def time_limit():
    previous = signal.signal(signal.SIGPROF, _raise_hang)
    signal.setitimer(signal.ITIMER_PROF, MOST_SEC)  # of the processor
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)


def outcome(reader, path, expected):
    """What a reader does with a file: `_OPENED`, `_REFUSED` or, told on stderr, `_FAILED`."""
    try:
        with time_limit():
            found = reader.read(path)
        if reader.is_checked and expected is not None:
            assert found == expected, "other values than the sound file has"
    except UserError as error:
        if 10 < len(str(error)) < 2100:
            return _REFUSED
        print(f"a message of {len(str(error))} characters", file=sys.stderr)
        return _FAILED
    except (Exception, Hang) as error:
        print(f"{type(error).__name__}: {str(error)[:300]}", file=sys.stderr)
        return _FAILED
    return _OPENED


def outcome_in_a_fork(reader, path):
    """As `outcome`; what ends its process in the survey is refused by `open_hdf5`."""
    pid = os.fork()
    if pid == 0:
        status = _FAILED
        with contextlib.suppress(BaseException):
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            read_end = os.open(os.devnull, os.O_WRONLY)
            messages = os.dup(2)
            os.dup2(read_end, 2)  # what the C library says of its heap
            try:
                with time_limit():
                    read_survey(path)
            except UserError:
                os._exit(_REFUSED)
            except Hang:
                os._exit(_REFUSED)  # `open_hdf5` ends it, too
            os.dup2(messages, 2)
            open(f"{path}.surveyed", "w").close()
            hdf5_files._problem = lambda *_: None
            status = outcome(reader, path, None)
        os._exit(status)
    status = os.waitpid(pid, 0)[1]
    was_surveyed = os.path.exists(f"{path}.surveyed")
    if was_surveyed:
        os.remove(f"{path}.surveyed")
    if os.WIFSIGNALED(status):
        return _FAILED if was_surveyed else _REFUSED
    return os.WEXITSTATUS(status)


def fuzz(reader, folder, count, seed):
    """Has a reader read changed files.

    Args:
      reader: `Reader`.
      folder: `pathlib.Path`, empty.
      count: int, how many.
      seed: int.

    Returns:
      (dict, how many of each outcome; list of str, how to repeat each failure).
    """
    path = folder / reader.name
    path.write_bytes(reader.content)
    expected = reader.read(path)
    counts, failures = {_OPENED: 0, _REFUSED: 0, _FAILED: 0}, []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for i in range(count):
        rng = random.Random(f"{seed} {reader.name} {i}")
        path.unlink()  # a new file, not the mapped one of before
        content, has_right_sums = mutate(reader.content, reader.name, rng)
        path.write_bytes(content)
        if reader.may_end_its_process:
            result = outcome_in_a_fork(reader, path)
        else:
            result = outcome(reader, path, None if has_right_sums else expected)
        counts[result] += 1
        if result == _FAILED:
            failures.append(f"REPEAT seed={seed} reader={reader.name} file={i}")
            (folder / f"failure_{i}_{reader.name}").write_bytes(path.read_bytes())
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    if grown > MOST_BYTES:
        failures.append(f"{grown} bytes of memory")
    return counts, failures


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("name", READERS)
def test_some_changed_files(tmp_path, name):
    counts, failures = fuzz(READERS[name], tmp_path, count=25, seed=0)
    assert not failures, failures
    assert counts[_REFUSED]


@pytest.mark.slow
def test_twenty_thousand_changed_files(tmp_path):
    start, failures, total = time.monotonic(), [], 0
    shares = {name: SHARES.get(name, 1) for name in READERS}
    for name, reader in READERS.items():
        folder = tmp_path / name
        folder.mkdir()
        count = -(-TOTAL * shares[name] // sum(shares.values()))
        counts, found = fuzz(reader, folder, count, seed=1)
        failures += found
        total += count
        print(f"{name:30} {counts} {time.monotonic() - start:.0f} s", flush=True)
    assert not failures, failures
    assert total >= TOTAL


@pytest.mark.parametrize("seed", [0])
def test_odd_settings(tmp_path, seed):
    """Settings as a configuration file or the command line may give them, before any training."""
    write_data(tmp_path)
    sound = small_config(tmp_path)
    fields = [
        (section, name)
        for section, values in sound.items()
        if isinstance(values, ml_collections.ConfigDict)
        for name in values
    ]
    rng, told, failures = random.Random(seed), 0, []
    for i in range(1500):
        config = sound.copy_and_resolve_references()
        section, name = rng.choice(fields)
        value = rng.choice((*ODD_VALUES, 3, 0.5, (1, 2), ("a",)))
        try:
            config[section][name] = value
        except (TypeError, ValueError, OverflowError):  # ml_collections tells
            told += 1
            continue
        try:
            with time_limit():
                check_config(config)
        except UserError as error:
            told += 1
            assert len(str(error)) < 2100
        except (Exception, Hang) as error:
            failures.append(f"{section}.{name}={value!r:.60}: {type(error).__name__}: {error}")
    assert not failures, "\n".join(failures)
    assert told > 500
