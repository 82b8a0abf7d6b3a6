"""The page's tables: each is a dict of a `caption`, a `head` and `rows` of texts."""

import numpy as np

from keras_actionformer.errors import counted
from keras_actionformer.evaluation.shares import percent
from keras_actionformer.training.config import default_config, to_plain


def scores(result):
    """mAP and recall by tIoU threshold, in percent."""
    rows = [("mAP", *_percents(result.mean_ap))]
    for factor, recall in zip(result.recall_at, result.mean_recall.T, strict=True):
        rows.append((f"Recall@{factor}x", *_percents(recall)))
    return {
        "caption": f"Percent, of {counted(result.num_detections, 'detection')} and "
        f"{counted(result.num_ground_truth, 'instance')} of "
        f"{counted(len(result.class_ids), 'class')}; Recall@kx is that of the best k times as many "
        "detections as there are instances",
        "head": ("tIoU", *(f"{tiou:.2f}" for tiou in result.tiou_thresholds), "average"),
        "rows": rows,
    }


def scores_per_class(result):
    """AP, and what is found above the thresholds, a class a row."""
    above = result.above_thresholds
    places = {label: place for place, label in enumerate(above.class_ids.tolist())}
    middle = len(result.tiou_thresholds) // 2
    rows = []
    for column, label in enumerate(result.class_ids.tolist()):
        place = places[label]
        truth, found, right = (
            int(counts[place]) for counts in (above.ground_truth, above.found, above.right)
        )
        ap = result.ap[:, column]
        rows.append(
            (
                result.class_names[column],
                str(truth),
                *map(_percent, (ap.mean(), ap[middle])),
                f"{above.thresholds[place]:g}",
                str(found),
                str(right),
                _percent(right / found if found else np.nan),
                _percent(right / truth if truth else np.nan),
                _percent(2 * right / (found + truth) if found + truth else np.nan),
            )
        )
    return {
        "caption": "By class, in percent; what is detected from the threshold on, at a tIoU of "
        f"{above.tiou:g}",
        "head": (
            "class", "instances", "AP", f"AP@{result.tiou_thresholds[middle]:.2f}", "threshold",
            "detected", "right", "precision", "recall", "F1",
        ),
        "rows": rows,
    }  # fmt: skip


def boundaries(errors):
    """How far boundaries are off."""
    rows = [
        (
            name.replace("_sec", ", seconds").replace("_percent", ", percent of the length"),
            *(
                _plain(value)
                for value in (
                    spread.bias,
                    spread.lower_quartile,
                    spread.median,
                    spread.upper_quartile,
                    spread.median_absolute,
                )
            ),
        )
        for name, spread in errors.spreads().items()
    ]
    return {
        "caption": f"Boundaries of {counted(len(errors), 'detection')} above the thresholds that "
        "are right: how much too late (below 0: too early)",
        "head": ("", "mean", "lower quartile", "median", "upper quartile", "median, sign left out"),
        "rows": rows,
    }


def confusion(matrix, heat_steps):
    """Counts of each true and found class, with how deep to colour each: 0 to `heat_steps`."""
    heats = np.ceil(np.minimum(matrix.shares, 1) * heat_steps).astype(int)
    return {
        "caption": "Rows: what happened, columns: what it is found as, from the thresholds on at a "
        f"tIoU of {matrix.tiou:g}. The last row are detections where nothing is, the last column "
        "what is missed.",
        "head": matrix.names,
        "rows": [
            {
                "name": name,
                "cells": [
                    {"count": int(count), "heat": int(heat)}
                    for count, heat in zip(counts, row_heats, strict=True)
                ],
            }
            for name, counts, row_heats in zip(matrix.names, matrix.counts, heats, strict=True)
        ],
    }


def data_sentence(videos):
    """What the ground truth holds, in a sentence."""
    known = [video.duration_sec for video in videos if video.duration_sec is not None]
    number = sum(len(video.labels) for video in videos)
    text = f"{counted(len(videos), 'video')} with {counted(number, 'instance')}"
    return f"{text}, {sum(known) / 3600:.1f} hours." if len(known) == len(videos) else f"{text}."


def classes(videos, names, labels):
    """How often each class happens, and for how long."""
    rows = []
    all_labels = np.concatenate([video.labels for video in videos])
    lengths = np.diff(np.concatenate([video.segments_sec for video in videos]), axis=1)[:, 0]
    for name, label in zip(names, labels, strict=True):
        mine = lengths[all_labels == label]
        if not len(mine):
            continue
        num_videos = sum(bool(np.any(video.labels == label)) for video in videos)
        low, median, high = np.quantile(mine, (0, 0.5, 1))
        numbers = (_plain(value) for value in (low, median, high, mine.sum()))
        rows.append((name, str(len(mine)), str(num_videos), *numbers))
    return {
        "caption": "The classes of the ground truth; lengths in seconds",
        "head": ("class", "instances", "videos", "shortest", "median", "longest", "all together"),
        "rows": rows,
    }


def changed_settings(settings):
    """The settings of a run that are not the default; None without settings."""
    if settings is None:
        return None
    defaults = dict(_flat(to_plain(default_config())))
    rows = [
        (name, value, defaults.get(name, ""))
        for name, value in _flat(settings)
        if value != defaults.get(name)
    ]
    return {
        "caption": "Settings that are not the default",
        "head": ("setting", "value", "default"),
        "rows": rows,
    }


def all_settings(settings):
    """All settings of a run; None without settings."""
    if settings is None:
        return None
    return {"caption": "", "head": ("setting", "value"), "rows": list(_flat(settings))}


def different_settings(names, settings):
    """The settings in which runs differ; None where one has none, or all are equal.

    Args:
      names: sequence of str, the runs.
      settings: sequence of nested dicts, or None.
    """
    if None in settings:
        return None
    flat = [dict(_flat(one)) for one in settings]
    fields = dict.fromkeys(name for one in flat for name in one)
    rows = [(name, *(one.get(name, "–") for one in flat)) for name in fields]
    rows = [row for row in rows if len(set(row[1:])) > 1]
    return rows and {
        "caption": "Settings that differ",
        "head": ("setting", *names),
        "rows": rows,
    }


def _flat(settings, prefix=""):
    """(name with dots, text of the value) of nested dicts."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", repr(list(value) if isinstance(value, tuple) else value)


def _percents(values):
    """Scores and, last, their mean."""
    return [_percent(value) for value in (*values, np.mean(values))]


def _percent(value):
    return percent(value, 1)


def _plain(value):
    return "–" if np.isnan(value) else f"{value:.2f}"
