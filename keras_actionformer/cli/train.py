"""Trains a model from a configuration file.

  train --config=configs/hapt.py --workdir=runs/hapt
  train --config=configs/hapt.py --workdir=runs/hapt --resume
  train --config=configs/hapt.py --workdir=runs/long --config.train.epochs=60 --config.seed=1
"""

from absl import flags
from ml_collections import config_flags

_CONFIG = config_flags.DEFINE_config_file("config", help_string="Configuration file.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_RESUME = flags.DEFINE_bool("resume", False, "Go on from the folder's last finished epoch.")
_EVALUATE = flags.DEFINE_bool("evaluate", True, "Score the evaluation subset at the end.")

flags.mark_flag_as_required("config")


def main():
    from keras_actionformer import trainer

    trainer.train(_CONFIG.value, _WORKDIR.value, _RESUME.value)
    if _EVALUATE.value:
        print(trainer.evaluate_workdir(_WORKDIR.value))
