"""Reading what PyTorch saved, without PyTorch and without running anything a file asks for.

`torch.save` writes a zip: the pickle `data.pkl` describes the saved object, and an entry a storage
holds the numbers of its tensors, as they lie in memory. A pickle is a program for a stack machine
that may call any function of the computer it is read on. The machine here knows only the opcodes
that build plain data; a call is looked up in a table of a few functions of this module, and every
name that is not in that table ends the reading.
"""

import collections
import contextlib
import dataclasses
import math
import pathlib
import pickletools
import re
import struct
import zipfile

import numpy as np

from keras_actionformer.errors import UserError

# What storages are called in a file, and the NumPy type of their numbers; bfloat16, which NumPy
# lacks, is the upper half of a float32.
_STORAGE_DTYPES = {
    "Float": "f4",
    "Double": "f8",
    "Half": "f2",
    "BFloat16": "u2",
    "Byte": "u1",
    "Char": "i1",
    "Short": "i2",
    "Int": "i4",
    "Long": "i8",
    "Bool": "?",
}
_STORAGE_NAME = re.compile(rf"torch\.(?:cuda\.)?({'|'.join(_STORAGE_DTYPES)})Storage")
_NUMPY_DTYPE = re.compile(r"b1|[iu][1248]|f[248]|c8|c16|[SU][1-9]\d{0,5}")
# PyTorch before 1.6 wrote a plain pickle that begins with this number.
_OLD_FORMAT = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
_ZIP_START = b"PK\x03\x04"
_LOCAL_HEADER_BYTES = 30
_MAX_ENTRIES = 1_000_000
_MAX_NESTING = 50
_MAX_RANK = 32
# A tensor may show one stored number many times. Model files made of such tensors open when all
# they show is this much larger than the file, ten times the models this is for; a file of a few
# bytes cannot claim more.
_MAX_REPEATED_BYTES = 4 * 2**30
_LITERALS = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE "
    "BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8".split()
)


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
    with _naming(path), open(path, "rb") as file:
        _check_format(file)
        with zipfile.ZipFile(file) as zip_file:
            archive = _Archive(zip_file, file.seek(0, 2))
            saved = _PickleMachine(archive.read("data.pkl")).run()
            plain = _PlainData(archive.array)
            if keys is None:
                return plain.of(saved)
            if not isinstance(saved, dict):
                raise _Fault("expected a dict (a checkpoint), but it holds something else")
            return {key: plain.of(saved[key]) for key in keys if key in saved}


def read_pickle(path):
    """Reads a pickle file of plain data: dicts, lists, numbers, text and NumPy arrays.

    Args:
      path: str or `os.PathLike`.

    Returns:
      The pickled object as None, bool, int, float, str, bytes, list, tuple, dict and read-only
      NumPy arrays; NumPy's scalars become Python's.

    Raises:
      UserError: the file is missing, damaged, or asks for anything else than data.
    """
    with _naming(path):
        return _PlainData(_no_tensor).of(_PickleMachine(pathlib.Path(path).read_bytes()).run())


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


class _Fault(Exception):
    """What is wrong with a file, without the file's name."""


@contextlib.contextmanager
def _naming(path):
    """Turns what can go wrong in reading a file into a `UserError` that names the file."""
    # A folder, but also a pipe, on which `open` would wait for ever.
    if not pathlib.Path(path).is_file():
        what = "is not a file" if pathlib.Path(path).exists() else "does not exist"
        raise UserError(f"{path}: this path {what}; check it.")
    try:
        yield
    except _Fault as fault:
        text = str(fault).replace("PATH", repr(str(path)))
        raise UserError(f"{path}: {text}.") from None
    except (zipfile.BadZipFile, struct.error, EOFError, ValueError, NotImplementedError) as error:
        raise UserError(
            f"{path}: it is damaged or cut short ({error}); copy or download it again."
        ) from None
    except OSError as error:
        raise UserError(f"{path}: it cannot be read: {error}.") from error


def _check_format(file):
    """Tells the formats apart by their first bytes; leaves the file at its start."""
    head = file.read(512)
    file.seek(0)
    if head.startswith(_ZIP_START):
        return
    if _OLD_FORMAT in head[:32] or head[257:262] == b"ustar":
        raise _Fault(
            "it is in the format PyTorch wrote before version 1.6 (or a tar archive); save it "
            'again with PyTorch: torch.save(torch.load(PATH, map_location="cpu"), PATH)'
        )
    raise _Fault("it is not a file written by torch.save, which is a zip file")


# The machine --------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Name:
    """A name of the table, on the machine's stack; it is never looked up in Python."""

    name: str


@dataclasses.dataclass(frozen=True)
class _Storage:
    """The numbers of tensors: the key of a zip entry, their type's name, how many there are."""

    key: str
    kind: str
    num_elements: int


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """Places in a storage; offset and strides count elements. Not checked yet."""

    storage: _Storage
    offset: int
    shape: tuple
    strides: tuple


@dataclasses.dataclass
class _NumpyDtype:
    """A NumPy type, whose byte order comes later."""

    code: str
    byte_order: str = "="


@dataclasses.dataclass
class _NumpyArray:
    """A NumPy array, whose content comes later."""

    array: np.ndarray | None = None


class _PickleMachine:
    """Runs a pickle, as far as it builds plain data.

    Args:
      data: bytes, the pickle.
    """

    def __init__(self, data):
        self._data = data
        self._stack = []
        self._outer_stacks = []  # One for every mark that is open.
        self._memo = {}
        # A pickle holds every text and array it builds once, but could ask for copies without end:
        # of one text encoded, and of the array made of it.
        self._copies_left = 2 * len(data)

    def run(self):
        """Returns the pickled object, still with records of this module for tensors and arrays.

        Raises:
          _Fault: an opcode, a name or an argument that is not allowed, or a broken pickle.
        """
        try:
            for opcode, argument, _ in pickletools.genops(self._data):
                if opcode.name == "STOP":
                    return self._stack.pop()
                self._step(opcode.name, argument)
        except (ValueError, IndexError, KeyError, TypeError) as error:
            # What `genops` raises on broken bytes, an empty stack, a memo without the entry, and
            # functions of the table called with other arguments than theirs.
            raise _Fault(f"its pickle is broken ({error}); copy or download it again") from None

    def _step(self, opcode, argument):
        stack = self._stack
        match opcode:
            case "PROTO" | "FRAME":
                pass
            case "NONE":
                stack.append(None)
            case "NEWTRUE":
                stack.append(True)
            case "NEWFALSE":
                stack.append(False)
            case _ if opcode in _LITERALS:
                stack.append(bytes(argument) if opcode == "BYTEARRAY8" else argument)
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                if not 0 <= argument < len(self._data):
                    raise _Fault("its pickle numbers more objects than it can hold")
                self._memo[argument] = stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self._memo[argument])
            case "MARK":
                self._outer_stacks.append(stack)
                self._stack = []
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(reversed([stack.pop() for _ in range(int(opcode[-1]))])))
            case "TUPLE":
                items = self._items_after_mark()
                self._stack.append(tuple(items))
            case "EMPTY_LIST":
                stack.append([])
            case "LIST":
                items = self._items_after_mark()
                self._stack.append(items)
            case "APPEND":
                item = stack.pop()
                _expect(stack[-1], list).append(item)
            case "APPENDS":
                items = self._items_after_mark()
                _expect(self._stack[-1], list).extend(items)
            case "EMPTY_DICT":
                stack.append({})
            case "DICT":
                items = self._items_after_mark()
                self._stack.append({})
                self._set_items(items)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                self._set_items([key, value])
            case "SETITEMS":
                self._set_items(self._items_after_mark())
            case "GLOBAL":
                stack.append(_allowed(argument.replace(" ", ".", 1)))
            case "STACK_GLOBAL":
                name, module = _expect(stack.pop(), str), _expect(stack.pop(), str)
                stack.append(_allowed(f"{module}.{name}"))
            case "INST":
                raise _forbidden(argument.replace(" ", ".", 1))
            case "REDUCE":
                arguments, called = _expect(stack.pop(), tuple), _expect(stack.pop(), _Name)
                if called.name not in _CALLS:
                    raise _forbidden(called.name)
                stack.append(_CALLS[called.name](self, *arguments))
            case "BUILD":
                state = stack.pop()
                self._build(stack[-1], state)
            case "BINPERSID":
                stack.append(_storage(_expect(stack.pop(), tuple)))
            case _:
                raise _Fault(f"its pickle uses {opcode}, which plain data does not need")

    def _items_after_mark(self):
        items, self._stack = self._stack, self._outer_stacks.pop()
        return items

    def _set_items(self, items):
        target = _expect(self._stack[-1], dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Keys that take for ever to hash or are made to collide: tuples of tuples, and whole
            # numbers beyond 64 bits.
            if type(key) not in (str, int, float, bool, bytes, type(None)) or (
                type(key) is int and key.bit_length() > 64
            ):
                raise _Fault(f"a key of a dict must be text or a number, got {type(key).__name__}")
            target[key] = value

    def _build(self, target, state):
        """Gives an object its state: NumPy's types and arrays; that of ordered dicts is nothing."""
        if type(target) is _NumpyDtype:
            # (version, byte order, and what only structured types have)
            if state[1] not in ("<", ">", "|", "=") or any(x is not None for x in state[2:5]):
                raise _Fault("it has a NumPy array of a type that is not plain numbers or text")
            target.byte_order = state[1]
        elif type(target) is _NumpyArray:
            _, shape, dtype, is_fortran, content = state
            if type(content) is str:  # Python 2
                content = self.encode(content, "latin1")
            target.array = self._array(content, dtype, shape, "F" if is_fortran else "C")
        else:
            # PyTorch hangs `_metadata` on the ordered dict of a state.
            _expect(target, collections.OrderedDict)

    def _array(self, content, dtype, shape, order):
        dtype = _expect(dtype, _NumpyDtype)
        dtype = np.dtype(dtype.byte_order + dtype.code)
        if math.prod(_expect(shape, tuple)) * dtype.itemsize != len(_expect(content, bytes)):
            raise _Fault("it has a NumPy array whose content is of another size than it says")
        self._spend(len(content))
        array = np.ndarray(shape, dtype, buffer=content, order=order)
        return array.astype(dtype.newbyteorder("="), copy=False)

    def _spend(self, num_bytes):
        self._copies_left -= num_bytes
        if self._copies_left < 0:
            raise _Fault("its pickle asks for more copies of one text or array than it can need")

    # The table's functions

    def ordered_dict(self):
        return collections.OrderedDict()

    def counter(self, counts):
        return _expect(counts, dict)

    def empty_bytes(self):
        return b""

    def encode(self, text, encoding):
        if encoding not in ("latin1", "latin-1"):
            raise _Fault("it encodes text by other rules than Latin-1")
        self._spend(len(_expect(text, str)))
        return text.encode("latin1")

    def size(self, sizes):
        return _expect(sizes, tuple)

    def device(self, kind, *index):
        return ":".join(map(str, (_expect(kind, str), *index)))

    def tensor(self, storage, offset, shape, strides, requires_grad=False, hooks=(), lazy=None):
        if lazy:
            raise _Fault("it has a tensor with conjugation or negation not carried out yet")
        return _Tensor(_expect(storage, _Storage), offset, shape, strides)

    def parameter(self, tensor, requires_grad, hooks):
        return _expect(tensor, _Tensor)

    def numpy_dtype(self, code, align, copy):
        if not _NUMPY_DTYPE.fullmatch(_expect(code, str)):
            raise _Fault(f"it has a NumPy array of type {code[:20]!r}; numbers and text can be read")
        return _NumpyDtype(code)

    def numpy_array(self, array_type, shape, code):
        return _NumpyArray()

    def numpy_array_of_buffer(self, content, dtype, shape, order):
        return _NumpyArray(self._array(content, dtype, shape, order))

    def numpy_scalar(self, dtype, content):
        return self._array(content, dtype, (), "C").item()


# What a file may call. NumPy 2 renamed its `core`.
_CALLS = {
    "collections.OrderedDict": _PickleMachine.ordered_dict,
    "collections.Counter": _PickleMachine.counter,
    "builtins.bytes": _PickleMachine.empty_bytes,
    "__builtin__.bytes": _PickleMachine.empty_bytes,
    "_codecs.encode": _PickleMachine.encode,
    "torch.Size": _PickleMachine.size,
    "torch.device": _PickleMachine.device,
    "torch._utils._rebuild_tensor": _PickleMachine.tensor,
    "torch._utils._rebuild_tensor_v2": _PickleMachine.tensor,
    "torch._utils._rebuild_parameter": _PickleMachine.parameter,
    "numpy.dtype": _PickleMachine.numpy_dtype,
    "numpy.core.multiarray._reconstruct": _PickleMachine.numpy_array,
    "numpy._core.multiarray._reconstruct": _PickleMachine.numpy_array,
    "numpy.core.numeric._frombuffer": _PickleMachine.numpy_array_of_buffer,
    "numpy._core.numeric._frombuffer": _PickleMachine.numpy_array_of_buffer,
    "numpy.core.multiarray.scalar": _PickleMachine.numpy_scalar,
    "numpy._core.multiarray.scalar": _PickleMachine.numpy_scalar,
}


def _allowed(name):
    if name in _CALLS or name == "numpy.ndarray" or _STORAGE_NAME.fullmatch(name):
        return _Name(name)
    raise _forbidden(name)


def _forbidden(name):
    return _Fault(
        f"it asks for {name[:80]!r}, which is not plain data; nothing of it was run. Use a file "
        "that holds only dicts, lists, numbers, text and arrays"
    )


def _expect(value, kind):
    if not isinstance(value, kind):
        raise TypeError(f"{kind.__name__.strip('_')} expected, got {type(value).__name__}")
    return value


def _storage(persistent_id):
    what, kind, key, _, num_elements = persistent_id  # The fourth is the device.
    named = _STORAGE_NAME.fullmatch(_expect(kind, _Name).name)
    if what != "storage" or not named or type(num_elements) is not int:
        raise _Fault("it has a tensor whose numbers are described in an unknown way")
    return _Storage(_expect(key, str), named[1], num_elements)


# From the machine's records to data ---------------------------------------------------------------


class _PlainData:
    """Replaces the records in what the machine built.

    Args:
      array_of: function, `_Tensor` to NumPy array.
    """

    def __init__(self, array_of):
        self._array_of = array_of
        # By the identity of what the machine built, so that what is there once and meant many
        # times stays so: value, and how deeply it is nested.
        self._done = {}

    def of(self, value):
        """Returns plain data for what the machine built."""
        return self._plain(value, 0)[0]

    def _plain(self, value, depth):
        """Returns (plain data, levels of nesting in it)."""
        if isinstance(value, (bool, int, float, complex, str, bytes, type(None))):
            return value, 0
        done = self._done.get(id(value))
        if done is None:
            # Also where a list that contains itself ends.
            _check_nesting(depth)
            done = self._done[id(value)] = self._build(value, depth)
        _check_nesting(depth + done[1])
        return done

    def _build(self, value, depth):
        if type(value) is _Tensor:
            return self._array_of(value), 0
        if type(value) is _NumpyArray and value.array is not None:
            return value.array, 0
        if not isinstance(value, (list, tuple, dict)):
            raise _Fault("it holds something that is not plain data")
        items = value.values() if isinstance(value, dict) else value
        parts = [self._plain(item, depth + 1) for item in items]
        plain = [part for part, _ in parts]
        if isinstance(value, dict):
            plain = dict(zip(value, plain))
        elif isinstance(value, tuple):
            plain = tuple(plain)
        return plain, 1 + max((height for _, height in parts), default=0)


def _check_nesting(depth):
    if depth > _MAX_NESTING:
        raise _Fault(f"its data is nested in itself, or more than {_MAX_NESTING} levels deep")


def _no_tensor(tensor):
    raise _Fault("it has a tensor, whose numbers are not in a pickle file")


# The zip file -------------------------------------------------------------------------------------


class _Archive:
    """The entries of a `torch.save` file, checked before one of them is read.

    Args:
      zip_file: `zipfile.ZipFile`.
      num_bytes: int, size of the file.
    """

    def __init__(self, zip_file, num_bytes):
        self._zip_file = zip_file
        self._entries = _checked_entries(zip_file, num_bytes)
        roots = [name.split("/")[0] for name in self._entries if name.split("/")[1:] == ["data.pkl"]]
        if len(roots) != 1:
            names = ", ".join(map(repr, list(self._entries)[:3])) or "nothing"
            raise _Fault(
                f"it is a zip file, but not one of torch.save: there is no data.pkl among {names}; "
                "if a checkpoint was packed into it, unpack it first"
            )
        self._root = roots[0]
        order = self.read("byteorder") if self._has("byteorder") else b"little"
        if order not in (b"little", b"big"):
            raise _Fault("its byte order must be 'little' or 'big'")
        self._byte_order = ">" if order == b"big" else "<"
        self._numbers = {}
        # bfloat16 takes twice the file's bytes in float32.
        self._bytes_left = 2 * num_bytes + _MAX_REPEATED_BYTES

    def read(self, name):
        """Returns the bytes of the entry, whose checksum was right."""
        return self._zip_file.read(f"{self._root}/{name}")

    def array(self, tensor):
        """Returns the NumPy array of a `_Tensor`, a view of its storage."""
        numbers = self._numbers_of(tensor.storage)
        shape, strides = _expect_whole(tensor.shape), _expect_whole(tensor.strides)
        (offset,) = _expect_whole((tensor.offset,))
        if len(shape) != len(strides) or len(shape) > _MAX_RANK:
            raise _Fault(f"it has a tensor of {len(shape)} sizes and {len(strides)} strides")
        self._bytes_left -= math.prod(max(size, 1) for size in shape) * numbers.itemsize
        if self._bytes_left < 0:
            raise _Fault("its tensors claim far more numbers than the file holds")
        if 0 in shape:
            return np.zeros(shape, numbers.dtype)
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides))
        if last >= len(numbers):
            raise _Fault(
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
            raise _Fault(f"its storage {storage.key[:20]!r} is described in two ways")
        return numbers

    def _read_numbers(self, storage):
        name = f"data/{storage.key}"
        dtype = np.dtype(self._byte_order + _STORAGE_DTYPES[storage.kind])
        stored = self._entries[f"{self._root}/{name}"].file_size if self._has(name) else None
        if stored != storage.num_elements * dtype.itemsize:
            raise _Fault(
                f"its storage {storage.key[:20]!r} should have "
                f"{storage.num_elements * dtype.itemsize} bytes, but the file holds {stored or 'none'}"
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
        raise _Fault(f"it has {len(entries)} entries; more than {_MAX_ENTRIES} are not read")
    end = 0
    for entry in entries:
        if entry.flag_bits & 1:
            raise _Fault(f"its entry {entry.filename[:80]!r} is encrypted; decrypt it first")
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise _Fault(
                f"its entry {entry.filename[:80]!r} is compressed, which torch.save never does; if "
                "a checkpoint was packed into it, unpack it first"
            )
        if entry.header_offset < end:
            raise _Fault(f"its entry {entry.filename[:80]!r} overlaps another; download it again")
        end = entry.header_offset + _LOCAL_HEADER_BYTES + len(entry.filename) + entry.file_size
    if end > num_bytes:
        raise _Fault(f"it is cut short: {end} bytes are described, but it has {num_bytes}")
    by_name = {entry.filename: entry for entry in entries}
    if len(by_name) < len(entries):
        raise _Fault("it has two entries of one name; save or download it again")
    return by_name


def _expect_whole(numbers):
    if type(numbers) is not tuple or any(type(x) is not int or x < 0 for x in numbers):
        raise _Fault("it has a tensor whose sizes and strides are not whole numbers from 0")
    return numbers
