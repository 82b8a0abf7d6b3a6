"""What the page's charts show: plain values that `templates/charts.js` draws.

A chart is a dict: `title`, `note` (a sentence), `kind`, `x_label`, `y` (what the axes show) and
`series`, each with a `name`, a `colour` (what `Theme.colour` takes) and, where `kind` is "lines",
`x` and `y` (perhaps `thin`, or a `dash`), where it is "bars", `values`, one for each of the chart's
`categories`. Some have more, which `charts.js` explains by using it. A picture is drawn of those of
a training, too.
"""

import numpy as np

from keras_actionformer.evaluation.false_positives import KINDS
from keras_actionformer.evaluation.shares import plain
from keras_actionformer.report.palette import KIND_COLOURS

_ALL, _SECOND = 0, 1  # colours of what stands alone, and of what stands beside it
_MOST_POINTS = 100  # of the curve of a class
_WORDS = {
    "coverage": ("share of its video", "Share of the video that an instance takes"),
    "length": ("seconds", "Length of an instance"),
    "instances": ("instances of its class in its video", "Company of an instance"),
}
_LENGTH_STEPS = (1, 2, 5)


def score_charts(analysis):
    """Precision and recall, and F1 by threshold, of `ErrorAnalysis.curves`."""
    curves, names = analysis.curves, ("recall", "precision")
    note = "The strong line is all classes together, a thin one a class (its name on hovering)."
    tiou = f"At a tIoU of {analysis.tiou:g}."
    ratio = {"x_range": [0, 1], "y_range": [0, 1], "kind": "lines"}
    return [
        {
            "title": "Precision and recall",
            "note": f"{tiou} {note}",
            **ratio,
            "x_label": names[0],
            "y": names[1],
            "series": _curves(curves, lambda curve: (curve.recall, curve.precision)),
        },
        {
            "title": "F1 by score threshold",
            "note": f"{tiou} {note}",
            **ratio,
            "x_range": None,
            "x_label": "score threshold",
            "y": "F1",
            "series": _curves(curves, lambda curve: (curve.thresholds, curve.f1)),
        },
        _calibration_chart(analysis.calibration),
    ]


def _curves(curves, axes):
    classes = [(place, curve) for place, curve in enumerate(curves.classes) if len(curve)]
    thin = [
        _line(curve.name, place, *axes(curve.thinned(_MOST_POINTS)), thin=True)
        for place, curve in classes
    ]
    return [*thin, _line("all classes", _ALL, *axes(curves.all_classes.thinned()))]


def _calibration_chart(calibration):
    filled = calibration.num_detections > 0
    return {
        "title": "Are scores probabilities?",
        "note": "Of detections with a score near x, the share that is right; where it lies on the "
        "diagonal, scores are probabilities.",
        "kind": "lines",
        "x_label": "score",
        "y": "share that is right",
        "x_range": [0, 1],
        "y_range": [0, 1],
        "diagonal": True,
        "series": [
            _line("right", _ALL, calibration.mean_scores[filled], calibration.precision[filled])
        ],
    }


def error_charts(analysis):
    """Kinds of false positives and their costs; missed instances and mAP by characteristics."""
    profile = analysis.false_positives
    series = [
        {"name": kind, "colour": colour, "values": plain(100 * profile.shares[:, place])}
        for place, (kind, colour) in enumerate(zip(KINDS, KIND_COLOURS, strict=True))
    ]
    tious = profile.tiou_thresholds
    kinds = {
        "title": "Kinds of detections, by score",
        "note": "G is how many instances a class has: the best G of each class, the next G, ...",
        "kind": "bars",
        "stacked": True,
        "y_range": [0, 100],
        "categories": [f"{place + 1}G" for place in range(len(profile.shares))],
        "x_label": "detections by falling score",
        "y": "percent",
        "series": series,
    }
    gains = {
        "title": "What each kind of mistake costs",
        "note": f"Points of mAP (tIoU {tious.min():g} to {tious.max():g}) gained without it.",
        "kind": "bars",
        "categories": list(KINDS[1:]),
        "x_label": "kind of wrong detection",
        "y": "points of mAP",
        "series": [_bars("", _ALL, 100 * profile.average.gains)],
    }
    sensitivity = analysis.sensitivity
    return [kinds, gains, *map(_characteristic_chart, sensitivity.characteristics)]


def _characteristic_chart(characteristic):
    unit, title = _WORDS[characteristic.name]
    edges = characteristic.edges
    return {
        "title": title,
        "note": "How many are missed whatever their score, and how well the others are found.",
        "kind": "bars",
        "y_range": [0, 100],
        "categories": [
            f"{name} ({low:g}–{high:g})" if np.isfinite(high) else f"{name} (> {low:g})"
            for name, low, high in zip(characteristic.bins, edges[:-1], edges[1:], strict=True)
        ],
        "x_label": unit,
        "y": "percent",
        "series": [
            _bars("missed", _SECOND, 100 * characteristic.miss_rate),
            _bars("normalized mAP", _ALL, 100 * characteristic.mean_ap_normalized),
        ],
    }


def training_charts(log):
    """Losses, validation scores and learning rate by epoch.

    Args:
      log: list of dicts, a row an epoch.

    Returns:
      list of charts, those of which the log has a column.
    """
    losses = {"loss": "training", "val_loss": "validation"}
    parts = {"cls_loss": "of classes", "reg_loss": "of boundaries"}
    scores = {"val_mAP": "averaged weights", "val_mAP_last": "last weights"}
    recalls = {"val_recall": "averaged weights", "val_recall_last": "last weights"}
    charts = [
        _log_chart(log, "Loss", "loss", losses | parts),
        _log_chart(log, "Validation mAP", "mAP", scores),
        _log_chart(log, "Validation recall", "recall", recalls),
        _log_chart(log, "Learning rate", "learning rate", {"learning_rate": ""}),
    ]
    return [chart for chart in charts if chart["series"]]


def _log_chart(log, title, y, columns):
    series = []
    for column, name in columns.items():
        rows = [row for row in log if column in row]
        if rows:
            place = len(series)
            epochs, values = ([row[key] for row in rows] for key in ("epoch", column))
            series.append({**_line(name, place, epochs, values), "dash": place % 4})
    return {
        "title": title,
        "note": "",
        "kind": "lines",
        "x_label": "epoch",
        "y": y,
        "series": series,
    }


def length_chart(lengths_sec):
    """How long the instances are, in bins that end with 1, 2 or 5 and zeros.

    Args:
      lengths_sec: float (N,), above 0.
    """
    low, high = np.floor(np.log10([lengths_sec.min(), lengths_sec.max()])).astype(int)
    edges = [step * 10.0**power for power in range(low, high + 2) for step in _LENGTH_STEPS]
    first = np.searchsorted(edges, lengths_sec.min(), side="right") - 1
    last = np.searchsorted(edges, lengths_sec.max(), side="right")
    edges = edges[first : last + 1]
    counts, _ = np.histogram(lengths_sec, edges)
    return {
        "title": "Lengths",
        "note": "Of the instances of all classes.",
        "kind": "bars",
        "categories": [f"{a:g}–{b:g}" for a, b in zip(edges[:-1], edges[1:], strict=True)],
        "x_label": "seconds",
        "y": "instances",
        "series": [_bars("", _ALL, counts)],
    }


def _line(name, colour, x, y, thin=False):
    x, y = (plain(np.round(np.asarray(values, np.float64), 7)) for values in (x, y))
    return {"name": name, "colour": colour, "x": x, "y": y, "thin": thin}


def _bars(name, colour, values):
    return {"name": name, "colour": colour, "values": plain(np.round(values, 4))}
