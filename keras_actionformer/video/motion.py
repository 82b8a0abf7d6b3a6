"""Features without a network: colours, edges and movements, counted in each part of the picture.

They need no weights and no download, and say what a fixed camera needs said: where something is,
what colour it has, and how it moves. Somewhere else, or under other light, they mean little.
"""

import numpy as np

from keras_actionformer.video.encoder import Sampling
from keras_actionformer.video.reading import Framing

_SIDE = 64  # pixels of a picture
_CELLS = 4  # parts of a side
_LEVELS = 4  # bins of a brightness or a colour
_DIRECTIONS = 8  # bins of a direction
_EDGE_SCALE, _CHANGE_SCALE = 4.0, 8.0  # so that most numbers lie between 0 and 1
_BLOCK = 4  # pixels of a side of what is taken to move as one
_STILL = 25.0  # of a gradient's square: below it nothing can be seen to move
# Brightness and two colours of red, green and blue, each in [0, 1] of numbers up to 255.
_COLOURS = np.array(
    [[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]], np.float32
)


class MotionEncoder:
    """An encoder (see `encoder.Encoder`) of clips of two frames and more.

    A feature holds, for each of 4 x 4 parts of the picture, histograms of brightness and of two
    colours (4 bins each), of the directions of edges (8) and of the directions of movements (8),
    the mean movement (2), and how much changes (1), each the mean over the clip.
    """

    width = _CELLS**2 * (3 * _LEVELS + _DIRECTIONS + _DIRECTIONS + 2 + 1)
    clip_frames = None
    framing = Framing(_SIDE, _SIDE)
    sampling = Sampling(fps=8, window_frames=4, stride_frames=2)
    batch_clips = 16
    record = {"name": "motion", "version": 1}

    def __call__(self, clips):
        pictures = clips.astype(np.float32) / 255  # (B, F, H, W, 3)
        colours = pictures @ _COLOURS.T + np.float32([0, 0.5, 0.5])
        levels = _shares(colours * (_LEVELS - 1), _LEVELS, circular=False)
        grey = 255 * colours[..., 0]
        down, right = np.gradient(grey, axis=(2, 3))
        edges = _directed(down, right, 2) / _EDGE_SCALE  # an edge has no front
        change = grey[:, 1:] - grey[:, :-1]
        moved = _movement(down[:, 1:], right[:, 1:], change)
        movements = _directed(moved[..., 0], moved[..., 1], 1)
        parts = [
            _cell_means(levels.reshape(*levels.shape[:4], -1)),
            _cell_means(edges),
            _cell_means(movements),
            _cell_means(moved),
            _cell_means(np.abs(change)[..., None]) / _CHANGE_SCALE,
        ]
        histograms = np.concatenate(parts, axis=-1)  # (B, cells, numbers of a part)
        # The root brings small counts nearer to large ones.
        roots = np.sign(histograms) * np.sqrt(np.abs(histograms))
        return roots.reshape(len(clips), -1).astype(np.float32)


def _movement(down, right, change):
    """Pixels (down, right) from one frame to the next, (B, F, blocks, blocks, 2): least squares.

    The brightness of what moves stays (Lucas and Kanade 1981): `down * v + right * u = -change`
    for all pixels of a block.
    """

    def total(values):
        shape = (*values.shape[:2], _SIDE // _BLOCK, _BLOCK, _SIDE // _BLOCK, _BLOCK)
        return values.reshape(shape).sum(axis=(3, 5))

    yy, xx, xy = total(down * down) + _STILL, total(right * right) + _STILL, total(down * right)
    ty, tx = total(down * change), total(right * change)
    determinant = yy * xx - xy * xy
    moved = np.stack([xy * tx - xx * ty, xy * ty - yy * tx], axis=-1) / determinant[..., None]
    return np.clip(moved, -_BLOCK, _BLOCK)  # of more, a block tells nothing


def _directed(down, right, turns):
    """Lengths shared out over bins of direction: (...,) twice to (..., _DIRECTIONS)."""
    angle = np.arctan2(down, right) * (turns * _DIRECTIONS / (2 * np.pi))
    shares = _shares(angle % _DIRECTIONS, _DIRECTIONS, circular=True)
    return shares * np.hypot(down, right)[..., None]


def _shares(values, num_bins, circular):
    """How much of a value each of two bins gets, between whose centres it lies: (..., bins)."""
    away = np.abs(values[..., None] - np.arange(num_bins, dtype=np.float32))
    if circular:
        away = np.minimum(away, num_bins - away)
    return np.maximum(1 - away, 0)


def _cell_means(values):
    """Means over the frames and the cells: (B, F, H, W, C) to (B, cells, C)."""
    batch, frames, height, width, channels = values.shape
    shape = (batch, frames, _CELLS, height // _CELLS, _CELLS, width // _CELLS, channels)
    return values.reshape(shape).mean(axis=(1, 3, 5)).reshape(batch, _CELLS**2, channels)
