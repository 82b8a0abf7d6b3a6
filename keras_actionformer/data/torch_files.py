"""Reading what PyTorch saved, without PyTorch and without running anything a file asks for.

`torch.save` writes a zip: the pickle `data.pkl` describes the saved object (see `pickles`), and an
entry a storage holds the numbers of its tensors, as they lie in memory. Before PyTorch 1.6 it wrote
pickles one after the other, and the storages behind them.
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
from keras_actionformer.data.saved_arrays import only_array

# A number in the pickle that PyTorch before 1.6 wrote in front.
_OLD_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
_OLD_VERSION = 1001
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
    """Reads a file written by `torch.save`, of PyTorch 0.1.10 (2017) or newer.

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


def read_tensor(path, only_zeros=False):
    """Reads a file with one tensor: alone, in a dict under `feats`, or as a dict's only tensor.

    Args:
      path: str or `os.PathLike`, written by `torch.save`.
      only_zeros: bool, reads no numbers: in their place are zeros, which take no memory until they
        are looked at. That shows the shape, and whether the file is whole, in an instant.

    Returns:
      NumPy array, read-only.

    Raises:
      UserError: see `read_torch_file`; or there is no such tensor, or more than one.
    """
    with _opened(path, only_zeros) as (saved, plain):
        plain_data = plain.of(saved)
    fix = "save the tensor alone: torch.save(tensor, path)"
    return only_array(path, plain_data, "tensor", fix)


@contextlib.contextmanager
def _opened(path, only_zeros=False):
    """Yields (what the pickle describes, the `PlainData` that reads its tensors)."""
    with naming(path), open(path, "rb") as file, contextlib.ExitStack() as stack:
        num_bytes = file.seek(0, 2)
        if _is_old(file):
            opened = _OldFile(file, num_bytes)
        else:
            opened = _Archive(stack.enter_context(zipfile.ZipFile(file)), num_bytes)
        yield opened.saved, PlainData(_Storages(opened, num_bytes, only_zeros).array)


def _check_dict(saved):
    if not isinstance(saved, dict):
        raise Fault("expected a dict (a checkpoint), but it holds something else")


def _is_old(file):
    """Tells the two formats apart by their first bytes; leaves the file at its start."""
    file.seek(0)
    head = file.read(512)
    file.seek(0)
    if head[257:262] == b"ustar":
        raise Fault(
            "it is a tar archive; unpack it if a checkpoint was packed into it, or save it again "
            'with PyTorch: torch.save(torch.load(PATH, map_location="cpu"), PATH)'
        )
    is_old = _OLD_MAGIC in head[:32]
    if not is_old and not head.startswith(_ZIP_START):
        raise Fault("it is not a file written by torch.save, which begins otherwise")
    return is_old


class _Archive:
    """A `torch.save` file of PyTorch 1.6 or newer, whose entries are checked before one is read.

    Args:
      zip_file: `zipfile.ZipFile`.
      num_bytes: int, size of the file.

    Attributes:
      saved: what its pickle describes.
      byte_order: "<" or ">", of the numbers in the storages.
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
        order = self._read("byteorder") if self._has("byteorder") else b"little"
        if order not in (b"little", b"big"):
            raise Fault("its byte order must be 'little' or 'big'")
        self.byte_order = ">" if order == b"big" else "<"
        if self._entries[pickles[0]].file_size > _MAX_PICKLE_BYTES:
            raise Fault(f"its data.pkl is larger than {_MAX_PICKLE_BYTES} bytes")
        self.saved = PickleMachine(self._read("data.pkl")).run()

    def size_of(self, key):
        """Returns how many bytes there are of a storage."""
        name = f"data/{key}"
        return self._entries[f"{self._root}/{name}"].file_size if self._has(name) else 0

    def read_storage(self, key):
        return self._read(f"data/{key}")

    def _has(self, name):
        return f"{self._root}/{name}" in self._entries

    def _read(self, name):
        """Returns the bytes of the entry, whose checksum was right."""
        return self._zip_file.read(f"{self._root}/{name}")


class _OldFile:
    """A `torch.save` file of PyTorch before 1.6.

    It has pickles of a fixed number, a version, facts about the computer, the saved object, and the
    list of its storages' keys; then, in this order, of each storage the count (8 bytes) and the
    numbers, little-endian on any computer. It has no checksums.

    Args:
      file: binary file.
      num_bytes: int, its size.

    Attributes:
      saved, byte_order: as of `_Archive`.
    """

    byte_order = "<"

    def __init__(self, file, num_bytes):
        self._file = file
        self._next_pickle()
        if (version := self._next_pickle()[0]) != _OLD_VERSION:
            raise Fault(f"it is of version {str(version)[:20]!r}; {_OLD_VERSION} can be read")
        self._next_pickle()
        self.saved, storages = self._next_pickle()
        keys, _ = self._next_pickle()
        if type(keys) is not list or set(map(type, keys)) - {str} or len(set(keys)) < len(keys):
            raise Fault("its list of storages is no list of different names")
        self._spans = {}  # of key: (place in the file, bytes)
        place = file.tell()
        for key in keys:
            if key not in storages:
                raise Fault(f"its storage {key[:20]!r} is of no tensor")
            size = np.dtype(STORAGE_DTYPES[storages[key].kind]).itemsize
            count = int.from_bytes(file.read(8), "little", signed=True)
            self._spans[key] = place + 8, count * size
            place += 8 + count * size
            if count < 0 or place > num_bytes:
                raise Fault(f"it is cut short or damaged at its storage {key[:20]!r}")
            file.seek(place)
        if place != num_bytes:
            raise Fault("something follows after its last storage, where nothing should be")

    def size_of(self, key):
        return self._spans[key][1] if key in self._spans else 0

    def read_storage(self, key):
        place, size = self._spans[key]
        self._file.seek(place)
        return self._file.read(size)

    def _next_pickle(self):
        """Returns (what it describes, the storages that it names)."""
        place = self._file.tell()
        machine = PickleMachine(self._file.read(_MAX_PICKLE_BYTES), may_go_on=True)
        described = machine.run()
        self._file.seek(place + machine.num_bytes)
        return described, machine.storages


class _Storages:
    """The numbers of a file, from which tensors are made.

    Args:
      opened: `_Archive` or `_OldFile`.
      num_bytes: int, size of the file.
      only_zeros: bool, see `read_tensor`.
    """

    def __init__(self, opened, num_bytes, only_zeros):
        self._opened = opened
        self._only_zeros = only_zeros
        self._numbers = {}
        # bfloat16 takes twice the file's bytes in float32.
        self._bytes_left = 2 * num_bytes + _MAX_REPEATED_BYTES

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

    def _numbers_of(self, storage):
        """Returns the numbers (num_elements,) of a storage, read once, or those of its view."""
        if storage.key not in self._numbers:
            self._numbers[storage.key] = self._read_numbers(storage)
        numbers = self._numbers[storage.key]
        if storage.view is None:
            return numbers
        first, count = storage.view
        if first + count > len(numbers):
            raise Fault(f"it has a view that ends after {len(numbers)} numbers of a storage")
        return numbers[first : first + count]

    def _read_numbers(self, storage):
        dtype = np.dtype(self._opened.byte_order + STORAGE_DTYPES[storage.kind])
        stored = self._opened.size_of(storage.key)
        if stored != storage.num_elements * dtype.itemsize:
            raise Fault(
                f"its storage {storage.key[:20]!r} should have {storage.num_elements} numbers of "
                f"{dtype.itemsize} bytes, but the file has {stored} bytes for it"
            )
        if self._only_zeros:
            content = np.zeros(stored, np.uint8)
        else:
            content = self._opened.read_storage(storage.key)
        numbers = np.ndarray(storage.num_elements, dtype, content)
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
