"""The folder of a training run: what its files are called, its settings, its model, its scores.

A run's folder holds
  config.json      the settings of the run, and where it was started, seen from its folder;
  checkpoint.npz   everything a run needs to go on, written after each epoch;
  model.keras      the model with averaged weights after the last finished epoch; it may be up to
                   ten seconds older than the checkpoint;
  last.keras       the model with the last weights themselves, once the training is over;
  best.keras       the better of both after the best epoch, where a subset is validated;
  model_epoch_10.keras   averaged weights of an epoch that `train.keep_epochs` names;
  log.csv          losses, learning rate and validation scores, a row an epoch;
  tensorboard/     the same, when TensorBoard is installed;
  evaluation.json, detections.json   results on the evaluation subset;
  report.html        a page about these, where Jinja2 is installed;
  training.lock    which process is training in it, while one is.
Each file appears or changes in one step: whoever reads it never meets half of it.
"""

import csv
import io
import os
import pathlib

from keras_actionformer.checks import check_keywords, shown
from keras_actionformer.detection.thresholds import check_thresholds
from keras_actionformer.errors import UserError, said_of
from keras_actionformer.files import read_text, told_if_unreadable, write_json
from keras_actionformer.presets.folder import read_part

CONFIG, CHECKPOINT, LOG = "config.json", "checkpoint.npz", "log.csv"
MODELS = {"best": "best.keras", "average": "model.keras", "last": "last.keras"}
EVALUATION, DETECTIONS, PAGE = "evaluation.json", "detections.json", "report.html"
_MODEL_CLASS = "keras_actionformer>ActionFormer"  # as Keras has registered it
_ORIGIN = "started_in"  # in the file of settings
_PATHS = (
    ("data", "annotations"),
    ("data", "feats"),
    ("data", "split"),
    ("data", "blocked_videos"),
    ("fusion", "video_scores"),
)


def kept_model(epoch):
    """The file of an epoch's model that `train.keep_epochs` names."""
    return f"model_epoch_{epoch}.keras"


def write_config(workdir, settings):
    """Writes the settings of a run, nested dicts, and the current folder as its paths' origin."""
    try:
        origin = os.path.relpath(os.getcwd(), os.path.realpath(workdir))
    except ValueError:  # another drive of Windows
        origin = os.getcwd()
    write_json(pathlib.Path(workdir) / CONFIG, {**settings, _ORIGIN: origin}, indent=2)


def read_config(workdir, defaults):
    """The settings of a training folder as nested dicts.

    Its relative paths lead from where it was started, if they still lead to something there, also
    if the current folder is another one.

    Args:
      workdir: str or path.
      defaults: nested dict of the settings that did not exist yet when it was written.

    Raises:
      UserError: the folder holds none, or the file is damaged.
    """
    path = pathlib.Path(workdir) / CONFIG
    if not path.exists():
        raise UserError(f"{path} does not exist: {workdir} is no training folder.")
    fix = "restore it, or train again in another --workdir"
    saved = read_part(path, fix)
    with told_if_unreadable(f"'{path}' is damaged", fix):
        settings = _filled(saved, defaults)
        origin = settings.pop(_ORIGIN, None)
        if origin is not None:
            origin = os.path.join(os.path.realpath(workdir), origin)
            if os.path.realpath(origin) != os.getcwd():
                for section, name in _PATHS:
                    settings[section][name] = _from(origin, settings[section][name])
        return settings


def _from(origin, paths):
    """A path, or each of a list, from a folder, if it leads to something there."""
    if isinstance(paths, list):
        return [_from(origin, path) for path in paths]
    path = os.path.normpath(os.path.join(origin, paths))
    return path if paths and os.path.exists(path) else paths


def _filled(saved, defaults):
    """`saved` with the defaults of the settings it lacks."""
    if not isinstance(saved, dict):
        raise ValueError(f"{shown(saved)} stands where sections of settings are expected")
    return {
        **saved,
        **{
            key: _filled(saved.get(key, {}), value) if isinstance(value, dict) else value
            for key, value in defaults.items()
            if key not in saved or isinstance(value, dict)
        },
    }


def load_model(workdir, model_class, weights=None):
    """The model of a training folder.

    Args:
      workdir: str or path.
      model_class: `ActionFormer`.
      weights: str: `"best"` by validation, `"average"` or `"last"`, or the number of an epoch that
        was kept. None: the best where there is one, or the average.

    Raises:
      UserError: the folder has no such model (yet).
    """
    import keras  # Here, so that a run's settings and scores can be read without it.

    from keras_actionformer.containers.keras_files import read_keras_config
    from keras_actionformer.presets.weights import check_finite_weights

    path = model_path(workdir, weights)
    name = keras.saving.get_registered_name(model_class)
    with told_if_unreadable(f"{path} is damaged", "train with --resume, which writes it again"):
        arguments = read_keras_config(path, name)
        arguments.pop("frozen", None)  # in its training; what becomes of the model is another thing
    check_keywords(model_class, arguments.keys() - {"name"}, f"{path}")
    with told_if_unreadable(f"{path} is damaged", "train with --resume, which writes it again"):
        model = _built(path, model_class, arguments)
        model.load_weights(path)
    check_finite_weights(model, path)
    return model


def _built(path, model_class, arguments):
    with said_of(path):
        return model_class(**arguments)


def model_path(workdir, weights=None):
    """The file that `load_model` opens; it documents arguments and errors."""
    workdir = pathlib.Path(workdir)
    if weights is None:
        best = workdir / MODELS["best"]
        path = best if best.exists() else workdir / MODELS["average"]
        if path.exists():
            return path
        raise UserError(
            f"{path} does not exist: {workdir} is no training folder, or no epoch is finished yet."
        )
    path = workdir / (MODELS.get(weights) or kept_model(weights))
    if path.exists():
        return path
    kept = sorted(workdir.glob(kept_model("*")))
    found = [key for key, name in MODELS.items() if (workdir / name).exists()]
    found += [item.stem.rpartition("_")[2] for item in kept]
    raise UserError(
        f"{path} does not exist: {workdir} has the weights {', '.join(found) or '(none)'}. The "
        "best are those of data.val_subset, the last are written when the training is over, and "
        "an epoch's when train.keep_epochs names it."
    )


def run_thresholds(workdir):
    """The `Thresholds` that the model of a training folder recommends, or None; without Keras.

    Args:
      workdir: str or path.

    Raises:
      UserError: the folder has no model (yet), or it is damaged.
    """
    from keras_actionformer.containers.keras_files import read_keras_config

    path = model_path(workdir)
    with told_if_unreadable(f"{path} is damaged", "train with --resume, which writes it again"):
        arguments = read_keras_config(path, _MODEL_CLASS)
        return check_thresholds(arguments.get("thresholds"), arguments["num_classes"])


def run_scores(workdir):
    """mAP in percent by tIoU, and their average; empty where the run was not evaluated.

    Args:
      workdir: `pathlib.Path`.
    """
    path = workdir / EVALUATION
    return read_scores(path) if path.is_file() else {}


def read_scores(path):
    """`run_scores` of a file of scores.

    Args:
      path: `pathlib.Path`.

    Raises:
      UserError: it does not exist, is damaged, or holds something else.
    """
    result = read_part(path, fix="evaluate the run again")
    with told_if_unreadable(f"'{path}' is damaged", "evaluate the run again"):
        by_tiou = zip(result["tiou_thresholds"], result["mean_ap"], strict=True)
        percent = {f"{tiou:g}": round(100 * mean_ap, 2) for tiou, mean_ap in by_tiou}
        return {**percent, "average": round(100 * result["average_mean_ap"], 2)}


def read_log(workdir):
    """The log of a run: a dict of numbers an epoch, without what an epoch has no number for.

    Args:
      workdir: str or path.

    Raises:
      UserError: the folder has none (yet), or the file is damaged.
    """
    path = pathlib.Path(workdir) / LOG
    text = read_text(path, "Log")
    with told_if_unreadable(f"'{path}' is damaged", "train with --resume, which writes it again"):
        rows = csv.DictReader(io.StringIO(text, newline=""))
        return [{name: float(cell) for name, cell in row.items() if cell} for row in rows]
