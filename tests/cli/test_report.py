"""`report` and `compare`: from files and from runs, and what they say when something is wrong."""

import json

import pytest

from helpers.made_up_scores import made_up
from helpers.programs import run_here
from keras_actionformer import save_annotations, save_detections
from keras_actionformer.cli.pages import write_run_page
from keras_actionformer.data.annotations import Annotations

pytest.importorskip("jinja2", reason="pages need the extra 'report'")

NAMES = ("run", "jump")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    for name, blur_sec in (("a", 0.3), ("b", 1.5)):
        scored = made_up(10, names=NAMES, blur_sec=blur_sec)
        save_detections(folder / f"{name}.json", scored.detections)
    save_annotations(folder / "truth.json", Annotations(scored.videos, NAMES))
    return folder


def test_report_of_files(folder):
    done = run_here(
        folder, "report", "--ground_truth=truth.json", "--detections=a.json", "--output=a.html"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("a.html: ") and "<title>a: what was found" in (
        folder / "a.html"
    ).read_text(encoding="utf-8")


def test_pictures_of_files(folder):
    pytest.importorskip("matplotlib")
    files = ("--ground_truth=truth.json", "--detections=a.json", "--output=a.html")
    done = run_here(folder, "report", *files, "--pictures=drawn", "--picture_format=svg")
    assert done.returncode == 0, done.stderr
    assert "Drew drawn/timelines.svg, drawn/errors.svg" in done.stdout
    assert len(list((folder / "drawn").glob("*.svg"))) == 6  # none of a training


def test_compare_files(folder):
    arguments = ("--ground_truth=truth.json", "--detections=a.json,b.json", "--resamples=200")
    done = run_here(folder, "compare", *arguments, "--per_class", "--output=both.json")
    assert done.returncode == 0, done.stderr
    assert "Found by b.json alone: " in done.stdout and "\njump " in done.stdout
    content = json.loads((folder / "both.json").read_text())
    assert [one["name"] for one in content["compared"]] == ["a.json", "b.json"]
    assert content["num_resamples"] == 200
    done = run_here(folder, "compare", *arguments, "--output=both.html")
    assert "Found by a.json alone" in (folder / "both.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("verb", "arguments", "told"),
    [
        ("report", ["--detections=a.json"], "Give --workdir=DIR, or --ground_truth=FILE and"),
        ("report", ["--workdir=run"], "run is no training folder"),
        ("report", ["--workdir=run", "--output=x.png"], "--output=x.png must end in .html"),
        ("report", ["--workdir=run", "--dark"], "are for pictures: give --pictures=DIR"),
        ("compare", ["--runs=run"], "two or more, with commas between; got 'run'"),
        ("compare", ["--runs=a,b", "--output=x.txt"], "must end in .html or .json"),
        ("compare", ["--runs=a.json,b"], "Files of scores compare with each other alone"),
        ("compare", ["--runs=run,run"], "one of them is named twice"),
        ("compare", ["--detections=a.json,b.json"], "Give --runs=A,B, or --ground_truth=FILE"),
    ],
)
def test_what_is_wrong_is_told(folder, verb, arguments, told):
    done = run_here(folder, verb, *arguments)
    assert done.returncode == 2 and told in done.stderr


def test_a_page_that_cannot_be_written_fails_nothing(tmp_path, caplog, capsys):
    write_run_page(tmp_path)  # no run's folder
    assert "could not be written" in caplog.text and not capsys.readouterr().out
