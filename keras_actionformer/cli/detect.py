"""Detects actions in feature files with a trained model.

  detect --workdir=runs/thumos14 --feats=video.npy
  detect --preset=presets/thumos14 --feats=video.npy --fps=30
  detect --workdir=runs/thumos14 --feats=new/a.npy,new/b.npy --fps=25 --output=found.json
  detect --workdir=runs/thumos14 --feats=new --score_threshold=0.3 --output=found.csv
  detect --workdir=runs/anet --feats=new --video_scores=classifier.json --output=found.json

A feature file holds an array (time steps, channels), `.npy` or `.npz` with the key "feats", of the
kind the model was trained on. The timing of its steps is the model's; --fps tells where the video
runs at another frame rate.
"""

import os
import pathlib

from absl import flags

from keras_actionformer.cli.quiet import import_keras
from keras_actionformer.detections import save_detections
from keras_actionformer.errors import UserError
from keras_actionformer.features import FeatureFiles
from keras_actionformer.fusion import fuse_videos, load_video_scores

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a training run.")
_PRESET = flags.DEFINE_string(
    "preset", None, "Instead: a preset (name, folder or hf://...), or a reference checkpoint."
)
_FEATS = flags.DEFINE_list(
    "feats", None, "Feature files, or folders of them, with commas between.", required=True
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
    paths = _feature_paths(_FEATS.value)
    if _DURATION.value is not None and len(paths) > 1:
        raise UserError(f"--duration is that of one video, but --feats names {len(paths)} files.")

    video_scores = _VIDEO_SCORES.value and load_video_scores(_VIDEO_SCORES.value)
    model, data, fusion = _open_model()
    channels = model.input["feats"].shape[-1]
    files = {}
    for path in paths:
        video_id = _video_id(path, data)
        if video_id in files:
            raise UserError(f"'{path}' and an earlier file of --feats are both {video_id!r}.")
        files[video_id] = path, FeatureFiles(path.parent, channels, suffix=path.suffix)
    for path, features in files.values():  # a bad file is told before time is spent on the others
        features.load(path.stem)
    found = {}
    for video_id, (path, features) in files.items():
        detections = model.detect(
            features.load(path.stem)[:: data["downsample_rate"]],
            fps=_FPS.value,
            duration_sec=_DURATION.value,
        )
        if video_scores:
            detections = fuse_videos({video_id: detections}, video_scores, **fusion)[video_id]
        if _SCORE_THRESHOLD.value is not None:
            detections = detections.filter(min_score=_SCORE_THRESHOLD.value)
        if _TOP_K.value is not None:
            detections = detections.top_k(_TOP_K.value)
        found[video_id] = detections
        print(f"{path}: {detections}", flush=True)
    if _OUTPUT.value:
        save_detections(_OUTPUT.value, found)
        print(f"Wrote {_OUTPUT.value}.")


def _open_model():
    """The model, and what its run's configuration says of feature files and of fusion."""
    if bool(_WORKDIR.value) == bool(_PRESET.value):
        raise UserError("Give either --workdir=DIR or --preset=NAME.")
    import_keras()
    from keras_actionformer.model import ActionFormer
    from keras_actionformer.trainer import load_model, read_config

    if _PRESET.value:
        data = {"prefix": "", "suffix": "", "downsample_rate": 1}
        return ActionFormer.from_preset(_PRESET.value), data, {}
    model = load_model(_WORKDIR.value)
    config = read_config(_WORKDIR.value)
    fusion = {name: config["fusion"][name] for name in ("num_pred", "topk")}
    return model, config["data"], fusion


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


def _feature_paths(names):
    """The files that `--feats` names, those of a folder in alphabetical order."""
    paths = []
    for path in map(pathlib.Path, names):
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix in (".npy", ".npz"))
            if not inside:
                raise UserError(f"The folder '{path}' holds no feature file (.npy or .npz).")
            paths += inside
        elif path.is_file():
            if path.suffix not in (".npy", ".npz"):
                raise UserError(f"Feature file '{path}' must end in .npy or .npz.")
            paths.append(path)
        else:
            raise UserError(f"Feature file '{path}' does not exist.")
    return paths


def _video_id(path, data):
    """The name of a feature file without what all names of the training's data have in common."""
    name = path.name.removeprefix(data["prefix"])
    without_suffix = name.removesuffix(data["suffix"])
    return without_suffix if without_suffix != name else name.removesuffix(path.suffix)
