"""The features of videos: one array (T, C) each, of one stream or several, read and checked."""

import dataclasses
import os
import pathlib
import posixpath
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import logging

from keras_actionformer.data.arrays import not_finite
from keras_actionformer.data.encoder_records import joined_record
from keras_actionformer.data.feature_files import HDF5_SUFFIXES, FolderStream, Hdf5Stream
from keras_actionformer.data.remote_features import RemoteStream
from keras_actionformer.data.resizing import ResizedSteps
from keras_actionformer.data.sidecars import Sidecar, read_sidecar
from keras_actionformer.errors import UserError, counted
from keras_actionformer.remote import is_address

UNEQUAL_STREAMS = ("error", "to_first", "to_longest")
# Of the lengths of two streams; those of features of pictures and of sound differ by less.
_ODD_RATIO = 8
# What is told of features of another width than a trained model takes.
MODEL_WIDTH = "take features like those that the model was made for (its input_dim)"


@dataclasses.dataclass(frozen=True)
class FeatureFiles:
    """The features of all videos: files in a folder, or data sets of one HDF5 file.

    A video's features are an array (T, C) of T time steps with C channels, as float16, float32,
    float64 or whole numbers. They stand

    - in the file `<folder>/<prefix><video id><suffix>`: alone in a `.npy`, under the key `feats`
      in a `.npz`, as a tensor that PyTorch saved in a `.pt` or `.pth`, a row a step in a `.csv`
      (with a header or none), as an array or a list of rows in a `.pkl`;
    - or as the data set `<prefix><video id>`, or the only one in the group of this name, in the
      HDF5 file that `folder` names (it then ends in `.h5` or `.hdf5`).

    A folder may be at an address that fsspec opens, `s3://bucket/feats` (extra `remote`): of a long
    `.npy` there the steps that are sliced are fetched, and of other files the whole.

    Of several folders each gives one stream (appearance and motion, say). A video's streams are
    joined on the channels and must have the same number of steps: where one lacks a step, only
    who computed it knows at which end, and a guess would shift the streams against each other.
    Where they span the same time in other numbers of steps, `unequal_streams` has them resized.

    Args:
      folder: str or `os.PathLike`, or a sequence of them, one a stream.
      feats_dim: int, the C every video must have; or a sequence of ints, the channels of each
        stream in the order of the folders, which sum to C; or None to take any.
      prefix: str, what names have before the video id.
      suffix: str, what file names end with, e.g. `.npy` or `_rgb.npz`; an HDF5 file ignores it, but
        for one as `/c3d_features`, which says which data set of each group is meant.
      width_fix: str, what a message tells to do about features of another width than `feats_dim`.
      unequal_streams: str, what is done about streams of a video that have other numbers of steps:
        `"error"`; `"to_first"`, they are resized linearly to the length of the first; or
        `"to_longest"`, to that of the longest (as OpenTAD does). The steps lie in time as those of
        that stream did.

    Raises:
      UserError: a folder does not exist, or `suffix` is of another kind of file.
    """

    folder: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
    feats_dim: int | Sequence[int] | None = None
    prefix: str = ""
    suffix: str = ".npy"
    width_fix: str = "correct feats_dim or take other features"
    unequal_streams: str = "error"
    _told: set[str] = dataclasses.field(default_factory=set, init=False, repr=False, compare=False)

    def __post_init__(self):
        if not self.folders:
            raise UserError("folder must name at least one folder of features, but is empty.")
        if self.unequal_streams not in UNEQUAL_STREAMS:
            raise UserError(
                f"unequal_streams must be one of {', '.join(UNEQUAL_STREAMS)}, but is "
                f"{self.unequal_streams!r}."
            )
        for stream in self._streams():
            stream.check()

    @property
    def folders(self) -> tuple[pathlib.Path | str, ...]:
        """The folders or HDF5 files, one a stream: `pathlib.Path`, of an address a str."""
        single = isinstance(self.folder, (str, os.PathLike))
        return tuple(
            folder if is_address(folder) else pathlib.Path(folder)
            for folder in ([self.folder] if single else self.folder)
        )

    @property
    def is_remote(self) -> bool:
        """Whether they are at an address, where each look at them is a request."""
        return any(map(is_address, self.folders))

    def _streams(self):
        return [self._stream(folder) for folder in self.folders]

    def _stream(self, folder):
        if is_address(folder):
            return RemoteStream(folder, self.prefix, self.suffix)
        if folder.suffix in HDF5_SUFFIXES:
            return Hdf5Stream(folder, self.prefix, self.suffix)
        return FolderStream(folder, self.prefix, self.suffix)

    def paths(self, video_id: str) -> tuple[pathlib.Path | str, ...]:
        """Returns where the features of a video are expected, one path or address a stream.

        That of an HDF5 data set is the file's path followed by its name.
        """
        return tuple(stream.path(video_id) for stream in self._streams())

    def has(self, video_id: str) -> bool:
        """Returns whether a video has features, of every stream."""
        return all(stream.has(video_id) for stream in self._streams())

    def video_ids(self) -> list[str]:
        """Returns the ids of the videos that the first stream holds, a sorted list.

        Raises:
          UserError: it holds none.
        """
        return self._streams()[0].video_ids()

    def load(self, video_id: str) -> np.ndarray:
        """Reads and checks the features of a video.

        Returns:
          float32 (T, C), T at least 1, all finite.

        Raises:
          UserError: the features are missing, broken, empty, not two-dimensional, of another width
            than `feats_dim`, of streams of unequal lengths, or have a value that is NaN or
            infinite.
        """
        array = self.open(video_id)
        with np.errstate(over="ignore"):
            feats = np.array(array[:], np.float32, order="C")  # What overflows becomes infinite.
        self._check_finite(video_id, feats)
        return feats

    def check(self, video_id: str) -> None:
        """Raises UserError where `load` would; of a long file it reads some steps at a time."""
        self._check_finite(video_id, self.open(video_id))

    def _check_finite(self, video_id, feats):
        count, first = not_finite(feats)
        if count:
            raise UserError(
                f"{self.describe(video_id)} has a NaN or infinite value at step {first} "
                f"({count} of {len(feats)} steps); compute it again."
            )

    def open(self, video_id: str) -> Any:
        """Opens the features of a video; values of a `.npy` or HDF5 file are read when sliced.

        Returns:
          array-like (T, C) with `shape` and slices in time, as stored (read-only memory for a
          `.npy`); checked like those of `load` except for NaN and infinite values (which raise
          `UserError` when they are sliced, where `is_checked_when_read` is true).

        Raises:
          UserError: see `load`.
        """
        arrays = [stream.open(video_id) for stream in self._streams()]
        arrays = self._equally_long(video_id, arrays)
        array = arrays[0] if len(arrays) == 1 else _Joined(arrays)
        self._check_width(video_id, arrays, array.shape)
        return array

    def _equally_long(self, video_id, arrays):
        """The arrays of a video's streams, resized where they have to be and may be."""
        lengths = [array.shape[0] for array in arrays]
        if len(set(lengths)) == 1:
            return arrays
        if self.unequal_streams == "error":
            raise UserError(
                f"{self.describe(video_id)} must have the same number of time steps to be joined, "
                f"but have {' and '.join(map(str, lengths))}; cut the longer one where it has the "
                "steps that the other lacks (mostly at its end), or, if they span the same time, "
                "have them interpolated by unequal_streams=to_first or to_longest (in a "
                "configuration: data.unequal_streams)."
            )
        length = lengths[0] if self.unequal_streams == "to_first" else max(lengths)
        if max(lengths) > _ODD_RATIO * min(lengths) and not self._told:
            self._told.add(video_id)
            logging.warning(
                "%s have %s steps, which are resized as if they spanned the same time: if they do "
                "not, one of them is not whole. (Other videos are not told.)",
                self.describe(video_id),
                " and ".join(map(str, lengths)),
            )
        return [array if len(array) == length else ResizedSteps(array, length) for array in arrays]

    def sidecar(self, video_id: str) -> Sidecar | None:
        """Reads what lies beside the features of a video and tells their timing.

        Returns:
          `Sidecar`, or None where no stream has one. Of several streams its encoder is that of
          all, see `joined_record`, and its timing that of all, or of the one to whose length the
          others are resized (`unequal_streams`); None where it is not known which that is.

        Raises:
          UserError: one is damaged, or two streams differ in their timing and may not.
        """
        paths = [
            path
            for stream, path in zip(self._streams(), self.paths(video_id))
            if not isinstance(stream, Hdf5Stream)
        ]
        found = {path: sidecar for path in paths if (sidecar := read_sidecar(path)) is not None}
        if not found:
            return None
        if len(self.folders) == 1:
            return found[paths[0]]
        (first, sidecar), *others = found.items()
        if self.unequal_streams == "to_first":
            sidecar = found.get(self.paths(video_id)[0])
        elif self.unequal_streams == "to_longest":
            known = len(found) == len(self.folders)
            sidecar = min(found.values(), key=_seconds_a_step) if known else None
        else:
            for path, other in others:
                grid = dataclasses.asdict(sidecar.grid)
                fix = "streams of one video must have the same timing, so extract one of them again"
                other.check(f"Feature file '{path}'", **grid, source=f"that of '{first}'", fix=fix)
        if sidecar is None:
            return None
        records = [found[path].encoder if path in found else {} for path in self.paths(video_id)]
        return dataclasses.replace(sidecar, encoder=joined_record(records))

    def first_sidecar(self) -> Sidecar | None:
        """Returns the `Sidecar` of the first video that has one, or None: then none has."""
        sidecars = map(self.sidecar, self.video_ids())
        return next((sidecar for sidecar in sidecars if sidecar is not None), None)

    def describe(self, video_id: str) -> str:
        """Returns "Feature file 'PATH'", or files, as the subject of a message."""
        paths = [f"'{path}'" for path in self.paths(video_id)]
        return f"Feature file{'s' if len(paths) > 1 else ''} {' and '.join(paths)}"

    def _check_width(self, video_id, arrays, shape):
        if self.feats_dim is None:
            return
        if len(arrays) > 1 and np.shape(self.feats_dim) == (len(arrays),):
            self._check_stream_widths(video_id, [array.shape[1] for array in arrays])
        expected = int(np.sum(self.feats_dim))
        if shape[1] == expected:
            return
        found = f"its shape is {shape}"
        if len(arrays) > 1:
            found = f"they have {' + '.join(str(a.shape[1]) for a in arrays)} = {shape[1]}"
        fix = self.width_fix
        if shape[0] == expected:
            fix = "it seems to be transposed: save it as (time steps, channels)"
        raise UserError(
            f"{self.describe(video_id)} must have {counted(expected, 'channel')}, but "
            f"{found}; {fix}."
        )

    def _check_stream_widths(self, video_id, widths):
        # Streams in another order have the right sum, and would train without a word.
        fix = self.width_fix
        if sorted(widths) == sorted(self.feats_dim):
            found = ", ".join(map(str, widths))
            fix = f"the streams have {found} channels, so another order of the folders fits"
        for path, expected, width in zip(self.paths(video_id), self.feats_dim, widths):
            if width != expected:
                raise UserError(
                    f"Feature file '{path}' must have {counted(expected, 'channel')}, but has "
                    f"{width}; {fix}."
                )


def features_of_file(path, feats_dim):
    """Opens a feature file of one video by its own name, to detect in.

    Args:
      path: str, a path or an address.
      feats_dim: int, the channels of the model.

    Returns:
      (`FeatureFiles`, the id that the video has in them).
    """
    folder, name = posixpath.split(path) if is_address(path) else os.path.split(path)
    name, suffix = os.path.splitext(name)
    return FeatureFiles(folder, feats_dim, suffix=suffix, width_fix=MODEL_WIDTH), name


def _seconds_a_step(sidecar):
    """What sorts the `Sidecar`s of a video by the number of steps, the most first."""
    return sidecar.stride_frames / sidecar.fps, sidecar.window_frames / sidecar.fps


class _Joined:
    """Streams of one video side by side; only what is sliced is read and joined."""

    ndim = 2

    def __init__(self, arrays):
        self._arrays = arrays
        self.shape = (arrays[0].shape[0], sum(array.shape[1] for array in arrays))
        self.dtype = np.result_type(*(array.dtype for array in arrays))
        self.is_checked_when_read = all(
            getattr(array, "is_checked_when_read", False) for array in arrays
        )

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, steps):
        return np.concatenate([array[steps] for array in self._arrays], axis=1)


def videos_with_features(videos, features):
    """Leaves out the videos that lack features, of any stream, and logs how many those are.

    Released data sets lack some videos; leaving them out is a choice, so it is a step of its own.

    Args:
      videos: sequence of `Video`.
      features: `FeatureFiles`.

    Returns:
      tuple of `Video`.

    Raises:
      UserError: not one of the videos has features.
    """
    present = tuple(video for video in videos if features.has(video.video_id))
    if len(present) < len(videos):
        kept = {video.video_id for video in present}
        missing = [video.video_id for video in videos if video.video_id not in kept]
        if not present:
            paths = " or ".join(f"'{path}'" for path in features.paths(missing[0]))
            raise UserError(
                f"None of the {len(videos)} videos has features: {paths} does not exist; correct "
                "the folder, prefix or suffix."
            )
        logging.warning(
            "%d of %d videos have no features in %s and are left out: %s%s",
            len(missing),
            len(videos),
            " and ".join(f"'{folder}'" for folder in features.folders),
            ", ".join(missing[:5]),
            ", ..." if len(missing) > 5 else "",
        )
    return present
