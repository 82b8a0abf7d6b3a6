"""Presets: a model with all that its use needs, in a folder, on a hub, or built in by name.

A preset folder holds

  config.json        the architecture: arguments of `ActionFormer`
  metadata.json      class names, timing, encoder of the features, post-processing, where it comes
                     from, its scores, versions
  model.weights.h5   one data set a variable, named by the variable's path
  README.md          the card: what it is, in words; and pictures/, where some were given
"""

import collections
import dataclasses
import pathlib
import posixpath
import shutil

import keras
import numpy as np
from absl import logging

import keras_actionformer
from keras_actionformer import remote
from keras_actionformer.checks import check_keywords
from keras_actionformer.errors import UserError, suggest
from keras_actionformer.files import atomic_folder, atomic_path, restore_folder, write_json
from keras_actionformer.network.architecture import Architecture
from keras_actionformer.presets.builtin import (
    ARCHITECTURES,
    built_in_arguments,
    bundled_folders,
    list_presets,
)
from keras_actionformer.presets.card import CARD, PICTURES, card_text, check_pictures
from keras_actionformer.presets.checkpoints import open_checkpoint
from keras_actionformer.presets.fetching import fetched, saved_to
from keras_actionformer.presets.folder import (
    CONFIG,
    METADATA,
    WEIGHTS,
    check_target,
    read_part,
    to_json,
)
from keras_actionformer.presets.hub import download
from keras_actionformer.presets.reference import experiment_checkpoint
from keras_actionformer.presets.runs import MODELS, load_model, model_path, run_scores
from keras_actionformer.presets.weights import (
    copy_weights,
    load_weights,
    save_weights,
    transfer_weights,
)

# Arguments of `ActionFormer` that belong to the data or the weights, not to the architecture.
_METADATA_ARGUMENTS = ("class_names", "grid", "postprocess", "thresholds", "encoder")
_PROVENANCE = ("feature_encoder", "licence", "source")
_RESULT = ("description", "scores")  # of these weights alone


# === Loading ===


def from_preset(cls, preset, num_classes, load_weights, ema, config, overrides):
    """`ActionFormer.from_preset`, which documents it.

    Args:
      cls: `ActionFormer`.
      others: as there; `overrides` is a dict.
    """
    check_keywords(cls, overrides.keys() - {"dtype", "name"}, "The call of from_preset")
    with fetched(preset) as place:
        try:
            opened = _open(cls, str(place), load_weights, ema, config)
        except OSError as error:
            raise UserError(f"{str(preset)[:200]!r} cannot be read ({error.strerror}).") from None
        return _model(cls, opened, num_classes, load_weights, overrides)


def _model(cls, opened, num_classes, load_weights, overrides):
    """The `ActionFormer` of a preset that was found; the others as for `from_preset`."""
    changes = _other_data(num_classes, overrides)
    arguments = dict(opened.arguments)
    if not load_weights:
        arguments["thresholds"] = None
    for name, value in overrides.items():
        if name not in changes:
            both = isinstance(value, dict) and isinstance(arguments.get(name), dict)
            arguments[name] = {**arguments[name], **value} if both else value
    if not load_weights:
        model = cls(**{**arguments, **changes})
    else:
        model = cls(**arguments)
        opened.assign(model)
        if changes:
            trained, model = model, cls(**{**arguments, **changes})
            transfer_weights(trained, model, same_classes=num_classes is None)
            model.positives_average.value.assign(trained.positives_average.value)
    left_out = () if load_weights and not changes else _RESULT
    if "input_dim" in changes:
        left_out = (*left_out, "feature_encoder")
    model.provenance = {k: v for k, v in opened.provenance.items() if k not in left_out}
    return model


def _other_data(num_classes, overrides):
    """The arguments of `ActionFormer` for features or classes that the preset's weights are not of.

    Args: as for `from_preset`.
    """
    changes = {}
    if "input_dim" in overrides:
        changes = {k: v for k, v in overrides.items() if k in ("input_dim", "embd_dim")}
        changes["encoder"] = overrides.get("encoder")  # the preset's is of other features
    if "input_dim" in overrides or num_classes is not None:
        changes["thresholds"] = overrides.get("thresholds")
    if num_classes is None:
        return changes
    names = overrides.get("class_names", ())
    if isinstance(num_classes, (list, tuple)):
        if names:
            raise UserError("Give class names once: as num_classes or as class_names.")
        num_classes, names = len(num_classes), num_classes
    empty = overrides.get("head_empty_cls", ())
    return {**changes, "num_classes": num_classes, "class_names": names, "head_empty_cls": empty}


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


def _open(cls, preset, load_weights, ema, config):
    """Finds a preset by what `from_preset` is given."""
    if preset in ARCHITECTURES:
        if load_weights:
            raise UserError(_where_weights_are(preset))
        encoder = ARCHITECTURES[preset].feature_encoder
        return _Opened(built_in_arguments(preset), None, {"feature_encoder": encoder})
    if preset in bundled_folders():
        return _open_folder(bundled_folders()[preset])
    if preset.startswith("hf://"):
        path = download(preset)
        return _open_folder(path) if path.is_dir() else _open_checkpoint(path, ema, config)
    path = pathlib.Path(preset).expanduser()
    restore_folder(path)
    if (path / METADATA).exists() or (path / WEIGHTS).exists():
        return _open_folder(path)
    if (path / MODELS["average"]).exists():
        return _open_run(cls, path)
    if path.is_file() and path.name in (CONFIG, METADATA, WEIGHTS, *MODELS.values()):
        raise UserError(f"'{preset}' is a part: name its folder, '{path.parent}'.")
    if path.is_file() or (path.is_dir() and experiment_checkpoint(path)):
        return _open_checkpoint(path, ema, config)
    if path.exists():
        raise UserError(
            f"'{preset}' holds neither a preset ({METADATA}), nor a training run "
            f"({MODELS['average']}), nor a checkpoint of the reference (*.pth.tar) or "
            "of OpenTAD (*.pth), or several that are not named epoch_*."
        )
    names = list_presets()
    raise UserError(
        f"There is no preset {preset!r}: it is neither a built-in name ({', '.join(names)}), nor "
        f"a file or folder here, nor hf://ORGANIZATION/NAME{suggest(preset, names) or '.'}"
    )


def _where_weights_are(name):
    archive = ARCHITECTURES[name].archive
    if ARCHITECTURES[name].is_opentad:
        checkpoint = "epoch_N.pth"
        get = (
            "get the checkpoint by the links in configs/actionformer/README.md of "
            "github.com/sming256/OpenTAD (no MD5 is published)"
        )
    else:
        checkpoint = f"PATH/{archive}"
        get = (
            f"get the archive of '{archive}' by the links in the README of "
            "github.com/happyharrycn/actionformer_release (its authors publish no MD5 for it) and "
            "unpack it"
        )
    return (
        f"The weights of {name!r} are not part of this package: {get}.\n"
        f"Then `keras-actionformer convert --checkpoint={checkpoint} --config={name} "
        f"--output=presets/{name}` makes a preset of it. (In Python, ActionFormer.from_preset("
        f"'{checkpoint}', config={name!r}) opens it, and load_weights=False gives the architecture "
        "with fresh weights.)"
    )


def _open_folder(folder):
    """Opens a preset folder."""
    config, metadata = read_part(folder / CONFIG), read_part(folder / METADATA)
    check_keywords(Architecture, config, f"'{folder / CONFIG}'", "ActionFormer")
    for key in ("input_dim", "num_classes"):
        if key not in config:
            raise UserError(f"'{folder / CONFIG}' has no {key!r}.")
    return _Opened(
        {**config, **{key: metadata.get(key) for key in _METADATA_ARGUMENTS}},
        lambda model: load_weights(model, folder, metadata.get("weights_sha256")),
        {key: metadata[key] for key in (*_PROVENANCE, *_RESULT) if key in metadata},
    )


def _open_run(cls, folder):
    """Opens the folder of one of our training runs."""
    trained = load_model(folder, cls)
    arguments = trained.get_config()
    arguments.pop("name")
    return _Opened(
        arguments, lambda model: copy_weights(trained, model), {"scores": run_scores(folder)}
    )


def _open_checkpoint(path, ema, config):
    """Opens a checkpoint of another program, or an experiment's folder."""
    checkpoint = open_checkpoint(path, ema, config)
    logging.info("Taken: %s.", checkpoint.source)
    return _Opened(checkpoint.arguments, checkpoint.load, {"source": checkpoint.source})


# === Saving ===


def model_metadata(model):
    """What a model knows of itself besides its architecture: a dict that JSON can hold."""
    return {
        "num_parameters": sum(int(np.prod(v.shape)) for v in model.network_weights),
        "class_names": list(model.class_names),
        "grid": model.grid and dataclasses.asdict(model.grid),
        "postprocess": dataclasses.asdict(model.postprocess),
        **_thresholds(model),
        "encoder": model.encoder,
        **dict.fromkeys(_PROVENANCE, ""),
        **model.provenance,
    }


def save_to_preset(model, folder, description, provenance, scores, pictures):
    """`ActionFormer.save_to_preset`, which documents it; `provenance` is what its caller gave."""
    if remote.is_address(folder) and not folder.startswith("hf://"):
        address = folder.rstrip("/")
        with saved_to(address, posixpath.basename(address)) as local:
            save_to_preset(model, local, description, provenance, scores, pictures)
        return
    folder, pictures = check_target(folder), check_pictures(pictures)
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
    texts = {CONFIG: to_json(model.config), METADATA: to_json(metadata)}  # or tell, before work
    names = [path.name for path in pictures]
    card = card_text(folder.name, model.architecture, metadata, names)
    with atomic_folder(folder) as temporary:
        sha256 = save_weights(model, temporary)
        texts[METADATA] = to_json({**metadata, "weights_sha256": sha256})
        for name, text in texts.items():
            (temporary / name).write_text(text + "\n", encoding="utf-8")
        (temporary / CARD).write_text(card, encoding="utf-8")
        for path in pictures:
            (temporary / PICTURES).mkdir(exist_ok=True)
            shutil.copyfile(path, temporary / PICTURES / path.name)


# === Thresholds ===


def thresholds_file(preset):
    """The file that keeps the thresholds of a preset, or of a run.

    Args:
      preset: str or path, what `from_preset` opens.

    Returns:
      `pathlib.Path`.

    Raises:
      UserError: it is none in a folder here, so that its files are not to be changed.
    """
    folder = pathlib.Path(preset).expanduser()
    is_known = str(preset) in bundled_folders() or str(preset) in ARCHITECTURES
    if not is_known and (folder / METADATA).is_file():
        return folder / METADATA
    if not is_known and (folder / MODELS["average"]).is_file():
        return model_path(folder)
    raise UserError(
        f"'{preset}' is no folder of a preset or of a run, whose files could keep thresholds: save "
        f"it to one with ActionFormer.from_preset('{preset}').save_to_preset('FOLDER'), and tune "
        "that."
    )


def store_thresholds(model, path):
    """Writes the thresholds of a model to the file that it was opened from, in one step.

    Args:
      model: `ActionFormer`.
      path: `pathlib.Path`, what `thresholds_file` returns: of a preset its metadata, in which all
        else stays as it is; of a run a `.keras` file.
    """
    if path.name == METADATA:
        write_json(path, {**read_part(path), **_thresholds(model)}, indent=2)
        return
    with atomic_path(path) as temporary:
        model.save(temporary)


def _thresholds(model):
    if model.thresholds is None:
        return {"thresholds": None}
    fields = dataclasses.asdict(model.thresholds)
    return {"thresholds": {**fields, "per_class": list(fields["per_class"])}}  # as JSON has it
