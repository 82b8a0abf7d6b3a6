"""Writes a configuration for one's own data: a table of what happened when, and features.

  init --annotations=bouts.csv --feats=feats --fps=30 --stride_frames=8 --window_frames=16 \\
      --output=mine.py
  init --annotations=bouts.csv --sensors=recordings --rate_hz=50 --output=mine.py

Its numbers come from the data, and each has a comment. Where the table names no subsets, videos are
split at random, so that each part has its share of every class; the split lies beside the
configuration in a file of its own. --sensors takes recordings of raw samples, one a file (.csv with
a header or none, .npy, .parquet), and first writes windows of them as features, also beside it.
"""

import dataclasses
import pathlib

import numpy as np
from absl import flags

from keras_actionformer.cli.frame_rate import FrameRate
from keras_actionformer.data.annotation_files import load_annotations
from keras_actionformer.data.features import UNEQUAL_STREAMS, FeatureFiles
from keras_actionformer.data.grid import Timing
from keras_actionformer.data.sidecars import with_own_timing
from keras_actionformer.data.table_times import PLAIN_UNITS
from keras_actionformer.data.tables import read_groups
from keras_actionformer.datasets.sensor_windows import (
    SensorWindows,
    measure_recordings,
    suggest_windows,
    write_features,
)
from keras_actionformer.datasets.sensors import find_recordings
from keras_actionformer.datasets.splits import save_split, split_videos, with_split
from keras_actionformer.errors import UserError, counted, suggest
from keras_actionformer.files import atomic_write
from keras_actionformer.terminal import RunningLine
from keras_actionformer.training.first_config import config_text
from keras_actionformer.training.first_settings import VideoSteps, first_settings

_ANNOTATIONS = flags.DEFINE_string(
    "annotations",
    None,
    "JSON, table or file of a labelling tool, or a folder of them.",
    required=True,
)
_TIME_UNIT = flags.DEFINE_enum(
    "time_unit", None, list(PLAIN_UNITS), "What plain numbers are where the annotations say none."
)
_FEATS = flags.DEFINE_list("feats", None, "Folder of feature files; of several streams, one each.")
_PREFIX = flags.DEFINE_string("prefix", "", "What names of feature files have before the video id.")
_SUFFIX = flags.DEFINE_string("suffix", ".npy", "What names of feature files end with.")
_UNEQUAL_STREAMS = flags.DEFINE_enum(
    "unequal_streams", "error", UNEQUAL_STREAMS, "Streams of other lengths: an error, or resized."
)
_FPS = flags.DEFINE(FrameRate(), "fps", None, "Frames a second; without it, each video's own.")
_STRIDE_FRAMES = flags.DEFINE_float(
    "stride_frames", None, "Frames from one feature to the next, where the features do not tell."
)
_WINDOW_FRAMES = flags.DEFINE_float(
    "window_frames", None, "Frames that one feature sees, where the features do not tell."
)
_SENSORS = flags.DEFINE_string(
    "sensors", None, "Instead of --feats: folder of recordings of raw samples."
)
_RATE_HZ = flags.DEFINE_float("rate_hz", None, "For --sensors: samples a second.")
_WINDOW_SEC = flags.DEFINE_float(
    "window_sec", None, "For --sensors: length of a window; by default from the actions' lengths."
)
_STEP_SEC = flags.DEFINE_float(
    "step_sec", None, "For --sensors: from one window to the next; by default likewise."
)
_OUTPUT = flags.DEFINE_string("output", None, "Configuration to write, .py.", required=True)
_GROUP = flags.DEFINE_string(
    "group", None, "Column of the table, such as a subject's name: its videos stay in one subset."
)
_SEED = flags.DEFINE_integer("seed", 0, "Of the split.", lower_bound=0)

# What tables call the subsets, in small letters.
_TRAINING = ("training", "train")
_VALIDATION = ("validation", "val", "valid", "dev")
_TEST = ("test", "testing")
_UNNAMED = "(none)"  # of a video for which the table names no subset
_FEWEST_TO_SPLIT = 5  # of fewer videos, none can be spared


def main():
    output = _checked_output()
    annotations = load_annotations(
        _ANNOTATIONS.value,
        default_subset=_UNNAMED,
        fps=_RATE_HZ.value if _SENSORS.value else _FPS.value,  # a sample is a frame
        time_unit=_TIME_UNIT.value,
    )
    if _SENSORS.value:
        feats, grid, annotations = _from_sensors(annotations, output)
        features = FeatureFiles(feats)
        timing = Timing(grid.stride_frames, grid.window_frames, grid.fps)
    else:
        feats = _FEATS.value[0] if len(_FEATS.value) == 1 else tuple(_FEATS.value)
        features = FeatureFiles(
            feats,
            prefix=_PREFIX.value,
            suffix=_SUFFIX.value,
            unequal_streams=_UNEQUAL_STREAMS.value,
        )
        timing = _timing_of(features)
        videos = with_own_timing(annotations.videos, features, timing, "--{name}")
        annotations = dataclasses.replace(annotations, videos=videos)
    annotations, subsets = _subsets(annotations, output)
    sequences, channels = [], set()
    for video in annotations.subset(subsets["train_subset"]):
        num_steps, width = features.open(video.video_id).shape
        channels.add(width)
        sequences.append(VideoSteps(video, timing.grid_of(video, num_steps), num_steps))
    if len(channels) > 1:
        widths = ", ".join(map(str, sorted(channels)))
        raise UserError(f"The features have {widths} channels; all videos need the same.")
    settings = first_settings(sequences)
    data = {
        "annotations": _ANNOTATIONS.value,
        "time_unit": _TIME_UNIT.value or "",
        "feats": feats,
        "prefix": _PREFIX.value,
        "suffix": _unless_default(_SUFFIX),
        "unequal_streams": _unless_default(_UNEQUAL_STREAMS),
        "fps": timing.fps,
        "stride_frames": timing.stride_frames,
        "window_frames": timing.window_frames,
        "default_subset": "",
        "split": "",
        **subsets,
    }
    with atomic_write(output) as file:
        file.write(
            config_text(output, annotations, data, settings, channels.pop(), bool(_SENSORS.value))
        )
    print(f"Wrote '{output}'. Next:\n")
    print(f"  keras-actionformer train --config={output} --workdir=runs/{output.stem}")


def _unless_default(flag):
    return "" if flag.value == flag.default else flag.value


def _checked_output():
    """The path to write to; raises UserError for options that do not go together."""
    output = pathlib.Path(_OUTPUT.value)
    if output.suffix != ".py":
        raise UserError(f"--output={output} must end in .py: a configuration is Python.")
    if output.exists():
        raise UserError(f"'{output}' exists; choose another --output, or remove it.")
    if bool(_FEATS.value) == bool(_SENSORS.value):
        raise UserError("Give either --feats=DIR or --sensors=DIR.")
    if _SENSORS.value and not (_RATE_HZ.value and _RATE_HZ.value > 0):
        raise UserError("--sensors needs --rate_hz, the samples a second, above 0.")
    if _SENSORS.value and _FPS.value is not None:
        raise UserError("--fps is for --feats: of --sensors, --rate_hz tells the timing.")
    return output


def _timing_of(features):
    """The `Timing` of the features of --feats, as the options or they themselves tell."""
    sidecar = features.first_sidecar()
    told = {
        flag.name: getattr(sidecar, flag.name, None) if flag.value is None else flag.value
        for flag in (_STRIDE_FRAMES, _WINDOW_FRAMES)
    }
    if None in told.values():
        raise UserError(
            "--feats needs --stride_frames and --window_frames: how many frames lie between two "
            "features, and how many one has seen. Whoever computed them knows."
        )
    return Timing(**told, fps=_FPS.value)


# === Sensors ===


def _from_sensors(annotations, output):
    """Writes features of recordings; returns their folder, their grid and the annotations."""
    recordings = find_recordings(_SENSORS.value)
    known = [video.video_id for video in annotations.videos]
    for name in known:
        if name not in recordings:
            raise UserError(
                f"'{_SENSORS.value}' has no recording of {name!r}, which the annotations name"
                f"{suggest(name, recordings) or '.'}"
            )
    without = [name for name in recordings if name not in known]
    if without:
        print(
            f"{counted(len(without), 'recording')} without annotations are left out, such as "
            f"{without[0]!r}."
        )
    recordings, line = {name: recordings[name] for name in known}, RunningLine()
    mean, std = measure_recordings(recordings, _RATE_HZ.value, line.count)
    lengths_sec = np.concatenate([np.diff(v.segments_sec)[:, 0] for v in annotations.videos])
    if not len(lengths_sec):
        raise UserError(f"'{_ANNOTATIONS.value}' has no action to learn.")
    windows = SensorWindows(
        _RATE_HZ.value,
        *suggest_windows(lengths_sec, _RATE_HZ.value, _WINDOW_SEC.value, _STEP_SEC.value),
        mean,
        std,
    )
    folder = output.with_name(f"{output.stem}_feats")
    write_features(recordings, windows, folder, line.count)
    grid = windows.grid
    print(
        f"Features in '{folder}': a step sees {grid.window_frames / grid.fps:g} s and the next one "
        f"starts {grid.step_sec:g} s later."
    )
    return str(folder), grid, annotations


# === Subsets ===


def _subsets(annotations, output):
    """The annotations with subsets, and what `data.*_subset` and `data.split` are to say."""
    found = sorted({video.subset for video in annotations.videos})
    if _UNNAMED not in found:
        return _with_validation(annotations, found, output)
    if len(found) > 1:
        first = next(v.video_id for v in annotations.videos if v.subset == _UNNAMED)
        raise UserError(
            f"The annotations name a subset for some videos, but none for {first!r}: name one for "
            "each, or for none."
        )
    num_videos = len(annotations.videos)
    if num_videos < _FEWEST_TO_SPLIT:
        print(f"{counted(num_videos, 'video')}: too few to set some aside, so that all train.")
        return _all_train(annotations)
    if num_videos < 3 * _FEWEST_TO_SPLIT:
        shares = {"training": 0.8, "validation": 0.2}
    else:
        shares = {"training": 0.7, "validation": 0.15, "test": 0.15}
    split = split_videos(annotations.videos, shares, _groups(), _SEED.value)
    annotations, path = _save_split(annotations, split, output)
    return annotations, {
        "split": path,
        "train_subset": "training",
        "val_subset": "validation",
        "eval_subset": list(shares)[-1],
    }


def _all_train(annotations):
    """`_subsets` where all videos are in one."""
    split = {video.video_id: "training" for video in annotations.videos}
    names = {"train_subset": "training", "val_subset": "", "eval_subset": "training"}
    return with_split(annotations, split, ""), {"default_subset": "training", **names}


def _with_validation(annotations, found, output):
    """`_subsets` of a table that names them; a tenth of the training is taken for validation."""
    named = {}
    for key, words in (("train", _TRAINING), ("val", _VALIDATION), ("test", _TEST)):
        named[key] = next((name for name in found if name.lower() in words), "")
    if not named["train"]:
        raise UserError(
            f"The annotations have the subsets {', '.join(map(repr, found))}, of which none is "
            "called 'training' or 'train'; rename the one to train on."
        )
    split = ""
    videos = annotations.subset(named["train"])
    if not named["val"] and len(videos) >= _FEWEST_TO_SPLIT:
        # Few videos do to choose an epoch and a threshold; the others are to learn from.
        shares = {named["train"]: 0.9, "validation": 0.1}
        taken = split_videos(videos, shares, _groups(), _SEED.value)
        annotations, split = _save_split(annotations, taken, output)
        named["val"] = "validation"
    return annotations, {
        "split": split,
        "train_subset": named["train"],
        "val_subset": named["val"],
        "eval_subset": named["test"] or named["val"] or named["train"],
    }


def _groups():
    """What --group says of each video, or None."""
    return _GROUP.value and read_groups(_ANNOTATIONS.value, _GROUP.value, print)


def _save_split(annotations, subset_of, output):
    path = output.with_name(f"{output.stem}_split.csv")
    save_split(path, subset_of)
    annotations = with_split(annotations, subset_of, path)
    for subset in dict.fromkeys(subset_of.values()):
        videos = annotations.subset(subset)
        num_actions = sum(len(video.labels) for video in videos)
        print(f"{subset}: {counted(len(videos), 'video')} with {counted(num_actions, 'action')}")
    return annotations, str(path)
