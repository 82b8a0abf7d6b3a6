"""What features tell of themselves: written, read, used, and not to be contradicted."""

import dataclasses
import json

import numpy as np
import pytest

from helpers.programs import run_here
from helpers.small_run import small_config, write_data
from keras_actionformer.data.features import FeatureFiles
from keras_actionformer.data.grid import FeatureGrid, Timing
from keras_actionformer.data.sidecars import (
    Sidecar,
    read_sidecar,
    sidecar_path,
    with_own_timing,
)
from keras_actionformer.errors import UserError
from keras_actionformer.training.experiment import Experiment

SIDECAR = Sidecar(25.0, 4, 16, 12.5, 312, {"name": "motion"}, {"file": "v.mp4"})


def write(folder, name="v.npy", sidecar=SIDECAR):
    folder.mkdir(exist_ok=True)
    np.save(folder / name, np.ones((75, 3), np.float32) * np.arange(75)[:, None])
    if sidecar is not None:
        sidecar.save(folder / name)
    return folder / name


def test_written_and_read(tmp_path):
    path = write(tmp_path, "v_rgb.npy")
    assert sidecar_path(path) == tmp_path / "v_rgb.json"
    assert read_sidecar(path) == SIDECAR
    features = FeatureFiles(tmp_path, suffix="_rgb.npy")
    assert features.sidecar("v").grid == FeatureGrid(25, 4, 16)
    assert features.first_sidecar() == SIDECAR


def test_features_without_one(tmp_path):
    path = write(tmp_path, sidecar=None)
    features = FeatureFiles(tmp_path)
    assert read_sidecar(path) is None and features.first_sidecar() is None
    sidecar_path(path).write_text('{"fps": 25}')  # somebody else's
    assert features.sidecar("v") is None


@pytest.mark.parametrize(
    "change, text",
    [
        ({"fps": 0}, "fps must be above 0, but it is 0"),
        ({"stride_frames": "4"}, "stride_frames must be a finite number"),
        ({"fps": "25"}, "fps must be a finite number, but it is '25'"),
        ({"num_frames": 0}, "num_frames must be a whole number from 1 up"),
        ({"duration_sec": -1}, "duration_sec must be above 0"),
        ({"encoder": []}, "encoder must be an object"),
        ({"strides": 4}, "'strides', which Sidecar does not know; did you mean 'stride_frames'?"),
        ({"version": 2}, "is of version 2, but version 1 is read here"),
    ],
)
def test_damaged(tmp_path, change, text):
    path = write(tmp_path)
    content = json.loads(sidecar_path(path).read_text())
    sidecar_path(path).write_text(json.dumps(content | change))
    with pytest.raises(UserError) as error:
        read_sidecar(path)
    assert text in str(error.value) and "v.json" in str(error.value)


def test_a_field_lacks(tmp_path):
    path = write(tmp_path)
    content = json.loads(sidecar_path(path).read_text())
    del content["fps"]
    sidecar_path(path).write_text(json.dumps(content))
    with pytest.raises(UserError, match="is damaged: .*'fps'"):
        read_sidecar(path)


def test_streams_of_unlike_timing(tmp_path):
    write(tmp_path / "rgb")
    write(tmp_path / "flow", sidecar=dataclasses.replace(SIDECAR, stride_frames=8))
    features = FeatureFiles([tmp_path / "rgb", tmp_path / "flow"])
    with pytest.raises(UserError, match="stride_frames=8.* that of '.*rgb.*' is 4; streams of one"):
        features.sidecar("v")


def test_videos_take_the_rate_of_their_features(tmp_path):
    from keras_actionformer import Video

    write(tmp_path)
    write(tmp_path, "w.npy", sidecar=None)
    none = np.zeros((0, 2)), np.zeros(0, np.int64)
    videos = [Video("v", "training", None, 30.0, *none), Video("w", "training", 9.0, 30.0, *none)]
    features, timing = FeatureFiles(tmp_path), Timing(4, 16)
    found = with_own_timing(videos, features, timing, "{name}")
    assert [(v.fps, v.duration_sec) for v in found] == [(25.0, 12.5), (30.0, 9.0)]
    with pytest.raises(UserError, match=r"has fps=25, .* but data.fps is 30; correct it or leave"):
        with_own_timing(videos, features, dataclasses.replace(timing, fps=30), "data.{name}")
    # A rate that was typed with fewer digits is no other one.
    ntsc = dataclasses.replace(SIDECAR, fps=30000 / 1001)
    ntsc.check("Feature file", fps=29.97)
    with pytest.raises(UserError):
        ntsc.check("Feature file", fps=30)


# === In the programs ===


@pytest.fixture
def data(tmp_path):
    """A data set whose features tell their timing, a feature a second."""
    write_data(tmp_path)
    for path in (tmp_path / "feats").glob("*.npy"):
        num_steps = len(np.load(path))
        Sidecar(25.0, 25, 25, float(num_steps), 25 * num_steps).save(path)
    return tmp_path


def test_inspect_needs_no_timing(data):
    options = ["--annotations=annotations.json", "--feats=feats"]
    done = run_here(data, "inspect", *options, "--json=found.json")
    found = json.loads((data / "found.json").read_text())
    assert not found["errors"], done.stdout
    done = run_here(data, "inspect", *options, "--stride_frames=50")
    assert done.returncode == 1
    assert "has stride_frames=25, as the .json file beside it says, but" in done.stdout
    assert "data.stride_frames of the configuration is 50" in done.stdout


def test_init_needs_no_timing(data):
    done = run_here(
        data, "init", "--annotations=annotations.json", "--feats=feats",
        "--output=mine.py",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = (data / "mine.py").read_text()
    assert "config.data.stride_frames = 25" in text and "window_frames = 25" in text


def test_a_training_needs_no_timing(data):
    config = small_config(data)
    annotations = Experiment(config).read_annotations()
    model = Experiment(config).build_model(annotations)
    assert model.grid == FeatureGrid(25, 25, 25)
    assert {video.fps for video in annotations.videos} == {25.0}
    annotations, _ = Experiment(config).read_ground_truth()
    assert {video.fps for video in annotations.videos} == {25.0}
    config.data.stride_frames = 50
    with pytest.raises(UserError, match="data.stride_frames of the configuration is 50; correct"):
        Experiment(config).read_annotations()
    # Of features that tell nothing it is one frame.
    for path in (data / "feats").glob("*.json"):
        path.unlink()
    assert Experiment(small_config(data)).timing == Timing(1.0, 1.0)
