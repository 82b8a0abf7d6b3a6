"""Scores of actions that are pairs, as the challenge of EPIC-KITCHENS-100 tells them.

An action is a verb with a noun, and its class is called by the ids of both, `"0,21"`. The same
detections are scored three times: as verbs, as nouns and as actions, each by mAP at a tIoU of 0.1,
0.2, ... 0.5 (github.com/epic-kitchens/C2-Action-Detection, EvaluationCode). Unlike in
`evaluation.evaluate`, every annotation counts, also one that repeats another: two things that are
taken at once are the verb "take" twice.

NumPy only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_actionformer.errors import UserError
from keras_actionformer.evaluation.evaluation import evaluate_arrays
from keras_actionformer.evaluation.near_names import check_video_names
from keras_actionformer.evaluation.ranking import flatten
from keras_actionformer.evaluation.result import EvaluationResult

if TYPE_CHECKING:
    from keras_actionformer.data.annotations import Video
    from keras_actionformer.detection.detections import Detections

TIOU_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)
_ACTION = re.compile(r"([0-9]{1,6}),([0-9]{1,6})")


def evaluate_actions(
    ground_truth: Sequence[Video],
    detections: Mapping[str, Detections],
    class_names: Sequence[str],
    tiou_thresholds: Sequence[float] | np.ndarray = TIOU_THRESHOLDS,
) -> dict[str, EvaluationResult]:
    """Evaluates detections of actions at three levels.

    Args:
      ground_truth: sequence of `annotations.Video`, for example
        `load_annotations("annotations_action.json").subset("validation")`.
      detections: dict, video id to `Detections` with class names, such as a `VerbNounModel` finds.
      class_names: sequence of str, those of the ground truth: `"VERB,NOUN"`, both ids.
      tiou_thresholds: sequence of float in (0, 1].

    Returns:
      dict of `"verb"`, `"noun"` and `"action"` to an `EvaluationResult`.

    Raises:
      UserError: a class is called otherwise, the ground truth has no instance or a video twice,
        most videos are written in another way (see `near_names`), or a threshold is out of range.
    """
    check_video_names(ground_truth, detections)
    truth = _pairs("The ground truth", class_names)
    names = {found.class_names for found in detections.values() if len(found)}
    pairs_of = {known: _pairs("The detections", known) for known in names}
    gt_videos, gt_segments, gt_labels, videos, segments, _, scores = flatten(
        ground_truth, detections
    )
    empty = np.zeros((0, 2), np.int64)
    found = [pairs_of[x.class_names][x.labels] for x in detections.values() if len(x)]
    gt_pairs, pairs = truth[gt_labels], np.concatenate([empty, *found])
    results = {}
    for level, place in (("verb", [0]), ("noun", [1]), ("action", [0, 1])):
        both = np.concatenate([gt_pairs, pairs])[:, place]
        ids, labels = np.unique(both, axis=0, return_inverse=True)
        labels = labels.ravel()
        results[level] = evaluate_arrays(
            gt_videos,
            gt_segments,
            labels[: len(gt_labels)],
            videos,
            segments,
            labels[len(gt_labels) :],
            scores,
            tiou_thresholds,
            class_names=[",".join(map(str, row)) for row in ids.tolist()],
            keep_all=True,
        )
    return results


def _pairs(whose, class_names):
    """The ids of verb and noun of classes, int64 (K, 2)."""
    if not class_names:
        raise UserError(f"{whose} must have class names, as '0,21' of the ids of verb and noun.")
    matches = [_ACTION.fullmatch(name) for name in class_names]
    if not all(matches):
        name = class_names[matches.index(None)]
        raise UserError(
            f"{whose} must call actions by the ids of verb and noun, as '0,21', but there is the "
            f"class {name!r:.100}: `prepare --dataset=epic100` writes such annotations, and detect "
            "--verbs --nouns such detections."
        )
    return np.array([[int(id_) for id_ in match.groups()] for match in matches], np.int64)
