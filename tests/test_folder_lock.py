"""A folder: one process at a time in it, whatever ends it; the other one is told who."""

import errno
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from keras_actionformer import folder_lock
from keras_actionformer.errors import UserError
from keras_actionformer.folder_lock import alone_in

TRAINING = "training", "--workdir"
LOCK = "training.lock"

HOLDER = """
import sys
sys.path.insert(0, {root!r})
from keras_actionformer.errors import UserError
from keras_actionformer.folder_lock import alone_in
sys.stdin.readline()
try:
    with alone_in({workdir!r}, "training", "--workdir"):
        print("has it", flush=True)
        sys.stdin.readline()
except UserError as error:
    print(error, flush=True)
"""


def start(workdir):
    program = HOLDER.format(root=str(pathlib.Path(__file__).parents[1]), workdir=str(workdir))
    return subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def go(process):
    process.stdin.write("\n")
    process.stdin.flush()


def test_of_two_that_start_at_one_moment_one_has_the_folder(tmp_path):
    both = [start(tmp_path / "run") for _ in range(2)]
    for process in both:
        go(process)
    told = [process.stdout.readline() for process in both]
    assert sorted(told)[1] == "has it\n" and told[0] != told[1]
    holder, other = both if told[0] == "has it\n" else both[::-1]
    assert f"{tmp_path / 'run'} is in use: process {holder.pid} on " in min(told)
    assert "stop it, or use another --workdir" in min(told)
    assert other.wait() == 0
    with pytest.raises(UserError, match=f"in use: process {holder.pid} on "):
        with alone_in(tmp_path / "run", *TRAINING):
            pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "run" / LOCK).exists()  # which blocks nobody
    with alone_in(tmp_path / "run", *TRAINING):
        assert f"process {os.getpid()} on" in (tmp_path / "run" / LOCK).read_text()
    assert not (tmp_path / "run" / LOCK).exists()


def test_what_was_made_for_the_lock_alone_goes(tmp_path):
    with pytest.raises(KeyboardInterrupt), alone_in(tmp_path / "a" / "b", *TRAINING):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
    with alone_in(tmp_path / "a" / "b", *TRAINING):
        (tmp_path / "a" / "b" / "file").touch()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["file"]
    with alone_in(
        tmp_path / "a" / "b", "training", "--workdir"
    ):  # no lock of the past is in the way
        pass


def test_a_lock_file_that_its_owner_takes_away_meanwhile_is_no_lock(tmp_path, monkeypatch):
    take_lock, others = folder_lock.take_lock, []

    def removed_just_before(descriptor):
        if not others:
            (tmp_path / LOCK).unlink()
            others.append(descriptor)
        take_lock(descriptor)

    monkeypatch.setattr(folder_lock, "take_lock", removed_just_before)
    with alone_in(tmp_path, *TRAINING):
        assert (tmp_path / LOCK).read_text()
        with (
            pytest.raises(UserError, match="is in use"),
            alone_in(tmp_path, *TRAINING),
        ):
            pass


def test_without_locks_a_training_goes_on_and_says_so(tmp_path, monkeypatch, caplog):
    def no_locks(descriptor):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(folder_lock, "take_lock", no_locks)
    with alone_in(tmp_path, *TRAINING):
        pass
    (record,) = caplog.records
    assert record.getMessage() == (
        f"{tmp_path / LOCK} cannot be locked (No locks available): see to it that no other "
        "training uses this folder."
    )
