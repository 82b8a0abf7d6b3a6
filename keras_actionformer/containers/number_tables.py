"""Tables of numbers in a text: a row a line, and a header or none."""

import csv
import dataclasses
import re

import numpy as np

from keras_actionformer.errors import UserError, counted
from keras_actionformer.files import read_text, told_if_unreadable


@dataclasses.dataclass(frozen=True)
class NumberTable:
    """A table as it stands in a text.

    Args:
      source: str, the file as errors name it.
      row_name: str, what errors call a row, e.g. `"sample"`.
      header: list of str, the names of the columns; or None.
      rows: list of str, a line each, as many columns in each as `first` has.
      first: list of str, the cells of the first row.
      delimiter: str, what stands between cells; None: any space.
      decimal: str, the mark of decimals.
    """

    source: str
    row_name: str
    header: list[str] | None
    rows: list[str]
    first: list[str]
    delimiter: str | None
    decimal: str

    def is_number(self, cell):
        """Whether the text of a cell is a number."""
        return _is_number(cell, self.decimal)

    def numbers(self, columns=None):
        """The numbers of some columns, or of all: float64 (rows, columns).

        Raises:
          UserError: a cell is none.
        """
        try:
            return np.loadtxt(
                (row.replace(self.decimal, ".") for row in self.rows),
                delimiter=self.delimiter,
                usecols=columns,
                ndmin=2,
                comments=None,
            )
        except ValueError as error:
            raise UserError(
                f"{self.source} is not a table of numbers ({str(error).rstrip('.')}, counted "
                "without the header); every row needs a number in each column."
            ) from None


def read_number_table(path, kind, row_name):
    """Reads a text file that holds a table.

    The first line is a header where a cell of it is no number.

    Args:
      path: str or `os.PathLike`.
      kind: str, what messages call the file, e.g. `"Recording"`.
      row_name: str, what they call a row.

    Returns:
      `NumberTable`.

    Raises:
      UserError: the file is unreadable, empty, or has a row of another width than the first line.
    """
    source = f"{kind} '{path}'"
    # Not `splitlines`, which ends a line at characters that a name may hold, too.
    lines = re.split("\r\n|\n|\r", read_text(path, kind))
    lines = [line for line in lines if line.strip(",; \t")]
    if not lines:
        raise UserError(f"{source} is empty.")
    delimiter, decimal = _separators(lines)
    lines = [line.rstrip().rstrip(delimiter) for line in lines]
    first = _cells(source, lines[0], delimiter)
    header = None if all(_is_number(cell, decimal) for cell in first) else first
    rows = lines if header is None else lines[1:]
    if not rows:
        raise UserError(f"{source} holds no {row_name}s.")
    for number, row in enumerate(rows, start=1):
        width = row.count(delimiter) + 1 if delimiter else len(row.split())
        if width != len(first):
            raise UserError(
                f"{source} is not a table of numbers (its first line has "
                f"{counted(len(first), 'column')}, but {row_name} {number} {width}); every row "
                "needs a number in each column, and a header a name for each."
            )
    first = _cells(source, rows[0], delimiter)
    return NumberTable(source, row_name, header, rows, first, delimiter, decimal)


def _cells(source, line, delimiter):
    if delimiter is None:
        return line.split()
    with told_if_unreadable(f"{source} is not a table of numbers"):
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]


def _separators(lines):
    """(delimiter, decimal mark) of a table; a delimiter of None is any space."""
    sample = lines[1:20] or lines  # without the header, which may have any text
    for delimiter in (";", "\t"):
        if all(delimiter in row for row in sample):
            return delimiter, "," if any("," in row for row in sample) else "."
    if all("," in row for row in sample):
        return ",", "."
    return None, "."  # spaces, or a single column


def _is_number(cell, decimal):
    try:
        float(cell.replace(decimal, "."))
    except ValueError:
        return False
    return True
