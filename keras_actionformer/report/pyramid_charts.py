"""Which level of the pyramid has found what."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from keras_actionformer.detection.detections import Detections
from keras_actionformer.detection.raw_outputs import RawOutputs
from keras_actionformer.errors import UserError
from keras_actionformer.report.cells import draw_cells
from keras_actionformer.report.figures import (
    drawing,
    inches,
    lane_text_size,
    longest_name,
    shortened,
    written,
)
from keras_actionformer.report.time_axis import set_length_axis

if TYPE_CHECKING:
    import matplotlib.figure

_SHORTEST_SEC = 1e-3


def plot_levels(
    raw_outputs: RawOutputs | Mapping[str, RawOutputs],
    detections: Detections | Mapping[str, Detections],
    path: str | os.PathLike[str] | None = None,
    *,
    width: float = 10.0,
    dark: bool = False,
) -> matplotlib.figure.Figure:
    """Draws how many detections each level of the pyramid has found, how long, and of which class.

    The shade of a cell is the level's share of the detections of its class.

    Example:

    ```python
    plot_levels(model.raw(feats), model.detect(feats, score_threshold=0.3), "levels.png")
    ```

    Args:
      raw_outputs: `RawOutputs` of a video, or a dict of video ids to them.
      detections: `Detections` of the same video, or a dict.
      path, width, dark: as for `plot_timeline`.

    Returns:
      `matplotlib.figure.Figure`.

    Raises:
      UserError: no picture can be drawn, see `plot_timeline`, a video lacks raw outputs,
        or there is no detection.
    """
    if isinstance(detections, Detections):
        raw_outputs, detections = {"": raw_outputs}, {"": detections}
    for video_id in detections:
        if video_id not in raw_outputs:
            raise UserError(f"plot_levels: raw_outputs lack the video {video_id!r}.")
    levels, labels, lengths_sec, names = [], [], [], ()
    for video_id, found in detections.items():
        levels += raw_outputs[video_id].levels_of(found).tolist()
        labels += found.labels.tolist()
        lengths_sec += np.diff(found.segments_sec)[:, 0].tolist()
        names = names or found.class_names
    if not levels:
        raise UserError("plot_levels: there is no detection that could be drawn.")
    num_levels = 1 + max(int(raw.levels.max()) for raw in raw_outputs.values())
    lengths_sec = np.maximum(lengths_sec, _SHORTEST_SEC)
    shown, places = np.unique(labels, return_inverse=True)
    size = lane_text_size(len(shown))
    lanes = max(1.0, len(shown) * inches(size, 1.5))
    with drawing(width, lanes + 3.2, dark) as (figure, theme):
        counts = np.zeros((len(shown), num_levels), int)
        np.add.at(counts, (places, levels), 1)
        lengths, cells = figure.subplots(2, 1, sharex=True, height_ratios=[2.2, lanes])
        for level in range(num_levels):
            mine = lengths_sec[np.array(levels) == level]
            if len(mine):
                # A little beside each other: many are of one length.
                aside = level + 0.6 * ((np.arange(len(mine)) + 0.5) / len(mine) - 0.5)
                lengths.plot(aside, mine, ".", color=theme.faint, alpha=0.8, markersize=4)
                lengths.plot([level - 0.35, level + 0.35], [np.median(mine)] * 2, color=theme.text)
        set_length_axis(lengths.yaxis, lengths_sec.min(), lengths_sec.max(), longest=6)
        lengths.set_ylabel("seconds")
        shares = counts / counts.sum(axis=1, keepdims=True)
        draw_cells(cells, counts, shares, theme, size - 1)
        cells.set_yticks(
            range(len(shown)),
            [
                shortened(names[label] if names else f"class_{label}", longest_name(width))
                for label in shown
            ],
            fontsize=size,
        )
        totals = counts.sum(axis=0)
        cells.set_xticks(
            range(num_levels), [f"{level}\n({total})" for level, total in enumerate(totals)]
        )
        cells.set_xlabel("level of the pyramid, 0 the finest (and its detections)")
    return written(figure, path)
