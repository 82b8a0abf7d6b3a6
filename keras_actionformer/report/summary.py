"""What scores and errors say, in sentences for people who read no tables."""

import numpy as np

from keras_actionformer.errors import counted
from keras_actionformer.evaluation.columns import join_columns
from keras_actionformer.evaluation.false_positives import KINDS, detection_kinds

_KIND_WORDS = {
    "double detection": "finds once more what is found already",
    "wrong label": "is of the wrong class",
    "localization": "is of the right class with boundaries that are too far off",
    "confusion": "is of the wrong class with boundaries that are off",
    "background": "is where nothing happens",
}
_FEWEST_CONFUSED = 3  # fewer may be chance


def summary(scored, result, analysis, are_recommended):
    """Sentences about a detector, the most important ones first.

    Args:
      scored: `Scored`.
      result: `EvaluationResult` with scores above the thresholds of the analysis.
      analysis: `ErrorAnalysis`.
      are_recommended: bool, whether the thresholds are those of the model; else those of the best
        F1 on these videos.

    Returns:
      list of str.
    """
    above = result.above_thresholds
    columns = join_columns(
        scored.videos, scored.detections, analysis.tiou, scored.class_names or None
    )
    counts = columns.scores >= analysis.thresholds.of(columns.class_ids)[columns.classes]
    low, high = above.thresholds.min(), above.thresholds.max()
    threshold = f"{low:g}" if low == high else f"{low:g} to {high:g} (by class)"
    truth, right = int(above.ground_truth.sum()), int(above.right.sum())
    sentences = [
        f"From a score of {threshold} on it finds {_percent(above.recall)} of what happened "
        f"({right} of {counted(truth, 'instance')}); {_share_wrong(above.precision)}.",
        _missed(columns, counts, analysis.tiou),
        _wrong(columns, counts, analysis.tiou),
        _boundaries(analysis.boundaries),
        _confused(analysis.confusion),
        _classes(above),
        f"The mAP is {100 * result.average_mean_ap:.2f} on average over tIoU thresholds of "
        f"{', '.join(f'{tiou:g}' for tiou in result.tiou_thresholds)}.",
    ]
    if not are_recommended and columns.scores.size:
        sentences.append(
            "No thresholds were given: these are of the best F1 on these very videos, and do a "
            "little worse on others."
        )
    return [*filter(None, sentences), *_notes(result)]


def _missed(columns, counts, tiou):
    """How long the missed instances are, beside the others."""
    matches = columns.ranked.matches(tiou)
    is_missed = np.ones(len(columns.gt_videos), bool)
    is_missed[matches[counts & (matches >= 0)]] = False
    lengths = np.diff(columns.gt_segments_sec, axis=1)[:, 0]
    if not is_missed.any():
        return "It misses nothing."
    return (
        f"Half of the {counted(int(is_missed.sum()), 'instance')} that it misses are shorter than "
        f"{_seconds(np.median(lengths[is_missed]))}; of all instances half are shorter than "
        f"{_seconds(np.median(lengths))}."
    )


def _wrong(columns, counts, tiou):
    """Of which kinds the wrong detections are."""
    kinds = np.bincount(detection_kinds(columns, tiou)[counts], minlength=len(KINDS))[1:]
    if not kinds.sum():
        return None
    order = np.argsort(-kinds, kind="stable")
    parts = [
        f"{_percent(kinds[place] / kinds.sum())} {_KIND_WORDS[KINDS[1 + place]]}"
        for place in order
        if kinds[place]
    ]
    return f"Of what is wrong, {_listed(parts)}."


def _boundaries(errors):
    spreads = errors.spreads()
    if not len(errors):
        return None
    start, end = (spreads[name].median_absolute for name in ("start_sec", "end_sec"))
    return (
        f"Of what it finds, half of the starts are less than {_seconds(start)} off, and half of "
        f"the ends less than {_seconds(end)}."
    )


def _confused(confusion):
    counts = confusion.counts[:-1, :-1].copy()
    np.fill_diagonal(counts, 0)
    if counts.max(initial=0) < _FEWEST_CONFUSED:
        return None
    true, found = np.unravel_index(counts.argmax(), counts.shape)
    names = confusion.class_names
    return (
        f"It takes {names[true]} for {names[found]} more often than any other class for another: "
        f"{counts[true, found]} times."
    )


def _classes(above):
    """The classes that are found best and worst."""
    places = np.flatnonzero(above.ground_truth)
    if len(places) < 2:
        return None
    f1 = 2 * above.right[places] / (above.found + above.ground_truth)[places]
    if f1.max() == f1.min():
        return None
    best, worst = places[f1.argmax()], places[f1.argmin()]
    return (
        f"Best at {above.class_names[best]} (F1 {_percent(f1.max())}), worst at "
        f"{above.class_names[worst]} (F1 {_percent(f1.min())})."
    )


def _notes(result):
    notes = {
        "with instances and without any detection": (result.num_videos_without_detections, "video"),
        "in videos that the ground truth has not count as wrong": (
            result.num_detections_outside,
            "detection",
        ),
        "of classes that the ground truth has not": (result.num_detections_ignored, "detection"),
        "repeated or shorter than a millisecond, left out": (
            result.num_ground_truth_left_out,
            "instance",
        ),
    }
    return [f"{counted(number, noun)} {text}." for text, (number, noun) in notes.items() if number]


def _share_wrong(precision):
    if np.isnan(precision):
        return "it reports nothing"
    return f"{_percent(1 - precision)} of what it reports is wrong"


def _percent(share):
    return f"{100 * share:.0f} %"


def _seconds(value):
    return f"{value:.1f} s" if value >= 1 else f"{value:.2f} s"


def _listed(parts):
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last
