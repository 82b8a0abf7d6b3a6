"""Experiments of OpenTAD: their weights and detections against what its own programs give."""

import dataclasses
import json

import numpy as np
import pytest

from helpers.golden_files import GOLDEN, group, in_opentad_folder, load
from keras_actionformer import ActionFormer
from keras_actionformer.presets.checkpoints import open_checkpoint
from keras_actionformer.presets.opentad import model_arguments
from keras_actionformer.presets.opentad_files import read_config
from keras_actionformer.presets.reference import read_parameters

# The experiment of each stored run: the folder that has logs and checkpoints.
EXPERIMENTS = [
    pytest.param(path, log.parent, id=f"{path.parent.name}-{log.parent.name}")
    for path in sorted(GOLDEN.rglob("j_outputs*.npz"))
    if in_opentad_folder(path)
    for log in sorted(path.parent.rglob("log.json"))
]
CONFIGS = [
    pytest.param(path, id=str(path.relative_to(GOLDEN)))
    for folder in sorted(GOLDEN.glob("o_j*"))
    for path in sorted([*folder.rglob("log*.json"), *folder.rglob("merged_config.*")])
]


def _plain(value):
    """A configuration as JSON has it."""
    return json.loads(json.dumps(value))


def _plain_arguments(arguments):
    return _plain(arguments | {"postprocess": dataclasses.asdict(arguments["postprocess"])})


@pytest.mark.parametrize("path", CONFIGS)
def test_golden_configuration_is_read_as_it_was_merged(path):
    folder = next(p for p in path.parents if (p / "j_outputs.npz").exists())
    stored = load(folder / "j_outputs.npz")["config_json"]
    found = _plain(read_config(path))
    # A training adds the run's folder to the experiment's.
    assert found.pop("work_dir").startswith(stored.pop("work_dir"))
    assert {name: found[name] for name in stored} == stored


@pytest.mark.parametrize("path, folder", EXPERIMENTS)
def test_golden_weights_of_every_checkpoint(path, folder):
    golden = load(path)
    checkpoints = sorted([*(folder / "checkpoint").glob("*.pth"), *path.parent.glob("*.pth")])
    for checkpoint in checkpoints:
        if checkpoint.name == "best.pth":  # of an epoch whose weights are not stored
            continue
        for ema, prefix in ((True, "ema/module."), (False, "sd/module.")):
            parameters, stored = read_parameters(checkpoint, ema), group(golden, prefix)
            stored.pop("rpn_head.loss_normalizer")
            assert parameters.keys() == stored.keys()
            for name, value in stored.items():
                np.testing.assert_array_equal(parameters[name], value)


@pytest.mark.parametrize("path, folder", EXPERIMENTS)
def test_golden_detections_of_an_experiments_folder(path, folder):
    golden = load(path)
    annotations = json.loads(next(path.parent.rglob("anno.json")).read_text())["database"]
    names = next(path.parent.rglob("category_idx.txt")).read_text().split("\n")
    names = [name for name in names if name]
    model = ActionFormer.from_preset(folder, class_names=names)
    _check_detections(model, golden, "ema_out", annotations)
    assert model.provenance["source"].endswith("averaged weights")


def _check_detections(model, golden, outputs, annotations):
    """Every video's detections: those stored, in their order, times and scores to float noise."""
    for i, (video_id, expected) in enumerate(golden[f"{outputs}/results_json"].items()):
        video = annotations[video_id]
        fps = video["frame"] / video["duration"]
        found = model.detect(
            golden[f"in/{i}/feats"].T, fps=fps, duration_sec=video["duration"], batch_size=1
        )
        assert [found.class_names[label] for label in found.labels] == [
            x["label"] for x in expected
        ]
        times = golden[f"{outputs}/sec/{i}/segments"]
        np.testing.assert_allclose(found.segments_sec, times, rtol=0, atol=1e-4)
        np.testing.assert_allclose(found.scores, golden[f"{outputs}/nms/{i}/scores"], atol=1e-5)


@pytest.mark.parametrize("path, folder", EXPERIMENTS)
def test_golden_experiment_opens_from_its_files_one_by_one(path, folder):
    stored = _plain_arguments(model_arguments(load(path)["config_json"]))
    for checkpoint in (folder / "checkpoint").glob("*.pth"):
        opened = open_checkpoint(checkpoint)
        assert _plain_arguments(opened.arguments) == stored
        assert opened.source == f"{checkpoint.name}, averaged weights"
    moved = next(iter(path.parent.glob("*.pth")), None)
    if moved is not None:  # which has no log beside it
        opened = open_checkpoint(moved, ema=False, config=folder / "log.json")
        assert _plain_arguments(opened.arguments) == stored
        assert opened.source == f"{moved.name}, last weights"
