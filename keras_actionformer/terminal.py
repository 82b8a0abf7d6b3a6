"""What a program shows while it works: a line that a terminal writes over and no file sees."""

import shutil
import sys

_BAR, _LEAST_BAR = 20, 4  # characters of a bar; of less a narrow terminal has none


class RunningLine:
    """The line below what a program has printed, written over while it works.

    Where the standard output is no terminal nothing is written: a log has whole lines alone.
    """

    def __init__(self):
        self._length = 0

    def show(self, text):
        """Shows a text in place of the last one, cut to the width of the terminal."""
        if not is_terminal():
            return
        text = text[: _columns() - 1]  # one more would begin a second line
        print(f"\r{text:<{self._length}}", end="", flush=True)
        self._length = len(text)

    def count(self, done, total, what, task="", left_sec=None):
        """Shows how much of a task is done, as a bar; nothing stays when it is all.

        In a narrow terminal the bar makes room for the numbers.

        Args:
          done, total: ints.
          what: str, what is counted, e.g. `"videos"`.
          task: str, what is done with them.
          left_sec: float, how long the rest will take, or None where nothing tells.
        """
        if done >= total:
            self.clear()
            return
        left = "" if left_sec is None else f", {clock(left_sec)} left"
        task, numbers = task and f"{task} ", f"{done} of {total} {what}{left}"
        length = min(_columns() - 1 - len(f"{task}[] {numbers}"), _BAR)
        filled = length * done // max(total, 1)
        bar = f"[{'#' * filled:.<{length}}] " if length >= _LEAST_BAR else ""
        self.show(f"{task}{bar}{numbers}")

    def clear(self):
        """Takes it away: what is printed next stands in its place."""
        if self._length:
            clear_line()
            self._length = 0


def is_terminal():
    """Whether the standard output is one."""
    return sys.stdout is not None and sys.stdout.isatty()


def clear_line():
    """Takes away what stands in the last line of a terminal, for a message about a sudden end."""
    if is_terminal():
        print(f"\r{'':<{_columns() - 1}}\r", end="", flush=True)


def clock(seconds):
    """A time as `m:ss` or `h:mm:ss`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def _columns():
    return shutil.get_terminal_size().columns
