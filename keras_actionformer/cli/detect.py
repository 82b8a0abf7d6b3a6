"""Detects actions in feature files with a trained model.

  detect --workdir=runs/thumos14 --feats=video.npy
  detect --preset=presets/thumos14 --feats=video.npy --fps=30
  detect --workdir=runs/thumos14 --feats=new/a.npy,new/b.npy --fps=25 --output=found.json
  detect --workdir=runs/thumos14 --feats=new --score_threshold=0.3 --output=found.csv
  detect --workdir=runs/anet --feats=new --video_scores=classifier.json --output=found.json
  detect --workdir=runs/two_streams --feats=new/rgb,new/flow --output=found.json

A feature file holds an array (time steps, channels) of the kind the model was trained on: `.npy`,
`.npz` with the key "feats", `.pt` or `.pth`; a `.h5` or `.hdf5` file holds one a video. For a run
on several streams (a data.feats of several folders), --feats names one folder or `.h5` file a
stream, and the names of the files are as in the run.

The timing of the steps is the model's; --fps tells where the video runs at another frame rate. A
model without a timing of its own (a run with stride_frames=None) needs --duration, which is shared
out over the steps. A run's sliding
windows and downsampling are applied as in its evaluation.
"""

import os
import pathlib

from absl import flags

from keras_actionformer.annotations import Video
from keras_actionformer.cli.quiet import import_keras
from keras_actionformer.dataset import video_grid
from keras_actionformer.detections import save_detections
from keras_actionformer.errors import UserError
from keras_actionformer.features import (
    HDF5_SUFFIXES,
    NUMPY_SUFFIXES,
    TORCH_SUFFIXES,
    FeatureFiles,
)
from keras_actionformer.fusion import fuse_videos, load_video_scores

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a training run.")
_PRESET = flags.DEFINE_string(
    "preset", None, "Instead: a preset (name, folder or hf://...), or a reference checkpoint."
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
_OUTPUT = flags.DEFINE_string("output", None, "JSON or CSV file to write the detections to.")
_TOP_K = flags.DEFINE_integer(
    "top_k", None, "Keeps so many of the best detections of each file.", lower_bound=1
)
_SCORE_THRESHOLD = flags.DEFINE_float(
    "score_threshold", None, "Drops detections with a lower score."
)


def main():
    # Before Keras is loaded and anything is computed.
    if _OUTPUT.value and not _OUTPUT.value.lower().endswith((".json", ".csv")):
        raise UserError(f"--output={_OUTPUT.value} must end in .json or .csv.")
    _check_writable(_OUTPUT.value)
    _check_exist(_FEATS.value)
    video_scores = _VIDEO_SCORES.value and load_video_scores(_VIDEO_SCORES.value)
    model, data, windows, fusion = _open_model()
    videos = _videos(_FEATS.value, data, model.input["feats"].shape[-1])
    if _DURATION.value is not None and len(videos) > 1:
        raise UserError(f"--duration is that of one video, but --feats names {len(videos)}.")
    if model.grid is None and not _DURATION.value:
        raise UserError(
            "The model has no timing of its own, and a video's duration must be shared out over "
            "its features: name one video in --feats and its seconds in --duration."
        )
    for features, name in videos.values():  # a bad file is told before time is spent on others
        features.load(name)
    found = {}
    for video_id, (features, name) in videos.items():
        feats = features.load(name)[:: data["downsample_rate"]]
        detections = _detect(model, video_id, feats, data, windows)
        if video_scores:
            detections = fuse_videos({video_id: detections}, video_scores, **fusion)[video_id]
        if _SCORE_THRESHOLD.value is not None:
            detections = detections.filter(min_score=_SCORE_THRESHOLD.value)
        if _TOP_K.value is not None:
            detections = detections.top_k(_TOP_K.value)
        found[video_id] = detections
        print(f"{' and '.join(map(str, features.paths(name)))}: {detections}", flush=True)
    if _OUTPUT.value:
        save_detections(_OUTPUT.value, found)
        print(f"Wrote {_OUTPUT.value}.")


def _open_model():
    """The model, and what its run's configuration says of feature files, windows and fusion."""
    if bool(_WORKDIR.value) == bool(_PRESET.value):
        raise UserError("Give either --workdir=DIR or --preset=NAME.")
    import_keras()
    import ml_collections

    from keras_actionformer.model import ActionFormer
    from keras_actionformer.recipe import windows
    from keras_actionformer.trainer import load_model, read_config

    if _PRESET.value:
        data = {"feats": "", "prefix": "", "suffix": "", "downsample_rate": 1}
        return ActionFormer.from_preset(_PRESET.value), data, {}, {}
    model = load_model(_WORKDIR.value)
    config = ml_collections.ConfigDict(read_config(_WORKDIR.value))
    fusion = {name: config.fusion[name] for name in ("num_pred", "topk")}
    return model, config.data, windows(config), fusion


def _detect(model, video_id, feats, data, windows):
    """Detections in the features of one video, which are downsampled already."""
    grid = model.grid
    if grid is None:
        video = Video(video_id, "", _DURATION.value, _FPS.value, (), ())
        grid = video_grid(
            video, None, None, downsample_rate=data["downsample_rate"], num_steps=len(feats)
        )
    return model.detect(feats, fps=_FPS.value, duration_sec=_DURATION.value, grid=grid, **windows)


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


def _check_exist(names):
    for path in map(pathlib.Path, names):
        if not path.exists():
            raise UserError(f"Feature file '{path}' does not exist.")


def _videos(names, data, channels):
    """The videos that `--feats` names, `{video id: (FeatureFiles, name of the video in them)}`.

    Args:
      names: list of str, the value of `--feats`.
      data: the run's `config.data`.
      channels: int, the model's.
    """
    if not isinstance(data["feats"], str) and len(data["feats"]) > 1:
        return _videos_of_streams(names, data, channels)
    videos = {}
    for path in _feature_paths(names):
        if path.suffix in HDF5_SUFFIXES:
            features = FeatureFiles(path, channels)
            inside = _names_in_hdf5(path)
        else:
            features = FeatureFiles(path.parent, channels, suffix=path.suffix)
            inside = [path.stem]
        for name in inside:
            video_id = _video_id(name, path.suffix, data)
            if video_id in videos:
                raise UserError(f"'{path}' and an earlier file of --feats are both {video_id!r}.")
            videos[video_id] = features, name
    return videos


def _videos_of_streams(names, data, channels):
    """`_videos` of a run on several streams: those of the first that `--feats` names."""
    if len(names) != len(data["feats"]):
        raise UserError(
            f"--feats must name {len(data['feats'])} folders with commas between, one a stream as "
            f"data.feats of the run, but names {len(names)}."
        )
    prefix, suffix = data["prefix"], data["suffix"]
    features = FeatureFiles(names, channels, prefix, suffix)
    first = features.folders[0]
    if first.suffix in HDF5_SUFFIXES:
        suffix, inside = "", _names_in_hdf5(first)
    else:
        inside = sorted(path.name for path in first.iterdir())
    video_ids = [
        name.removeprefix(prefix).removesuffix(suffix)
        for name in inside
        if name.startswith(prefix) and name.endswith(suffix)
    ]
    if not video_ids:
        raise UserError(f"'{first}' holds no features with a name {prefix}<video id>{suffix}.")
    return {video_id: (features, video_id) for video_id in video_ids}


def _feature_paths(names):
    """The files that `--feats` names, those of a folder in alphabetical order."""
    suffixes = NUMPY_SUFFIXES + TORCH_SUFFIXES + HDF5_SUFFIXES
    known = f"{', '.join(suffixes[:-1])} or {suffixes[-1]}"
    paths = []
    for path in map(pathlib.Path, names):
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix in suffixes)
            if not inside:
                raise UserError(f"The folder '{path}' holds no feature file ({known}).")
            paths += inside
        elif path.suffix in suffixes:
            paths.append(path)
        else:
            raise UserError(f"Feature file '{path}' must end in {known}.")
    return paths


def _names_in_hdf5(path):
    """The names of the data sets of an HDF5 file."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            names = sorted(name for name in file if isinstance(file[name], h5py.Dataset))
    except OSError as error:
        raise UserError(f"Feature file '{path}' cannot be read as HDF5 ({error}).") from None
    if not names:
        raise UserError(f"Feature file '{path}' holds no data set.")
    return names


def _video_id(name, file_suffix, data):
    """A video's name without what all names of the training's data have in common.

    Args:
      name: str, that of the video's file without `file_suffix`, or of its data set.
      file_suffix: str, e.g. ".npy".
      data: the run's `config.data`.
    """
    # The run's suffix, as "_rgb.npy", ends like the files unless these are of another kind.
    return name.removeprefix(data["prefix"]).removesuffix(data["suffix"].removesuffix(file_suffix))
