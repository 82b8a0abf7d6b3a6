"""Files appear whole or not at all."""

import errno

import pytest

from keras_actionformer.files import atomic_path, atomic_write, remove_leftovers


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


def test_leftovers_of_killed_writers_go(tmp_path):
    (tmp_path / ".a.12.part.json").touch()
    (tmp_path / "a.json").touch()
    remove_leftovers(tmp_path)
    remove_leftovers(tmp_path / "missing")
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
