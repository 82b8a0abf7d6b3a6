"""Checkpoints of the reference PyTorch implementation: their configuration, names and weights.

Nothing of PyTorch is needed, and nothing in a file is executed (see `pickles`).
"""

import ast
import dataclasses
import pathlib
import re

import numpy as np

from keras_actionformer.checks import check_keywords
from keras_actionformer.data.torch_files import list_keys, read_torch_file
from keras_actionformer.detection.postprocess import PostProcess
from keras_actionformer.errors import UserError, suggest
from keras_actionformer.files import check_is_file, told_if_unreadable
from keras_actionformer.network.architecture import Architecture
from keras_actionformer.presets import opentad_files
from keras_actionformer.presets.builtin import ARCHITECTURES

# === Configuration ===

# What the reference assumes where a configuration file is silent, as far as it differs from the
# defaults of `ActionFormer` and `PostProcess`.
_DATASET_DEFAULTS = {
    "feat_stride": 16,
    "num_frames": 32,
    "default_fps": None,
    "downsample_rate": 1,
    "input_dim": 2304,
    "num_classes": 97,
    "max_seq_len": 2304,
    "force_upsampling": False,
}
_MODEL_DEFAULTS = {"n_mha_win_size": -1}
# What its configuration keeps in the section `model` and we do not need.
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
_MAX_CONFIG_BYTES = 2**20


def read_reference_config(path):
    """Reads a configuration of the reference.

    Args:
      path: str or `os.PathLike`: the `config.txt` of an experiment, or a YAML file.

    Returns:
      dict of sections.

    Raises:
      UserError: the file does not exist or is no such configuration.
    """
    path = pathlib.Path(path)
    with told_if_unreadable(f"Configuration file '{path}' cannot be read"):
        if not path.exists():
            raise UserError(
                f"Configuration file '{path}' does not exist{suggest(path, ARCHITECTURES) or '.'}"
            )
        check_is_file(path)
        if path.stat().st_size > _MAX_CONFIG_BYTES:
            raise UserError(f"{path} is too large for a configuration file.")
        text = path.read_text(encoding="utf-8")
    with told_if_unreadable(f"'{path}' is neither the reference's printed configuration nor YAML"):
        config = _parse(text)
    if not isinstance(config, dict):
        raise UserError(f"'{path}' is no configuration of the reference: it has no sections.")
    for name in ("dataset", "model", "train_cfg", "test_cfg"):
        if not isinstance(config.get(name, {}), dict):
            raise UserError(f"'{path}': {name} must be a section of settings.")
    known = "LocPointTransformer"
    if config.get("model_name", known) != known:
        raise UserError(
            f"'{path}' is about the network {config['model_name']!r}; only {known!r} is known."
        )
    return config


def _parse(text):
    """Reads a printed Python dict, or YAML."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return _parse_yaml(text)


def _parse_yaml(text):
    import yaml

    class Loader(yaml.SafeLoader):
        """Without aliases, of which a short file can make an endless configuration."""

        def compose_node(self, parent, index):
            if self.check_event(yaml.AliasEvent):
                raise ValueError("aliases are not read")
            return super().compose_node(parent, index)

    # YAML 1.1 takes `1e-4` for text; here it is a number.
    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
        list("-+.0123456789"),
    )
    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise ValueError(error) from None


def model_arguments(config):
    """Arguments of `ActionFormer` for a configuration of the reference.

    Args:
      config: dict, see `read_reference_config`.

    Returns:
      dict of keyword arguments, timing included; class names are not among them.

    Raises:
      UserError: the configuration has a setting of the network that is not known here, or trains
        on downsampled features.
    """
    data = {**_DATASET_DEFAULTS, **config.get("dataset", {})}
    arguments = {
        **_MODEL_DEFAULTS,
        **{name: data[name] for name in ("input_dim", "num_classes", "max_seq_len")},
        **{k: v for k, v in config.get("model", {}).items() if k not in _NOT_ARCHITECTURE},
        "force_upsampling": data["force_upsampling"],
    }
    training = config.get("train_cfg", {})
    arguments.update({name: training[name] for name in _MODEL_TRAINING if name in training})
    section = "The section 'model' of the configuration"
    check_keywords(Architecture, arguments, section, "ActionFormer")
    if data["downsample_rate"] != 1:
        raise UserError(
            f"The configuration has dataset.downsample_rate={data['downsample_rate']}: state the "
            "timing of the features that the network sees (feat_stride times that), with "
            "downsample_rate 1, and pass such features."
        )
    fields = {field.name for field in dataclasses.fields(PostProcess)}
    settings = {k: v for k, v in config.get("test_cfg", {}).items() if k in fields}
    settings["drop_empty"] = False  # it has no such setting, and keeps them
    grid = dict(
        fps=data["default_fps"],
        stride_frames=data["feat_stride"],
        window_frames=data["num_frames"],
    )
    return {**arguments, "postprocess": PostProcess(**settings), "grid": grid}


# === Checkpoint ===

# Of a file such as checkpoint_ema.pth.tar, whose only weights are averages whatever their key is.
_NAMED_EMA = re.compile(r"(?<![a-z])ema(?![a-z])", re.IGNORECASE)


def find_checkpoint(path):
    """Finds the checkpoint and the configuration of an experiment of the reference.

    Args:
      path: `pathlib.Path`, a checkpoint or the folder of an experiment.

    Returns:
      (path of the checkpoint: in a folder the `epoch_*.pth.tar` of the highest number, path of
      the configuration beside it: `config.txt` or the only YAML file, or None).

    Raises:
      UserError: there is no checkpoint.
    """
    if not path.exists():
        raise UserError(f"Checkpoint '{path}' does not exist.")
    checkpoint = path
    if path.is_dir():
        checkpoint = experiment_checkpoint(path)
        if checkpoint is None:
            raise UserError(f"The folder '{path}' holds no checkpoint (epoch_*.pth.tar).")
    config = checkpoint.with_name("config.txt")
    if not config.exists():
        choices = [p for p in checkpoint.parent.iterdir() if p.suffix in (".yaml", ".yml")]
        config = choices[0] if len(choices) == 1 else opentad_files.find_config(checkpoint)
    return checkpoint, config


def experiment_checkpoint(folder):
    """The checkpoint of a folder, or of `checkpoint` in it, or None: see `choose_checkpoint`."""
    files = [path for place in (folder, folder / "checkpoint") for path in place.glob("*.pth*")]
    by_name = {path.relative_to(folder).as_posix(): path for path in files if path.is_file()}
    chosen = choose_checkpoint(by_name)
    return by_name.get(chosen)


def choose_checkpoint(names):
    """Chooses a checkpoint by its name.

    Args:
      names: iterable of str, paths of files.

    Returns:
      Of the reference's `epoch_<number>.pth.tar` and OpenTAD's `epoch_<number>.pth` the one of the
      highest number; where there are none the only `*.pth.tar` or `*.pth`, or the only one of
      those whose name says `ema`; else None.
    """
    names = [name for name in names if name.endswith((".pth.tar", ".pth"))]
    epochs = {name: re.fullmatch(r"(?:.*/)?epoch_(\d+)\.pth(\.tar)?", name) for name in names}
    numbered = [(int(match[1]), name) for name, match in epochs.items() if match]
    if numbered:
        return max(numbered)[1]
    averaged = [name for name in names if _NAMED_EMA.search(name.rpartition("/")[2])]
    return next((found[0] for found in (names, averaged) if len(found) == 1), None)


# What every ActionFormer has, of the reference and of OpenTAD; it shows whose it is and what all
# names begin with.
_FIRST_PARAMETERS = "backbone.embd.0.conv.weight", "projection.embed.0.conv.weight"
# A buffer of OpenTAD's losses, which detection does not need.
_BUFFERS = ("rpn_head.loss_normalizer",)


def is_opentad(parameters):
    """Whether parameters, by name, are those of OpenTAD."""
    return _FIRST_PARAMETERS[1] in parameters


def which_weights(path, ema=True):
    """Tells which of the weights in a checkpoint are taken.

    Args:
      path, ema: as for `read_parameters`.

    Returns:
      (key of the checkpoint, or None where it is a bare state dict; `"averaged"`, `"last"`, or
      `"only"` where nothing says which these are).

    Raises:
      UserError: it has others than are asked for.
    """
    wanted, other = ("state_dict_ema", "state_dict") if ema else ("state_dict", "state_dict_ema")
    keys, is_named_ema = list_keys(path), _NAMED_EMA.search(pathlib.Path(path).name)
    if wanted in keys:
        is_last = wanted == "state_dict" and not (is_named_ema and other not in keys)
        return wanted, "last" if is_last else "averaged"
    if other not in keys:
        return None, "averaged" if is_named_ema else "only"
    if ema and is_named_ema:
        return other, "averaged"
    raise UserError(
        f"'{path}' has no {wanted!r}, only {other!r}: pass ema={not ema} "
        f"(--{'no' if ema else ''}ema of `convert`) to take that."
    )


def read_parameters(path, ema=True):
    """Reads the network's parameters from a checkpoint.

    Optimizer and scheduler are skipped, not loaded.

    Args:
      path: str or `os.PathLike`.
      ema: bool, take the averaged weights (`state_dict_ema`) and not the last (`state_dict`); a
        file with `ema` in its name has no others.

    Returns:
      dict of parameter names of the reference or of OpenTAD, without what all of them begin with
      (`module.`), to arrays.

    Raises:
      UserError: the file is damaged, would execute something, or holds no such weights.
    """
    key, _ = which_weights(path, ema)
    parameters = read_torch_file(path) if key is None else read_torch_file(path, keys=(key,))[key]
    names = list(parameters) if isinstance(parameters, dict) else []
    first = next((name for name in names if str(name).endswith(_FIRST_PARAMETERS)), None)
    if first is None:
        keys = list_keys(path)
        held = ", ".join(map(repr, keys[:5]))
        raise UserError(
            f"'{path}' does not hold the weights of an ActionFormer: no parameter is called "
            f"{' or '.join(map(repr, _FIRST_PARAMETERS))} (it holds {held}"
            f"{', ...' if len(keys) > 5 else ''})."
        )
    prefix = first.removesuffix(next(x for x in _FIRST_PARAMETERS if first.endswith(x)))
    for name in names:
        if not str(name).startswith(prefix):
            raise UserError(f"'{path}': parameter {name!r} does not start with {prefix!r}.")
    parameters = {name[len(prefix) :]: value for name, value in parameters.items()}
    for name in _BUFFERS:
        parameters.pop(name, None)
    for name, value in parameters.items():
        if not (isinstance(value, np.ndarray) and value.dtype.kind == "f"):
            raise UserError(f"'{path}': parameter {name!r} is no tensor of real numbers.")
        with np.errstate(over="ignore"):
            if not np.isfinite(value.astype("float32")).all():
                raise UserError(f"'{path}': parameter {name!r} is NaN or infinite somewhere.")
    return parameters


# === Parameters ===

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


def reference_name(path):
    """The reference's parameter name for a variable's path, e.g. `backbone/embd_0/kernel`."""
    name = path
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    layer, _, parameter = name.rpartition(".")
    return f"{layer}.conv.{parameter}" if _CONVOLUTION.search(layer) else name


def from_reference(variable, parameters, name_of=reference_name):
    """Value of one of our variables from the reference's parameters.

    Args:
      variable: Keras variable of an `ActionFormer`.
      parameters: dict of the reference's parameter name to array.
      name_of: function from a variable's path to the parameter's name.

    Returns:
      (array of the variable's shape, names of the parameters it came from).

    Raises:
      UserError: a parameter is missing or has another shape.
    """
    name = name_of(variable.path)
    if variable.path == "heads/scale":  # one number a level there, one vector here
        names = [name_of(f"heads/reg_head/scale_{i}/scale") for i in range(variable.shape[0])]
        values = [_take(parameters, n) for n in names]
        for n, value in zip(names, values, strict=True):
            if value.size != 1:
                raise UserError(f"Parameter {n} has shape {value.shape}, but must be one number.")
        return np.stack([value.reshape(()) for value in values]), names
    given = _take(parameters, name)
    value = _rearranged(given, variable)
    if value is None or tuple(value.shape) != tuple(variable.shape):
        raise UserError(
            f"Parameter {name} has shape {given.shape}, which does not fit {variable.path} of "
            f"shape {tuple(variable.shape)}: the configuration is that of another network."
        )
    return value, [name]


def _rearranged(value, variable):
    """A parameter in the order of a variable's axes, or None where it has too few or many."""
    if not variable.path.endswith("kernel"):
        fits = np.squeeze(value).shape == tuple(n for n in variable.shape if n > 1)
        return value.reshape(variable.shape) if fits else value  # (1, channels, 1) for norms there
    if value.ndim != 3:
        return None
    # (out, in / groups, k) -> (k, in, out), or (k, channels, 1) for a depthwise one.
    depthwise = len(variable.shape) == 3 and variable.shape[2] == 1 and value.shape[1] == 1
    value = value.transpose(2, 0, 1) if depthwise else value.transpose(2, 1, 0)
    # A 1x1 convolution there is a dense layer here.
    return value[0] if len(variable.shape) == 2 and len(value) == 1 else value


def _take(parameters, name):
    if name not in parameters:
        raise UserError(f"Parameter {name} is missing from the checkpoint.")
    return np.asarray(parameters[name])


def load_reference_parameters(model, parameters, name_of=reference_name):
    """Assigns every weight of an `ActionFormer`'s network from the reference's parameters.

    Args:
      model: `ActionFormer`.
      parameters: dict of parameter name to array, all of which must find their place.
      name_of: function from a variable's path to the parameter's name.

    Returns:
      list of (parameter name, its shape, path of the variable it went to), in the order of the
      variables.

    Raises:
      UserError: a parameter is missing, left over or has another shape.
    """
    report = []
    for variable in model.network_weights:
        value, names = from_reference(variable, parameters, name_of)
        variable.assign(value)
        report += [(name, np.shape(parameters[name]), variable.path) for name in names]
    left = sorted(set(parameters) - {name for name, _, _ in report})
    if left:
        raise UserError(
            f"{len(left)} parameters of the checkpoint have no place in the model, first {left[0]} "
            f"of shape {np.shape(parameters[left[0]])}."
        )
    return report
