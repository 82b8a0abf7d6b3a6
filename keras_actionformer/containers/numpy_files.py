"""NumPy's files: one array (`.npy`), or named ones in a zip archive (`.npz`).

NumPy takes a header at its word: the text of it goes to Python's parser, and memory for the shape
that it claims is asked for before the first number is read. Here a header is short, and the numbers
that it claims are in the file, neither less nor more of them.
"""

import io
import math
import os

import numpy as np

from keras_actionformer import remote
from keras_actionformer.containers.claims import brief_bytes
from keras_actionformer.containers.zip_files import open_zip, read_entry
from keras_actionformer.files import atomic_write, check_is_file

_MAGIC = b"\x93NUMPY"
# Version -> bytes that tell how long the header is, and NumPy's reader of it. A third version is
# for structured arrays alone.
_VERSIONS = {
    (1, 0): (2, np.lib.format.read_array_header_1_0),
    (2, 0): (4, np.lib.format.read_array_header_2_0),
}
_LONGEST_HEADER = 10_000
_PLAIN_KINDS = "biufcSU"  # bool, numbers and text
# Of a file at an address: so much is here sooner than a second request would be answered.
_WHOLE_BYTES = 2**22
_STRIDED_BYTES = 2**26  # that are fetched at once where some of the rows are wanted


def open_npy(path):
    """Opens a `.npy` file as a read-only memory map.

    Args:
      path: str or `os.PathLike`.

    Returns:
      array, of plain numbers or text.

    Raises:
      OSError: there is no such file, or it cannot be read.
      ValueError: it is no such file, has other contents than it claims, or holds objects.
    """
    check_is_file(path)
    with open(path, "rb") as file:
        shape, in_columns, dtype = _read_header(file, os.fstat(file.fileno()).st_size)
        start = file.tell()
    order = "F" if in_columns else "C"
    if 0 in shape:  # of which there is no memory map
        return np.empty(shape, dtype, order)
    return np.memmap(path, dtype, "r", start, shape, order)


def open_remote_npy(address):
    """Opens a `.npy` file at an address: a short one is read, of a long one parts are.

    Args:
      address: str.

    Returns:
      array, or `RemoteRows`, of plain numbers or text.

    Raises:
      OSError, ValueError: as `open_npy`; or the file is long and stored column by column.
    """
    num_bytes = remote.size(address)
    is_short = num_bytes <= _WHOLE_BYTES
    most = num_bytes if is_short else _LONGEST_HEADER + len(_MAGIC) + 6
    content = remote.read(address, 0, most)
    if is_short:
        return _array(content)
    stream = io.BytesIO(content)
    shape, in_columns, dtype = _read_header(stream, num_bytes)
    if in_columns and len(shape) > 1:
        raise ValueError(
            "it is stored column by column, of which no row can be fetched alone: write "
            "numpy.ascontiguousarray of it"
        )
    return RemoteRows(address, shape, dtype, stream.tell())


class RemoteRows:
    """The array of a `.npy` file at an address, of which the rows are fetched that are sliced.

    Args:
      address: str.
      shape: tuple of int; the first is the number of rows.
      dtype: NumPy's, of the values as stored.
      start: int, the byte of the file at which they begin.
    """

    def __init__(self, address, shape, dtype, start):
        self._address, self._start = address, start
        self.shape, self.dtype, self.ndim = shape, dtype, len(shape)
        self._row_bytes = math.prod(shape[1:]) * dtype.itemsize

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        start, stop, stride = rows.indices(len(self))
        if stride == 1:
            return self._fetch(start, max(start, stop))
        many = max(_STRIDED_BYTES // self._row_bytes // stride, 1) * stride
        parts = [
            self._fetch(first, min(first + many, stop))[::stride]
            for first in range(start, stop, many)
        ]
        return np.concatenate([self._fetch(0, 0), *parts])

    def _fetch(self, start, stop):
        first, end = (self._start + row * self._row_bytes for row in (start, stop))
        content = remote.read(self._address, first, end) if end > first else b""
        if len(content) != end - first:
            raise ValueError("it is shorter than it was when it was opened")
        return np.frombuffer(content, self.dtype).reshape(stop - start, *self.shape[1:])


def npz_names(path):
    """The names of the arrays in a `.npz` file; raises as `read_npz`."""
    with open_zip(path) as (_, entries):
        return [name.removesuffix(".npy") for name in entries]


def read_npz(path, names=None):
    """Reads the arrays of a `.npz` file.

    Args:
      path: str or `os.PathLike`.
      names: sequence of str, those to read; or None for all.

    Returns:
      dict from name to array, each of plain numbers or text, whose checksum was right.

    Raises:
      OSError: there is no such file, or it cannot be read.
      KeyError: an array of these names is not there.
      ValueError: it is no such file, an array has other contents than it claims or holds objects.
      Exception: anything that `zipfile` raises over damaged bytes.
    """
    with open_zip(path) as (archive, entries):
        stored = {name.removesuffix(".npy"): entry for name, entry in entries.items()}
        wanted = stored if names is None else names
        return {name: _array(read_entry(archive, stored[name])) for name in wanted}


def _array(content):
    """The array that the bytes of a `.npy` file hold."""
    stream = io.BytesIO(content)
    shape, in_columns, dtype = _read_header(stream, len(content))
    if 0 in shape:
        return np.empty(shape, dtype)
    numbers = np.frombuffer(content, dtype, math.prod(shape), stream.tell())
    return numbers.reshape(shape, order="F" if in_columns else "C").copy("K")


def _read_header(stream, num_bytes):
    """Returns (shape, whether in Fortran's order, dtype); the stream is where the numbers start."""
    magic = stream.read(len(_MAGIC) + 2)
    version = tuple(magic[len(_MAGIC) :])
    if not magic.startswith(_MAGIC) or version not in _VERSIONS:
        raise ValueError("it does not begin as NumPy's files of plain arrays do")
    width, read = _VERSIONS[version]
    length = stream.read(width)
    if int.from_bytes(length, "little") > _LONGEST_HEADER:
        raise ValueError("its header is too long")
    header = stream.read(int.from_bytes(length, "little"))
    try:
        shape, in_columns, dtype = read(io.BytesIO(length + header))
    except Exception:  # of Python's tokenizer, parser and compiler, which see the text of it
        raise ValueError("its header is damaged") from None
    if dtype.kind not in _PLAIN_KINDS or dtype.shape or not dtype.itemsize:
        what = "Python objects" if dtype.hasobject else "values"
        raise ValueError(f"it holds {what} that are neither numbers nor text")
    if any(size < 0 for size in shape):
        raise ValueError("its header claims a shape below 0")
    claimed, found = math.prod(shape) * dtype.itemsize, num_bytes - stream.tell()
    if claimed != found:
        raise ValueError(
            f"its header claims {brief_bytes(claimed)} of numbers, but it has {brief_bytes(found)}"
        )
    return shape, in_columns, dtype


# === Writing ===


def write_npy(path, array):
    """Writes an array as a `.npy` file, all at once."""
    with atomic_write(path, "wb") as file:
        np.save(file, array)


def write_npy_rows(path, parts):
    """Writes arrays one after the other as one: only one of them is in memory.

    Args:
      path: `pathlib.Path`, which gets what `numpy.save` would write of all.
      parts: iterator of arrays (n, C) of one type and width, one at least.

    Returns:
      (int, int), the shape of all.
    """
    with open(path, "wb") as file:
        count = 0
        for part in parts:
            if not count:
                _write_npy_head(file, part, 0)
            file.write(part.tobytes())
            count += len(part)
        file.seek(0)
        _write_npy_head(file, part, count)
    return count, part.shape[1]


def _write_npy_head(file, part, count):
    # It has room for any count, so that it is as long whatever that is.
    description = np.lib.format.dtype_to_descr(part.dtype)
    head = {"descr": description, "fortran_order": False, "shape": (count, part.shape[1])}
    np.lib.format.write_array_header_1_0(file, head)
