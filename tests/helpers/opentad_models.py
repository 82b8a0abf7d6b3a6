"""Models of golden files that OpenTAD has computed."""

import functools

from helpers.golden_files import group
from keras_actionformer.model import ActionFormer
from keras_actionformer.presets.opentad import architecture_arguments, parameter_name
from keras_actionformer.presets.reference import load_reference_parameters


def opentad_model(golden, **overrides):
    """The model of a golden file, with the parameters under `param/`."""
    arguments = architecture_arguments(golden["config_json"])
    model = ActionFormer(**{**arguments, **overrides})
    parameters = group(golden, "param/")
    parameters.pop("rpn_head.loss_normalizer")
    names = functools.partial(parameter_name, fpn_type=model.architecture.fpn_type)
    load_reference_parameters(model, parameters, names)
    return model
