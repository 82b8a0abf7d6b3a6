"""Trains a model from a configuration file, or goes on with a training that was stopped.

  train --config=hapt --workdir=runs/hapt
  train --config=hapt --workdir=runs/hapt --resume
  train --config=mine.py --workdir=runs/long --config.train.epochs=60 --config.seed=1

A configuration is a Python file, or the name of one that comes with this package. A list of these,
and the folder they lie in, end what `keras-actionformer help train` prints; the first lines of each
say how to get its data.
"""

from absl import flags
from ml_collections import config_flags

from keras_actionformer.cli.explain import check_sections
from keras_actionformer.detection.text_table import table
from keras_actionformer.quiet import import_keras
from keras_actionformer.training.config import check_config
from keras_actionformer.training.config_files import built_in_configs, built_in_folder

AFTER_STOP = "go on with the same command and --resume"

_CONFIG = config_flags.DEFINE_config_file(
    "config",
    help_string="Configuration, file or built-in name; --config.section.name=value changes one of "
    "its settings.",
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_RESUME = flags.DEFINE_bool("resume", False, "Go on from the folder's last finished epoch.")
_EVALUATE = flags.DEFINE_bool("evaluate", True, "Score the evaluation subset, if any, at the end.")

flags.mark_flag_as_required("config")


def main():
    config = _CONFIG.value
    check_sections(config)
    check_config(config)  # what is missing is told before Keras, seconds long, is started
    import_keras()
    from keras_actionformer.training.run_scores import check_evaluation, evaluate_workdir
    from keras_actionformer.training.trainer import train

    evaluates = _EVALUATE.value and config.data.eval_subset
    # After the training data, as `inspect` has it: one cause, one sentence.
    before_fit = (lambda: check_evaluation(config)) if evaluates else None
    train(config, _WORKDIR.value, _RESUME.value, before_fit)
    if evaluates:
        print(evaluate_workdir(_WORKDIR.value))


def more_help():
    """What the help ends with: the configurations, at the place where they are on this machine."""
    rows = [("", name, text) for name, text in built_in_configs().items()]
    return f"\nBuilt-in configurations, in {built_in_folder()}:\n{table(rows, ('<',))}"
