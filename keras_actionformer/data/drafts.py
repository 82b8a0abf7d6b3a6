"""Drafts: what a detector has found in a video, as labelling tools get it to be corrected.

The writers stand beside the readers of what comes back, one module a tool. All times are whole
milliseconds, the finest that all of these files hold.
"""

import dataclasses
import pathlib
import re

from keras_actionformer.data.rows import free_rows

# What XML cannot hold, or what ends a line somewhere; a name may have it, a line of text may not.
_NO_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")


@dataclasses.dataclass(frozen=True, order=True)
class Span:
    """Something that was found.

    Args:
      start_ms, end_ms: int, from 0 up; it ends after it starts.
      label: str, a `line_of`.
      score: float.
    """

    start_ms: int
    end_ms: int
    label: str
    score: float

    @property
    def times_sec(self):
        """[start, end] in seconds, which have three decimals."""
        return [self.start_ms / 1000, self.end_ms / 1000]


@dataclasses.dataclass(frozen=True)
class Draft:
    """What was found in a video.

    Args:
      video_id: str.
      media: str, the path or the address of its file, or None.
      spans: list of `Span`, by time.
      class_names: list of str, what a label may be; each a `line_of`.
    """

    video_id: str
    media: str | None
    spans: list
    class_names: list


def line_of(name):
    """A class name as a line of text can hold it: without breaks and control characters."""
    return " ".join(_NO_TEXT.sub(" ", name).split())


def without_overlap(spans):
    """Shares out spans, by time, to as few lists as have none that overlap."""
    rows = free_rows([(span.start_ms, span.end_ms) for span in spans])
    lists = [[] for _ in range(1 + max(rows, default=-1))]
    for row, span in zip(rows, spans, strict=True):
        lists[row].append(span)
    return lists


def address_of(media):
    """The address of a media file, which may be a path."""
    return media if "://" in media else pathlib.Path(media).absolute().as_uri()
