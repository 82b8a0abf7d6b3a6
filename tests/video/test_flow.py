"""How pictures move: known movements are found, and stand beside the right picture."""

import numpy as np
import pytest

from keras_actionformer.video.flow import with_flow

pytest.importorskip("cv2")


def picture(down, right, side=64):
    rows, columns = np.mgrid[:side, :side]
    values = 128 + 60 * np.sin((rows - down) / 6) + 60 * np.cos((columns - right) / 5)
    return np.repeat(values[..., None], 3, axis=2).astype(np.uint8)


def test_known_movements():
    frames = [picture(0, 0), picture(0, 2), picture(-1, 2), picture(-1, 2)]
    found = np.stack(list(with_flow(iter(frames), 48)))
    assert found.shape == (4, 48, 48, 5) and found.dtype == np.uint8
    np.testing.assert_array_equal(found[..., :3], np.stack(frames)[:, 8:56, 8:56])
    pixels = found[..., 3:].astype(float) * 40 / 255 - 20
    moved = np.median(pixels, axis=(1, 2))
    # Right, then up, then not at all, twice: the last has that of the one before it.
    np.testing.assert_allclose(moved, [[2, 0], [0, -1], [0, 0], [0, 0]], atol=0.3)


def test_a_picture_alone_stands_still():
    (found,) = with_flow(iter([picture(0, 0)]), 64)
    assert (found[..., 3:] == 128).all()
    assert not list(with_flow(iter([]), 64))


def test_what_is_far_counts_as_twenty_pixels(monkeypatch):
    import cv2

    class Far:
        def calc(self, before, after, flow):
            return np.stack([np.full(before.shape, 99.0), np.full(before.shape, -20.5)], axis=-1)

    monkeypatch.setattr(cv2.optflow, "DualTVL1OpticalFlow_create", Far)
    found = list(with_flow(iter([picture(0, 0), picture(0, 1)]), 64))
    assert (found[0][..., 3] == 255).all() and (found[0][..., 4] == 0).all()
