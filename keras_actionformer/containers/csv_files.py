"""CSV: the rows of a text, with commas, semicolons or tabs between their cells."""

import csv
import io
import re

from keras_actionformer.errors import UserError

_SEPARATORS = (",", ";", "\t")


def read_rows(source, text):
    """The rows of a table whose first line tells what stands between its cells.

    Args:
      source: str, the file as errors name it.
      text: str.

    Returns:
      (list of (number of a line, list of str), without lines that hold nothing; the mark of its
      decimals, "," where semicolons stand between cells and else ".").

    Raises:
      UserError: it is no valid CSV.
    """
    first = re.match(r"\s*[^\r\n]*", text)[0]
    separator = max(_SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        rows = [(reader.line_num, cells) for cells in reader if any(map(str.strip, cells))]
    except csv.Error as error:
        raise UserError(
            f"{source}, line {reader.line_num}: no valid CSV ({error}); save it anew as CSV."
        ) from None
    return rows, "," if separator == ";" else "."
