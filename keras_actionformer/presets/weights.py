"""Weights of a preset: a file with one data set a variable, named by the variable's path.

They are named by variable and not by Keras' own layout of layers, so that a file outlives a change
of the layers' order, and what is missing can be named.
"""

import dataclasses
import hashlib
import io

import h5py
import keras
import numpy as np

from keras_actionformer.checks import shown
from keras_actionformer.errors import UserError
from keras_actionformer.files import read_bytes, told_if_unreadable
from keras_actionformer.network.adapted_layers import layers_within, quantization
from keras_actionformer.presets.folder import METADATA, WEIGHTS


def _variables(model):
    """Variables of a preset by path: those of the network, and the loss normalizer."""
    return {v.path: v for v in model.weights}


def load_weights(model, folder, sha256):
    """Gives a model the weights of a preset's folder.

    Args:
      model: `ActionFormer`.
      folder: `pathlib.Path`.
      sha256: str, of the file, as its metadata has it.

    Raises:
      UserError: the file is missing, damaged, another one than the metadata tells of, or holds
        other weights than the model's.
    """
    path = folder / WEIGHTS
    if not path.exists():
        raise UserError(
            f"'{path}' does not exist, the file of the preset's weights: copy it there. (In "
            "Python, load_weights=False gives the architecture with fresh weights.)"
        )
    variables = _variables(model)
    content = read_bytes(path, "File of weights")
    # HDF5 does not survive every damaged file, so it sees none that is not as it was written.
    found = hashlib.sha256(content).hexdigest()
    if sha256 != found:
        raise UserError(
            f"'{path}' is not the file that {METADATA} tells of (SHA-256 {found[:12]}... instead "
            f"of {str(sha256)[:12]}...): it is damaged or another one; get the preset again."
        )
    with told_if_unreadable(f"'{path}' is damaged", "get the preset again"):
        with h5py.File(io.BytesIO(content), "r") as file:
            _check_weights(path, file, variables)
            values = {name: file[name][()] for name in variables}
    for name, variable in variables.items():
        _check_finite(values[name], f"'{path}': weight {name!r}")
        variable.assign(values[name])


def _check_weights(path, file, variables):
    """Raises UserError for the first weight that is missing, left over or of another shape."""
    found = {}
    file.visititems(
        lambda name, item: found.update({name: item}) if hasattr(item, "shape") else None
    )
    for name, variable in variables.items():
        if name not in found:
            raise UserError(f"'{path}' lacks the weight {name!r} that the model has.")
        item = found[name]
        if item.shape != tuple(variable.shape):
            raise UserError(
                f"'{path}': weight {name!r} has shape {item.shape}, but the model asks for "
                f"{tuple(variable.shape)}."
            )
        # HDF5 can fetch numbers from any other file of the reader's.
        if item.dtype.kind != "f" or item.external or item.is_virtual:
            raise UserError(f"'{path}': weight {name!r} must be real numbers in this file.")
    extra = sorted(set(found) - set(variables))
    if extra:
        raise UserError(f"'{path}' has the weight {extra[0]!r}, which the model has not.")


def check_finite_weights(model, source):
    """Raises UserError where a weight of a model is NaN or infinite; `source` is its file."""
    for name, variable in _variables(model).items():
        _check_finite(keras.ops.convert_to_numpy(variable), f"{source}: weight {name!r}")


def _check_finite(value, name):
    if not np.isfinite(value).all():
        raise UserError(f"{name} is NaN or infinite somewhere: its training diverged.")


def copy_weights(source, target):
    """Gives a model the weights of another, and its loss normalizer."""
    _copy(_variables(source), _variables(target).values())


def _copy(values, variables):
    for variable in variables:
        value = values.get(variable.path)
        if value is None or tuple(value.shape) != tuple(variable.shape):
            found = "is missing" if value is None else f"has shape {tuple(value.shape)}"
            raise UserError(
                f"Weight {variable.path!r} {found}, but {tuple(variable.shape)} is asked for."
            )
        variable.assign(value)


@dataclasses.dataclass(frozen=True)
class NewWeights:
    """Weights that a network could not take from another.

    Attributes:
      paths: frozenset of str, of the variables.
      reason: str, a sentence.
    """

    paths: frozenset
    reason: str


def transfer_weights(source, target, same_classes=False):
    """Gives a network the weights of another, as far as the features and the classes are the same.

    Features of another width leave the embedding as it is. Of the last layer of the
    classification head a class takes over what the class of the same name has learnt, and the
    others stay as they are. Everything else must have the same shape. The loss normalizer, which is
    of a training and not of a network, stays.

    Args:
      source, target: `ActionFormer`.
      same_classes: bool, the ids of classes mean the same in both, whatever their names.

    Returns:
      list of `NewWeights`.

    Raises:
      UserError: the networks differ elsewhere, too.
    """
    embedding = _new_embedding(source.architecture, target.architecture)
    paths = {variable.path for variable in target.network_weights}
    new = [
        NewWeights(frozenset(path for path in paths if path.startswith(begins)), reason)
        for begins, reason in embedding
    ]
    left = frozenset().union(*(part.paths for part in new))
    if not same_classes:
        left |= _CLASS_WEIGHTS
    _copy(_variables(source), [v for v in target.network_weights if v.path not in left])
    return new if same_classes else [*new, *_take_classes(source, target)]


def _new_embedding(source, target):
    """What paths of new weights begin with, and the reason, of two `Architecture`s."""
    ours, theirs = target.input_dim, source.input_dim
    widths = f"the features have {shown(ours)} channels, those of the preset {shown(theirs)}."
    if not (target.has_streams or source.has_streams):
        return [("backbone/embd_0/", f"The embedding is new: {widths}")] if ours != theirs else []
    if target.has_streams and source.has_streams and len(ours) == len(theirs):
        return [
            (f"backbone/proj_{i}/", f"The projection of stream {i} is new: {widths}")
            for i, (one, other) in enumerate(zip(ours, theirs, strict=True))
            if one != other
        ]
    return [(("backbone/proj_", "backbone/embd_0/"), f"The embedding is new: {widths}")]


_CLASS_WEIGHTS = frozenset({"heads/cls_head/out/kernel", "heads/cls_head/out/bias"})


def _take_classes(source, target):
    """Copies the last layer of the classification head class by class."""
    ours, theirs = target.class_names, source.class_names
    shared = {i: theirs.index(name) for i, name in enumerate(ours) if name in theirs}
    taken, values = _variables(target), _variables(source)
    for path in _CLASS_WEIGHTS:
        weights = keras.ops.convert_to_numpy(taken[path]).copy()
        known = keras.ops.convert_to_numpy(values[path])
        weights[..., list(shared)] = known[..., list(shared.values())]
        taken[path].assign(weights)
    count, unknown = target.architecture.num_classes, [n for n in ours if n not in theirs]
    if len(shared) == count:
        return []
    part = (
        f"for {len(unknown)} of {count} classes, {shown(unknown)}" if shared else "for all classes"
    )
    knows = f"knows {shown(list(theirs))}" if theirs else "does not name its classes"
    reason = f"The last layer of the classification head is new {part}: the preset {knows}."
    return [NewWeights(_CLASS_WEIGHTS, reason)]


def _merged(model):
    """Values of `_variables`; those of LoRA are added to the kernels that they belong to."""
    if mode := quantization(model.layers):
        raise UserError(
            f"A preset has weights of full precision, but the model is quantized ({mode}): save it "
            "before quantize(), which takes a second after opening, or use save('FILE.keras')."
        )
    values = _variables(model)
    for layer in layers_within(model.layers):
        if getattr(layer, "lora_enabled", False):
            for added in (layer.lora_kernel_a, layer.lora_kernel_b):
                del values[added.path]
            values[f"{layer.path}/kernel"] = layer.kernel
    return values


def save_weights(model, folder):
    """Writes the weights of a model to a preset's folder; returns the SHA-256 of the file.

    Raises:
      UserError: a weight is NaN or infinite, or the model quantized.
    """
    weights = {name: keras.ops.convert_to_numpy(v) for name, v in _merged(model).items()}
    for name, value in weights.items():
        _check_finite(value, f"Weight {name!r}")
    content = io.BytesIO()  # HDF5 does not survive a full disk
    # Groups of the newest form take a fraction of the room of HDF5's default ones.
    with h5py.File(content, "w", libver="latest") as file:
        for name, value in weights.items():
            file[name] = value
    (folder / WEIGHTS).write_bytes(content.getbuffer())
    return hashlib.sha256(content.getbuffer()).hexdigest()
