"""Training folders of strangers: a model is ours, whole and finite, or it is told; no code runs."""

import io
import json
import math
import pathlib
import shutil
import zipfile

import h5py
import keras
import numpy as np
import pytest

from keras_actionformer import ActionFormer
from keras_actionformer.errors import UserError
from keras_actionformer.presets.runs import load_model, run_scores
from keras_actionformer.training.config import run_config

OLD = pathlib.Path(__file__).parents[1] / "older_files"


@pytest.fixture
def run(tmp_path):
    shutil.copytree(OLD / "run", tmp_path / "run")
    return tmp_path / "run"


def change_archive(run, change):
    """Changes the entries of a run's model, a dict of bytes; its checksums are right again."""
    path = run / "model.keras"
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def another_class(entries):
    """As a file that asks Keras for a function of Python's."""
    config = {"module": "os", "class_name": "system", "config": "id", "registered_name": None}
    entries["config.json"] = json.dumps(config).encode()


def a_lambda(entries):
    config = json.loads(entries["config.json"])
    code = {"class_name": "__lambda__", "config": {"value": "code", "defaults": None}}
    config["config"]["class_names"] = code
    entries["config.json"] = json.dumps(config).encode()


def more_settings(entries):
    config = json.loads(entries["config.json"])
    config["config"]["__class__"] = "x"
    entries["config.json"] = json.dumps(config).encode()


def wrong_setting(entries):
    config = json.loads(entries["config.json"])
    config["config"]["n_head"] = [2]
    entries["config.json"] = json.dumps(config).encode()


def weights(change):
    def change_entries(entries):
        content = io.BytesIO(entries["model.weights.h5"])
        with h5py.File(content, "r+") as file:
            names = []
            file.visititems(lambda n, item: names.append(n) if hasattr(item, "shape") else None)
            change(file, next(name for name in names if len(file[name].shape) == 3))
        entries["model.weights.h5"] = content.getvalue()

    return change_entries


def not_a_number(file, name):
    file[name][0] = np.nan


def stored_elsewhere(file, name):
    shape = file[name].shape
    del file[name]
    file.create_dataset(name, shape, "f4", external=[("/etc/passwd", 0, 4 * math.prod(shape))])


def linked_elsewhere(file, name):
    del file[name]
    file[name] = h5py.ExternalLink("/etc/passwd", "/v")


def another_shape(file, name):
    del file[name]
    file[name] = np.zeros((1, 2), np.float32)


@pytest.mark.parametrize(
    "change,text",
    [
        (another_class, 'model.keras is damaged \\(it holds "system", another kind of Keras model'),
        (a_lambda, "class_names must be a list of names"),
        (more_settings, "'__class__', which ActionFormer does not know"),
        (wrong_setting, "model.keras: n_head must be a whole number"),
        (lambda entries: entries.update({"../x.py": b"1"}), "has an entry '../x.py'"),
        (lambda entries: entries.pop("config.json"), "it lacks 'config.json'"),
        (lambda entries: entries.update({"config.json": b"[" * 10**5}), "nests"),
        (weights(not_a_number), "is NaN or infinite somewhere: its training diverged"),
        (weights(stored_elsewhere), "takes numbers from other files"),
        (weights(linked_elsewhere), "leads to another file"),
        (weights(another_shape), "model.keras is damaged"),
    ],
)
def test_models_that_are_not_ours(run, change, text):
    change_archive(run, change)
    for open_model in (ActionFormer.from_preset, lambda run: load_model(run, ActionFormer)):
        with pytest.raises(UserError, match=text):
            open_model(run)


def test_another_keras_model(run):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.save(run / "model.keras")
    with pytest.raises(UserError, match='it holds "Sequential", another kind of Keras model'):
        ActionFormer.from_preset(run)


@pytest.mark.parametrize(
    "section,name,value,text",
    [
        ("data", "prefix", False, "config.json: data.prefix cannot be False"),
        ("data", "downsample_rate", "2", "config.json: data.downsample_rate cannot be '2'"),
        ("data", "window_steps", [1], "config.json: data.window_steps cannot be"),
        ("data", "feats", {}, "config.json: data.feats must be a text or several, not {}"),
        ("data", "stride_frames", "x", "config.json: data.stride_frames must be a finite number"),
        ("model", "n_head", [], "config.json: model.n_head cannot be"),
        ("postprocess", "min_score", 2.0, "config.json: min_score must be at most 1"),
        ("train", "__class__", 1, "There is no setting 'train.__class__'"),
        ("train", "epochs", 10**30, "config.json: train.epochs cannot be 1000000000"),
        ("train", "batch_size", None, "config.json: train.batch_size cannot be None"),
        ("data", "fps", float("inf"), "config.json: data.fps cannot be inf"),
    ],
)
def test_settings_that_are_wrong(run, section, name, value, text):
    config = json.loads((run / "config.json").read_text())
    config[section][name] = value
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=text):
        run_config(run)


def test_scores_that_are_none(run):
    assert run_scores(run)["average"] >= 0
    (run / "evaluation.json").write_text('{"tiou_thresholds": 3}')
    with pytest.raises(UserError, match="evaluation.json' is damaged .*; evaluate the run again"):
        run_scores(run)
