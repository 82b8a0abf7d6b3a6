"""Audacity's label files: lines `start<tab>end<tab>label`, and no header; read and written."""

import re

from keras_actionformer.data.entries import (
    add_action,
    media_entry,
    with_spans,
)
from keras_actionformer.data.table_times import Cell, Times
from keras_actionformer.errors import UserError

_SIDES = ("start", "end")
_LINE = re.compile(r"\s*[0-9]+([.,][0-9]+)?\t[0-9]+([.,][0-9]+)?(\t|\n|$)")


def is_audacity(text):
    """Whether a text begins as Audacity writes labels."""
    return bool(_LINE.match(text))


def audacity_entries(source, text, reading):
    """Makes entries of a label file.

    Args:
      source: str, the file as errors name it.
      text: str, its content.
      reading: `Reading`; the labels are those of its `recording`.

    Returns:
      dict, the entries that `build_annotations` takes.

    Raises:
      UserError: a line is wrong.
    """
    lines = []
    for number, line in enumerate(text.splitlines(), start=1):
        # A line that begins with a backslash tells the frequencies of the label above it.
        if line.strip() and not line.startswith("\\"):
            where, cells = f"{source}, line {number}", line.split("\t")
            if len(cells) != 3 or not cells[2].strip():
                raise UserError(
                    f"{where} must be a start, an end and a label with tabs between them, but it "
                    f"is {line!r:.80}."
                )
            times = [Cell(where, *pair) for pair in zip(_SIDES, cells, strict=False)]
            lines.append((where, times, cells[2].strip()))
    reader = Times(cell for _, times, _ in lines for cell in times)
    entries = {}
    entry = media_entry(entries, source, reading.recording)
    for where, times, label in lines:
        add_action(entry, where, label, *map(reader.seconds, times))
    return with_spans(entries, source, reading.tell)


def audacity_text(draft):
    """Returns a `Draft` as a label file, which has no place for scores."""
    return "".join(
        f"{start_sec:.6f}\t{end_sec:.6f}\t{span.label}\n"
        for span in draft.spans
        for start_sec, end_sec in [span.times_sec]
    )
