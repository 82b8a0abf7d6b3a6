"""A video that goes on: a file that is being written, a stream of the net, a camera."""

import contextlib
import os
import pathlib
import re
import sys
import time

from keras_actionformer.errors import UserError
from keras_actionformer.extras import import_extra
from keras_actionformer.files import told_if_unreadable
from keras_actionformer.video.reading import FORMATS, video_stream

_ADDRESS = re.compile(r"(rtsp|rtsps|rtmp|http|https|udp|tcp|srt)://")
# What an address may lead on to. Not to files: a stream of a stranger could name some.
_PROTOCOLS = "rtsp,rtsps,rtp,rtmp,http,https,tls,tcp,udp,srt,crypto"
_NET_FORMATS = f"{FORMATS},rtsp,sdp,rtp,hls,mpjpeg"
_CAMERAS = {"linux": ("v4l2", "/dev/video{}"), "darwin": ("avfoundation", "{}")}
_LOOK_SEC = 0.1  # from one look at a file to the next
_FILE_FIX = "a file that is being written can be read as .ts, .mkv or .flv, and not as a plain .mp4"


@contextlib.contextmanager
def open_live(source, quiet_sec, is_stopped):
    """Opens a video that goes on.

    Args:
      source: str, a file, an address or the number of a camera.
      quiet_sec: float, after so long without anything new it has ended.
      is_stopped: function, whether a file is to be waited for no longer.

    Yields:
      (PyAV's container, its video stream).

    Raises:
      UserError: it cannot be opened, or holds no video.
    """
    av = import_extra("av", "av", "video", "Reading a video")
    with contextlib.ExitStack() as stack:
        options, arguments, fix = {"format_whitelist": FORMATS}, {}, _FILE_FIX
        if source.isdecimal():
            if sys.platform not in _CAMERAS:
                raise UserError(
                    f"--watch={source}: cameras have numbers on Linux and macOS alone; name the "
                    "address of a stream, or a file that another program records to."
                )
            arguments["format"], name = _CAMERAS[sys.platform]
            opened, options = name.format(source), {}
            fix = f"check that {opened} is a camera, and that you may read it"
        elif _ADDRESS.match(source):
            opened = source
            options = {"protocol_whitelist": _PROTOCOLS, "format_whitelist": _NET_FORMATS}
            arguments["timeout"] = (max(quiet_sec, 1.0), quiet_sec)
            fix = "check the address, and whether a player opens it"
        elif pathlib.Path(source).is_file():
            opened = stack.enter_context(_Growing(source, quiet_sec, is_stopped))
        else:
            raise UserError(
                f"--watch={source} is no file here; name one, an address such as rtsp://HOST/PATH, "
                "or the number of a camera."
            )
        with told_if_unreadable(f"'{source}' cannot be watched", fix):
            container = stack.enter_context(av.open(opened, options=options, **arguments))
        yield container, video_stream(container, source)


class _Growing:
    """A file to read from its beginning, where the end is waited for. It cannot be gone back in."""

    def __init__(self, path, quiet_sec, is_stopped):
        self.name = os.fspath(path)  # whose ending tells the format
        self._quiet_sec, self._is_stopped = quiet_sec, is_stopped

    def __enter__(self):
        self._file = open(self.name, "rb")  # closed by __exit__
        return self

    def __exit__(self, *_):
        self._file.close()

    def read(self, size):
        until = time.monotonic() + self._quiet_sec
        while not (data := self._file.read(size)):
            if time.monotonic() > until or self._is_stopped():
                return b""
            time.sleep(_LOOK_SEC)
        return data
