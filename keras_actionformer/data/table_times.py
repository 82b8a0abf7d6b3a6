"""Numbers and times as people write them in tables -> seconds.

Decimal commas and points, `62.5`, `1:02.5` and `0:01:02.5`, seconds, milliseconds, minutes, hours
and frames. A table is taken as a whole: it has one decimal mark, and what one cell leaves open
another may settle. What stays open is an error that names both readings.
"""

import dataclasses
import math
import re

from keras_actionformer.checks import shown
from keras_actionformer.errors import UserError

# What a plain number may count, and how many seconds one is; of frames, the video's rate says.
PLAIN_UNITS = {
    "seconds": 1.0,
    "milliseconds": 1e-3,
    "minutes": 60.0,
    "hours": 3600.0,
    "frames": None,
}
# What a header may say that the numbers of a time with colons are.
CLOCK_UNITS = ("mm:ss", "h:mm", "h:mm:ss")

_CLOCK = re.compile(r"(?:([0-9]{1,9}):)?([0-9]{1,9}):([0-9]{2})(?:[.,]([0-9]{1,9}))?")
_UNCLEAR = re.compile(r"[+-]?[1-9][0-9]{0,2}[.,][0-9]{3}")
_NUMBER = {
    mark: re.compile(
        rf"[+-]?(?={mark}?[0-9])(?:[0-9]+|[0-9]{{1,3}}(?:{other}[0-9]{{3}})+)?"
        rf"(?:{mark}[0-9]*)?(?:[eE][+-]?[0-9]{{1,3}})?"
    )
    for mark, other in ((r"\.", ","), (",", r"\."))
}  # by its decimal mark; between thousands there may be the other one


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Args:
      where: str, its line as errors name it.
      header: str, what its column is called.
      text: str.
      unit: str, what the header says of its numbers, of `PLAIN_UNITS` or `CLOCK_UNITS`; or None.
    """

    where: str
    header: str
    text: str
    unit: str | None = None

    def __str__(self):
        return f"{self.where}: {self.header!r}"


class Times:
    """Reads the cells of one table.

    Args:
      cells: iterable of all its `Cell`s that hold numbers or times.
      time_unit: str, what a plain number of a time is where the header does not say, or None for
        seconds.

    Raises:
      UserError: the decimal mark of the table is not clear.
    """

    def __init__(self, cells, time_unit=None):
        self._time_unit = time_unit or "seconds"
        self._shows_seconds = False  # a time such as 1:02.5 stands somewhere
        proofs, unclear = {}, {}  # decimal mark -> the first cell that has it, or may have it
        for cell in cells:
            if ":" in cell.text:
                clock = _CLOCK.fullmatch(cell.text)
                self._shows_seconds |= bool(clock and clock[1] is None and clock[4])
            elif mark := _mark_of(cell.text):
                (unclear if _UNCLEAR.fullmatch(cell.text) else proofs).setdefault(mark, cell)
        self._mark = _decimal_mark(proofs, unclear)

    def number(self, cell):
        """Returns the finite float that a cell says.

        Raises:
          UserError: it says none.
        """
        value = self._plain(cell.text)
        if value is None:
            raise UserError(f"{cell} must be a number, but it is {shown(cell.text)}.")
        return value

    def seconds(self, cell, fps=None):
        """Returns the time of a cell in seconds.

        Args:
          cell: `Cell`.
          fps: float, frames a second of its video, or None when it is not known.

        Raises:
          UserError: it is no time, or may be more than one.
        """
        if ":" in cell.text:
            return self._clock_seconds(cell)
        value = self._plain(cell.text)
        if value is None:
            raise UserError(
                f"{cell} must be a number, but it is {shown(cell.text)}; write seconds, such as "
                "62.5, or a time, such as 1:02.5."
            )
        if cell.unit in CLOCK_UNITS:
            raise UserError(
                f"{cell} must be a time like {cell.unit}, as its header says, but it is "
                f"{shown(cell.text)}."
            )
        return to_seconds(cell, value, cell.unit or self._time_unit, fps)

    def _plain(self, text):
        if not _NUMBER[self._mark].fullmatch(text):
            return None
        groups, decimals = (".", ",") if self._mark == "," else (",", ".")
        value = float(text.replace(groups, "").replace(decimals, "."))
        return value if math.isfinite(value) else None

    def _clock_seconds(self, cell):
        clock = _CLOCK.fullmatch(cell.text)
        if not clock or (clock[1] and int(clock[2]) > 59) or int(clock[3]) > 59:
            raise UserError(
                f"{cell} must be a time such as 1:02.5 or 0:01:02.5, but it is {shown(cell.text)}."
            )
        if cell.unit in PLAIN_UNITS and cell.unit != "seconds":
            raise UserError(
                f"{cell} must be a number of {cell.unit}, as its header says, but it is "
                f"{shown(cell.text)}."
            )
        hours, first, last = (int(part or 0) for part in clock.groups()[:3])
        if clock[1] is None and clock[4] is None and self._is_hours(cell):
            return (first * 60.0 + last) * 60.0
        fraction = float(f"0.{clock[4] or 0}")
        # The sum would turn 671.27 s into 671.2700000000001.
        return round(hours * 3600 + first * 60 + last + fraction, 9)

    def _is_hours(self, cell):
        """Whether a time such as 1:02 is hours and minutes, and not minutes and seconds."""
        if cell.unit in ("mm:ss", "h:mm"):
            return cell.unit == "h:mm"
        if not self._shows_seconds:
            first, last = cell.text.split(":")
            raise UserError(
                f"{cell} is {cell.text!r}, which may be {int(first)} min {int(last)} s or "
                f"{int(first)} h {int(last)} min; write {cell.text}.0 or {cell.text}:00, or put "
                "(mm:ss) or (h:mm) into the header."
            )
        return False


def to_seconds(where, value, unit, fps=None):
    """Returns a time in seconds.

    Args:
      where: the place that errors name, made a str only then.
      value: float, how many of `unit`.
      unit: str, one of `PLAIN_UNITS`.
      fps: float, frames a second of its video, or None when it is not known.

    Raises:
      UserError: frames of an unknown rate.
    """
    if unit == "frames":
        if not fps or fps <= 0:
            raise UserError(
                f"{where} counts frames, but how many a second has is told nowhere; add a column "
                "fps, or give fps (data.fps in a configuration)."
            )
        return value / fps
    # Dividing is exact where a thousandth is none: 1234 ms are 1.234 s.
    return value / 1000.0 if unit == "milliseconds" else value * PLAIN_UNITS[unit]


def _mark_of(text):
    """The decimal mark that a number has, or may have; "" for one without, and for other texts."""
    points, commas = text.count("."), text.count(",")
    if not points and not commas:
        return ""
    mark = "." if text.rfind(".") > text.rfind(",") else ","
    if min(points, commas) == 0 and max(points, commas) > 1:  # 1.234.567 has no decimals
        mark = "," if points else "."
    return mark if _NUMBER[re.escape(mark)].fullmatch(text) else ""


def _decimal_mark(proofs, unclear):
    """The decimal mark of a table, as a regular expression.

    Args:
      proofs: dict, mark -> a cell that has it in any case, such as `0,5` or `1.234,5`.
      unclear: dict, mark -> a cell like `1,500`, in which it may stand between thousands instead.

    Raises:
      UserError: it is not clear.
    """
    if len(proofs) > 1:
        raise UserError(
            f"{proofs[',']} is {shown(proofs[','].text)}, with a decimal comma, but elsewhere "
            f"there is a decimal point ({proofs['.']} is {shown(proofs['.'].text)}); a table has "
            "one decimal mark."
        )
    decimal = "," if "," in proofs else "."
    cell = unclear.get("." if decimal == "," else ",")
    if cell is not None:
        name = {",": "comma", ".": "point"}[_mark_of(cell.text)]
        digits = re.sub("[.,]", "", cell.text)
        raise UserError(
            f"{cell} is {cell.text!r}, which may be {float(digits) / 1000:g} with a decimal {name} "
            f"or {digits} with a {name} between thousands; write one of these, with the decimal "
            f"mark of the other cells."
        )
    return re.escape(decimal)
