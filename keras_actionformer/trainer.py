"""A training run: data, model, `fit`, a working folder that survives being killed.

A working folder holds
  config.json      the settings of the run;
  checkpoint.npz   everything a run needs to go on, written after each epoch;
  model.keras      the model with averaged weights after the last finished epoch;
  log.csv          losses and learning rate, a row an epoch;
  tensorboard/     the same, when TensorBoard is installed;
  evaluation.json, detections.json   results on the evaluation subset.
Each file appears or changes in one step: whoever reads it never meets half of it.
"""

import csv
import dataclasses
import importlib.util
import json
import pathlib
import re
import sys
import time
import zipfile
import zlib

import keras
import ml_collections
import numpy as np

from keras_actionformer import dataset as data_pipeline
from keras_actionformer.annotations import load_annotations
from keras_actionformer.config import check_config, first_difference, to_plain
from keras_actionformer.decode import PostProcess
from keras_actionformer.detections import save_detections
from keras_actionformer.errors import UserError
from keras_actionformer.evaluation import evaluate
from keras_actionformer.features import FeatureFiles, videos_with_features
from keras_actionformer.files import atomic_path, atomic_write, remove_leftovers
from keras_actionformer.fusion import fuse_videos, load_video_scores
from keras_actionformer.model import ActionFormer
from keras_actionformer.optimizers import SGD, AdamW, WarmupSchedule
from keras_actionformer.pyramid import check_reach, model_pyramid

CONFIG, CHECKPOINT, MODEL, LOG = "config.json", "checkpoint.npz", "model.keras", "log.csv"


def train(config, workdir, resume=False):
    """Trains a model, or goes on where an interrupted training stopped.

    A run that was stopped, at any moment and by whatever means, and then resumed ends with the
    weights, bit for bit, of one that never stopped.

    Args:
      config: `ConfigDict`, see `default_config`.
      workdir: str or path, folder of the run; created when missing.
      resume: bool, go on from the folder's checkpoint where there is one.

    Returns:
      `ActionFormer` with averaged weights.

    Raises:
      UserError: the settings, the data or the folder do not fit; nothing was written then.
    """
    workdir = pathlib.Path(workdir)
    check_config(config)
    _check_workdir(config, workdir, resume)
    # === Data ===
    annotations = read_annotations(config)
    features = feature_files(config)
    videos = present_videos(config, annotations.subset(config.data.train_subset), features)
    steps_per_epoch = count_steps(config, videos, features)
    check_levels(config, videos)
    num_epochs = config.train.warmup_epochs + config.train.epochs
    # === Model ===
    keras.utils.set_random_seed(config.seed)
    model = build_model(config, annotations)
    model.compile(
        make_optimizer(config, steps_per_epoch),
        jit_compile={"on": True, "off": False, "auto": "auto"}[config.train.jit_compile],
    )
    remove_leftovers(workdir)
    run = _Run(model, workdir)
    first_epoch = run.restore() if resume and (workdir / CHECKPOINT).exists() else 0
    if first_epoch == num_epochs:
        print(f"{workdir}: all {num_epochs} epochs are done already.")
        return load_model(workdir)
    # === Fit ===
    stream = data_pipeline.train_dataset(
        videos,
        features,
        stride_frames=config.data.stride_frames,
        window_frames=config.data.window_frames,
        default_fps=config.data.fps,
        downsample_rate=config.data.downsample_rate,
        max_seq_len=config.model.max_seq_len,
        batch_size=config.train.batch_size,
        trunc_thresh=config.data.trunc_thresh,
        crop_ratio=config.data.crop_ratio,
        resize_to=config.model.max_seq_len if config.model.force_upsampling else None,
        **_windows(config),
        seed=config.seed,
        num_epochs=num_epochs,
        first_epoch=first_epoch,
        check_durations=config.data.check_durations,
        cache_bytes=int(config.data.cache_gb * 2**30),
    )
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
        verbose=_progress(),
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

    Raises:
      UserError: the folder holds none, or the file is damaged.
    """
    path = pathlib.Path(workdir) / CONFIG
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: {workdir} is no training folder.") from None
    except ValueError as error:
        raise UserError(
            f"{path} is damaged ({error}): restore it, or train again in another --workdir."
        ) from None


def read_annotations(config, on_error=None):
    """The annotations a configuration names, checked against its number of classes.

    Args:
      config: `ConfigDict`.
      on_error: see `load_annotations`.
    """
    return load_annotations(
        config.data.annotations,
        num_classes=config.model.num_classes,
        outside=config.data.outside,
        drop_duplicates=config.data.drop_duplicates,
        class_agnostic=config.data.class_agnostic,
        on_error=on_error,
    )


def read_ground_truth(config):
    """The annotations to score against, and the video scores to fuse detections with.

    Returns:
      (`Annotations`, `VideoScores`); without fusion the annotations of the training, and None.
    """
    if not config.fusion.video_scores:
        return read_annotations(config), None
    # With the classes of the file, whatever those of the model are.
    annotations = load_annotations(
        config.data.annotations,
        outside=config.data.outside,
        drop_duplicates=config.data.drop_duplicates,
    )
    return annotations, load_video_scores(config.fusion.video_scores, annotations.class_names)


def feature_files(config):
    """The feature files a configuration names, checked against its feature width."""
    return FeatureFiles(
        config.data.feats, config.model.input_dim, config.data.prefix, config.data.suffix
    )


def present_videos(config, videos, features):
    """The videos to use: all, or (`data.missing_features`) those that have features."""
    if config.data.missing_features == "skip":
        return videos_with_features(videos, features)
    return videos


def count_steps(config, videos, features):
    """The number of full batches that the training videos, or windows of them, give."""
    num_items = data_pipeline.count_items(
        videos, features, **_windows(config), downsample_rate=config.data.downsample_rate
    )
    return data_pipeline.steps_per_epoch(num_items, config.train.batch_size)


def check_levels(config, videos):
    """Raises UserError where no level of the model would learn any action of training videos."""
    data = config.data
    if config.model.force_upsampling or data.stride_frames is None:
        return  # The grid then depends on the features.
    grids = [
        data_pipeline.video_grid(
            video, data.stride_frames, data.window_frames, data.fps, data.downsample_rate
        )
        for video in videos
    ]
    check_reach(videos, grids, model_pyramid(config.model.to_dict()))


def _windows(config):
    """The sliding windows of a configuration, as arguments."""
    return {
        "window_steps": config.data.window_steps or None,
        "window_overlap": config.data.window_overlap,
    }


def build_model(config, annotations):
    """An `ActionFormer` with fresh weights for a configuration and its annotations."""
    grid = _common_grid(config, annotations)
    names = list(annotations.class_names)
    names += [f"class_{i}" for i in range(len(names), config.model.num_classes)]
    arguments = config.model.to_dict()
    if not arguments["head_empty_cls"]:  # classes that no annotation names, as the reference
        empty = {*annotations.empty_label_ids(), *range(len(annotations.class_names), len(names))}
        arguments["head_empty_cls"] = sorted(empty)
    return ActionFormer(
        **arguments,
        postprocess=PostProcess(**config.postprocess.to_dict()),
        grid=grid,
        class_names=names,
        dtype="mixed_bfloat16" if config.train.mixed_precision else None,
    )


def _common_grid(config, annotations):
    """The timing that all training features share; None where each video has its own."""
    if config.data.stride_frames is None:
        return None
    grids = {
        data_pipeline.video_grid(
            video,
            config.data.stride_frames,
            config.data.window_frames,
            config.data.fps,
            config.data.downsample_rate,
        )
        for video in annotations.subset(config.data.train_subset)
    }
    # Of several frame rates none is the model's: `detect` then asks for that of its video.
    return grids.pop() if len(grids) == 1 else dataclasses.replace(grids.pop(), fps=None)


def make_optimizer(config, steps_per_epoch):
    """The optimizer with its schedule: one learning rate for every step."""
    settings = config.train
    warmup_steps = settings.warmup_epochs * steps_per_epoch
    schedule = WarmupSchedule(
        settings.learning_rate,
        warmup_steps,
        decay=settings.schedule,
        total_steps=warmup_steps + settings.epochs * steps_per_epoch,
        milestones=[epoch * steps_per_epoch for epoch in settings.milestones],
        gamma=settings.gamma,
    )
    common = dict(
        learning_rate=schedule,
        weight_decay=settings.weight_decay,
        global_clipnorm=settings.clip_norm if settings.clip_norm > 0 else None,
        use_ema=True,
        ema_momentum=settings.ema,
    )
    if settings.optimizer == "AdamW":
        return AdamW(**common)
    return SGD(momentum=settings.momentum, **common)


class _Run(keras.callbacks.Callback):
    """Writes checkpoint, averaged model and log after every epoch, and reads them back."""

    def __init__(self, model, workdir):
        super().__init__()
        self._workdir = workdir
        self._rows = []
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
        self._write_results()
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
        self._write_results()

    def _write_results(self):
        """Writes the averaged model and the log of the last finished epoch."""
        averages = self.model.optimizer._model_variables_moving_average
        for variable, average in zip(
            self._averaged.trainable_variables, averages, strict=True
        ):
            variable.assign(average)
        self._averaged.positives_average.value.assign(self.model.positives_average.value)
        with atomic_path(self._workdir / MODEL) as path:
            self._averaged.save(path)
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


def check_evaluation(config):
    """Raises UserError where the evaluation subset, its features or video scores are unusable.

    For before a training: its end is a bad time to hear of it.
    """
    check_config(config)
    features = feature_files(config)
    annotations, _ = read_ground_truth(config)
    videos = annotations.subset(config.data.eval_subset)
    for video in present_videos(config, videos, features):
        features.load(video.video_id)


def detect_subset(model, config, videos):
    """Detects actions in videos of a configuration's data.

    Args:
      model: `ActionFormer`.
      config: `ConfigDict`.
      videos: `Video` records.

    Returns:
      {video id: `Detections`}; without the videos that `data.missing_features` lets be left out,
      which an evaluation counts as missed.
    """
    features = feature_files(config)
    videos = present_videos(config, videos, features)
    items = data_pipeline.evaluation_items(
        videos,
        features,
        stride_frames=config.data.stride_frames,
        window_frames=config.data.window_frames,
        default_fps=config.data.fps,
        downsample_rate=config.data.downsample_rate,
    )
    return detect_items(model, items, len(videos), **_windows(config))


def detect_items(model, items, count, **windows):
    """Detects actions in what `evaluation_items` hands out, `count` videos, with a progress bar.

    Args:
      model: `ActionFormer`.
      items: see `evaluation_items`.
      count: int.
      **windows: `window_steps` and `window_overlap` of `ActionFormer.detect`, where wanted.

    Returns:
      {video id: `Detections`}.
    """
    found = {}
    progress = keras.utils.Progbar(count, unit_name="video", verbose=_progress())
    for video, feats, grid in items:
        found[video.video_id] = model.detect(
            feats, duration_sec=video.duration_sec, grid=grid, **windows
        )
        progress.add(1)
    return found


def _progress():
    return 1 if sys.stdout.isatty() else 2


def evaluate_workdir(workdir, subset=None, tiou_thresholds=None, video_scores=None):
    """Detects on a subset with a training folder's model, fuses where it is set, and scores.

    Writes `detections.json` and `evaluation.json` into the folder.

    Args:
      workdir: str or path.
      subset: str, default the configuration's `data.eval_subset`.
      tiou_thresholds: floats, default the configuration's.
      video_scores: str or path, default the configuration's `fusion.video_scores`.

    Returns:
      `EvaluationResult`.
    """
    workdir = pathlib.Path(workdir)
    config = ml_collections.ConfigDict(read_config(workdir))
    config.fusion.video_scores = str(video_scores or config.fusion.video_scores)
    model = load_model(workdir)
    annotations, video_scores = read_ground_truth(config)
    class_names = model.class_names
    videos = annotations.subset(subset or config.data.eval_subset)
    detections = detect_subset(model, config, videos)
    if video_scores is not None:
        detections = fuse_videos(
            detections, video_scores, config.fusion.num_pred, config.fusion.topk
        )
        class_names = annotations.class_names
    result = evaluate(
        videos,
        detections,
        tuple(tiou_thresholds or config.tiou_thresholds),
        class_names=class_names,
    )
    save_detections(workdir / "detections.json", detections)
    with atomic_write(workdir / "evaluation.json") as file:
        json.dump(result.to_dict(), file, indent=2)
    return result
