"""What a training prints: a table with a line an epoch, and where the running epoch is."""

import time

import keras

from keras_actionformer.terminal import clock, is_terminal

_EVERY_SEC = 0.1  # from one look of the running line to the next
# The columns and their widths; together with the mark of the best epoch they fill 79 places.
_LOSSES = {"loss": 9, "cls_loss": 9, "reg_loss": 9}
_VALIDATION = {"val_loss": 9, "mAP": 8, "last": 7, "recall": 7}
_EPOCH, _LEFT = 7, 9


class EpochTable(keras.callbacks.Callback):
    """Prints a line an epoch, and shows in a terminal where the running one is.

    Args:
      run: `RunWriter`, which stands before this one among the callbacks.
      line: `RunningLine`.
    """

    def __init__(self, run, line):
        super().__init__()
        self._run = run
        self._line = line
        self._shown = 0.0

    def on_train_begin(self, logs=None):
        self._left = _TimeLeft(self.params["epochs"])
        self._has_ended = False  # whether an epoch of this process has
        validation = self._run.validation
        names = {"epoch": _EPOCH, **_LOSSES, **(_VALIDATION if validation else {}), "left": _LEFT}
        if validation:
            print(validation)
        print(f"{'Compiling' if self.model.jit_compile else 'Tracing'} the training step ...")
        print("".join(f"{name:>{width}}" for name, width in names.items()), flush=True)

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        step, num_steps = batch + 1, self.params["steps"]
        self._left.reach(self._epoch + step / num_steps)
        now = time.monotonic()
        if is_terminal() and now - self._shown > _EVERY_SEC:
            self._shown = now
            left = str(self._left) and f", {self._left} left"
            self._line.show(f"{self._row(logs)}   step {step} of {num_steps}{left}")

    def on_epoch_end(self, epoch, logs=None):
        if self._has_ended:
            self._left.reach(epoch + 1)
        row = self._row(logs)
        if self._run.validation:
            row += _validation_cells(logs)
        row += f"{self._left!s:>{_LEFT}}"
        best = self._run.best
        self._line.clear()
        print(f"{row} best" if best and best.epoch == epoch + 1 else row, flush=True)
        if not self._has_ended:  # a first validation is traced, too
            self._left.start_anew()
            self._has_ended = True

    def _row(self, logs):
        cells = [f"{logs[name]:{width}.4f}" for name, width in _LOSSES.items()]
        return "".join([f"{self._epoch + 1}/{self.params['epochs']}".rjust(_EPOCH), *cells])


def _validation_cells(logs):
    """The columns of `_VALIDATION`; blanks after an epoch that was not validated."""
    if "val_loss" not in logs:
        return " " * sum(_VALIDATION.values())
    numbers = [f"{logs['val_loss']:.4f}"]
    numbers += [f"{100 * logs[name]:.2f}" for name in ("val_mAP", "val_mAP_last", "val_recall")]
    return "".join(f"{n:>{width}}" for n, width in zip(numbers, _VALIDATION.values(), strict=True))


class _TimeLeft:
    """How long a training will take yet, as text; empty until something tells.

    Args:
      num_epochs: int, of the training.
    """

    def __init__(self, num_epochs):
        self._num_epochs = num_epochs
        self._start = self._now = None  # (seconds of a clock, epochs that are done)

    def __str__(self):
        if self._start == self._now:
            return ""
        (start_sec, before), (now_sec, done) = self._start, self._now
        return clock((now_sec - start_sec) / (done - before) * (self._num_epochs - done))

    def reach(self, done):
        """Takes in that so many epochs (float) are done."""
        self._now = time.perf_counter(), done
        self._start = self._start or self._now  # not before the first step, which is traced

    def start_anew(self):
        """Forgets how long all has taken until now."""
        self._start = self._now = time.perf_counter(), self._now[1]
