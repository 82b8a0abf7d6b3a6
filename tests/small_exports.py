"""Detectors so small that exporting one takes seconds, and how to compare what comes out."""

import keras
import numpy as np
from reference_model import to_numpy

from keras_actionformer import ActionFormer, FeatureGrid, PostProcess

CHANNELS = 5
LONGEST = 48
# As long as in training, a step less, longer, and very short: each is padded differently.
LENGTHS = (LONGEST, LONGEST - 1, 61, 3)


def small_model(**changes):
    """A detector with random weights; `changes` are arguments of `ActionFormer`."""
    keras.utils.set_random_seed(2)
    arguments = {
        "input_dim": CHANNELS,
        "num_classes": 3,
        "backbone_arch": (1, 1, 2),
        "embd_dim": 8,
        "fpn_dim": 8,
        "head_dim": 8,
        "n_head": 2,
        "n_mha_win_size": 5,
        "max_seq_len": LONGEST,
        "cls_prior_prob": 0.3,
        "postprocess": PostProcess(max_seg_num=50, pre_nms_topk=60),
        "grid": FeatureGrid(25, 4, 16),
        "class_names": ("run", "jump", "fall"),
    }
    model = ActionFormer(**{**arguments, **changes})
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(to_numpy(variable) + rng.normal(0, 0.3, variable.shape))
    return model


def small_sequences(lengths=LENGTHS, seed=7):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(n, CHANNELS)).astype("float32") for n in lengths]


def ragged_batch(sequences, padding, num_steps=None):
    """`feats` and `num_steps` of sequences in one batch, with a number past their ends."""
    lengths = np.array([len(x) for x in sequences], "int32")
    longest = num_steps or lengths.max()
    feats = np.full((len(sequences), longest, sequences[0].shape[1]), padding, "float32")
    for row, x in enumerate(sequences):
        feats[row, : len(x)] = x
    return {"feats": feats, "num_steps": lengths}


def detect(model, feats, fps=None, duration_sec=None):
    """What Keras detects in a sequence; without a grid of the model's, steps share the duration."""
    grid = model.grid or FeatureGrid(1, duration_sec / len(feats), duration_sec / len(feats))
    return model.detect(feats, fps=fps, duration_sec=duration_sec, grid=grid)


def assert_detects(outputs, row, expected):
    """A row of an export's outputs is what Keras detects, and zeros after that."""
    count = outputs["num_detections"][row]
    assert count == len(expected) > 0
    found = [outputs[f"detection_{name}"][row] for name in ("scores", "classes", "segments")]
    wanted = (expected.scores, expected.labels, expected.segments_sec)
    for x, y, tolerance in zip(found, wanted, (1e-5, 0, 1e-4), strict=True):
        np.testing.assert_allclose(x[:count], y, rtol=0, atol=tolerance)
        assert not x[count:].any()
