"""Scores detections: mAP at temporal IoU thresholds and Recall@kx.

From files, in about a second (no deep learning framework is started):

  evaluate --ground_truth=annotations.json --detections=detections.json --subset=test

or of a trained model, whose detections are computed first:

  evaluate --workdir=runs/thumos14
  evaluate --workdir=runs/thumos14 --weights=last
  evaluate --preset=presets/thumos14 --ground_truth=annotations.json --feats=feats

With --video_scores the segments (of a model of one class) are first repeated for the best classes
of their video, as is usual on ActivityNet.

--tune_threshold finds the score from which on detections are best counted (of the highest F1 at a
tIoU of 0.5): one for all classes, and one for each with 10 instances or more. The run or preset
keeps them, so that `detect --bouts` and all that is exported know them. Take videos for it that the
model was not trained on. Where a model has such thresholds, precision, recall and F1 are told, too.

  evaluate --workdir=runs/thumos14 --tune_threshold --subset=validation

--errors tells what is wrong: of which kinds the false positives are and what each costs, which
instances are missed, which classes are taken for which, how far the boundaries are off, and whether
scores are probabilities. --error_bins does so with other bins of lengths and the like than those
that are usual for THUMOS14. --average_recall scores the detections as proposals.

  evaluate --ground_truth=annotations.json --detections=detections.json --error_bins=data

--blocked_videos leaves out videos that are no longer offered, of ground truth and detections, as
ActivityNet's own evaluation does. --ensemble, or --verbs and --nouns, put several models together
in the place of --preset, as in `detect`. What --verbs and --nouns find, and detections of such
actions with --actions, is scored as by the challenge of EPIC-KITCHENS-100: as verbs, as nouns and
as actions, at a tIoU of 0.1 to 0.5.

  evaluate --verbs=runs/epic_verb --nouns=runs/epic_noun --ground_truth=annotations_action.json
    --subset=validation --feats=feats --suffix=.npz
  evaluate --actions --ground_truth=annotations_action.json --detections=actions.json

A run or a preset is evaluated with other settings of the post-processing or the fusion, and its
files stay as they are, by

  evaluate --workdir=runs/thumos14 --config.postprocess.nms_sigma=0.4 --output=scores.json
"""

import dataclasses

from absl import flags

from keras_actionformer.cli.detecting_models import detection_windows, open_several
from keras_actionformer.cli.ground_truth import define_ground_truth, read_ground_truth
from keras_actionformer.cli.pages import write_run_page
from keras_actionformer.cli.settings import define_settings, given_settings
from keras_actionformer.cli.several import define_several, given_several
from keras_actionformer.data.batches import evaluation_items
from keras_actionformer.data.encoder_records import OF_MODEL
from keras_actionformer.data.features import MODEL_WIDTH, UNEQUAL_STREAMS, FeatureFiles
from keras_actionformer.data.grid import Timing
from keras_actionformer.data.sidecars import check_as_trained, with_own_timing
from keras_actionformer.detection.detections import load_detections
from keras_actionformer.errors import UserError
from keras_actionformer.evaluation.actions import TIOU_THRESHOLDS as ACTION_TIOU_THRESHOLDS
from keras_actionformer.evaluation.actions import evaluate_actions
from keras_actionformer.evaluation.average_precision import TIOU_THRESHOLDS
from keras_actionformer.evaluation.blocked_videos import load_blocked_videos
from keras_actionformer.evaluation.evaluation import evaluate
from keras_actionformer.evaluation.fusion import fuse_videos
from keras_actionformer.evaluation.score_thresholds import tune_thresholds
from keras_actionformer.evaluation.sensitivity import EDGE_NAMES
from keras_actionformer.evaluation.video_scores import load_video_scores
from keras_actionformer.files import write_json
from keras_actionformer.presets.fetching import fetched
from keras_actionformer.quiet import import_keras
from keras_actionformer.training.overrides import default_fusion, override

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a training run to evaluate.")
_WEIGHTS = flags.DEFINE_string(
    "weights",
    None,
    "Of --workdir: best, average, last, or the number of a kept epoch; without it, the best where "
    "there is a validation subset, or the average.",
)
_PRESET = flags.DEFINE_string(
    "preset", None, "Preset (name, folder or hf://...) or reference checkpoint to evaluate."
)
_SEVERAL = define_several()
_TRUTH = define_ground_truth()
_GROUND_TRUTH, _DEFAULT_SUBSET = _TRUTH["ground_truth"], _TRUTH["default_subset"]
_DETECTIONS = flags.DEFINE_string("detections", None, "JSON or CSV file of detections.")
_FEATS = flags.DEFINE_list(
    "feats", None, "Folder of feature files, for --preset; of several streams, one each."
)
_ANY_ENCODER = flags.DEFINE_bool(
    "any_encoder", False, "Takes features of another encoder than the model was trained on."
)
_PREFIX = flags.DEFINE_string("prefix", "", "A feature file is <prefix><video id><suffix>.")
_SUFFIX = flags.DEFINE_string("suffix", ".npy", "See --prefix.")
_UNEQUAL_STREAMS = flags.DEFINE_enum(
    "unequal_streams", "error", UNEQUAL_STREAMS, "Streams of other lengths: an error, or resized."
)
_VIDEO_SCORES = flags.DEFINE_string(
    "video_scores", None, "File of the class scores of whole videos (.json, .csv, .npz, .pkl)."
)
_SUBSET = flags.DEFINE_string(
    "subset",
    None,
    "Subset to evaluate; by default the run's (to tune on, its validation subset), "
    "--default_subset, or 'test'.",
)
_TIOU = flags.DEFINE_list(
    "tiou", None, "Temporal IoU thresholds; without them, the run's, or 0.3,...,0.7."
)
_SETTINGS = define_settings()
_SCORE_THRESHOLD = flags.DEFINE_float(
    "score_threshold", None, "Tells precision, recall and F1 from this score on."
)
_TUNE_THRESHOLD = flags.DEFINE_bool(
    "tune_threshold", False, "Finds the thresholds of the best F1; a run or preset keeps them."
)
_AVERAGE_RECALL = flags.DEFINE_bool(
    "average_recall", False, "Also tells AR@AN, the recall of so many detections a video."
)
_ERRORS = flags.DEFINE_bool(
    "errors", False, "Also tells of which kinds the errors are, and where they are made."
)
_ERROR_BINS = flags.DEFINE_enum(
    "error_bins",
    None,
    list(EDGE_NAMES),
    "--errors with bins of lengths and the like as for a data set, or with as many instances each; "
    f"otherwise {EDGE_NAMES[0]}.",
)
_ACTIONS = flags.DEFINE_bool(
    "actions", False, "Scores verbs and nouns, too, of classes called by both ids, as 0,21 (EPIC)."
)
_BLOCKED = flags.DEFINE_string(
    "blocked_videos", None, "JSON file of the ids of videos to leave out (ActivityNet's blocked)."
)
_PER_CLASS = flags.DEFINE_bool("per_class", False, "Also print a table with a line a class.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write the scores to.")


def main():
    if _TUNE_THRESHOLD.value and _SCORE_THRESHOLD.value is not None:
        raise UserError("Give either --score_threshold=NUMBER, or --tune_threshold to find one.")
    if _TUNE_THRESHOLD.value and given_settings(_SETTINGS):
        raise UserError(
            "--tune_threshold finds thresholds for the settings that the model has: leave out "
            "--config.postprocess and --config.fusion."
        )
    if _ACTIONS.value or _SEVERAL["verbs"].value:
        _evaluate_actions(_thresholds(_TIOU.value))
        return
    with fetched(_WORKDIR.value, writes_back=True) as workdir:
        _evaluate_and_tell(workdir)


def _evaluate_and_tell(workdir):
    """Does so; `workdir` is what --workdir names, on this machine, or None."""
    result = _evaluate(_thresholds(_TIOU.value), workdir)
    print(result)
    if _PER_CLASS.value:
        print(f"\n{result.per_class_table()}")
    elif _TUNE_THRESHOLD.value:
        print(f"\n{result.above_thresholds.per_class_table()}")
    if _OUTPUT.value:
        write_json(_OUTPUT.value, result.to_dict())
    if _WORKDIR.value and not (_WEIGHTS.value or _SUBSET.value or given_settings(_SETTINGS)):
        write_run_page(workdir, _WORKDIR.value)  # about what the folder keeps


def _evaluate_actions(tiou_thresholds):
    """Tells the scores of what the flags name as verbs, nouns and actions."""
    for flag in (
        _WORKDIR, _WEIGHTS, _VIDEO_SCORES, _SCORE_THRESHOLD, _TUNE_THRESHOLD, _AVERAGE_RECALL,
        _ERRORS, _ERROR_BINS,
    ):  # fmt: skip
        if flag.value:
            raise UserError(f"--{flag.name} is not for actions: leave it out.")
    _check_named()
    videos, names, detections, _ = _found(None)
    levels = evaluate_actions(videos, detections, names, tiou_thresholds or ACTION_TIOU_THRESHOLDS)
    for level, result in levels.items():
        print(f"{level}s: {result}\n")
        if _PER_CLASS.value:
            print(f"{result.per_class_table()}\n")
    if _OUTPUT.value:
        write_json(_OUTPUT.value, {level: result.to_dict() for level, result in levels.items()})


def _evaluate(tiou_thresholds, workdir):
    """Returns the `EvaluationResult` of what the flags name."""
    errors = _ERROR_BINS.value or (EDGE_NAMES[0] if _ERRORS.value else None)
    others = _PRESET.value, _GROUND_TRUTH.value, _DETECTIONS.value, given_several(_SEVERAL)
    if _WORKDIR.value and not any(others):
        for flag in (_FEATS, _PREFIX, _SUFFIX, _UNEQUAL_STREAMS):
            if flag.present:
                raise UserError(f"--{flag.name} is not for --workdir, whose run has its own.")
        import_keras()  # seconds long, and files of detections do without
        from keras_actionformer.training.run_scores import evaluate_workdir

        return evaluate_workdir(
            workdir,
            _SUBSET.value,
            tiou_thresholds,
            _VIDEO_SCORES.value,
            _WEIGHTS.value,
            overrides=given_settings(_SETTINGS),
            score_threshold=_SCORE_THRESHOLD.value,
            tune_threshold=_TUNE_THRESHOLD.value,
            average_recall=_AVERAGE_RECALL.value,
            errors=errors,
            any_encoder=_ANY_ENCODER.value,
            blocked_videos=_BLOCKED.value,
        )
    _check_named()
    fusion = default_fusion() if _VIDEO_SCORES.value else None
    videos, names, detections, recommended = _found(fusion)
    thresholds = _SCORE_THRESHOLD.value
    if thresholds is None and not fusion:  # fused scores are other ones
        thresholds = recommended
    if fusion:
        video_scores = load_video_scores(_VIDEO_SCORES.value, names)
        detections = fuse_videos(detections, video_scores, **fusion)
    if _TUNE_THRESHOLD.value and not _PRESET.value:
        thresholds = tune_thresholds(videos, detections, len(names), names)
    return evaluate(
        videos,
        detections,
        tiou_thresholds or TIOU_THRESHOLDS,
        class_names=names,
        thresholds=thresholds,
        average_recall=_AVERAGE_RECALL.value,
        errors=errors,
    )


def _check_named():
    """Raises UserError where the flags do not name ground truth and what to score against it."""
    if _WEIGHTS.value:
        raise UserError("--weights is for --workdir alone: a run has several, files have none.")
    named = (_DETECTIONS.value, _PRESET.value, given_several(_SEVERAL))
    if _WORKDIR.value or not _GROUND_TRUTH.value or list(map(bool, named)).count(True) != 1:
        raise UserError(
            "Give --workdir=DIR, or --ground_truth=FILE and --detections=FILE, or "
            "--ground_truth=FILE, --preset=NAME and --feats=DIR (or several models in the place "
            "of --preset: --ensemble=DIR,DIR, or --verbs=DIR and --nouns=DIR)."
        )


def _found(fusion):
    """What is scored, and against what.

    Args:
      fusion: as for `_detect`.

    Returns:
      (tuple of `Video`, the class names of their labels, {video id: `Detections`}, `Thresholds`
      that a model recommends or None).
    """
    annotations = read_ground_truth(_TRUTH)
    videos, names, blocked = annotations.subset(_subset()), annotations.class_names, frozenset()
    if _BLOCKED.value:
        ids = [video.video_id for video in annotations.videos]
        blocked = load_blocked_videos(_BLOCKED.value, ids)
        videos = tuple(video for video in videos if video.video_id not in blocked)
    if not _DETECTIONS.value:
        return videos, names, *_detect(videos, names, fusion)
    override(given_settings(_SETTINGS), fusion=fusion)
    # The names of what is fused are about to be replaced; those of actions say all themselves.
    detections = load_detections(_DETECTIONS.value, None if fusion or _ACTIONS.value else names)
    detections = {id_: found for id_, found in detections.items() if id_ not in blocked}
    return videos, names, detections, None


def _subset():
    """The subset to evaluate of a --ground_truth."""
    return _SUBSET.value or _DEFAULT_SUBSET.value or "test"


def _detect(videos, class_names, fusion):
    """What a preset's model finds in the feature files of videos, and the thresholds it has.

    Args:
      videos: sequence of `Video`.
      class_names: tuple of str, of their labels.
      fusion: dict, in which the settings of the flags are put; None where nothing is fused.

    Returns:
      ({video id: `Detections`}, `Thresholds` or None).
    """
    if not _FEATS.value:
        named = next(flag.name for flag in (_PRESET, *_SEVERAL.values()) if flag.value)
        raise UserError(f"--{named} needs --feats=DIR, the folder of the feature files.")
    several = given_several(_SEVERAL)
    if several and _TUNE_THRESHOLD.value:
        raise UserError("--tune_threshold is for one model, which keeps what it finds.")
    import_keras()
    from keras_actionformer.model import ActionFormer
    from keras_actionformer.presets.presets import thresholds_file
    from keras_actionformer.training.run_scores import FUSED, detect_items, keep_thresholds

    if _TUNE_THRESHOLD.value and fusion:
        raise UserError(FUSED)
    path = thresholds_file(_PRESET.value) if _TUNE_THRESHOLD.value else None
    windows = {}
    if several:
        model, config = open_several(several)
        windows = {} if config is None else detection_windows(config)
    else:
        model = ActionFormer.from_preset(_PRESET.value)
    if model.grid is None:
        named = f"The preset '{_PRESET.value}' does" if _PRESET.value else "The models do"
        raise UserError(f"{named} not know the timing of its features.")
    override(given_settings(_SETTINGS), model, fusion)
    channels, grid = model.architecture.channels, model.grid
    features = FeatureFiles(
        _FEATS.value,
        channels,
        _PREFIX.value,
        _SUFFIX.value,
        MODEL_WIDTH,
        _UNEQUAL_STREAMS.value,
    )
    check_as_trained(
        [
            (features.describe(video.video_id), sidecar)
            for video in videos
            if (sidecar := features.sidecar(video.video_id)) is not None
        ],
        grid,
        None if _ANY_ENCODER.value else model.encoder,
    )
    # The features' own rate goes before the model's, and this before that of the annotations.
    videos = [dataclasses.replace(video, fps=grid.fps or video.fps) for video in videos]
    timing = Timing(grid.stride_frames, grid.window_frames)
    videos = with_own_timing(videos, features, timing, OF_MODEL)
    detections = detect_items(model, evaluation_items(videos, features, timing), **windows)
    if path:
        found = tune_thresholds(videos, detections, model.architecture.num_classes, class_names)
        keep_thresholds(model, found, path, _subset())
    return detections, model.thresholds


def _thresholds(texts):
    """Floats from the texts of --tiou, or None where it is not given."""
    try:
        return texts and tuple(float(text) for text in texts)
    except ValueError as error:
        raise UserError(
            f"--tiou must be numbers with commas between them, for example 0.3,0.5,0.7; got "
            f"{','.join(texts)!r}."
        ) from error
