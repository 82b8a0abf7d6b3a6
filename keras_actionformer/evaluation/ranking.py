"""Ground truth and detections of many videos, in the order in which a score visits them.

NumPy only; all arithmetic is float64.
"""

import dataclasses

import numpy as np

from keras_actionformer.data.instances import usable_instances
from keras_actionformer.errors import UserError
from keras_actionformer.evaluation.matching import match_detections, overlapping_pairs

# === Records of videos become flat arrays ===


def flatten(ground_truth, detections):
    """Joins the videos.

    Args:
      ground_truth: sequence of `annotations.Video`.
      detections: dict, video id to `Detections`.

    Returns:
      Seven arrays, the first arguments of `rank`.

    Raises:
      UserError: the ground truth holds a video twice.
    """
    ids = [video.video_id for video in ground_truth]
    place = {video_id: index for index, video_id in enumerate(ids)}
    if len(place) != len(ids):
        twice = max(ids, key=ids.count)
        raise UserError(f"The ground truth holds video {twice!r} twice; every id must be unique.")
    found = list(detections.values())
    return (
        *_flat(range(len(ids)), ground_truth),
        *_flat([place.get(video_id, -1) for video_id in detections], found),
        np.concatenate([np.zeros(0), *(one.scores for one in found)]),
    )


def _flat(indices, records):
    """Joins the rows of all records: (index of the record (N,), segments_sec (N, 2), labels (N,)).

    The empty first part makes the result float64 or int64, and right for no records at all.
    """
    lengths = np.array([len(record.labels) for record in records], dtype=np.int64)
    return (
        np.repeat(np.array(indices, dtype=np.int64), lengths),
        np.concatenate([np.zeros((0, 2)), *(record.segments_sec for record in records)]),
        np.concatenate([np.zeros(0, np.int64), *(record.labels for record in records)]),
    )


def common_class_names(detections, class_names):
    """Returns the class names to print, after checking that all sides number classes alike.

    Args:
      detections: dict, video id to `Detections`.
      class_names: sequence of str, or None.

    Raises:
      UserError: a class has another name in the detections of a video.
    """
    common = tuple(class_names or ())
    for video_id, found in detections.items():
        if found.class_names is common or not len(found):
            continue
        for label, (ours, theirs) in enumerate(zip(common, found.class_names)):
            if ours != theirs:
                raise UserError(
                    f"The detections of video {video_id!r} call class id {label} {theirs!r}, "
                    f"elsewhere it is {ours!r}. Number the classes alike, for example with "
                    "load_detections(path, class_names=annotations.class_names)."
                )
        common = max(common, found.class_names, key=len)
    return common


# === Flat arrays become ranks ===


@dataclasses.dataclass(frozen=True, eq=False)
class Ranked:
    """Detections by class, then by falling score (later rows first); ground truth by class, video.

    Attributes:
      class_ids: int (classes,), rising; "class" below is a place in it.
      rows: int (M,), the given rows of the detections, those of other classes left out.
      classes: int (M,), the class of each.
      pairs: (detection (R,), ground truth (R,), tIoU (R,)), see `overlapping_pairs`.
      ranks: int (M,), place of each by score among those of its class and video.
      count: int (M,), ground truths of its class and video.
      ground_truth_per_class: int (classes,).
      usable: bool (N,), the given ground truths that count.
      gt_rows: int (G,), the given rows of those that count, in the order that `pairs` means.
    """

    class_ids: np.ndarray
    rows: np.ndarray
    classes: np.ndarray
    pairs: tuple
    ranks: np.ndarray
    count: np.ndarray
    ground_truth_per_class: np.ndarray
    usable: np.ndarray
    gt_rows: np.ndarray

    def hits(self, tiou):
        """bool (M,), the detections that find an instance at a tIoU threshold."""
        return self.matches(tiou) >= 0

    def matches(self, tiou):
        """int (M,), the place in `gt_rows` of the instance that each finds at a tIoU threshold.

        -1 is none. Each takes the best that those of higher scores have left, so that leaving out
        detections below any score changes no other one.
        """
        return match_detections(*self.pairs, tiou, len(self.rows), len(self.gt_rows))


def rank(
    gt_videos,
    gt_segments_sec,
    gt_labels,
    videos,
    segments_sec,
    labels,
    scores,
    min_tiou,
    all_classes=False,
    keep_all=False,
):
    """Brings ground truth and detections into order, and lists which overlap.

    Args:
      gt_videos: int (N,), index of the video of each ground-truth instance, 0 or larger.
      gt_segments_sec: float (N, 2), start and end in seconds.
      gt_labels: int (N,), class ids.
      videos: int (M,), index of the video of each detection; -1 for a video that is not in the
        ground truth.
      segments_sec: float (M, 2), start and end in seconds.
      labels: int (M,), class ids.
      scores: float (M,).
      min_tiou: float, the least tIoU threshold that `hits` will be asked for.
      all_classes: bool, True keeps detections of classes that the ground truth has not.
      keep_all: bool, every ground truth counts, also repeated and short ones.

    Returns:
      `Ranked`.

    Raises:
      UserError: no ground truth counts.
    """
    usable = np.ones(len(gt_labels), bool)
    if not keep_all:
        usable = usable_instances(gt_videos, gt_segments_sec, gt_labels)
    if not usable.any():
        raise UserError(
            f"The ground truth holds no instance to find ({len(gt_videos)} annotated, "
            f"{len(gt_videos) - usable.sum()} of them shorter than a millisecond or repeated). "
            "Choose a subset with annotations."
        )
    class_ids = np.unique(gt_labels[usable])
    if all_classes:
        class_ids = np.union1d(class_ids, labels)
    gt_classes = np.searchsorted(class_ids, gt_labels[usable])
    classes = np.searchsorted(class_ids, labels)
    known = class_ids[np.minimum(classes, len(class_ids) - 1)] == labels

    rows = np.flatnonzero(known)
    rows = rows[np.lexsort((-rows, -scores[rows], classes[rows]))]
    # A group is one class in one video; group 0 of a class is "no such video" and holds no ground
    # truth.
    num_groups = 2 + max(np.max(gt_videos), np.max(videos, initial=-1))
    groups = classes[rows] * num_groups + videos[rows] + 1
    gt_groups = gt_classes * num_groups + gt_videos[usable] + 1
    gt_rows = np.argsort(gt_groups, kind="stable")
    gt_groups = gt_groups[gt_rows]

    first = np.searchsorted(gt_groups, groups, side="left")
    count = np.searchsorted(gt_groups, groups, side="right") - first
    return Ranked(
        class_ids=class_ids,
        rows=rows,
        classes=classes[rows],
        pairs=overlapping_pairs(
            segments_sec[rows], gt_segments_sec[usable][gt_rows], first, count, min_tiou
        ),
        ranks=_rank_in_group(groups),
        count=count,
        ground_truth_per_class=np.bincount(gt_classes, minlength=len(class_ids)),
        usable=usable,
        gt_rows=np.flatnonzero(usable)[gt_rows],
    )


def _rank_in_group(groups):
    """Place of each row (0 = first) among the rows of the same group; int (M,)."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    ranks = np.empty(len(groups), dtype=np.int64)
    ranks[order] = np.arange(len(groups)) - np.searchsorted(ordered, ordered, side="left")
    return ranks
