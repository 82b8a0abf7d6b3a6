"""Files of rows -> a table: where its header is, and its lines as texts.

CSV with commas, semicolons or tabs, in UTF-8, UTF-16 or Windows-1252; and Excel workbooks.
"""

import codecs
import contextlib
import csv
import dataclasses
import io
import itertools
import pathlib
import re
from collections.abc import Iterator

from keras_actionformer.data.workbooks import WORKBOOKS, read_sheets
from keras_actionformer.errors import UserError
from keras_actionformer.files import read_bytes

# Some hundred times the largest published tables; reading takes a few times as much memory.
MOST_BYTES = 256 * 2**20
_SEPARATORS = {",": "one with commas", ";": "one with semicolons", "\t": "one with tabs"}
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# Titles, and what BORIS tells about an observation, stand above a header.
_MOST_LINES_ABOVE = 200


@dataclasses.dataclass(frozen=True)
class Table:
    """A table in a file.

    Args:
      source: str, the file as errors name it.
      above: list of lists of str, the cells of the lines above the header.
      where: str, the header's line as errors name it.
      header: list of str.
      lines: list of (str, a line as errors name it; list of str, as many as the header has).
    """

    source: str
    above: list
    where: str
    header: list
    lines: list

    def rows(self, columns):
        """Yields (the line as errors name it, {each of `columns`: the text of its cell}).

        Raises:
          UserError: there is no line.
        """
        if not self.lines:
            raise UserError(f"{self.source} has a header but no line below it.")
        for where, cells in self.lines:
            yield where, {name: cells[column.place] for name, column in columns.items()}


def read_table(path, find_columns, required, tell):
    """Reads a table with a header.

    Args:
      path: str or `os.PathLike`, CSV, or an Excel workbook (`.xlsx`).
      find_columns: function of a header's cells that returns [(what a column is, `Column`)].
      required: list of what makes a line the header, each a tuple of columns that it needs; one
        such as `"end or duration"` is there when either is. The first is told when none fits.
      tell: function of a str, called with what is assumed.

    Returns:
      `Table`.

    Raises:
      UserError: the file is unreadable or empty, has no header, or a line is wrong.
    """
    source = f"Annotation file '{path}'"
    content = read_bytes(path, "Annotation file", MOST_BYTES)
    if pathlib.Path(path).suffix.lower() in WORKBOOKS:
        grids = [(f"the sheet {name!r}", lines) for name, lines in read_sheets(source, content)]
        fit = _sheet_cells
    else:
        grids = _csv_grids(source, decode(content, source, tell))
        fit = _csv_cells
    drafts = [_draft(name, lines, find_columns, required) for name, lines in grids]
    draft = _only_draft(source, [draft for draft in drafts if draft.lines], required)
    where, header = draft.lines[-1]
    header = header[: _width(header)]
    return Table(
        source=source,
        above=[cells for _, cells in draft.lines[:-1]],
        where=where,
        header=header,
        lines=[(place, fit(place, cells, len(header))) for place, cells in draft.rest],
    )


@dataclasses.dataclass(frozen=True)
class _Draft:
    """A way to read a file: one sheet of a workbook, or one separator between its cells.

    Args:
      name: str.
      lines: list of (place, cells): those up to the header, or the first where none is one.
      rest: iterator of those below it.
      lacking: list of str, what a header needs and this one lacks.
    """

    name: str
    lines: list
    rest: Iterator
    lacking: list


def _draft(name, lines, find_columns, required):
    lines, seen = iter(lines), []
    # Read with the wrong separator, a text may be no valid CSV.
    with contextlib.suppress(UserError):
        for line in itertools.islice(lines, _MOST_LINES_ABOVE):
            seen.append(line)
            if not _lacking(line[1], find_columns, required):
                return _Draft(name, seen, lines, [])
    lacking = _lacking(seen[0][1], find_columns, required) if seen else []
    return _Draft(name, seen[:1], iter(()), lacking)


def _lacking(cells, find_columns, required):
    """What of the first of `required` a line lacks as a header; nothing where it has another."""
    roles = {role for role, _ in find_columns(cells)}
    missing = [[one for one in names if roles.isdisjoint(one.split(" or "))] for names in required]
    return [_shown(one) for one in missing[0]] if all(missing) else []


def _shown(name):
    return name.split(" or ")[0]


def _only_draft(source, drafts, required):
    """The one way to read a file in which it has a header."""
    expected = ",".join(map(_shown, required[0]))
    if not drafts:
        raise UserError(f"{source} is empty; its first line must be {expected}.")
    whole = [draft for draft in drafts if not draft.lacking]
    if len(whole) > 1:
        raise UserError(
            f"{source} has several tables, {' and '.join(draft.name for draft in whole)}; which of "
            "them to read is not clear, so keep one."
        )
    if not whole:
        draft = min(drafts, key=lambda draft: len(draft.lacking))
        where, header = draft.lines[0]
        raise UserError(
            f"{where} must be a header with the columns {expected}, but it is "
            f"{','.join(header)!r:.100} and lacks {', '.join(draft.lacking)}."
        )
    return whole[0]


def _width(cells):
    """How many cells there are up to the last that holds something."""
    return max((place for place, text in enumerate(cells, start=1) if text), default=0)


def _sheet_cells(_, cells, width):
    """The cells of a workbook's line: of empty ones at the end, it may keep fewer."""
    return [*cells, *[""] * (width - len(cells))][:width]


def _csv_cells(where, cells, width):
    """The cells of a text's line: where their number is wrong, what is in which is not known."""
    if len(cells) < width or _width(cells) > width:
        raise UserError(
            f"{where} has {len(cells)} cells but the header {width}; a text or number that holds "
            'the separator needs "quotes".'
        )
    return cells[:width]


# === Text ===


def _csv_grids(source, text):
    """Yields (the separator in words, iterator of lines) for each separator that may be meant."""
    told = re.match(r"sep=(.)\r?\n", text)  # as some programs tell Excel
    meant = [told[1]] if told else [one for one in _SEPARATORS if one in text]
    for separator in meant or [","]:  # of a single column
        if separator in _SEPARATORS:
            name = _SEPARATORS[separator]
            yield name, _csv_lines(source, text, separator, skip=told is not None)


def _csv_lines(source, text, separator, skip):
    """Yields (a line as errors name it, its cells) of all lines that hold something."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for cells in itertools.islice(reader, int(skip), None):
            cells = [cell.strip() for cell in cells]
            if any(cells):
                yield f"{source}, line {reader.line_num}", cells
    except csv.Error as error:
        raise UserError(
            f"{source}, line {reader.line_num}: no valid CSV ({error}); save it anew as CSV."
        ) from None


def decode(content, source, tell):
    """Returns the text of a file: UTF-8, or else what is told as an assumption.

    Args:
      content: bytes.
      source: str, the file as errors name it.
      tell: function of a str, called with what is assumed.

    Raises:
      UserError: it is no text in an encoding that is known.
    """
    if content.startswith(_UTF16_MARKS) or b"\0" in content:  # of which no other text has one
        text = _or_error(source, content, _utf16(content))
        tell(f'{source} is read as UTF-16, as Excel\'s "Unicode text".')
        return text.removeprefix("\ufeff")
    try:
        return content.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
    text = _or_error(source, content, "cp1252", line)
    words = re.findall(r"\w+|\W", text.split("\n")[line - 1])
    example = next(word for word in words if not word.isascii())
    tell(
        f"{source} is not UTF-8 and is read as Windows-1252 (Latin-1), so that line {line} has "
        f"{example!r}; save it as UTF-8 if that is wrong."
    )
    return text


def _or_error(source, content, encoding, line=1):
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        raise UserError(f"{source} is not UTF-8 text in line {line}; save it as UTF-8.") from None


def _utf16(content):
    """Which UTF-16 a file is: its first bytes say it, or where the zeros of ASCII letters are."""
    if content.startswith(_UTF16_MARKS):
        return "utf-16"
    start = content[:1000]
    return "utf-16-le" if start[1::2].count(0) > start[0::2].count(0) else "utf-16-be"
