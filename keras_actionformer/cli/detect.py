"""Detects actions in feature files with a trained model.

  detect --workdir=runs/thumos14 --feats=video.npy
  detect --preset=presets/thumos14 --feats=video.npy --fps=30
  detect --workdir=runs/thumos14 --feats=new/a.npy,new/b.npy --fps=25 --output=found.json
  detect --workdir=runs/thumos14 --feats=new --score_threshold=0.3 --output=found.csv
  detect --workdir=runs/anet --feats=new --video_scores=classifier.json --output=found.json
  detect --workdir=runs/two_streams --feats=new/rgb,new/flow --output=found.json
  detect --server=http://localhost:8501/v1/models/thumos14 --feats=new --classes=labels.txt

A feature file holds an array (time steps, channels) of the kind the model was trained on: `.npy`,
`.npz` with the key "feats", `.pt` or `.pth`; a `.h5` or `.hdf5` file holds one a video. For a run
on several streams (a data.feats of several folders), --feats names one folder or `.h5` file a
stream, and the names of the files are as in the run.

The timing of the steps is the model's; --fps tells where the video runs at another frame rate.
Features that `extract` has written tell their own timing, and need no --fps. A model without a
timing of its own (a run with stride_frames=None) needs --duration, which is shared out over the
steps. Where videos differ in these, --table names a CSV file with the columns video, fps and
duration, or one of the last two. A run's sliding windows and downsampling are applied as in its
evaluation.

A file may be longer than memory allows: of a `.npy` or `.h5`, parts are read at a time, and
features of more than 16384 steps run in overlapping tiles that find what one pass would find.
--tile_steps sets how long these are, and so the memory that they take.

--bouts writes what a person would after watching: of each class one bout after the other, by time,
with a table of their counts and seconds. They are what scores as high as the model recommends (a
training with a validation subset finds what to recommend), or --score_threshold; --merge_gaps_sec
joins those that follow each other closely, and --min_length_sec drops short ones.

  detect --workdir=runs/thumos14 --feats=new --bouts --min_length_sec=0.5 --output=bouts.csv

--figure draws what was found over time, stronger bars being surer: of detections those of
--score_threshold or more, or else of what the model recommends.

  detect --workdir=runs/thumos14 --feats=video.npy --figure=found.png

--format=elan, boris, via, label_studio, audacity, srt or vtt writes drafts, to be corrected in the
tool of that name or with subtitles, and what comes of it trains the next model. --output names a
new folder for elan, audacity, srt and vtt, which have a file a video, and a new file for the
others. --media tells where the tool finds the videos; in place of {} comes the id. It is best with
--bouts, or at least a --score_threshold.

  detect --workdir=runs/mice --feats=new --bouts --format=elan --media=films/{}.mp4 --output=drafts

Another setting of the post-processing than the model's (or of the fusion, than the run's) is taken
by --config.postprocess.nms_sigma=0.4 and the like, and told; files of the model stay as they are.

--server asks a model that TensorFlow Serving runs somewhere else: over REST with an address as
above, or over gRPC with grpc://localhost:8500/thumos14 (this needs the extra `grpc`); /versions/N
behind either asks for one version. Such a model gives ids of classes, which --classes names: with
labels.txt of the export or, where the recommended scores are to be known, too, its manifest.json.
"""

import functools
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

from absl import flags

from keras_actionformer.cli.classes import read_classes
from keras_actionformer.cli.frame_rate import FrameRate
from keras_actionformer.cli.settings import define_settings, given_settings
from keras_actionformer.cli.videos import check_exist, find_videos, read_times
from keras_actionformer.data.annotations import Video
from keras_actionformer.data.grid import FeatureGrid, Timing
from keras_actionformer.data.sidecars import check_as_trained
from keras_actionformer.deploy.client import ServedModel
from keras_actionformer.detection.bouts import bout_table, count_bouts, save_bout_counts
from keras_actionformer.detection.detections import save_detections
from keras_actionformer.detection.drafts import FORMATS, check_draft_ids, check_drafts, save_drafts
from keras_actionformer.detection.thresholds import Thresholds
from keras_actionformer.errors import UserError, counted
from keras_actionformer.evaluation.fusion import fuse_videos
from keras_actionformer.evaluation.video_scores import load_video_scores
from keras_actionformer.quiet import import_keras, quiet_start
from keras_actionformer.report.figures import check_picture
from keras_actionformer.report.timeline import plot_timeline
from keras_actionformer.terminal import RunningLine, is_terminal
from keras_actionformer.training.overrides import default_fusion, override

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a training run.")
_PRESET = flags.DEFINE_string(
    "preset", None, "Instead: a preset (name, folder or hf://...), or a reference checkpoint."
)
_SERVER = flags.DEFINE_string(
    "server", None, "Instead: the address of a model that TensorFlow Serving runs."
)
_CLASSES = flags.DEFINE_string(
    "classes",
    None,
    "For --server: labels.txt (a class name a line) or manifest.json of the export.",
)
_TIMEOUT = flags.DEFINE_float(
    "timeout", None, "For --server: seconds to wait for each answer; 60 by default."
)
_FEATS = flags.DEFINE_list(
    "feats",
    None,
    "Feature files, or folders of them, with commas between; of several streams, one folder each.",
    required=True,
)
_FPS = flags.DEFINE(FrameRate(), "fps", None, "Frames a second, where it is not the model's.")
_DURATION = flags.DEFINE_float("duration", None, "Seconds; detections are cut to end by then.")
_TABLE = flags.DEFINE_string(
    "table", None, "CSV file of the videos with their fps, their duration in seconds, or both."
)
_ANY_ENCODER = flags.DEFINE_bool(
    "any_encoder", False, "Takes features of another encoder than the model was trained on."
)
_VIDEO_SCORES = flags.DEFINE_string(
    "video_scores", None, "File of the class scores of whole videos, for a model of one class."
)
_TILE_STEPS = flags.DEFINE_integer(
    "tile_steps", None, "Longer features run in tiles of so many steps; 16384 by default."
)
_SETTINGS = define_settings()
_OUTPUT = flags.DEFINE_string(
    "output", None, "JSON or CSV file to write the detections to; or what --format needs."
)
_FORMAT = flags.DEFINE_enum(
    "format",
    None,
    ["json", "csv", *FORMATS],
    "What --output becomes; json or csv by its name, or drafts for a labelling tool.",
)
_MEDIA = flags.DEFINE_string(
    "media", None, "Where that tool finds the videos, with {} for their ids: films/{}.mp4."
)
_FIGURE = flags.DEFINE_string("figure", None, "PNG, SVG or PDF file to draw them in (extra plot).")
_TOP_K = flags.DEFINE_integer(
    "top_k", None, "Keeps so many of the best detections of each file.", lower_bound=1
)
_SCORE_THRESHOLD = flags.DEFINE_float(
    "score_threshold", None, "Drops detections with a lower score."
)
_BOUTS = flags.DEFINE_bool("bouts", False, "Finds bouts: of each class one after the other.")
_MERGE_GAPS = flags.DEFINE_float(
    "merge_gaps_sec", 0.0, "For --bouts: joins those with fewer seconds between.", lower_bound=0
)
_MIN_LENGTH = flags.DEFINE_float(
    "min_length_sec", 0.0, "For --bouts: drops those of fewer seconds.", lower_bound=0
)
_SUMMARY = flags.DEFINE_string(
    "summary", None, "For --bouts: CSV file of counts and seconds of each class in each video."
)


# What a run's configuration says of feature files, where there is no run.
_NO_DATA = {"feats": "", "prefix": "", "suffix": "", "downsample_rate": 1}


def main():
    _check_options()  # before Keras is loaded and anything is computed
    video_scores = _VIDEO_SCORES.value and load_video_scores(_VIDEO_SCORES.value)
    model = _served_model() if _SERVER.value else _local_model()
    threshold = _SCORE_THRESHOLD.value
    recommended = None if video_scores else model.thresholds  # fused scores are other ones
    if _BOUTS.value and threshold is None:
        threshold = recommended
        if threshold is None:
            raise UserError(
                "--bouts needs to know from which score on detections count, but the model "
                "recommends none: give --score_threshold=0.3, say, or have evaluate "
                "--tune_threshold find the best one."
            )
    videos = find_videos(_FEATS.value, model.data, model.channels, model.num_streams)
    if _FORMAT.value in FORMATS:
        check_draft_ids(videos)
    times = _times_of(videos, model)
    for features, name in videos.values():  # a bad file is told before time is spent on others
        features.check(name)
    found, line = {}, RunningLine()
    for video_id, (features, name) in videos.items():
        line.count(len(found), len(videos), "files")
        feats = features.open(name)
        if model.data["downsample_rate"] > 1:  # which reads what is no `.npy`
            feats = feats[:: model.data["downsample_rate"]]
        detections = model.detect(video_id, feats, *times[video_id])
        if video_scores:
            detections = fuse_videos({video_id: detections}, video_scores, **model.fusion)[video_id]
        if _BOUTS.value:
            detections = detections.bouts(threshold, _MERGE_GAPS.value, _MIN_LENGTH.value)
        else:
            detections = detections.filter(min_score=threshold)
        if _TOP_K.value is not None:
            detections = detections.top_k(_TOP_K.value)
        found[video_id] = detections
        line.clear()
        told = detections.describe("bout" if _BOUTS.value else "detection")
        print(f"{' and '.join(map(str, features.paths(name)))}: {told}", flush=True)
    print(_told(found, recommended if threshold is None else None))
    if _OUTPUT.value:
        if _FORMAT.value in FORMATS:
            save_drafts(_OUTPUT.value, _FORMAT.value, found, _MEDIA.value)
        else:
            save_detections(_OUTPUT.value, found)
        print(f"Wrote {_OUTPUT.value}.")
    if _SUMMARY.value:
        save_bout_counts(_SUMMARY.value, count_bouts(found))
        print(f"Wrote {_SUMMARY.value}.")
    if _FIGURE.value:
        min_score = recommended if threshold is None else None  # else they are chosen already
        plot_timeline(found, path=_FIGURE.value, min_score=min_score)
        print(f"Wrote {_FIGURE.value}.")


def _check_options():
    if [bool(flag.value) for flag in (_WORKDIR, _PRESET, _SERVER)].count(True) != 1:
        raise UserError("Give either --workdir=DIR or --preset=NAME or --server=URL.")
    if not _SERVER.value and (_CLASSES.value is not None or _TIMEOUT.value is not None):
        raise UserError(
            "--classes and --timeout are for --server; another model has its own class names."
        )
    if _SERVER.value and _TILE_STEPS.value is not None:
        raise UserError("--tile_steps is for a model that runs here, not for that of a --server.")
    _check_format()
    if _SUMMARY.value and not _SUMMARY.value.lower().endswith(".csv"):
        raise UserError(f"--summary={_SUMMARY.value} must end in .csv.")
    _check_writable(_SUMMARY)
    if _FIGURE.value:
        check_picture(_FIGURE.value, "--figure")
        _check_writable(_FIGURE)
    if _BOUTS.value and _TOP_K.value is not None:
        raise UserError("--top_k is for detections, not for --bouts: leave it out.")
    for flag in (_MERGE_GAPS, _MIN_LENGTH, _SUMMARY):
        if flag.value and not _BOUTS.value:
            raise UserError(f"--{flag.name} is for --bouts: give that, too.")
    if _TABLE.value and (_FPS.value is not None or _DURATION.value is not None):
        raise UserError("Give either --table, or --fps and --duration.")
    check_exist(_FEATS.value)


def _check_format():
    """Raises UserError where --format, --output and --media do not fit each other."""
    if _FORMAT.value in FORMATS:
        if not _OUTPUT.value:
            raise UserError(f"--format={_FORMAT.value} is of a file: say which in --output, too.")
        check_drafts(_OUTPUT.value, _FORMAT.value, _MEDIA.value)
        _check_writable(_OUTPUT, FORMATS[_FORMAT.value].is_folder)
        return
    if _MEDIA.value is not None:
        raise UserError(f"--media is for a --format of {', '.join(FORMATS)}.")
    suffixes = (f".{_FORMAT.value}",) if _FORMAT.value else (".json", ".csv")
    if _OUTPUT.value and not _OUTPUT.value.lower().endswith(suffixes):
        raise UserError(
            f"--output={_OUTPUT.value} must end in {' or '.join(suffixes)}; drafts for labelling "
            f"tools are written by a --format of {', '.join(FORMATS)}."
        )
    _check_writable(_OUTPUT)


def _times_of(videos, model):
    """The frame rate and the duration of each video: what the options or its features tell."""
    if _DURATION.value is not None and len(videos) > 1:
        raise UserError(
            f"--duration is that of one video, but --feats names {len(videos)}. Give --table."
        )
    times = dict.fromkeys(videos, (_FPS.value, _DURATION.value))
    if _TABLE.value:
        times = read_times(_TABLE.value, videos)
    told = []
    for video_id, (features, name) in videos.items():
        sidecar = features.sidecar(name)
        if sidecar is not None:
            where, source = features.describe(name), "--table" if _TABLE.value else "--fps"
            fix = "leave it out or correct it"
            sidecar.check(where, times[video_id][0], source=source, fix=fix)
            told.append((where, sidecar))
            times[video_id] = sidecar.fps, times[video_id][1] or sidecar.duration_sec
        if model.needs_duration and not times[video_id][1]:
            raise UserError(
                "The model has no timing of its own, and a video's duration must be shared out "
                "over its features: name one video in --feats and its seconds in --duration, or "
                f"give a --table with the duration of each ({video_id!r} has none)."
            )
    encoder = None if _ANY_ENCODER.value else model.encoder
    check_as_trained(told, model.grid, encoder, model.data["downsample_rate"])
    return times


def _told(found, recommended):
    """How much was found; of bouts a table, of detections what the model recommends."""
    num_files = counted(len(found), "file")
    total = sum(map(len, found.values()))
    if _BOUTS.value:
        text = f"{counted(total, 'bout')} in {num_files}"
        return f"{text}\n{bout_table(count_bouts(found))}" if total else f"{text}."
    if recommended is None:
        return f"{counted(total, 'detection')} in {num_files}."
    return (
        f"{counted(total, 'detection')} in {num_files}; the model recommends those with a "
        "score from "
        f"{recommended} on: --score_threshold={recommended.common:g}, or --bouts."
    )


class _Model(NamedTuple):
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


def _served_model():
    """The `_Model` behind --server."""
    fusion = default_fusion()
    override(given_settings(_SETTINGS), fusion=fusion if _VIDEO_SCORES.value else None)
    class_names, thresholds = read_classes(_CLASSES.value) if _CLASSES.value else ((), None)
    timeout = {} if _TIMEOUT.value is None else {"timeout_sec": _TIMEOUT.value}
    with quiet_start():  # gRPC's messages import TensorFlow
        model = ServedModel(_SERVER.value, class_names, **timeout)

    def detect(video_id, feats, fps, duration_sec):
        return model.detect(feats, fps=fps, duration_sec=duration_sec)

    return _Model(detect, model.input_dim, 1, False, None, None, _NO_DATA, fusion, thresholds)


def _local_model():
    """The `_Model` of a run or a preset."""
    import_keras()
    import ml_collections

    from keras_actionformer.model import ActionFormer
    from keras_actionformer.presets.runs import load_model
    from keras_actionformer.training.config import run_config
    from keras_actionformer.training.experiment import Experiment

    fusion = default_fusion()
    if _PRESET.value:
        model, data, cut = ActionFormer.from_preset(_PRESET.value), _NO_DATA, {}
    else:
        model = load_model(_WORKDIR.value, ActionFormer)
        config = ml_collections.ConfigDict(run_config(_WORKDIR.value))
        data, cut = config.data, Experiment(config).detection_windows
        fusion = {name: config.fusion[name] for name in fusion}
    override(given_settings(_SETTINGS), model, fusion if _VIDEO_SCORES.value else None)
    options = {**cut, "tile_steps": _TILE_STEPS.value, "verbose": 1 if is_terminal() else 2}
    detect = functools.partial(_detect, model, data["downsample_rate"], options)
    return _Model(
        detect,
        model.architecture.channels,
        model.architecture.num_streams,
        needs_duration=model.grid is None,
        grid=model.grid,
        encoder=model.encoder,
        data=data,
        fusion=fusion,
        thresholds=model.thresholds,
    )


def _detect(model, downsample_rate, options, video_id, feats, fps, duration_sec):
    """Detections in the features of one video, which are downsampled already."""
    grid = model.grid
    if grid is None:
        video = Video(video_id, "", duration_sec, fps, (), ())
        timing = Timing(None, None, downsample_rate=downsample_rate)
        grid = timing.grid_of(video, len(feats))
    return model.detect(feats, fps=fps, duration_sec=duration_sec, grid=grid, **options)


def _check_writable(flag, is_folder=False):
    """Raises UserError where the file of an option (None: none) cannot be written; makes the folder
    that holds it, which may be an empty one."""
    if flag.value is None:
        return
    option, path = f"--{flag.name}={flag.value}", pathlib.Path(flag.value)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{option}: {path.parent} is no folder ({error.strerror}).") from None
    if (path.is_dir() and not is_folder) or not os.access(path.parent, os.W_OK):
        raise UserError(f"{option} cannot be written: choose another file.")
