"""Reading pickles without running anything they ask for.

A pickle is a program for a stack machine that may call any function of the computer it is read
on. The machine here knows only the opcodes that build plain data; a call is looked up in a table
of a few functions of this module, and every name that is not in that table ends the reading.
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
STORAGE_DTYPES = {
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
_STORAGE_NAME = re.compile(rf"torch\.(?:cuda\.)?({'|'.join(STORAGE_DTYPES)})Storage")
_NUMPY_DTYPE = re.compile(r"b1|[iu][1248]|f[248]|c8|c16|[SU][1-9]\d{0,5}")
_MAX_NESTING = 50
# Opcodes that push a value of their own, and those that push their argument.
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_LITERALS = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE "
    "BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8".split()
)


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
    with naming(path):
        return PlainData(_no_tensor).of(PickleMachine(pathlib.Path(path).read_bytes()).run())


class Fault(Exception):
    """What is wrong with a file, without the file's name."""


@contextlib.contextmanager
def naming(path):
    """Turns what can go wrong in reading a file into a `UserError` that names the file."""
    # A folder, but also a pipe, on which `open` would wait for ever.
    if not pathlib.Path(path).is_file():
        what = "is not a file" if pathlib.Path(path).exists() else "does not exist"
        raise UserError(f"{path}: this path {what}; check it.")
    try:
        yield
    except Fault as fault:
        raise UserError(f"{path}: {fault}.") from None
    except (zipfile.BadZipFile, struct.error, EOFError, ValueError, NotImplementedError) as error:
        raise UserError(
            f"{path}: it is damaged or cut short ({str(error)[:200]}); copy or download it again."
        ) from None
    except OSError as error:
        raise UserError(f"{path}: it cannot be read: {error}.") from error


@dataclasses.dataclass(frozen=True)
class _Name:
    """A name of the table, on the machine's stack; it is never looked up in Python."""

    name: str


@dataclasses.dataclass(frozen=True)
class Storage:
    """The numbers of tensors: what the file calls them, their type's name, how many there are.

    `view` is (the first, how many) of those that are meant, or None for all.
    """

    key: str
    kind: str
    num_elements: int
    view: tuple | None = None


@dataclasses.dataclass(frozen=True)
class Tensor:
    """Places in a storage; offset and strides count elements. Not checked yet."""

    storage: Storage
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


class PickleMachine:
    """Runs a pickle, as far as it builds plain data.

    Args:
      data: bytes, the pickle.
      may_go_on: bool, whether something else may follow after it.

    Attributes:
      num_bytes: int, where the pickle ended, when it was run.
      storages: dict of key to `Storage`, all of it, of those that were described.
    """

    def __init__(self, data, may_go_on=False):
        self._data = data
        self._may_go_on = may_go_on
        self.num_bytes = None
        self.storages = {}
        self._stack = []
        self._outer_stacks = []  # One for every mark that is open.
        self._memo = {}
        # A pickle holds every text and array it builds once, but could ask for copies without end:
        # of one text encoded, and of the array made of it.
        self._copies_left = 2 * len(data)

    def run(self):
        """Returns the pickled object, still with records of this module for tensors and arrays.

        Raises:
          Fault: an opcode, a name or an argument that is not allowed, or a broken pickle.
        """
        try:
            for opcode, argument, place in pickletools.genops(self._data):
                if opcode.name == "STOP":
                    self.num_bytes = place + 1
                    if self.num_bytes < len(self._data) and not self._may_go_on:
                        raise Fault("something follows after its pickle, where nothing should be")
                    return self._stack.pop()
                self._step(opcode.name, argument)
        except (ValueError, DeprecationWarning, IndexError, KeyError, TypeError):
            # What `genops` raises on broken bytes (on a stray backslash where warnings are errors),
            # an empty stack, a memo without the entry, and functions of the table called with
            # other arguments than theirs.
            raise Fault("it is no pickle, or a damaged one; copy or download it again") from None

    def _step(self, opcode, argument):
        stack = self._stack
        match opcode:
            case "PROTO" | "FRAME":
                pass
            case _ if opcode in _CONSTANTS:
                stack.append(_CONSTANTS[opcode])
            case _ if opcode in _LITERALS:
                stack.append(bytes(argument) if opcode == "BYTEARRAY8" else argument)
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                if not 0 <= argument < len(self._data):
                    raise Fault("its pickle numbers more objects than it can hold")
                self._memo[argument] = stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self._memo[argument])
            case "MARK":
                self._outer_stacks.append(stack)
                self._stack = []
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
                stack.append(self._storage(*_expect(stack.pop(), tuple)))
            case _:
                raise Fault(f"its pickle uses {opcode}, which plain data does not need")

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
                raise Fault(f"a key of a dict must be text or a number, got {type(key).__name__}")
            target[key] = value

    def _build(self, target, state):
        """Gives an object its state: NumPy's types and arrays; that of ordered dicts is nothing."""
        if type(target) is _NumpyDtype:
            # (version, byte order, and what only structured types have)
            if state[1] not in ("<", ">", "|", "=") or any(x is not None for x in state[2:5]):
                raise Fault("it has a NumPy array of a type that is not plain numbers or text")
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
        if math.prod(whole_numbers(shape)) * dtype.itemsize != len(_expect(content, bytes)):
            raise Fault("it has a NumPy array whose content is of another size than it says")
        if dtype.kind == "U" and (np.frombuffer(content, f"{dtype.byteorder}u4") > 0x10FFFF).any():
            raise Fault("it has a NumPy array with text that is none")
        self._spend(len(content))
        array = np.ndarray(shape, dtype, buffer=content, order=order)
        return array.astype(dtype.newbyteorder("="), copy=False)

    def _spend(self, num_bytes):
        self._copies_left -= num_bytes
        if self._copies_left < 0:
            raise Fault("its pickle asks for more copies of one text or array than it can need")

    def _storage(self, what, kind, key, device, num_elements, view=None):
        """The `Storage` that PyTorch's persistent id means; `view` is of PyTorch before 1.6."""
        named = _STORAGE_NAME.fullmatch(_expect(kind, _Name).name)
        if what != "storage" or not named or type(num_elements) is not int:
            raise Fault("it has a tensor whose numbers are described in an unknown way")
        storage = Storage(_expect(key, str), named[1], num_elements)
        if self.storages.setdefault(key, storage) != storage:
            raise Fault(f"its storage {key[:20]!r} is described in two ways")
        if view is not None:
            _, first, count = view
            storage = dataclasses.replace(storage, view=whole_numbers((first, count)))
        return storage

    # The table's functions

    def ordered_dict(self):
        return collections.OrderedDict()

    def counter(self, counts):
        return _expect(counts, dict)

    def empty_bytes(self):
        return b""

    def encode(self, text, encoding):
        if encoding not in ("latin1", "latin-1"):
            raise Fault("it encodes text by other rules than Latin-1")
        self._spend(len(_expect(text, str)))
        return text.encode("latin1")

    def size(self, sizes):
        return _expect(sizes, tuple)

    def device(self, kind, index=None):
        return _expect(kind, str) if index is None else f"{kind}:{_expect(index, int)}"

    def tensor(self, storage, offset, shape, strides, requires_grad=False, hooks=(), lazy=None):
        if lazy:
            raise Fault("it has a tensor with conjugation or negation not carried out yet")
        return Tensor(_expect(storage, Storage), offset, shape, strides)

    def parameter(self, tensor, requires_grad, hooks):
        return _expect(tensor, Tensor)

    def numpy_dtype(self, code, align, copy):
        if not _NUMPY_DTYPE.fullmatch(_expect(code, str)):
            raise Fault(f"it has NumPy data of type {code[:20]!r}, not plain numbers or text")
        return _NumpyDtype(code)

    def numpy_array(self, array_type, shape, code):
        return _NumpyArray()

    def numpy_array_of_buffer(self, content, dtype, shape, order):
        return _NumpyArray(self._array(content, dtype, shape, order))

    def numpy_scalar(self, dtype, content):
        return self._array(content, dtype, (), "C").item()


# What a file may call. NumPy 2 renamed its `core`.
_CALLS = {
    "collections.OrderedDict": PickleMachine.ordered_dict,
    "collections.Counter": PickleMachine.counter,
    "builtins.bytes": PickleMachine.empty_bytes,
    "__builtin__.bytes": PickleMachine.empty_bytes,
    "_codecs.encode": PickleMachine.encode,
    "torch.Size": PickleMachine.size,
    "torch.device": PickleMachine.device,
    "torch._utils._rebuild_tensor": PickleMachine.tensor,
    "torch._utils._rebuild_tensor_v2": PickleMachine.tensor,
    "torch._utils._rebuild_parameter": PickleMachine.parameter,
    "numpy.dtype": PickleMachine.numpy_dtype,
    "numpy.core.multiarray._reconstruct": PickleMachine.numpy_array,
    "numpy._core.multiarray._reconstruct": PickleMachine.numpy_array,
    "numpy.core.numeric._frombuffer": PickleMachine.numpy_array_of_buffer,
    "numpy._core.numeric._frombuffer": PickleMachine.numpy_array_of_buffer,
    "numpy.core.multiarray.scalar": PickleMachine.numpy_scalar,
    "numpy._core.multiarray.scalar": PickleMachine.numpy_scalar,
}


def _allowed(name):
    if name in _CALLS or name == "numpy.ndarray" or _STORAGE_NAME.fullmatch(name):
        return _Name(name)
    raise _forbidden(name)


def _forbidden(name):
    return Fault(
        f"it asks for {name[:80]!r}, which is not plain data; nothing of it was run. Use a file "
        "that holds only dicts, lists, numbers, text and arrays"
    )


def _expect(value, kind):
    if not isinstance(value, kind):
        raise TypeError(f"{kind.__name__.strip('_')} expected, got {type(value).__name__}")
    return value


def whole_numbers(numbers):
    if type(numbers) is not tuple or any(type(x) is not int or x < 0 for x in numbers):
        raise Fault("it has an array whose sizes or strides are not whole numbers from 0")
    return numbers


class PlainData:
    """Replaces the records in what the machine built.

    Args:
      array_of: function, `Tensor` to NumPy array.
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
        if type(value) is Tensor:
            return self._array_of(value), 0
        if type(value) is _NumpyArray and value.array is not None:
            return value.array, 0
        if not isinstance(value, (list, tuple, dict)):
            raise Fault("it holds something that is not plain data")
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
        raise Fault(f"its data is nested in itself, or more than {_MAX_NESTING} levels deep")


def _no_tensor(tensor):
    raise Fault("it has a tensor, whose numbers are not in a pickle file")
