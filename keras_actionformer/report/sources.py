"""What a report is about: detections, what they are scored against, and what is known of their run.

Does not load Keras.
"""

import dataclasses
import functools
import os
import pathlib

import ml_collections

from keras_actionformer.data.annotations import Video
from keras_actionformer.detection.detections import Detections, load_detections
from keras_actionformer.detection.thresholds import Thresholds
from keras_actionformer.errors import UserError
from keras_actionformer.evaluation.error_analysis import analyze
from keras_actionformer.evaluation.evaluation import TIOU_THRESHOLDS
from keras_actionformer.evaluation.score_thresholds import thresholds_of_best_f1
from keras_actionformer.presets.runs import DETECTIONS, LOG, read_log, run_thresholds
from keras_actionformer.training.config import run_config
from keras_actionformer.training.ground_truth import read_ground_truth


@dataclasses.dataclass(frozen=True, eq=False)
class Scored:
    """Detections of some videos and their ground truth.

    Attributes:
      name: str, what to call it.
      videos: tuple of `Video`, whose actions are the ground truth.
      detections: dict, video id to `Detections`.
      class_names: tuple of str, index = label id of both.
      thresholds: `Thresholds` that the model recommends, or None.
      tiou_thresholds: tuple of float, those of its mAP.
      settings: nested dict, the configuration of the run; None of files.
      log: list of dicts, a row an epoch of the run; empty of files.
    """

    name: str
    videos: tuple[Video, ...]
    detections: dict[str, Detections]
    class_names: tuple[str, ...]
    thresholds: Thresholds | None = None
    tiou_thresholds: tuple[float, ...] = TIOU_THRESHOLDS
    settings: dict | None = None
    log: list[dict] = dataclasses.field(default_factory=list)

    @functools.cached_property
    def used_thresholds(self):
        """`Thresholds`: the recommended ones, else those of the best F1 on these videos."""
        if self.thresholds is not None:
            return self.thresholds
        return thresholds_of_best_f1(self.videos, self.detections, self.class_names)

    @functools.cached_property
    def analysis(self):
        """`ErrorAnalysis` of the detections, at `used_thresholds`."""
        return analyze(
            self.videos,
            self.detections,
            tiou_thresholds=self.tiou_thresholds,
            thresholds=self.used_thresholds,
            class_names=self.class_names or None,
        )


def results_of_run(workdir: str | os.PathLike) -> Scored:
    """The results on its evaluation subset that a training folder keeps.

    Args:
      workdir: str or path.

    Returns:
      `Scored`.

    Raises:
      UserError: it is no training folder, was not evaluated, or a file of it is damaged.
    """
    workdir = pathlib.Path(workdir)
    settings = run_config(workdir)
    if not (workdir / DETECTIONS).exists():
        raise UserError(
            f"{workdir} has no {DETECTIONS}: score it first, with evaluate --workdir={workdir}."
        )
    config = ml_collections.ConfigDict(settings)
    annotations, video_scores = read_ground_truth(config)
    return Scored(
        name=os.path.basename(os.path.realpath(workdir)),
        videos=annotations.subset(config.data.eval_subset),
        detections=load_detections(workdir / DETECTIONS, annotations.class_names),
        class_names=annotations.class_names,
        # Scores that a fusion makes are other ones than those of the model.
        thresholds=None if video_scores else run_thresholds(workdir),
        tiou_thresholds=tuple(config.tiou_thresholds),
        settings=settings,
        log=read_log(workdir) if (workdir / LOG).exists() else [],
    )


def results_of_files(annotations, subset, detections, threshold=None):
    """Detections of a file, scored against annotations.

    Args:
      annotations: `Annotations`.
      subset: str, which of their videos.
      detections: str or path of a file, see `load_detections`.
      threshold: float, the score from which on detections count; or None.

    Returns:
      `Scored`.
    """
    return Scored(
        name=pathlib.Path(detections).stem,
        videos=annotations.subset(subset),
        detections=load_detections(detections, annotations.class_names),
        class_names=annotations.class_names,
        thresholds=None if threshold is None else Thresholds(threshold),
    )


def check_same_ground_truth(scored):
    """Raises UserError where several `Scored` (a list) were not scored on the same instances."""
    first, *others = scored
    for other in others:
        if other.class_names != first.class_names:
            raise UserError(
                f"{first.name} and {other.name} number their classes differently: compare their "
                "files of detections, with --ground_truth and --detections."
            )
        ours, theirs = map(_instances, (first, other))
        if ours.keys() != theirs.keys():
            video_id = sorted(ours.keys() ^ theirs.keys())[0]
            raise UserError(
                f"{first.name} and {other.name} were scored on different videos ({video_id!r} is "
                "of one alone), so their scores do not compare: evaluate both on one subset."
            )
        for video_id, instances in ours.items():
            if instances != theirs[video_id]:
                raise UserError(
                    f"{first.name} and {other.name} were scored on different annotations of video "
                    f"{video_id!r}: evaluate both on one file of annotations."
                )


def _instances(scored):
    return {
        video.video_id: (video.segments_sec.tolist(), video.labels.tolist())
        for video in scored.videos
    }


def short_names(paths):
    """What to call several paths: their last parts, or as many parts as tell them apart."""
    # Not `Path.resolve`, which raises a RuntimeError at links that lead to each other.
    parts = [pathlib.Path(os.path.realpath(path)).parts for path in paths]
    for count in range(1, max(map(len, parts)) + 1):
        names = ["/".join(one[-count:]) for one in parts]
        if len(set(names)) == len(names):
            return names
    raise UserError(f"{', '.join(map(str, paths))}: one of them is named twice.")
