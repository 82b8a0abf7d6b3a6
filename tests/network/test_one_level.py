"""A pyramid of one level, `backbone_arch=(2, 2, 0)`: the paper's table 3c without a pyramid.

`test_export` exports it.
"""

import numpy as np

from helpers.models import CHANNELS, small_model, to_numpy
from helpers.small_run import eagerly
from keras_actionformer.training.optimizers import AdamW


def test_one_level_trains_a_step_and_detects():
    model = small_model(backbone_arch=(1, 1, 0))
    assert model.strides == (1,)
    assert model.architecture.regression_range == ((0, 10000),)
    rng = np.random.default_rng(0)
    x = {
        "feats": rng.standard_normal((2, 20, CHANNELS), "float32"),
        "mask": np.arange(20) < np.array([[20], [13]]),
    }
    y = {
        "segments": np.array([[[2, 9]], [[3.5, 11]]], "float32"),
        "labels": np.array([[0], [2]], "int32"),
    }
    outputs = model(x)
    assert to_numpy(outputs["logits"]).shape == (2, 20, 3)
    before = [to_numpy(variable) for variable in model.trainable_variables]
    model.compile(AdamW(1e-2), jit_compile=False)
    with eagerly():
        assert np.isfinite(model.train_on_batch(x, y, return_dict=True)["loss"])
    after = [to_numpy(variable) for variable in model.trainable_variables]
    changed = [(a != b).any() for a, b in zip(before, after, strict=True)]
    assert np.mean(changed) > 0.9
    found = model.detect([x["feats"][0], x["feats"][1, :1]])
    assert len(found[0]) > 0 and np.isfinite(found[0].segments_sec).all()
