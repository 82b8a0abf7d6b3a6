"""I3D in Keras, with the weights of pytorch-i3d: features of clips of 16 frames.

The network: Carreira and Zisserman, Quo Vadis, Action Recognition?, CVPR 2017 (arXiv 1705.07750),
as github.com/piergiaj/pytorch-i3d computes it; layers have the names of its modules, and those of
its end points.
"""

import functools
import pathlib

import keras
import numpy as np
from keras import layers

from keras_actionformer.errors import UserError
from keras_actionformer.files import sha256
from keras_actionformer.video.encoder import NetworkEncoder, Sampling
from keras_actionformer.video.flow import check_opencv, seconds_a_pair, with_flow
from keras_actionformer.video.keras_encoders import runner
from keras_actionformer.video.reading import Framing
from keras_actionformer.video.torch_weights import read_state, set_weights

_FRAMES, _SIDE = 16, 224
_SHORT_SIDE = 256  # of the picture that the square is cut out of
_WIDTH = 1024
_EPSILON = 1e-3
_STREAMS = {3: "rgb", 2: "flow"}  # by the channels of what the network looks at
_FIRST = "Conv3d_1a_7x7.conv3d.weight"
_CLASSIFIER = ("logits.conv3d.weight", "logits.conv3d.bias")
# In order: a pool (size, stride) or the channels of a module's branches.
_MODULES = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "MaxPool3d_4a_3x3": ((3, 3, 3), (2, 2, 2)),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "MaxPool3d_5a_2x2": ((2, 2, 2), (2, 2, 2)),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}


def open_i3d(paths):
    """Returns the `Encoder` of one or two streams, 1024 numbers of each, those of RGB first.

    Args:
      paths: list of one or two files of weights, `rgb_imagenet.pt` and `flow_imagenet.pt`; which is
        which, their first convolution tells.

    Raises:
      UserError: a file cannot be read or does not hold these weights, both are of one stream, or
        OpenCV is not installed, which flow needs.
    """
    networks, record = {}, {"name": "i3d"}  # functions by their stream
    for path in map(pathlib.Path, paths):
        state = read_state(path)
        # Of another network, `set_weights` tells what is wrong.
        channels = state[_FIRST].shape[1] if np.ndim(state.get(_FIRST)) == 5 else 3
        stream = _STREAMS.get(channels, "rgb")
        if stream in networks:
            raise UserError(
                f"{path}: it has weights of the stream {stream!r}, as the file before it; name one "
                "for RGB (3 channels) and one for flow (2)."
            )
        network = inception_i3d(2 if stream == "flow" else 3)
        set_weights(network, state, path, unused=_CLASSIFIER)
        networks[stream] = runner(network)
        record[f"{stream}_weights_sha256"] = sha256(path)
    record["pixels"] = "x / 255 * 2 - 1"
    rgb, flow = networks.get("rgb"), networks.get("flow")
    facts = dict(clip_frames=_FRAMES, sampling=Sampling(None, _FRAMES, 4), batch_clips=1)
    if flow is None:
        framing = Framing(_SIDE, _SIDE, _SHORT_SIDE)
        return NetworkEncoder(rgb, width=_WIDTH, framing=framing, record=record, **facts)
    check_opencv()
    record["flow"] = "TV-L1, clipped at 20 pixels, in 8 bits"
    # Flow is found in a larger square, whose edges it does not know.
    framing = Framing(_SHORT_SIDE, _SHORT_SIDE, _SHORT_SIDE)
    return NetworkEncoder(
        functools.partial(_both, rgb, flow),
        width=_WIDTH * len(networks),
        framing=framing,
        record=record,
        prepare=functools.partial(with_flow, side=_SIDE),
        seconds_a_frame=seconds_a_pair,
        **facts,
    )


def _both(rgb, flow, clips):
    """Features of clips with flow, uint8 (B, 16, 224, 224, 5); `rgb` may be None."""
    feats = [] if rgb is None else [rgb(np.ascontiguousarray(clips[..., :3]))]
    feats.append(flow(np.ascontiguousarray(clips[..., 3:])))
    return np.concatenate(feats, axis=1)


def inception_i3d(channels, frames=_FRAMES, height=_SIDE, width=_SIDE):
    """Makes the network up to its features.

    Args:
      channels: int, 3 for RGB and 2 for flow.
      frames, height, width: ints, the size of a clip, at least 9, 193 and 193.

    Returns:
      `keras.Model`: uint8 (B, frames, height, width, channels) to float32 (B, 1024).
    """
    inputs = keras.Input((frames, height, width, channels), dtype="uint8")
    x = layers.Rescaling(2 / 255, -1)(inputs)
    x = unit(x, "Conv3d_1a_7x7", 64, 7, stride=2)
    x = max_pool(x, (1, 3, 3), (1, 2, 2), "MaxPool3d_2a_3x3")
    x = unit(x, "Conv3d_2b_1x1", 64, 1)
    x = unit(x, "Conv3d_2c_3x3", 192, 3)
    x = max_pool(x, (1, 3, 3), (1, 2, 2), "MaxPool3d_3a_3x3")
    for name, numbers in _MODULES.items():
        x = max_pool(x, *numbers, name) if len(numbers) == 2 else inception(x, name, numbers)
    # Two steps of 7 x 7 are left, of which the reference takes the mean.
    x = layers.GlobalAveragePooling3D()(x)
    return keras.Model(inputs, x, name="I3D")


def unit(x, name, channels, kernel, stride=1):
    """Convolution without bias, batch norm, ReLU, called `name`."""
    x = layers.Conv3D(
        channels, kernel, stride, padding="same", use_bias=False, name=f"{name}.conv3d"
    )(x)
    x = layers.BatchNormalization(epsilon=_EPSILON, name=f"{name}.bn")(x)
    return layers.ReLU(name=name)(x)


def max_pool(x, size, strides, name):
    """The largest of each window; what lies outside is 0, as in the reference."""
    padding = []
    for length, window, stride in zip(x.shape[1:4], size, strides):
        total = max(window - (length % stride or stride), 0)
        padding.append((total // 2, total - total // 2))
    x = layers.ZeroPadding3D(padding)(x)
    return layers.MaxPooling3D(size, strides, name=name)(x)


def inception(x, name, channels):
    """Four branches beside each other; `channels` are of b0, b1a, b1b, b2a, b2b and b3b."""
    b0, b1a, b1b, b2a, b2b, b3b = channels
    branches = [
        unit(x, f"{name}.b0", b0, 1),
        unit(unit(x, f"{name}.b1a", b1a, 1), f"{name}.b1b", b1b, 3),
        unit(unit(x, f"{name}.b2a", b2a, 1), f"{name}.b2b", b2b, 3),
        unit(max_pool(x, (3, 3, 3), (1, 1, 1), f"{name}.b3a"), f"{name}.b3b", b3b, 1),
    ]
    return layers.Concatenate(name=name)(branches)
