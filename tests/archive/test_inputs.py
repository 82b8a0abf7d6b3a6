"""Which files an archive holds, and what its videos are called."""

import pytest

from keras_actionformer import UserError, remote
from keras_actionformer.archive.inputs import Input, find_inputs

SUFFIXES = (".npy", ".npz")


@pytest.fixture
def archive(tmp_path, monkeypatch):
    for name in ("may/a.npy", "may/cam/b.npz", "june/a.npy", "june/notes.txt", ".hidden.npy"):
        (tmp_path / "feats" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "feats" / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "feats"


def found(*names):
    return {video: item.path for video, item in find_inputs(names, SUFFIXES, print).items()}


def test_folders_patterns_and_files(archive):
    everything = {
        "june/a": f"{archive}/june/a.npy",
        "may/a": f"{archive}/may/a.npy",
        "may/cam/b": f"{archive}/may/cam/b.npz",
    }
    assert found("feats") == found(f"{archive}/") == everything
    assert list(found("feats")) == sorted(everything)
    assert found("feats/**/a.npy") == {name: everything[name] for name in ("june/a", "may/a")}
    assert found("feats/m*/*") == {"may/a": everything["may/a"]}
    assert found("feats/may/a.npy", "feats/may/cam") == {
        "a": everything["may/a"], "b": everything["may/cam/b"],
    }  # fmt: skip


def test_a_table_tells_files_and_times(archive):
    table = archive / "list.csv"
    table.write_text(f"video,fps,duration\nmay/a.npy,25,60\n{archive}/may/cam/b.npz,,\n")
    assert find_inputs(["feats/list.csv"], SUFFIXES, print) == {
        "b": Input("b", f"{archive}/may/cam/b.npz"),
        "may/a": Input("may/a", f"{archive}/may/a.npy", 25, 60),
    }
    table.write_text("video\nmay/a\n")
    with pytest.raises(UserError, match="line 2: 'may/a' must end in .npy, .npz"):
        found(str(table))


def test_addresses():
    pytest.importorskip("fsspec")
    for name in ("x/a.npy", "x/y/b.npy", "x/y/c.txt"):
        remote.write(f"memory://archive/{name}", b"")
    remote.write("memory://archive/x/list.csv", b"video\ny/b.npy\nmemory://archive/x/a.npy\n")
    both = {"a": "memory://archive/x/a.npy", "y/b": "memory://archive/x/y/b.npy"}
    for name in ("x", "x/", "x/**/*.npy", "x/list.csv"):
        assert found(f"memory://archive/{name}") == both
    assert found("memory://archive/x/a.npy") == {"a": both["a"]}
    with pytest.raises(UserError, match="'memory://archive/z' does not exist, or holds no file"):
        found("memory://archive/z")


def test_what_is_not_there_or_there_twice_is_told(archive):
    with pytest.raises(UserError, match="'nowhere' does not exist, or holds no file that ends in"):
        found("nowhere")
    with pytest.raises(UserError, match="are both the video 'a': name a folder or a pattern above"):
        found("feats/may", "feats/june/a.npy")


def test_a_file_with_two_frame_rates_is_told(archive):
    table = archive / "list.csv"
    table.write_text("video,fps\nmay/a.npy,25\nmay/a.npy,25\n")
    assert found(str(table)) == {"may/a": f"{archive}/may/a.npy"}
    table.write_text("video,fps\nmay/a.npy,25\nmay/a.npy,30\n")
    told = "may/a.npy' is named twice, with fps 25.0 and duration None and with fps 30.0 and"
    with pytest.raises(UserError, match=told):
        found(str(table))
    with pytest.raises(UserError, match="named twice, with fps None .* and with fps 25"):
        table.write_text("video,fps\nmay/a.npy,25\n")
        found("feats", str(table))
