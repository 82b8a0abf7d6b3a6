"""Detections of whole subsets, and their scores."""

import functools
import pathlib

import ml_collections
import numpy as np

from keras_actionformer.data.batches import evaluation_items
from keras_actionformer.detection.detections import Detections, save_detections
from keras_actionformer.errors import UserError, said_of
from keras_actionformer.evaluation.evaluation import evaluate
from keras_actionformer.evaluation.fusion import fuse_videos
from keras_actionformer.evaluation.score_thresholds import recommend_thresholds, tune_thresholds
from keras_actionformer.files import write_json
from keras_actionformer.model import ActionFormer
from keras_actionformer.presets.presets import store_thresholds
from keras_actionformer.presets.runs import DETECTIONS, EVALUATION, load_model, model_path
from keras_actionformer.terminal import RunningLine
from keras_actionformer.training.config import check_config, run_config
from keras_actionformer.training.experiment import Experiment
from keras_actionformer.training.overrides import override

FUSED = (
    "--tune_threshold finds thresholds for the scores of a model, not for those that come of a "
    "fusion with scores of videos."
)


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
    detections = fuse_where_set(detections, video_scores, config)
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
    return detect_items(model, items, **experiment.detection_windows)


def detect_items(model, items, progress=None, **windows):
    """Detects actions in what `evaluation_items` hands out.

    Args:
      model: `ActionFormer`.
      items: see `evaluation_items`.
      progress: function of (videos done, all of them); None: a bar, where there is a terminal.
      **windows: `window_steps` and `window_overlap` of `ActionFormer.detect`, where wanted.

    Returns:
      {video id: `Detections`}.
    """
    progress = progress or functools.partial(RunningLine().count, what="videos")
    found = {}
    for video, feats, grid in items:
        progress(len(found), len(items))
        with said_of(f"Features of {video.video_id!r}"):
            found[video.video_id] = model.detect(
                feats, duration_sec=video.duration_sec, grid=grid, **windows
            )
    progress(len(items), len(items))
    return found


def fuse_where_set(detections, video_scores, config):
    """Fuses detections with what `Experiment.read_ground_truth` returned: scores, or None."""
    if video_scores is None:
        return detections
    fusion = config.fusion
    return fuse_videos(detections, video_scores, fusion.num_pred, fusion.topk, fusion.rule)


def evaluate_workdir(
    workdir,
    subset=None,
    tiou_thresholds=None,
    video_scores=None,
    weights=None,
    *,
    overrides=None,
    score_threshold=None,
    tune_threshold=False,
    average_recall=False,
    errors=None,
    any_encoder=False,
    blocked_videos=None,
):
    """Detects on a subset with a training folder's model, fuses where it is set, and scores.

    Writes `detections.json` and `evaluation.json` into the folder; of weights that are named,
    `detections_last.json` and `evaluation_last.json`, say; none of another subset, or with other
    settings, than the configuration's.

    Args:
      workdir: str or path.
      subset: str, default the configuration's `data.eval_subset`; to tune on, `data.val_subset`.
      tiou_thresholds: floats, default the configuration's.
      video_scores: str or path, default the configuration's `fusion.video_scores`.
      weights: str, see `load_model`.
      overrides: dict, see `override`; or None.
      score_threshold: float, tells precision, recall and F1 from this score on; default: from the
        model's thresholds on, where it has some.
      tune_threshold: bool, finds the thresholds of the best F1 on the subset instead, which the
        folder's model keeps.
      average_recall, errors: see `evaluate`.
      any_encoder: bool, take features of another encoder than the model was trained on, too.
      blocked_videos: str or path, default the configuration's `data.blocked_videos`.

    Returns:
      `EvaluationResult`.

    Raises:
      UserError: there is nothing to tune on, or see `tune_thresholds`; or the features are of
        another encoder.
    """
    workdir = pathlib.Path(workdir)
    config = ml_collections.ConfigDict(run_config(workdir))
    config.fusion.video_scores = str(video_scores or config.fusion.video_scores)
    config.data.any_encoder |= any_encoder
    own_blocked = config.data.blocked_videos
    config.data.blocked_videos = str(blocked_videos or own_blocked)
    own_subset = config.data.eval_subset
    subset = subset or (_tuning_subset(config) if tune_threshold else own_subset)
    model = load_model(workdir, ActionFormer, weights)
    annotations, video_scores = Experiment(config).read_ground_truth()
    if tune_threshold and video_scores is not None:
        raise UserError(FUSED)
    fusion = None if video_scores is None else config.fusion
    is_changed = override(overrides or {}, model, fusion)
    is_changed |= config.data.blocked_videos != own_blocked
    videos = annotations.subset(subset)
    Experiment(config).check_encoder(model, videos)
    detections = detect_subset(model, config, videos)
    detections = fuse_where_set(detections, video_scores, config)
    class_names = model.class_names
    if video_scores is not None:
        class_names = annotations.class_names
    if tune_threshold:
        thresholds = tune_thresholds(videos, detections, model.architecture.num_classes)
        keep_thresholds(model, thresholds, model_path(workdir, weights), subset)
    if score_threshold is None and video_scores is None:  # fused scores are other ones
        score_threshold = model.thresholds
    result = evaluate(
        videos,
        detections,
        tuple(tiou_thresholds or config.tiou_thresholds),
        class_names=class_names,
        thresholds=score_threshold,
        average_recall=average_recall,
        errors=errors,
    )
    if is_changed or subset.lower() != own_subset.lower():
        print(f"{workdir} keeps the {EVALUATION} of its own settings and subset.")
    else:
        end = f"_{weights}.json" if weights else ".json"
        save_detections(workdir / DETECTIONS.replace(".json", end), detections)
        write_json(workdir / EVALUATION.replace(".json", end), result.to_dict(), indent=2)
    return result


def with_thresholds(workdir, keep=True):
    """The model of a run whose training is over, with the thresholds that its validation tells.

    They are found, and kept, where the run has a validation subset and the model none yet. (Scores
    that a fusion makes are other ones.)

    Args:
      workdir: str or path.
      keep: bool, whether the folder's model is to keep them, too.

    Returns:
      `ActionFormer`.
    """
    model = load_model(workdir, ActionFormer)
    config = ml_collections.ConfigDict(run_config(workdir))
    subset = config.data.val_subset
    if model.thresholds is not None or not subset or config.fusion.video_scores:
        return model
    videos = Experiment(config).read_ground_truth()[0].subset(subset)
    found = detect_subset(model, config, videos)
    thresholds = recommend_thresholds(videos, found, model.architecture.num_classes)
    if thresholds is None:
        print(f"Nothing is found in {subset!r}: no score threshold is recommended.")
    elif keep:
        keep_thresholds(model, thresholds, model_path(workdir), subset)
    model.thresholds = thresholds
    return model


def _tuning_subset(config):
    """The subset to find thresholds on: videos that the training has not learned from."""
    subset = config.data.val_subset
    if not subset:
        raise UserError(
            "The run has no validation subset (data.val_subset) to find thresholds on: name videos "
            "that it was not trained on with --subset."
        )
    return subset


def keep_thresholds(model, thresholds, path, subset):
    """Gives thresholds to a model and to the file it was opened from (see `store_thresholds`).

    Args:
      model: `ActionFormer`.
      thresholds: `Thresholds`.
      path: see `store_thresholds`.
      subset: str, on which they are the best.
    """
    model.thresholds = thresholds
    store_thresholds(model, path)
    print(f"The score threshold of the best F1 on {subset!r} is {thresholds}; {path} keeps it.")
