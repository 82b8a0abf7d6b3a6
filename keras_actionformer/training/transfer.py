"""Fine-tuning: a training that starts from the weights of a preset."""

import copy
import dataclasses

from keras_actionformer.checks import shown
from keras_actionformer.errors import UserError
from keras_actionformer.model import ActionFormer
from keras_actionformer.network.architecture import Architecture
from keras_actionformer.presets.weights import transfer_weights
from keras_actionformer.training.config import architecture_of

# Settings of the data and of the training. All others are of the network that weights belong to:
# in another one they mean nothing, even where they fit.
_NOT_OF_NETWORK = (
    "input_dim",
    "num_classes",
    "max_seq_len",
    "force_upsampling",
    "resize_method",
    "resize_longer",
    "input_dropout",
    "dropout",
    "droppath",
    "cls_prior_prob",
    "head_empty_cls",
    "center_sample",
    "center_sample_radius",
    "loss_weight",
    "label_smoothing",
    "init_loss_norm",
)
_NETWORK = [
    field.name for field in dataclasses.fields(Architecture) if field.name not in _NOT_OF_NETWORK
]


def with_preset(config, preset):
    """A copy of a configuration that starts from the weights of a preset (str or path)."""
    config = copy.deepcopy(config)
    config.train.preset = str(preset)
    return config


def open_preset(config):
    """Opens the preset that a configuration names, and gives the configuration its network.

    Args:
      config: `ConfigDict`, checked by `check_config`; not changed.

    Returns:
      (`ConfigDict`, `ActionFormer`), or (`config`, None) where it names none.

    Raises:
      UserError: the preset cannot be opened, its network is none for the features, or parts of a
        network without a preset are to be frozen.
    """
    preset = config.train.preset
    if not preset:
        if config.train.freeze:
            raise UserError(
                f"train.freeze={tuple(config.train.freeze)} would keep random weights as they are: "
                "set train.preset (--preset=NAME), whose weights it keeps, or leave it out."
            )
        return config, None
    source = ActionFormer.from_preset(preset)
    return with_network(config, source.architecture), source


def with_network(config, architecture):
    """A copy of a configuration with the network of some weights, its levels and ranges included.

    Args:
      config: `ConfigDict`.
      architecture: `Architecture` of the weights.

    Raises:
      UserError: the features are several streams, and `model.embd_dim` does not fit the network.
    """
    config = copy.deepcopy(config)
    ours = architecture_of(config)
    network = {name: getattr(architecture, name) for name in _NETWORK}
    with config.model.ignore_type():  # an int may become one a level, and the other way round
        config.model.update({**network, "embd_dim": _embedding_dim(ours, architecture)})
    return config


def _embedding_dim(ours, theirs):
    """`embd_dim` for the streams of one `Architecture` and the width of another."""
    if not ours.has_streams:
        return theirs.width
    if theirs.has_streams and len(ours.input_dim) == len(theirs.input_dim):
        return theirs.embd_dim
    if ours.width != theirs.width:
        raise UserError(
            f"model.embd_dim is {shown(list(ours.embd_dim))}, but the network of the preset is "
            f"{theirs.width} wide: set it to {len(ours.embd_dim)} numbers that add up to that."
        )
    return ours.embd_dim


def take_weights(model, source, config, given):
    """Gives a model to be trained the weights of a preset, and prints what could not be taken.

    Args:
      model: `ActionFormer` with fresh weights.
      source, config: what `open_preset` returned.
      given: `ConfigDict`, what `open_preset` was given.

    Returns:
      list of `NewWeights`.
    """
    before, now = architecture_of(given), architecture_of(config)
    other = [
        f"model.{name}={shown(getattr(now, name))} (not {shown(getattr(before, name))})"
        for name in _NETWORK
        if getattr(now, name) != getattr(before, name)
    ]
    print(f"Starting from the weights of {config.train.preset!r}.")
    if other:
        print(f"The network is that of the preset: {', '.join(other)}.")
    new = transfer_weights(source, model)
    for part in new:
        print(part.reason)
    return new
