"""Signals: what a training that gets one leaves and says, and how it goes on."""

import csv
import os
import pty
import shlex
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from helpers.programs import ROOT, run_here
from helpers.small_run import write_data
from keras_actionformer.cli import stopping
from keras_actionformer.cli.stopping import Stopped, StopSignals
from keras_actionformer.training import callbacks, run_scores, validation

needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="training pipelines are TensorFlow's"
)

CONFIG = """
import pathlib
from helpers.small_run import small_config

def get_config():
    return small_config(pathlib.Path(__file__).parent)
"""
TRAIN = ("train", "--config=config.py", "--workdir=run", "--noevaluate")
GO_ON = f"go on with `keras-actionformer {' '.join(TRAIN)} --resume`."


@pytest.fixture(autouse=True)
def heeds_signals():
    """Also where the tests run under `nohup` or in the background, which ignore some of them."""
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGTERM: signal.signal(signal.SIGTERM, signal.SIG_DFL),
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    }
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_data(folder)
    (folder / "config.py").write_text(CONFIG)
    return folder


@pytest.fixture
def folder(data, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    shutil.copytree(data, tmp_path / "folder")
    return tmp_path / "folder"


def assert_same_checkpoint(a, b):
    with np.load(a / "checkpoint.npz") as ours, np.load(b / "checkpoint.npz") as theirs:
        assert ours.files == theirs.files
        for name in set(ours.files) - {"log"}:  # which has seconds
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def rows(folder):
    """The log of a run, but for what its steps took."""
    with open(folder / "log.csv", newline="") as file:
        return [
            {name: value for name, value in row.items() if not name.endswith("seconds")}
            for row in csv.DictReader(file)
        ]


def sent_in_second_epoch(monkeypatch, where):
    """SIGTERM comes in the second epoch: in a step, in its validation or with its checkpoint."""
    steps, begin, savez = [], callbacks.RunWriter.on_train_batch_begin, np.savez
    detect = validation.detect_items

    def on_train_batch_begin(self, batch, logs=None):
        steps.append(batch)
        if where == "step" and len(steps) == 3:
            signal.raise_signal(signal.SIGTERM)
        begin(self, batch, logs)

    def detect_items(*arguments, **options):
        if where == "validation" and len(steps) == 4:
            signal.raise_signal(signal.SIGTERM)
        return detect(*arguments, **options)

    def write(file, **arrays):
        file.write(b"half")
        if where == "checkpoint" and len(steps) == 4:
            signal.raise_signal(signal.SIGTERM)
        file.seek(0)
        savez(file, **arrays)

    monkeypatch.setattr(callbacks.RunWriter, "on_train_batch_begin", on_train_batch_begin)
    monkeypatch.setattr(validation, "detect_items", detect_items)
    monkeypatch.setattr(np, "savez", write)
    return steps


@needs_tensorflow
@pytest.mark.parametrize(
    "where, kept, num_steps", [("step", 1, 3), ("validation", 1, 4), ("checkpoint", 2, 4)]
)
def test_sigterm_keeps_what_is_finished_and_tells_how_to_go_on(
    run_eagerly, folder, monkeypatch, where, kept, num_steps
):
    validated = ("--config.data.val_subset=test", "--config.train.val_every=1")
    train = (*TRAIN, *validated) if where == "validation" else TRAIN
    with monkeypatch.context() as patch:
        steps = sent_in_second_epoch(patch, where)
        done = run_here(folder, *train)
    assert done.returncode == 143
    told = done.stderr.splitlines()[-1]
    go_on = GO_ON.replace(" ".join(TRAIN), " ".join(train))
    assert told == f"train: Ended by SIGTERM: run keeps {kept} of 3 epochs; {go_on}"
    assert len(steps) == num_steps  # two an epoch
    left = {path.name for path in (folder / "run").iterdir()}
    assert "training.lock" not in left and not any(".part" in name for name in left)
    assert len((folder / "run" / "log.csv").read_text().splitlines()) == 1 + kept
    if where == "checkpoint":
        return
    command = shlex.split(told.partition("`")[2].partition("`")[0])
    assert run_here(folder, *command[1:]).returncode == 0
    assert run_here(folder, *(word.replace("=run", "=whole") for word in train)).returncode == 0
    assert_same_checkpoint(folder / "run", folder / "whole")
    assert rows(folder / "run") == rows(folder / "whole")


@needs_tensorflow
@pytest.mark.parametrize(
    "number, status, told",
    [
        (signal.SIGTERM, 143, "Ended by SIGTERM"),
        (signal.SIGHUP, 129, "Ended by SIGHUP"),
        (signal.SIGINT, 130, "Interrupted"),
    ],
)
def test_before_the_first_step_a_signal_is_heeded_at_once(
    folder, monkeypatch, number, status, told
):
    monkeypatch.setattr(run_scores, "check_evaluation", lambda config: signal.raise_signal(number))
    done = run_here(folder, *TRAIN[:-1])
    assert done.returncode == status
    go_on = GO_ON.replace(" --noevaluate", "")
    assert done.stderr.splitlines()[-1] == f"train: {told}: {go_on}"
    assert not (folder / "run").exists()


def test_a_signal_waits_in_the_block_and_a_second_one_ends_the_process(monkeypatch):
    times, ended = iter([10.0, 10.5, 11.5]), []
    monkeypatch.setattr(stopping.time, "monotonic", lambda: next(times))
    send, before = signal.raise_signal, signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped) as stopped, StopSignals() as signals:
        with signals.deferred() as check:
            check()
            send(signal.SIGTERM)
            send(signal.SIGTERM)  # of the same command: a shell and a wrapper both pass it on
            monkeypatch.setattr(signal, "raise_signal", ended.append)
            os.kill(os.getpid(), signal.SIGTERM)
            assert ended == [signal.SIGTERM]
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert stopped.value.signal == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.slow
@needs_tensorflow
def test_a_closed_terminal_and_a_cluster_end_a_training_bit_for_bit(data, tmp_path):
    folder = tmp_path / "folder"
    shutil.copytree(data, folder)
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    epochs = 20

    def start(workdir, *more, **options):
        words = [*TRAIN[:2], f"--workdir={workdir}", "--noevaluate", *more]
        words += [f"--config.train.epochs={epochs}"]
        return subprocess.Popen(
            [sys.executable, "-m", "keras_actionformer", *words],
            cwd=folder, env=variables, start_new_session=True, **options,
        )  # fmt: skip

    def wait_for_epochs(process, num_epochs):
        log = folder / "run" / "log.csv"
        while not log.exists() or len(log.read_text().splitlines()) < 1 + num_epochs:
            assert process.poll() is None
            time.sleep(0.02)

    whole = start("whole", stdout=subprocess.DEVNULL)
    assert whole.wait() == 0
    controller, terminal = pty.openpty()
    process = start("run", stdout=terminal, stderr=terminal)
    os.close(terminal)
    wait_for_epochs(process, 2)
    os.close(controller)  # what is printed from now on is an error
    process.send_signal(signal.SIGHUP)
    assert process.wait() == 129
    process = start("run", "--resume", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_for_epochs(process, 5)
    process.send_signal(signal.SIGTERM)
    told = process.communicate()[1].splitlines()[-1]
    assert process.returncode == 143
    assert told.startswith("train: Ended by SIGTERM: run keeps ") and "--resume" in told
    assert start("run", "--resume", stdout=subprocess.DEVNULL).wait() == 0
    assert_same_checkpoint(folder / "run", folder / "whole")
