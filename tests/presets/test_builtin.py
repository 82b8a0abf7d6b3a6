"""The built-in architectures against what their authors publish."""

import keras
import numpy as np
import pytest

from helpers.opentad_parameters import opentad_parameters
from helpers.published_facts import FACTS, OPENTAD, differences, opentad_model
from helpers.torch_writer import repeated, write_checkpoint
from keras_actionformer import ActionFormer
from keras_actionformer.presets.builtin import ARCHITECTURES


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_figures_and_settings_are_the_published_ones(name):
    built_in, facts = ARCHITECTURES[name], FACTS[name]
    assert tuple(built_in.scores.values()) == facts.scores
    assert built_in.num_parameters == facts.num_parameters
    settings = built_in.model | (built_in.grid or {}) | built_in.postprocess
    assert settings.keys() <= facts.settings.keys()
    assert not differences(settings, facts), facts.source


@pytest.mark.slow
@pytest.mark.parametrize("name", OPENTAD)
def test_a_checkpoint_of_opentad_opens_by_the_name_of_its_architecture(name, tmp_path):
    model = opentad_model(name)
    model["projection"]["arch"] = ARCHITECTURES[name].model.get("backbone_arch", (2, 2, 5))
    levels = model["projection"]["arch"][2] + 1
    model["neck"]["num_levels"] = levels
    model["rpn_head"]["prior_generator"]["strides"] = [2**level for level in range(levels)]
    # One number a parameter: files stay small whatever the size of the network.
    shapes = opentad_parameters(model)
    weights = {f"module.{k}": repeated(i, s) for i, (k, s) in enumerate(shapes.items(), 1)}
    weights["module.rpn_head.loss_normalizer"] = np.array(100)
    write_checkpoint(tmp_path / "epoch_3.pth", {"state_dict": weights})
    opened = ActionFormer.from_preset(tmp_path / "epoch_3.pth", config=name, ema=False)
    assert opened.class_names == ARCHITECTURES[name].class_names
    found = [float(keras.ops.max(variable)) for variable in opened.network_weights]
    scales = [i for i, key in enumerate(shapes, 1) if "rpn_head.scale" in key]
    rest = [i for i, key in enumerate(shapes, 1) if i not in scales]
    rest.remove(list(shapes).index("rpn_head.loss_normalizer") + 1)
    assert sorted(found) == sorted([*rest, max(scales)])
