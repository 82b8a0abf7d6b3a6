"""Fusion with video scores: a model says when something happens, a video classifier says what.

ActivityNet is scored this way (ActionFormer, arXiv 2202.07925, section 4): the model is trained
on one class, "an action", and every segment it finds is repeated for the best classes of its video,
with the score sqrt(score of the class in the video * score of the segment). From such detections to
the benchmark's numbers:

    annotations = load_annotations("anet.json")
    video_scores = load_video_scores("classifier.json", annotations.class_names)
    detections = fuse_videos(load_detections("one_class.json"), video_scores)
    print(evaluate(annotations.subset("validation"), detections,
                   class_names=annotations.class_names))

The classes of the result are those of the video scores. Naming them when loading brings them into
the order of the ground truth, and naming them again lets `evaluate` refuse another order.
"""

import numbers

import numpy as np
from absl import logging

from keras_actionformer.checks import check_class_names, choice
from keras_actionformer.detection.detections import Detections
from keras_actionformer.errors import UserError, suggest
from keras_actionformer.evaluation.video_scores import check_scores


def fuse_videos(detections, video_scores, num_pred=200, topk=2, rule="sqrt"):
    """Applies `fuse_scores` to many videos.

    Args:
      detections: dict, video id to `Detections`.
      video_scores: `VideoScores` of at least these videos.
      num_pred, topk, rule: see `fuse_scores`.

    Returns:
      dict, video id to `Detections`, in the order of `detections`.

    Raises:
      UserError: a video has no scores, or see `fuse_scores`.
    """
    missing = [video_id for video_id in detections if video_id not in video_scores]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(detections)} videos with detections have no video scores, "
            f"the first is {missing[0]!r}; add their scores or leave these videos out"
            f"{suggest(missing[0], video_scores) or '.'}"
        )
    mixed = sum(len(np.unique(found.labels)) > 1 for found in detections.values())
    if mixed:
        logging.warning(
            "Fusion replaces the classes of the detections, and those of %d videos have several: "
            "a segment that was found for two classes counts twice. Use a model with one class.",
            mixed,
        )
    return {
        video_id: fuse_scores(
            found, video_scores[video_id], num_pred, topk, video_scores.class_names, rule
        )
        for video_id, found in detections.items()
    }


def fuse_scores(detections, video_scores, num_pred=200, topk=2, class_names=(), rule="sqrt"):
    """Repeats the best segments of one video for the best classes of the video.

    A repeated segment has the score sqrt(score of the class in the video * score of the segment),
    or what another `rule` says.
    As in the reference, the labels of the detections do not matter, and the result is ordered by
    class, best class first, then by score; `Detections.top_k` orders it by score alone. Of equal
    scores, the later one counts as the better.

    Example:

    >>> found = Detections([[1.0, 4.5], [2.0, 2.5]], [0.81, 0.16], [0, 0], ("action",))
    >>> print(fuse_scores(found, [0.01, 0.25, 0.64], class_names=("run", "jump", "swim")))
    4 detections
     start_sec    end_sec   score  label
          1.00       4.50  0.7200  swim
          2.00       2.50  0.3200  swim
          1.00       4.50  0.4500  jump
          2.00       2.50  0.2000  jump

    Args:
      detections: `Detections`, M segments; scores 0 or larger.
      video_scores: float (K,), the score of each class in this video, 0 or larger.
      num_pred: int, how many segments are kept at most, 1 or larger.
      topk: int in 1..K, for how many classes each is repeated.
      class_names: sequence of K str, the names of the classes, or empty.
      rule: `"sqrt"`; `"product"`, without the root (OpenTAD for ActivityNet); or
        `"twice_product"` (OpenTAD for HACS), which may pass 1.

    Returns:
      `Detections`, `topk * min(M, num_pred)` of them, whose labels are places in `video_scores`
      and whose names are `class_names`.

    Raises:
      UserError: a score is negative, NaN or infinite, `num_pred` or `topk` is out of range, or the
        number of names is not K.
    """
    choice("rule", rule, *_RULES)
    class_scores = check_scores("video_scores", video_scores)
    class_names = check_class_names(class_names, len(class_scores))
    for name, value, most in (("num_pred", num_pred, None), ("topk", topk, len(class_scores))):
        if not isinstance(value, numbers.Integral) or value < 1 or (most and value > most):
            limit = "1 or larger" if most is None else f"in 1..{most}, the number of classes"
            raise UserError(f"{name} must be a whole number {limit}, but it is {value!r}.")
    if len(detections) and detections.scores.min() < 0:
        raise UserError(
            "The scores of detections must be 0 or larger for fusion, but one is "
            f"{detections.scores.min()}."
        )
    classes = _best(class_scores, topk)
    kept = detections[_best(detections.scores, num_pred)]
    return Detections(
        segments_sec=np.tile(kept.segments_sec, (topk, 1)),
        scores=_RULES[rule](np.outer(class_scores[classes], kept.scores)).ravel(),
        labels=np.repeat(classes, len(kept)),
        class_names=class_names,
    )


_RULES = {"sqrt": np.sqrt, "product": np.asarray, "twice_product": lambda x: 2.0 * x}


def _best(scores, count):
    """Returns the places of the `count` highest scores, best first; int (at most count,)."""
    # Reversed after sorting, as in the reference: the later one of two equal scores comes first.
    return np.argsort(scores, kind="stable")[::-1][:count]
