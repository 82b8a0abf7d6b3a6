"""Pictures and the sound of a video in, a video file out: all of it, or some spans of time."""

import contextlib
import fractions
import os
import pathlib

from keras_actionformer.errors import UserError
from keras_actionformer.extras import import_extra
from keras_actionformer.files import atomic_path, told_if_unreadable
from keras_actionformer.video.reading import opened

# What a file's ending asks for: FFmpeg's encoder, and its settings for speed.
_CODECS = {
    ".mp4": ("libx264", {"preset": "veryfast", "crf": "21"}),
    ".mkv": ("libx264", {"preset": "veryfast", "crf": "21"}),
    ".mov": ("libx264", {"preset": "veryfast", "crf": "21"}),
    ".webm": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "crf": "32", "b": "0"}),
}
# What sound becomes that a file of this ending does not take as it is.
_SOUND_CODECS = {".mp4": "aac", ".mkv": "aac", ".mov": "aac", ".webm": "libopus"}
# 90,000 parts of a second hold the frames of all usual rates exactly.
_TIME_BASE = fractions.Fraction(1, 90_000)


def check_suffix(path):
    """Raises UserError where a path does not end as a video that can be written."""
    if pathlib.Path(path).suffix.lower() not in _CODECS:
        raise UserError(f"'{path}' must end in {', '.join(_CODECS)}, to be written as a video.")


@contextlib.contextmanager
def write_video(path, source, height, width, fps, spans_sec=None):
    """Writes a video, whole or not at all, with the sound of another or none.

    Sound is copied, unless a file of this ending does not take it: then it is encoded anew.

    Args:
      path: str or `os.PathLike`, which ends as `_CODECS` does.
      source: str or `os.PathLike`, the video whose sound is kept; None: no sound.
      height, width: ints, both even.
      fps: float, frames a second; a frame has its own time, this only guides the encoder.
      spans_sec: list of (start, end), rising and apart: what of the source's time is written, one
        after the other; None for all.

    Yields:
      `VideoWriter`.

    Raises:
      UserError: it is the source itself, or cannot be written.
    """
    check_suffix(path)
    path, av = pathlib.Path(path), import_extra("av", "av", "video", "Writing a video")
    if source is not None and path.exists() and path.samefile(source):
        raise UserError(f"'{path}' is the video itself, which would be lost: name another file.")
    codec, options = _CODECS[path.suffix.lower()]
    heard = contextlib.nullcontext((None, None)) if source is None else opened(source)
    with atomic_path(path) as part, heard as (sound, _):
        target = os.path.abspath(part)  # FFmpeg takes what stands before a colon for a protocol
        with told_if_unreadable(f"'{path}' cannot be written"), av.open(target, "w") as out:
            rate = fractions.Fraction(fps).limit_denominator(1001)
            stream = out.add_stream(codec, rate=rate, options=options)
            stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
            stream.codec_context.time_base = stream.time_base = _TIME_BASE
            writer = VideoWriter(out, stream, _Sound(sound, out, path), spans_sec)
            yield writer
            writer.finish()


class VideoWriter:
    """Takes the pictures of a video; see `write_video`."""

    def __init__(self, out, stream, sound, spans_sec):
        self._out, self._stream, self._sound = out, stream, sound
        self._spans_sec = spans_sec

    def write(self, frame, time_sec):
        """Writes a picture of a time that `out_sec` knows.

        Args:
          frame: PyAV's frame.
          time_sec: float, when the source shows it; later than all before.
        """
        self._sound.copy(time_sec, self.out_sec)
        frame.pts, frame.time_base = round(self.out_sec(time_sec) / _TIME_BASE), _TIME_BASE
        self._out.mux(self._stream.encode(frame))

    def out_sec(self, time_sec):
        """When a time of the source is shown in what is written; None for never."""
        if self._spans_sec is None:
            return time_sec
        before_sec = 0.0
        for start, end in self._spans_sec:
            if start <= time_sec < end:
                return before_sec + time_sec - start
            before_sec += end - start
        return None

    def finish(self):
        """Writes what the encoder holds back, and the end of the sound."""
        self._sound.copy(float("inf"), self.out_sec)
        self._sound.finish()
        self._out.mux(self._stream.encode(None))


class _Sound:
    """The sound of a video."""

    def __init__(self, container, out, path):
        self._out, self._packet, self._is_encoded, self._next_pts = out, None, False, 0
        if container is None or not container.streams.audio:
            return
        self._start_sec = (container.start_time or 0) / 1e6
        theirs = container.streams.audio[0]
        name, suffix = theirs.codec_context.name, path.suffix.lower()
        # MP4 takes raw sound of known places of speakers alone, which files of cameras do not tell.
        self._is_encoded = name not in out.supported_codecs or (
            name.startswith("pcm") and suffix == ".mp4"
        )
        if self._is_encoded:
            codec, layout = _SOUND_CODECS[suffix], ("mono", "stereo")[theirs.channels > 1]
            self._ours = out.add_stream(codec, rate=48_000, layout=layout)
        else:
            self._ours = out.add_stream_from_template(theirs)
        self._packets = container.demux(theirs)
        self._packet = next(self._packets, None)

    def copy(self, until_sec, out_sec):
        """Copies what lies before a time, so that sound and pictures come in a player's order."""
        while self._packet is not None:
            packet = self._packet
            if packet.pts is not None and packet.size:
                time_sec = float(packet.pts * packet.time_base) - self._start_sec
                if time_sec > until_sec:
                    return
                shown_sec = out_sec(time_sec)
                if shown_sec is not None and self._is_encoded:
                    self._encode(packet, shown_sec)
                elif shown_sec is not None:
                    packet.pts = packet.dts = round(shown_sec / packet.time_base)
                    packet.stream = self._ours
                    self._out.mux(packet)
            self._packet = next(self._packets, None)

    def _encode(self, packet, shown_sec):
        for frame in packet.decode():
            # Sound of a span may reach into the next, but the encoder wants times that rise.
            frame.pts = max(round(shown_sec * frame.sample_rate), self._next_pts)
            frame.time_base = fractions.Fraction(1, frame.sample_rate)
            self._next_pts = frame.pts + frame.samples
            shown_sec += frame.samples / frame.sample_rate
            self._out.mux(self._ours.encode(frame))

    def finish(self):
        """Writes what the encoder holds back."""
        if self._is_encoded:
            self._out.mux(self._ours.encode(None))
