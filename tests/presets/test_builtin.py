"""The built-in architectures against what their authors publish."""

import pytest

from helpers.published_facts import FACTS, differences
from keras_actionformer.presets.builtin import ARCHITECTURES


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_figures_and_settings_are_the_published_ones(name):
    built_in, facts = ARCHITECTURES[name], FACTS[name]
    assert tuple(built_in.scores.values()) == facts.scores
    assert built_in.num_parameters == facts.num_parameters
    settings = built_in.model | built_in.grid | built_in.postprocess
    assert settings.keys() <= facts.settings.keys()
    assert not differences(settings, facts), facts.source
