"""Which detection has found which ground truth: overlap, and one detection for each instance.

NumPy only; all arithmetic is float64.
"""

import numpy as np

# Pairs of detection and ground truth held at a time: bounds the memory of one class in all videos.
_BLOCK_PAIRS = 2_000_000


def temporal_iou(segments, others):
    """Temporal intersection over union, row by row.

    Args:
      segments: float (..., 2), `[start, end]` in any unit.
      others: float (..., 2), `[start, end]` in the same unit.

    Returns:
      float (...): 1 for equal segments, 0 for disjoint or empty ones.

    Example:

    >>> float(temporal_iou(np.array([0.0, 2.0]), np.array([1.0, 4.0])))   # 1 s of 4 s
    0.25
    """
    left = np.maximum(segments[..., 0], others[..., 0])
    right = np.minimum(segments[..., 1], others[..., 1])
    intersection = np.maximum(right - left, 0)
    lengths = (others[..., 1] - others[..., 0]) + (segments[..., 1] - segments[..., 0])
    union = lengths - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)


def overlapping_pairs(segments_sec, gt_segments_sec, first, count, min_tiou):
    """Lists the pairs of a detection and a ground truth of its group that overlap enough.

    Args:
      segments_sec: float (M, 2), the detections.
      gt_segments_sec: float (N, 2), the ground truth, each group in consecutive rows.
      first: int (M,), the first ground truth of the group of each detection.
      count: int (M,), how many ground truths that group has.
      min_tiou: float, pairs below are dropped.

    Returns:
      (detection (R,), ground truth (R,), tIoU (R,)), ordered by detection, then falling tIoU, then
      later ground truth first.
    """
    ends = np.cumsum(count)
    total = ends[-1] if len(ends) else 0
    edges = np.searchsorted(ends, np.arange(0, total, _BLOCK_PAIRS), side="right")
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    for start, stop in zip(edges, [*edges[1:], len(ends)]):
        pair_det = np.repeat(np.arange(start, stop), count[start:stop])
        place_in_group = ends[start] - count[start] + np.arange(len(pair_det))
        place_in_group -= (ends - count)[pair_det]
        pair_gt = first[pair_det] + place_in_group
        tiou = temporal_iou(segments_sec[pair_det], gt_segments_sec[pair_gt])
        keep = tiou >= min_tiou
        found.append((pair_det[keep], pair_gt[keep], tiou[keep]))
    pair_det, pair_gt, tiou = map(np.concatenate, zip(*found))
    order = np.lexsort((-pair_gt, -tiou, pair_det))
    return pair_det[order], pair_gt[order], tiou[order]


def match_detections(pair_det, pair_gt, tiou, threshold, num_detections, num_ground_truth):
    """Finds what each detection finds: it takes the best ground truth that is still free.

    Visiting the detections one by one gives the same result as letting all of them ask at once for
    their best ground truth, which keeps the asker of highest score and sends the others on to
    their next best, until nobody is sent on (deferred acceptance, Gale and Shapley 1962, with one
    ranking shared by all ground truths). This takes a few rounds over whole arrays.

    Args:
      pair_det: int (R,), detection of each pair, rising; a smaller index means a higher score.
      pair_gt: int (R,), ground truth of each pair, in the order in which the detection wants it.
      tiou: float (R,).
      threshold: float, pairs below do not match.
      num_detections: int, M.
      num_ground_truth: int, N.

    Returns:
      int64 (M,), the ground truth that each detection takes, -1 for none.
    """
    allowed = tiou >= threshold
    pair_det, pair_gt = pair_det[allowed], pair_gt[allowed]
    asking, wish = np.unique(pair_det, return_index=True)
    last_wish = np.append(wish[1:], len(pair_det))
    holder = np.empty(num_ground_truth, dtype=np.int64)
    while True:
        wanted = pair_gt[wish]
        holder[wanted] = num_detections
        np.minimum.at(holder, wanted, asking)
        refused = holder[wanted] != asking
        if not refused.any():
            break
        wish = wish + refused
        staying = wish < last_wish
        asking, wish, last_wish = asking[staying], wish[staying], last_wish[staying]
    matches = np.full(num_detections, -1)
    matches[asking] = wanted
    return matches
