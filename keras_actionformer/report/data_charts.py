"""What annotations hold: how many actions of each class there are, and how long they last."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_actionformer.data.annotations import Annotations
from keras_actionformer.errors import UserError, counted
from keras_actionformer.report.figures import (
    drawing,
    inches,
    lane_text_size,
    longest_name,
    shortened,
    wrapped,
    written,
)
from keras_actionformer.report.palette import class_colours
from keras_actionformer.report.time_axis import set_length_axis

if TYPE_CHECKING:
    import matplotlib.figure

_BINS_A_DOUBLING = 3
_SHORTEST_SEC = 1e-3


def plot_annotations(
    annotations: Annotations,
    path: str | os.PathLike[str] | None = None,
    *,
    subset: str | Sequence[str] | None = None,
    width: float = 10.0,
    dark: bool = False,
) -> matplotlib.figure.Figure:
    """Draws how many actions of each class annotations have, and how long they last.

    Example:

    ```python
    plot_annotations(load_annotations("annotations.csv"), "data.png", subset="training")
    ```

    Args:
      annotations: `Annotations`.
      subset: str or several, see `Annotations.subset`; None for all videos.
      path, width, dark: as for `plot_timeline`.

    Returns:
      `matplotlib.figure.Figure`.

    Raises:
      UserError: no picture can be drawn, see `plot_timeline`, or there is no such subset,
        or no action in it.
    """
    videos = annotations.videos if subset is None else annotations.subset(subset)
    labels = np.concatenate([video.labels for video in videos])
    segments_sec = np.concatenate([video.segments_sec for video in videos])
    if not len(labels):
        raise UserError("plot_annotations: the videos have no action that could be drawn.")
    lengths_sec = np.maximum(segments_sec[:, 1] - segments_sec[:, 0], _SHORTEST_SEC)
    names = annotations.class_names
    names += tuple(f"class_{label}" for label in range(len(names), labels.max() + 1))
    size = lane_text_size(len(names))
    lanes = max(1.2, len(names) * inches(size, 1.5))
    with drawing(width, 2.2 + lanes + inches(10, 7), dark) as (figure, theme):
        parts = figure.subplot_mosaic(
            [["all", "all"], ["counts", "lengths"]], height_ratios=[2.2, lanes + 0.5]
        )
        low, high = lengths_sec.min(), lengths_sec.max()
        doublings = np.log2(high / low)
        edges = np.geomspace(low, high * 1.0001, 2 + int(doublings * _BINS_A_DOUBLING))
        parts["all"].hist(lengths_sec, edges, color=theme.faint)
        parts["all"].set_ylabel("actions")
        parts["all"].locator_params(axis="y", nbins=4, integer=True)
        parts["all"].set_title(
            f"Lengths of {counted(len(labels), 'action')} in {counted(len(videos), 'video')}"
        )
        _draw_counts(parts["counts"], labels, names, size, width)
        _draw_lengths(parts["lengths"], labels, lengths_sec, len(names))
        told = wrapped("median, middle half and 90 %", 0.3 * width, 10)
        parts["lengths"].set_title(told, fontsize=10)
        for part in ("all", "lengths"):
            set_length_axis(parts[part].xaxis, low, high, longest=int(width))
            parts[part].set_xlabel("seconds")
    return written(figure, path)


def _draw_counts(axes, labels, names, size, width):
    counts = np.bincount(labels, minlength=len(names))
    places = np.arange(len(names))
    bars = axes.barh(places, counts, 0.75, color=class_colours(len(names)))
    axes.bar_label(bars, [str(count) for count in counts], padding=2, fontsize=size - 1)
    axes.set_xlim(0, counts.max() * 1.25)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(places, [shortened(name, longest_name(width)) for name in names], fontsize=size)
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=4, integer=True)
    axes.set_xlabel("actions")


def _draw_lengths(axes, labels, lengths_sec, num_classes):
    """Of each class the middle half as a bar, 90 % as a line and the median as a mark."""
    for label, colour in enumerate(class_colours(num_classes)):
        mine = lengths_sec[labels == label]
        if not len(mine):
            continue
        least, lower, median, upper, most = np.quantile(mine, [0.05, 0.25, 0.5, 0.75, 0.95])
        axes.plot([least, most], [label, label], color=colour, linewidth=1)
        axes.plot([lower, upper], [label, label], color=colour, linewidth=5, solid_capstyle="butt")
        axes.plot(
            median, label, "o", color=axes.get_facecolor(), markersize=4, markeredgecolor=colour
        )
    axes.set_ylim(num_classes - 0.4, -0.6)
    axes.set_yticks([])
