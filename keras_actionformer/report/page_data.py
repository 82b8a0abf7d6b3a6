"""Ground truth and detections as the page's script reads them: short lists of whole numbers.

Which detection finds which instance does not depend on the score threshold, see `Ranked.matches`:
so it is told once for each tIoU threshold, and what is left to the page is counting.
"""

import math

import numpy as np

from keras_actionformer.evaluation.ranking import flatten, rank

# Steps of scores from 0 to 1; where scores lie elsewhere, about as many from the least to the best.
_SCORE_STEPS = 10_000
# What float64 arithmetic may lose of a step, so that 0.57 is 5700 of them.
_STEP_TOLERANCE = 1e-6


def timeline_data(scored, thresholds, tious, tiou):
    """What the page draws and counts.

    Args:
      scored: `Scored`.
      thresholds: `Thresholds`, from which on detections count when the page opens.
      tious: sequence of float, tIoU thresholds to choose from.
      tiou: float, the one of them that is chosen when the page opens.

    Returns:
      dict for JSON:

      * `classes`: names of those that occur; a "class" is a place in it. `labels`: their ids.
      * `tious`, and `tiou`: the place in it that is chosen.
      * `score_steps`: a score is so many steps a unit, rounded down; `score_range`: the least and
        the best, in steps. `own`: thresholds by class, in steps; `common`: the one for all.
      * `videos`, dicts: `id`; `ms`, milliseconds to its end, or to the last of an instance where
        annotations reach further; `known`, 0 for one that the ground truth has not; `truth`, for
        each instance its class, start and length in milliseconds and, for each of `tious`, the
        place in `found` of what finds it, or -1; `found`, class, start, length and score of each
        detection. Both are flat: row after row.
    """
    arrays = flatten(scored.videos, scored.detections)
    ranked = rank(*arrays, min(tious), all_classes=True)
    gt_videos, gt_segments_sec, gt_labels, videos, segments_sec, labels, scores = arrays
    names, class_ids = scored.class_names, ranked.class_ids

    ids = [video.video_id for video in scored.videos]
    known = set(ids)
    ids += [video_id for video_id in scored.detections if video_id not in known]
    places = {video_id: place for place, video_id in enumerate(ids)}
    lengths = [len(found) for found in scored.detections.values()]
    place_of_row = np.repeat([places[video_id] for video_id in scored.detections], lengths)

    # Detections of a video stay in their ranks: by class, then by falling score.
    video_of = place_of_row.astype(np.int64)[ranked.rows]
    order = np.argsort(video_of, kind="stable")
    edges = np.searchsorted(video_of[order], np.arange(len(ids) + 1))
    place_in_video = np.empty(len(order), np.int64)
    place_in_video[order] = np.arange(len(order)) - edges[video_of[order]]

    finders = np.full((len(ranked.gt_rows), len(tious)), -1)
    for column, threshold in enumerate(tious):
        matches = ranked.matches(threshold)
        finding = np.flatnonzero(matches >= 0)
        finders[matches[finding], column] = place_in_video[finding]

    steps = _steps_a_unit(scores)
    rows = ranked.rows[order]
    found = _columns(class_ids, labels[rows], segments_sec[rows], _in_steps(scores[rows], steps))
    truth_order = np.argsort(gt_videos[ranked.gt_rows], kind="stable")
    gt_rows = ranked.gt_rows[truth_order]
    truth = _columns(
        class_ids, gt_labels[gt_rows], gt_segments_sec[gt_rows], finders[truth_order].T
    )
    gt_edges = np.searchsorted(gt_videos[gt_rows], np.arange(len(ids) + 1))
    durations = [video.duration_sec for video in scored.videos]
    own = _in_steps(thresholds.of(class_ids), steps).tolist()
    known_scores = _in_steps(scores, steps)
    return {
        "classes": [names[i] if i < len(names) else f"class_{i}" for i in class_ids.tolist()],
        "labels": class_ids.tolist(),
        "tious": [round(float(one), 4) for one in tious],
        "tiou": list(tious).index(tiou),
        "score_steps": steps,
        "score_range": [
            min(0, int(known_scores.min(initial=0))),
            max(int(known_scores.max(initial=0)), *own, 1),
        ],
        "own": own,
        "common": int(_in_steps(thresholds.common, steps)),
        "videos": [
            _video(
                video_id,
                durations[place] if place < len(durations) else None,
                place < len(durations),
                truth[gt_edges[place] : gt_edges[place + 1]],
                found[edges[place] : edges[place + 1]],
            )
            for place, video_id in enumerate(ids)
        ],
    }


def _video(video_id, duration_sec, is_known, truth, found):
    ends = [rows[:, 1] + rows[:, 2] for rows in (truth, found)]
    if duration_sec is not None:
        ends[1] = [round(1000 * duration_sec)]
    return {
        "id": video_id,
        "ms": int(np.max(np.concatenate(ends), initial=1)),
        "known": int(is_known),
        "truth": truth.ravel().tolist(),
        "found": found.ravel().tolist(),
    }


def _columns(class_ids, labels, segments_sec, others):
    """Class, start and length in milliseconds, and others: int (rows, columns)."""
    starts, ends = np.round(1000 * segments_sec).astype(np.int64).T
    classes = np.searchsorted(class_ids, labels)
    return np.column_stack([classes, starts, ends - starts, *np.atleast_2d(others)])


def _steps_a_unit(scores):
    """How many steps 1 has: scores need not be probabilities."""
    low, high = np.min(scores, initial=0.0), np.max(scores, initial=0.0)
    if 0 <= low and high <= 1:
        return _SCORE_STEPS
    return 10 ** math.floor(math.log10(_SCORE_STEPS / (high - low)))


def _in_steps(scores, steps):
    # Down, so that a score is below a threshold before and after.
    return np.floor(np.asarray(scores, np.float64) * steps + _STEP_TOLERANCE).astype(np.int64)
