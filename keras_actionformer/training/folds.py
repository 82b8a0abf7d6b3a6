"""Cross-validation: a training for each fold, scored on the videos that it has not seen."""

import dataclasses
import pathlib

import numpy as np

from keras_actionformer.datasets.splits import save_split, split_videos
from keras_actionformer.detection.text_table import table
from keras_actionformer.errors import UserError
from keras_actionformer.files import write_json
from keras_actionformer.folder_lock import alone_in
from keras_actionformer.presets.runs import EVALUATION, run_scores
from keras_actionformer.training.config import check_config
from keras_actionformer.training.devices import find_devices
from keras_actionformer.training.experiment import Experiment
from keras_actionformer.training.run_scores import evaluate_workdir
from keras_actionformer.training.trainer import train

SCORES = "folds.json"
_TRAINING, _HELD_OUT = "training", "held out"


@dataclasses.dataclass(frozen=True)
class FoldScores:
    """The scores of all folds; `str` makes a table of them.

    Attributes:
      average_mean_ap: dict of fold to float in 0..100, mAP on average over the tIoU thresholds.
    """

    average_mean_ap: dict[str, float]

    @property
    def mean(self) -> float:
        """Mean over the folds."""
        return float(np.mean(list(self.average_mean_ap.values())))

    @property
    def std(self) -> float:
        """Standard deviation over the folds, of a sample of them."""
        return float(np.std(list(self.average_mean_ap.values()), ddof=1))

    def __str__(self):
        rows = [("fold", "mAP"), *((k, f"{v:.2f}") for k, v in self.average_mean_ap.items())]
        scores = self.average_mean_ap.values()
        return (
            f"{table(rows)}\n\nAverage mAP {self.mean:.2f}, standard deviation {self.std:.2f} over "
            f"{len(rows) - 1} folds ({min(scores):.2f} to {max(scores):.2f})."
        )


def make_folds(videos, num_folds=None, groups=None, seed=0):
    """Shares videos out over folds.

    Args:
      videos: sequence of `Video`.
      num_folds: int, 2 or more; None for a fold a group.
      groups: dict of video id to what keeps it together with others, such as a subject; or None.
      seed: int.

    Returns:
      dict of fold to list of the ids of its videos, those to hold out.

    Raises:
      UserError: there are too few videos or groups, or a video is in no group.
    """
    if groups is not None:
        lacking = [video.video_id for video in videos if not groups.get(video.video_id)]
        if lacking:
            raise UserError(
                f"The table says of {len(lacking)} videos nothing in the column to leave out by, "
                f"first of {lacking[0]!r}."
            )
    if num_folds is None:
        fold_of = {video.video_id: groups[video.video_id] for video in videos}
    else:
        names = [f"fold_{i + 1}" for i in range(num_folds)]
        shares = dict.fromkeys(names, 1 / num_folds)
        fold_of = split_videos(videos, shares, groups, seed)
    folds = {}
    for video_id, fold in sorted(fold_of.items(), key=lambda item: item[1]):
        folds.setdefault(fold, []).append(video_id)
    if len(folds) < 2:
        raise UserError(f"There is only the fold {next(iter(folds))!r}; two are the least.")
    return folds


def train_folds(
    config,
    workdir,
    num_folds=None,
    groups=None,
    resume=False,
    progress=print,
    around_fit=None,
    devices=1,
):
    """Trains and scores a model for each fold, in a folder of its own.

    The videos are those of the training, validation and evaluation subsets together; each is held
    out, and scored, once. Settings are the same for all folds, so that scores tell how well such a
    training does on new videos. No fold has a validation subset, which would leave less to learn.

    Args:
      config: `ConfigDict`, see `default_config`.
      workdir: str or path; gets a folder a fold, `<fold>_split.csv` and `folds.json`.
      num_folds, groups: see `make_folds`.
      resume: bool, go on where an interrupted call stopped; folds that are scored stay.
      progress: function of one str, told before and after each fold.
      around_fit, devices: see `train`.

    Returns:
      `FoldScores`.

    Raises:
      UserError: see `make_folds` and `train`.
    """
    workdir = pathlib.Path(workdir)
    check_config(config)
    if find_devices(devices, config.train).part[1] > 1:
        raise UserError("Folds are trained on one host; on several, train each by itself.")
    annotations = Experiment(config).read_annotations()
    videos = annotations.subset(_subsets(config.data))
    folds = make_folds(videos, num_folds, groups, config.seed)
    scores = {}
    with alone_in(workdir, "training", "--workdir"):
        for i, (fold, held_out) in enumerate(folds.items(), start=1):
            progress(
                f"{fold} ({i} of {len(folds)}): {len(held_out)} of {len(videos)} videos held out"
            )
            split = workdir / f"{fold}_split.csv"
            save_split(
                split,
                {v.video_id: _HELD_OUT if v.video_id in held_out else _TRAINING for v in videos},
            )
            folder = workdir / fold
            if not (resume and (folder / EVALUATION).exists()):
                train(
                    _of_fold(config, split), folder, resume, around_fit=around_fit, devices=devices
                )
                evaluate_workdir(folder)
            scores[fold] = run_scores(folder)["average"]
            write_json(workdir / SCORES, scores, indent=1)
            progress(f"{fold}: average mAP {scores[fold]:.2f}")
    return FoldScores(scores)


def _subsets(data):
    """All subsets that a configuration names, each once."""
    train = [data.train_subset] if isinstance(data.train_subset, str) else data.train_subset
    return tuple(dict.fromkeys([*train, *filter(None, (data.val_subset, data.eval_subset))]))


def _of_fold(config, split):
    config = config.copy_and_resolve_references()
    config.data.split = str(split)
    config.data.train_subset, config.data.eval_subset = _TRAINING, _HELD_OUT
    config.data.val_subset = ""
    return config
