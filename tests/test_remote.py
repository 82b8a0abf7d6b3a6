"""Files at addresses, in fsspec's memory, behind which no folder of this machine is."""

import contextlib
import http.server
import io
import pathlib
import threading
import time

import numpy as np
import pytest

from helpers.models import CHANNELS, small_model
from helpers.range_server import serve_ranges
from keras_actionformer import ActionFormer, FeatureFiles, UserError, remote
from keras_actionformer.containers import numpy_files
from keras_actionformer.presets.fetching import fetched

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def memory():
    """The address of an empty folder in fsspec's memory."""
    system = fsspec.filesystem("memory")
    yield "memory://bucket"
    with contextlib.suppress(FileNotFoundError):
        system.rm("/bucket", recursive=True)


def test_what_an_address_is():
    assert all(map(remote.is_address, ("s3://b/a.npy", "simplecache::gs://b", "memory://x")))
    paths = ("b/a.npy", "C:\\a.npy", "/b//a", pathlib.Path("s3://b"), None)
    assert not any(map(remote.is_address, paths))


def test_files_are_found_by_folder_and_by_pattern(memory):
    for name in ("a.npy", "x/b.npy", "x/y/c.npy", "x/d.txt"):
        remote.write(f"{memory}/{name}", b"1")
    every = ["a.npy", "x/b.npy", "x/d.txt", "x/y/c.npy"]
    assert remote.find(memory) == (memory, every)
    assert remote.find(f"{memory}/**/*.npy") == (memory, ["a.npy", "x/b.npy", "x/y/c.npy"])
    assert remote.find(f"{memory}/x/*") == (f"{memory}/x", ["b.npy", "d.txt"])
    assert remote.find("memory://nothing") == ("memory://nothing", [])
    assert remote.names_in(memory) == ["a.npy", "x"]


@pytest.mark.parametrize("whole_bytes", [0, 2**22])  # in parts, or at once
def test_features_at_an_address_are_those_of_the_file(memory, tmp_path, monkeypatch, whole_bytes):
    monkeypatch.setattr(numpy_files, "_WHOLE_BYTES", whole_bytes)
    feats = np.arange(600, dtype="float16").reshape(150, 4)
    np.save(tmp_path / "v.npy", feats)
    np.savez(tmp_path / "w.npz", feats=feats)
    for name in ("v.npy", "w.npz"):
        remote.upload(tmp_path / name, f"{memory}/feats/{name}")
    files = FeatureFiles(f"{memory}/feats", 4)
    assert files.video_ids() == ["v"] and files.has("v") and not files.has("w")
    assert files.paths("v") == (f"{memory}/feats/v.npy",)
    np.testing.assert_array_equal(files.load("v"), feats)
    opened = files.open("v")
    for steps in (slice(3, 9), slice(None, None, 7), slice(140, 999), slice(5, 5), slice(-2, None)):
        np.testing.assert_array_equal(opened[steps], feats[steps])
    archive = FeatureFiles(f"{memory}/feats", 4, suffix=".npz")
    np.testing.assert_array_equal(archive.load("w"), feats)


def test_what_is_wrong_with_features_at_an_address_is_told(memory, monkeypatch):
    monkeypatch.setattr(numpy_files, "_WHOLE_BYTES", 0)
    feats = np.ones((900, 4), "float32")
    feats[700, 2] = np.nan
    with fsspec.open(f"{memory}/bad.npy", "wb") as file:
        np.save(file, feats)
    with fsspec.open(f"{memory}/columns.npy", "wb") as file:
        np.save(file, np.asfortranarray(np.ones((900, 4))))
    content = fsspec.filesystem("memory").cat_file("/bucket/bad.npy")
    remote.write(f"{memory}/short.npy", content[:-8])
    remote.write(f"{memory}/junk.npz", b"PK\x03\x04 and so on")
    files = FeatureFiles(memory)
    opened = files.open("bad")
    np.testing.assert_array_equal(opened[:700], feats[:700])
    for act in (lambda: opened[600::50], lambda: files.check("bad"), lambda: files.load("bad")):
        with pytest.raises(
            UserError, match="bucket/bad.npy' has a NaN or infinite value at step 700"
        ):
            act()
    with pytest.raises(UserError, match="columns.npy' cannot be read .*column by column"):
        files.open("columns")
    with pytest.raises(UserError, match="short.npy' cannot be read .*claims 14.4 kB of numbers"):
        files.open("short")
    with pytest.raises(UserError, match=r"'memory://bucket/nothing.npy' does not exist"):
        files.open("nothing")
    with pytest.raises(UserError, match=r"'memory://bucket/junk.npz' cannot be read as a NumPy"):
        FeatureFiles(memory, suffix=".npz").open("junk")
    with pytest.raises(UserError, match="copy it here"):
        FeatureFiles(f"{memory}/all.h5")
    with pytest.raises(UserError, match="leads out of 'memory://bucket'"):
        files.open("../secret")


def test_an_address_that_cannot_be_opened_says_what_is_missing(monkeypatch):
    with pytest.raises(UserError, match="nowhere://x/v.npy' cannot be opened by fsspec: Protocol"):
        FeatureFiles("nowhere://x").open("v")
    monkeypatch.setitem(__import__("sys").modules, "fsspec.core", None)
    with pytest.raises(UserError, match=r"pip install 'keras-actionformer\[remote\]'"):
        FeatureFiles("memory://x").open("v")


def test_a_server_that_is_down_is_not_an_empty_one():
    pytest.importorskip("aiohttp")
    for look, name in ((remote.exists, "v.npy"), (remote.find, "feats"), (remote.find, "*.npy")):
        with pytest.raises(OSError, match="(?i)connect"):
            look(f"http://127.0.0.1:9/{name}")


@pytest.mark.parametrize(
    ("status", "told"), [(403, "cannot be read .*403"), (500, "cannot be read .*500"),
                         (404, "does not exist; check the address")],
)  # fmt: skip
def test_features_that_a_server_refuses_are_not_called_missing(tmp_path, status, told):
    pytest.importorskip("aiohttp")
    with serve_ranges(tmp_path, missing=status) as (address, _):
        with pytest.raises(UserError, match=f"'{address}/v.npy' {told}"):
            FeatureFiles(address).open("v")


def test_a_server_that_does_not_answer_in_time_is_told(memory, monkeypatch):
    def wait(*_, **__):
        raise fsspec.exceptions.FSTimeoutError

    monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "info", wait)
    with pytest.raises(UserError, match="v.npy' cannot be read .*did not send all of it in time"):
        FeatureFiles(memory).open("v")


class _SlowServer(http.server.BaseHTTPRequestHandler):
    """Sends a file in pieces with short rests: all of `steady`, of others all but the last."""

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()

    def do_GET(self):
        self.do_HEAD()
        pieces = [self.content[i : i + 48] for i in range(0, len(self.content), 48)]
        for piece in pieces if "steady" in self.path else pieces[:-1]:
            self.wfile.write(piece)
            self.wfile.flush()
            time.sleep(0.3)
        if "steady" not in self.path:
            time.sleep(1.5)

    def log_message(self, *_):
        pass


def test_slow_servers_are_waited_for_as_long_as_something_comes(monkeypatch):
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(remote, "_SILENCE_SEC", 0.8)
    stored = np.arange(6, dtype="float32").reshape(3, 2)
    file = io.BytesIO()
    np.savez(file, feats=stored)
    _SlowServer.content = file.getvalue()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _SlowServer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        found = FeatureFiles(address, suffix=".npz").load("steady")  # takes longer than a silence
        np.testing.assert_array_equal(found, stored)
        with pytest.raises(UserError, match="stalled.npz' cannot be read"):
            FeatureFiles(address, suffix=".npz").load("stalled")
        server.shutdown()


@pytest.mark.parametrize("nesting", ["", "simplecache::"])
def test_what_fsspec_is_told_of_web_servers_stands(tmp_path, monkeypatch, nesting):
    pytest.importorskip("aiohttp")
    headers = {"Authorization": "Bearer mine"}
    monkeypatch.setitem(fsspec.config.conf, "http", {"client_kwargs": {"headers": headers}})
    made = []

    async def get_client(timeout=None, **kwargs):
        made.append((timeout.total, timeout.sock_read, kwargs.get("headers")))
        return await fsspec.implementations.http.get_client(timeout=timeout, **kwargs)

    monkeypatch.setitem(fsspec.config.conf["http"], "get_client", get_client)
    np.save(tmp_path / "v.npy", np.ones((3, 2), "float32"))
    with serve_ranges(tmp_path) as (address, _):
        assert FeatureFiles(f"{nesting}{address}").load("v").shape == (3, 2)
    assert made and set(map(repr, made)) == {repr((None, 60, headers))}


def test_detections_of_parts_over_http_are_those_of_the_file(tmp_path, monkeypatch, run_eagerly):
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(numpy_files, "_WHOLE_BYTES", 0)
    feats = np.random.default_rng(0).standard_normal((1000, CHANNELS)).astype("float32")
    np.save(tmp_path / "v.npy", feats)
    model = small_model()
    with serve_ranges(tmp_path) as (address, sent):
        found = model.detect(FeatureFiles(address).open("v"), tile_steps=400)
        assert not FeatureFiles(address).has("w") and FeatureFiles(address).sidecar("v") is None
    expected = model.detect(np.load(tmp_path / "v.npy", mmap_mode="r"), tile_steps=400)
    np.testing.assert_array_equal(found.segments_sec, expected.segments_sec)
    np.testing.assert_array_equal(found.scores, expected.scores)
    # The header, and each tile once.
    _, *tiles = [size for name, size in sent if size]
    assert len(tiles) == 3 and max(tiles) == 400 * CHANNELS * 4


def test_a_preset_is_saved_to_an_address_and_opened_there(memory):
    model = small_model()
    model.save_to_preset(f"{memory}/mine/", description="Made up.")
    opened = ActionFormer.from_preset(f"{memory}/mine")
    for ours, theirs in zip(model.weights, opened.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert opened.class_names == model.class_names
    assert remote.names_in(f"{memory}/mine") == [
        "README.md", "config.json", "metadata.json", "model.weights.h5",
    ]  # fmt: skip
    assert "# mine" in remote.read(f"{memory}/mine/README.md").decode()
    remote.write(f"{memory}/mine/thesis.docx", b"")
    with pytest.raises(UserError, match="holds other files, such as 'thesis.docx'"):
        model.save_to_preset(f"{memory}/mine")
    with pytest.raises(UserError, match="'memory://bucket' does not exist, or is neither a preset"):
        ActionFormer.from_preset(memory)
    remote.write(f"{memory}/mine/config.json", b"{")
    with pytest.raises(UserError, match="'memory://bucket/mine/config.json' is damaged"):
        ActionFormer.from_preset(f"{memory}/mine")


def test_of_a_run_what_is_read_is_fetched_and_what_was_written_goes_back(memory):
    run = f"{memory}/runs/a"
    for name in ("model.keras", "config.json", "log.csv", "checkpoint.npz"):
        remote.write(f"{run}/{name}", name.encode())
    with fetched(run) as folder:
        assert sorted(path.name for path in folder.iterdir()) == [
            "config.json", "log.csv", "model.keras",
        ]  # fmt: skip
        (folder / "evaluation.json").write_text("{}")
    assert not remote.exists(f"{run}/evaluation.json") and not folder.exists()
    remote.write(f"{run}/config.json", b"of somebody else")
    with fetched(f"{run}/", writes_back=True) as folder:
        (folder / "evaluation.json").write_text("{}")
        remote.write(f"{run}/log.csv", b"of somebody else")
    assert remote.read(f"{run}/evaluation.json") == b"{}"
    assert remote.read(f"{run}/log.csv") == b"of somebody else"  # as it is no change of the block
