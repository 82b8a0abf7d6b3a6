"""What is drawn onto a picture of a video: labels, and below it a timeline that runs along."""

import dataclasses
import functools

import numpy as np

from keras_actionformer.data.rows import free_rows
from keras_actionformer.extras import import_extra

_WINDOW_SEC = 20.0  # of the timeline; now is in its middle
_MAX_ROWS = 3  # of detections that overlap; what finds no place is not drawn
_MAX_LABELS = 6  # over the picture
_TEXT_SHARE = 1 / 22  # of the shorter side of the picture
_MIN_TEXT = 11  # pixels
_PAPER, _INK, _FAINT = "#14171A", "#E8E8E8", "#8C8C8C"
TRUTH_COLOUR = "#D0D0D0"  # of what happened, whatever its class


@dataclasses.dataclass(frozen=True)
class Bar:
    """A stretch of time with a name.

    Args:
      start_sec, end_sec: floats.
      name: str, its class.
      colour: str, `"#RRGGBB"`.
      score: float in 0..1; None of what happened.
      row: int, in which row of the timeline.
    """

    start_sec: float
    end_sec: float
    name: str
    colour: str
    score: float | None
    row: int

    @property
    def label(self):
        """str, its name with its score, if it has one."""
        return self.name if self.score is None else f"{self.name} {self.score:.2f}"


def bars_of(segments_sec, names, colours, scores=None):
    """Puts what overlaps into rows of its own, the surest first.

    Args:
      segments_sec: float (N, 2).
      names, colours: sequences of N str.
      scores: float (N,), or None of what happened.

    Returns:
      (list of `Bar` by start, int, how many found no place in three rows).
    """
    order = range(len(names)) if scores is None else np.argsort(-scores, kind="stable")
    segments = [tuple(segments_sec[place].tolist()) for place in order]
    bars = [
        Bar(*segment, names[place], colours[place], None if scores is None else scores[place], row)
        for place, segment, row in zip(order, segments, free_rows(segments, _MAX_ROWS), strict=True)
        if row < _MAX_ROWS
    ]
    return sorted(bars, key=lambda bar: bar.start_sec), len(names) - len(bars)


class Overlay:
    """Draws onto the pictures of one video.

    Args:
      found, truth: lists of `Bar`; truth may be None.
      height, width: ints, of its pictures.
    """

    def __init__(self, found, truth, height, width):
        self._images = import_extra("PIL.Image", "pillow", "video", "Drawing onto a video")
        self._drawings = import_extra("PIL.ImageDraw", "pillow", "video", "Drawing onto a video")
        self._fonts = import_extra("PIL.ImageFont", "pillow", "video", "Drawing onto a video")
        self._found, self._truth = found, truth
        self._picture = height, width
        self._text_size = max(round(min(height, width) * _TEXT_SHARE), _MIN_TEXT)
        self._row = round(self._text_size * 1.5)
        lanes = [found] if truth is None else [truth, found]
        self._lanes = []
        top = round(self._row * 0.4)
        for bars in lanes:
            self._lanes.append((bars, top))
            rows = 1 + max((bar.row for bar in bars), default=0)
            top += rows * self._row + round(self._row * 0.4)
        strip = top + self._row  # the times
        # Encoders take even sizes alone.
        self.height, self.width = (height + strip + 1) // 2 * 2, (width + 1) // 2 * 2

    def draw(self, picture, time_sec):
        """The picture with what is there at its time.

        Args:
          picture: uint8 (height, width, 3).
          time_sec: float.

        Returns:
          uint8 (self.height, self.width, 3).
        """
        canvas = self._images.new("RGB", (self.width, self.height), _PAPER)
        canvas.paste(self._images.fromarray(np.ascontiguousarray(picture)))
        drawing = self._drawings.Draw(canvas)
        self._draw_labels(canvas, time_sec)
        self._draw_timeline(canvas, drawing, time_sec)
        return np.asarray(canvas)

    def _draw_labels(self, canvas, time_sec):
        """What is now: detections on the left, what happens on the right."""
        for bars, is_right in ((self._found, False), (self._truth or [], True)):
            now = [bar for bar in bars if bar.start_sec <= time_sec < bar.end_sec]
            now.sort(key=lambda bar: -(bar.score or 0))
            top = gap = max(self._text_size // 4, 2)
            for bar in now[:_MAX_LABELS]:
                plate = self._plate(bar.label, bar.colour)
                left = self.width - gap - plate.width if is_right else gap
                canvas.paste(plate, (left, top))
                top += plate.height + gap

    def _draw_timeline(self, canvas, drawing, time_sec):
        height, width = self._picture
        per_sec, now = width / _WINDOW_SEC, width / 2
        first_sec, last_sec = time_sec - _WINDOW_SEC / 2, time_sec + _WINDOW_SEC / 2
        for bars, top in self._lanes:
            for bar in bars:
                if bar.end_sec <= first_sec or bar.start_sec >= last_sec:
                    continue
                left = max(now + (bar.start_sec - time_sec) * per_sec, 0)
                right = min(now + (bar.end_sec - time_sec) * per_sec, width - 1)
                upper, high = height + top + bar.row * self._row, self._row - 2
                lower = upper + high - 1  # which belongs to it
                drawing.rectangle((left, upper, max(right, left + 1), lower), fill=bar.colour)
                room = int(right - left) - 4
                plate = self._plate(bar.label, bar.colour)
                if room > self._text_size:
                    size = min(room, plate.width), min(plate.height, high)
                    canvas.paste(plate.crop((0, 0, *size)), (int(left) + 2, upper))
        bottom = self.height - self._row
        for second in range(int(np.ceil(max(first_sec, 0) / 5)) * 5, int(last_sec) + 1, 5):
            mark = self._plate(f"{second // 60}:{second % 60:02d}", _PAPER, _FAINT)
            place = now + (second - time_sec) * per_sec
            canvas.paste(mark, (round(place - mark.width / 2), bottom))
        drawing.line((now, height, now, bottom), fill=_INK, width=max(self._text_size // 10, 1))

    @functools.lru_cache(maxsize=256)  # noqa: B019 - as long as the video is drawn
    def _plate(self, text, colour, ink=None):
        """A text on its colour."""
        font = _font(self._fonts, self._text_size)
        left, top, right, bottom = font.getbbox(text)
        pad = max(self._text_size // 4, 2)
        ascent, descent = font.getmetrics()
        size = int(right - left) + 2 * pad, ascent + descent + pad // 2
        plate = self._images.new("RGB", size, colour)
        ink = ink or (_PAPER if _is_light(colour) else "#FFFFFF")
        self._drawings.Draw(plate).text((pad - left, pad // 4), text, font=font, fill=ink)
        return plate


def _is_light(colour):
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue > 140


def _font(fonts, size):
    """DejaVu, which knows most alphabets, where the system has it; else Pillow's own."""
    try:
        return fonts.truetype("DejaVuSans.ttf", size)
    except OSError:
        return fonts.load_default(size)
