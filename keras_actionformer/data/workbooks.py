"""Excel workbooks -> lines of texts, as a person sees them."""

import datetime
import io
import warnings
import zipfile

from keras_actionformer.errors import UserError
from keras_actionformer.extras import import_extra

WORKBOOKS = (".xlsx", ".xlsm")
# Of all files in the zip archive that a workbook is, unpacked: some 300,000 lines of a table.
_MOST_BYTES = 128 * 2**20
_MOST_CELLS, _MOST_EMPTY_LINES = 10_000_000, 10_000
_OLD_WORKBOOK = b"\xd0\xcf\x11\xe0"  # which one with a password is, too


def read_sheets(source, content):
    """Reads a workbook.

    Args:
      source: str, the file as errors name it.
      content: bytes.

    Returns:
      list of (str, the name of a sheet; list of (str, a line as errors name it; list of str)), the
      lines that hold something. A time is written as its format shows it, `0:01:02.5` or `1:02`.

    Raises:
      UserError: it cannot be read.
    """
    openpyxl = import_extra("openpyxl", "openpyxl", "excel", "Reading an Excel workbook")
    _check(source, content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what else a sheet holds, such as drop-down lists
        try:
            book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
            return [
                (sheet.title, _lines(f"{source}, sheet {sheet.title!r}", sheet))
                for sheet in book.worksheets
                if sheet.sheet_state == "visible"
            ]
        except UserError:
            raise
        # A damaged workbook may raise anything.
        except Exception as error:
            reason = str(error).splitlines()[:1] or [type(error).__name__]
            raise UserError(
                f"{source} cannot be read as a workbook ({reason[0]:.100}); open and save it in "
                "Excel, or save it as CSV."
            ) from None


def _check(source, content):
    if content.startswith(_OLD_WORKBOOK):
        raise UserError(
            f"{source} is a workbook of an old form or with a password; save it as .xlsx without "
            "one."
        )
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(info.file_size for info in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise UserError(f"{source} is no Excel workbook ({error}).") from None
    if size > _MOST_BYTES:
        raise UserError(
            f"{source} unpacks to {size // 2**20} MB, too much for a table; save it as CSV."
        )


def _lines(where, sheet):
    sheet.reset_dimensions()  # a file may say anything
    lines, count, last = [], 0, 0
    for number, row in enumerate(sheet.rows, start=1):
        place = f"{where}, line {number}"
        count += len(row)
        if count > _MOST_CELLS or number - last > _MOST_EMPTY_LINES:
            raise UserError(f"{place}: the sheet goes on too far; delete what is below the table.")
        cells = [_text(cell).strip() for cell in row]
        if any(cells):
            lines.append((place, cells))
            last = number
    return lines


def _text(cell):
    """A cell as text; of a number all digits, of a time what its format shows."""
    value = cell.value
    if isinstance(value, datetime.timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, datetime.time):
        clock = datetime.datetime.combine(datetime.date.min, value) - datetime.datetime.min
        seconds = clock.total_seconds()
    else:
        return "" if value is None else str(value).removesuffix(" 00:00:00")  # of a date
    minutes, rest = divmod(abs(round(seconds, 3)), 60.0)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{'-' if seconds < 0 else ''}{hours}:{minutes:02}"
    # 1:30 in Excel is an hour and a half, whatever was meant: as open as in any other table.
    return text if "s" not in cell.number_format.lower() else f"{text}:{rest:06.3f}"
