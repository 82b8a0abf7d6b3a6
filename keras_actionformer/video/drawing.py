"""Detections drawn back onto their video: all of it, what was found alone, or a clip a bout."""

import contextlib
import math
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from keras_actionformer.detection.detections import Detections
from keras_actionformer.errors import UserError
from keras_actionformer.extras import import_extra
from keras_actionformer.files import path_inside
from keras_actionformer.video.overlay import TRUTH_COLOUR, Overlay, bars_of
from keras_actionformer.video.reading import probe, read_frames
from keras_actionformer.video.writing import check_suffix, write_video


class Drawn(NamedTuple):
    """What became of a video's detections.

    Attributes:
      left_out: int, how many found no place in the timeline, since too many overlap.
      clips: list of `pathlib.Path`, by time.
      beyond: int, how many begin after the video's end, and so are nowhere.
    """

    left_out: int
    clips: list[pathlib.Path]
    beyond: int


def draw_video(
    path: str | os.PathLike[str],
    detections: Detections,
    output: str | os.PathLike[str] | None = None,
    clips: str | os.PathLike[str] | None = None,
    *,
    colours: Sequence[str],
    truth: tuple[np.ndarray, Sequence[str]] | None = None,
    only: bool = False,
    pad_sec: float = 1.0,
    progress: Callable[[float, float], None] | None = None,
) -> Drawn:
    """Writes a video with what was detected in it, and a clip of each detection.

    Labels stand in the picture, and a timeline below. Times of pictures stay exactly as they are,
    and so does the sound. The video is read once.

    Args:
      path: str or `os.PathLike`, the video.
      detections: `Detections`, those worth drawing.
      output: str or `os.PathLike`, the file to write, or None for none.
      clips: str or `os.PathLike`, the folder for clips, `<video>_<place by time>_<class>.mp4`,
        created when missing; or None for none.
      colours: sequence of str, `"#RRGGBB"` of each class id of the detections, see `class_colours`.
      truth: (segments_sec, float (N, 2), names, N str) of what happened; or None.
      only: bool, whether to leave out of `output` what is more than `pad_sec` from every detection.
      pad_sec: float, also the seconds of a clip before and after its detection.
      progress: function of (seconds of the video that are done, its seconds), or None.

    Returns:
      `Drawn`.

    Raises:
      UserError: the video cannot be read or written, or `only` leaves nothing of it.
    """
    facts = probe(path)
    is_there = detections.segments_sec[:, 0] < facts.duration_sec
    inside = detections[is_there]
    wanted, parts = [], []
    if output is not None:
        check_suffix(output)
        spans_sec = _joined(inside.segments_sec, pad_sec) if only else None
        if only and not spans_sec:
            raise UserError(f"Of '{path}' nothing is left: it has no detection.")
        wanted.append(_Part(output, spans_sec))
    if clips is not None:
        parts = _clips_of(path, clips, inside, pad_sec)
        wanted += parts
    left_out = 0
    if wanted:
        left_out = _draw(path, facts, wanted, inside, truth, colours, progress)
    return Drawn(left_out, [part.path for part in parts], int((~is_there).sum()))


def _clips_of(path, folder, detections, pad_sec):
    """The `_Part` of each detection, by time."""
    order = np.argsort(detections.segments_sec[:, 0], kind="stable")
    digits = len(str(len(order)))
    parts = []
    for number, place in enumerate(order, start=1):
        start, end = detections.segments_sec[place]
        name = f"{pathlib.Path(path).stem}_{number:0{digits}d}_{_safe(detections.names[place])}"
        span = max(float(start) - pad_sec, 0.0), float(end) + pad_sec
        parts.append(_Part(path_inside(folder, f"{name}.mp4"), [span]))
    return parts


class _Part(NamedTuple):
    """What to write of a video.

    Attributes:
      path: `pathlib.Path` or str, the file.
      spans_sec: list of (start, end), see `write_video`; None for all.
    """

    path: str | pathlib.Path
    spans_sec: list[tuple[float, float]] | None

    @property
    def start_sec(self):
        return self.spans_sec[0][0] if self.spans_sec else -math.inf

    @property
    def end_sec(self):
        return self.spans_sec[-1][1] if self.spans_sec else math.inf


def _draw(path, facts, wanted, detections, truth, colours, progress):
    """Reads the video once and writes each `_Part` of a list; returns `Drawn.left_out`."""
    av = import_extra("av", "av", "video", "Drawing onto a video")
    found, left_out = bars_of(
        detections.segments_sec,
        detections.names,
        [colours[label % len(colours)] for label in detections.labels.tolist()],
        detections.scores,
    )
    happened = truth and bars_of(*truth, [TRUTH_COLOUR] * len(truth[1]))[0]
    overlay = Overlay(found, happened, facts.height, facts.width)

    size = overlay.height, overlay.width
    waiting = sorted(wanted, key=lambda part: part.start_sec)
    writing = []  # (part, its writer, the stack that ends it), of those that have begun
    with contextlib.ExitStack() as all_open:
        for time_sec, picture in read_frames(path):
            while waiting and waiting[0].start_sec <= time_sec:
                part, stack = waiting.pop(0), all_open.enter_context(contextlib.ExitStack())
                writer = write_video(part.path, path, *size, facts.fps, part.spans_sec)
                writing.append((part, stack.enter_context(writer), stack))
            for _, _, stack in (one for one in writing if one[0].end_sec <= time_sec):
                stack.close()
            writing = [one for one in writing if one[0].end_sec > time_sec]
            taking = [writer for _, writer, _ in writing if writer.out_sec(time_sec) is not None]
            if taking:
                drawn = overlay.draw(picture, time_sec)
                for writer in taking:
                    writer.write(av.VideoFrame.from_ndarray(drawn, format="rgb24"), time_sec)
            if progress is not None:
                progress(min(time_sec, facts.duration_sec), facts.duration_sec)
    return left_out


def _joined(segments_sec, pad_sec):
    """Segments with what is beside them, joined where they meet: a list of (start, end)."""
    spans = []
    for start, end in sorted(map(tuple, segments_sec.tolist())):
        start, end = max(start - pad_sec, 0.0), end + pad_sec
        if spans and start <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(spans[-1][1], end)
        else:
            spans.append((start, end))
    return spans


def _safe(name):
    """A class name as part of a file's name."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name)[:60]
