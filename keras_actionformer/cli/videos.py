"""The videos that the options --feats and --table of `detect` name."""

import os

from absl import logging

from keras_actionformer import remote
from keras_actionformer.data.entries import media_entry, set_once
from keras_actionformer.data.feature_files import ARRAY_SUFFIXES, COMMON_SUFFIXES, HDF5_SUFFIXES
from keras_actionformer.data.features import MODEL_WIDTH, FeatureFiles, features_of_file
from keras_actionformer.data.sidecars import check_as_trained
from keras_actionformer.data.tables import read_video_times
from keras_actionformer.errors import UserError, suggest
from keras_actionformer.files import told_if_unreadable

_SUFFIXES = ARRAY_SUFFIXES + COMMON_SUFFIXES + HDF5_SUFFIXES


def check_exist(names):
    """Raises UserError where `--feats` (a list of str) names nothing, or what does not exist."""
    if not all(names) or not names:
        raise UserError(
            f"--feats={','.join(names)} must name feature files or folders with commas between, "
            f"but {'one name' if names else 'it'} is empty."
        )
    for path in names:
        if not remote.is_address(path) and not os.path.exists(path):
            raise UserError(f"Feature file '{path}' does not exist.")


def find_videos(names, data, channels, num_streams=1, unequal_streams=None):
    """Finds the videos that `--feats` names.

    Args:
      names: list of str, the value of `--feats`.
      data: the run's `config.data`.
      channels: int, the model's.
      num_streams: int, the model's; so many folders that `--feats` names are one each.
      unequal_streams: str, see `FeatureFiles`; None: as `data` says.

    Returns:
      dict, video id to (`FeatureFiles`, name of the video in them).

    Raises:
      UserError: a folder or file has no features, or two of the videos have the same id.
    """
    rule = unequal_streams or data.get("unequal_streams", "error")
    if not isinstance(data["feats"], str) and len(data["feats"]) > 1:
        if len(names) != len(data["feats"]):
            raise UserError(
                f"--feats must name {len(data['feats'])} folders with commas between, one a stream "
                f"as data.feats of the run, but names {len(names)}."
            )
        return _videos_of_streams(names, data, channels, rule)
    if 1 < num_streams == len(names) and all(map(_is_folder, names)):
        return _videos_of_streams(names, data, channels, rule)
    videos = {}
    for path in _feature_paths(names, data["suffix"]):
        if path.endswith(HDF5_SUFFIXES):
            features = FeatureFiles(path, channels, "", data["suffix"], MODEL_WIDTH)
            inside = features.video_ids()
        else:
            features, name = features_of_file(path, channels)
            inside = [name]
        for name in inside:
            video_id = _video_id(name, os.path.splitext(path)[1], data)
            if video_id in videos:
                raise UserError(f"'{path}' and an earlier file of --feats are both {video_id!r}.")
            videos[video_id] = features, name
    return videos


def _videos_of_streams(names, data, channels, rule):
    """`find_videos` of several streams: those of the first that `--feats` names."""
    features = FeatureFiles(
        names,
        channels,
        data["prefix"],
        data["suffix"] or ".npy",
        MODEL_WIDTH,
        rule,
    )
    return {video_id: (features, video_id) for video_id in features.video_ids()}


def _feature_paths(names, suffix):
    """The files that `--feats` names, those of a folder in alphabetical order: list of str.

    In a folder a table or a pickle holds features where nothing else does, or where those of the
    training, whose `suffix` is given, were such files.
    """
    known = f"{', '.join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]}"
    paths = []
    for path in names:
        if _is_folder(path):
            inside = _files_in(path)
            if not inside:
                raise UserError(f"The folder '{path}' holds no feature file ({known}).")
            own = tuple(common for common in COMMON_SUFFIXES if suffix.endswith(common))
            sure = (*ARRAY_SUFFIXES, *HDF5_SUFFIXES, *own)
            paths += [name for name in inside if name.endswith(sure)] or inside
        elif path.endswith(_SUFFIXES):
            paths.append(path)
        else:
            raise UserError(f"Feature file '{path}' must end in {known}.")
    return paths


def _is_folder(path):
    """Whether a path is a folder; at an address there are none, but names without such a suffix."""
    return not path.endswith(_SUFFIXES) if remote.is_address(path) else os.path.isdir(path)


def _files_in(folder):
    if not remote.is_address(folder):
        found = [name for name in os.listdir(folder) if not name.startswith(".")]
        return [os.path.join(folder, name) for name in sorted(found) if name.endswith(_SUFFIXES)]
    with told_if_unreadable(f"The folder '{folder}' cannot be read"):
        found = remote.names_in(folder)
    return [remote.join(folder, name) for name in found if name.endswith(_SUFFIXES)]


def _video_id(name, file_suffix, data):
    """A video's name without what all names of the training's data have in common.

    Args:
      name: str, that of the video's file without `file_suffix`, or of its data set.
      file_suffix: str, e.g. ".npy".
      data: the run's `config.data`.
    """
    # The run's suffix, as "_rgb.npy", ends like the files unless these are of another kind.
    return name.removeprefix(data["prefix"]).removesuffix(data["suffix"].removesuffix(file_suffix))


def times_of(videos, model, fps, duration_sec, table, any_encoder):
    """The frame rate and the duration of each video: what the options or its features tell.

    Args:
      videos: dict, see `find_videos`.
      model: `DetectingModel`.
      fps, duration_sec, table: the values of `--fps`, `--duration` and `--table`, or None.
      any_encoder: bool, the value of `--any_encoder`.

    Returns:
      dict, video id to (frames a second or None, seconds or None).

    Raises:
      UserError: they tell different things, or not what the model needs.
    """
    if duration_sec is not None and len(videos) > 1:
        raise UserError(
            f"--duration is that of one video, but --feats names {len(videos)}. Give --table."
        )
    times = dict.fromkeys(videos, (fps, duration_sec))
    if table:
        times = read_times(table, videos)
    told = []
    for video_id, (features, name) in videos.items():
        sidecar = features.sidecar(name)
        if sidecar is not None:
            where, source = features.describe(name), "--table" if table else "--fps"
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
    encoder = None if any_encoder else model.encoder
    check_as_trained(told, model.grid, encoder, model.data["downsample_rate"])
    return times


def read_times(path, video_ids):
    """Reads a table with the columns video, fps and duration; one of the last two may lack.

    Args:
      path: str, the value of `--table`; a table of annotations is one, too.
      video_ids: the videos to look for.

    Returns:
      dict, video id to (frames a second or None, seconds or None).

    Raises:
      UserError: the table cannot be read, lacks a video or says neither of one.
    """
    entries = {}
    for where, name, known in read_video_times(path, logging.warning):
        entry = media_entry(entries, where, name)
        for field, value in known.items():
            set_once(where, entry, field, value)
    times = {}
    for video_id in video_ids:
        if video_id not in entries:
            raise UserError(
                f"--table={path} lacks the video {video_id!r} of --feats"
                f"{suggest(video_id, entries) or '.'}"
            )
        fps, duration_sec = (entries[video_id].get(name) for name in ("fps", "duration"))
        if fps is None and duration_sec is None:
            raise UserError(f"--table={path} has neither fps nor duration of {video_id!r}.")
        times[video_id] = fps, duration_sec
    return times
