"""A video file in, its pictures out, at the times at which a player shows them.

The time of a frame is its presentation time stamp less the start of the file, as players count;
nothing is derived from the number of a frame but where a file has no time stamps. So variable frame
rates, B-frames, edit lists and pictures that begin after the sound are right.
"""

import contextlib
import dataclasses
import fractions
import functools
import os
import pathlib

import numpy as np

from keras_actionformer.checks import frames_a_second
from keras_actionformer.errors import UserError
from keras_actionformer.extras import import_extra
from keras_actionformer.files import check_is_file, told_if_unreadable

# A frame counts as shown from so much before its time stamp on: many files round to milliseconds.
_ROUNDING_SEC = 1e-3
# The rate that a file states is taken where counting its frames gives nearly the same.
_RATE_TOLERANCE = 0.005
# What a file may lack of the length that it states: half a second, or this part of it.
_LACKING_SEC, _LACKING = 0.5, 0.02
# The file formats that state their length; of others it is guessed from the size.
_STATING = ("mov", "matroska", "avi", "flv", "asf")
# What is opened: no playlist of a stranger, which names other files and places to fetch.
FORMATS = (
    "mov,matroska,avi,mpegts,mpeg,mpegvideo,m4v,flv,asf,ogg,mxf,dv,gxf,nut,ivf,rm,gif,mjpeg,h264,hevc,"
    "obu,yuv4mpegpipe,mp3,aac,wav,flac"
)
_FIX = "copy it again, or convert it: ffmpeg -i IN OUT.mp4"


@dataclasses.dataclass(frozen=True)
class VideoFacts:
    """What a video file holds.

    Args:
      path: `pathlib.Path`.
      fps: float, frames a second, on average where the rate varies.
      num_frames: int.
      duration_sec: float, from the start of the file until its last picture goes.
      width, height: ints, of the picture as it is shown, in pixels.
    """

    path: pathlib.Path
    fps: float
    num_frames: int
    duration_sec: float
    width: int
    height: int


@dataclasses.dataclass(frozen=True)
class Framing:
    """How a picture is brought to one size.

    Args:
      height, width: ints, the size.
      short_side: int, what the shorter side of the picture is scaled to before its centre is cut
        out; None squeezes the whole picture into the size.
      interpolation: "bilinear" or "bicubic"; either looks at all pixels when it makes smaller.
    """

    height: int
    width: int
    short_side: int | None = None
    interpolation: str = "bilinear"

    def scaled(self, height, width):
        """The (height, width) to scale a picture of a shown size to, before anything is cut."""
        if self.short_side is None:
            return self.height, self.width
        scale = self.short_side / min(height, width)
        return max(round(height * scale), self.height), max(round(width * scale), self.width)

    def cut(self, picture):
        """Cuts the centre out of a scaled picture (height, width, 3)."""
        top = (picture.shape[0] - self.height) // 2
        left = (picture.shape[1] - self.width) // 2
        return picture[top : top + self.height, left : left + self.width]


def probe(path):
    """Looks through a video file without decoding more than its first picture.

    Args:
      path: str or `os.PathLike`.

    Returns:
      `VideoFacts`.

    Raises:
      UserError: the file does not exist, is no video, has no picture, or ends before the end that
        it states.
    """
    with opened(path) as (container, stream):
        start_sec = _start_sec(container)
        stated_sec = container.duration and container.duration / 1e6
        is_avi = container.format.name == "avi"
        stamps, untimed, last_sec, end_sec = set(), 0, 0.0, 0.0
        for packet in _told(container.demux(), lambda: f"Video '{path}' is damaged"):
            stamp = packet.dts if packet.pts is None or is_avi else packet.pts
            if not packet.size or packet.is_discard:
                continue
            if stamp is None:
                untimed += packet.stream is stream
                continue
            stop_sec = float((stamp + (packet.duration or 0)) * packet.time_base) - start_sec
            end_sec = max(end_sec, stop_sec)
            if packet.stream is stream:
                stamps.add(stamp)
                last_sec = max(last_sec, stop_sec)
        num_frames = len(stamps) + untimed
        if not num_frames:
            raise UserError(f"Video '{path}' has no picture, though it is a video file; {_FIX}.")
        fps = _rate(stream, stamps)
        if stated_sec and container.format.name.startswith(_STATING):
            lacking_sec = stated_sec - end_sec
            if lacking_sec > max(_LACKING_SEC, _LACKING * stated_sec) + 1 / fps:
                raise UserError(
                    f"Video '{path}' ends after {end_sec:.1f} of its {stated_sec:.1f} s: it is cut "
                    "short. Copy it again, or keep what there is: ffmpeg -i IN -c copy OUT.mp4."
                )
    if untimed:
        last_sec = num_frames / fps
    # Of a file that tells no durations, the last picture stays for as long as any.
    latest_sec = max(stamps) * float(stream.time_base) - start_sec if stamps else 0.0
    duration_sec = last_sec if last_sec > latest_sec else latest_sec + 1 / fps
    height, width = _first_size(path)
    return VideoFacts(pathlib.Path(path), fps, num_frames, duration_sec, width, height)


def read_frames(path, framing=None):
    """Reads the pictures of a video one after the other.

    Args:
      path: str or `os.PathLike`.
      framing: `Framing`, or None for the size that the video has.

    Yields:
      (seconds at which a player shows it, uint8 (height, width, 3) of red, green and blue): turned
      as a player turns it.

    Raises:
      UserError: see `probe`; or the file is damaged (where is told).
    """
    for time_sec, frame, pixel_ratio in _decoded(path):
        yield time_sec, _picture(frame, pixel_ratio, framing)


def sample_frames(path, fps, duration_sec, framing=None):
    """Reads a video at a constant frame rate, whatever its own is.

    Frame k is the picture on the screen in the middle of its time, at `(k + 0.5) / fps` seconds. At
    the rate of a video of constant rate these are its frames, each once. Before the first picture
    (of a video whose sound begins earlier) it is the first. There is one frame at least.

    Args:
      path: str or `os.PathLike`.
      fps: float, frames a second to read.
      duration_sec: float, when to stop, as `probe` tells.
      framing: as `read_frames`.

    Yields:
      uint8 (height, width, 3); the same array for pictures that are shown longer.

    Raises:
      UserError: see `read_frames`.
    """
    yield from _sampled(_decoded(path), fps, duration_sec, framing)


def sample_live(container, stream, name, fps, framing=None):
    """As `sample_frames`, of a video that goes on: it ends when nothing more comes.

    Args:
      container, stream: PyAV's.
      name: str, what messages call it.
      fps, framing: as for `sample_frames`.
    """
    return _sampled(_frames_of(container, stream, name), fps, None, framing)


def _sampled(decoded, fps, duration_sec, framing):
    """`sample_frames` of what `_decoded` yields; without a duration until the last frame goes."""
    fps = frames_a_second("fps", fps)
    count, shown, last_sec, time_sec = 0, None, 0.0, 0.0
    for next_sec, frame, pixel_ratio in decoded:
        last_sec, time_sec = time_sec, next_sec
        while shown is not None and (count + 0.5) / fps < time_sec - _ROUNDING_SEC:
            yield shown()
            count += 1
        # Turned into a picture when it is wanted, and only once.
        shown = functools.cache(functools.partial(_picture, frame, pixel_ratio, framing))
    if duration_sec is None:  # the last one stays for as long as the one before
        duration_sec = 2 * time_sec - last_sec
    while not count or (count + 0.5) / fps < duration_sec:
        yield shown()
        count += 1


def count_samples(fps, duration_sec):
    """Returns how many frames `sample_frames` yields: 1 at least."""
    count = max(int(duration_sec * fps) - 1, 1)
    while (count + 0.5) / fps < duration_sec:
        count += 1
    return count


@contextlib.contextmanager
def opened(path):
    """Yields (PyAV's container of a file, its video stream)."""
    av = import_extra("av", "av", "video", "Reading a video")
    path = pathlib.Path(path)
    if not path.exists():
        raise UserError(f"Video '{path}' does not exist; check its path.")
    if path.is_dir():
        raise UserError(f"Video '{path}' is a folder; name a file in it.")
    options = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
    with contextlib.ExitStack() as stack:
        with told_if_unreadable(f"Video '{path}' cannot be read", _FIX):
            check_is_file(path)
            # A title in another encoding, say, is no reason.
            container = av.open(os.path.abspath(path), options=options, metadata_errors="replace")
            stack.enter_context(container)
        yield container, video_stream(container, path)


def video_stream(container, name):
    """The first stream of pictures that an open file has, or UserError with its name."""
    cover = import_extra("av", "av", "video", "Reading a video").stream.Disposition.attached_pic
    # A record's cover is a video stream, too.
    streams = [s for s in container.streams.video if not s.disposition & cover]
    if not streams:
        kinds = sorted({stream.type for stream in container.streams} - {"video"})
        held = f"only {' and '.join(kinds)}" if kinds else "and nothing else"
        raise UserError(f"'{name}' holds no video, {held}; name a video file.")
    return streams[0]


def _decoded(path):
    """Yields (seconds, PyAV's frame, width of its pixels / height) in the order of a player."""
    with opened(path) as (container, stream):
        yield from _frames_of(container, stream, path)


def _frames_of(container, stream, path):
    """`_decoded` of an open file."""
    start_sec, count, time_sec = _start_sec(container), 0, 0.0
    pixel_ratio = float(stream.sample_aspect_ratio or 1) or 1.0
    frames = container.decode(stream)
    for frame in _told(frames, lambda: f"Video '{path}' is damaged after {time_sec:.1f} s"):
        if not count and frame.time and container.format.name == "avi":
            # AVI tells no times of showing: those of decoding begin a B-frame too late.
            start_sec = frame.time - float((stream.start_time or 0) * stream.time_base)
        if frame.time is not None:
            time_sec = frame.time - start_sec
        else:
            time_sec = count / float(stream.average_rate or stream.guessed_rate)
        yield time_sec, frame, pixel_ratio
        count += 1
    if not count:
        raise UserError(f"Video '{path}' has no picture that can be decoded; {_FIX}.")


def _told(items, problem):
    """Yields what an iterator of PyAV's gives; an error of its is a `UserError`.

    Args:
      items: iterator.
      problem: function that returns the begin of the sentence.
    """
    while True:
        with told_if_unreadable(problem(), _FIX):
            item = next(items, None)
        if item is None:
            return
        yield item


def _start_sec(container):
    return (container.start_time or 0) / 1e6


def _rate(stream, stamps):
    """Frames a second: what the file states, unless its time stamps tell another."""
    stated = stream.average_rate
    if len(stamps) < 2:
        return float(stated or 1)
    length = (max(stamps) - min(stamps)) * stream.time_base
    counted = fractions.Fraction(len(stamps) - 1) / length
    is_right = stated and abs(stated / counted - 1) < _RATE_TOLERANCE
    return float(stated if is_right else counted)


def _first_size(path):
    """(height, width) of the first picture as it is shown."""
    with contextlib.closing(_decoded(path)) as frames:
        _, frame, _ = next(frames)
        return (frame.width, frame.height) if _turns(frame) % 2 else (frame.height, frame.width)


def _turns(frame):
    """Quarter turns against the clock that a picture needs to be upright."""
    return round((frame.rotation or 0) / 90) % 4


def _picture(frame, pixel_ratio, framing):
    """PyAV's frame as uint8 (height, width, 3)."""
    turns = _turns(frame)
    size, interpolation = (frame.height, frame.width), "bilinear"
    if framing is not None:
        interpolation = framing.interpolation
        size = frame.height, frame.width * pixel_ratio
        size = framing.scaled(*size[::-1])[::-1] if turns % 2 else framing.scaled(*size)
    picture = frame.to_ndarray(
        format="rgb24", height=size[0], width=size[1], interpolation=interpolation.upper()
    )
    picture = np.rot90(picture, turns)
    return picture if framing is None else framing.cut(picture)
