"""One HTML file about a comparison of detectors, with tables and with charts of the differences."""

import time

import numpy as np

import keras_actionformer
from keras_actionformer.files import atomic_write
from keras_actionformer.report.html import fill, open_templates


def write_comparison_page(path, comparison, different):
    """Writes the page.

    Args:
      path: str or `os.PathLike`, the file to write.
      comparison: `Comparison`.
      different: the table of settings that differ (`different_settings`), or None.

    Raises:
      UserError: Jinja2 is not installed.
    """
    environment = open_templates()
    charts = [_chart(comparison, difference) for difference in comparison.differences]
    text = fill(
        environment,
        "comparison.html.jinja",
        data={},
        charts_by_part={"differences": charts},
        title=f"Compared: {', '.join(comparison.names)}",
        subtitle=f"Written {time.strftime('%Y-%m-%d %H:%M')} by keras-actionformer "
        f"{keras_actionformer.__version__}. Everything is in this file; nothing is fetched.",
        sentences=[_sentence(comparison, difference) for difference in comparison.differences],
        scores=_scores(comparison),
        finds=[_finds(comparison, difference) for difference in comparison.differences],
        settings=different,
    )
    with atomic_write(path, errors="backslashreplace") as file:
        file.write(text)


def _sentence(comparison, difference):
    base, interval = comparison.names[0], difference.average_mean_ap
    low, high = 100 * interval.low, 100 * interval.high
    ends = f"95 % interval of the difference in mAP {low:+.2f} to {high:+.2f} points"
    if not interval.is_real:
        return f"{difference.name} and {base} may be equally good: it may be chance ({ends})."
    better = "better" if interval.value > 0 else "worse"
    return f"{difference.name} is {better} than {base}, and that is not chance ({ends})."


def _chart(comparison, difference):
    """The differences of mAP at each tIoU, of F1 and of each class."""
    first = comparison.compared[0].results[0]
    rows = {"mAP, average": difference.average_mean_ap}
    rows |= {
        f"mAP at {tiou:.2f}": interval
        for tiou, interval in zip(first.tiou_thresholds, difference.mean_ap, strict=True)
    }
    rows["F1"] = difference.f1
    names = [*rows, *first.class_names]
    intervals = [*rows.values(), *difference.classes]
    return {
        "title": f"{difference.name} − {comparison.names[0]}",
        "note": "Of mAP and F1, and of the AP of each class. Full dots: the interval does not "
        "reach 0; of 20 classes that are alike, one such is chance.",
        "kind": "intervals",
        "categories": names,
        "x_label": "points",
        "y": "",
        "series": [],
        "values": [
            [_points(number) for number in (one.value, one.low, one.high)] for one in intervals
        ],
    }


def _points(share):
    return None if np.isnan(share) else round(100 * share, 3)


def _scores(comparison):
    rows = []
    for one, difference in zip(comparison.compared, (None, *comparison.differences), strict=True):
        scores = [f"{100 * value:.2f}" for value in (*one.ap.mean(axis=1), one.ap.mean())]
        told = ("", "") if difference is None else (difference.average_mean_ap, difference.f1)
        rows.append((one.name, *scores, str(told[0]), f"{100 * one.f1:.2f}", str(told[1])))
    head = [f"mAP {tiou:.2f}" for tiou in comparison.compared[0].results[0].tiou_thresholds]
    return {
        "caption": " ".join(comparison.head()),
        "head": ("", *head, "average", "difference", "F1", "difference"),
        "rows": rows,
    }


def _finds(comparison, difference):
    base = comparison.names[0]
    return {
        "title": f"Found by {difference.name} alone: {len(difference.gained)}, by {base} alone: "
        f"{len(difference.lost)}, by both: {difference.num_both}, by neither: "
        f"{difference.num_neither}",
        "tables": [
            {
                "caption": caption,
                "head": ("video", "start", "end", "class"),
                "rows": [
                    (one.video_id, f"{one.start_sec:.2f}", f"{one.end_sec:.2f}", one.label)
                    for one in instances
                ],
            }
            for caption, instances in (
                (f"Found by {difference.name} alone", difference.gained),
                (f"Found by {base} alone", difference.lost),
            )
            if instances
        ],
    }
