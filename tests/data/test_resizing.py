"""Resizing of features in time."""

import fractions

import keras
import numpy as np
import pytest

from keras_actionformer.data.resizing import ResizedSteps, resize_feats
from keras_actionformer.errors import UserError
from keras_actionformer.network.resizing import ResizeTo


@pytest.mark.parametrize("num_steps", [3, 70_050])
def test_roi_align_beyond_what_float16_holds(num_steps):
    """It would make such features, and such lengths, infinite. `detect` rounds them to 11 bits."""
    feats = np.linspace(1, 2, num_steps, dtype="float32")[:, None]
    feats = np.hstack([feats, 100_001 * feats])
    resized = resize_feats(feats, 3, "roi_align")
    if num_steps == 3:
        np.testing.assert_array_equal(resized[:, 1], [100_032, 150_016, 200_064])
    found, _ = ResizeTo(3, "roi_align")(feats[None], np.array([num_steps], "int32"))
    np.testing.assert_allclose(resized, keras.ops.convert_to_numpy(found[0]), rtol=1e-3)


def test_resizing_by_hand():
    feats = np.array([[0.0], [4.0]])
    # Centres of the new steps lie at -0.25, 0.25, 0.75 and 1.25 of the old ones.
    np.testing.assert_array_equal(resize_feats(feats, 4), [[0], [1], [3], [4]])
    np.testing.assert_array_equal(resize_feats(feats, 1), [[2]])
    np.testing.assert_array_equal(resize_feats(feats, 2), feats)
    assert resize_feats(feats, 3).dtype == np.float32


def test_positions_are_rounded_once():
    # Of 0, 1, 0, 1, ... a resized step is how far its position lies from the nearest even one.
    feats, num_steps = np.arange(198)[:, None] % 2, 160
    scale = fractions.Fraction(float(np.float32(198 / 160)))
    half = fractions.Fraction(1, 2)
    exact = [float(scale * (i + half) - half) for i in range(num_steps)]
    position = np.array(exact, np.float32).astype(np.float64)
    expected = np.abs((position + 1) % 2 - 1)
    np.testing.assert_allclose(resize_feats(feats, num_steps)[:, 0], expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("num_steps", [0, -2, 1.5, None])
def test_wrong_numbers_of_steps(num_steps):
    with pytest.raises(UserError, match=f"num_steps must be a whole number .* is {num_steps}"):
        resize_feats(np.zeros((4, 2)), num_steps)


@pytest.mark.parametrize("num_steps", [1, 7, 160, 1000])
def test_slices_of_what_is_resized_are_those_of_all_of_it(num_steps):
    feats = np.random.default_rng(0).normal(size=(198, 3))
    resized, expected = ResizedSteps(feats, num_steps), resize_feats(feats, num_steps)
    assert resized.shape == expected.shape and len(resized) == num_steps
    for steps in (slice(None), slice(num_steps // 3, num_steps // 2), slice(5, None, 4)):
        np.testing.assert_array_equal(resized[steps], expected[steps])
