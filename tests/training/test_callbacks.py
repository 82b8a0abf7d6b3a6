"""What a run writes where a disk refuses it: tried again, told once, and nothing of it lost."""

import contextlib
import csv
import errno
import functools
import json
import os

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_actionformer import ActionFormer, AdamW, default_config
from keras_actionformer.training import callbacks
from keras_actionformer.training.callbacks import RunWriter
from keras_actionformer.training.validation import WeightsCopy


@functools.cache
def model():
    made = ActionFormer(
        input_dim=4, num_classes=2, backbone_arch=(1, 0, 1), embd_dim=8, fpn_dim=8, head_dim=8,
        n_head=2, n_mha_win_size=5, max_seq_len=32,
    )  # fmt: skip
    made.compile(AdamW(1e-3, use_ema=True))
    made.optimizer.build(made.trainable_variables)
    return made


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(callbacks, "_WAITS_SEC", (0, 0))
    return new_run(tmp_path)


def new_run(folder):
    train = default_config().train
    train.warmup_epochs, train.epochs = 0, 9
    return RunWriter(model(), folder, WeightsCopy(model()), train)


def finish_epoch(run):
    epoch = len(run.rows)
    run.on_epoch_begin(epoch)
    run.on_epoch_end(epoch, {"loss": 1.0 + epoch})


@contextlib.contextmanager
def refused(name, number, times=10**6):
    """The file system refuses so many times to put a file in its place; yields how often it did."""
    replace, calls = os.replace, []

    def refuse(source, target):
        if os.path.basename(target) == name and len(calls) < times:
            calls.append(target)
            raise OSError(number, os.strerror(number), str(source), None, str(target))
        replace(source, target)

    os.replace = refuse
    try:
        yield calls
    finally:
        os.replace = replace


def losses(folder):
    with open(folder / "log.csv", newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def test_a_log_that_is_open_elsewhere_is_written_an_epoch_later(run, tmp_path, caplog):
    finish_epoch(run)
    with refused("log.csv", errno.EACCES):
        finish_epoch(run)
        finish_epoch(run)
    assert losses(tmp_path) == [1] and not list(tmp_path.glob(".*"))
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'log.csv'} cannot be written now (Permission denied): checkpoint.npz keeps "
        "its rows, and it is tried again after each epoch."
    ]
    finish_epoch(run)
    assert losses(tmp_path) == [1, 2, 3, 4]
    run.on_train_end()
    assert len(caplog.records) == 1


def test_rows_that_are_missing_at_the_end_are_named_and_come_back(run, tmp_path, caplog):
    finish_epoch(run)
    with refused("log.csv", errno.ESTALE):
        finish_epoch(run)
        finish_epoch(run)
        run.on_train_end()
    log, checkpoint = tmp_path / "log.csv", tmp_path / "checkpoint.npz"
    assert caplog.records[-1].getMessage() == (
        f"{log} could not be written (Stale file handle) and lacks the rows of epochs 2 to 3: "
        f"{checkpoint} has them, and --resume writes them."
    )
    with np.load(checkpoint) as file:
        assert [row["loss"] for row in json.loads(str(file["log"]))] == [1, 2, 3]
    new_run(tmp_path).restore()
    assert losses(tmp_path) == [1, 2, 3]


@pytest.mark.parametrize("name", ["checkpoint.npz", "model.keras"])
def test_what_a_run_cannot_do_without_is_tried_again(run, tmp_path, name):
    finish_epoch(run)
    run._model_written = -np.inf
    with refused(name, errno.ESTALE, times=2) as calls:
        finish_epoch(run)
    assert len(calls) == 2 and losses(tmp_path) == [1, 2]
    before = (tmp_path / name).read_bytes()
    run._model_written = -np.inf
    with refused(name, errno.ESTALE) as calls, pytest.raises(OSError) as raised:
        finish_epoch(run)
    assert len(calls) == 3 and raised.value.errno == errno.ESTALE
    assert (tmp_path / name).read_bytes() == before and not list(tmp_path.glob(".*"))
    # What the checkpoint does not hold is not counted as kept.
    assert len(run.rows) == (2 if name == "checkpoint.npz" else 3)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_disk_that_cannot_be_flushed_is_written_to(run, tmp_path, monkeypatch, number):
    def fsync(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    finish_epoch(run)
    assert losses(tmp_path) == [1]
    number = errno.EIO  # a disk that fails is another matter
    with pytest.raises(OSError, match="Input/output error"):
        finish_epoch(run)


def test_what_tensorboard_may_not_write_comes_later(tmp_path, monkeypatch, caplog):
    written, problems = [], [None, tf.errors.OutOfRangeError(None, None, "full"), OSError("x")]

    class Board(keras.callbacks.Callback):
        def __init__(self, folder, write_graph):
            assert folder == tmp_path and not write_graph
            self.number = len(boards)
            boards.append(self)

        def on_epoch_end(self, epoch, logs=None):
            if problems and (problem := problems.pop(0)):
                raise problem
            written.append((self.number, epoch, logs["loss"]))

    boards, writer = [], callbacks.BoardWriter(tmp_path)
    monkeypatch.setattr(keras.callbacks, "TensorBoard", Board)
    for epoch in range(3):
        writer.on_epoch_end(epoch, {"loss": epoch / 10})
    assert written == [(0, 0, 0.0)] and len(caplog.records) == 1
    assert f"{tmp_path} cannot be written now (full)" in caplog.records[0].getMessage()
    writer.on_epoch_end(3, {"loss": 0.3})
    # Files that end in half a row are left alone.
    assert written[1:] == [(2, 1, 0.1), (2, 2, 0.2), (2, 3, 0.3)]
    problems.append(OSError("x"))
    writer.on_epoch_end(4, {"loss": 0.4})
    writer.on_train_end()
    assert caplog.records[-1].getMessage() == (
        f"{tmp_path} lacks epochs 5 to 5, which checkpoint.npz has."
    )
