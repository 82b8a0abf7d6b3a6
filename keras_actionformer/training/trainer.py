"""A training run: data, model, `fit`, and a folder that survives being killed."""

import contextlib
import importlib.util
import os
import pathlib
import zlib
from collections.abc import Callable
from typing import Any, Literal

import keras
from absl import logging

from keras_actionformer.data.batches import told_by_batch
from keras_actionformer.errors import UserError, counted
from keras_actionformer.files import remove_leftovers
from keras_actionformer.folder_lock import alone_in
from keras_actionformer.model import ActionFormer
from keras_actionformer.network.padding import inference_padding
from keras_actionformer.presets.runs import CHECKPOINT, MODELS, write_config
from keras_actionformer.terminal import RunningLine
from keras_actionformer.training.callbacks import BoardWriter, DeadOutputWarning, RunWriter
from keras_actionformer.training.config import check_config, to_plain
from keras_actionformer.training.devices import ONE_FOLDER, find_devices
from keras_actionformer.training.epochs import num_epochs
from keras_actionformer.training.experiment import Experiment
from keras_actionformer.training.freezing import freeze
from keras_actionformer.training.progress import EpochTable
from keras_actionformer.training.resuming import check_epochs_left, resumed_config
from keras_actionformer.training.run_scores import with_thresholds
from keras_actionformer.training.transfer import open_preset, take_weights, with_preset
from keras_actionformer.training.validation import Validation, WeightsCopy


def train(
    config: Any,
    workdir: str | os.PathLike[str],
    resume: bool = False,
    before_fit: Callable[[], object] | None = None,
    preset: str | os.PathLike[str] | None = None,
    around_fit: Callable[[], contextlib.AbstractContextManager[Callable[[], object]]] | None = None,
    devices: int | Literal["all"] = 1,
) -> ActionFormer:
    """Trains a model, or goes on where an interrupted training stopped.

    A run that was stopped, at any moment and by whatever means, and then resumed ends with the
    weights of one that never stopped: bit for bit on a CPU where both use as many threads. A
    finished one goes on when `train.epochs` is more than it was.

    What ends it between two epochs or within one (`KeyboardInterrupt`, a disk that refuses a file)
    has a note which epochs the folder keeps.

    Args:
      config: `ConfigDict`, see `default_config`.
      workdir: str or path, folder of the run; created when missing.
      resume: bool, go on from the folder's checkpoint where there is one.
      before_fit: function without arguments, called once the training data is found to be right
        and before anything is written, for checks of what comes after the training; or None.
      preset: str or path, in place of `train.preset`: whose weights to start from, see
        `ActionFormer.from_preset`.
      around_fit: function without arguments that returns a context manager, which is entered for
        the steps of the training; the function that it yields is called after each step, after
        what is written of each epoch, and between the videos of a validation: what that raises
        ends the training there. For signals and limits of time; or None.
      devices: int, how many devices share each batch, or `"all"`: see `find_devices`. A run may go
        on with another number of them.

    Returns:
      `ActionFormer` with averaged weights, or the best of the validations (`data.val_subset`) and
      the score thresholds of the best F1 on these videos.

    Raises:
      UserError: the settings, the data or the folder do not fit, or another training is running in
        it; nothing was written then. Or a file of features cannot be read any more.
    """
    workdir = pathlib.Path(workdir)
    if preset is not None:
        config = with_preset(config, preset)
    check_config(config)
    found = find_devices(devices, config.train)
    alone = contextlib.nullcontext()
    if found.is_writer:
        alone = alone_in(workdir, "training", "--workdir")
    with alone, found.together():
        _train(config, workdir, resume, before_fit, around_fit or _never_stopped, found)
        return with_thresholds(workdir, keep=found.is_writer)


def _train(config, workdir, resume, before_fit, around_fit, devices):
    goes_on = _goes_on(workdir, resume)
    settings = zlib.crc32(config.to_json_best_effort().encode())
    devices.check_same(
        "The checksum of the settings", settings, "start all of them with the same command"
    )
    devices.check_same(f"The number of checkpoints in {workdir}", int(goes_on), ONE_FOLDER)
    given = resumed_config(config, workdir) if resume else config
    config, source = (given, None) if goes_on else open_preset(given)
    # === Data ===
    experiment = Experiment(config)
    annotations = experiment.read_annotations()
    if source is not None:
        experiment.check_encoder(source, annotations.videos)
    videos = experiment.training_videos(annotations)
    steps_per_epoch = experiment.count_batches(videos, devices.number)
    experiment.check_levels(videos)
    for sentence in experiment.settings_warnings(annotations, videos, steps_per_epoch):
        logging.warning("%s", sentence)
    # === Model ===
    keras.utils.set_random_seed(config.seed)
    with devices.making():
        model = experiment.build_model(annotations)
        model.recompute = config.train.recompute
        model.class_weights = experiment.class_weights(annotations)
        new_weights = [] if source is None else take_weights(model, source, config, given)
        freeze(model, config.train.freeze, new_weights)
        model.compile(
            experiment.make_optimizer(steps_per_epoch),
            jit_compile={"on": True, "off": False, "auto": "auto"}[config.train.jit_compile],
        )
    if devices.is_writer:
        remove_leftovers(workdir)
    copy, line = WeightsCopy(model), RunningLine()
    run = RunWriter(model, workdir, copy, config.train, devices)
    if goes_on:
        run.restore()
        check_epochs_left(workdir, len(run.rows), config.train)
    if run.is_over:
        print(f"{workdir}: all {counted(len(run.rows), 'epoch')} are done already.")
        return
    # === Fit ===
    # A compiled step has one shape; any other computes no more than the batch needs.
    padded_steps = None if model.jit_compile else inference_padding(model.architecture).padded_steps
    epochs = range(len(run.rows), num_epochs(config.train))
    stream = devices.stream(experiment.training_stream(videos, epochs, padded_steps, devices.part))
    devices.start(model)
    if config.data.val_subset:
        run.validation = Validation(config, annotations, len(videos), copy, line)
    if before_fit is not None:
        before_fit()
    callbacks = [run, EpochTable(run, line)]
    if devices.is_writer:
        if not run.rows:  # an earlier run's, whose checkpoint was taken away
            for name in MODELS.values():
                (workdir / name).unlink(missing_ok=True)
        write_config(workdir, to_plain(config))
        callbacks.append(DeadOutputWarning())
        if importlib.util.find_spec("tensorboard"):
            callbacks.append(BoardWriter(workdir / "tensorboard"))
    try:
        with around_fit() as run.after_step, devices.fitting():
            model.fit(
                stream,
                epochs=epochs.stop,
                initial_epoch=epochs.start,
                steps_per_epoch=steps_per_epoch,
                shuffle=False,  # the stream has its order already
                callbacks=callbacks,
                verbose=0,  # `EpochTable` tells
            )
    except (KeyboardInterrupt, OSError) as error:
        error.add_note(f"{workdir} keeps {len(run.rows)} of {epochs.stop} epochs")
        raise
    except Exception as error:
        told = told_by_batch(error)
        if told is None:
            raise
        raise UserError(
            f"{told} {workdir} keeps {len(run.rows)} of {epochs.stop} epochs; go on with --resume."
        ) from error
    finally:
        line.clear()
    _tell_end(run, epochs.stop, config.train.best_by)


@contextlib.contextmanager
def _never_stopped():
    yield lambda: None


def _tell_end(run, num_epochs, best_by):
    """Prints which epoch was the best, where that was looked for, and why the training ended."""
    rows, best = run.rows, run.best
    if best is None:
        return
    if len(rows) < num_epochs:
        print(
            f"Ended after epoch {len(rows)}: none of the last {len(rows) - best.epoch} was better."
        )
    score = f"best validation mAP, {100 * best.score:.2f}"
    if best_by == "loss":
        score = f"lowest validation loss, {best.score:.4f}"
    print(f"The {score}, is of epoch {best.epoch} ({best.weights} weights): {MODELS['best']}.")


def _goes_on(workdir, resume):
    """Whether the folder holds a run to go on with; raises UserError for one that is unasked."""
    found = (workdir / CHECKPOINT).exists()
    if found and not resume:
        raise UserError(
            f"{workdir} already holds a training run: pass --resume to go on with it, or another "
            "--workdir."
        )
    return found
