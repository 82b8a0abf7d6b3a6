"""Tables of counts whose cells are shaded by share: confusions, levels of the pyramid."""

import numpy as np

from keras_actionformer.report.palette import HEAT, LIGHT

_TOO_DARK = 0.8  # share from which on dark numbers cannot be read


def draw_cells(axes, counts, shares, theme, size=None):
    """Draws counts as cells, each shaded by a share.

    Args:
      axes: matplotlib's.
      counts: int (rows, columns).
      shares: float (rows, columns); more than 1 looks like 1.
      theme: `Theme`.
      size: float, points of the numbers in the cells; None for none.
    """
    from matplotlib.colors import LinearSegmentedColormap

    scale = LinearSegmentedColormap.from_list("shares", [theme.background, HEAT])
    axes.imshow(shares, scale, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    axes.tick_params(length=0)
    if size is None:
        return
    is_light = theme is LIGHT
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = (
                theme.background if is_light and shares[row, column] > _TOO_DARK else theme.text
            )
            axes.text(
                column, row, str(count), ha="center", va="center", fontsize=size, color=colour
            )
