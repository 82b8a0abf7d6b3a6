"""What happens beside the steps of a training: validation, its folder, and dead outputs."""

import csv
import functools
import json
import math
import re
import sys
import time

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from keras_actionformer.containers.numpy_files import read_npz
from keras_actionformer.errors import UserError
from keras_actionformer.files import (
    atomic_path,
    atomic_write,
    parse_json,
    reason_of,
    told_if_unreadable,
)
from keras_actionformer.presets.runs import CHECKPOINT, LOG, MODELS, kept_model
from keras_actionformer.terminal import clear_line
from keras_actionformer.training.devices import ONE_FOLDER, OneDevice
from keras_actionformer.training.epochs import best_of, check_rows, is_over

# Keras takes half a second to write a small model, which would be a tenth of a short epoch.
_MODEL_EVERY_SEC = 10.0
# From one try to write what a run cannot do without to the next: a network's disk may come back,
# and who has a file open on Windows, so that it cannot be replaced, may close it.
_WAITS_SEC = (0.5, 1.0, 2.0, 4.0)
_ALONE = OneDevice()


class RunWriter(keras.callbacks.Callback):
    """Writes checkpoint, models and log after every epoch, reads them back, and ends a training.

    Args:
      model: `ActionFormer`, compiled.
      workdir: `pathlib.Path`.
      copy: `WeightsCopy` of the model.
      train: section `train` of the configuration.
      devices: what `find_devices` returned; a process that is no writer writes nothing.

    Attributes:
      rows: list of dicts, what the log says of each epoch that the checkpoint holds.
      after_step: function, called after each step and each epoch.
      validation: `Validation` or None, to be set before the first epoch ends.
    """

    def __init__(self, model, workdir, copy, train, devices=_ALONE):
        super().__init__()
        self.rows = []
        self.after_step = lambda: None
        self.validation = None
        self._workdir = workdir
        self._copy = copy
        self._train = train
        self._devices = devices
        self._model_written = -math.inf
        self._log_problem = None  # why the log could not be written the last time
        self.set_model(model)

    @property
    def is_over(self):
        """bool, whether no epoch is left."""
        return bool(self.rows) and is_over(self.rows, self._train)

    @property
    def best(self):
        """The `Best` of its validations, or None."""
        return best_of(self.rows, self._train.best_by)

    def _state(self):
        """Every variable of the training by a unique name, random generators included."""
        # Keras numbers random generators and optimizers through the process: not in a name.
        model = [(re.sub(r"(seed_generator)_\d+", r"\1", v.path), v) for v in self.model.variables]
        optimizer = [(v.name, v) for v in self.model.optimizer.variables]
        return {f"{i:04d} {name}": v for i, (name, v) in enumerate(model + optimizer)}

    def restore(self):
        """Loads the checkpoint."""
        path = self._workdir / CHECKPOINT
        with told_if_unreadable(
            f"{path} is damaged", "restore it, or train again in another --workdir"
        ):
            saved = read_npz(path)
            self.rows = check_rows(parse_json(str(saved.pop("log"))))
        self._devices.check_same(f"The number of epochs in {path}", len(self.rows), ONE_FOLDER)
        state = self._state()
        for name, variable in state.items():
            value = saved.get(name)
            if value is None or value.shape != tuple(variable.shape) or value.dtype.kind in "SU":
                raise UserError(
                    f"{path} does not fit this model: {name} is missing or has another shape. "
                    "Was it written by another version? Use another --workdir."
                )
            if not np.isfinite(value).all():
                raise UserError(
                    f"{path}: {name} is NaN or infinite somewhere, and so would be all that comes "
                    "after it; train again in another --workdir with a lower train.learning_rate."
                )
        for name, variable in state.items():  # all of them are right
            variable.assign(saved[name])
        if self._devices.is_writer:
            # It may have been killed after the checkpoint and before what follows from it.
            self._write_models()
            self._write_log()

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.after_step()

    def on_epoch_end(self, epoch, logs=None):
        if not np.isfinite(logs["loss"]):
            raise UserError(
                f"The loss was {logs['loss']} in epoch {epoch + 1}: the training diverged. What "
                f"{self._workdir} holds is from before. Lower train.learning_rate or set "
                "train.clip_norm, and use another --workdir."
            )
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in logs.items()}}
        row["learning_rate"] = float(self.model.optimizer.learning_rate)
        end = time.perf_counter()
        row["seconds"] = round(end - self._start, 2)
        if self.validation is not None and self.validation.is_due(epoch + 1):
            with self._devices.apart():
                scores = self.validation.scores(epoch + 1, self.after_step)
            logs.update(scores)  # for the callbacks after this one
            row |= {**scores, "val_seconds": round(time.perf_counter() - end, 2)}
        row = self._devices.agreed(row)
        # The checkpoint comes first: everything else can be made from it.
        if self._devices.is_writer:
            _insist(lambda: self._write_checkpoint([*self.rows, row]))
        self.rows.append(row)
        if self._devices.is_writer:
            with self._devices.apart():
                self._write_models()
            self._write_log()
        self.model.stop_training = self.is_over
        self.after_step()

    def on_train_end(self, logs=None):
        if self._log_problem is not None:
            self._tell_missing_rows()
        self._devices.agreed({"epochs": len(self.rows)})  # its files are there for all of them

    def _write_checkpoint(self, rows):
        state = {k: keras.ops.convert_to_numpy(v) for k, v in self._state().items()}
        with atomic_write(self._workdir / CHECKPOINT, "wb") as file:
            np.savez(file, log=json.dumps(rows), **state)

    def _write_models(self):
        """Writes what there is to write after the last of `rows`."""
        epoch, best = len(self.rows), self.best
        names = {"average": [], "last": []}
        if self.is_over:
            names["last"].append(MODELS["last"])
        if self.is_over or time.monotonic() - self._model_written > _MODEL_EVERY_SEC:
            names["average"].append(MODELS["average"])
            self._model_written = time.monotonic()
        if epoch in self._train.keep_epochs:
            names["average"].append(kept_model(epoch))
        if best is not None and best.epoch == epoch:
            names[best.weights].append(MODELS["best"])
        for weights, files in names.items():
            for name in files:
                _insist(functools.partial(self._write_model, name, weights))

    def _write_model(self, name, weights):
        with atomic_path(self._workdir / name) as path:
            self._copy.take(weights).save(path)

    def _write_log(self):
        """Writes all rows; where that is refused, a spreadsheet has it open, say, the next time."""
        names, was_refused = {name: None for row in self.rows for name in row}, self._log_problem
        try:
            with atomic_write(self._workdir / LOG) as file:
                writer = csv.DictWriter(file, fieldnames=list(names))
                writer.writeheader()
                writer.writerows(self.rows)
            self._log_problem = None
        except OSError as error:
            self._log_problem = reason_of(error)
        if self._log_problem and not was_refused:
            clear_line()
            logging.warning(
                "%s cannot be written now (%s): %s keeps its rows, and it is tried again after "
                "each epoch.",
                self._workdir / LOG,
                self._log_problem,
                CHECKPOINT,
            )

    def _tell_missing_rows(self):
        clear_line()
        logging.warning(
            "%s could not be written (%s) and lacks the rows of epochs %d to %d: %s has them, and "
            "--resume writes them.",
            self._workdir / LOG,
            self._log_problem,
            self._num_logged() + 1,
            len(self.rows),
            self._workdir / CHECKPOINT,
        )

    def _num_logged(self):
        """How many epochs the log has, as it is on the disk."""
        try:
            with open(self._workdir / LOG, encoding="utf-8", newline="") as file:
                return sum(1 for _ in csv.DictReader(file))
        except (OSError, ValueError, csv.Error):
            return 0


def _insist(write):
    """Calls a function that writes, and again a few times while the disk refuses it."""
    for wait_sec in _WAITS_SEC:
        try:
            return write()
        except OSError:
            time.sleep(wait_sec)
    return write()


class BoardWriter(keras.callbacks.Callback):
    """Writes the log for TensorBoard; epochs that the disk refuses come with a later one.

    Args:
      folder: `pathlib.Path`.
    """

    def __init__(self, folder):
        super().__init__()
        self._folder = folder
        self._board = None
        self._waiting = []  # (epoch, its logs)
        self._has_told = False

    def on_epoch_end(self, epoch, logs=None):
        self._waiting.append((epoch, dict(logs)))
        try:
            if self._board is None:
                self._board = keras.callbacks.TensorBoard(self._folder, write_graph=False)
                self._board.set_params(self.params)
                self._board.set_model(self.model)
                self._board.on_train_begin()
            for waiting in self._waiting:
                self._board.on_epoch_end(*waiting)
        except (OSError, tf.errors.OpError) as error:
            self._board = None  # its file may end in half a row: the next begins another
            if not self._has_told:
                self._has_told = True
                clear_line()
                logging.warning(
                    "%s cannot be written now (%s): what it lacks is kept in memory, and it is "
                    "tried again after each epoch.",
                    self._folder,
                    reason_of(error),
                )
        else:
            self._waiting.clear()

    def on_train_end(self, logs=None):
        if self._waiting:
            logging.warning(
                "%s lacks epochs %d to %d, which %s has.",
                self._folder,
                self._waiting[0][0] + 1,
                self._waiting[-1][0] + 1,
                CHECKPOINT,
            )
        if self._board is not None:
            self._board.on_train_end()


class DeadOutputWarning(keras.callbacks.Callback):
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
