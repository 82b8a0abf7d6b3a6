"""Tells how large a model is, what it computes, how far it sees, and which level is for what.

  summary --config=thumos14_i3d
  summary --workdir=runs/thumos14 --num_steps=4608
  summary --preset=simulated --measure

Multiply-adds are those of one sequence of --num_steps steps, by default as long as in training,
counted so that they are those of the ActionFormer paper: of convolutions, projections, attention
(in windows as the reference computes it) and normalizations. What a point sees are the steps whose
features matter to it; seconds are told where the timing is known. --measure runs `detect` on
made-up features of that length, for its time and memory on this machine.
"""

import json

from absl import flags
from ml_collections import config_flags

from keras_actionformer.errors import UserError
from keras_actionformer.files import write_json
from keras_actionformer.quiet import import_keras

_CONFIG = config_flags.DEFINE_config_file(
    "config",
    help_string="Configuration, file or built-in name; --config.section.name=value changes one of "
    "its settings.",
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Instead: the folder of a training run.")
_PRESET = flags.DEFINE_string(
    "preset", None, "Instead: a preset (name, folder or hf://...), or a reference checkpoint."
)
_NUM_STEPS = flags.DEFINE_integer(
    "num_steps", None, "Steps of the sequence; by default those of training.", lower_bound=1
)
_MEASURE = flags.DEFINE_bool("measure", False, "Measures time and memory of `detect`, too.")
_JSON = flags.DEFINE_string("json", None, "JSON file for the numbers; - prints them as JSON.")


def main():
    if [bool(flag.value) for flag in (_CONFIG, _WORKDIR, _PRESET)].count(True) != 1:
        raise UserError("Give either --config=FILE.py or --workdir=DIR or --preset=NAME.")
    import_keras()
    from keras_actionformer.benchmark.summary import summarize

    summary = summarize(_model(), _NUM_STEPS.value, _MEASURE.value)
    if _JSON.value == "-":
        print(json.dumps(summary.to_dict(), indent=1))
        return
    print(summary)
    if _JSON.value:
        write_json(_JSON.value, summary.to_dict())


def _model():
    """The `ActionFormer`; weights do not matter, and built-in ones may not be there."""
    from keras_actionformer.model import ActionFormer
    from keras_actionformer.presets.builtin import list_presets
    from keras_actionformer.presets.fetching import fetched
    from keras_actionformer.presets.runs import load_model
    from keras_actionformer.training.config import check_sections

    if _WORKDIR.value:
        with fetched(_WORKDIR.value) as workdir:
            return load_model(workdir, ActionFormer)
    if _PRESET.value:
        known = list_presets().get(_PRESET.value, {"has_weights": True})
        return ActionFormer.from_preset(_PRESET.value, load_weights=known["has_weights"])
    check_sections(_CONFIG.value)
    data, grid = _CONFIG.value.data, None
    if data.stride_frames is not None:
        stride_frames = data.stride_frames * data.downsample_rate
        grid = {
            "fps": data.fps,
            "stride_frames": stride_frames,
            "window_frames": data.window_frames,
        }
    return ActionFormer(**_CONFIG.value.model.to_dict(), grid=grid)
