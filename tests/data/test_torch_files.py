"""Files of PyTorch open without it: the reference's own, every type and layout, hostile ones."""

import collections
import os
import pickle
import struct
import subprocess
import tracemalloc
import zipfile

import numpy as np
import pytest

from helpers.golden_files import GOLDEN, cases, group, load
from helpers.torch_writer import (
    KINDS,
    Raw,
    Strided,
    bfloat16,
    global_code,
    pickle_code,
    repeated,
    write_checkpoint,
    write_old_checkpoint,
)
from keras_actionformer.data.pickles import read_pickle
from keras_actionformer.data.torch_files import read_tensor, read_torch_file
from keras_actionformer.errors import UserError
from keras_actionformer.presets.reference import read_parameters

CHECKPOINT = GOLDEN / "j_checkpoint" / "epoch_003.pth.tar"


@pytest.fixture(scope="module")
def checkpoint():
    return read_torch_file(CHECKPOINT)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file.pt"


def refusal(read, path, *arguments):
    """Returns the text of the `UserError`, which names the file."""
    with pytest.raises(UserError) as raised:
        read(path, *arguments)
    assert str(path) in str(raised.value)
    return str(raised.value)


def assert_same_arrays(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        np.testing.assert_array_equal(found[name], array)


# The reference's files


@pytest.mark.parametrize("name", ["epoch_003.pth.tar", "epoch_003_cudatag.pth.tar"])
def test_checkpoint_of_the_reference(name):
    golden = load(GOLDEN / "j_checkpoint" / "j_outputs.npz")
    saved = read_torch_file(GOLDEN / "j_checkpoint" / name)
    assert list(saved) == ["epoch", "state_dict", "scheduler", "optimizer", "state_dict_ema"]
    for entry, prefix in (("state_dict", "sd/"), ("state_dict_ema", "ema/")):
        expected = {k.removeprefix(prefix): v for k, v in golden.items() if k.startswith(prefix)}
        assert expected
        assert_same_arrays(dict(sorted(saved[entry].items())), dict(sorted(expected.items())))
    assert saved["epoch"] == 3 and saved["scheduler"]["base_lrs"] == [0.001, 0.001]
    assert saved["optimizer"]["param_groups"][0]["betas"] == (0.9, 0.999)
    assert saved["optimizer"]["state"][0]["step"].shape == ()


SMALL_FILES = [
    path for case in cases("p_i04") for path in case.values[0].parent.glob("*_small_*.pt")
]


@pytest.mark.parametrize("path", [pytest.param(p, id=p.stem) for p in sorted(SMALL_FILES)])
def test_one_state_in_each_format(path):
    """PyTorch's files of both formats, saved on a CPU and on a GPU, and one as of PyTorch 0.3."""
    (golden,) = path.parent.glob("p_i04*.npz")
    expected = group(load(golden), "param/")
    found = read_torch_file(path)
    if "torch03" in path.name:  # which had no such counters
        expected = {k: v for k, v in expected.items() if not k.endswith("num_batches_tracked")}
    assert expected
    assert_same_arrays(dict(sorted(found.items())), dict(sorted(expected.items())))


def test_a_checkpoint_in_the_old_format(path, checkpoint):
    """The reference's `.pth.tar`, as PyTorch before 1.6 would have saved it."""
    write_old_checkpoint(path, checkpoint, location="cuda:0")
    found = read_parameters(path)
    assert_same_arrays(found, read_parameters(CHECKPOINT))


def test_only_what_is_asked_for_is_read(path, checkpoint):
    content = bytearray(CHECKPOINT.read_bytes())
    with zipfile.ZipFile(CHECKPOINT) as file:
        entry = file.getinfo("epoch_003.pth/data/400")  # a moment of the optimizer
    lengths = content[entry.header_offset + 26 : entry.header_offset + 30]
    content[entry.header_offset + 30 + sum(struct.unpack("<HH", lengths))] ^= 1
    path.write_bytes(content)
    found = read_torch_file(path, keys=("state_dict_ema", "no such key"))
    assert list(found) == ["state_dict_ema"]
    assert_same_arrays(found["state_dict_ema"], checkpoint["state_dict_ema"])
    assert "Bad CRC-32 for file 'epoch_003.pth/data/400'" in refusal(read_torch_file, path)


# Types and layouts


@pytest.mark.parametrize("byte_order", ["little", "big", None, "old"])
@pytest.mark.parametrize("dtype", KINDS)
def test_types(path, dtype, byte_order):
    array = np.array([[0, 1, -3], [127, 100, 2]]).astype(dtype)
    if byte_order == "old":
        write_old_checkpoint(path, array)
    else:
        write_checkpoint(path, array, byte_order=byte_order)
    found = read_torch_file(path)
    assert found.dtype == array.dtype and not found.flags.writeable
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("byte_order", ["little", "big"])
def test_bfloat16_becomes_float32(path, byte_order):
    # Eight bits of mantissa hold all of these.
    array = np.float32([1, -2.5, 3e38, 0, np.inf, 2**-126])
    array[2] = np.float32(2.0**127)
    tensor = Strided(bfloat16(array), (3, 2), (2, 1), kind="BFloat16")
    write_checkpoint(path, tensor, byte_order=byte_order)
    assert_same_arrays({"": read_torch_file(path)}, {"": array.reshape(3, 2)})


@pytest.mark.parametrize("write", [write_checkpoint, write_old_checkpoint])
def test_layouts_share_one_storage(path, write):
    numbers = np.arange(24, dtype=np.float32)
    tensors = {
        "transposed": Strided(numbers, (6, 4), (1, 6)),
        "every second from 3": Strided(numbers, (10,), (2,), offset=3),
        "overlapping windows": Strided(numbers, (5, 4), (3, 1)),
        "repeated": Strided(numbers, (2, 3), (0, 0), offset=7),
        "no axis": Strided(numbers, (), (), offset=23),
        "any stride at size 1": Strided(numbers, (1, 2), (2**62, 1)),
        "empty": Strided(numbers, (0, 3), (3, 1), offset=30),
    }
    write(path, tensors, location="cuda:3")
    assert path.read_bytes().count(numbers.tobytes()) == 1
    expected = {
        "transposed": numbers.reshape(4, 6).T,
        "every second from 3": numbers[3:23:2],
        "overlapping windows": np.lib.stride_tricks.sliding_window_view(numbers, 4)[0:15:3],
        "repeated": np.full((2, 3), 7, np.float32),
        "no axis": np.float32(23)[()].reshape(()),
        "any stride at size 1": numbers[None, :2],
        "empty": np.zeros((0, 3), np.float32),
    }
    found = read_torch_file(path)
    assert_same_arrays(found, expected)
    assert np.shares_memory(found["transposed"], found["no axis"])


def test_a_view_of_a_storage(path):
    """PyTorch before 0.4 had storages within others."""
    numbers = np.arange(12, dtype=np.float32)
    whole = Strided(numbers, (12,), (1,))
    part = dict(numbers=numbers, strides=(1,), offset=1, view=("7", 4, 5))
    write_old_checkpoint(path, {"whole": whole, "part": Strided(shape=(4,), **part)})
    expected = {"whole": numbers, "part": np.float32([5, 6, 7, 8])}
    assert_same_arrays(read_torch_file(path), expected)
    write_old_checkpoint(path, {"part": Strided(shape=(5,), **part)})
    assert "reaches number 5 of a storage with 5" in refusal(read_torch_file, path)
    part["view"] = ("7", 9, 4)
    write_old_checkpoint(path, {"part": Strided(shape=(1,), **part)})
    assert "a view that ends after 12 numbers" in refusal(read_torch_file, path)


def test_only_what_is_asked_for_is_read_of_an_old_file(path):
    # The numbers of the other entry would be a storage of a type that is read nowhere.
    big = np.zeros(10_000_000, np.float32)
    write_old_checkpoint(path, {"state_dict": {"w": np.float32([1, 2])}, "optimizer": big})
    tracemalloc.start()
    found = read_torch_file(path, keys=("state_dict",))
    assert tracemalloc.get_traced_memory()[1] < 30e6
    tracemalloc.stop()
    assert_same_arrays(found["state_dict"], {"w": np.float32([1, 2])})


def test_a_small_file_may_show_a_large_model(path):
    names = ("state_dict", "state_dict_ema")
    write_checkpoint(path, {name: {"w": repeated(0.5, (10_000, 10_000))} for name in names})
    tracemalloc.start()
    found = read_torch_file(path)
    assert tracemalloc.get_traced_memory()[1] < 1e6 and path.stat().st_size < 2000
    tracemalloc.stop()
    assert found["state_dict_ema"]["w"].shape == (10_000, 10_000)
    assert found["state_dict_ema"]["w"][9_999, 9_999] == 0.5


def test_plain_values(path):
    saved = {
        "numbers": [3, -129, 2**70, 2.5, True, None],
        "text": ("é", b"\xff\x00", ""),
        "nested": {1: {False: {2.5: []}}, None: ()},
        "state": collections.OrderedDict(a=1),
        "size": Raw(global_code("torch.Size") + b"K\x01K\x02\x86\x85R"),
        "device": Raw(global_code("torch.device") + b"X\x04\0\0\0cudaK\x01\x86R"),
        "counter": Raw(global_code("collections.Counter") + b"}K\x03K\x01s\x85R"),
    }
    write_checkpoint(path, saved)
    plain = {**saved, "size": (1, 2), "device": "cuda:1", "counter": {3: 1}}
    assert read_torch_file(path) == plain
    write_checkpoint(path, saved["state"])
    assert type(read_torch_file(path)) is dict


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_numpy_data(path, protocol):
    arrays = {
        "f": np.arange(6.0).reshape(2, 3),
        "fortran": np.arange(6.0).reshape(2, 3).T,
        "big": np.arange(3, dtype=">i4"),
        "names": np.array(["ab", "ç"]),
        "flags": np.array([True, False]),
        "empty": np.zeros((0, 2), np.float16),
    }
    scalars = [np.float64(2.5), np.int64(-3), np.bool_(True), np.str_("é")]
    path.write_bytes(pickle.dumps({"arrays": arrays, "scalars": scalars}, protocol))
    found = read_pickle(path)
    assert found["scalars"] == [2.5, -3, True, "é"]
    assert [type(x) for x in found["scalars"]] == [float, int, bool, str]
    assert_same_arrays(found["arrays"], {**arrays, "big": arrays["big"].astype("i4")})


def test_read_tensor(path):
    array = np.float32([[1, 2], [3, 4]])
    for saved in (array, {"x": array, "fps": 30}, {"mask": array[0], "feats": array}):
        write_checkpoint(path, saved)
        np.testing.assert_array_equal(read_tensor(path), array)
        zeros = read_tensor(path, only_zeros=True)
        np.testing.assert_array_equal(zeros, np.zeros_like(array), strict=True)
    for saved in ({"a": array, "b": array}, {}, [array], 3):
        write_checkpoint(path, saved)
        assert "one tensor" in refusal(read_tensor, path)


def test_files_of_pytorch_itself(path):
    torch = pytest.importorskip("torch")
    base = torch.arange(24.0)
    tensors = {
        "transposed": base.view(4, 6).t(),
        "windows": base.unfold(0, 5, 2),
        "expanded": torch.ones(1, dtype=torch.float16).expand(3, 4),
        "parameter": torch.nn.Parameter(base[2:5]),
        "bfloat16": torch.randn(7).bfloat16(),
        "empty": torch.zeros(0, 2, dtype=torch.int64),
    }
    expected = {
        name: (t.float() if t.dtype == torch.bfloat16 else t).detach().numpy()
        for name, t in tensors.items()
    }
    for protocol in (2, 4):
        torch.save(tensors, path, pickle_protocol=protocol)
        assert_same_arrays(read_torch_file(path), expected)
        torch.save(tensors, path, pickle_protocol=protocol, _use_new_zipfile_serialization=False)
        assert_same_arrays(read_torch_file(path), expected)


# Files that ask for more than data


def attack(module, name, opcode, marker):
    """Pickle code that, run by `pickle`, calls module.name with a command making the marker."""
    marker = str(marker)
    argument = marker if name == "mkdir" else f"touch {marker}"
    if name == "eval":
        argument = f"open({marker!r}, 'w')"
    text = b"X" + struct.pack("<I", len(argument)) + argument.encode()
    names = f"{module}\n{name}\n".encode()
    return {
        "GLOBAL": b"c" + names + text + b"\x85R",
        "INST": b"(" + text + b"i" + names,
        "STACK_GLOBAL": b"".join(
            b"\x8c" + bytes([len(part)]) + part.encode() for part in (module, name)
        )
        + b"\x93"
        + text
        + b"\x85R",
        "OBJ": b"(c" + names + text + b"o",
        "NEWOBJ": b"c" + names + text + b"\x85\x81",
    }[opcode]


PLACES = {
    "top": lambda raw: raw,
    "in a tuple": lambda raw: {"state_dict_ema": {}, "x": [(1, (raw,))]},
    "in the optimizer": lambda raw: {"state_dict_ema": {}, "optimizer": {"state": {0: raw}}},
    "under a tensor": lambda raw: {"state_dict_ema": {"w": repeated(0, (raw, 2))}},
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("opcode", ["GLOBAL", "INST", "STACK_GLOBAL", "OBJ", "NEWOBJ"])
@pytest.mark.parametrize(
    "name", ["os.system", "posix.system", "builtins.eval", "__builtin__.eval", "os.mkdir"]
)
def test_nothing_is_run(tmp_path, path, name, opcode, place):
    marker = tmp_path / "marker"
    saved = PLACES[place](Raw(attack(*name.rsplit(".", 1), opcode, marker)))
    for write in (write_checkpoint, write_old_checkpoint):
        write(path, saved)
        for keys in (None, ("state_dict_ema",)):
            assert repr(name) in refusal(read_torch_file, path, keys)
    path.write_bytes(pickle_code(saved))
    assert repr(name) in refusal(read_pickle, path)
    assert not marker.exists()


def test_the_attacks_are_real(tmp_path):
    # Without this the markers of the test above could be missing because the attack is faulty.
    for opcode in ("GLOBAL", "INST", "STACK_GLOBAL", "OBJ"):
        pickle.loads(pickle_code(Raw(attack("posix", "system", opcode, tmp_path / opcode))))
        assert (tmp_path / opcode).exists()


class Reduced:
    def __init__(self, marker, call):
        self.marker, self.call = marker, call

    def __reduce__(self):
        if self.call is eval:
            return eval, (f"open({str(self.marker)!r}, 'w')",)
        return self.call, (f"touch {self.marker}",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "call, name", [(os.system, "posix.system"), (eval, "eval"), (subprocess.getoutput, "getoutput")]
)
def test_objects_that_run_commands(tmp_path, path, call, name, protocol):
    marker = tmp_path / "marker"
    path.write_bytes(pickle.dumps({"v": [Reduced(marker, call)]}, protocol))
    assert f"{name}'" in refusal(read_pickle, path)
    assert not marker.exists()


@pytest.mark.parametrize(
    "code, text",
    [
        (global_code("torch.FloatStorage") + b"K\x03\x85R", "'torch.FloatStorage'"),
        (global_code("numpy.ndarray") + b"K\x03\x85\x85R", "'numpy.ndarray'"),
        (global_code("torch.FloatStorage"), "not plain data"),
        (b"(" + global_code("collections.OrderedDict") + b"o", "OBJ"),
        (b"\x82\x05", "EXT1"),
        (b"\x8f", "EMPTY_SET"),
        (b"}q\x01X\x01\0\0\0aK\x01s}b", "pickle"),  # a state for a plain dict
        (b"NN\x86R", "pickle"),  # a call of what is not a name
        (b"Pabc\n", "PERSID"),
        (b"K\x01Q", "pickle"),
        (global_code("_codecs.encode") + b"X\x01\0\0\0aX\x05\0\0\0rot13\x86R", "Latin-1"),
        (global_code("numpy.dtype") + b"X\x01\0\0\0O\x89\x88\x87R", "'O'"),
        (b"](h\0e", "pickle"),  # a memo without the entry
        (b"]q\0h\0a", "nested"),  # a list in itself
        (b"]" * 200 + b"a" * 199, "nested"),
        (b")" + b"\x85" * 100_000, "nested"),
        (b"(" * 100_000, "pickle"),
    ],
)
def test_pickles_that_are_refused(path, code, text):
    write_checkpoint(path, Raw(code))
    assert text in refusal(read_torch_file, path)


def test_bombs_do_not_go_off(path):
    def read(code):
        path.write_bytes(b"\x80\x02" + code + b".")
        tracemalloc.start()
        try:
            return refusal(read_pickle, path)
        finally:
            assert tracemalloc.get_traced_memory()[1] < 50e6
            tracemalloc.stop()

    # A tuple of the last one twice, 40 times over: its hash takes 2**40 steps.
    doubled = b")" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(40))
    assert "key of a dict" in read(b"}" + doubled + b"Ns")
    # Whole numbers with the same hash: every one is compared with all others.
    same_hash = [i * (2**61 - 1) for i in range(2**70, 2**70 + 1000)]
    assert "key of a dict" in read(pickle_code(dict.fromkeys(same_hash))[2:-1])
    assert "more objects" in read(b"Nr\xff\xff\xff\x7f")
    # One long text, encoded again and again: 150 kB that ask for 1 GB.
    arguments = pickle_code(("a" * 100_000, "latin1"))[2:-1]
    encode = global_code("_codecs.encode") + b"q\0" + arguments + b"q\1" + b"h\0h\1R" * 10_000
    assert "copies" in read(b"](" + encode + b"e")


def test_what_is_there_once_stays_so(path):
    # Lists that hold the last one ten times, 40 times over: 10**40 entries when written out.
    lists = b"".join(b"](" + b"h%c" % i * 10 + b"eq%c" % (i + 1) for i in range(40))
    path.write_bytes(b"]q\0" + lists + b".")
    found = read_pickle(path)
    assert len(found) == 10 and found[0] is found[9]


# Tensors that claim more than there is


@pytest.mark.parametrize(
    "tensor, text",
    [
        (dict(num_elements=2**38), "numbers of 4 bytes"),  # 1 TB
        (dict(num_elements=5), "numbers of 4 bytes"),
        (dict(num_elements=-6), "numbers of 4 bytes"),
        (dict(num_elements=6.0), "unknown way"),
        (dict(kind="Double"), "numbers of 8 bytes"),
        (dict(kind="ComplexFloat"), "'torch.ComplexFloatStorage'"),
        (dict(key="1"), "0 bytes"),
        (dict(key="../version"), "0 bytes"),
        (dict(key=0), "pickle"),
        (dict(offset=1), "reaches number 6 of a storage with 6"),
        (dict(offset=-1), "whole numbers"),
        (dict(offset=2**70), "reaches"),
        (dict(shape=(2, 4)), "reaches"),
        (dict(shape=(-2, -3)), "whole numbers"),
        (dict(shape=(2, 3.0)), "whole numbers"),
        (dict(shape=[2, 3]), "whole numbers"),
        (dict(shape=(True, 3)), "whole numbers"),
        (dict(strides=(3, -1)), "whole numbers"),
        (dict(strides=(3,)), "2 sizes and 1 strides"),
        (dict(shape=(1,) * 33, strides=(1,) * 33), "33 sizes"),
        (dict(shape=(2**40, 1), strides=(0, 1)), "far more numbers"),
        (dict(shape=(2**62, 2**62), strides=(0, 0)), "far more numbers"),
        (dict(shape=(0, 2**62), strides=(0, 0)), "far more numbers"),
    ],
)
def test_tensors_that_lie(path, tensor, text):
    given = {"numbers": np.zeros(6, np.float32), "shape": (2, 3), "strides": (3, 1), **tensor}
    write_checkpoint(path, {"x": Strided(**given)})
    assert text in refusal(read_torch_file, path)
    write_old_checkpoint(path, {"x": Strided(**given)})
    found = refusal(read_torch_file, path)
    # There, the storages themselves tell how many numbers they have.
    assert text in found or "at its storage" in found or "is of no tensor" in found


def test_many_repeated_tensors_are_too_much(path):
    write_checkpoint(path, [repeated(0, (10_000, 10_000)) for _ in range(20)])
    assert "far more numbers" in refusal(read_torch_file, path)


def test_one_storage_of_two_types(path):
    numbers = np.zeros(6, np.float32)
    tensors = [Strided(numbers, (6,), (1,)), Strided(numbers, (6,), (1,), kind="Int")]
    write_checkpoint(path, tensors)
    assert "two ways" in refusal(read_torch_file, path)


# Files that are not what they should be


def test_other_files(tmp_path, path):
    assert "does not exist" in refusal(read_torch_file, path)
    assert "does not exist" in refusal(read_pickle, path)
    assert "is not a file" in refusal(read_torch_file, tmp_path)
    for content in (b"", b"PK", b"hello", b"\x80\x02}."):
        path.write_bytes(content)
        assert "torch.save" in refusal(read_torch_file, path)
    path.write_bytes(b"x" * 257 + b"ustar" + b"x" * 300)
    assert "tar archive" in refusal(read_torch_file, path)
    old = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
    for content in (b"", b"hello", old + b"\x80\x02}.", CHECKPOINT.read_bytes()):
        path.write_bytes(content)
        refusal(read_pickle, path)
    write_checkpoint(path, [1])
    assert "expected a dict" in refusal(read_torch_file, path, ("state_dict",))


@pytest.mark.parametrize(
    "names, options, text",
    [
        (["a/epoch_035.pth.tar"], {}, "unpack it first"),
        (["a/data.pkl"], {"compression": zipfile.ZIP_DEFLATED}, "compressed"),
        (["a/data.pkl", "b/data.pkl"], {}, "unpack it first"),
        (["a/data.pkl", "a/byteorder"], {}, "byte order"),
        ([], {}, "torch.save"),
    ],
)
def test_other_zip_files(path, names, options, text):
    with zipfile.ZipFile(path, "w", **options) as file:
        for name in names:
            file.writestr(name, b"]" * 1000)
    assert text in refusal(read_torch_file, path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_entries_that_zip_allows_but_pytorch_does_not_write(path):
    write_checkpoint(path, 1, extra_entries=[("version", b"4\n")])
    assert "two entries" in refusal(read_torch_file, path)
    write_checkpoint(path, 1)
    content = path.read_bytes()
    last = content.rindex(b"PK\x01\x02")
    for place, new, text in (
        (last + 8, b"\x01", "encrypted"),
        (last + 42, bytes(4), "overlaps"),  # where the entry begins
        (last + 20, b"\xff\xff\xff\x7f" * 2, "cut short"),  # both sizes
    ):
        path.write_bytes(content[:place] + new + content[place + len(new) :])
        assert text in refusal(read_torch_file, path)


@pytest.mark.parametrize(
    "changes, text",
    [
        (dict(version=1002), "it is of version '1002'"),
        (dict(version=[[]]), "it is of version '[[]]'"),
        (dict(keys=["0", "0"]), "no list of different names"),
        (dict(keys=["0", 1]), "no list of different names"),
        (dict(keys={"0": 1}), "no list of different names"),
        (dict(keys=["1"]), "'1' is of no tensor"),
        (dict(keys=[]), "something follows"),
        (dict(after=b"x"), "something follows"),
        (dict(after=pickle_code(1)), "something follows"),
        (dict(keys=Raw(attack("posix", "system", "GLOBAL", "/x"))), "'posix.system'"),
        (dict(version=Raw(attack("posix", "system", "GLOBAL", "/x"))), "'posix.system'"),
    ],
)
def test_old_files_that_lie(path, changes, text):
    write_old_checkpoint(path, {"x": np.float32([1, 2])}, **changes)
    assert text in refusal(read_torch_file, path)


def test_counts_of_an_old_file_that_lie(path):
    write_old_checkpoint(path, {"x": np.float32([1, 2])})
    content = path.read_bytes()
    for count in (-2, -(2**63), 2**62, 3):
        path.write_bytes(content[:-16] + struct.pack("<q", count) + content[-8:])
        assert "at its storage '0'" in refusal(read_torch_file, path)
    path.write_bytes(content[:-16] + struct.pack("<q", 1) + content[-8:])
    assert "something follows" in refusal(read_torch_file, path)
    path.write_bytes(content[:-16] + struct.pack("<q", 1) + content[-8:-4])
    assert "2 numbers of 4 bytes, but the file has 4" in refusal(read_torch_file, path)


def test_cut_old_files(path):
    write_old_checkpoint(path, {"a": np.arange(9.0), "b": [np.ones(3, np.int64), 1]})
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        refusal(read_torch_file, path)


def test_cut_files(path):
    content = CHECKPOINT.read_bytes()
    for length in (*range(0, 600, 7), *np.linspace(600, len(content) - 1, 60, dtype=int)):
        path.write_bytes(content[:length])
        refusal(read_torch_file, path)


def changed(content, first, last, rng):
    """Flips a bit, or overwrites, deletes or inserts a run of bytes, at a place in first..last."""
    place, length = int(rng.integers(first, last)), int(rng.integers(1, 40))
    head, tail = content[:place], content[place:]
    flipped = bytes([tail[0] ^ 1 << int(rng.integers(8))]) + tail[1:]
    run = rng.bytes(length)
    return head + (flipped, run + tail[length:], tail[length:], run + tail)[rng.integers(4)]


def test_damaged_files_open_right_or_not_at_all(path, checkpoint):
    content = CHECKPOINT.read_bytes()
    directory, num_bytes = content.index(b"PK\x01\x02"), len(content)
    rng = np.random.default_rng(0)
    opened = 0
    for case in range(200):
        # Anywhere, in the pickle, in the central directory, in what ends the file.
        first = (0, 0, directory, num_bytes - 100)[case % 4]
        path.write_bytes(changed(content, first, 88_000 if case % 4 == 1 else num_bytes, rng))
        if case % 4 == 2:  # where the sizes stand
            tracemalloc.start()
        try:
            found = read_torch_file(path, keys=("state_dict_ema",))
        except UserError as error:
            assert str(path) in str(error)
        else:
            assert_same_arrays(found["state_dict_ema"], checkpoint["state_dict_ema"])
            opened += 1
        finally:
            assert tracemalloc.get_traced_memory()[1] < 10e6
            tracemalloc.stop()
    assert 10 < opened < 100  # Neither are all refused nor do most go unnoticed.


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
@pytest.mark.parametrize("what", ["checkpoint", "pickle"])
def test_damaged_pickles_are_data_or_refused(path, what):
    arrays = {"a": np.arange(5.0), "b": np.float32(2), "c": np.array(["x"]), "d": [1, (2, None)]}
    code = pickle.dumps(arrays, 2)
    if what == "checkpoint":
        tensor = Strided(np.arange(6, dtype="f4"), (2, 3), (3, 1))
        code = pickle_code({"a": collections.OrderedDict(w=tensor), "b": {"s": (tensor, b"x")}})
    rng = np.random.default_rng(0)
    opened = 0
    for _ in range(600):
        damaged = changed(code, 0, len(code), rng)
        if what == "pickle":
            path.write_bytes(damaged)
        else:
            with zipfile.ZipFile(path, "w") as file:
                file.writestr("a/data.pkl", damaged)
                file.writestr("a/data/0", bytes(24))
        try:
            found = read_pickle(path) if what == "pickle" else read_torch_file(path)
        except UserError as error:
            assert str(path) in str(error)
        else:
            opened += 1
            assert isinstance(found, (dict, list, tuple, str, int, float, bytes, np.ndarray))
    assert 0 < opened < 300
