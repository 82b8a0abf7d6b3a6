"""The THUMOS14 demo's checkpoint, in every form that it may have: averages are found in each."""

import numpy as np
import pytest

from helpers.golden_files import cases, group, load
from keras_actionformer import ActionFormer
from keras_actionformer.presets.checkpoints import open_checkpoint
from keras_actionformer.presets.reference import read_parameters

OUTPUTS = cases("q_outputs")
# Each checkpoint, with the outputs stored near it.
FORMS = [
    pytest.param(case.values[0], path, id=f"{case.values[0].parent.name}-{path.parent.name}")
    for case in OUTPUTS
    for path in sorted(case.values[0].parent.rglob("*.pth*"))
]


@pytest.mark.parametrize("path, checkpoint", FORMS)
def test_golden_averages_are_found_in_every_form(path, checkpoint):
    stored = group(load(path), "ema/module.")
    opened = open_checkpoint(checkpoint.parent)
    assert opened.source == f"{checkpoint.name}, averaged weights"
    parameters = read_parameters(opened.path, opened.ema)
    assert parameters.keys() == stored.keys()
    for name, value in stored.items():
        np.testing.assert_array_equal(parameters[name], value)


@pytest.mark.parametrize("path", OUTPUTS)
def test_golden_detections_of_the_demo(path):
    golden = load(path)
    folder = next(path.parent.rglob("*.pth.tar")).parent
    model = ActionFormer.from_preset(folder)
    for i, video in enumerate(golden["meta_json"]["videos"]):
        if f"video{i}/segments" not in golden:
            continue
        feats = np.load(next(path.parent.rglob(f"{video['video_id']}.npy")))
        found = model.detect(feats, fps=video["fps"], duration_sec=video["duration"])
        expected = {key: golden[f"video{i}/{key}"] for key in ("segments", "scores", "labels")}
        np.testing.assert_array_equal(found.labels, expected["labels"])
        np.testing.assert_allclose(found.scores, expected["scores"], rtol=0, atol=1e-5)
        np.testing.assert_allclose(found.segments_sec, expected["segments"], rtol=0, atol=1e-4)
        # What the last weights would give.
        assert abs(found.scores - golden[f"video{i}/wrong_scores"]).max() > 1e-3
