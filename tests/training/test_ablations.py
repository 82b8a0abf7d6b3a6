"""The paper's ablations as variations of one configuration, and the table of them."""

import json
import pathlib
import runpy

import pytest

from keras_actionformer.training.config import architecture_of, lengths_of
from keras_actionformer.training.config_files import load_config

PATH = pathlib.Path(__file__).parents[2] / "configs/ablations.py"
SCRIPT = runpy.run_path(str(PATH))
VARIATIONS = SCRIPT["VARIATIONS"]


@pytest.mark.parametrize("name", VARIATIONS)
def test_a_variation_is_the_best_design_but_for_what_it_names(name):
    best, config = load_config("ablations"), load_config("ablations", variation=name)
    row = VARIATIONS[name]
    for section, named in (("model", row.model), ("data", row.data)):
        ours, theirs = config[section].to_dict(), best[section].to_dict()
        assert {key for key in ours if ours[key] != theirs[key]} <= named.keys()
    settings = architecture_of(config)
    lengths_of(config)
    assert name == "best" or settings != architecture_of(best) or row.data
    levels = name.removeprefix("levels_").split("_")[0]
    assert not name.startswith("levels_") or settings.num_levels == int(levels)


def test_one_command_trains_what_has_no_scores_and_prints_the_table(tmp_path, monkeypatch, capsys):
    commands = []

    def train(command, check):
        commands.append(command)
        folder = tmp_path / command[-1].rpartition("=")[2].rpartition("/")[2]
        write(folder, 0.25)

    def write(folder, average):
        folder.mkdir()
        scores = {"tiou_thresholds": [0.3, 0.5, 0.7], "mean_ap": [0.5, 0.4, 0.3]}
        (folder / "evaluation.json").write_text(json.dumps(scores | {"average_mean_ap": average}))

    write(tmp_path / "best", 0.4)
    monkeypatch.setattr("subprocess.run", train)
    SCRIPT["main"](tmp_path, ["best", "levels_1"])
    (command,) = commands
    assert command[1:5] == ["-m", "keras_actionformer", "train", "--resume"]
    assert command[5] == f"--config={SCRIPT['main'].__globals__['__file__']}:levels_1"
    assert capsys.readouterr().out.splitlines() == [
        "variation               table     0.5     0.7  average   paper",
        "best                  3a to C   40.00   30.00    40.00    66.8",
        "levels_1                   3c   40.00   30.00    25.00    47.6",
    ]
