"""Turns a checkpoint of the reference PyTorch implementation, or of OpenTAD, into a preset.

  convert --checkpoint=ckpt/thumos_i3d_reproduce --output=presets/thumos14
  convert --checkpoint=epoch_034.pth.tar --config=thumos_i3d.yaml --output=presets/thumos14
  convert --checkpoint=epoch_034.pth.tar --config=thumos14_i3d --output=presets/thumos14
  convert --checkpoint=exps/thumos/actionformer_i3d/gpu1_id0 --output=presets/thumos14

--checkpoint is a .pth.tar or .pth file, or the folder of an experiment, whose last epoch is taken.
PyTorch is not needed and no code in a file is run, nor in a configuration of OpenTAD. Every
parameter is listed with its shape and the weight it went to; one that is missing, left over or of
the wrong shape is an error.
"""

import math
import pathlib

from absl import flags

from keras_actionformer.cli.classes import read_class_names
from keras_actionformer.detection.text_table import table
from keras_actionformer.quiet import import_keras

_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "A .pth.tar or .pth file, or the folder of an experiment.", required=True
)
_CONFIG = flags.DEFINE_string(
    "config",
    None,
    "Its config.txt or YAML file (of OpenTAD: log.json or the configuration), where none lies "
    "beside it, or the name of a built-in preset.",
)
_OUTPUT = flags.DEFINE_string("output", None, "Folder of the preset to write.", required=True)
_EMA = flags.DEFINE_bool("ema", True, "Take the averaged weights, not the last ones.")
_CLASSES = flags.DEFINE_string(
    "classes", None, "Text file with the name of a class in each line, in the order of their ids."
)
_DESCRIPTION = flags.DEFINE_string("description", "", "One sentence for the preset.")


def main():
    import_keras()
    from keras_actionformer.model import ActionFormer
    from keras_actionformer.presets.checkpoints import open_checkpoint
    from keras_actionformer.presets.folder import check_target

    check_target(_OUTPUT.value)
    path = pathlib.Path(_CHECKPOINT.value).expanduser()
    checkpoint = open_checkpoint(path, _EMA.value, _CONFIG.value)
    arguments = checkpoint.arguments
    if _CLASSES.value:
        arguments = {**arguments, "class_names": read_class_names(_CLASSES.value)}
    model = ActionFormer(**arguments)
    report = checkpoint.load(model)
    print(table([(name, str(shape), path) for name, shape, path in report], ("<", "<16", "<")))
    model.save_to_preset(
        _OUTPUT.value,
        description=_DESCRIPTION.value,
        source=checkpoint.source,
    )
    numbers = sum(math.prod(shape) for _, shape, _ in report)
    print(
        f"All {len(report)} parameters ({numbers:,} numbers) of {checkpoint.source}, found their "
        "place."
    )
    print(f"Wrote {_OUTPUT.value}.")
