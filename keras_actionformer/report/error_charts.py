"""What detections get wrong, as the appendix of the paper draws it, and how sure they may be."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from keras_actionformer.evaluation.error_analysis import ErrorAnalysis
from keras_actionformer.evaluation.false_positives import KINDS
from keras_actionformer.report.cells import draw_cells
from keras_actionformer.report.figures import Legend, drawing, inches, shortened, written
from keras_actionformer.report.palette import KIND_COLOURS, class_colours

if TYPE_CHECKING:
    import matplotlib.figure

# Where the parts of `plot_errors` stand, by its width in inches.
_WIDE = [["kinds"] * 9 + ["gains"] * 5, ["missed"] * 5 + ["found"] * 5 + ["spread"] * 4]
_NARROW = [["kinds"] * 2, ["gains", "spread"], ["missed"] * 2, ["found"] * 2]
_WIDE_FROM = 9
_BESIDE_FROM = 6  # inches, of `plot_boundaries`, whose parts stand below each other in fewer
_MOST_NUMBERS = 20  # classes of a confusion matrix whose cells have room for numbers
_MOST_BINS = 61  # of boundary errors
_FARTHEST_QUANTILE = 0.98  # of boundary errors that are drawn in their place


def plot_errors(
    analysis: ErrorAnalysis,
    path: str | os.PathLike[str] | None = None,
    *,
    width: float = 10.0,
    dark: bool = False,
) -> matplotlib.figure.Figure:
    """Draws kinds of false positives, what each costs, and which instances are missed.

    These are figures A, B and C of the paper's appendix, after DETAD.

    Args:
      analysis: `ErrorAnalysis`, what `analyze` returns.
      path, width, dark: as for `plot_timeline`.

    Returns:
      `matplotlib.figure.Figure`.

    Raises:
      UserError: no picture can be drawn, see `plot_timeline`.
    """
    rows = _WIDE if width >= _WIDE_FROM else _NARROW
    with drawing(width, 3.7 * len(rows), dark) as (figure, theme):
        colours = [theme.colour(place) for place in KIND_COLOURS]
        legend = Legend([(colour, "area") for colour in colours], KINDS, width)
        figure.set_figheight(figure.get_figheight() + legend.height)
        parts = figure.subplot_mosaic(rows)
        profile, sensitivity = analysis.false_positives, analysis.sensitivity
        _draw_kinds(parts["kinds"], profile, colours)
        _draw_gains(parts["gains"], profile, colours[1:])
        bins = sensitivity.characteristics
        rates = [100 * one.miss_rate for one in bins]
        _draw_bins(parts["missed"], bins, rates, 100 * sensitivity.miss_rate, theme)
        parts["missed"].set_title("missed instances (%)", fontsize=10)
        scores = [100 * one.mean_ap_normalized for one in bins]
        _draw_bins(parts["found"], bins, scores, 100 * sensitivity.mean_ap_normalized, theme)
        parts["found"].set_title(f"normalized mAP at tIoU {sensitivity.tiou:g} (%)", fontsize=10)
        _draw_spread(parts["spread"], sensitivity)
        legend.draw(figure, "upper")
    return written(figure, path)


def _draw_kinds(axes, profile, colours):
    shares = 100 * np.nan_to_num(profile.shares)
    places, bottom = np.arange(1, len(shares) + 1), np.zeros(len(shares))
    for kind, colour in enumerate(colours):
        axes.bar(places, shares[:, kind], 0.85, bottom, color=colour, linewidth=0)
        bottom += shares[:, kind]
    axes.set_xticks(places, [f"{place}G" for place in places])
    axes.set_xlabel("detections by score; G is as many as there are instances", fontsize=9)
    axes.set_ylim(0, 100)
    axes.set_title(f"kinds of detections at tIoU {profile.tiou:g} (%)", fontsize=10)


def _draw_gains(axes, profile, colours):
    gains = 100 * profile.average.gains_normalized
    places = np.arange(len(gains))
    bars = axes.bar(places, gains, 0.8, color=colours, linewidth=0)
    axes.bar_label(bars, [f"{gain:.1f}" for gain in gains], padding=2, fontsize=9)
    axes.set_xticks([])
    axes.set_xlabel("kind that is removed", fontsize=9)
    axes.set_ylim(min(0, gains.min() * 1.2), max(gains.max() * 1.2, 1))
    axes.set_title("normalized mAP gained (%)", fontsize=10)


def _draw_bins(axes, characteristics, values, overall, theme):
    """A group of bars a characteristic; the dashed line is that of all instances."""
    place, places, labels, centres = 0.0, [], [], {}
    for colour, one, bars in zip(class_colours(len(values)), characteristics, values, strict=True):
        mine = place + np.arange(len(bars))
        axes.bar(mine, np.nan_to_num(bars), 0.85, color=colour, linewidth=0)
        for at, bar in zip(mine, bars, strict=True):
            if np.isnan(bar):
                axes.text(at, 0, "–", ha="center", va="bottom", fontsize=8, color=theme.faint)
        places += mine.tolist()
        labels += one.bins
        centres[mine.mean()] = one.name
        place = mine[-1] + 2
    axes.axhline(overall, color=theme.text, linestyle="--", linewidth=1)
    axes.set_ylim(0, max(1, 1.05 * np.nanmax([overall, *np.concatenate(values)])))
    axes.set_xticks(places, labels, fontsize=8)
    axes.xaxis.remove_overlapping_locs = False
    axes.set_xticks([*centres], centres.values(), minor=True, fontsize=9)
    axes.tick_params(axis="x", which="both", length=0)
    axes.tick_params(axis="x", which="minor", pad=inches(9) * 72 + 4)


def _draw_spread(axes, sensitivity):
    """From the worst to the best bin of each characteristic, 1 being all instances."""
    colours = class_colours(len(sensitivity.characteristics))
    for place, (one, colour) in enumerate(zip(sensitivity.characteristics, colours, strict=True)):
        relative = sensitivity.relative(one)
        relative = relative[~np.isnan(relative)]
        if len(relative):
            axes.bar(place, np.ptp(relative), 0.6, relative.min(), color=colour, linewidth=0)
    axes.axhline(1, color=axes.spines["bottom"].get_edgecolor(), linestyle="--", linewidth=1)
    axes.set_xlim(-0.6, len(colours) - 0.4)
    names = [one.name for one in sensitivity.characteristics]
    axes.set_xticks(range(len(names)), names, fontsize=9)
    axes.tick_params(axis="x", length=0)
    axes.set_ylim(bottom=0)
    axes.set_title("mAP, relative to all", fontsize=10)


# === Confusions ===


def plot_confusion(
    analysis: ErrorAnalysis,
    path: str | os.PathLike[str] | None = None,
    *,
    dark: bool = False,
) -> matplotlib.figure.Figure:
    """Draws which classes are taken for which: darker (or lighter) cells are larger shares.

    A row is a true class, and its cells are shares of its instances, missed ones in the last. The
    last row is of false alarms, by how many they are for each instance of the class.

    Args:
      analysis: `ErrorAnalysis`, what `analyze` returns.
      path, dark: as for `plot_timeline`.

    Returns:
      `matplotlib.figure.Figure`.

    Raises:
      UserError: no picture can be drawn, see `plot_timeline`.
    """
    matrix = analysis.confusion
    count = len(matrix.names)
    size = 10 if count <= _MOST_NUMBERS + 1 else 8 if count <= 45 else 6.5
    names = [shortened(name, 24) for name in matrix.names]
    has_room = count <= _MOST_NUMBERS + 1
    cell = inches(size, 2.6 if has_room else 1.35)
    width = max(5, count * cell + inches(size, 0.6 * max(map(len, names))) + 0.5)
    with drawing(width, width, dark) as (figure, theme):
        axes = figure.add_subplot()
        draw_cells(axes, matrix.counts, matrix.shares, theme, size - 2 if has_room else None)
        axes.axhline(count - 1.5, color=theme.faint, linewidth=0.8)  # the background
        axes.axvline(count - 1.5, color=theme.faint, linewidth=0.8)
        axes.set_xticks(range(count), names, fontsize=size, rotation=90)
        axes.set_yticks(range(count), names, fontsize=size)
        axes.set_xlabel("found as")
        axes.set_ylabel("what happened")
    return written(figure, path)


# === Boundaries and scores ===


def plot_boundaries(
    analysis: ErrorAnalysis,
    path: str | os.PathLike[str] | None = None,
    *,
    width: float = 10.0,
    dark: bool = False,
) -> matplotlib.figure.Figure:
    """Draws how far starts and ends are off, and whether scores are probabilities.

    Boundaries that are farther off than 98 in 100 stand in the first and the last bar. A score is
    a probability where its bar ends on the diagonal.

    Args:
      analysis: `ErrorAnalysis`, what `analyze` returns.
      path, width, dark: as for `plot_timeline`.

    Returns:
      `matplotlib.figure.Figure`.

    Raises:
      UserError: no picture can be drawn, see `plot_timeline`.
    """
    errors = analysis.boundaries
    shape = (1, 3) if width >= _BESIDE_FROM else (3, 1)
    with drawing(width, 3.6 if width >= _BESIDE_FROM else 8, dark) as (figure, theme):
        starts, ends, scores = figure.subplots(*shape)
        both = np.abs([*errors.start_errors_sec, *errors.end_errors_sec])
        farthest = float(np.quantile(both, _FARTHEST_QUANTILE)) if len(both) else 0.0
        num_bins = int(min(_MOST_BINS, 8 + np.sqrt(len(both)))) // 2 * 2 + 1  # one around 0
        edges = np.linspace(-1, 1, num_bins + 1) * (farthest or 1.0)
        for axes, values, name, colour in zip(
            (starts, ends),
            (errors.start_errors_sec, errors.end_errors_sec),
            ("start", "end"),
            class_colours(2),
            strict=True,
        ):
            axes.hist(np.clip(values, edges[0], edges[-1]), edges, color=colour)
            axes.axvline(0, color=theme.text, linewidth=0.8)
            axes.set_xlabel("seconds early (-) or late")
            axes.set_title(f"error of the {name}", fontsize=10)
            axes.locator_params(axis="x", nbins=5)
            axes.locator_params(axis="y", nbins=5, integer=True)
            axes.set_ylim(0, None if len(both) else 1)
        starts.set_ylabel("detections")
        _draw_calibration(scores, analysis.calibration, theme)
    return written(figure, path)


def _draw_calibration(axes, calibration, theme):
    means = calibration.mean_scores
    filled = (calibration.num_detections > 0) & (means >= 0) & (means <= 1)  # others lie outside
    edges, precision = calibration.edges, np.nan_to_num(calibration.precision)
    axes.bar(edges[:-1], precision, np.diff(edges), align="edge", color=class_colours(3)[2],
             edgecolor=theme.background)  # fmt: skip
    axes.plot([0, 1], [0, 1], color=theme.text, linestyle="--", linewidth=1)
    if filled.any():  # no dots would have the whole figure as their room
        axes.plot(
            means[filled], calibration.precision[filled], "o", color=theme.text, markersize=3,
            clip_on=False,
        )  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="score")
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.set_title("share that is right", fontsize=10)
