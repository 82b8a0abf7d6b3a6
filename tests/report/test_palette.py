"""Colours: told apart by people with any kind of colour vision, on a light and on a dark page."""

import itertools

import numpy as np
import pytest

from keras_actionformer import class_colours
from keras_actionformer.report.palette import CLASS_COLOURS, DARK, LIGHT

# Linear RGB as people without red, green or blue cones see it (Machado et al. 2009, severity 1).
_VISIONS = {
    "common": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
# Linear RGB to OKLab (Ottosson 2020).
_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def linear(colours):
    """`"#RRGGBB"` as linear RGB, (N, 3)."""
    rgb = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in colours]) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast(colours, background):
    """Contrast of colours with a background as the WCAG defines it: float (N,), 1 to 21."""
    luminance = linear([*colours, background]) @ [0.2126, 0.7152, 0.0722] + 0.05
    return np.maximum(luminance[:-1], luminance[-1]) / np.minimum(luminance[:-1], luminance[-1])


def least_distance(num_classes, vision):
    """The distance in OKLab of the two colours that are hardest to tell apart."""
    seen = np.clip(linear(class_colours(num_classes)) @ np.array(_VISIONS[vision]).T, 0, 1)
    lab = np.cbrt(seen @ _TO_CONES.T) @ _TO_LAB.T
    return min(np.linalg.norm(a - b) for a, b in itertools.combinations(lab, 2))


# 0.02 is about what one can just see side by side.
@pytest.mark.parametrize(
    "num_classes, least", [(5, 0.07), (8, 0.07), (20, 0.05), (40, 0.03), (97, 0.02)]
)
@pytest.mark.parametrize("vision", _VISIONS)
def test_colours_are_told_apart(num_classes, least, vision):
    assert least_distance(num_classes, vision) > least


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_colours_stand_out_from_the_page(theme):
    assert contrast(CLASS_COLOURS, theme.background).min() > 1.7
    assert contrast([theme.text, theme.truth], theme.background).min() > 7
    assert contrast([theme.faint], theme.background).min() > 4.5


def test_a_class_keeps_its_colour_when_others_are_added():
    assert class_colours(0) == ()
    assert class_colours(97)[:5] == class_colours(5)
    assert len(set(CLASS_COLOURS)) == len(CLASS_COLOURS) == 128
    assert class_colours(130)[128:] == class_colours(2)
