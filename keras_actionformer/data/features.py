"""Feature files: one array (T, C) a video, read and checked."""

import bisect
import dataclasses
import functools
import numbers
import os
import pathlib

import numpy as np
from absl import logging

from keras_actionformer.detection.inputs import not_finite
from keras_actionformer.errors import UserError, suggest
from keras_actionformer.files import told_if_unreadable

HDF5_SUFFIXES = (".h5", ".hdf5")
NUMPY_SUFFIXES = (".npy", ".npz")
TORCH_SUFFIXES = (".pt", ".pth")


@dataclasses.dataclass(frozen=True)
class FeatureFiles:
    """The features of all videos: files in a folder, or data sets of one HDF5 file.

    A video's features are an array (T, C) of T time steps with C channels, as float16, float32,
    float64 or whole numbers. They stand

    - in the file `<folder>/<prefix><video id><suffix>`: alone in a `.npy`, under the key `feats`
      in a `.npz`, as a tensor that PyTorch saved in a `.pt` or `.pth`;
    - or as the data set `<prefix><video id>` in the HDF5 file that `folder` names (it then ends
      in `.h5` or `.hdf5`).

    Of several folders each gives one stream (appearance and motion, say). A video's streams are
    joined on the channels and must have the same number of steps: where one lacks a step, only
    who computed it knows at which end, and a guess would shift the streams against each other.

    Args:
      folder: str or `os.PathLike`, or a sequence of them, one a stream.
      feats_dim: int, the C every video must have; or a sequence of ints, the channels of each
        stream in the order of the folders, which sum to C; or None to take any.
      prefix: str, what names have before the video id.
      suffix: str, what file names end with, e.g. `.npy` or `_rgb.npz`; an HDF5 file ignores it.

    Raises:
      UserError: a folder does not exist, or `suffix` is of another kind of file.
    """

    folder: str | tuple[str, ...]
    feats_dim: int | tuple[int, ...] | None = None
    prefix: str = ""
    suffix: str = ".npy"

    def __post_init__(self):
        if not self.folders:
            raise UserError("folder must name at least one folder of features, but is empty.")
        for stream in self._streams():
            stream.check()

    @property
    def folders(self):
        """The folders or HDF5 files as a tuple of `pathlib.Path`, one a stream."""
        single = isinstance(self.folder, (str, os.PathLike))
        return tuple(map(pathlib.Path, [self.folder] if single else self.folder))

    def _streams(self):
        return [
            _Hdf5File(folder, self.prefix)
            if folder.suffix in HDF5_SUFFIXES
            else _Folder(folder, self.prefix, self.suffix)
            for folder in self.folders
        ]

    def paths(self, video_id):
        """Returns where the features of a video are expected, one path a stream.

        That of an HDF5 data set is the file's path followed by its name.
        """
        return tuple(stream.path(video_id) for stream in self._streams())

    def has(self, video_id):
        """Returns whether a video has features, of every stream."""
        return all(stream.has(video_id) for stream in self._streams())

    def video_ids(self):
        """Returns the ids of the videos that the first stream holds, a sorted list.

        Raises:
          UserError: it holds none.
        """
        return self._streams()[0].video_ids()

    def load(self, video_id):
        """Reads and checks the features of a video.

        Returns:
          float32 (T, C), T at least 1, all finite.

        Raises:
          UserError: the features are missing, broken, empty, not two-dimensional, of another width
            than `feats_dim`, of streams of unequal lengths, or have a value that is NaN or
            infinite.
        """
        array = self.open(video_id)
        with self._told_if_damaged(video_id), np.errstate(over="ignore"):
            feats = np.array(array[:], np.float32, order="C")  # What overflows becomes infinite.
        self._check_finite(video_id, feats)
        return feats

    def check(self, video_id):
        """Raises UserError where `load` would; of a long file it reads some steps at a time."""
        array = self.open(video_id)
        with self._told_if_damaged(video_id):
            self._check_finite(video_id, array)

    def _told_if_damaged(self, video_id):  # where a part of an HDF5 file is
        return told_if_unreadable(f"{self.describe(video_id)} cannot be read")

    def _check_finite(self, video_id, feats):
        count, first = not_finite(feats)
        if count:
            raise UserError(
                f"{self.describe(video_id)} has a NaN or infinite value at step {first} "
                f"({count} of {len(feats)} steps); compute it again."
            )

    def open(self, video_id):
        """Opens the features of a video; values of a `.npy` or HDF5 file are read when sliced.

        Returns:
          array-like (T, C) with `shape` and slices in time, as stored (read-only memory for a
          `.npy`); checked like those of `load` except for NaN and infinite values.

        Raises:
          UserError: see `load`.
        """
        arrays = [stream.open(video_id) for stream in self._streams()]
        lengths = [array.shape[0] for array in arrays]
        if len(set(lengths)) > 1:
            raise UserError(
                f"{self.describe(video_id)} must have the same number of time steps to be joined, "
                f"but have {' and '.join(map(str, lengths))}; cut the longer one where it has the "
                "steps that the other lacks (mostly at its end)."
            )
        array = arrays[0] if len(arrays) == 1 else _Joined(arrays)
        self._check_width(video_id, arrays, array.shape)
        return array

    def describe(self, video_id):
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
        fix = "correct feats_dim or take other features"
        if shape[0] == expected:
            fix = "it seems to be transposed: save it as (time steps, channels)"
        raise UserError(
            f"{self.describe(video_id)} must have {expected} channels, but {found}; {fix}."
        )

    def _check_stream_widths(self, video_id, widths):
        # Streams in another order have the right sum, and would train without a word.
        fix = "correct feats_dim or take other features"
        if sorted(widths) == sorted(self.feats_dim):
            found = ", ".join(map(str, widths))
            fix = f"the streams have {found} channels, so another order of the folders fits"
        for path, expected, width in zip(self.paths(video_id), self.feats_dim, widths):
            if width != expected:
                raise UserError(
                    f"Feature file '{path}' must have {expected} channels, but has {width}; {fix}."
                )


class _Joined:
    """Streams of one video side by side; only what is sliced is read and joined."""

    ndim = 2

    def __init__(self, arrays):
        self._arrays = arrays
        self.shape = (arrays[0].shape[0], sum(array.shape[1] for array in arrays))
        self.dtype = np.result_type(*(array.dtype for array in arrays))

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, steps):
        return np.concatenate([array[steps] for array in self._arrays], axis=1)


@dataclasses.dataclass(frozen=True)
class _Folder:
    """One stream: a folder with one file a video."""

    folder: pathlib.Path
    prefix: str
    suffix: str

    def check(self):
        if not self.suffix.endswith(NUMPY_SUFFIXES + TORCH_SUFFIXES):
            raise UserError(
                "suffix must end in .npy, .npz, .pt or .pth (HDF5 needs none: the folder is then "
                f"the .h5 file), but it is {self.suffix!r}."
            )
        if self.folder.is_file():
            raise UserError(
                f"Feature folder '{self.folder}' is a file; name the folder it is in, or a .h5 or "
                ".hdf5 file."
            )
        if not self.folder.is_dir():
            raise UserError(f"Feature folder '{self.folder}' does not exist; check its path.")

    def path(self, video_id):
        return self.folder / f"{self.prefix}{video_id}{self.suffix}"

    def has(self, video_id):
        return self.path(video_id).is_file()

    def video_ids(self):
        names = _between(os.listdir(self.folder), self.prefix, self.suffix)
        if not names:
            raise UserError(
                f"Feature folder '{self.folder}' holds no features with a name "
                f"{self.prefix}<video id>{self.suffix}."
            )
        return names

    def open(self, video_id):
        path = self.path(video_id)
        if not path.is_file():
            if path.is_dir():
                raise UserError(f"Feature file '{path}' is a folder; put the file in its place.")
            if not path.parent.is_dir():
                raise UserError(f"Feature file '{path}' does not exist, nor does its folder.")
            count, nearest = _nearest(os.listdir, path.parent, path.name, self.suffix)
            raise UserError(
                f"Feature file '{path}' does not exist; its folder holds {count} *{self.suffix} "
                f"files{nearest}"
            )
        if self.suffix.endswith(TORCH_SUFFIXES):
            from keras_actionformer.data.torch_files import read_tensor

            return _checked(path, read_tensor(path))
        return _checked(path, _open_numpy(path))


@dataclasses.dataclass(frozen=True)
class _Hdf5File:
    """One stream: an HDF5 file with one data set a video."""

    file: pathlib.Path
    prefix: str

    def check(self):
        if not self.file.is_file():
            raise UserError(f"Feature file '{self.file}' does not exist; check its path.")
        self._open_file().close()

    def path(self, video_id):
        return self.file / f"{self.prefix}{video_id}"

    def has(self, video_id):
        with self._open_file() as file:
            return _linked(file, f"{self.prefix}{video_id}") is not None

    def video_ids(self):
        import h5py

        with self._open_file() as file:  # a link that leads nowhere is told when it is opened
            datasets = [name for name in file if not isinstance(_linked(file, name), h5py.Group)]
        names = _between(datasets, self.prefix)
        if not names:
            raise UserError(
                f"Feature file '{self.file}' holds no data set with a name {self.prefix}<video id>."
            )
        return names

    def open(self, video_id):
        import h5py

        name = f"{self.prefix}{video_id}"
        file = self._open_file()  # Lives as long as the data set that is taken from it.
        stored = _linked(file, name)
        if stored is None and file.get(name, getlink=True) is not None:
            raise UserError(
                f"Feature file '{self.file}' has a link {name!r} that leads nowhere; put what it "
                "links to in its place, or write the data set itself."
            )
        if stored is None:
            count, nearest = _nearest(_hdf5_names, self.file, name)
            raise UserError(
                f"Feature file '{self.file}' has no data set {name!r}, of {count}{nearest}"
            )
        if not isinstance(stored, h5py.Dataset):
            raise UserError(
                f"Feature file '{self.file}' has a group {name!r} where a data set (time steps, "
                "channels) must be."
            )
        return _checked(self.path(video_id), stored)

    def _open_file(self):
        import h5py

        with told_if_unreadable(
            f"Feature file '{self.file}' cannot be read as HDF5", "copy or write it again"
        ):
            return h5py.File(self.file, "r")


def _between(names, prefix, suffix=""):
    """Returns, sorted, what stands between `prefix` and `suffix` in the names that have both."""
    return sorted(
        name.removeprefix(prefix).removesuffix(suffix)
        for name in names
        if name.startswith(prefix) and name.endswith(suffix)
    )


def _hdf5_names(path):
    import h5py

    with h5py.File(path, "r") as file:
        return list(file)


def _nearest(list_names, path, name, suffix=""):
    """Returns how many names with a suffix `path` has, and the end of a message: the nearest."""
    names, backwards, count = _listing(list_names, path, suffix, path.stat().st_mtime_ns)
    # Of thousands of names only those are compared that begin or end most alike.
    near = _neighbours(names, name)
    near += [other[::-1] for other in _neighbours(backwards, name[::-1])]
    return count, suggest(name, near) or "."


# Thousands of videos may lack features, each with a message of its own.
@functools.lru_cache(maxsize=16)
def _listing(list_names, path, suffix, _modified_ns):
    """Returns the sorted names, those written backwards, and how many have the suffix."""
    names = list_names(path)
    count = sum(name.endswith(suffix) for name in names)
    return sorted(names), sorted(name[::-1] for name in names), count


def _neighbours(names, name):
    """Returns those of the sorted names between which `name` would stand."""
    place = bisect.bisect(names, name)
    return names[max(place - 1, 0) : place + 1]


def _linked(file, name):
    """Returns the HDF5 object of a name; None where there is none or its link leads nowhere."""
    try:
        return file[name]
    except (KeyError, OSError):  # An OSError is that of a link to another file.
        return None


def _open_numpy(path):
    with told_if_unreadable(
        f"Feature file '{path}' cannot be read as a NumPy array",
        "write it again with numpy.save or numpy.savez from an array of numbers",
    ):
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded as archive:
            if "feats" in archive:
                return archive["feats"]
            names = ", ".join(map(repr, archive.files)) or "nothing"
    raise UserError(
        f"Feature file '{path}' has no array 'feats', only {names}; save it under this key."
    )


def _checked(path, array):
    """Returns the array of one stream if it holds numbers (time steps, channels)."""
    where = f"Feature file '{path}'"
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise UserError(f"{where} must hold real numbers, but its type is {array.dtype}.")
    if array.ndim != 2:
        raise UserError(
            f"{where} must have the shape (time steps, channels), but it is {array.shape}."
        )
    if array.size == 0:
        raise UserError(f"{where} is empty: its shape is {array.shape}; compute it again.")
    return array


def resize_feats(feats, num_steps):
    """Resizes features in time by linear interpolation.

    Steps are taken for intervals of equal length that fill the sequence before and after, and
    values beyond the centres of the first and the last step are theirs (the rule that other
    libraries call `align_corners=False`).

    Args:
      feats: float (T, C).
      num_steps: int, the T to return.

    Returns:
      float32 (num_steps, C).

    Raises:
      UserError: `num_steps` is no whole number above 0.
    """
    if not isinstance(num_steps, numbers.Integral) or num_steps < 1:
        raise UserError(f"num_steps must be a whole number above 0, but it is {num_steps!r}.")
    feats = np.asarray(feats, np.float32)
    if len(feats) == num_steps:
        return feats
    # As the reference: a scale in float32, and positions that are rounded to float32 once, at the
    # end (one fused multiply-add); the rounding shows in long sequences.
    scale = np.float64(np.float32(len(feats) / num_steps))
    position = (scale * (np.arange(num_steps) + 0.5) - 0.5).astype(np.float32)
    position = np.clip(position, 0, len(feats) - 1)
    left = position.astype(np.int64)
    right = np.minimum(left + 1, len(feats) - 1)
    weight = (position - left.astype(np.float32))[:, None]
    return feats[left] * (1 - weight) + feats[right] * weight


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
