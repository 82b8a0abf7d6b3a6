"""Reading what PyTorch saved, without PyTorch and without running anything a file asks for.

`torch.save` writes a zip: the pickle `data.pkl` describes the saved object (see `pickles`), and an
entry a storage holds the numbers of its tensors, as they lie in memory.
"""

import contextlib
import math
import re
import zipfile

import numpy as np

from keras_actionformer.data.pickles import (
    STORAGE_DTYPES,
    Fault,
    PickleMachine,
    PlainData,
    naming,
    whole_numbers,
)
from keras_actionformer.errors import UserError

# PyTorch before 1.6 wrote a plain pickle that begins with this number.
_OLD_FORMAT = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
_ZIP_START = b"PK\x03\x04"
_LOCAL_HEADER_BYTES = 30
_MAX_ENTRIES = 1_000_000
# The description of a model of 100 M numbers with its optimizer takes a twentieth of this; an
# object that is described by one byte may take 250 in memory.
_MAX_PICKLE_BYTES = 4 * 2**20
_MAX_RANK = 32
# A tensor may show one stored number many times. Model files made of such tensors open when all
# they show is this much larger than the file, ten times the models this is for; a file of a few
# bytes cannot claim more.
_MAX_REPEATED_BYTES = 4 * 2**30


def read_torch_file(path, keys=None):
    """Reads a file written by `torch.save` (PyTorch 1.6 or newer).

    Args:
      path: str or `os.PathLike`.
      keys: tuple of str, the only entries of the saved dict to read, where they exist; the numbers
        of the others (an optimizer's, say) are never read. None reads everything.

    Returns:
      The saved object as None, bool, int, float, str, bytes, list, tuple and dict, with a NumPy
      array for every tensor, wherever the tensor was (`cuda:0`). Arrays are read-only, and views
      where tensors share numbers; bfloat16 becomes float32, which holds it exactly, and every
      other type stays. With `keys`, a dict of those found.

    Raises:
      UserError: the file is missing, damaged, of another format, asks for anything else than data,
        or claims more than it holds; with `keys`, it does not hold a dict.
    """
    with _opened(path) as (saved, plain):
        if keys is None:
            return plain.of(saved)
        _check_dict(saved)
        return {key: plain.of(saved[key]) for key in keys if key in saved}


def list_keys(path):
    """Lists the keys of the dict that a file of `torch.save` holds, and reads no tensor.

    Args:
      path: str or `os.PathLike`.

    Returns:
      list of keys.

    Raises:
      UserError: see `read_torch_file`.
    """
    with _opened(path) as (saved, _):
        _check_dict(saved)
        return list(saved)


def read_tensor(path):
    """Reads a file with one tensor: alone, in a dict under `feats`, or as a dict's only tensor.

    Args:
      path: str or `os.PathLike`, written by `torch.save`.

    Returns:
      NumPy array, read-only.

    Raises:
      UserError: see `read_torch_file`; or there is no such tensor, or more than one.
    """
    saved = read_torch_file(path)
    if isinstance(saved, np.ndarray):
        return saved
    arrays = {}
    if isinstance(saved, dict):
        arrays = {key: value for key, value in saved.items() if isinstance(value, np.ndarray)}
        if "feats" in arrays:
            return arrays["feats"]
        if len(arrays) == 1:
            return next(iter(arrays.values()))
    names = ", ".join(map(repr, list(arrays)[:5])) + (", ..." if len(arrays) > 5 else "")
    raise UserError(
        f"{path}: expected one tensor, alone or in a dict under 'feats', but it holds "
        f"{f'{len(arrays)} ({names})' if arrays else f'a {type(saved).__name__} without one'}; "
        "save the tensor alone: torch.save(tensor, path)."
    )


@contextlib.contextmanager
def _opened(path):
    """Yields (what the pickle describes, the `PlainData` that reads its tensors)."""
    with naming(path), open(path, "rb") as file:
        _check_format(file, str(path))
        with zipfile.ZipFile(file) as zip_file:
            archive = _Archive(zip_file, file.seek(0, 2))
            yield PickleMachine(archive.pickle()).run(), PlainData(archive.array)


def _check_dict(saved):
    if not isinstance(saved, dict):
        raise Fault("expected a dict (a checkpoint), but it holds something else")


def _check_format(file, path):
    """Tells the formats apart by their first bytes; leaves the file at its start."""
    head = file.read(512)
    file.seek(0)
    if head.startswith(_ZIP_START):
        return
    if _OLD_FORMAT in head[:32] or head[257:262] == b"ustar":
        raise Fault(
            "it is in the format PyTorch wrote before version 1.6 (or a tar archive); save it "
            f'again with PyTorch: torch.save(torch.load({path!r}, map_location="cpu"), {path!r})'
        )
    raise Fault("it is not a file written by torch.save, which is a zip file")


class _Archive:
    """The entries of a `torch.save` file, checked before one of them is read.

    Args:
      zip_file: `zipfile.ZipFile`.
      num_bytes: int, size of the file.
    """

    def __init__(self, zip_file, num_bytes):
        self._zip_file = zip_file
        self._entries = _checked_entries(zip_file, num_bytes)
        pickles = [name for name in self._entries if re.fullmatch("[^/]+/data.pkl", name)]
        if len(pickles) != 1:
            raise Fault(
                "it is a zip file, but not one of torch.save, which has one data.pkl in a folder; "
                "if a checkpoint was packed into it, unpack it first"
            )
        self._root = pickles[0].split("/")[0]
        order = self.read("byteorder") if self._has("byteorder") else b"little"
        if order not in (b"little", b"big"):
            raise Fault("its byte order must be 'little' or 'big'")
        self._byte_order = ">" if order == b"big" else "<"
        self._numbers = {}
        # bfloat16 takes twice the file's bytes in float32.
        self._bytes_left = 2 * num_bytes + _MAX_REPEATED_BYTES

    def pickle(self):
        """Returns the bytes of `data.pkl`."""
        if self._entries[f"{self._root}/data.pkl"].file_size > _MAX_PICKLE_BYTES:
            raise Fault(f"its data.pkl is larger than {_MAX_PICKLE_BYTES} bytes")
        return self.read("data.pkl")

    def read(self, name):
        """Returns the bytes of the entry, whose checksum was right."""
        return self._zip_file.read(f"{self._root}/{name}")

    def array(self, tensor):
        """Returns the NumPy array of a `Tensor`, a view of its storage."""
        numbers = self._numbers_of(tensor.storage)
        shape, strides = whole_numbers(tensor.shape), whole_numbers(tensor.strides)
        (offset,) = whole_numbers((tensor.offset,))
        if len(shape) != len(strides) or len(shape) > _MAX_RANK:
            raise Fault(f"it has a tensor of {len(shape)} sizes and {len(strides)} strides")
        self._bytes_left -= math.prod(max(size, 1) for size in shape) * numbers.itemsize
        if self._bytes_left < 0:
            raise Fault("its tensors claim far more numbers than the file holds")
        if 0 in shape:
            return np.zeros(shape, numbers.dtype)
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides))
        if last >= len(numbers):
            raise Fault(
                f"it has a tensor that reaches number {last} of a storage with {len(numbers)}"
            )
        # A size of 1 may have any stride, also one that no integer of NumPy can hold.
        steps = [
            stride * numbers.itemsize if size > 1 else 0 for size, stride in zip(shape, strides)
        ]
        return np.ndarray(shape, numbers.dtype, numbers, offset * numbers.itemsize, steps)

    def _has(self, name):
        return f"{self._root}/{name}" in self._entries

    def _numbers_of(self, storage):
        """Returns the numbers (num_elements,) of a storage, read once."""
        if storage.key not in self._numbers:
            self._numbers[storage.key] = storage, self._read_numbers(storage)
        known, numbers = self._numbers[storage.key]
        if known != storage:
            raise Fault(f"its storage {storage.key[:20]!r} is described in two ways")
        return numbers

    def _read_numbers(self, storage):
        name = f"data/{storage.key}"
        dtype = np.dtype(self._byte_order + STORAGE_DTYPES[storage.kind])
        stored = self._entries[f"{self._root}/{name}"].file_size if self._has(name) else None
        if stored != storage.num_elements * dtype.itemsize:
            raise Fault(
                f"its storage {storage.key[:20]!r} should have {storage.num_elements} numbers of "
                f"{dtype.itemsize} bytes, but the file has {stored or 0} bytes for it"
            )
        numbers = np.ndarray(storage.num_elements, dtype, self.read(name))
        if storage.kind == "BFloat16":
            numbers = (numbers.astype(np.uint32) << 16).view(np.float32)
        numbers = numbers.astype(numbers.dtype.newbyteorder("="), copy=False)
        numbers.flags.writeable = False
        return numbers


def _checked_entries(zip_file, num_bytes):
    """Returns {name: entry} of a zip file as PyTorch writes it."""
    entries = sorted(zip_file.infolist(), key=lambda entry: entry.header_offset)
    if len(entries) > _MAX_ENTRIES:
        raise Fault(f"it has {len(entries)} entries; more than {_MAX_ENTRIES} are not read")
    end = 0
    for entry in entries:
        if entry.flag_bits & 1:
            raise Fault(f"its entry {entry.filename[:80]!r} is encrypted; decrypt it first")
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise Fault(
                f"its entry {entry.filename[:80]!r} is compressed, which torch.save never does; if "
                "a checkpoint was packed into it, unpack it first"
            )
        if entry.header_offset < end:
            raise Fault(f"its entry {entry.filename[:80]!r} overlaps another; download it again")
        end = entry.header_offset + _LOCAL_HEADER_BYTES + len(entry.filename) + entry.file_size
    if end > num_bytes:
        raise Fault(f"it is cut short: {end} bytes are described, but it has {num_bytes}")
    by_name = {entry.filename: entry for entry in entries}
    if len(by_name) < len(entries):
        raise Fault("it has two entries of one name; save or download it again")
    return by_name
