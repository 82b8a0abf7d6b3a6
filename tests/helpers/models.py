"""Models to test with: a small one with random weights, and those of golden files."""

import keras
import numpy as np

from helpers.golden_files import group
from keras_actionformer.data.grid import FeatureGrid
from keras_actionformer.detection.postprocess import PostProcess
from keras_actionformer.model import ActionFormer
from keras_actionformer.network.blocks import LayerScale
from keras_actionformer.presets.reference import load_reference_parameters, model_arguments

CHANNELS = 5  # of the features of a small model
LONGEST = 48  # its max_seq_len


def reference_model(golden, **overrides):
    """The model of a golden file, with the parameters under `param/`."""
    model = ActionFormer(**{**model_arguments(golden["config_json"]), **overrides})
    load_reference_parameters(model, group(golden, "param/"))
    return model


def without_stochastic_depth(layer):
    """Sets every drop rate to 0, as the files with training steps do; scales stay."""
    if isinstance(layer, LayerScale):
        layer.drop.rate = 0.0
    for child in layer._layers:
        without_stochastic_depth(child)


def to_numpy(x):
    """A tensor of any backend as a NumPy array."""
    return keras.ops.convert_to_numpy(x)


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
        "thresholds": {"common": 0.45, "per_class": (0.4, None, 0.625)},
    }
    model = ActionFormer(**{**arguments, **changes})
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(to_numpy(variable) + rng.normal(0, 0.3, variable.shape))
    return model
