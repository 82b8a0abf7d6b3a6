"""A training run: data, model, `fit`, a working folder that survives being killed.

A working folder holds
  config.json      the settings of the run;
  checkpoint.npz   everything a run needs to go on, written after each epoch;
  model.keras      the model with averaged weights after the last finished epoch; it may be up to
                   ten seconds older than the checkpoint;
  log.csv          losses and learning rate, a row an epoch;
  tensorboard/     the same, when TensorBoard is installed;
  evaluation.json, detections.json   results on the evaluation subset.
Each file appears or changes in one step: whoever reads it never meets half of it.
"""

import csv
import importlib.util
import json
import math
import pathlib
import re
import sys
import time
import zipfile
import zlib

import keras
import numpy as np

from keras_actionformer.errors import UserError
from keras_actionformer.files import atomic_path, atomic_write, remove_leftovers
from keras_actionformer.model import ActionFormer
from keras_actionformer.network.padding import inference_padding
from keras_actionformer.training import experiment
from keras_actionformer.training.config import (
    check_config,
    default_config,
    first_difference,
    to_plain,
)

CONFIG, CHECKPOINT, MODEL, LOG = "config.json", "checkpoint.npz", "model.keras", "log.csv"
# Keras takes half a second to write a small model, which would be a tenth of a short epoch.
_MODEL_EVERY_SEC = 10.0


def train(config, workdir, resume=False, before_fit=None):
    """Trains a model, or goes on where an interrupted training stopped.

    A run that was stopped, at any moment and by whatever means, and then resumed ends with the
    weights, bit for bit, of one that never stopped.

    Args:
      config: `ConfigDict`, see `default_config`.
      workdir: str or path, folder of the run; created when missing.
      resume: bool, go on from the folder's checkpoint where there is one.
      before_fit: function without arguments, called once the training data is found to be right
        and before anything is written, for checks of what comes after the training; or None.

    Returns:
      `ActionFormer` with averaged weights.

    Raises:
      UserError: the settings, the data or the folder do not fit; nothing was written then.
    """
    workdir = pathlib.Path(workdir)
    check_config(config)
    _check_workdir(config, workdir, resume)
    # === Data ===
    annotations = experiment.read_annotations(config)
    features = experiment.feature_files(config)
    videos = experiment.present_videos(
        config, annotations.subset(config.data.train_subset), features
    )
    steps_per_epoch = experiment.count_batches(config, videos, features)
    experiment.check_levels(config, videos)
    num_epochs = config.train.warmup_epochs + config.train.epochs
    # === Model ===
    keras.utils.set_random_seed(config.seed)
    model = experiment.build_model(config, annotations)
    model.recompute = config.train.recompute
    model.compile(
        experiment.make_optimizer(config, steps_per_epoch),
        jit_compile={"on": True, "off": False, "auto": "auto"}[config.train.jit_compile],
    )
    remove_leftovers(workdir)
    run = _Run(model, workdir)
    first_epoch = run.restore() if resume and (workdir / CHECKPOINT).exists() else 0
    if first_epoch == num_epochs:
        print(f"{workdir}: all {num_epochs} epochs are done already.")
        return load_model(workdir)
    # === Fit ===
    # A compiled step has one shape; any other computes no more than the batch needs.
    padded_steps = None if model.jit_compile else inference_padding(model.config).padded_steps
    stream = experiment.training_stream(
        config, videos, features, num_epochs, first_epoch, padded_steps
    )
    if before_fit is not None:
        before_fit()
    with atomic_write(workdir / CONFIG) as file:
        json.dump(to_plain(config), file, indent=2)
    callbacks = [run, _DeadOutputWarning()]
    if importlib.util.find_spec("tensorboard"):
        callbacks.append(keras.callbacks.TensorBoard(workdir / "tensorboard", write_graph=False))
    model.fit(
        stream,
        epochs=num_epochs,
        initial_epoch=first_epoch,
        steps_per_epoch=steps_per_epoch,
        shuffle=False,  # the stream has its order already
        callbacks=callbacks,
        verbose=verbosity(),
    )
    return load_model(workdir)


def _check_workdir(config, workdir, resume):
    """Raises UserError where the folder belongs to another run, or to this one unasked."""
    if not (workdir / CHECKPOINT).exists():
        return
    if not resume:
        raise UserError(
            f"{workdir} already holds a training run: pass --resume to go on with it, or another "
            "--workdir."
        )
    different = first_difference(read_config(workdir), to_plain(config))
    if different:
        name, old, new = different
        raise UserError(
            f"{workdir} was trained with {name}={old!r}, but the configuration now says {new!r}: "
            "use the settings it was started with, or another --workdir."
        )


def read_config(workdir):
    """The settings of a training folder as nested dicts.

    Settings that did not exist yet when it was written have their defaults.

    Raises:
      UserError: the folder holds none, or the file is damaged.
    """
    path = pathlib.Path(workdir) / CONFIG
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        return _filled(saved, to_plain(default_config()))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: {workdir} is no training folder.") from None
    except ValueError as error:
        raise UserError(
            f"{path} is damaged ({error}): restore it, or train again in another --workdir."
        ) from None


def _filled(saved, defaults):
    """`saved` with the defaults of the settings it lacks."""
    if not isinstance(saved, dict):
        raise ValueError(f"{saved!r} stands where sections of settings are expected")
    return {
        **saved,
        **{
            key: _filled(saved.get(key, {}), value) if isinstance(value, dict) else value
            for key, value in defaults.items()
            if key not in saved or isinstance(value, dict)
        },
    }


class _Run(keras.callbacks.Callback):
    """Writes checkpoint, averaged model and log after every epoch, and reads them back."""

    def __init__(self, model, workdir):
        super().__init__()
        self._workdir = workdir
        self._rows = []
        self._model_written = -math.inf
        # A second model to write, so that the one in training is never touched.
        self._averaged = ActionFormer.from_config(model.get_config())
        self.set_model(model)

    def _state(self):
        """Every variable of the training by a unique name, random generators included."""
        # Keras numbers random generators and optimizers through the process: not in a name.
        model = [(re.sub(r"(seed_generator)_\d+", r"\1", v.path), v) for v in self.model.variables]
        optimizer = [(v.name, v) for v in self.model.optimizer.variables]
        return {f"{i:04d} {name}": v for i, (name, v) in enumerate(model + optimizer)}

    def restore(self):
        """Loads the checkpoint; returns the number of finished epochs."""
        path = self._workdir / CHECKPOINT
        try:
            with np.load(path, allow_pickle=False) as file:
                saved = {name: file[name] for name in file.files}
            self._rows = json.loads(str(saved.pop("log")))
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise UserError(
                f"{path} is damaged ({error}): restore it, or train again in another --workdir."
            ) from None
        for name, variable in self._state().items():
            if name not in saved or saved[name].shape != tuple(variable.shape):
                raise UserError(
                    f"{path} does not fit this model: {name} is missing or has another shape. "
                    "Was it written by another version? Use another --workdir."
                )
            variable.assign(saved[name])
        # The run may have been killed after the checkpoint and before what follows from it.
        self._write_model()
        self._write_log()
        return len(self._rows)

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        if not np.isfinite(logs["loss"]):
            raise UserError(
                f"The loss was {logs['loss']} in epoch {epoch + 1}: the training diverged. What "
                f"{self._workdir} holds is from before. Lower train.learning_rate or set "
                "train.clip_norm, and use another --workdir."
            )
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in logs.items()}}
        row["learning_rate"] = float(self.model.optimizer.learning_rate)
        row["seconds"] = round(time.perf_counter() - self._start, 2)
        self._rows.append(row)
        state = {k: keras.ops.convert_to_numpy(v) for k, v in self._state().items()}
        # The checkpoint comes first: everything else can be made from it.
        with atomic_write(self._workdir / CHECKPOINT, "wb") as file:
            np.savez(file, log=json.dumps(self._rows), **state)
        is_last = epoch + 1 == self.params["epochs"]
        if is_last or time.monotonic() - self._model_written > _MODEL_EVERY_SEC:
            self._write_model()
        self._write_log()

    def _write_model(self):
        averages = self.model.optimizer.averages()
        for variable, average in zip(self._averaged.trainable_variables, averages, strict=True):
            variable.assign(average)
        self._averaged.positives_average.value.assign(self.model.positives_average.value)
        with atomic_path(self._workdir / MODEL) as path:
            self._averaged.save(path)
        self._model_written = time.monotonic()

    def _write_log(self):
        with atomic_write(self._workdir / LOG) as file:
            writer = csv.DictWriter(file, fieldnames=list(self._rows[-1]))
            writer.writeheader()
            writer.writerows(self._rows)


class _DeadOutputWarning(keras.callbacks.Callback):
    """Says so when one end of every segment has been at its point for a whole epoch.

    The offsets end in a ReLU: where it is closed at every point nothing opens it again, and the
    training goes on with half of each segment missing.
    """

    def __init__(self):
        super().__init__()
        self._said = set()

    def on_epoch_end(self, epoch, logs=None):
        for end in ("start", "end"):
            if logs[f"zero_{end}s"] > 0.999 and end not in self._said:
                self._said.add(end)
                print(
                    f"Warning: the offset to the {end} of an action was 0 at every point in epoch "
                    f"{epoch + 1}: this regression output is dead and will not learn. Train again "
                    "with another seed or a lower train.learning_rate.",
                    file=sys.stderr,
                )


def load_model(workdir):
    """The model of a training folder, with averaged weights.

    Raises:
      UserError: the folder has no model (yet).
    """
    path = pathlib.Path(workdir) / MODEL
    if not path.exists():
        raise UserError(
            f"{path} does not exist: {workdir} is no training folder, or no epoch is finished yet."
        )
    try:
        return keras.saving.load_model(path)
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(
            f"{path} is damaged ({str(error).splitlines()[0]}): train with --resume, which writes "
            "it again."
        ) from None


def verbosity():
    """Keras' `verbose`: a bar on a terminal, lines in a log."""
    return 1 if sys.stdout.isatty() else 2
