"""With little room left, whatever is written is whole or as before, and the next run works."""

import contextlib
import functools
import pathlib
import resource
import signal
import tarfile

import keras
import numpy as np
import pytest

from helpers.archives import needs_safe_unpacking
from helpers.golden_files import GOLDEN
from helpers.programs import run_here
from helpers.recordings import Bouts, write_recordings
from helpers.videos import write_video
from keras_actionformer import (
    ActionFormer,
    AdamW,
    Annotations,
    Detections,
    FeatureGrid,
    Video,
    default_config,
    save_annotations,
    save_detections,
    save_drafts,
    simulate_dataset,
)
from keras_actionformer.cli.explain import file_problem
from keras_actionformer.datasets.prepare import prepare_dataset
from keras_actionformer.errors import UserError
from keras_actionformer.training import callbacks
from keras_actionformer.training.validation import WeightsCopy

needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="training pipelines are TensorFlow's"
)


@contextlib.contextmanager
def room(num_bytes):
    """No file becomes larger, which writers see as they see a full disk."""
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)


@functools.cache
def model():
    made = ActionFormer(
        input_dim=4, num_classes=2, backbone_arch=(1, 0, 1), embd_dim=48, fpn_dim=48, head_dim=48,
        n_head=2, n_mha_win_size=5, max_seq_len=32, grid=FeatureGrid(1, 1, 1),
    )  # fmt: skip
    made.compile(AdamW(1e-3, use_ema=True))
    made.optimizer.build(made.trainable_variables)
    return made


@functools.cache
def detections():
    feats = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
    found = model().detect(feats)
    return {f"video_{i}": found for i in range(200)}


def annotations():
    video = Video("v", "test", 9.0, None, np.tile([[1.0, 2.0]], (5000, 1)), np.zeros(5000, int))
    return Annotations((video,), ("a",))


def write_run(folder):
    writer = callbacks.RunWriter(
        model(), folder / "run", WeightsCopy(model()), default_config().train
    )
    writer.on_epoch_begin(0)
    writer.on_epoch_end(0, {"loss": 1.0})


WRITERS = {
    "preset": lambda folder: model().save_to_preset(folder / "preset"),
    "run": write_run,
    "json": lambda folder: save_detections(folder / "found.json", detections()),
    "csv": lambda folder: save_detections(folder / "found.csv", detections()),
    "annotations": lambda folder: save_annotations(folder / "a.json", annotations()),
    "data set": lambda folder: simulate_dataset(folder / "data", num_train=2, num_test=0),
}


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@needs_tensorflow
@pytest.mark.parametrize("name", WRITERS)
def test_little_room(tmp_path, name, capfd, monkeypatch):
    monkeypatch.setattr(callbacks, "_WAITS_SEC", ())  # the disk stays full
    write = WRITERS[name]
    write(tmp_path)
    before, failed = contents(tmp_path), False
    for num_bytes in (0, 8_000, 150_000, 400_000):
        as_before = name != "run"  # which keeps what had room, and tells seconds
        try:
            with capfd.disabled(), room(num_bytes):
                write(tmp_path)
            as_before &= name != "preset"  # HDF5 holds the second of its writing
        except OSError as error:
            failed = True
            assert pathlib.Path(error.filename).is_relative_to(tmp_path)
            assert "\n" not in file_problem(error, "")
        after = contents(tmp_path)
        assert after.keys() == before.keys()  # nothing is left half-done
        assert all(after.values())
        assert not as_before or after == before
        before = after
    assert failed
    write(tmp_path)
    assert contents(tmp_path).keys() == before.keys()


@needs_tensorflow
@pytest.mark.parametrize(("format_name", "name"), [("elan", "drafts"), ("boris", "a.boris")])
def test_little_room_for_drafts(tmp_path, format_name, name):
    write = functools.partial(
        save_drafts, tmp_path / name, format_name, detections(), media="films/{}.mp4"
    )
    for num_bytes in (0, 1_000):
        with pytest.raises(OSError) as raised, room(num_bytes):
            write()
        assert pathlib.Path(raised.value.filename) == tmp_path / name
        assert not list(tmp_path.iterdir())
    write()
    assert len(contents(tmp_path)) == (200 if format_name == "elan" else 1)


def test_little_room_for_videos(tmp_path):
    """And for their features: a text of Python or one of FFmpeg tells, which knows no name."""
    pytest.importorskip("av")
    from keras_actionformer import draw_video, extract_videos, open_encoder

    video = write_video(tmp_path / "a.mp4", 100)
    found = Detections([[1.0, 2.0]], [1.0], [0], ("eat",))
    writers = (
        lambda: draw_video(video, found, tmp_path / "drawn" / "a.mp4", colours=("#0000FF",)),
        lambda: extract_videos({"a": video}, open_encoder("motion"), tmp_path / "feats"),
    )
    for write, name in zip(writers, ("drawn", "feats"), strict=True):
        for num_bytes in (0, 2_000):
            with pytest.raises((OSError, UserError)) as raised, room(num_bytes):
                write()
            assert str(tmp_path / name) in str(raised.value), (name, raised.value)
            assert not list((tmp_path / name).iterdir()), (name, num_bytes)
        write()
        assert list((tmp_path / name).iterdir())


def write_archive(folder):
    """A made-up archive of THUMOS14 as the reference's authors pack it."""
    video = Video("video_test_1", "Test", 9.0, 30.0, np.array([[1.0, 2.0]]), np.zeros(1, int))
    save_annotations(folder / "thumos" / "thumos14.json", Annotations((video,), ("Billiards",)))
    (folder / "thumos" / "i3d_features").mkdir()
    np.save(folder / "thumos" / "i3d_features" / "video_test_1.npy", np.ones((5, 2048), "f4"))
    with tarfile.open(folder / "mine.tar.gz", "w:gz") as file:
        file.add(folder / "thumos", "thumos")


@needs_safe_unpacking
def test_little_room_for_a_data_set_that_is_unpacked(tmp_path):
    write_archive(tmp_path)
    for num_bytes in (0, 8_000):
        with pytest.raises(OSError) as raised, room(num_bytes):
            prepare_dataset("thumos14", tmp_path / "mine.tar.gz", tmp_path / "out", str)
        assert pathlib.Path(raised.value.filename).is_relative_to(tmp_path / "out")
        assert not contents(tmp_path / "out")
    prepare_dataset("thumos14", tmp_path / "mine.tar.gz", tmp_path / "out", str)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "annotations.json", "feats", "unpacked",
    }  # fmt: skip


def assert_one_sentence(done, verb, folder):
    assert done.returncode == 2, done.stderr
    (told,) = done.stderr.splitlines()
    assert told.startswith(f"{verb}: ") and folder in told, told


def test_little_room_for_features_and_a_configuration(tmp_path):
    rows = write_recordings(tmp_path, Bouts(6, recording_sec=30, bouts_per_class=9))
    lines = ["video,start,end,label", *(",".join(map(str, row)) for row in rows)]
    (tmp_path / "bouts.csv").write_text("\n".join(lines))
    options = ("--annotations=bouts.csv", "--sensors=raw", "--rate_hz=50", "--output=mine.py")
    for num_bytes in (0, 8_000):
        with room(num_bytes):
            done = run_here(tmp_path, "init", *options)
        assert_one_sentence(done, "init", "mine_feats")
        assert not (tmp_path / "mine.py").exists() and not list(tmp_path.rglob(".*"))
    assert run_here(tmp_path, "init", *options).returncode == 0
    feats = contents(tmp_path / "mine_feats")
    with room(8_000):
        prepare = ("--dataset=sensors", "--from=raw", "--to=mine_feats", "--windows=mine_feats")
        assert_one_sentence(run_here(tmp_path, "prepare", *prepare), "prepare", "mine_feats")
    assert contents(tmp_path / "mine_feats") == feats


@needs_tensorflow
def test_little_room_for_a_checkpoint_that_is_converted(tmp_path):
    options = (f"--checkpoint={GOLDEN / 'j_checkpoint'}", "--output=preset")
    assert run_here(tmp_path, "convert", *options).returncode == 0
    before = contents(tmp_path)
    for num_bytes in (0, 8_000):
        with room(num_bytes):
            done = run_here(tmp_path, "convert", *options)
        assert_one_sentence(done, "convert", "preset")
        assert contents(tmp_path) == before
    assert run_here(tmp_path, "convert", *options).returncode == 0
    assert contents(tmp_path).keys() == before.keys()


@needs_tensorflow
@pytest.mark.slow
@pytest.mark.parametrize("format", ["saved_model", "tflite", "onnx"])
def test_little_room_for_an_export(tmp_path, capfd, format):
    """The network alone: detections of an untrained one have scores that are all but equal."""
    folder = tmp_path / "export"
    for num_bytes in (0, 8_000, 150_000):
        with pytest.raises(OSError) as raised, capfd.disabled(), room(num_bytes):
            model().export_detector(folder, format, raw=True)
        assert pathlib.Path(raised.value.filename).is_relative_to(folder)
        assert "\n" not in file_problem(raised.value, "")
        assert not list(tmp_path.iterdir())
    model().export_detector(folder, format, raw=True)
    before = contents(tmp_path)
    with pytest.raises(OSError), capfd.disabled(), room(8_000):
        model().export_detector(folder, format, raw=True)
    assert contents(tmp_path) == before
    assert not list(folder.rglob(".*")) and not list(folder.rglob("tmp*"))
