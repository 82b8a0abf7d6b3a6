"""How a training went: losses, validation scores and learning rate over epochs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from keras_actionformer.errors import UserError
from keras_actionformer.presets.runs import LOG, read_log
from keras_actionformer.report.charts import training_charts
from keras_actionformer.report.figures import drawing, written

if TYPE_CHECKING:
    import matplotlib.figure

_DASHES = ("-", (0, (4, 2)), (0, (1.5, 1.5)), (0, (6, 1.5, 1.5, 1.5)))


def plot_training(
    workdir: str | os.PathLike[str],
    path: str | os.PathLike[str] | None = None,
    *,
    width: float = 10.0,
    dark: bool = False,
) -> matplotlib.figure.Figure:
    """Draws losses, validation scores and learning rate of a run over its epochs.

    Example:

    ```python
    plot_training("runs/mine", "training.png")
    ```

    Args:
      workdir: str or path, a run's folder; its training may still be going on.
      path, width, dark: as for `plot_timeline`.

    Returns:
      `matplotlib.figure.Figure`.

    Raises:
      UserError: no picture can be drawn, see `plot_timeline`, or the folder has no log of a
        finished epoch.
    """
    log = read_log(workdir)
    if not log:
        raise UserError(f"'{os.path.join(workdir, LOG)}' has no epoch that could be drawn.")
    return plot_log(log, path, width=width, dark=dark)


def plot_log(log, path=None, *, width=10.0, dark=False):
    """`plot_training` of a run's log, what `read_log` returns."""
    charts = training_charts(log)
    with drawing(width, 0.7 + 2.1 * len(charts), dark) as (figure, theme):
        grid = figure.subplots(len(charts), 1, squeeze=False, sharex=True)[:, 0]
        for axes, chart in zip(grid, charts, strict=True):
            _draw_lines(axes, chart, theme)
        grid[-1].set_xlabel(charts[-1]["x_label"])
        grid[-1].locator_params(axis="x", integer=True)
    return written(figure, path)


def _draw_lines(axes, chart, theme):
    """Draws a chart of `training_charts`."""
    for series in chart["series"]:
        axes.plot(
            series["x"],
            series["y"],
            label=series["name"],
            color=theme.colour(series["colour"]),
            linestyle=_DASHES[series["dash"]],
            marker="o" if len(series["x"]) == 1 else None,
            linewidth=1.6,
        )
    axes.set_title(chart["title"])
    axes.set_ylim(bottom=0)
    axes.margins(x=0.01)
    axes.grid(alpha=0.7)
    if any(series["name"] for series in chart["series"]):
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=9)
