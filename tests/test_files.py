"""Broken files are told in a sentence; written ones appear whole or not at all."""

import errno
import os
import signal

import numpy as np
import pytest

from keras_actionformer import files
from keras_actionformer.containers.numpy_files import write_npy
from keras_actionformer.errors import UserError
from keras_actionformer.files import (
    RepeatedKeyError,
    atomic_folder,
    atomic_path,
    atomic_write,
    parse_json,
    path_inside,
    read_json,
    read_text,
    remove_leftovers,
    told_if_unreadable,
    write_json,
)


def test_text_is_utf8_with_or_without_a_mark(tmp_path):
    path = tmp_path / "a.txt"
    for content in (b"\xef\xbb\xbf\xc3\xa9\r\n", b"\xc3\xa9\r\n"):
        path.write_bytes(content)
        assert read_text(path, "List") == "\u00e9\r\n"


def told(path, read=read_text):
    with pytest.raises(UserError) as error:
        read(path, "List")
    return str(error.value)


def test_text_that_cannot_be_read_is_told(tmp_path):
    path = tmp_path / "a.txt"
    assert told(path) == f"List '{path}' does not exist; check its path."
    os.mkfifo(tmp_path / "pipe")
    for what in (tmp_path, tmp_path / "pipe", "/dev/zero"):  # which could block, or never end
        assert told(what) == (
            f"List '{what}' cannot be read: it is no file, but a folder, a pipe or a device."
        )
    path.write_bytes(b"one\ntw\xff\n")
    assert told(path) == f"List '{path}' is not UTF-8 text in line 2; save it as UTF-8."


def test_json_is_written_and_read(tmp_path):
    write_json(tmp_path / "a.json", {"\u00e9": [1, 0.5, None]})
    assert (tmp_path / "a.json").read_bytes() == (
        b'{\n "\\u00e9": [\n  1,\n  0.5,\n  null\n ]\n}\n'
    )
    assert read_json(tmp_path / "a.json", "List") == {"\u00e9": [1, 0.5, None]}
    write_json(tmp_path / "a.json", ["\u00e9"], indent=None, ensure_ascii=False)
    assert (tmp_path / "a.json").read_bytes() == b'["\xc3\xa9"]\n'


@pytest.mark.parametrize(
    "text, fault",
    [
        ('{"a":\n }', "is not valid JSON: Expecting value in line 2, column 2."),
        ("[" * 100_000, "is not valid JSON: it nests lists or objects too deeply to be read."),
        (
            '{"a": [{"b": 1, "c": 2, "b": 1}]}',
            "has 'b' twice in one object; every video id and every field may appear once, so "
            "merge or rename the entries.",
        ),
    ],
)
def test_wrong_json_is_told(tmp_path, text, fault):
    path = tmp_path / "a.json"
    path.write_text(text)
    assert told(path, read_json) == f"List '{path}' {fault}"


def test_a_key_that_stands_twice_is_no_json_of_ours():
    with pytest.raises(RepeatedKeyError, match="^'b' stands twice in one object$") as error:
        parse_json('{"a": 1, "b": 1, "b": 2}')
    assert error.value.key == "b"


def test_arrays_are_written(tmp_path):
    write_npy(tmp_path / "new" / "a.npy", np.arange(3))
    assert np.load(tmp_path / "new" / "a.npy").tolist() == [0, 1, 2]
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_what_told_if_unreadable_tells():
    with pytest.raises(UserError, match=r"^X is damaged \(first line\)\.$"):
        with told_if_unreadable("X is damaged"):
            raise OSError("first line\nsecond line")
    with pytest.raises(UserError, match=r"^X is damaged \(No space left\); buy a disk\.$"):
        with told_if_unreadable("X is damaged", "buy a disk"):
            raise OSError(errno.ENOSPC, "No space left", "file")
    with pytest.raises(UserError, match=r"^X is damaged \(EOFError\)\.$"):
        with told_if_unreadable("X is damaged"):
            raise EOFError
    with pytest.raises(UserError, match=r"^X is damaged \(it lacks 'log'\)\.$"):
        with told_if_unreadable("X is damaged"):
            {}.pop("log")
    with pytest.raises(UserError, match=r"^X is damaged \(a{200}\.\.\.\)\.$"):
        with told_if_unreadable("X is damaged"):
            raise ArithmeticError("a" * 10**6)
    with pytest.raises(UserError, match="^as it is$"), told_if_unreadable("X is damaged"):
        raise UserError("as it is")


def test_a_file_changes_in_one_step(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with atomic_write(path) as file:
        file.write("one\n")
        assert not path.exists()
    with atomic_write(path) as file:
        file.write("two\n")
        file.flush()
        assert path.read_text() == "one\n"
    assert path.read_bytes() == b"two\n"
    with atomic_path(path) as temporary:
        assert temporary.suffix == ".txt"
        temporary.write_text("three")
    assert path.read_text() == "three"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(errno.ENOSPC, "No space left")])
def test_a_failure_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "a.bin"
    path.write_bytes(b"before")
    with pytest.raises(BaseException) as raised, atomic_write(path, "wb") as file:
        file.write(b"half")
        raise error
    assert path.read_bytes() == b"before" and len(list(tmp_path.iterdir())) == 1
    if isinstance(error, OSError):
        assert raised.value.filename == str(path)


def killed_while_it_writes(path):
    """What a process leaves that is killed while it writes a file: one hidden part."""
    pid = os.fork()
    if pid == 0:
        with atomic_write(path) as file:
            file.write("half" * 10_000)
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    (part,) = path.parent.glob(".*.part*")
    return part


def test_what_a_killed_writer_of_a_file_left_goes_when_it_is_written_again(tmp_path):
    path = tmp_path / "a[1].npy"
    assert killed_while_it_writes(path).suffix == ".npy"
    with atomic_write(path) as file:
        file.write("whole")
    assert path.read_text() == "whole" and list(tmp_path.iterdir()) == [path]
    killed_while_it_writes(path)
    with atomic_write(path) as living, atomic_write(path) as later:
        later.write("later")
        living.write("living")
    assert path.read_text() == "living" and list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_of_a_folder_left_goes_and_nothing_else(tmp_path):
    pid = os.fork()
    if pid == 0:
        with atomic_folder(tmp_path / "a[1]") as half:
            (half / "file").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert len(list(tmp_path.glob(".a*.part"))) == 1
    (tmp_path / ".a1.0123456789ab.part").mkdir()  # of another folder's writer
    with atomic_folder(tmp_path / "a[1]") as living:
        with atomic_folder(tmp_path / "a[1]") as later:
            assert living.is_dir() and later.is_dir() and living != later
            (later / "file").write_text("later")
        (living / "file").write_text("living")
    assert (tmp_path / "a[1]" / "file").read_text() == "living"
    assert sorted(p.name for p in tmp_path.iterdir()) == [".a1.0123456789ab.part", "a[1]"]


def test_files_and_folders_are_written_where_there_are_no_locks(tmp_path, monkeypatch):
    def no_locks(descriptor):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(files, "take_lock", no_locks)
    for content in "ab":
        with atomic_folder(tmp_path / "a") as folder:
            with atomic_write(folder / "file") as file:
                file.write(content)
    assert (tmp_path / "a" / "file").read_text() == "b" and len(list(tmp_path.iterdir())) == 1
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["file"]


@pytest.mark.parametrize(
    "name,text",
    [
        ("../x", "The name '../x' leads out of"),
        ("a/../../x", "leads out of"),
        ("/etc/x", "The name '/etc/x' leads out of"),
        ("a\0b", "No file can be called"),
        ("\ud800", "No file can be called"),
    ],
)
def test_names_of_others_stay_in_their_folder(tmp_path, name, text):
    with pytest.raises(UserError, match=text):
        path_inside(tmp_path, name)
    assert path_inside(tmp_path, "a/..b") == tmp_path / "a" / "..b"
    assert path_inside(tmp_path, "T\udcfcr") == tmp_path / "T\udcfcr"


def test_names_that_are_no_utf8_are_written_and_read(tmp_path):
    write_json(tmp_path / "a.json", {"T\udcfcr": "\u00fc"}, ensure_ascii=False)
    assert "\\udcfc" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert read_json(tmp_path / "a.json", "List") == {"T\udcfcr": "\u00fc"}


def test_leftovers_of_killed_writers_go(tmp_path):
    (tmp_path / ".a.12.part.json").touch()
    (tmp_path / "a.json").touch()
    remove_leftovers(tmp_path)
    remove_leftovers(tmp_path / "missing")
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
