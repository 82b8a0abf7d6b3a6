"""The built-in architectures against what their authors publish."""

import numpy as np
import pytest

from helpers.published_facts import FACTS, OPENTAD, differences
from helpers.torch_writer import write_checkpoint
from keras_actionformer.presets.builtin import ARCHITECTURES
from keras_actionformer.presets.checkpoints import open_checkpoint


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_figures_and_settings_are_the_published_ones(name):
    built_in, facts = ARCHITECTURES[name], FACTS[name]
    assert tuple(built_in.scores.values()) == facts.scores
    assert built_in.num_parameters == facts.num_parameters
    settings = built_in.model | (built_in.grid or {}) | built_in.postprocess
    assert settings.keys() <= facts.settings.keys()
    assert not differences(settings, facts), facts.source


@pytest.mark.parametrize("name", OPENTAD)
def test_a_checkpoint_of_opentad_opens_by_the_name_of_its_architecture(name, tmp_path):
    """One with its names, as far as these tell the program: all of them is `test_opentad`'s."""
    write_checkpoint(
        tmp_path / "epoch_3.pth",
        {"state_dict": {"module.projection.embed.0.conv.weight": np.zeros((2, 3, 4), "float32")}},
    )
    found = open_checkpoint(tmp_path / "epoch_3.pth", ema=False, config=name)
    assert found.is_opentad and found.arguments["mask_after_relu"]
