"""The models that `detect` runs: one of a run or a preset, or one that is served."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from keras_actionformer.cli.classes import Exported, read_classes
from keras_actionformer.data.annotations import Video
from keras_actionformer.data.grid import FeatureGrid, Timing
from keras_actionformer.deploy.client import ServedModel
from keras_actionformer.detection.thresholds import Thresholds
from keras_actionformer.quiet import import_keras, quiet_start
from keras_actionformer.terminal import is_terminal
from keras_actionformer.training.overrides import default_fusion, override

# What a run's configuration says of feature files, where there is no run.
NO_DATA = {"feats": "", "prefix": "", "suffix": "", "downsample_rate": 1}


class DetectingModel(NamedTuple):
    """What detects.

    Attributes:
      detect: function of a video's id, its downsampled features, its frame rate or None, and its
        duration or None, that returns `Detections`.
      channels: int, of the features.
      num_streams: int, that they are joined of.
      needs_duration: bool, whether that of each video has to be told.
      grid: `FeatureGrid` of the features it was trained on, or None where it is not known.
      encoder: dict, the record of what computed those, or None.
      data: dict, what the configuration of its run says of their files.
      fusion: dict, how to fuse detections with scores of videos.
      thresholds: `Thresholds` that it recommends, or None.
      network: `ActionFormer`, or None of one that is served.
      has_windows: bool, whether sequences are cut to windows.
    """

    detect: Callable
    channels: int
    num_streams: int
    needs_duration: bool
    grid: FeatureGrid | None
    encoder: dict | None
    data: Mapping
    fusion: dict
    thresholds: Thresholds | None
    network: Any = None
    has_windows: bool = False


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
        needs_duration=False,
        grid=known.grid,
        encoder=known.encoder,
        data=NO_DATA,
        fusion=fusion,
        thresholds=known.thresholds,
    )


def local_model(workdir, preset, settings, fuses, tile_steps):
    """The `DetectingModel` of a run or a preset, of which the other is None.

    Args:
      settings, fuses: as for `served_model`.
      tile_steps: see `ActionFormer.detect`.
    """
    import_keras()
    import ml_collections

    from keras_actionformer.model import ActionFormer
    from keras_actionformer.presets.runs import load_model
    from keras_actionformer.training.config import run_config
    from keras_actionformer.training.experiment import Experiment

    fusion = default_fusion()
    if preset:
        model, data, cut = ActionFormer.from_preset(preset), NO_DATA, {}
    else:
        model = load_model(workdir, ActionFormer)
        config = ml_collections.ConfigDict(run_config(workdir))
        data, cut = config.data, Experiment(config).detection_windows
        fusion = {name: config.fusion[name] for name in fusion}
    override(settings, model, fusion if fuses else None)
    options = {**cut, "tile_steps": tile_steps, "verbose": 1 if is_terminal() else 2}
    detect = functools.partial(_detect, model, data["downsample_rate"], options)
    return DetectingModel(
        detect,
        model.architecture.channels,
        model.architecture.num_streams,
        needs_duration=model.grid is None,
        grid=model.grid,
        encoder=model.encoder,
        data=data,
        fusion=fusion,
        thresholds=model.thresholds,
        network=model,
        has_windows=cut.get("window_steps") is not None,
    )


def _detect(model, downsample_rate, options, video_id, feats, fps, duration_sec):
    """Detections in the features of one video, which are downsampled already."""
    grid = model.grid
    if grid is None:
        video = Video(video_id, "", duration_sec, fps, (), ())
        timing = Timing(None, None, downsample_rate=downsample_rate)
        grid = timing.grid_of(video, len(feats))
    return model.detect(feats, fps=fps, duration_sec=duration_sec, grid=grid, **options)
