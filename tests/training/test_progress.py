"""The table that a training prints, as a log and as a terminal show it."""

import contextlib
import os
import shutil
import types

import pytest

from helpers.terminal import Terminal
from keras_actionformer.terminal import RunningLine
from keras_actionformer.training import progress
from keras_actionformer.training.epochs import best_of

LOSSES = {"loss": 1.8231, "cls_loss": 1.2012, "reg_loss": 0.6219, "zero_starts": 0.0}
SCORES = {"val_loss": 1.7012, "val_mAP": 0.4512, "val_mAP_last": 0.5, "val_recall": 1.0}


@pytest.fixture
def clock(monkeypatch):
    """A clock that is moved by hand: `clock.now`."""
    clock = types.SimpleNamespace(now=100.0)
    both = types.SimpleNamespace(perf_counter=lambda: clock.now, monotonic=lambda: clock.now)
    monkeypatch.setattr(progress, "time", both)
    return clock


def table_of(validation, epochs=24, steps=2, jit_compile=False):
    run = types.SimpleNamespace(validation=validation, rows=[], best=None)
    table = progress.EpochTable(run, RunningLine())
    table.set_params({"epochs": epochs, "steps": steps})
    table.set_model(types.SimpleNamespace(jit_compile=jit_compile))
    return run, table


def run_epoch(run, table, clock, epoch, step_sec, scores=None, val_sec=0.0):
    table.on_epoch_begin(epoch)
    for step in range(2):
        clock.now += step_sec
        table.on_train_batch_end(step, LOSSES)
    clock.now += val_sec
    run.rows.append({"epoch": epoch + 1, **(scores or {})})
    run.best = best_of(run.rows)
    table.on_epoch_end(epoch, {**LOSSES, **(scores or {})})


def test_a_line_an_epoch(clock, capsys):
    run, table = table_of("Validation on 2 videos.")
    table.on_train_begin()
    run_epoch(run, table, clock, 0, step_sec=1.0)
    run_epoch(run, table, clock, 1, step_sec=1.0, scores=SCORES)
    run_epoch(run, table, clock, 2, step_sec=1.0, scores=SCORES)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "Validation on 2 videos.",
        "Tracing the training step ...",
        "  epoch     loss cls_loss reg_loss val_loss     mAP   last recall     left",
        "   1/24   1.8231   1.2012   0.6219                                    0:46",
        "   2/24   1.8231   1.2012   0.6219   1.7012   45.12  50.00 100.00     0:44 best",
        "   3/24   1.8231   1.2012   0.6219   1.7012   45.12  50.00 100.00     0:42",
    ]


def test_without_validation(clock, capsys):
    run, table = table_of(None, epochs=2, jit_compile=True)
    table.on_train_begin()
    run_epoch(run, table, clock, 0, step_sec=1.0)
    run_epoch(run, table, clock, 1, step_sec=1.0)
    assert capsys.readouterr().out.splitlines() == [
        "Compiling the training step ...",
        "  epoch     loss cls_loss reg_loss     left",
        "    1/2   1.8231   1.2012   0.6219     0:02",
        "    2/2   1.8231   1.2012   0.6219     0:00",
    ]


def test_the_time_left_has_the_validations_in_it(clock, capsys):
    run, table = table_of("Validation.", epochs=11)
    table.on_train_begin()
    # The first of them is traced, too, and says nothing of the others.
    run_epoch(run, table, clock, 0, step_sec=2.0, scores=SCORES, val_sec=100.0)
    for epoch in (1, 2):
        run_epoch(run, table, clock, epoch, step_sec=2.0, scores=SCORES, val_sec=6.0)
    left = [line.split()[8] for line in capsys.readouterr().out.splitlines()[3:]]
    assert left == ["0:40", "1:30", "1:20"]


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_a_terminal_shows_the_running_epoch(clock, monkeypatch, columns):
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((columns, 24)))
    run, table = table_of("Validation.")
    terminal = Terminal()
    with contextlib.redirect_stdout(terminal):
        table.on_train_begin()
        run_epoch(run, table, clock, 0, step_sec=1.0)
        table.on_epoch_begin(1)
        clock.now += 1
        table.on_train_batch_end(0, LOSSES)
        *_, last, running = terminal.screen()
        assert last.startswith("   1/24") and last.endswith("0:46")
        told = "   2/24   1.8231   1.2012   0.6219   step 1 of 2, 0:45 left"
        assert running == told[: columns - 1]
        clock.now += 0.01  # too soon for another look
        table.on_train_batch_end(1, LOSSES)
        assert terminal.screen()[-1] == running
        table.on_epoch_end(1, {**LOSSES, **SCORES})
    assert terminal.screen()[-1] == "" and terminal.screen()[-2].startswith("   2/24")
    assert max(map(len, terminal.screen())) < 80
