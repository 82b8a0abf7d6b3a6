"""Weights of a preset: a file with one data set a variable, named by the variable's path.

They are named by variable and not by Keras' own layout of layers, so that a file outlives a change
of the layers' order, and what is missing can be named.
"""

import hashlib

import h5py
import keras
import numpy as np

from keras_actionformer.errors import UserError
from keras_actionformer.files import told_if_unreadable
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
        raise UserError(f"'{path}' does not exist; load_weights=False does without it.")
    variables = _variables(model)
    with told_if_unreadable(f"'{path}' is damaged", "get the preset again"):
        with h5py.File(path, "r") as file:
            _check_weights(path, file, variables)
            found = _sha256(path)
            if sha256 != found:
                raise UserError(
                    f"'{path}' is not the file that {METADATA} tells of (SHA-256 "
                    f"{found[:12]}... instead of {str(sha256)[:12]}...): get the preset again."
                )
            for name, variable in variables.items():
                value = file[name][()]
                _check_finite(value, f"'{path}': weight {name!r}")
                variable.assign(value)


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


def _check_finite(value, name):
    if not np.isfinite(value).all():
        raise UserError(f"{name} is NaN or infinite somewhere: its training diverged.")


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy_weights(source, target, but=None):
    """Gives a model those of another; `but` begins the paths of what keeps its own."""
    values = _variables(source)
    for path, variable in _variables(target).items():
        if but is None or not path.startswith(but):
            if tuple(values[path].shape) != tuple(variable.shape):
                raise UserError(
                    f"Weight {path!r} has shape {tuple(values[path].shape)}, but "
                    f"{tuple(variable.shape)} is asked for."
                )
            variable.assign(values[path])


def save_weights(model, folder):
    """Writes the weights of a model to a preset's folder; returns the SHA-256 of the file.

    Raises:
      UserError: a weight is NaN or infinite.
    """
    weights = {name: keras.ops.convert_to_numpy(v) for name, v in _variables(model).items()}
    for name, value in weights.items():
        _check_finite(value, f"Weight {name!r}")
    # Groups of the newest form take a fraction of the room of HDF5's default ones.
    with h5py.File(folder / WEIGHTS, "w", libver="latest") as file:
        for name, value in weights.items():
            file[name] = value
    return _sha256(folder / WEIGHTS)
