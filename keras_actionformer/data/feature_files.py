"""One stream of features: the files of a folder, here or at an address, or those of an HDF5 file.

All kinds of streams have the same methods. `features.FeatureFiles` joins streams and checks what
their values and widths are.
"""

import bisect
import contextlib
import dataclasses
import functools
import math
import os
import pathlib

import numpy as np

from keras_actionformer.containers.hdf5_files import open_hdf5
from keras_actionformer.containers.number_tables import read_number_table
from keras_actionformer.containers.numpy_files import npz_names, open_npy, read_npz
from keras_actionformer.errors import UserError, suggest
from keras_actionformer.files import path_inside, told_if_unreadable

# What a file of one video ends with.
ARRAY_SUFFIXES = (".npy", ".npz", ".pt", ".pth")
COMMON_SUFFIXES = (".csv", ".pkl")  # of which there are many that hold no features
FILE_SUFFIXES = ARRAY_SUFFIXES + COMMON_SUFFIXES
HDF5_SUFFIXES = (".h5", ".hdf5")  # of a file of many videos
_ZIP_START = b"PK\x03\x04"


@dataclasses.dataclass(frozen=True)
class FolderStream:
    """A folder with one file a video.

    Args:
      folder: `pathlib.Path`.
      prefix: str, what file names have before the video id.
      suffix: str, what they have after it: it ends in one of `FILE_SUFFIXES`.
    """

    folder: pathlib.Path
    prefix: str
    suffix: str

    def check(self):
        """Raises UserError where there is no such stream."""
        check_suffix(self.suffix)
        if self.folder.is_file():
            raise UserError(
                f"Feature folder '{self.folder}' is a file; name the folder it is in, or a .h5 or "
                ".hdf5 file."
            )
        if not self.folder.is_dir():
            raise UserError(f"Feature folder '{self.folder}' does not exist; check its path.")

    def path(self, video_id):
        """Returns where the features of a video are expected."""
        return path_inside(self.folder, f"{self.prefix}{video_id}{self.suffix}")

    def has(self, video_id):
        """Returns whether a video has features."""
        return os.path.isfile(self.path(video_id))

    def video_ids(self):
        """Returns the ids of the videos with features, sorted; raises UserError without any."""
        # Hidden ones are of the system, or left by a writer that was killed.
        seen = [name for name in os.listdir(self.folder) if not name.startswith(".")]
        names = between(seen, self.prefix, self.suffix)
        if not names:
            raise UserError(
                f"Feature folder '{self.folder}' holds no features with a name "
                f"{self.prefix}<video id>{self.suffix}."
            )
        return names

    def open(self, video_id):
        """Returns the features of a video (T, C) as stored, checked but for NaN and infinity.

        Raises:
          UserError: they are missing, broken, empty, no real numbers or not two-dimensional.
        """
        path = self.path(video_id)
        if not os.path.isfile(path):  # also of a name that is too long for a file
            if os.path.isdir(path):
                raise UserError(f"Feature file '{path}' is a folder; put the file in its place.")
            if not os.path.isdir(path.parent):
                raise UserError(f"Feature file '{path}' does not exist, nor does its folder.")
            if os.path.islink(path):
                raise UserError(
                    f"Feature file '{path}' is a link to '{os.readlink(path)}', where no file is; "
                    "link it anew."
                )
            if os.path.exists(path):
                raise UserError(f"Feature file '{path}' is a pipe or a device; it must be a file.")
            count, nearest = _nearest(os.listdir, path.parent, path.name, self.suffix)
            raise UserError(
                f"Feature file '{path}' does not exist; its folder holds {count} *{self.suffix} "
                f"files{nearest}"
            )
        return checked(path, read_features(path))


@dataclasses.dataclass(frozen=True)
class Hdf5Stream:
    """An HDF5 file with one data set, or group of one, a video; methods as `FolderStream`'s.

    Args:
      file: `pathlib.Path`.
      prefix: str, what names of data sets or groups have before the video id.
      suffix: str; with a `/` in front it names which data set of each group is meant.
    """

    file: pathlib.Path
    prefix: str
    suffix: str = ""

    def check(self):
        if self.file.is_dir():
            raise UserError(
                f"Feature file '{self.file}' is a folder, but what ends in {self.file.suffix} must "
                "be an HDF5 file; give the folder another name."
            )
        if self.file.exists() and not self.file.is_file():
            raise UserError(f"Feature file '{self.file}' is a pipe or a device; it must be a file.")
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
            groups = [name for name in file if isinstance(_linked(file, name), h5py.Group)]
            names = between(set(file) - set(groups), self.prefix)
            if not names or self.suffix.startswith("/"):  # else groups hold something else
                with_features = [name for name in groups if self._datasets(file[name])]
                names = between(with_features, self.prefix)
        if not names:
            raise UserError(
                f"Feature file '{self.file}' holds no data set, or group of one, with a name "
                f"{self.prefix}<video id>."
            )
        return names

    def _datasets(self, group):
        """The names of the data sets in a video's group, of which features may be taken."""
        import h5py

        names = [self.suffix[1:]] if self.suffix.startswith("/") else list(group)
        return [name for name in names if isinstance(_linked(group, name), h5py.Dataset)]

    def open(self, video_id):
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
        path = self.path(video_id)
        return checked(path, self._steps(path, self._dataset(name, stored)))

    def _steps(self, path, dataset):
        """A data set to be read when it is sliced: a memory map, as of a `.npy`, or by h5py.

        h5py reads for one thread at a time, and copies once more.
        """
        import h5py

        _check_is_whole(path, dataset)
        stored = dataset.id
        is_in_one_piece = stored.get_create_plist().get_layout() == h5py.h5d.CONTIGUOUS
        is_written = stored.get_storage_size() == dataset.nbytes > 0
        is_as_in_memory = stored.get_type() == h5py.h5t.py_create(dataset.dtype)
        if not (is_in_one_piece and is_written and is_as_in_memory):
            return _Hdf5Steps(path, dataset, self.file)
        with told_if_unreadable(f"Feature file '{path}' cannot be read"):
            return np.memmap(self.file, dataset.dtype, "r", stored.get_offset(), dataset.shape)

    def _dataset(self, name, stored):
        """The data set of a video, of what has its name."""
        import h5py

        if isinstance(stored, h5py.Dataset):
            return stored
        if not isinstance(stored, h5py.Group):  # HDF5 gives types of numbers a name, too
            raise UserError(
                f"Feature file '{self.file}' has a type {name!r} where a data set (time steps, "
                "channels) must be."
            )
        names = self._datasets(stored)
        if len(names) == 1:
            return stored[names[0]]
        there = ", ".join(f"{name[:80]!r}" for name in list(stored)[:5]) or "nothing"
        where = f"Feature file '{self.file}' has a group {name!r}"
        if self.suffix.startswith("/"):
            raise UserError(f"{where} without the data set {self.suffix[1:]!r}; it holds {there}.")
        if names:
            raise UserError(
                f"{where} of {len(names)} data sets ({there}); say which is meant by the suffix "
                f"(suffix='/{names[0]}'; of a run, its data.suffix), or write a file of that alone."
            )
        raise UserError(
            f"{where} without a data set (time steps, channels) in it; it holds {there}."
        )

    def _open_file(self):
        with told_if_unreadable(
            f"Feature file '{self.file}' cannot be read as HDF5", "copy or write it again"
        ):
            return open_hdf5(self.file)


class StoredSteps:
    """Features (T, C), read when they are sliced, which may be when damage shows.

    Args:
      path: path or str, what messages call them.
      stored: `h5py.Dataset` or `RemoteRows`.
      fix: str, what to do where it cannot be read, or empty.
    """

    def __init__(self, path, stored, fix=""):
        self._path, self._stored, self._fix = path, stored, fix
        self.shape, self.dtype = stored.shape, stored.dtype

    @property
    def ndim(self):
        return len(self.shape)

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, steps):
        with told_if_unreadable(f"Feature file '{self._path}' cannot be read", self._fix):
            return self._stored[steps]


class _Hdf5Steps(StoredSteps):
    """As `StoredSteps`, of a file that may be cut short while it is open.

    Args:
      path: `pathlib.Path`, what messages call them.
      dataset: `h5py.Dataset`.
      file: `pathlib.Path` of its file.
    """

    def __init__(self, path, dataset, file):
        super().__init__(path, dataset, _missing_filters(dataset) or "copy or write it again")
        self._file, self._opened = file, os.stat(file)

    def __getitem__(self, steps):
        feats = super().__getitem__(steps)
        with contextlib.suppress(OSError):  # it is gone; what was opened can be read all the same
            now = os.stat(self._file)
            # HDF5 reads zeros behind the end of a file.
            if os.path.samestat(now, self._opened) and now.st_size < self._opened.st_size:
                raise UserError(
                    f"Feature file '{self._path}' was cut short while it was read: its file had "
                    f"{self._opened.st_size} bytes and has {now.st_size} now; start again once it "
                    "is written."
                )
        return feats


def _check_is_whole(path, dataset):
    """Raises UserError where a part of a data set was never written: HDF5 reads it as zeros."""
    written, pieces = int(dataset.id.get_storage_size() > 0), int(bool(dataset.size))
    if dataset.chunks:
        written = dataset.id.get_num_chunks()
        pieces = math.prod(-(-n // size) for n, size in zip(dataset.shape, dataset.chunks))
    if written < pieces:
        what = f"only {written} of its {pieces} chunks were" if written else "nothing of it was"
        raise UserError(
            f"Feature file '{path}' is not whole: {what} written, and HDF5 makes up the rest of "
            f"its shape {dataset.shape}; write it again."
        )


def _missing_filters(dataset):
    """What to do about the filters that HDF5 needs to read a data set and does not find, or ""."""
    import h5py

    plan = dataset.id.get_create_plist()
    filters = [plan.get_filter(i) for i in range(plan.get_nfilters())]
    missing = [
        f"{code} {name.decode(errors='replace')}".strip()
        for code, _, _, name in filters
        if not h5py.h5z.filter_avail(code)
    ]
    if not missing:
        return ""
    return (
        f"HDF5 has no filter {', '.join(missing)} here: write it again without that (gzip is "
        "always there), or have HDF5_PLUGIN_PATH name a folder with it"
    )


def check_suffix(suffix):
    """Raises UserError where no feature files end so."""
    if not suffix.endswith(FILE_SUFFIXES):
        *others, last = FILE_SUFFIXES
        raise UserError(
            f"suffix must end in {', '.join(others)} or {last} (HDF5 needs none: the folder is "
            f"then the .h5 file), but it is {suffix!r}."
        )


def between(names, prefix, suffix=""):
    """Returns, sorted, what stands between `prefix` and `suffix` in the names that have both."""
    return sorted(
        name.removeprefix(prefix).removesuffix(suffix)
        for name in names
        if name.startswith(prefix) and name.endswith(suffix)
    )


def _hdf5_names(path):
    with open_hdf5(path) as file:
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
    except KeyError:
        return None


def read_features(path):
    """The array in a file of one video, as its name tells; of a `.npy` a memory map."""
    if path.name.endswith((".pt", ".pth")):
        from keras_actionformer.data.torch_files import read_tensor

        return read_tensor(path)
    if path.name.endswith(".pkl"):
        from keras_actionformer.data.saved_arrays import read_pickled_array

        return read_pickled_array(path)
    return _read_csv(path) if path.name.endswith(".csv") else _open_numpy(path)


def _read_csv(path):
    """float64 (rows, columns) of a table of numbers, without what pandas counts them with."""
    table = read_number_table(path, "Feature file", "row")
    _check_header(table)
    numbers = table.numbers()
    width = len(table.first)
    # Columns without names have as header the numbers from 0, which two of them may well be.
    if table.header is None and width > 2 and table.first == [str(i) for i in range(width)]:
        numbers = numbers[1:]
    has_index = table.header is not None and not table.header[0]
    if has_index and np.array_equal(numbers[:, 0], np.arange(len(numbers))):
        numbers = numbers[:, 1:]
    return numbers


def _check_header(table):
    """Raises UserError where what seems to be a header may be a damaged row."""
    header = table.header or []
    numbers = [cell for cell in header if table.is_number(cell)]
    # pandas counts columns without names, behind the name of the row's.
    counted = [[str(i + first) for i in range(len(header) - 1)] for first in (0, 1)]
    if numbers and header[1:] not in counted:
        (other, *_) = (cell for cell in header if not table.is_number(cell))
        raise UserError(
            f"{table.source} has numbers in its first line, such as {numbers[0]!r:.80}, but also "
            f"{other!r:.80}: correct that, or, if the line is a header, give all columns names."
        )


def _open_numpy(path):
    with told_if_unreadable(
        f"Feature file '{path}' cannot be read as a NumPy array",
        "write it again with numpy.save or numpy.savez from an array of numbers",
    ):
        if not _is_archive(path):
            return open_npy(path)
        names = npz_names(path)
        if "feats" in names:
            return read_npz(path, ["feats"])["feats"]
    few = ", ".join(f"{name[:80]!r}" for name in names[:5]) or "nothing"
    raise UserError(
        f"Feature file '{path}' has no array 'feats', only {few}{', ...' * (len(names) > 5)}; "
        "save it under this key."
    )


def _is_archive(path):
    """Whether a file is a `.npz`, whatever its name is: NumPy reads both by what they are."""
    with open(path, "rb") as file:
        return file.read(len(_ZIP_START)) == _ZIP_START


def checked(path, array):
    """Returns the array of one stream if it holds numbers (time steps, channels)."""
    where = f"Feature file '{path}'"
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise UserError(f"{where} must hold real numbers, but its type is {array.dtype}.")
    if array.shape is None or len(array.shape) != 2:
        raise UserError(
            f"{where} must have the shape (time steps, channels), but it is {array.shape}."
        )
    if 0 in array.shape:
        raise UserError(f"{where} is empty: its shape is {array.shape}; compute it again.")
    return array
