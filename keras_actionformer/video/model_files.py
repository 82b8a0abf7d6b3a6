"""Networks in files as encoders: ONNX, SavedModel, `.keras`. Opening one runs what it holds."""

import hashlib
import pathlib

import numpy as np

from keras_actionformer.errors import UserError, suggest
from keras_actionformer.extras import import_extra
from keras_actionformer.files import sha256, told_if_unreadable
from keras_actionformer.video.encoder import PICTURES, NetworkEncoder, Sampling
from keras_actionformer.video.reading import Framing

_MEAN, _DEVIATION = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
# What a network takes for a pixel x in 0..255, float32 (..., 3) to (..., 3).
PIXELS = {
    "raw": lambda x: x,
    "unit": lambda x: x / 255,
    "signed": lambda x: x / 127.5 - 1,
    "imagenet": lambda x: (x / 255 - _MEAN) / _DEVIATION,
}


def open_onnx(path, pixels=None):
    """Returns the `Encoder` of a network in an ONNX file, which ONNX Runtime runs.

    Args:
      path: str.
      pixels: str, a key of `PIXELS`; a network of uint8 needs none.

    Raises:
      UserError: it cannot be opened; or its input is not one clip or picture of a fixed size, or
        its output not one row of numbers for each.
    """
    runtime = import_extra("onnxruntime", "onnxruntime", "onnx", "An encoder in an ONNX file")
    _check_file(path)
    with told_if_unreadable(f"'{path}' cannot be opened as ONNX"):
        session = runtime.InferenceSession(path, providers=runtime.get_available_providers())
    inputs = session.get_inputs()
    _check_one(path, "inputs", [value.name for value in inputs])
    return _encoder(
        lambda x: session.run(None, {inputs[0].name: x}),
        path,
        inputs[0].shape,
        "uint8" if inputs[0].type == "tensor(uint8)" else "float32",
        pixels,
        {"name": "onnx", "weights_sha256": sha256(path)},
    )


def open_saved_model(path, pixels=None):
    """Returns the `Encoder` of a SavedModel: its signature `serving_default`.

    Args, raises: see `open_onnx`.
    """
    import tensorflow as tf

    folder = pathlib.Path(path)
    if not (folder / "saved_model.pb").is_file():
        raise UserError(f"'{path}' is no SavedModel: name the folder that holds saved_model.pb.")
    with told_if_unreadable(f"SavedModel '{path}' cannot be read"):
        saved = tf.saved_model.load(path)
    serve = saved.signatures.get("serving_default")
    if serve is None:
        raise UserError(f"SavedModel '{path}' has no signature 'serving_default'; export it again.")
    inputs = serve.structured_input_signature[1]
    _check_one(path, "inputs", list(inputs))
    ((name, spec),) = inputs.items()
    digest = hashlib.sha256()
    for file in sorted(one for one in folder.rglob("*") if one.is_file()):
        digest.update(f"{file.relative_to(folder).as_posix()} {sha256(file)}\n".encode())
    return _encoder(
        # `saved` must live as long as its functions do.
        lambda x, saved=saved: list(serve(**{name: tf.constant(x)}).values()),
        path,
        spec.shape.as_list(),
        spec.dtype.name,
        pixels,
        {"name": "saved_model", "weights_sha256": digest.hexdigest()},
    )


def open_keras_file(path, pixels=None):
    """Returns the `Encoder` of a model that Keras saved, `.keras`.

    Args, raises: see `open_onnx`.
    """
    import keras

    from keras_actionformer.video.keras_encoders import runner

    _check_file(path)
    with told_if_unreadable(f"Keras cannot open '{path}'"):
        network = keras.models.load_model(path, compile=False)
    _check_one(path, "inputs", [value.name for value in network.inputs])
    predict = runner(network)

    def run(x):
        found = predict(x)
        return found if isinstance(found, list) else [found]

    return _encoder(
        run,
        path,
        network.inputs[0].shape,
        network.inputs[0].dtype,
        pixels,
        {"name": "keras", "weights_sha256": sha256(path)},
    )


def _encoder(run, path, shape, dtype, pixels, record):
    """The `NetworkEncoder` of a function of one array to a list of arrays.

    Args:
      run: function.
      path: str, for messages.
      shape: sizes of its input, of which those that are not whole numbers are free.
      dtype: str, of its input.
      pixels: str or None, as given.
      record: dict, without pixels.
    """
    if pixels is None and dtype != "uint8":
        raise UserError(
            f"'{path}' does not say what it takes for a pixel: add pixels=raw (0 to 255), unit (0 "
            "to 1), signed (-1 to 1) or imagenet (less ImageNet's mean, by its deviation) after a "
            "comma."
        )
    pixels = pixels or "raw"
    if pixels not in PIXELS:
        near = suggest(pixels, PIXELS) or f"; there are {', '.join(PIXELS)}."
        raise UserError(f"There are no pixels {pixels!r}{near}")
    batch, *sizes = shape
    frames, height, width, channels = _layout(path, sizes)

    def features(clips):
        x = clips if dtype == "uint8" else PIXELS[pixels](clips.astype(np.float32))
        x = np.moveaxis(x if frames else x[:, 0], -1, channels)
        found = run(np.ascontiguousarray(x.astype(dtype)))
        _check_one(path, "outputs", found)
        found = np.asarray(found[0])
        if sum(size > 1 for size in found.shape[1:]) > 1 or len(found) != len(clips):
            raise UserError(
                f"'{path}' gives numbers of shape {found.shape} for {len(clips)}: expected one row "
                "for each. End the network with the mean over places and times."
            )
        return found.reshape(len(found), -1)

    # A batch of a fixed size takes as many and no fewer.
    if batch != 1 and isinstance(batch, int):
        raise UserError(f"'{path}' takes {batch} at once; export it for any number, or for 1.")
    most = 1 if batch == 1 else 8 if not frames else 2
    blank = np.zeros((1, frames or 1, height, width, 3), np.uint8)
    return NetworkEncoder(
        features,
        width=features(blank).shape[1],
        clip_frames=frames or 1,
        framing=Framing(height, width),
        sampling=Sampling(None, frames, max(frames // 4, 1)) if frames else PICTURES,
        batch_clips=most,
        record={**record, "pixels": pixels},
    )


def _layout(path, sizes):
    """(frames or None, height, width, the axis of the channels in a batch) of an input's sizes."""
    axes = {3: (2, 0), 4: (3, 0, 1)}.get(len(sizes), ())
    axis = next((axis for axis in axes if sizes[axis] == 3), None)
    if axis is not None:
        rest = [size for place, size in enumerate(sizes) if place != axis]
        if all(isinstance(size, int) and size > 0 for size in rest):
            *frames, height, width = rest
            return (frames or [None])[0], height, width, axis + 1
    raise UserError(
        f"'{path}' takes an input of sizes {list(sizes)} beside the batch: expected pictures (3, "
        "height, width) or clips (3, frames, height, width), with the 3 first, last or after the "
        "frames, and all sizes fixed."
    )


def _check_file(path):
    if not pathlib.Path(path).is_file():
        raise UserError(f"'{path}' does not exist or is a folder; name the file of the network.")


def _check_one(path, what, found):
    if len(found) != 1:
        raise UserError(f"'{path}' has {len(found)} {what}: expected one.")
