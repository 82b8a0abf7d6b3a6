"""Detections of whole subsets, and their scores."""

import pathlib

import keras
import ml_collections
import numpy as np

from keras_actionformer.data.batches import evaluation_items
from keras_actionformer.detection.detections import Detections, save_detections
from keras_actionformer.evaluation.evaluation import evaluate
from keras_actionformer.evaluation.fusion import fuse_videos
from keras_actionformer.files import write_json
from keras_actionformer.model import ActionFormer
from keras_actionformer.presets.runs import DETECTIONS, EVALUATION, load_model
from keras_actionformer.training.callbacks import verbosity
from keras_actionformer.training.config import check_config, run_config
from keras_actionformer.training.experiment import Experiment


def check_evaluation(config):
    """Raises UserError where the evaluation subset, its features or video scores are unusable.

    For before a training: its end is a bad time to hear of it.
    """
    check_config(config)
    videos = check_scoring(config)
    features = Experiment(config).features
    for video in videos:
        features.load(video.video_id)


def check_scoring(config):
    """Raises UserError where the evaluation would stop, whatever is detected; reads no features.

    Returns:
      tuple of `Video`, those to detect in.
    """
    experiment = Experiment(config)
    annotations, video_scores = experiment.read_ground_truth()
    videos = annotations.subset(config.data.eval_subset)
    present = experiment.present_videos(videos)
    # All steps of an evaluation, for a model that finds nothing.
    detections = {video.video_id: Detections(np.zeros((0, 2)), [], []) for video in present}
    if video_scores is not None:
        fuse_videos(detections, video_scores, config.fusion.num_pred, config.fusion.topk)
    evaluate(videos, detections, tuple(config.tiou_thresholds))
    return present


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
    experiment = Experiment(config)
    videos = experiment.present_videos(videos)
    items = evaluation_items(videos, experiment.features, experiment.timing)
    return detect_items(model, items, len(videos), **experiment.detection_windows)


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
    progress = keras.utils.Progbar(count, unit_name="video", verbose=verbosity())
    for video, feats, grid in items:
        found[video.video_id] = model.detect(
            feats, duration_sec=video.duration_sec, grid=grid, **windows
        )
        progress.add(1)
    return found


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
    config = ml_collections.ConfigDict(run_config(workdir))
    config.fusion.video_scores = str(video_scores or config.fusion.video_scores)
    model = load_model(workdir, ActionFormer)
    annotations, video_scores = Experiment(config).read_ground_truth()
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
    save_detections(workdir / DETECTIONS, detections)
    write_json(workdir / EVALUATION, result.to_dict(), indent=2)
    return result
