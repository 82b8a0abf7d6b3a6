"""The average precision of ranked detections, and the tIoU thresholds it is averaged over.

NumPy only.
"""

import numpy as np

from keras_actionformer.errors import UserError

# The thresholds THUMOS14 is scored at, the default everywhere.
TIOU_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)


def checked_tiou_thresholds(tiou_thresholds):
    """tIoU thresholds as float64 (thresholds,), or UserError where one is not in (0, 1]."""
    thresholds = np.atleast_1d(np.asarray(tiou_thresholds, dtype=np.float64))
    in_range = (thresholds > 0) & (thresholds <= 1)
    if thresholds.ndim != 1 or not len(thresholds) or not in_range.all():
        raise UserError(
            "tiou_thresholds must be one or more numbers above 0 and at most 1, got "
            f"{thresholds.tolist()}."
        )
    return thresholds


def average_precision(hits, num_ground_truth, norm=None):
    """Area under the interpolated precision-recall curve.

    Args:
      hits: bool (..., M), True where a detection is a true positive, by falling score.
      num_ground_truth: int, instances of this class, 1 or larger.
      norm: float, counts each hit `norm / num_ground_truth` times in the precision, so that classes
        with few and with many instances can be compared: the normalized AP of Hoiem et al. (ECCV
        2012). None counts it once.

    Returns:
      float (...), in 0..1; 0 without detections.

    Example: precision is 1 at the first hit and 2/3 at the second; two of four instances are found.

    >>> float(average_precision(np.array([True, False, True]), 4))   # (1 + 2/3) / 4
    0.41666666666666663
    """
    found = np.cumsum(hits, axis=-1)
    wrong = np.arange(1, hits.shape[-1] + 1) - found
    right = found if norm is None else found * (norm / num_ground_truth)
    precision = right / (right + wrong)
    envelope = np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]
    # Recall rises by 1 / num_ground_truth at each hit and nowhere else.
    return np.sum(envelope * hits, axis=-1) / num_ground_truth
