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

The timing of the steps is the model's; --fps tells where the video runs at another frame rate. A
model without a timing of its own (a run with stride_frames=None) needs --duration, which is shared
out over the steps. A run's sliding windows and downsampling are applied as in its evaluation.

A file may be longer than memory allows: of a `.npy` or `.h5`, parts are read at a time, and
features of more than 16384 steps run in overlapping tiles that find what one pass would find.
--tile_steps sets how long these are, and so the memory that they take.

--server asks a model that TensorFlow Serving runs somewhere else: over REST with an address as
above, or over gRPC with grpc://localhost:8500/thumos14 (this needs the extra `grpc`); /versions/N
behind either asks for one version. Such a model gives ids of classes, which --classes names.
"""

import functools
import os
import pathlib

from absl import flags

from keras_actionformer.cli.classes import read_class_names
from keras_actionformer.cli.videos import check_exist, find_videos
from keras_actionformer.data.annotations import Video
from keras_actionformer.data.grid import Timing
from keras_actionformer.deploy.client import ServedModel
from keras_actionformer.detection.detections import save_detections
from keras_actionformer.errors import UserError
from keras_actionformer.evaluation.fusion import fuse_videos
from keras_actionformer.evaluation.video_scores import load_video_scores
from keras_actionformer.quiet import import_keras, quiet_start
from keras_actionformer.terminal import RunningLine, is_terminal

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a training run.")
_PRESET = flags.DEFINE_string(
    "preset", None, "Instead: a preset (name, folder or hf://...), or a reference checkpoint."
)
_SERVER = flags.DEFINE_string(
    "server", None, "Instead: the address of a model that TensorFlow Serving runs."
)
_CLASSES = flags.DEFINE_string(
    "classes", None, "For --server: text file with a class name a line (labels.txt of the export)."
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
_FPS = flags.DEFINE_float("fps", None, "Frames a second, where it is not the model's.")
_DURATION = flags.DEFINE_float("duration", None, "Seconds; detections are cut to end by then.")
_VIDEO_SCORES = flags.DEFINE_string(
    "video_scores", None, "File of the class scores of whole videos, for a model of one class."
)
_TILE_STEPS = flags.DEFINE_integer(
    "tile_steps", None, "Longer features run in tiles of so many steps; 16384 by default."
)
_OUTPUT = flags.DEFINE_string("output", None, "JSON or CSV file to write the detections to.")
_TOP_K = flags.DEFINE_integer(
    "top_k", None, "Keeps so many of the best detections of each file.", lower_bound=1
)
_SCORE_THRESHOLD = flags.DEFINE_float(
    "score_threshold", None, "Drops detections with a lower score."
)


# What a run's configuration says of feature files, where there is no run.
_NO_DATA = {"feats": "", "prefix": "", "suffix": "", "downsample_rate": 1}


def main():
    # Before Keras is loaded and anything is computed.
    if [bool(flag.value) for flag in (_WORKDIR, _PRESET, _SERVER)].count(True) != 1:
        raise UserError("Give either --workdir=DIR or --preset=NAME or --server=URL.")
    if not _SERVER.value and (_CLASSES.value is not None or _TIMEOUT.value is not None):
        raise UserError(
            "--classes and --timeout are for --server; another model has its own class names."
        )
    if _SERVER.value and _TILE_STEPS.value is not None:
        raise UserError("--tile_steps is for a model that runs here, not for that of a --server.")
    if _OUTPUT.value and not _OUTPUT.value.lower().endswith((".json", ".csv")):
        raise UserError(f"--output={_OUTPUT.value} must end in .json or .csv.")
    _check_writable(_OUTPUT.value)
    check_exist(_FEATS.value)
    video_scores = _VIDEO_SCORES.value and load_video_scores(_VIDEO_SCORES.value)
    detect, channels, data, fusion = _served_model() if _SERVER.value else _local_model()
    videos = find_videos(_FEATS.value, data, channels)
    if _DURATION.value is not None and len(videos) > 1:
        raise UserError(f"--duration is that of one video, but --feats names {len(videos)}.")
    for features, name in videos.values():  # a bad file is told before time is spent on others
        features.check(name)
    found, line = {}, RunningLine()
    for video_id, (features, name) in videos.items():
        line.count(len(found), len(videos), "files")
        feats = features.open(name)
        if data["downsample_rate"] > 1:  # which reads what is no `.npy`
            feats = feats[:: data["downsample_rate"]]
        detections = detect(video_id, feats)
        if video_scores:
            detections = fuse_videos({video_id: detections}, video_scores, **fusion)[video_id]
        if _SCORE_THRESHOLD.value is not None:
            detections = detections.filter(min_score=_SCORE_THRESHOLD.value)
        if _TOP_K.value is not None:
            detections = detections.top_k(_TOP_K.value)
        found[video_id] = detections
        line.clear()
        print(f"{' and '.join(map(str, features.paths(name)))}: {detections}", flush=True)
    if _OUTPUT.value:
        save_detections(_OUTPUT.value, found)
        print(f"Wrote {_OUTPUT.value}.")


def _served_model():
    """As `_local_model`, for the model behind --server."""
    class_names = () if _CLASSES.value is None else read_class_names(_CLASSES.value)
    timeout = {} if _TIMEOUT.value is None else {"timeout_sec": _TIMEOUT.value}
    with quiet_start():  # gRPC's messages import TensorFlow
        model = ServedModel(_SERVER.value, class_names, **timeout)

    def detect(video_id, feats):
        return model.detect(feats, fps=_FPS.value, duration_sec=_DURATION.value)

    return detect, model.input_dim, _NO_DATA, {}


def _local_model():
    """Opens the model of a run or a preset.

    Returns:
      (function of a video's id and its downsampled features that returns `Detections`, channels of
      the features, what the configuration of its run says of their files and of the fusion)
    """
    import_keras()
    import ml_collections

    from keras_actionformer.model import ActionFormer
    from keras_actionformer.presets.runs import load_model
    from keras_actionformer.training.config import run_config
    from keras_actionformer.training.experiment import Experiment

    if _PRESET.value:
        model, data, cut, fusion = ActionFormer.from_preset(_PRESET.value), _NO_DATA, {}, {}
    else:
        model = load_model(_WORKDIR.value, ActionFormer)
        config = ml_collections.ConfigDict(run_config(_WORKDIR.value))
        data, cut = config.data, Experiment(config).detection_windows
        fusion = {name: config.fusion[name] for name in ("num_pred", "topk")}
    if model.grid is None and not _DURATION.value:
        raise UserError(
            "The model has no timing of its own, and a video's duration must be shared out over "
            "its features: name one video in --feats and its seconds in --duration."
        )
    options = {**cut, "tile_steps": _TILE_STEPS.value, "verbose": 1 if is_terminal() else 2}
    detect = functools.partial(_detect, model, data["downsample_rate"], options)
    return detect, model.architecture.channels, data, fusion


def _detect(model, downsample_rate, options, video_id, feats):
    """Detections in the features of one video, which are downsampled already."""
    grid = model.grid
    if grid is None:
        video = Video(video_id, "", _DURATION.value, _FPS.value, (), ())
        timing = Timing(None, None, downsample_rate=downsample_rate)
        grid = timing.grid_of(video, len(feats))
    return model.detect(feats, fps=_FPS.value, duration_sec=_DURATION.value, grid=grid, **options)


def _check_writable(output):
    """Raises UserError where a file (None: no file) cannot be written; makes its folder."""
    if output is None:
        return
    folder = pathlib.Path(output).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output={output}: {folder} is no folder ({error.strerror}).") from None
    if pathlib.Path(output).is_dir() or not os.access(folder, os.W_OK):
        raise UserError(f"--output={output} cannot be written: choose another file.")
