"""Keras models as encoders; those of Keras itself and of KerasHub look at single pictures."""

import hashlib
import inspect

import keras
import numpy as np

from keras_actionformer.errors import UserError, suggest
from keras_actionformer.extras import import_extra
from keras_actionformer.video.encoder import NetworkEncoder
from keras_actionformer.video.reading import Framing


def open_keras_application(name):
    """Returns the `Encoder` of a model of `keras.applications` with its ImageNet weights.

    Keras downloads the weights once. Pictures have the size that the model was trained with, the
    whole picture squeezed into it, and pixels as its `preprocess_input` makes them.

    Args:
      name: str, e.g. `"ConvNeXtTiny"`.

    Raises:
      UserError: there is none of this name.
    """
    families = [
        family
        for _, family in inspect.getmembers(keras.applications, inspect.ismodule)
        if hasattr(family, name) and hasattr(family, "preprocess_input")
    ]
    make = getattr(keras.applications, name, None)
    if not families or not callable(make):
        known = [one for one, _ in inspect.getmembers(keras.applications, callable)]
        near = suggest(name, known) or "; see keras.io/api/applications."
        raise UserError(f"keras.applications has no model {name!r}{near}")
    preprocess = families[0].preprocess_input
    height, width = make(weights=None).input_shape[1:3]  # before the head is taken away
    network = make(
        weights="imagenet", include_top=False, pooling="avg", input_shape=(height, width, 3)
    )
    run = runner(network)
    return NetworkEncoder.of_pictures(
        lambda pictures: run(preprocess(pictures.astype(np.float32))),
        width=network.output_shape[-1],
        framing=Framing(height, width),
        record={
            "name": f"keras.applications:{name}",
            "weights_sha256": weights_sha256(network),
            "pixels": "preprocess_input",
        },
    )


def open_keras_hub(name):
    """Returns the `Encoder` of an image backbone of KerasHub: its last features' mean.

    KerasHub downloads its weights once. Pictures have the size of the preset's image converter,
    which also makes their pixels.

    Args:
      name: str, a preset: `"resnet_50_imagenet"`, `"hf://..."`, a folder.

    Raises:
      UserError: KerasHub is not installed, or the preset gives no features of pictures.
    """
    hub = import_extra("keras_hub", "keras-hub", None, "The encoder keras_hub")
    try:
        network = hub.models.Backbone.from_preset(name)
        converter = hub.layers.ImageConverter.from_preset(name)
        height, width = converter.image_size
    except (ValueError, OSError, TypeError) as error:
        raise UserError(f"KerasHub has no preset {name!r} of an image model ({error}).") from error

    def features(pictures):
        found = np.asarray(network(converter(pictures), training=False), np.float32)
        return found.mean(axis=tuple(range(1, found.ndim - 1)))

    return NetworkEncoder.of_pictures(
        features,
        width=features(np.zeros((1, height, width, 3), np.uint8)).shape[-1],
        framing=Framing(height, width),
        record={
            "name": f"keras_hub:{name}",
            "weights_sha256": weights_sha256(network),
            "pixels": "ImageConverter",
        },
    )


def runner(network):
    """Returns the function of arrays that a Keras model computes, ready for several threads.

    XLA takes three times as long for convolutions of clips on a CPU; JAX has nothing else.
    """
    network.compile(jit_compile=keras.backend.backend() == "jax")
    network.make_predict_function()
    return network.predict_on_batch


def weights_sha256(network):
    """Returns the SHA-256 of all numbers of a Keras model, in its order."""
    digest = hashlib.sha256()
    for variable in network.weights:
        digest.update(np.ascontiguousarray(variable).tobytes())
    return digest.hexdigest()
