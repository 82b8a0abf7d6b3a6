"""Going on with a run: which settings it has, and which may be others than before."""

from keras_actionformer.errors import UserError, counted
from keras_actionformer.network.architecture import Architecture
from keras_actionformer.presets.runs import CHECKPOINT, CONFIG
from keras_actionformer.training.config import first_difference, run_config, to_plain
from keras_actionformer.training.epochs import num_epochs
from keras_actionformer.training.transfer import with_network, with_preset

_WHEN_IT_ENDS = ("epochs", "stop_after", "patience")  # settings of `train`; no past step depends


def resumed_config(config, workdir):
    """The settings that a run goes on with: those that it has, but for when it ends.

    Args:
      config: `ConfigDict`, what is asked for; where it names no preset, that of the run is meant.
      workdir: `pathlib.Path`; it may be empty, or hold a run that was stopped in its first epoch.

    Returns:
      `ConfigDict`.

    Raises:
      UserError: another setting differs from the run's.
    """
    if not (workdir / CONFIG).exists() and not (workdir / CHECKPOINT).exists():
        return config
    ran = run_config(workdir)
    preset = ran["train"]["preset"]
    if preset and not config.train.preset:
        config = with_preset(config, preset)
    if not (workdir / CHECKPOINT).exists():
        return config
    if preset:
        config = with_network(config, Architecture(**ran["model"]))
    asked = to_plain(config)
    ends = {name: asked["train"][name] for name in _WHEN_IT_ENDS}
    different = first_difference({**ran, "train": {**ran["train"], **ends}}, asked)
    if different:
        name, old, new = different
        raise UserError(
            f"{workdir} was trained with {name}={old!r}, but the configuration now says {new!r}: "
            "use the settings it was started with, or another --workdir. (What may change is "
            f"{', '.join(f'train.{name}' for name in _WHEN_IT_ENDS)}.)"
        )
    if ends["epochs"] != ran["train"]["epochs"]:
        print(
            f"{workdir} goes on with train.epochs={ends['epochs']} instead of "
            f"{ran['train']['epochs']}: from its next step the learning rate is that of a training "
            "which has had as many from the start."
        )
    return config


def check_epochs_left(workdir, num_done, train):
    """Raises UserError where a run has more epochs behind it than it is to have.

    Args:
      workdir: `pathlib.Path`.
      num_done: int.
      train: section `train` of the configuration.
    """
    if num_done > num_epochs(train):
        raise UserError(
            f"{workdir} has {counted(num_done, 'epoch')} behind it, more than the "
            f"{num_epochs(train)} that it "
            "is now asked to have: let train.warmup_epochs, train.epochs and train.stop_after be "
            "as they were or allow more, or use another --workdir."
        )
