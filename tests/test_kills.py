"""Writers killed at any moment: what they wrote is whole or as before, and the next run tidies up.

A process writes again and again until it is killed. It is forked, so that nothing is imported, and
of an export only what writes files is run.
"""

import hashlib
import itertools
import json
import os
import re
import signal
import tarfile
import time
import traceback

import keras
import numpy as np
import pytest

from helpers.archives import needs_safe_unpacking
from helpers.made_up_scores import made_up
from helpers.programs import run_here
from helpers.recordings import Bouts, write_recordings
from keras_actionformer import (
    ActionFormer,
    Detections,
    FeatureFiles,
    load_annotations,
    load_config,
    save_annotations,
    save_detections,
    save_drafts,
)
from keras_actionformer.data.annotations import Annotations
from keras_actionformer.datasets.prepare import prepare_dataset
from keras_actionformer.datasets.splits import load_split
from keras_actionformer.files import restore_folder

needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="exports are made with TensorFlow"
)
many = pytest.mark.parametrize("num_kills", [4, pytest.param(30, marks=pytest.mark.slow)])


def kills(write, num_kills):
    """Kills processes that call `write(number, 0)`, `write(number, 1)`, ...

    Yields:
      (number of the process, which of its calls it was killed in).
    """
    rng = np.random.default_rng(0)
    for number in range(num_kills):
        done, told = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                for i in itertools.count():
                    write(number, i)
                    os.write(told, b".")
            except BaseException:
                traceback.print_exc()
            os._exit(1)
        os.close(told)
        start = time.monotonic()
        assert os.read(done, 1) == b"."
        time.sleep(rng.uniform(0, 2 * (time.monotonic() - start)))
        os.kill(pid, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        with open(done, "rb") as more:
            yield number, 1 + len(more.read())


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def hidden(folder):
    return sorted(path.name for path in folder.rglob(".*"))


@many
def test_presets(tmp_path, num_kills):
    from helpers.models import small_model

    model, folder = small_model(), tmp_path / "preset"
    model.save_to_preset(folder)
    for _ in kills(lambda *_: model.save_to_preset(folder), num_kills):
        restore_folder(folder)  # as whoever opens it does
        metadata = json.loads((folder / "metadata.json").read_text())
        weights = (folder / "model.weights.h5").read_bytes()
        assert metadata["weights_sha256"] == hashlib.sha256(weights).hexdigest()
        assert len(list(folder.iterdir())) == 4
        model.save_to_preset(folder)
        assert not hidden(tmp_path)
    ActionFormer.from_preset(folder)


@needs_tensorflow
@many
def test_exports(tmp_path, num_kills, monkeypatch):
    """Of a SavedModel each export is a new version; a file of TFLite replaces what there is."""
    from helpers.models import small_model
    from keras_actionformer.deploy import export

    def write_saved_model(graph, model, folder, function):
        (folder / "saved_model.pb").write_bytes(bytes(10**6))

    def write_tflite(graph, folder, function, precision, calibration):
        (folder / "model.tflite").write_bytes(bytes(10**6))

    monkeypatch.setattr(export, "_write_saved_model", write_saved_model)
    monkeypatch.setattr(export, "_write_tflite", write_tflite)
    for name in ("detection_graph", "_function", "sequences_to_try"):
        monkeypatch.setattr(export, name, lambda *arguments: None)
    monkeypatch.setattr(export, "_manifest", lambda *arguments: {})
    monkeypatch.setattr(export, "check_export", lambda *arguments: {})
    model = small_model()

    def write(*_):
        model.export_detector(tmp_path / "versions")
        model.export_detector(tmp_path / "file", "tflite")

    write()
    for _ in kills(write, num_kills):
        restore_folder(tmp_path / "file")
        for folder in (tmp_path / "file", *(tmp_path / "versions").glob("[0-9]*")):
            assert "largest_difference" in json.loads((folder / "manifest.json").read_text())
            (file,) = {path.name for path in folder.iterdir()} & {"saved_model.pb", "model.tflite"}
            assert (folder / file).stat().st_size == 10**6
        write()
        assert not hidden(tmp_path)


@many
def test_drafts(tmp_path, num_kills):
    """Which are never written over, so that each call has a folder and a file of its own."""
    found = {f"v{i}": Detections([[0.0, 1.0], [2, 3]], [0.9, 0.8], [0, 1]) for i in range(20)}

    def write(number, i):
        folder = tmp_path / f"out{number}" / str(i)
        save_drafts(folder / "drafts", "vtt", found)
        save_drafts(folder / "a.boris", "boris", found, "films/{}.mp4")

    write("", 0)
    texts = contents(tmp_path / "out" / "0" / "drafts")
    project = contents_but_dates(tmp_path / "out" / "0" / "a.boris")
    for number, i in kills(write, num_kills):
        folder = tmp_path / f"out{number}" / str(i)
        if (folder / "drafts").exists():
            assert contents(folder / "drafts") == texts
        else:
            save_drafts(folder / "drafts", "vtt", found)
        if (folder / "a.boris").exists():
            assert contents_but_dates(folder / "a.boris") == project
        else:
            save_drafts(folder / "a.boris", "boris", found, "films/{}.mp4")
        assert not hidden(folder)


def contents_but_dates(path):
    return re.sub("20[0-9]{2}-[-0-9T:. ]+", "", path.read_text())


def write_archive(folder):
    """A made-up archive of THUMOS14, as its authors pack it; returns the features in it."""
    segments = [{"label": "Diving", "segment": [1.0, 2.0], "label_id": 7}]
    names = [f"video_test_{i}" for i in range(9)]
    database = {
        name: {"subset": "Test", "duration": 9.0, "annotations": segments} for name in names
    }
    (folder / "thumos" / "i3d_features").mkdir(parents=True)
    (folder / "thumos" / "thumos14.json").write_text(json.dumps({"database": database}))
    feats = {}
    for i, name in enumerate(names):
        feats[name] = np.full((5, 2048), i, np.float32)
        np.save(folder / "thumos" / "i3d_features" / f"{name}.npy", feats[name])
    with tarfile.open(folder / "mine.tar", "w") as file:
        file.add(folder / "thumos", "thumos")
    return feats


@needs_safe_unpacking
@many
def test_data_sets(tmp_path, num_kills):
    feats = write_archive(tmp_path)

    def write(number, i):
        folder = tmp_path / f"out{number}" / str(i)
        prepare_dataset("thumos14", tmp_path / "mine.tar", folder, lambda line: None)

    for number, i in kills(write, num_kills):
        folder = tmp_path / f"out{number}" / str(i)
        for _ in range(2):
            if (folder / "annotations.json").exists():  # the features are complete
                annotations = load_annotations(folder / "annotations.json")
                for video in annotations.videos:
                    found = FeatureFiles(folder / "feats").load(video.video_id)
                    np.testing.assert_array_equal(found, feats[video.video_id])
                assert len(annotations.videos) == len(feats)
            write(number, i)
            assert not hidden(folder)


@needs_safe_unpacking
def test_a_data_set_that_was_moved_and_not_yet_linked(tmp_path):
    write_archive(tmp_path)
    for _ in range(2):
        prepare_dataset("thumos14", tmp_path / "mine.tar", tmp_path / "out", lambda line: None)
        assert FeatureFiles(tmp_path / "out" / "feats").has("video_test_0")
        (tmp_path / "out" / "unpacked" / "mine" / "thumos" / "i3d_features").unlink(missing_ok=True)


@many
def test_features_of_sensors_and_a_first_configuration(tmp_path, num_kills):
    rows = write_recordings(tmp_path, Bouts(6, recording_sec=30, bouts_per_class=9))
    lines = ["video,start,end,label", *(",".join(map(str, row)) for row in rows)]
    (tmp_path / "bouts.csv").write_text("\n".join(lines))

    def init(number, i):
        folder = tmp_path / f"out{number}" / str(i)
        folder.mkdir(parents=True, exist_ok=True)
        options = ("--annotations=../../bouts.csv", "--sensors=../../raw", "--rate_hz=50")
        return run_here(folder, "init", *options, "--output=mine.py")

    def prepare(number, i):
        sensors = ("--dataset=sensors", "--from=../../raw", "--windows=mine_feats")
        folder = tmp_path / f"out{number}" / str(i)
        return run_here(folder, "prepare", *sensors, "--to=mine_feats")

    def both(*which):
        assert init(*which).returncode == prepare(*which).returncode == 0

    both("", 0)
    feats = contents(tmp_path / "out" / "0" / "mine_feats")
    assert len(feats) == 7
    for number, i in kills(both, num_kills):
        folder = tmp_path / f"out{number}" / str(i)
        is_configured = (folder / "mine.py").exists()
        done = init(number, i)
        assert done.returncode == (2 if is_configured else 0), done.stderr  # for it exists
        assert prepare(number, i).returncode == 0
        assert contents(folder / "mine_feats") == feats and not hidden(folder)
        assert load_config(folder / "mine.py").model.input_dim > 0
        assert len(load_split(folder / "mine_split.csv")) == 6


@many
def test_pages(tmp_path, num_kills):
    """Each report replaces one about other detections."""
    pytest.importorskip("jinja2", reason="pages need the extra 'report'")
    names = ("run", "jump")
    for name, blur_sec in (("a", 0.3), ("b", 1.5)):
        scored = made_up(10, names=names, blur_sec=blur_sec)
        save_detections(tmp_path / f"{name}.json", scored.detections)
    save_annotations(tmp_path / "truth.json", Annotations(scored.videos, names))

    def report(number, i):
        source = ("--ground_truth=truth.json", f"--detections={'ab'[i % 2]}.json")
        done = run_here(tmp_path, "report", *source, "--output=pages/report.html")
        assert done.returncode == 0, done.stderr

    def page():
        text = (tmp_path / "pages" / "report.html").read_text(encoding="utf-8")
        return re.sub("Written [-0-9]+ [0-9:]+ by", "", text)

    pages = []
    for i in range(2):
        report("", i)
        pages.append(page())
    assert pages[0] != pages[1]
    for number, i in kills(report, num_kills):
        assert page() in pages
        report(number, i)
        assert page() == pages[i % 2] and not hidden(tmp_path)
