"""Writes a small made-up data set to try everything on: annotations.json and feats/*.npy.

  simulate --output=data/simulated

or videos of shapes that act, and a table of what they do when, bouts.csv:

  simulate --videos --output=data/shapes

or made-up features for real annotations, to try a benchmark's settings without its data:

  simulate --annotations=thumos14.csv --feats_dim=2048 --stride_frames=4 --window_frames=16 \\
      --output=data/thumos14
"""

import pathlib

from absl import flags

from keras_actionformer.cli.frame_rate import FrameRate
from keras_actionformer.data.annotation_files import load_annotations, save_annotations
from keras_actionformer.data.grid import FeatureGrid
from keras_actionformer.datasets.simulated import simulate_dataset, simulate_features
from keras_actionformer.errors import UserError, counted
from keras_actionformer.terminal import RunningLine
from keras_actionformer.video.simulated import simulate_videos

_OUTPUT = flags.DEFINE_string("output", None, "Folder to write the data set to.", required=True)
_SEED = flags.DEFINE_integer("seed", 0, "Another seed gives another data set.", lower_bound=0)
_VIDEOS = flags.DEFINE_bool("videos", False, "Videos instead of features.")
_ANNOTATIONS = flags.DEFINE_string(
    "annotations", None, "Real annotations: JSON, a table or a file of a labelling tool."
)
_DEFAULT_SUBSET = flags.DEFINE_string(
    "default_subset", None, "Subset of the videos for which the annotations name none."
)
_FEATS_DIM = flags.DEFINE_integer("feats_dim", None, "Channels of the features.", lower_bound=1)
_FPS = flags.DEFINE(FrameRate(), "fps", None, "Frames a second; without it, each video's own.")
_STRIDE = flags.DEFINE_float("stride_frames", None, "Frames from one feature to the next.")
_WINDOW = flags.DEFINE_float("window_frames", None, "Frames that one feature sees.")


def main():
    if _VIDEOS.value:
        return _simulate_videos()
    if _ANNOTATIONS.value:
        annotations = _simulate_features(pathlib.Path(_OUTPUT.value))
    else:
        annotations = simulate_dataset(_OUTPUT.value, seed=_SEED.value)
    actions = sum(len(video.labels) for video in annotations.videos)
    sequences = len(annotations.videos)
    print(
        f"Wrote {counted(sequences, 'sequence')} with {counted(actions, 'action')} to "
        f"'{_OUTPUT.value}'."
    )


def _simulate_videos():
    if _ANNOTATIONS.value:
        raise UserError("Give either --videos or --annotations.")
    line = RunningLine()
    actions = simulate_videos(
        _OUTPUT.value,
        seed=_SEED.value,
        progress=lambda done, total: line.count(done, total, "videos"),
    )
    line.clear()
    print(f"Wrote videos with {counted(actions, 'action')} to '{_OUTPUT.value}'.")


def _simulate_features(folder):
    for flag in (_FEATS_DIM, _STRIDE, _WINDOW):
        if flag.value is None:
            raise UserError(f"--annotations needs --{flag.name}, too.")
    annotations = load_annotations(
        _ANNOTATIONS.value,
        outside="keep",
        default_subset=_DEFAULT_SUBSET.value,
        fps=_FPS.value,
    )
    grid = FeatureGrid(_FPS.value, _STRIDE.value, _WINDOW.value)
    simulate_features(annotations, folder / "feats", grid, _FEATS_DIM.value, _SEED.value)
    save_annotations(folder / "annotations.json", annotations)
    return annotations
