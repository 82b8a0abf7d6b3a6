"""Summaries: the paper's table of multiply-adds, and parts, levels and texts by hand."""

import json

import numpy as np
import pytest

from helpers.models import small_model
from keras_actionformer import ActionFormer, FeatureGrid, UserError, summarize

# The paper's table 3b: billions of multiply-adds of 2304 steps, by the window of the attention.
PUBLISHED = {None: 45.6, 9: 45.2, 19: 45.3, 25: 45.4, 37: 45.5, -1: 57.8}


@pytest.mark.parametrize("window, published", PUBLISHED.items())
def test_multiply_adds_are_those_of_the_paper(window, published):
    changes = {"backbone_type": "conv"} if window is None else {"n_mha_win_size": window}
    model = ActionFormer.from_preset("thumos14_i3d", load_weights=False, **changes)
    first_line = str(summarize(model)).splitlines()[0]
    assert first_line.endswith(f"; {published} billion multiply-adds for 2304 steps")


def test_parts_of_the_paper_s_network():
    model = ActionFormer.from_preset("thumos14_i3d", load_weights=False)
    summary = summarize(model)
    assert summary.num_parameters == 29_251_612 and summary.num_steps == 2304
    # Two convolutions of 3 taps without bias, 2048 -> 512 -> 512, each with gains and biases.
    assert summary.parameters["embedding"] == 3 * 512 * (2048 + 512) + 2 * 2 * 512
    # Of each of 7 blocks: 512 -> 2048 -> 512 with biases, and a norm and a scale.
    mlp = 2 * 4 * 512**2 + 5 * 512 + 3 * 512
    assert summary.parameters["MLP"] == 7 * mlp
    assert [level.stride for level in summary.levels] == [1, 2, 4, 8, 16, 32]
    assert [(level.shortest, level.longest) for level in summary.levels] == [
        (0, 8), (8, 16), (16, 32), (32, 64), (64, 128), (128, None)
    ]  # fmt: skip
    assert summary.step_sec is None  # each video has a frame rate of its own


def test_what_is_told():
    model = small_model(grid=FeatureGrid(25, 5, 10), n_mha_win_size=(3, 5, -1))
    told = str(summarize(model, num_steps=10))
    assert told.splitlines()[0].endswith("billion multiply-adds for 10 steps (2 s)")
    assert "1 step (0.2 s)" in told and "all steps" in told and "1.6 s and more" not in told
    assert "8 to 16" not in told and "1.6 to 3.2 s" in told
    assert "steps and more" in str(summarize(small_model(grid=None)))


def test_receptive_fields_are_told():
    # One embedding convolution, one stem block and heads of three convolutions: 1 + 1 + 2 + 3 at
    # level 0 with windows of 5, on either side.
    level = summarize(small_model()).levels[0]
    assert (level.window, level.sees_before, level.sees_after) == (5, 7, 7)


def test_measuring(monkeypatch):
    model, lengths = small_model(), []
    monkeypatch.setattr(model, "detect", lambda feats, **_: lengths.append(len(feats[0])))
    summary = summarize(model, num_steps=12, measure=True)
    assert set(lengths) == {12} and summary.measured.median < 1000
    assert "detect on 12 steps (1.92 s) took 0 ms here" in str(summary)
    assert json.loads(json.dumps(summary.to_dict()))["measured"]["num_steps"] == 12


def test_lengths_that_are_none():
    with pytest.raises(UserError, match="num_steps must be a whole number from 1 up"):
        summarize(small_model(), num_steps=-1)
    assert np.isfinite(summarize(small_model(force_upsampling=True), 7).num_multiply_adds)
