"""Evaluating a run with other settings or on another subset, and the thresholds it is given.

The run is that of an earlier version in `tests/older_files`, which knew of none of this.
"""

import json
import pathlib
import shutil

import keras
import numpy as np
import pytest

from helpers.programs import run_here
from keras_actionformer import ActionFormer, Thresholds, load_annotations, recommend_thresholds
from keras_actionformer.detection.postprocess import PostProcess
from keras_actionformer.presets import runs
from keras_actionformer.presets.runs import load_model
from keras_actionformer.training import run_scores
from keras_actionformer.training.config import run_config

OLD = pathlib.Path(__file__).parents[1] / "older_files"


@pytest.fixture(scope="module")
def model():
    """The run's model, which each test gives other settings: to trace it takes seconds."""
    return load_model(OLD / "run", ActionFormer)


@pytest.fixture
def folder(tmp_path, model, monkeypatch):
    """A folder with the run and its data, in which `evaluate` uses `model` for it."""
    shutil.copytree(OLD, tmp_path / "old")
    monkeypatch.chdir(tmp_path / "old")  # its configuration names the data from there
    monkeypatch.setattr(run_scores, "load_model", lambda *arguments: model)
    model.postprocess, model.thresholds = PostProcess(max_seg_num=20), None
    return tmp_path / "old"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def evaluate(folder, *arguments):
    done = run_here(folder, "evaluate", "--workdir=run", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_told(done, *texts):
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert all(text in done.stderr for text in texts), done.stderr


def test_evaluate_names_the_video_of_which_nothing_can_be_computed(folder):
    path = sorted((folder / "data" / "feats").iterdir())[-1]
    np.save(path, np.full_like(np.load(path), 3e38, "float32"))
    done = run_here(folder, "evaluate", "--workdir=run")
    text = f"Features of {path.stem!r}: The network computes NaN or infinite numbers of feats"
    assert_told(done, text)


def test_a_run_finds_its_data_from_any_folder(folder, monkeypatch):
    """Its relative paths lead from where it was started, also if both have moved."""
    settings = run_config(folder / "run")
    assert settings["data"]["feats"] == "data/feats"
    runs.write_config(folder / "run", settings)
    assert run_config(folder / "run") == settings
    expected = evaluate(folder)
    moved = folder.rename(folder.with_name("moved"))
    (elsewhere := moved.parent / "elsewhere").mkdir()
    # Data of the same name that are not the run's.
    shutil.copytree(moved / "data" / "feats", elsewhere / "data" / "feats")
    (elsewhere / "data" / "annotations.json").write_text("{}")
    monkeypatch.chdir(elsewhere)
    assert run_config(moved / "run")["data"]["feats"] == str(moved / "data" / "feats")
    done = run_here(elsewhere, "evaluate", "--workdir=../moved/run")
    assert done.returncode == 0, done.stderr
    assert done.stdout == expected.replace("run/report.html", "../moved/run/report.html")
    # The folder of the run alone was taken elsewhere: from the current folder, as ever.
    (moved / "run").rename(elsewhere / "run")
    assert run_config("run") == settings


def test_other_settings_change_scores_and_no_file(folder, model):
    before = contents(folder / "run")
    # Of what is as it was nothing is told.
    settings = ("nms_sigma=0.2", "max_seg_num=7", "min_score=0.01")
    options = [f"--config.postprocess.{setting}" for setting in settings]
    told = evaluate(folder, *options, "--output=scores.json")
    assert told.startswith(
        "Changed: postprocess.nms_sigma 0.5 -> 0.2, postprocess.max_seg_num 20 -> 7.\n"
    )
    assert "run keeps the evaluation.json of its own settings and subset." in told
    assert contents(folder / "run") == before
    assert json.loads((folder / "scores.json").read_text())["num_detections"] == 14
    # With its own settings it is evaluated as without any.
    model.postprocess = PostProcess(max_seg_num=20)
    told = evaluate(folder, "--config.postprocess.max_seg_num=20")
    assert "Changed" not in told and "keeps" not in told


def test_another_subset_changes_no_file(folder):
    before = contents(folder / "run")
    assert "run keeps the evaluation.json" in evaluate(folder, "--subset=training")
    assert contents(folder / "run") == before
    assert "keeps" not in evaluate(folder, "--subset=TEST")


@pytest.mark.parametrize(
    "option, texts",
    [
        ("--config.postprocess.nms_sigma=0", ["nms_sigma must be above 0"]),
        ("--config.postprocess.nms_method=fast", ["nms_method must be 'soft', 'improved'"]),
        ("--config.fusion.topk=3", ["--config.fusion.topk changes nothing without --video_scores"]),
    ],
)
def test_wrong_settings(folder, option, texts):
    assert_told(run_here(folder, "evaluate", "--workdir=run", option), *texts)


def test_thresholds_are_found_stored_and_used(folder, model):
    before = contents(folder / "run")
    told = evaluate(folder, "--tune_threshold", "--subset=training", "--output=scores.json")
    stored = keras.saving.load_model(folder / "run" / "model.keras")
    videos = load_annotations(folder / "data" / "annotations.json").subset("training")
    config = run_scores.ml_collections.ConfigDict(run_scores.run_config("run"))
    found = run_scores.detect_subset(stored, config, videos)
    expected = recommend_thresholds(videos, found, 2)
    assert stored.thresholds == expected
    # 4 and 5 instances are too few for thresholds of their own.
    assert expected == Thresholds(expected.common, [None, None]) and 0 < expected.common < 1
    assert f"of the best F1 on 'training' is {expected}; run/model.keras keeps it.\n" in told
    assert f"Scores of {expected} or more, tIoU 0.50: precision " in told
    assert "\nclass   score   truth   found   right precision  recall      F1\n" in told
    after = contents(folder / "run")
    assert after.pop("model.keras") != before.pop("model.keras") and after == before
    for ours, theirs in zip(stored.weights, model.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    # From now on an evaluation tells them, and keeps what it tells.
    model.thresholds = stored.thresholds
    assert f"Scores of {expected} or more" in evaluate(folder)
    above = json.loads((folder / "run" / "evaluation.json").read_text())["above_thresholds"]
    assert above["classes"][0]["threshold"] == expected.common
    assert "Scores of 0.25 or more" in evaluate(folder, "--score_threshold=0.25")


def test_what_cannot_be_tuned(folder):
    before = contents(folder / "run")
    tune = ("evaluate", "--workdir=run", "--tune_threshold")
    assert_told(run_here(folder, *tune), "no validation subset", "with --subset")
    done = run_here(folder, *tune, "--subset=training", "--config.postprocess.nms_sigma=0.4")
    assert_told(done, "for the settings that the model has: leave out --config.postprocess")
    done = run_here(folder, *tune, "--subset=training", "--score_threshold=0.4")
    assert_told(done, "Give either --score_threshold")
    scores = {"results": {f"v{i}": [0.9, 0.1] for i in range(6)}, "class": ["a", "b"]}
    (folder / "scores.json").write_text(json.dumps(scores))
    done = run_here(folder, *tune, "--subset=training", "--video_scores=scores.json")
    assert_told(done, "not for those that come of a fusion")
    assert contents(folder / "run") == before


def test_thresholds_of_a_preset(folder, monkeypatch):
    monkeypatch.setattr(run_scores, "load_model", runs.load_model)
    common = ("evaluate", "--preset=preset", "--ground_truth=data/annotations.json",
              "--feats=data/feats")  # fmt: skip
    done = run_here(folder, *common, "--subset=training", "--tune_threshold")
    assert done.returncode == 0, done.stderr
    metadata = json.loads((folder / "preset" / "metadata.json").read_text())
    threshold = metadata["thresholds"]["common"]
    assert f"is {threshold:g}; preset/metadata.json keeps it." in done.stdout
    done = run_here(folder, *common, "--config.postprocess.nms_method=none")
    assert "Changed: postprocess.nms_method soft -> none.\n" in done.stdout
    assert f"Scores of {threshold:g} or more" in done.stdout
    done = run_here(folder, *common, "--subset=training", "--tune_threshold", "--preset=simulated")
    assert_told(done, "'simulated' is no folder of a preset or of a run")


def test_thresholds_of_a_file_of_detections(folder):
    """They are told, and nobody is there to keep them."""
    common = (
        "evaluate",
        "--ground_truth=data/annotations.json",
        "--detections=run/detections.json",
    )
    before = contents(folder / "run")
    done = run_here(folder, *common, "--tune_threshold")
    assert done.returncode == 0, done.stderr
    assert "Scores of " in done.stdout and "\nclass   score   truth" in done.stdout
    assert contents(folder / "run") == before
    done = run_here(folder, *common, "--config.postprocess.nms_sigma=0.4")
    assert_told(done, "changes nothing without a model of --workdir or --preset")
