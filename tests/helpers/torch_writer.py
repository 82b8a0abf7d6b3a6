"""Writes files as `torch.save` does, without PyTorch, for tests.

    write_checkpoint(path, {"epoch": 3, "state_dict_ema": {"w": array, "b": repeated(0, (4,))}})

The object may hold None, bool, int, float, str, bytes, list, tuple, dict, `OrderedDict` (written as
PyTorch writes a state: with `_metadata`), tensors, and `Raw` pickle code. A tensor is a NumPy array
(of its own type, row-major, with a storage of its own) or a `Strided`.
"""

import collections
import dataclasses
import struct
import zipfile

import numpy as np

KINDS = {
    "float32": "Float",
    "float64": "Double",
    "float16": "Half",
    "uint8": "Byte",
    "int8": "Char",
    "int16": "Short",
    "int32": "Int",
    "int64": "Long",
    "bool": "Bool",
}


@dataclasses.dataclass(eq=False)
class Strided:
    """A tensor that shows places of a storage.

    Args:
      numbers: (n,) array, the whole storage. Tensors with the same array object share one storage.
      shape: tuple of int.
      strides: tuple of int, in elements.
      offset: int, in elements.
      kind: str, PyTorch's name of the type (`"Float"`), or None to take that of `numbers`.
        `"BFloat16"` takes the uint16 of `bfloat16`.
      num_elements: int, the size the pickle claims for the storage, or None for the true one.
      key: str, the name the pickle gives the storage, or None for the one it is written under.
      view: (str, first, count), the part of the storage that is meant, or None for all of it.
    """

    numbers: np.ndarray
    shape: tuple
    strides: tuple
    offset: int = 0
    kind: str | None = None
    num_elements: int | None = None
    key: str | None = None
    view: tuple | None = None


@dataclasses.dataclass
class Raw:
    """Pickle code that stands for a value; it must leave one object on the stack."""

    code: bytes


def repeated(value, shape, dtype="float32"):
    """A tensor of any size that takes one stored number: all its strides are 0."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    return Strided(np.full(1, value, dtype), shape, (0,) * len(shape))


def bfloat16(array):
    """The uint16 (n,) whose bits are those of float32 numbers cut to bfloat16."""
    return (np.ascontiguousarray(array, np.float32).reshape(-1).view(np.uint32) >> 16).astype("u2")


def write_checkpoint(path, saved, *, location="cpu", byte_order="little", extra_entries=()):
    """Writes `saved` as `torch.save` does.

    Args:
      path: str or `os.PathLike`.
      saved: the object, see the top of this file.
      location: str, where all tensors were, for example `"cuda:0"`.
      byte_order: `"little"`, `"big"`, or None for a file without this entry (PyTorch before 2.1).
      extra_entries: (name, bytes) pairs to add under the root folder, after the others.
    """
    storages = []
    code = pickle_code(saved, storages, location)
    order = ">" if byte_order == "big" else "<"
    entries = [("data.pkl", code)]
    if byte_order:
        entries.append(("byteorder", byte_order.encode()))
    for key, numbers in enumerate(storages):
        entries.append((f"data/{key}", numbers.astype(numbers.dtype.newbyteorder(order)).tobytes()))
    entries += [("version", b"3\n"), *extra_entries]
    with zipfile.ZipFile(path, "w") as file:
        for name, content in entries:
            file.writestr(zipfile.ZipInfo(f"archive/{name}"), content)


def write_old_checkpoint(path, saved, *, location="cpu", version=1001, keys=None, after=b""):
    """Writes `saved` as `torch.save` did before PyTorch 1.6.

    Args:
      path, saved, location: as `write_checkpoint`.
      version: object that is written as the version of the format.
      keys: object that is written as the list of storages, or None for the true one.
      after: bytes that follow.
    """
    storages = []
    code = pickle_code(saved, storages, location)
    facts = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"long": 4}}
    true_keys = [str(key) for key in range(len(storages))]
    parts = [
        *map(pickle_code, (0x1950A86A20F9469CFC6C, version, facts)),
        code,
        pickle_code(true_keys if keys is None else keys),
    ]
    for numbers in storages:
        parts += [struct.pack("<q", len(numbers)), numbers.astype(numbers.dtype.newbyteorder("<"))]
    with open(path, "wb") as file:
        file.write(b"".join(bytes(part) for part in (*parts, after)))


def pickle_code(saved, storages=None, location="cpu"):
    """Returns the pickle (protocol 2) of `saved`, and appends its storages to `storages`."""
    storages = [] if storages is None else storages
    return b"\x80\x02" + _code(saved, storages, location) + b"."


def global_code(name):
    """Returns the opcode GLOBAL for a dotted name."""
    return b"c" + "\n".join(name.rsplit(".", 1)).encode() + b"\n"


def _code(value, storages, location):
    def code(*parts):
        return b"".join(_code(part, storages, location) for part in parts)

    if isinstance(value, Raw):
        return value.code
    if value is None:
        return b"N"
    if isinstance(value, bool):
        return b"\x88" if value else b"\x89"
    if isinstance(value, int):
        num_bytes = value.bit_length() // 8 + 1
        return b"\x8a" + bytes([num_bytes]) + value.to_bytes(num_bytes, "little", signed=True)
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, str):
        text = value.encode()
        return b"X" + struct.pack("<I", len(text)) + text
    if isinstance(value, bytes):
        return global_code("_codecs.encode") + code((value.decode("latin1"), "latin1")) + b"R"
    if isinstance(value, list):
        return b"](" + code(*value) + b"e"
    if isinstance(value, tuple):
        return b"(" + code(*value) + b"t"
    if isinstance(value, dict):
        items = b"(" + b"".join(code(*item) for item in value.items()) + b"u"
        if not isinstance(value, collections.OrderedDict):
            return b"}" + items
        empty = global_code("collections.OrderedDict") + b")R"
        return empty + items + b"}" + code("_metadata") + empty + b"sb"
    if isinstance(value, np.ndarray):
        numbers = np.ascontiguousarray(value)
        strides = tuple(step // value.itemsize for step in numbers.strides[: value.ndim])
        value = Strided(numbers.reshape(-1), value.shape, strides)
    return _tensor_code(value, storages, location, code)


def _tensor_code(tensor, storages, location, code):
    keys = [key for key, numbers in enumerate(storages) if numbers is tensor.numbers]
    if not keys:
        keys = [len(storages)]
        storages.append(tensor.numbers)
    kind = tensor.kind or KINDS[tensor.numbers.dtype.name]
    num_elements = len(tensor.numbers) if tensor.num_elements is None else tensor.num_elements
    storage = code(
        (
            "storage",
            Raw(global_code(f"torch.{kind}Storage")),
            str(keys[0]) if tensor.key is None else tensor.key,
            location,
            num_elements,
            *([] if tensor.view is None else [tensor.view]),
        )
    )
    hooks = Raw(global_code("collections.OrderedDict") + b")R")
    arguments = (Raw(storage + b"Q"), tensor.offset, tensor.shape, tensor.strides, False, hooks)
    return global_code("torch._utils._rebuild_tensor_v2") + code(arguments) + b"R"
