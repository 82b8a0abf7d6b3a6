"""The line that a terminal writes over."""

import contextlib
import io
import os
import shutil

import pytest

from helpers.terminal import Terminal
from keras_actionformer.terminal import RunningLine, clear_line, clock, is_terminal


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((20, 24)))
    return Terminal()


def test_a_line_is_written_over(terminal):
    line = RunningLine()
    with contextlib.redirect_stdout(terminal):
        line.show("a long text of 19 c")
        assert terminal.screen() == ["a long text of 19 c"]
        line.show("short")
        assert terminal.screen() == ["short"]
        line.clear()
        print("whole")
    assert terminal.screen() == ["whole", ""]


def test_a_line_stays_within_the_terminal(terminal):
    with contextlib.redirect_stdout(terminal):
        RunningLine().show("0123456789" * 3)
    assert terminal.screen() == ["0123456789012345678"]  # a 20th would begin another line


def test_nothing_stays_of_a_bar(terminal):
    line = RunningLine()
    with contextlib.redirect_stdout(terminal):
        for done in range(5):
            line.count(done, 4, "videos", "Reading")
            if done == 2:
                assert terminal.screen() == ["Reading 2 of 4 vide"]
    assert terminal.screen() == [""]


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        (80, "[#####...............] 1 of 4 s, 0:30 left"),
        (30, "[#......] 1 of 4 s, 0:30 left"),
        (20, "1 of 4 s, 0:30 left"),
    ],
)
def test_numbers_have_room_before_a_bar(terminal, monkeypatch, columns, text):
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((columns, 24)))
    with contextlib.redirect_stdout(terminal):
        RunningLine().count(1, 4, "s", left_sec=30)
    assert terminal.screen() == [text]


def test_nothing_stays_before_a_message(terminal):
    with contextlib.redirect_stdout(terminal):
        RunningLine().show("at work")
        clear_line()
        print("Why.")
    assert terminal.screen() == ["Why.", ""]


@pytest.mark.parametrize("stream", [io.StringIO(), None])
def test_a_file_has_no_running_lines(stream):
    line = RunningLine()
    with contextlib.redirect_stdout(stream):
        line.show("text")
        line.count(1, 2, "videos")
        line.clear()
        clear_line()
        assert not is_terminal()
    assert stream is None or not stream.getvalue()


@pytest.mark.parametrize(
    "seconds, text", [(0, "0:00"), (59.6, "1:00"), (754, "12:34"), (3600, "1:00:00")]
)
def test_times(seconds, text):
    assert clock(seconds) == text
