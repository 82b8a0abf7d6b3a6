"""Trains a model from a configuration file, or goes on with a training that was stopped.

  train --config=hapt --workdir=runs/hapt
  train --config=hapt --workdir=runs/hapt --resume
  train --config=hapt --workdir=runs/hapt --resume --config.train.epochs=60
  train --config=mine.py --workdir=runs/mine --preset=runs/hapt
  train --config=mine.py --workdir=runs/folds --folds=5
  train --config=mine.py --workdir=runs/users --leave_one_out=user
  train --config=mine.py --workdir=runs/mine --devices=all

--resume goes on after the last finished epoch, also of a finished run that is to have more of them.
Ctrl-C, SIGTERM and SIGHUP end a training after the step in hand; a second one ends it at once.
--preset starts from the weights of another model and takes over its network; a class that both know
by name keeps what it has learnt.
--devices=N shares each batch out to N GPUs of this machine. train.batch_size is that of all of them
together, a multiple of N: the numbers are those of one.

A configuration is a Python file, or the name of one that comes with this package. A list of these,
and the folder they lie in, end what `keras-actionformer help train` prints; the first lines of each
say how to get its data.
"""

from absl import flags
from ml_collections import config_flags

from keras_actionformer.cli.joining import joined_processes
from keras_actionformer.cli.pages import write_run_page
from keras_actionformer.cli.stopping import StopSignals
from keras_actionformer.data.tables import read_groups
from keras_actionformer.detection.text_table import table
from keras_actionformer.errors import UserError
from keras_actionformer.quiet import import_keras
from keras_actionformer.remote import is_address
from keras_actionformer.training.config import check_config, check_sections
from keras_actionformer.training.config_files import built_in_configs, built_in_folder

GO_ON = "--resume"

_CONFIG = config_flags.DEFINE_config_file(
    "config",
    help_string="Configuration, file or built-in name; --config.section.name=value changes one of "
    "its settings.",
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_RESUME = flags.DEFINE_bool("resume", False, "Go on from the folder's last finished epoch.")
_PRESET = flags.DEFINE_string(
    "preset",
    None,
    "Preset (name, folder or hf://...), run or reference checkpoint whose weights to start from.",
)
_ANY_ENCODER = flags.DEFINE_bool(
    "any_encoder", False, "Takes features of several encoders, or of another than the preset's."
)
_EVALUATE = flags.DEFINE_bool("evaluate", True, "Score the evaluation subset, if any, at the end.")
_FOLDS = flags.DEFINE_integer(
    "folds", None, "Instead of one training: so many, each scored on its part of the videos.",
    lower_bound=2,
)  # fmt: skip
_LEAVE_ONE_OUT = flags.DEFINE_string(
    "leave_one_out", None, "Instead: a training for each value of this column of the annotations' "
    "table, scored on the videos that have it.",
)  # fmt: skip
_GROUP = flags.DEFINE_string(
    "group", None, "For --folds: column of the table, videos with one value stay together."
)
_DEVICES = flags.DEFINE_string(
    "devices", "1", "How many devices (GPUs, where there are some) to train on, or all."
)

flags.mark_flag_as_required("config")


def main():
    with StopSignals() as signals, joined_processes() as is_first:
        _main(signals.deferred, is_first)


def _main(around_fit, is_first):
    config = _CONFIG.value
    if is_address(_WORKDIR.value):
        raise UserError(
            f"--workdir={_WORKDIR.value} is an address, but a training writes its folder step by "
            "step and locks it: name a folder here, and copy it there when it is done; detect, "
            "evaluate, report, export and train --preset open it there."
        )
    check_sections(config)
    if _PRESET.value is not None:
        config.train.preset = _PRESET.value
    config.data.any_encoder |= _ANY_ENCODER.value
    check_config(config)  # what is missing is told before Keras, seconds long, is started
    import_keras()
    from keras_actionformer.training.run_scores import check_evaluation, evaluate_workdir
    from keras_actionformer.training.trainer import train

    if _FOLDS.value or _LEAVE_ONE_OUT.value:
        print(_train_folds(config, around_fit))
        return
    evaluates = _EVALUATE.value and config.data.eval_subset
    # After the training data, as `inspect` has it: one cause, one sentence.
    before_fit = (lambda: check_evaluation(config)) if evaluates else None
    train(
        config,
        _WORKDIR.value,
        _RESUME.value,
        before_fit,
        around_fit=around_fit,
        devices=_devices(),
    )
    if evaluates and is_first:
        print(evaluate_workdir(_WORKDIR.value))
        write_run_page(_WORKDIR.value)


def _train_folds(config, around_fit):
    """Returns the `FoldScores` of what the flags name."""
    from keras_actionformer.training.folds import train_folds

    if _FOLDS.value and _LEAVE_ONE_OUT.value:
        raise UserError("Give --folds=N or --leave_one_out=COLUMN, not both.")
    column, groups = _LEAVE_ONE_OUT.value or _GROUP.value, None
    if column:
        groups = read_groups(config.data.annotations, column, print)
    return train_folds(
        config,
        _WORKDIR.value,
        _FOLDS.value,
        groups,
        _RESUME.value,
        around_fit=around_fit,
        devices=_devices(),
    )


def _devices():
    """What `train` takes as `devices`."""
    value = _DEVICES.value
    return int(value) if value.isascii() and value.isdecimal() else value


def more_help():
    """What the help ends with: the configurations, at the place where they are on this machine."""
    rows = [("", name, text) for name, text in built_in_configs().items()]
    return f"\nBuilt-in configurations, in {built_in_folder()}:\n{table(rows, ('<',))}"
