"""How pictures move to the next ones: TV-L1, by OpenCV.

Zach, Pock and Bischof, A Duality Based Approach for Realtime TV-L1 Optical Flow, DAGM 2007. It is
what the flow streams of video networks were trained on, and takes about a second a pair.
"""

import itertools
import time

import numpy as np

from keras_actionformer.extras import import_extra

_TRIED = 12  # frames, the last two of which are measured: many videos begin with a still picture
_MOST = 20.0  # pixels a frame; more is taken for this


def check_opencv():
    """Returns OpenCV.

    Raises:
      UserError: it is not installed, or without its part `optflow`.
    """
    import_extra("cv2.optflow", "opencv-contrib-python-headless", "flow", "Optical flow")
    return import_extra("cv2", "opencv-contrib-python-headless", "flow", "Optical flow")


def with_flow(frames, side):
    """Puts beside each picture how it moves to the next.

    Args:
      frames: iterator of uint8 (height, width, 3).
      side: int, the square to cut out of the centre then.

    Yields:
      uint8 (side, side, 5), as many: the picture, and pixels to the right and down, where 0 is -20
      and 255 is 20. The last one has the flow of the one before it.
    """
    find = _finder()
    before, flow = None, None
    for picture in frames:
        if before is not None:
            flow = find(before, picture)
            yield _joined(before, flow, side)
        before = picture
    if before is not None:
        yield _joined(before, find(before, before) if flow is None else flow, side)


def seconds_a_pair(frames):
    """Returns how long the flow of a pair takes here, measured on one of a video's first.

    Args:
      frames: iterator of uint8 (height, width, 3).
    """
    first = list(itertools.islice(frames, _TRIED))
    find = _finder()
    start_sec = time.monotonic()
    find(first[-min(2, len(first))], first[-1].copy())
    return time.monotonic() - start_sec


def _finder():
    """A function of two pictures to uint8 (height, width, 2); for one thread."""
    cv2 = check_opencv()
    method = cv2.optflow.DualTVL1OpticalFlow_create()

    def find(before, after):
        if after is before:  # the same is shown longer
            flow = np.zeros((*before.shape[:2], 2), np.float32)
        else:
            grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (before, after)]
            flow = method.calc(*grey, None)
        return np.rint((np.clip(flow, -_MOST, _MOST) + _MOST) * (255 / (2 * _MOST))).astype(
            np.uint8
        )

    return find


def _joined(picture, flow, side):
    both = np.concatenate([picture, flow], axis=2)
    top, left = (both.shape[0] - side) // 2, (both.shape[1] - side) // 2
    return both[top : top + side, left : left + side]
