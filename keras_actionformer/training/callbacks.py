"""What happens beside the steps of a training: its folder is written, and dead outputs are told."""

import csv
import json
import math
import re
import sys
import time

import keras
import numpy as np

from keras_actionformer.errors import UserError
from keras_actionformer.files import atomic_path, atomic_write, read_npz, told_if_unreadable
from keras_actionformer.presets.runs import CHECKPOINT, LOG, MODEL

# Keras takes half a second to write a small model, which would be a tenth of a short epoch.
_MODEL_EVERY_SEC = 10.0


class RunWriter(keras.callbacks.Callback):
    """Writes checkpoint, averaged model and log after every epoch, and reads them back."""

    def __init__(self, model, workdir):
        super().__init__()
        self._workdir = workdir
        self._rows = []
        self._model_written = -math.inf
        # A second model to write, so that the one in training is never touched.
        self._averaged = type(model).from_config(model.get_config())
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
        with told_if_unreadable(
            f"{path} is damaged", "restore it, or train again in another --workdir"
        ):
            saved = read_npz(path)
            self._rows = json.loads(str(saved.pop("log")))
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


def verbosity():
    """Keras' `verbose`: a bar on a terminal, lines in a log."""
    return 1 if sys.stdout.isatty() else 2
