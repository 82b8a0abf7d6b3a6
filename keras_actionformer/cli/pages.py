"""The page that `train` and `evaluate` write into a run's folder, where Jinja2 is installed."""

import importlib.util
import pathlib

from absl import logging

from keras_actionformer.errors import UserError
from keras_actionformer.files import reason_of
from keras_actionformer.presets.runs import PAGE
from keras_actionformer.report.page import write_page
from keras_actionformer.report.sources import results_of_run


def write_run_page(workdir, place=None):
    """Writes it and says so; what goes wrong is a warning, for the scores are there already.

    Args:
      workdir: str or path.
      place: str or path, where the folder is to its user, if not here.
    """
    if importlib.util.find_spec("jinja2") is None:
        return
    path = pathlib.Path(workdir) / PAGE
    try:
        write_page(path, results_of_run(workdir))
    except UserError as error:
        logging.warning("%s could not be written: %s", path, error)
    except Exception as error:  # a training of hours must not fail in the end, over its picture
        logging.warning("%s could not be written (%s).", path, reason_of(error))
    else:
        print(f"Timelines and errors: {f'{place}/{PAGE}' if place else path}, for any browser.")
