"""Subtitles, SubRip (.srt) and WebVTT (.vtt): cues, whose texts are labels; read and written."""

import html
import re

from keras_actionformer.data.entries import (
    add_action,
    media_entry,
    with_spans,
)
from keras_actionformer.errors import UserError

_TIME = r"(?:([0-9]{1,4}):)?([0-9]{1,2}):([0-9]{2})[.,]([0-9]{3})"
_TIMES = re.compile(rf"\s*{_TIME}\s+-->\s+{_TIME}(?:\s.*)?")  # behind them, where it is shown
_HEAD = "WEBVTT"
_NO_CUES = (_HEAD, "NOTE", "STYLE", "REGION")  # what other blocks of WebVTT begin with


def subtitle_entries(source, text, reading, is_vtt):
    """Makes entries of a file's cues. A text of several lines is one label.

    Args:
      source: str, the file as errors name it.
      text: str, its content.
      reading: `Reading`; the cues are those of its `recording`.
      is_vtt: bool, whether it is WebVTT.

    Returns:
      dict, the entries that `build_annotations` takes.

    Raises:
      UserError: something is no cue, or a cue has no text.
    """
    blocks = _blocks(text)
    if is_vtt and not (blocks and blocks[0][0][1].startswith(_HEAD)):
        raise UserError(f"{source} must begin with {_HEAD}; save it anew as WebVTT.")
    entries = {}
    entry = media_entry(entries, source, reading.recording)
    for block in blocks:
        if is_vtt and block[0][1].startswith(_NO_CUES) and "-->" not in block[0][1]:
            continue
        # The times may have the cue's number or name above them.
        place = next((i for i, (_, line) in enumerate(block[:2]) if "-->" in line), 0)
        number, line = block[place]
        where, times = f"{source}, line {number}", _TIMES.fullmatch(line)
        if times is None:
            raise UserError(
                f"{where} must be the times of a cue, such as 00:00:01,500 --> 00:00:02,250, but "
                f"it is {line!r:.80}; within the text of a cue no line may be empty."
            )
        label = " ".join(" ".join(line for _, line in block[place + 1 :]).split())
        if is_vtt:
            label = html.unescape(re.sub("<[^>]*>", "", label)).strip()
        if not label:
            raise UserError(f"{where}: this cue has no text, which is its label; give it one.")
        add_action(entry, where, label, *(_seconds(times.groups()[i : i + 4]) for i in (0, 4)))
    return with_spans(entries, source, reading.tell)


def _blocks(text):
    """The parts of a text between empty lines, each a list of (number of the line, the line)."""
    blocks, block = [], []
    for number, line in enumerate(re.split("\r\n|\r|\n", text), start=1):
        if line.strip():
            block.append((number, line))
        elif block:
            blocks.append(block)
            block = []
    return [*blocks, block] if block else blocks


def _seconds(parts):
    hours, minutes, seconds, milliseconds = (int(part or 0) for part in parts)
    return (((hours * 60 + minutes) * 60 + seconds) * 1000 + milliseconds) / 1000


# === Writing ===


def srt_text(draft):
    """Returns a `Draft` as SubRip, which has no place for scores."""
    return "".join(
        f"{number}\n{_times(span, ',')}\n{span.label}\n\n"
        for number, span in enumerate(draft.spans, start=1)
    )


def vtt_text(draft):
    """Returns a `Draft` as WebVTT; scores stand in the names of the cues."""
    cues = (
        f"{number}, score {span.score:.4f}\n{_times(span, '.')}\n"
        f"{html.escape(span.label, quote=False)}\n\n"
        for number, span in enumerate(draft.spans, start=1)
    )
    return f"{_HEAD}\n\n{''.join(cues)}"


def _times(span, mark):
    return " --> ".join(_clock(time_ms, mark) for time_ms in (span.start_ms, span.end_ms))


def _clock(time_ms, mark):
    seconds, milliseconds = divmod(time_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{mark}{milliseconds:03}"
