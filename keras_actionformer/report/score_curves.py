"""The network's raw outputs over time: figure 3 of the paper."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_actionformer.data.annotations import Video
from keras_actionformer.detection.raw_outputs import RawOutputs
from keras_actionformer.errors import UserError, suggest
from keras_actionformer.report.figures import drawing, inches, shortened, written
from keras_actionformer.report.palette import class_colour
from keras_actionformer.report.time_axis import set_time_axis

if TYPE_CHECKING:
    import matplotlib.figure

_MOST_CLASSES = 6  # that are drawn where nobody names them
_NUM_BINS = 300  # of a histogram over the whole time
_SIZE = 10  # points of the font


def plot_raw_outputs(
    raw_outputs: RawOutputs,
    ground_truth: Video | None = None,
    path: str | os.PathLike[str] | None = None,
    *,
    classes: Sequence[int | str] | None = None,
    width: float = 10.0,
    dark: bool = False,
) -> matplotlib.figure.Figure:
    """Draws scores over time, and where the network puts starts and ends.

    It is figure 3 of the paper. The histograms count the start, and below the line the end, that
    each point of the pyramid gives, weighted by the score that it gives the class. What has
    happened is shaded.

    Example:

    ```python
    plot_raw_outputs(model.raw(feats), video, "raw.png", classes=["pour", "cut"])
    ```

    Args:
      raw_outputs: `RawOutputs`, what `model.raw` returns.
      ground_truth: `Video` whose actions are the truth, or None.
      classes: sequence of class ids or names. None: those that happen, and then those with the
        highest scores, six in all.
      path, width, dark: as for `plot_timeline`.

    Returns:
      `matplotlib.figure.Figure`.

    Raises:
      UserError: no picture can be drawn, see `plot_timeline`, or there is no such class.
    """
    labels = _labels(raw_outputs, ground_truth, classes)
    duration_sec = float(raw_outputs.points_sec.max(initial=0)) or 1.0
    if ground_truth is not None and ground_truth.duration_sec:
        duration_sec = ground_truth.duration_sec
    height = len(labels) * (1.9 + inches(_SIZE, 2)) + inches(_SIZE, 4)
    with drawing(width, height, dark) as (figure, theme):
        grid = figure.subplots(
            2 * len(labels), 1, squeeze=False, height_ratios=[1, 1.2] * len(labels)
        )[:, 0]
        for place, label in enumerate(labels):
            scores, histogram = grid[2 * place : 2 * place + 2]
            colour = class_colour(label)
            for axes in (scores, histogram):
                for start, end in _truth_of(ground_truth, label):
                    axes.axvspan(start, end, color=theme.truth, alpha=0.2, linewidth=0)
            _draw_scores(scores, raw_outputs, label, colour)
            _draw_boundaries(histogram, raw_outputs, label, colour, duration_sec, theme)
            names = raw_outputs.class_names
            name = names[label] if names else f"class_{label}"
            scores.set_title(shortened(name, int(width / inches(_SIZE, 0.75))), fontsize=_SIZE + 1)
            for axes in (scores, histogram):
                unit = set_time_axis(axes, duration_sec, max(3, int(width)))
                axes.tick_params(axis="x", labelbottom=axes is grid[-1])
        grid[-1].set_xlabel(unit)
    return written(figure, path)


def _labels(raw_outputs, ground_truth, classes):
    """Class ids, in the order in which they are drawn."""
    names, num_classes = raw_outputs.class_names, raw_outputs.scores.shape[1]
    if classes is None:
        true = set() if ground_truth is None else set(ground_truth.labels.tolist())
        peaks = raw_outputs.scores.max(axis=0, initial=0)
        order = sorted(range(num_classes), key=lambda label: (label not in true, -peaks[label]))
        return sorted(order[:_MOST_CLASSES])
    labels = []
    for one in classes:
        label = names.index(one) if one in names else one
        if isinstance(label, str) or not 0 <= label < num_classes:
            raise UserError(
                f"plot_raw_outputs: there is no class {one!r}{suggest(one, names) or '.'}"
            )
        labels.append(int(label))
    if not labels:
        raise UserError("plot_raw_outputs: classes names none.")
    return labels


def _truth_of(ground_truth, label):
    if ground_truth is None:
        return []
    return ground_truth.segments_sec[ground_truth.labels == label]


def _draw_scores(axes, raw_outputs, label, colour):
    times, scores = raw_outputs.score_curve(label)
    axes.fill_between(times, scores, color=colour, alpha=0.35, linewidth=0)
    axes.plot(times, scores, color=colour, linewidth=1)
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 1], ["0", "score 1"], fontsize=_SIZE - 1)


def _draw_boundaries(axes, raw_outputs, label, colour, duration_sec, theme):
    edges = np.linspace(0, duration_sec, _NUM_BINS + 1)
    weights = raw_outputs.scores[:, label]
    starts, ends = (
        np.histogram(raw_outputs.segments_sec[:, side], edges, weights=weights)[0]
        for side in (0, 1)
    )
    axes.stairs(starts, edges, fill=True, color=colour, linewidth=0)
    axes.stairs(-ends, edges, fill=True, color=colour, alpha=0.6, linewidth=0)
    axes.axhline(0, color=theme.faint, linewidth=0.8)
    most = max(starts.max(), ends.max()) or 1.0
    axes.set_ylim(-1.08 * most, 1.08 * most)
    axes.set_yticks([most / 2, -most / 2], ["starts", "ends"], fontsize=_SIZE - 1)
    axes.tick_params(axis="y", length=0)
