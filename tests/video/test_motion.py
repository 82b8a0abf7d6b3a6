"""What features without a network count."""

import numpy as np
import pytest

from keras_actionformer.video.encoder import Sampling
from keras_actionformer.video.motion import MotionEncoder
from keras_actionformer.video.named_encoders import open_encoder

PARTS = {"levels": (0, 12), "edges": (12, 20), "movements": (20, 28), "moved": (28, 30),
         "change": (30, 31)}  # fmt: skip


def parts(clip):
    """The features of one clip: dict of name to (4, 4, numbers), cells from the top left."""
    encoder = MotionEncoder()
    feats = encoder(np.asarray(clip, np.uint8)[None])
    assert feats.shape == (1, encoder.width) and feats.dtype == np.float32
    cells = feats.reshape(4, 4, 31)
    return {name: cells[..., first:last] for name, (first, last) in PARTS.items()}


def test_a_still_grey_picture():
    found = parts(np.full((3, 64, 64, 3), 127.5))
    for name in ("edges", "movements", "moved", "change"):
        np.testing.assert_allclose(found[name], 0, atol=1e-3)
    # 127 of 255 lies between the middle two of four levels, and so do its two colours.
    np.testing.assert_allclose(found["levels"] ** 2, [[[0, 0.5, 0.5, 0] * 3] * 4] * 4, atol=0.02)


def test_where_a_colour_is():
    clip = np.zeros((2, 64, 64, 3))
    clip[:, :16, 48:] = [255, 0, 0]
    found = parts(clip)["levels"] ** 2
    red = [0, 0, 0, 1]  # the most of the second colour
    np.testing.assert_allclose(found[0, 3, 8:], red, atol=0.01)
    np.testing.assert_allclose(found[3, 0, 8:], [0, 0.5, 0.5, 0], atol=0.01)


@pytest.mark.parametrize("down, right", [(1, 0), (0, 1), (-1, 0), (0, -1), (1, 1)])
def test_what_moves_where(down, right):
    rows, columns = np.mgrid[:64, :64]

    def picture(time):
        y, x = rows - down * time, columns - right * time
        return 128 + 60 * np.sin(y / 4) + 60 * np.cos(x / 4)

    clip = np.stack([picture(time) for time in range(5)])
    moved = parts(np.repeat(clip[..., None], 3, axis=-1))["moved"][1:3, 1:3]
    # Signed roots of the pixels a frame.
    np.testing.assert_allclose(moved.mean(axis=(0, 1)), [down, right], atol=0.25)


def test_where_an_edge_leads():
    clip = np.zeros((2, 64, 64, 3))
    clip[:, :, 24:] = 255  # brighter to the right: in the cells of the second column
    found = parts(clip)["edges"]
    assert found[1, 1, 0] > 1 and np.argmax(found[1, 1]) == 0
    assert not found[:, 3].any()
    turned = parts(255 - clip)["edges"]  # an edge has no front
    np.testing.assert_allclose(turned, found, atol=1e-3)


def test_clips_do_not_see_each_other():
    clips = np.random.default_rng(0).integers(0, 255, (3, 4, 64, 64, 3), np.uint8)
    encoder = open_encoder("motion")
    assert encoder.sampling == Sampling(8, 4, 2)
    np.testing.assert_allclose(
        encoder(clips), np.concatenate([encoder(clip[None]) for clip in clips]), rtol=1e-5
    )
    assert np.isfinite(encoder(clips)).all()
