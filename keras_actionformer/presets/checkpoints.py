"""Checkpoints of other programs, the reference and OpenTAD, as models of ours."""

import dataclasses
import functools
import pathlib

from keras_actionformer.data.torch_files import list_keys
from keras_actionformer.errors import UserError
from keras_actionformer.presets import opentad, opentad_files, reference
from keras_actionformer.presets.builtin import ARCHITECTURES, built_in_arguments


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was found, with the settings of its network.

    Attributes:
      path: `pathlib.Path`.
      arguments: dict, of `ActionFormer`.
      ema: bool, whether the averaged weights are taken and not the last.
      is_opentad: bool, its settings are those of OpenTAD, or else of the reference.
    """

    path: pathlib.Path
    arguments: dict
    ema: bool
    is_opentad: bool

    @property
    def source(self):
        """What was taken: the file's name and which of its weights."""
        _, which = reference.which_weights(self.path, self.ema)
        return f"{self.path.name}, {which} weights"

    def load(self, model):
        """Gives a model the weights; returns what `load_reference_parameters` does.

        Raises:
          UserError: see there, or the weights are those of the other program.
        """
        parameters = reference.read_parameters(self.path, self.ema)
        if reference.is_opentad(parameters) != self.is_opentad:
            programs = ("OpenTAD", "the reference")
            theirs, ours = programs if not self.is_opentad else programs[::-1]
            raise UserError(
                f"'{self.path}' holds the weights of a network of {theirs}, but the configuration "
                f"is one of {ours}: both compute other numbers; pass config= (--config= of "
                "`convert`) with the one it was trained with."
            )
        names = reference.reference_name
        if self.is_opentad:
            fpn_type = model.architecture.fpn_type
            names = functools.partial(opentad.parameter_name, fpn_type=fpn_type)
        return reference.load_reference_parameters(model, parameters, names)


def open_checkpoint(path, ema=True, config=None):
    """Finds a checkpoint and its settings.

    Args:
      path: `pathlib.Path`, a checkpoint or the folder of an experiment.
      ema: bool, take the averaged weights and not the last; a training of OpenTAD that has averaged
        none has its last ones taken.
      config: str or path of the configuration, or a built-in name; None: what lies beside it.

    Returns:
      `Checkpoint`.

    Raises:
      UserError: there is no checkpoint, no configuration, or one of another network.
    """
    checkpoint, beside = reference.find_checkpoint(path)
    list_keys(checkpoint)  # or tells that this is another kind of file, before anything else
    if config is not None and str(config) in ARCHITECTURES:
        is_opentad = ARCHITECTURES[str(config)].is_opentad
        return Checkpoint(checkpoint, built_in_arguments(str(config)), ema, is_opentad)
    config = config or beside
    if config is None:
        raise UserError(
            f"'{checkpoint}' does not say what network it is for: put the config.txt or YAML of "
            "its training (of OpenTAD: its log.json) beside it, or pass config= (--config= of "
            "`convert`) with that file or a built-in name."
        )
    config = pathlib.Path(config).expanduser()
    if config.suffix in (".py", ".json"):
        settings = opentad_files.read_config(config)
        ema = ema and opentad.keeps_averages(settings)
        return Checkpoint(checkpoint, opentad.model_arguments(settings), ema, is_opentad=True)
    settings = reference.read_reference_config(config)
    return Checkpoint(checkpoint, reference.model_arguments(settings), ema, is_opentad=False)
