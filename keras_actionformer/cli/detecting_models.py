"""The models that `detect` runs: of a run or preset, several as one, an export, or a served one."""

import functools
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from absl import logging

from keras_actionformer.cli.classes import read_classes
from keras_actionformer.data.annotations import Video
from keras_actionformer.data.grid import FeatureGrid, Timing
from keras_actionformer.deploy.client import ServedModel
from keras_actionformer.deploy.exported import ExportedModel
from keras_actionformer.deploy.manifest import Exported
from keras_actionformer.detection.thresholds import Thresholds
from keras_actionformer.errors import UserError
from keras_actionformer.quiet import import_keras, quiet_start
from keras_actionformer.terminal import is_terminal
from keras_actionformer.training.overrides import default_fusion, override

# What a run's configuration says of feature files, where there is no run.
NO_DATA = {"feats": "", "prefix": "", "suffix": "", "downsample_rate": 1}
_MANY_STEPS = 16384  # which a run or a preset takes in tiles


class DetectingModel(NamedTuple):
    """What detects.

    Attributes:
      detect: function of a video's id, its downsampled features, its frame rate or None, and its
        duration or None, that returns `Detections`.
      channels: int, of the features.
      num_streams: int, that they are joined of.
      class_names: tuple of str, of what it detects; empty where they are not known.
      needs_duration: bool, whether that of each video has to be told.
      grid: `FeatureGrid` of the features it was trained on, or None where it is not known.
      encoder: dict, the record of what computed those, or None.
      data: dict, what the configuration of its run says of their files.
      fusion: dict, how to fuse detections with scores of videos.
      thresholds: `Thresholds` that it recommends, or None.
      network: `ActionFormer`, or None of an export and of one that is served.
      has_windows: bool, whether sequences are cut to windows.
      detect_many: function of lists of these four and of a batch size that returns a list of
        `Detections`; or None of one that is served.
    """

    detect: Callable
    channels: int
    num_streams: int
    class_names: tuple[str, ...]
    needs_duration: bool
    grid: FeatureGrid | None
    encoder: dict | None
    data: Mapping
    fusion: dict
    thresholds: Thresholds | None
    network: Any = None
    has_windows: bool = False
    detect_many: Callable | None = None


def served_model(address, classes, timeout_sec, settings, fuses):
    """The `DetectingModel` behind a server.

    Args:
      address: str, see `ServedModel`.
      classes: str, see `read_classes`, or None.
      timeout_sec: float, or None for the default.
      settings: see `override`.
      fuses: bool, whether detections are to be fused with scores of videos.
    """
    fusion = default_fusion()
    override(settings, fusion=fusion if fuses else None)
    known = read_classes(classes) if classes else Exported()
    timeout = {} if timeout_sec is None else {"timeout_sec": timeout_sec}
    with quiet_start():  # gRPC's messages import TensorFlow
        model = ServedModel(address, known.class_names, **timeout)

    def detect(video_id, feats, fps, duration_sec):
        return model.detect(feats, fps=fps, duration_sec=duration_sec)

    return DetectingModel(
        detect,
        model.input_dim,
        num_streams=1,
        class_names=known.class_names,
        needs_duration=False,
        grid=known.grid,
        encoder=known.encoder,
        data=NO_DATA,
        fusion=fusion,
        thresholds=known.thresholds,
    )


def exported_model(folder, settings, fuses):
    """The `DetectingModel` of an export, which runs without Keras.

    Args:
      folder: str, see `ExportedModel`.
      settings, fuses: as for `served_model`.
    """
    fusion = default_fusion()
    override(settings, fusion=fusion if fuses else None)
    model = ExportedModel(folder, num_threads=os.cpu_count())
    told = model.told

    def detect(video_id, feats, fps, duration_sec):
        model.check_length(len(feats), repr(video_id))
        if len(feats) > _MANY_STEPS:
            logging.warning(
                "%r has %d steps, which run in one pass and take memory for all of them: tiles are "
                "for a run or a preset.",
                video_id,
                len(feats),
            )
        return model.detect(feats, fps=fps, duration_sec=duration_sec)

    return DetectingModel(
        detect,
        model.input_dim,
        told.num_streams,
        told.class_names,
        needs_duration=model.needs("duration_sec"),
        grid=told.grid,
        encoder=told.encoder,
        data=NO_DATA,
        fusion=fusion,
        thresholds=told.thresholds,
    )


def local_model(workdir, preset, several, settings, fuses, tile_steps):
    """The `DetectingModel` of a run, a preset, or several of them, of which the others are None.

    Args:
      several: dict, see `open_several`, or None.
      settings, fuses: as for `served_model`.
      tile_steps: see `ActionFormer.detect`.
    """
    import_keras()
    from keras_actionformer.model import ActionFormer
    from keras_actionformer.presets.fetching import fetched
    from keras_actionformer.presets.runs import load_model

    fusion, data, cut = default_fusion(), NO_DATA, {}
    if several:
        model, config = open_several(several)
    elif preset:
        model, config = ActionFormer.from_preset(preset), None
    else:
        with fetched(workdir) as folder:
            model, config = load_model(folder, ActionFormer), _config_of(folder)
    if config is not None:
        data, cut = config.data, detection_windows(config)
        fusion = {name: config.fusion[name] for name in fusion}
    override(settings, model, fusion if fuses else None)
    options = {**cut, "tile_steps": tile_steps, "verbose": 1 if is_terminal() else 2}
    detect = functools.partial(_detect, model, data["downsample_rate"], options)
    return DetectingModel(
        detect,
        model.architecture.channels,
        model.architecture.num_streams,
        model.class_names,
        needs_duration=model.grid is None,
        grid=model.grid,
        encoder=model.encoder,
        data=data,
        fusion=fusion,
        thresholds=model.thresholds,
        network=model,
        has_windows=cut.get("window_steps") is not None,
        detect_many=functools.partial(_detect_many, model, detect, {**options, "verbose": 0}),
    )


def open_several(several):
    """Opens models to put together.

    Args:
      several: dict, `{"ensemble": names}` or `{"verbs": names, "nouns": names}`; a name is that of
        a run's folder or of a preset.

    Returns:
      (`Ensemble` or `VerbNounModel`, the `ConfigDict` of the first run among them or None).

    Raises:
      UserError: a model cannot be opened, or they do not fit each other.
    """
    from keras_actionformer.detection.actions import VerbNounModel
    from keras_actionformer.detection.ensembles import Ensemble
    from keras_actionformer.model import ActionFormer
    from keras_actionformer.presets.runs import MODELS

    names = [name for of_kind in several.values() for name in of_kind]
    runs = [name for name in names if (pathlib.Path(name) / MODELS["average"]).exists()]
    configs = {run: _config_of(run) for run in runs}
    cuts = {run: detection_windows(config) for run, config in configs.items()}
    for run in runs:
        if cuts[run] != cuts[runs[0]]:
            raise UserError(
                f"'{run}' cuts sequences to windows with {cuts[run]}, but '{runs[0]}' with "
                f"{cuts[runs[0]]}: models are put together window by window, so that these must be "
                "the same."
            )
    opened = {
        kind: Ensemble([ActionFormer.from_preset(name) for name in of_kind])
        for kind, of_kind in several.items()
    }
    model = opened["ensemble"] if "ensemble" in opened else VerbNounModel(**opened)
    return model, configs[runs[0]] if runs else None


def _config_of(workdir):
    """The `ConfigDict` of a run's folder."""
    import ml_collections

    from keras_actionformer.training.config import run_config

    return ml_collections.ConfigDict(run_config(workdir))


def detection_windows(config):
    """The windows of a run, see `Experiment`."""
    from keras_actionformer.training.experiment import Experiment

    return Experiment(config).detection_windows


def _detect(model, downsample_rate, options, video_id, feats, fps, duration_sec):
    """Detections in the features of one video, which are downsampled already."""
    grid = model.grid
    if grid is None:
        video = Video(video_id, "", duration_sec, fps, (), ())
        timing = Timing(None, None, downsample_rate=downsample_rate)
        grid = timing.grid_of(video, len(feats))
    return model.detect(feats, fps=fps, duration_sec=duration_sec, grid=grid, **options)


def _detect_many(model, detect, options, video_ids, feats, fps, durations_sec, batch_size):
    """Detections in the features of several videos, in batches where the model has a timing."""
    if model.grid is None:
        return [detect(*each) for each in zip(video_ids, feats, fps, durations_sec, strict=True)]
    return model.detect(
        feats, fps=fps, duration_sec=durations_sec, batch_size=batch_size, **options
    )
