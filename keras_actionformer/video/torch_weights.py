"""Weights that PyTorch saved into a Keras model whose layers are called as PyTorch's modules."""

import keras
import numpy as np

from keras_actionformer.data.torch_files import read_torch_file
from keras_actionformer.errors import UserError

# What PyTorch calls the variables of Keras' layers.
_NAMES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_COUNTER = ".num_batches_tracked"  # of batches that were trained on
_MOST_NAMED = 3


def read_state(path):
    """Reads the parameters and statistics of a network.

    Args:
      path: str or `os.PathLike`, a state dict that `torch.save` wrote.

    Returns:
      dict of name to array, without counters of batches and what `DataParallel` puts before names.

    Raises:
      UserError: the file cannot be read, or holds no state dict.
    """
    saved = read_torch_file(path)
    if not isinstance(saved, dict):
        raise UserError(f"{path}: expected a state dict of a network, but it holds something else.")
    return {
        str(name).removeprefix("module."): value
        for name, value in saved.items()
        if isinstance(value, np.ndarray) and not str(name).endswith(_COUNTER)
    }


def set_weights(model, state, path, unused=()):
    """Gives every weight of a Keras model its numbers.

    Args:
      model: `keras.Model`, built.
      state: dict of name to array, see `read_state`.
      path: str or `os.PathLike`, where it is from.
      unused: names of parameters that the model has no layer for, and that may be there.

    Raises:
      UserError: a parameter lacks, is left over, has another shape or is not finite.
    """
    left, faults = dict(state), []
    missing = []
    for layer in model.layers:
        for variable in layer.weights:
            name = f"{layer.name}.{_NAMES[variable.name]}"
            if name not in left:
                missing.append(name)
                continue
            given = left.pop(name)
            value = _as_keras_has_it(layer, given, variable.name)
            if value.shape != tuple(variable.shape):
                faults.append(f"{name} has another shape, {given.shape}")
            elif not np.isfinite(value).all():
                faults.append(f"{name} has numbers that are NaN or infinite")
            else:
                variable.assign(value.astype(np.float32))
    left = [name for name in left if name not in unused]
    for names, problem in ((missing, "missing"), (left, "without a place")):
        if names:
            more = len(names) - _MOST_NAMED
            named = ", ".join(names[:_MOST_NAMED]) + (f" (and {more} more)" if more > 0 else "")
            faults.append(f"{problem}: {named}")
    if faults:
        raise UserError(
            f"{path}: these are not the weights of {model.name}: {'; '.join(faults[:8])[:1500]}. "
            "Name the file that belongs to it."
        )


def _as_keras_has_it(layer, value, variable):
    """PyTorch's kernels have channels first: those out, then those in."""
    if variable != "kernel" or value.ndim < 2:
        return value
    space = tuple(range(2, value.ndim))
    is_depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    return value.transpose(*space, *((0, 1) if is_depthwise else (1, 0)))
