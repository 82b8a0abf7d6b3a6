"""Options that take the place of a trained model's settings: --config.postprocess.NAME=VALUE."""

import dataclasses

from absl import flags

from keras_actionformer.detection.postprocess import PostProcess

_DEFINE = {
    bool: flags.DEFINE_bool,
    float: flags.DEFINE_float,
    int: flags.DEFINE_integer,
    str: flags.DEFINE_string,
}
_FUSION = {"num_pred": int, "topk": int}


def define_settings():
    """Defines them, spelled as `train` does. They are not listed in a verb's help.

    Returns:
      dict of absl's holders by section and name.
    """
    sections = {
        "postprocess": {field.name: field.type for field in dataclasses.fields(PostProcess)},
        "fusion": _FUSION,
    }
    return {
        section: {
            name: _DEFINE[kind](f"config.{section}.{name}", None, "See docs/settings.md.")
            for name, kind in kinds.items()
        }
        for section, kinds in sections.items()
    }


def given_settings(holders):
    """The values of those that the command line has, `{section: {name: value}}`."""
    values = {
        section: {name: flag.value for name, flag in flags.items() if flag.value is not None}
        for section, flags in holders.items()
    }
    return {section: found for section, found in values.items() if found}
