"""Precision, recall and F1 of each class, over all score thresholds."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from keras_actionformer.evaluation.error_analysis import ErrorAnalysis
from keras_actionformer.report.figures import Legend, drawing, written
from keras_actionformer.report.palette import class_colour

if TYPE_CHECKING:
    import matplotlib.figure

_MOST_COLOURS = 40  # nobody finds one of more in a legend


def plot_curves(
    analysis: ErrorAnalysis,
    path: str | os.PathLike[str] | None = None,
    *,
    width: float = 10.0,
    dark: bool = False,
) -> matplotlib.figure.Figure:
    """Draws precision by recall, and F1 by score threshold; the strong line is all classes.

    Of more than 40 classes the lines have neither colours nor names.

    Args:
      analysis: `ErrorAnalysis`, what `analyze` returns.
      path, width, dark: as for `plot_timeline`.

    Returns:
      `matplotlib.figure.Figure`.

    Raises:
      UserError: no picture can be drawn, see `plot_timeline`.
    """
    curves = analysis.curves
    classes = [curve for curve in curves.classes if len(curve) and curve.num_ground_truth]
    if len(classes) == 1:  # which is all classes
        classes = []
    is_crowd = len(classes) > _MOST_COLOURS
    with drawing(width, 1, dark) as (figure, theme):
        colours = [theme.faint if is_crowd else class_colour(one.label_id) for one in classes]
        named = [*zip(colours, (curve.name for curve in classes), strict=True)]
        if is_crowd:
            named = [(theme.faint, "one class")]
        named.append((theme.text, "all classes"))
        legend = Legend(
            [(colour, "line") for colour, _ in named], [name for _, name in named], width
        )
        figure.set_figheight(0.42 * width + 0.5 + legend.height)
        by_recall, by_score = figure.subplots(1, 2)
        lines = [*zip(classes, colours), (curves.all_classes, theme.text)]
        for curve, colour in lines:
            is_all = curve is curves.all_classes
            look = {
                "color": colour,
                "linewidth": 2.5 if is_all else 1.2 if len(classes) <= 10 else 0.8,
            }
            look["alpha"] = 0.4 if is_crowd and not is_all else 1.0
            curve = curve.thinned()
            by_recall.plot(curve.recall, curve.precision, **look)
            by_score.plot(curve.thresholds, curve.f1, **look)
        for axes in (by_recall, by_score):
            axes.set_ylim(0, 1.02)
            axes.grid(alpha=0.7)
        by_recall.set(xlim=(0, 1.02), xlabel="recall", ylabel="precision")
        by_score.set(xlabel="score threshold", ylabel="F1")
        if not len(curves.all_classes):  # without detections
            by_score.set_xlim(0, 1)
        by_recall.set_title(f"tIoU {curves.tiou:g}")
        legend.draw(figure)
    return written(figure, path)
