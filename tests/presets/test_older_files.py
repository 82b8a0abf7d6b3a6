"""What earlier versions have written opens, and detects the same.

The files were written when all modules of the package still lay in one folder: a run of
`small_config` (`run/`, evaluated, on the data in `data/`), what the same run held after four of its
nine epochs (`stopped/`, without its model), a preset of its model, and a model with several
streams, resizing, a position embedding and a feature pyramid (`streams.keras`).
`detections.npz` holds features and what that version detected in them.
"""

import csv
import json
import pathlib
import shutil

import keras
import ml_collections
import numpy as np
import pytest

from keras_actionformer import ActionFormer, train
from keras_actionformer.detection.postprocess import PostProcess
from keras_actionformer.network.architecture import Architecture
from keras_actionformer.presets.runs import load_model
from keras_actionformer.training.config import run_config
from keras_actionformer.training.run_scores import evaluate_workdir

OLD = pathlib.Path(__file__).parents[1] / "older_files"


@pytest.fixture(scope="module")
def old():
    with np.load(OLD / "detections.npz") as file:
        return dict(file)


def assert_detects_the_same(model, feats, old, name):
    found = model.detect(feats)
    assert len(found) == len(old[f"{name}/scores"]) > 0
    np.testing.assert_allclose(found.segments_sec, old[f"{name}/segments_sec"], atol=1e-4)
    np.testing.assert_allclose(found.scores, old[f"{name}/scores"], atol=1e-5)
    np.testing.assert_array_equal(found.labels, old[f"{name}/labels"])


@pytest.mark.parametrize(
    "opened",
    [
        lambda: load_model(OLD / "run", ActionFormer),
        lambda: keras.saving.load_model(OLD / "run" / "model.keras"),
        lambda: ActionFormer.from_preset(OLD / "run"),
        lambda: ActionFormer.from_preset(OLD / "preset"),
    ],
    ids=["run", "keras file", "run as preset", "preset"],
)
def test_models_detect_the_same(opened, old):
    model = opened()
    assert model.class_names == ("a", "b") and model.grid.fps == 1
    assert model.thresholds is None
    assert_detects_the_same(model, old["feats"], old, "run")


def test_a_model_of_several_streams_detects_the_same(old):
    model = keras.saving.load_model(OLD / "streams.keras")
    assert_detects_the_same(model, old["both"], old, "streams")


def test_a_preset_is_saved_as_it_was(tmp_path):
    ActionFormer.from_preset(OLD / "preset").save_to_preset(tmp_path / "preset")
    for name in ("config.json", "metadata.json"):
        was, now = (
            json.loads((p / name).read_text()) for p in (OLD / "preset", tmp_path / "preset")
        )
        for later in ("thresholds", "encoder"):
            assert was.pop(later, None) is None and now.pop(later, None) is None
        for part in ("description", "scores", "versions", "weights_sha256"):
            was.pop(part, None), now.pop(part, None)
        if "postprocess" in now:
            _without_settings_of_today(now["postprocess"], was["postprocess"], PostProcess)
        else:
            _without_settings_of_today(now, was, Architecture)
        assert now == was


def _without_settings_of_today(now, was, kind):
    """Takes out what the older file does not have, all of which must have its default."""
    for name in now.keys() - was.keys():
        assert now.pop(name) == getattr(kind, name)


@pytest.fixture
def copies(tmp_path, monkeypatch):
    """The files where a test may write; their configurations name the data from there."""
    shutil.copytree(OLD, tmp_path / "old")
    monkeypatch.chdir(tmp_path / "old")


trains = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="training pipelines are TensorFlow's"
)


@trains
def test_a_run_is_evaluated_and_goes_on(copies):
    scores = json.loads((OLD / "run" / "evaluation.json").read_text())
    found = evaluate_workdir("run").to_dict()
    assert found["average_mean_ap"] == pytest.approx(scores["average_mean_ap"], abs=1e-6)
    # All epochs are done: a model comes back, and nothing is written but what it follows from.
    assert_ends_as_the_old_run("run", atol=1e-7)


@trains
def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(copies):
    assert_ends_as_the_old_run("stopped", atol=1e-4)  # five epochs on another machine
    logs = [list(csv.DictReader(open(f"{run}/log.csv"))) for run in ("stopped", "run")]
    assert [row["epoch"] for row in logs[0]] == [row["epoch"] for row in logs[1]]
    # What it had logged stays. (Later versions log losses of a point, so that the others differ.)
    assert [row["loss"] for row in logs[0][:4]] == [row["loss"] for row in logs[1][:4]]


def assert_ends_as_the_old_run(workdir, atol):
    model = train(ml_collections.ConfigDict(run_config(workdir)), workdir, resume=True)
    expected = load_model(OLD / "run", ActionFormer)
    for a, b in zip(model.weights, expected.weights, strict=True):
        np.testing.assert_allclose(a, b, atol=atol)
