"""The videos that the option --feats of `detect` names."""

import pathlib

from keras_actionformer.data.feature_files import HDF5_SUFFIXES, NUMPY_SUFFIXES, TORCH_SUFFIXES
from keras_actionformer.data.features import FeatureFiles
from keras_actionformer.errors import UserError


def check_exist(names):
    """Raises UserError where `--feats` (a list of str) names nothing, or what does not exist."""
    if not all(names) or not names:
        raise UserError(
            f"--feats={','.join(names)} must name feature files or folders with commas between, "
            f"but {'one name' if names else 'it'} is empty."
        )
    for path in map(pathlib.Path, names):
        if not path.exists():
            raise UserError(f"Feature file '{path}' does not exist.")


def find_videos(names, data, channels):
    """Finds the videos that `--feats` names.

    Args:
      names: list of str, the value of `--feats`.
      data: the run's `config.data`.
      channels: int, the model's.

    Returns:
      dict, video id to (`FeatureFiles`, name of the video in them).

    Raises:
      UserError: a folder or file has no features, or two of the videos have the same id.
    """
    if not isinstance(data["feats"], str) and len(data["feats"]) > 1:
        return _videos_of_streams(names, data, channels)
    videos = {}
    for path in _feature_paths(names):
        if path.suffix in HDF5_SUFFIXES:
            features = FeatureFiles(path, channels)
            inside = features.video_ids()
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
    """`find_videos` of a run on several streams: those of the first that `--feats` names."""
    if len(names) != len(data["feats"]):
        raise UserError(
            f"--feats must name {len(data['feats'])} folders with commas between, one a stream as "
            f"data.feats of the run, but names {len(names)}."
        )
    features = FeatureFiles(names, channels, data["prefix"], data["suffix"])
    return {video_id: (features, video_id) for video_id in features.video_ids()}


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


def _video_id(name, file_suffix, data):
    """A video's name without what all names of the training's data have in common.

    Args:
      name: str, that of the video's file without `file_suffix`, or of its data set.
      file_suffix: str, e.g. ".npy".
      data: the run's `config.data`.
    """
    # The run's suffix, as "_rgb.npy", ends like the files unless these are of another kind.
    return name.removeprefix(data["prefix"]).removesuffix(data["suffix"].removesuffix(file_suffix))
