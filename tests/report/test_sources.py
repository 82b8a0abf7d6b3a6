"""What is reported on: a run's folder as a training and its evaluation leave it."""

import contextlib
import dataclasses
import json
import shutil

import pytest

from helpers.made_up_scores import made_up
from helpers.programs import run_here
from helpers.small_run import eagerly, small_config, write_data
from keras_actionformer import UserError
from keras_actionformer.report.sources import check_same_ground_truth, results_of_run, short_names


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run, and one that is the same but for what its settings say."""
    from keras_actionformer import train
    from keras_actionformer.training.run_scores import evaluate_workdir

    folder = tmp_path_factory.mktemp("runs")
    write_data(folder)
    with eagerly(), contextlib.chdir(folder):
        train(small_config(folder), "run_0")
        evaluate_workdir("run_0")
    shutil.copytree(folder / "run_0", folder / "run_1")
    settings = json.loads((folder / "run_1" / "config.json").read_text())
    settings["seed"], settings["train"]["epochs"] = 1, 4
    (folder / "run_1" / "config.json").write_text(json.dumps(settings))
    return folder


def test_a_run(runs):
    scored = results_of_run(runs / "run_0")
    assert scored.name == "run_0" and scored.class_names == ("a", "b")
    assert [video.video_id for video in scored.videos] == ["v4", "v5"]
    assert scored.detections.keys() == {"v4", "v5"}
    assert [row["epoch"] for row in scored.log] == [1, 2, 3] and scored.log[0]["loss"] > 0
    assert scored.settings["train"]["epochs"] == 2 and scored.thresholds is None


def test_programs_of_runs(runs):
    pytest.importorskip("jinja2", reason="pages need the extra 'report'")
    done = run_here(runs, "report", "--workdir=run_0")
    assert done.returncode == 0, done.stderr
    text = (runs / "run_0" / "report.html").read_text(encoding="utf-8")
    assert "train.epochs" in text and '"title":"Loss"' in text
    done = run_here(runs, "compare", "--runs=run_0,run_1", "--resamples=100")
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line.split()}
    assert rows["train.epochs"] == ["2", "4"] and rows["seed"] == ["[0]", "[1]"]
    scores = "--runs=run_0/evaluation.json,run_1/evaluation.json"
    done = run_here(runs, "compare", scores)
    assert done.returncode == 0 and "it cannot be told which differences are real" in done.stdout


def test_runs_that_differ_by_their_seed_are_one_recipe(runs):
    shutil.copytree(runs / "run_0", runs / "other_seed")
    settings = json.loads((runs / "run_0" / "config.json").read_text())
    (runs / "other_seed" / "config.json").write_text(json.dumps({**settings, "seed": 5}))
    arguments = "--resamples=100", "--output=both.json"
    done = run_here(runs, "compare", "--runs=run_0,other_seed,run_1", *arguments)
    assert done.returncode == 0, done.stderr
    first, second = json.loads((runs / "both.json").read_text())["compared"]
    assert first["name"] == "run_0 and 1 more run" and first["runs"] == ["run_0", "other_seed"]
    assert second["runs"] == ["run_1"]
    done = run_here(runs, "compare", "--runs=run_0,other_seed", "--resamples=100")
    assert "1 degree of freedom" in done.stdout and "may be chance" in done.stdout


def test_a_run_that_was_not_scored(runs):
    (runs / "run_1" / "detections.json").rename(runs / "elsewhere.json")
    try:
        with pytest.raises(UserError, match="has no detections.json: score it first, with"):
            results_of_run(runs / "run_1")
    finally:
        (runs / "elsewhere.json").rename(runs / "run_1" / "detections.json")


def test_ground_truths_that_differ():
    first, other = made_up(3), made_up(3, seed=1)
    check_same_ground_truth([first, made_up(3, blur_sec=2)])
    with pytest.raises(UserError, match="on different annotations of video 'video_0'"):
        check_same_ground_truth([first, other])
    with pytest.raises(UserError, match="on different videos \\('video_3' is of one alone"):
        check_same_ground_truth([first, made_up(4)])
    renamed = dataclasses.replace(first, class_names=("x", *first.class_names[1:]))
    with pytest.raises(UserError, match="number their classes differently"):
        check_same_ground_truth([first, renamed])


def test_names_are_as_short_as_tells_them_apart(tmp_path):
    assert short_names(["runs/a", "runs/b/"]) == ["a", "b"]
    assert short_names(["x/run", "y/run"]) == ["x/run", "y/run"]
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert short_names([tmp_path / "loop", "y/run"]) == ["loop", "run"]
    with pytest.raises(UserError, match="named twice"):
        short_names(["x/run", "x/run"])
