"""Configurations and weights of the reference PyTorch implementation, by name."""

import dataclasses
import re

import numpy as np

from keras_actionformer.decode import PostProcess
from keras_actionformer.errors import UserError

# Our variable paths to the reference's names, applied in order. What differs: the reference
# numbers the layers of a list after a dot, wraps each convolution in a module, keeps 1x1
# convolutions where we have dense layers, and has one scale a level.
_RENAMES = (
    (r"^heads/", ""),
    (r"/", "."),
    (r"\bmlp_in\b", "mlp.0"),
    (r"\bmlp_out\b", "mlp.3"),
    (r"\bcls_head\.out\b", "cls_head.cls_head"),
    (r"\breg_head\.out\b", "reg_head.offset_head"),
    (r"_(\d+)\b", r".\1"),
    (r"\.(gamma|kernel)$", ".weight"),
    (r"\.beta$", ".bias"),
)
# Layers that are a `MaskedConv1D` there: their parameters belong to an inner `conv`.
_CONVOLUTION = re.compile(
    r"(embd|proj|head|lateral_convs|fpn_convs)\.\d+$|_conv$|conv[12]$|downsample$"
    r"|cls_head\.cls_head$|offset_head$"
)


# What the reference keeps in other sections of its configuration, or does not need here.
_NOT_ARCHITECTURE = ("train_cfg", "test_cfg", "max_buffer_len_factor")
_MODEL_TRAINING = (
    "center_sample",
    "center_sample_radius",
    "loss_weight",
    "cls_prior_prob",
    "init_loss_norm",
    "head_empty_cls",
    "dropout",
    "droppath",
    "label_smoothing",
)


def model_arguments(config):
    """Arguments of `ActionFormer` for a configuration of the reference.

    Args:
      config: dict, the whole configuration with its defaults filled in, as the reference prints
        it into `config.txt`.

    Returns:
      dict of keyword arguments; timing and class names are not among them.
    """
    arguments = {k: v for k, v in config["model"].items() if k not in _NOT_ARCHITECTURE}
    arguments.update({name: config["train_cfg"][name] for name in _MODEL_TRAINING})
    fields = {field.name for field in dataclasses.fields(PostProcess)}
    settings = {k: v for k, v in config["test_cfg"].items() if k in fields}
    return {**arguments, "postprocess": PostProcess(**settings)}


def reference_name(path):
    """The reference's parameter name for a variable's path, e.g. `backbone/embd_0/kernel`."""
    name = path
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    layer, _, parameter = name.rpartition(".")
    return f"{layer}.conv.{parameter}" if _CONVOLUTION.search(layer) else name


def from_reference(variable, parameters):
    """Value of one of our variables from the reference's parameters.

    Args:
      variable: Keras variable of an `ActionFormer`.
      parameters: dict of the reference's parameter name to array.

    Returns:
      (array of the variable's shape, names of the parameters it came from).

    Raises:
      UserError: a parameter is missing or has another shape.
    """
    name = reference_name(variable.path)
    if name == "scale":  # one number a level there, one vector here
        names = [f"reg_head.scale.{i}.scale" for i in range(variable.shape[0])]
        values = [np.reshape(_take(parameters, n), ()) for n in names]
        return np.stack(values), names
    value = _take(parameters, name)
    if variable.path.endswith("kernel"):
        # (out, in / groups, k) -> (k, in, out), or (k, channels, 1) for a depthwise one.
        depthwise = len(variable.shape) == 3 and variable.shape[2] == 1 and value.shape[1] == 1
        value = value.transpose(2, 0, 1) if depthwise else value.transpose(2, 1, 0)
        value = value[0] if len(variable.shape) == 2 else value
    else:
        value = value.reshape([n for n in value.shape if n > 1] or variable.shape)
    if tuple(value.shape) != tuple(variable.shape):
        raise UserError(
            f"Parameter {name} has shape {_take(parameters, name).shape}, which does not fit "
            f"{variable.path} of shape {tuple(variable.shape)}."
        )
    return value, [name]


def _take(parameters, name):
    if name not in parameters:
        raise UserError(f"Parameter {name} is missing from the checkpoint.")
    return np.asarray(parameters[name])


def load_reference_parameters(model, parameters):
    """Assigns every trainable variable of an `ActionFormer` from the reference's parameters.

    Args:
      model: `ActionFormer`.
      parameters: dict of parameter name to array, all of which must find their place.

    Raises:
      UserError: a parameter is missing, left over or has another shape.
    """
    used = set()
    for variable in model.trainable_variables:
        value, names = from_reference(variable, parameters)
        variable.assign(value)
        used.update(names)
    left = sorted(set(parameters) - used)
    if left:
        raise UserError(f"{len(left)} parameters have no place in the model, first {left[0]}.")
