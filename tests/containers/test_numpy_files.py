"""NumPy's files: what NumPy writes is read, and a header is believed only where it is right."""

import io
import os
import zipfile

import numpy as np
import pytest

from keras_actionformer.containers.numpy_files import npz_names, open_npy, read_npz
from keras_actionformer.errors import UserError
from keras_actionformer.files import told_if_unreadable

ARRAYS = [
    np.arange(12.0).reshape(4, 3),
    np.asfortranarray(np.arange(12, dtype=">i2").reshape(4, 3)),
    np.zeros((0, 3), np.float16),
    np.array(2.5),
    np.array(["text", "\u00e9"]),
    np.array([1 + 2j, 3], np.complex64),
    np.array([True, False]),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: str(array.dtype))
def test_what_numpy_writes_is_read(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", a=array, b=1)
    np.savez_compressed(tmp_path / "b.npz", a=array)
    found = [open_npy(tmp_path / "a.npy"), read_npz(tmp_path / "b.npz")["a"]]
    found += [read_npz(tmp_path / "a.npz", ["a"])["a"]]
    for other in found:
        assert other.dtype == array.dtype and other.shape == array.shape
        np.testing.assert_array_equal(other, array)
    assert npz_names(tmp_path / "a.npz") == ["a", "b"] == list(read_npz(tmp_path / "a.npz"))


def test_a_single_array_is_not_loaded_but_mapped(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    mapped = open_npy(tmp_path / "a.npy")
    assert isinstance(mapped, np.memmap) and not mapped.flags.writeable


def npy(header, content=bytes(60), version=b"\x01\x00"):
    text = header.encode().ljust(117) + b"\n"
    length = len(text).to_bytes(2 if version[0] == 1 else 4, "little")
    return b"\x93NUMPY" + version + length + text + content


def claim(shape="(5, 3)", descr="'<f4'"):
    return npy(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}")


WRONG = {
    "no magic": b"NUMPY\x93" + claim()[6:],
    "nothing": b"",
    "an unknown version": claim().replace(b"\x01\x00", b"\x07\x00", 1),
    "a header that never ends": b"\x93NUMPY\x02\x00\xff\xff\xff\xff",
    "another bracket": claim().replace(b")", b"(", 1),
    "brackets": npy("(" * 9000),
    "minus signs": npy("-" * 9000 + "1"),
    "an endless number": npy("9" * 9000),
    "no dict": npy("[]"),
    "shape of text": claim("'55'"),
    "shape below 0": claim("(-5, -3)"),
    "shape beyond every int": claim(f"({'9' * 80}, 3)"),
    "29 TiB": claim("(2657655000000, 3)"),
    "a product that wraps to 0": claim("(4294967296, 4294967296)"),
    "fewer steps than there are": claim("(4, 3)"),
    "numbers of no bytes": claim(descr="'V0'"),
    "objects": claim(descr="'|O'"),
    "records": claim(descr="[('a', '<f4')]"),
    "code": claim("__import__('os').getpid()"),
    "an unknown type": claim(descr="'<q99'"),
    "a type that is a number": claim(descr="7"),
}


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG)
@pytest.mark.filterwarnings("ignore:Reading:UserWarning")
def test_wrong_headers_are_told(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("a.npy", content)
    for read, name in ((open_npy, "a.npy"), (read_npz, "a.npz")):
        with pytest.raises(UserError) as told, told_if_unreadable("It is damaged", "get another"):
            read(tmp_path / name)
        text = str(told.value)
        assert text.startswith("It is damaged (") and text.endswith("; get another.")
        assert len(text) < 260 and "\n" not in text


def test_a_claim_is_told_with_both_sizes(tmp_path):
    (tmp_path / "a.npy").write_bytes(claim("(2657655000000, 3)"))
    with pytest.raises(ValueError, match="header claims 31.89 TB of numbers, but it has 60 bytes"):
        open_npy(tmp_path / "a.npy")


def archive_with(change, method=zipfile.ZIP_DEFLATED):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as file:
        file.writestr("a.npy", claim())
    content = bytearray(content.getvalue())
    change(content, content.rindex(b"PK\x01\x02"))
    return bytes(content)


def unknown_method(content, entry):
    content[8] = content[entry + 10] = 99


def encrypted(content, entry):
    content[6] |= 1
    content[entry + 8] |= 1


def claims_4_gb(content, entry):
    content[entry + 24 : entry + 28] = b"\xfe\xff\xff\xff"


def damaged(content, entry):
    content[70] ^= 0xFF


def other_sum(content, entry):
    content[entry + 16] ^= 1


def starts_elsewhere(content, entry):
    content[entry + 42] = 9


WRONG_ARCHIVES = {
    "unknown method": archive_with(unknown_method),
    "lzma": archive_with(damaged, zipfile.ZIP_LZMA),
    "bzip2": archive_with(damaged, zipfile.ZIP_BZIP2),
    "encrypted": archive_with(encrypted),
    "claims 4 GB": archive_with(claims_4_gb),
    "damaged": archive_with(damaged),
    "another sum": archive_with(other_sum),
    "another place": archive_with(starts_elsewhere),
    "cut short": archive_with(damaged)[:-50],
    "no archive": b"<!DOCTYPE html><html>",
    "its start alone": b"PK\x03\x04",
    "nothing": b"",
}


@pytest.mark.parametrize("content", WRONG_ARCHIVES.values(), ids=WRONG_ARCHIVES)
def test_wrong_archives_are_told(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"^It is damaged \([^\n]{1,210}\); get another\.$"):
        with told_if_unreadable("It is damaged", "get another"):
            read_npz(tmp_path / "a.npz")


def test_zeros_without_end_are_not_unpacked(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(10**8, np.int8))
    with pytest.raises(ValueError, match="it claims 100 MB of numbers but stores 97"):
        read_npz(tmp_path / "a.npz")


def test_names_that_stand_twice_or_nowhere(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("a.npy", claim())
        with pytest.warns(UserWarning, match="Duplicate name"):
            file.writestr("a.npy", claim())
    with pytest.raises(ValueError, match="two entries of one name"):
        read_npz(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", a=1)
    with pytest.raises(KeyError, match="b"):
        read_npz(tmp_path / "a.npz", ["b"])


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.npz")
    for read in (open_npy, read_npz):
        with pytest.raises(ValueError, match="it is no file, but"):
            read(tmp_path / "a.npz")
