"""Presets: a model with all that its use needs, in a folder, on a hub, or built in by name.

A preset folder holds

  config.json        the architecture: arguments of `ActionFormer`
  metadata.json      class names, timing, post-processing, where it comes from, its scores, versions
  model.weights.h5   one data set a variable, named by the variable's path

The weights are named by variable and not by Keras' own layout of layers, so that a file outlives a
change of the layers' order, and what is missing can be named.
"""

import collections
import dataclasses
import fnmatch
import hashlib
import json
import os
import pathlib

import keras
import numpy as np

import keras_actionformer
from keras_actionformer.arguments import check_keywords
from keras_actionformer.data.torch_files import list_keys
from keras_actionformer.errors import UserError, suggest
from keras_actionformer.extras import import_extra
from keras_actionformer.files import atomic_folder, restore_folder
from keras_actionformer.model import ActionFormer
from keras_actionformer.presets import reference
from keras_actionformer.presets.builtin import ARCHITECTURES

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_RUN_MODEL = "model.keras"  # what a training folder holds
# Arguments of `ActionFormer` that belong to the data, not to the architecture.
_METADATA_ARGUMENTS = ("class_names", "grid", "postprocess")
_PROVENANCE = ("feature_encoder", "licence", "source")
_RESULT = ("description", "scores")  # of these weights alone


def list_presets(pattern="*"):
    """Lists the built-in presets.

    Args:
      pattern: str with the wildcards `*` and `?`, e.g. `"thumos*"`.

    Returns:
      dict of name to a dict of `description`, `num_parameters`, `scores` (published or measured
      mAP in percent by tIoU) and `has_weights`: whether the weights come with this package.
    """
    presets = {
        name: {
            "description": architecture.description,
            "num_parameters": architecture.num_parameters,
            "scores": architecture.scores,
            "has_weights": False,
        }
        for name, architecture in ARCHITECTURES.items()
    }
    for name, folder in _bundled().items():
        metadata = _read_json(folder / METADATA)
        presets[name] = {
            **{key: metadata[key] for key in ("description", "num_parameters", "scores")},
            "has_weights": True,
        }
    return {name: presets[name] for name in sorted(presets) if fnmatch.fnmatch(name, pattern)}


def _bundled():
    """Folders of the presets that come with their weights, by name."""
    folder = pathlib.Path(__file__).parent / "bundled"
    return {path.parent.name: path.parent for path in folder.glob(f"*/{CONFIG}")}


# === Loading ===


def from_preset(cls, preset, num_classes, load_weights, ema, config, overrides):
    """`ActionFormer.from_preset`, which documents it.

    Args:
      cls: `ActionFormer`.
      others: as there; `overrides` is a dict.
    """
    check_keywords(cls, overrides.keys() - {"dtype", "name"}, "The call of from_preset")
    try:
        opened = _open(str(preset), load_weights, ema, config)
    except OSError as error:
        raise UserError(f"{str(preset)[:200]!r} cannot be read ({error.strerror}).") from None
    arguments = dict(opened.arguments)
    for name, value in overrides.items():
        both = isinstance(value, dict) and isinstance(arguments.get(name), dict)
        arguments[name] = {**arguments[name], **value} if both else value
    model = cls(**arguments)
    if load_weights:
        opened.assign(model)
    if num_classes is not None:
        names = num_classes if isinstance(num_classes, (list, tuple)) else []
        count = len(names) if isinstance(num_classes, (list, tuple)) else num_classes
        arguments.update(num_classes=count, class_names=names, head_empty_cls=[])
        trained, model = model, cls(**arguments)
        _copy_weights(trained, model, but="heads/cls_head/out/")
    model.provenance = dict(opened.provenance)
    if not load_weights or num_classes is not None:
        model.provenance = {k: v for k, v in model.provenance.items() if k not in _RESULT}
    return model


@dataclasses.dataclass(frozen=True)
class _Opened:
    """A preset that was found.

    Attributes:
      arguments: dict, of `ActionFormer`.
      assign: function that gives a model the weights, or None where there are none.
      provenance: dict, what `ActionFormer.provenance` is to be.
    """

    arguments: dict
    assign: collections.abc.Callable | None
    provenance: dict = dataclasses.field(default_factory=dict)


def _open(preset, load_weights, ema, config):
    """Finds a preset by what `from_preset` is given."""
    if preset in ARCHITECTURES:
        if load_weights:
            raise UserError(_where_weights_are(preset))
        encoder = ARCHITECTURES[preset].feature_encoder
        return _Opened(_built_in_arguments(preset), None, {"feature_encoder": encoder})
    if preset in _bundled():
        return _open_folder(_bundled()[preset])
    if preset.startswith("hf://"):
        return _open_folder(_download(preset))
    path = pathlib.Path(preset).expanduser()
    restore_folder(path)
    if (path / METADATA).exists() or (path / WEIGHTS).exists():
        return _open_folder(path)
    if (path / _RUN_MODEL).exists():
        return _open_run(path)
    if path.is_file() and path.name in (CONFIG, METADATA, WEIGHTS, _RUN_MODEL):
        raise UserError(f"'{preset}' is a part: name its folder, '{path.parent}'.")
    if path.is_file() or (path.is_dir() and reference.experiment_checkpoints(path)):
        return _open_checkpoint(path, ema, config)
    if path.exists():
        raise UserError(
            f"'{preset}' holds neither a preset ({METADATA}), nor a training run ({_RUN_MODEL}), "
            "nor a checkpoint of the reference (epoch_*.pth.tar)."
        )
    names = list_presets()
    raise UserError(
        f"There is no preset {preset!r}: it is neither a built-in name ({', '.join(names)}), nor "
        f"a file or folder here, nor hf://ORGANIZATION/NAME{suggest(preset, names) or '.'}"
    )


def _where_weights_are(name):
    archive = ARCHITECTURES[name].archive
    return (
        f"The weights of {name!r} are not part of this package: get the archive of '{archive}' by "
        "the links in the README of github.com/happyharrycn/actionformer_release (its authors "
        "publish no MD5 for it) and unpack it.\n"
        f"Then open it with ActionFormer.from_preset('PATH/{archive}', "
        f"config={name!r}); load_weights=False gives the architecture with fresh weights."
    )


def _built_in_arguments(name):
    built_in = ARCHITECTURES[name]
    return {
        **built_in.model,
        **{key: getattr(built_in, key) for key in _METADATA_ARGUMENTS},
    }


def _open_folder(folder):
    """Opens a preset folder."""
    config, metadata = _read_json(folder / CONFIG), _read_json(folder / METADATA)
    check_keywords(ActionFormer, config, f"'{folder / CONFIG}'")
    for key in ("input_dim", "num_classes"):
        if key not in config:
            raise UserError(f"'{folder / CONFIG}' has no {key!r}.")
    return _Opened(
        {**config, **{key: metadata.get(key) for key in _METADATA_ARGUMENTS}},
        lambda model: _load_weights(model, folder, metadata.get("weights_sha256")),
        {key: metadata[key] for key in (*_PROVENANCE, *_RESULT) if key in metadata},
    )


def _open_run(folder):
    """Opens the folder of one of our training runs."""
    from keras_actionformer.training.trainer import load_model

    trained = load_model(folder)
    arguments = trained.get_config()
    arguments.pop("name")
    return _Opened(
        arguments, lambda model: _copy_weights(trained, model), {"scores": _run_scores(folder)}
    )


def _run_scores(folder):
    """mAP in percent by tIoU, where the run was evaluated."""
    path = folder / "evaluation.json"
    if not path.is_file():
        return {}
    result = _read_json(path)
    by_tiou = zip(result["tiou_thresholds"], result["mean_ap"], strict=True)
    percent = {f"{tiou:g}": round(100 * mean_ap, 2) for tiou, mean_ap in by_tiou}
    return {**percent, "average": round(100 * result["average_mean_ap"], 2)}


def _open_checkpoint(path, ema, config):
    """Opens a checkpoint of the reference, or an experiment's folder."""
    checkpoint, config_path = reference.find_checkpoint(path)
    list_keys(checkpoint)  # or tells that this is another kind of file, before anything else
    if config is not None and str(config) in ARCHITECTURES:
        arguments = _built_in_arguments(str(config))
    elif config or config_path:
        arguments = reference.model_arguments(
            reference.read_reference_config(config or config_path)
        )
    else:
        raise UserError(
            f"'{checkpoint}' does not say what network it is for: put the config.txt or YAML of "
            "its training beside it, or pass config= (bin/convert --config=) with that file or a "
            "built-in name."
        )
    return _Opened(
        arguments,
        lambda model: reference.load_reference_parameters(
            model, reference.read_parameters(checkpoint, ema)
        ),
        {"source": checkpoint.name},
    )


def _download(address):
    """Gets a preset from the Hugging Face hub, or from its cache; returns the folder."""
    huggingface_hub = import_extra("huggingface_hub", "huggingface_hub", "hub", address)
    name, _, revision = address.removeprefix("hf://").partition("@")
    try:
        folder = huggingface_hub.snapshot_download(
            name, revision=revision or None, allow_patterns=[CONFIG, METADATA, WEIGHTS]
        )
    # Its errors have many classes: no network, no such name, a private one, a full disk.
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{address} cannot be downloaded: {reason}") from error
    return pathlib.Path(folder)


def _read_json(path):
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"'{path}' does not exist: the preset is not complete.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"'{path}' is damaged ({error}): get the preset again.") from None
    if not isinstance(content, dict):
        raise UserError(f"'{path}' must hold a JSON object, but holds a {type(content).__name__}.")
    return content


# === Weights ===


def _variables(model):
    """Variables of a preset by path: those of the network, and the loss normalizer."""
    return {v.path: v for v in model.weights}


def _load_weights(model, folder, sha256):
    import h5py

    path = folder / WEIGHTS
    if not path.exists():
        raise UserError(f"'{path}' does not exist; load_weights=False does without it.")
    variables = _variables(model)
    try:
        with h5py.File(path, "r") as file:
            _check_weights(path, file, variables)
            if sha256 != _sha256(path):
                raise UserError(
                    f"'{path}' is not the file that {METADATA} tells of (SHA-256 "
                    f"{_sha256(path)[:12]}... instead of {str(sha256)[:12]}...): get the preset "
                    "again."
                )
            for name, variable in variables.items():
                value = file[name][()]
                _check_finite(value, f"'{path}': weight {name!r}")
                variable.assign(value)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"'{path}' is damaged ({error}): get the preset again.") from None


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


def _copy_weights(source, target, but=None):
    values = _variables(source)
    for path, variable in _variables(target).items():
        if but is None or not path.startswith(but):
            if tuple(values[path].shape) != tuple(variable.shape):
                raise UserError(
                    f"Weight {path!r} has shape {tuple(values[path].shape)}, but "
                    f"{tuple(variable.shape)} is asked for."
                )
            variable.assign(values[path])


# === Saving ===


def model_metadata(model):
    """What a model knows of itself besides its architecture: a dict that JSON can hold."""
    return {
        "num_parameters": sum(int(np.prod(v.shape)) for v in model.network_weights),
        "class_names": list(model.class_names),
        "grid": model.grid and dataclasses.asdict(model.grid),
        "postprocess": dataclasses.asdict(model.postprocess),
        **dict.fromkeys(_PROVENANCE, ""),
        **model.provenance,
    }


def save_to_preset(model, folder, description, provenance, scores):
    """`ActionFormer.save_to_preset`, which documents it; `provenance` is what its caller gave."""
    import h5py

    folder = check_target(folder)
    metadata = {
        **model_metadata(model),
        **provenance,
        "description": description,
        "scores": scores,
        "versions": {
            "keras_actionformer": keras_actionformer.__version__,
            "keras": keras.__version__,
        },
    }
    texts = {CONFIG: _to_json(model.config), METADATA: _to_json(metadata)}  # or tell, before work
    weights = {name: keras.ops.convert_to_numpy(v) for name, v in _variables(model).items()}
    for name, value in weights.items():
        _check_finite(value, f"Weight {name!r}")
    with atomic_folder(folder) as temporary:
        # Groups of the newest form take a fraction of the room of HDF5's default ones.
        with h5py.File(temporary / WEIGHTS, "w", libver="latest") as file:
            for name, value in weights.items():
                file[name] = value
        texts[METADATA] = _to_json({**metadata, "weights_sha256": _sha256(temporary / WEIGHTS)})
        for name, text in texts.items():
            (temporary / name).write_text(text + "\n", encoding="utf-8")


def _to_json(content):
    try:
        # What JSON does not know may be a number of NumPy's.
        return json.dumps(content, indent=2, allow_nan=False, default=float)
    except (TypeError, ValueError) as error:
        raise UserError(f"A preset holds what JSON can hold, but got {error}.") from None


def check_target(folder):
    """Returns the path to save a preset to.

    Args:
      folder: str or path.

    Raises:
      UserError: saving there would take something other than a preset away.
    """
    if str(folder).startswith("hf://"):
        raise UserError(f"{folder} is an address: save to a folder, and upload that.")
    path = pathlib.Path(os.path.realpath(pathlib.Path(folder).expanduser()))
    if pathlib.Path.cwd().is_relative_to(path):
        raise UserError(f"'{folder}' is the current folder, or contains it: name a new one.")
    if path.is_dir():
        others = sorted({item.name for item in path.iterdir()} - {CONFIG, METADATA, WEIGHTS})
        if others:
            raise UserError(
                f"'{folder}' holds other files, such as {others[0]!r}, and would be replaced: "
                "choose a new folder."
            )
    elif path.exists():
        raise UserError(f"'{folder}' is a file: choose a new folder.")
    return path
