"""What happens beside the steps of a training: validation, its folder, and dead outputs."""

import csv
import json
import math
import re
import sys
import time

import keras
import numpy as np

from keras_actionformer.containers.numpy_files import read_npz
from keras_actionformer.errors import UserError
from keras_actionformer.files import atomic_path, atomic_write, parse_json, told_if_unreadable
from keras_actionformer.presets.runs import CHECKPOINT, LOG, MODELS, kept_model
from keras_actionformer.training.epochs import best_of, check_rows, is_over

# Keras takes half a second to write a small model, which would be a tenth of a short epoch.
_MODEL_EVERY_SEC = 10.0


class RunWriter(keras.callbacks.Callback):
    """Writes checkpoint, models and log after every epoch, reads them back, and ends a training.

    Args:
      model: `ActionFormer`, compiled.
      workdir: `pathlib.Path`.
      copy: `WeightsCopy` of the model.
      train: section `train` of the configuration.

    Attributes:
      rows: list of dicts, what the log says of each finished epoch.
      validation: `Validation` or None, to be set before the first epoch ends.
    """

    def __init__(self, model, workdir, copy, train):
        super().__init__()
        self.rows = []
        self.validation = None
        self._workdir = workdir
        self._copy = copy
        self._train = train
        self._model_written = -math.inf
        self.set_model(model)

    @property
    def is_over(self):
        """bool, whether no epoch is left."""
        return bool(self.rows) and is_over(self.rows, self._train)

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
        # The run may have been killed after the checkpoint and before what follows from it.
        self._write_models()
        self._write_log()

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
        end = time.perf_counter()
        row["seconds"] = round(end - self._start, 2)
        if self.validation is not None and self.validation.is_due(epoch + 1):
            scores = self.validation.scores(epoch + 1)
            logs.update(scores)  # for the callbacks after this one
            row |= {**scores, "val_seconds": round(time.perf_counter() - end, 2)}
        self.rows.append(row)
        state = {k: keras.ops.convert_to_numpy(v) for k, v in self._state().items()}
        # The checkpoint comes first: everything else can be made from it.
        with atomic_write(self._workdir / CHECKPOINT, "wb") as file:
            np.savez(file, log=json.dumps(self.rows), **state)
        self._write_models()
        self._write_log()
        self.model.stop_training = self.is_over

    def _write_models(self):
        """Writes what there is to write after the last of `rows`."""
        epoch, best = len(self.rows), best_of(self.rows)
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
                with atomic_path(self._workdir / name) as path:
                    self._copy.take(weights).save(path)

    def _write_log(self):
        names = {name: None for row in self.rows for name in row}
        with atomic_write(self._workdir / LOG) as file:
            writer = csv.DictWriter(file, fieldnames=list(names))
            writer.writeheader()
            writer.writerows(self.rows)


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
