"""Axes of time: ticks at round times, in words that suit how long it is."""

import numpy as np

# Seconds from one tick to the next.
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
_CLOCK_STEPS = (60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)
_LONGEST_IN_SECONDS = 600


def set_time_axis(axes, duration_sec, num_ticks, size=None):
    """Makes the x axis of `axes` one of time from 0.

    Args:
      axes: matplotlib's.
      duration_sec: float, where it ends.
      num_ticks: int, at most so many.
      size: float, points of the font, or None for that of other axes.

    Returns:
      str, what the axis is to be called.
    """
    in_seconds = duration_sec <= _LONGEST_IN_SECONDS
    steps = _STEPS if in_seconds else _CLOCK_STEPS
    step = next((step for step in steps if duration_sec / step <= num_ticks), None)
    if step is None:
        step = steps[-1] * (int(duration_sec / steps[-1] / num_ticks) + 1)
    ticks = [place * step for place in range(int(duration_sec / step) + 1)]
    with_hours = duration_sec > 3600
    labels = [f"{tick:g}" if in_seconds else _clock(tick, with_hours) for tick in ticks]
    axes.set_xlim(0, duration_sec)
    axes.set_xticks(ticks, labels, fontsize=size)
    return "seconds" if in_seconds else "hours:minutes" if with_hours else "minutes:seconds"


def _clock(seconds, with_hours):
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}" if with_hours else f"{minutes}:{seconds:02d}"


def set_length_axis(axis, low_sec, high_sec, size=None, longest=9):
    """Makes an axis one of lengths, on a logarithmic scale.

    Args:
      axis: `axes.xaxis` or `axes.yaxis`.
      low_sec, high_sec: floats above 0, what it must reach.
      size: float, points of the font, or None for that of other axes.
      longest: int, at most so many ticks.
    """
    getattr(axis.axes, f"set_{axis.axis_name}scale")("log")
    ticks = np.outer(10.0 ** np.arange(-4, 8), [1, 2, 5]).ravel()
    low_sec, high_sec = low_sec / 1.2, high_sec * 1.2
    inside = ticks[(low_sec <= ticks) & (ticks <= high_sec)]
    if len(inside) > longest:  # powers of ten alone
        inside = [tick for tick in inside if np.isclose(np.log10(tick) % 1, 0)]
    axis.set_ticks(inside, [f"{tick:g}" for tick in inside], fontsize=size)
    axis.set_ticks([], minor=True)
    getattr(axis.axes, f"set_{axis.axis_name}lim")(low_sec, high_sec)
