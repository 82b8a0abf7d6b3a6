"""The package from an empty folder, as where its wheel is all there is.

CI runs these on every Python that the package is for, with the wheel installed and no checkout in
reach; everywhere else they run on the checkout.
"""

import os
import pathlib
import subprocess
import sys

import pytest

import keras_actionformer
from keras_actionformer import (
    default_config,
    list_presets,
    load_config,
    load_detections,
    simulate_dataset,
)
from keras_actionformer.training.config_files import built_in_configs, built_in_folder

HOME = pathlib.Path(keras_actionformer.__file__).parents[1]
SMALL = [f"--config.model.{name}=16" for name in ("embd_dim", "fpn_dim", "head_dim")]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """Runs a verb in an empty folder that its calls share; returns what it prints."""
    folder = tmp_path_factory.mktemp("empty")

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "keras_actionformer", *arguments],
            env={**os.environ, "PYTHONPATH": str(HOME)},
            cwd=folder, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    run.folder = folder
    return run


def test_files_that_are_no_modules():
    assert (HOME / "keras_actionformer" / "py.typed").is_file()
    templates = HOME / "keras_actionformer" / "report" / "templates"
    assert {"page.html.jinja", "page.css", "page.js"} <= {path.name for path in templates.iterdir()}
    assert list_presets("simulated")["simulated"]["has_weights"]
    assert len(built_in_configs()) > 20


@pytest.mark.parametrize("name", sorted(path.stem for path in built_in_folder().glob("*.py")))
def test_configurations_load_by_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert list(load_config(name)) == list(default_config())


def test_programs_tell_what_there_is(program):
    assert keras_actionformer.__version__ in program("--version")
    assert "\n  presets " in program("help")
    assert "\n  thumos14_i3d " in program("help", "train")
    assert "thumos14_i3d  " in program("presets", "thumos*")


@pytest.mark.slow
def test_train_and_detect(program):
    annotations = simulate_dataset(program.folder / "data" / "simulated", num_train=4, num_test=1)
    told = program(
        "train", "--config=simulated", "--workdir=run", "--config.train.epochs=1",
        "--config.train.warmup_epochs=0", *SMALL,
    )  # fmt: skip
    assert "mAP" in told
    told = program(
        "detect", "--preset=simulated", "--feats=data/simulated/feats/test_0000.npy",
        "--output=found.json",
    )  # fmt: skip
    assert "detections" in told
    found = load_detections(program.folder / "found.json")["test_0000"].filter(min_score=0.3)
    num_true = len(annotations.subset("test")[0].labels)
    assert 0.7 * num_true <= len(found) <= 1.3 * num_true
