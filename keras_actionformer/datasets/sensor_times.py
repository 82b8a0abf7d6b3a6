"""When samples were taken: what the time column of a recording says, and an even grid of them."""

import warnings

import numpy as np

from keras_actionformer.errors import UserError, counted

# What headers call the time of a sample.
_TIME_NAMES = (
    "time",
    "timestamp",
    "t",
    "sec",
    "second",
    "seconds",
    "ms",
    "date",
    "datetime",
    "zeit",
)
# What they call the number of a sample; a data frame's own has no name.
_NUMBER_NAMES = ("", "unnamed: 0", "index", "nr", "no", "number", "sample", "row", "frame")
_UNITS_SEC = {"ms": 1e-3, "us": 1e-6, "ns": 1e-9, "s": 1.0}
_RATE_TOLERANCE = 0.05  # of the frame rate that a time column tells
_DAY_SEC = 86_400
_LONGEST_GAP_SEC = 1.0  # over which samples are made up between two


def is_time(name):
    """bool, whether a column's name says that it is the time."""
    words = name.lower().replace("(", " ").replace("_", " ").replace("[", " ").split()
    return bool(words) and words[0] in _TIME_NAMES


def numbers_samples(name, values):
    """bool, whether a column counts the samples, by its name and its values."""
    return name.lower() in _NUMBER_NAMES and rises_evenly(values)


def rises_evenly(values):
    """bool, whether each of the first values is as much larger than the one before."""
    steps = np.diff(values[:1000])
    return len(steps) > 2 and steps.min() > 0 and np.ptp(steps) <= 0.02 * steps.max()


def unit_sec(name):
    """The seconds of the unit that the name of a time column ends with; None without one."""
    name = name.lower().strip("[]() ")
    for unit, seconds in _UNITS_SEC.items():
        if name.endswith((f"_{unit}", f"({unit}", f"[{unit}", f" {unit}")):
            return seconds
    return None


def dates_sec(cells):
    """Seconds, float64 (N,), of dates with times as ISO 8601 writes them, or of times of a day.

    A day may end between two times. The mark before parts of a second may be a comma. None of other
    texts.
    """
    cells = [cell.removesuffix("Z").replace(",", ".") for cell in cells]
    is_clock = all(":" in cell[:3] for cell in cells)
    if is_clock:  # 9:05:01 or 09:05:01, of any day
        cells = [f"1970-01-01T{'0' * (2 - cell.index(':'))}{cell}" for cell in cells]
    try:
        with warnings.catch_warnings():  # NumPy's: it keeps no time zone, only what it is in UTC
            warnings.simplefilter("ignore")
            dates = np.array(cells, "datetime64[us]")
    except ValueError:
        return None
    # From the first: the seconds since 1970 leave too few digits for small differences.
    seconds = (dates - dates[0]) / np.timedelta64(1, "s")
    return np.unwrap(seconds, period=_DAY_SEC) if is_clock else seconds


def evenly_sampled(path, recording, rate_hz):
    """The samples of a recording as they would have been taken at an even rate.

    Samples that lie where they should are taken as they are. Others, of a clock that runs fast or
    slow or by fits, are interpolated between their neighbours, so that the time of a sample is its
    number by the rate, as everything later takes it to be.

    Args:
      path: `pathlib.Path`, for messages.
      recording: `Recording`.
      rate_hz: float.

    Returns:
      (float32 (M, channels), bool, whether they are interpolated).

    Raises:
      UserError: its time column contradicts the rate, goes back, or leaves out more than a second.
    """
    time_sec = _time_sec(path, recording, rate_hz)
    if time_sec is None:
        return recording.samples, False
    steps = np.diff(time_sec)
    back = np.flatnonzero(steps < 0)
    if len(back):
        raise UserError(
            f"The time column of '{path}' goes back after sample {back[0] + 1}: are these two "
            "recordings in one file? Cut it into two there, each with its own annotations."
        )
    grid_sec = np.arange(len(time_sec)) / rate_hz
    # The half of a unit in the last place that a table may leave out is no reason to interpolate.
    if np.max(np.abs(time_sec - time_sec[0] - grid_sec)) <= 1 / rate_hz:
        return recording.samples, False
    gaps = np.flatnonzero(steps > max(_LONGEST_GAP_SEC, 2 / rate_hz))
    if len(gaps):
        raise UserError(
            f"The time column of '{path}' leaves out {steps[gaps[0]]:.6g} s after sample "
            f"{gaps[0] + 1} ({counted(len(gaps), 'such gap')} in all): cut it into two recordings "
            "there, each with its own annotations, or fill in what the sensor did not record."
        )
    num_samples = int((time_sec[-1] - time_sec[0]) * rate_hz + 1e-6) + 1
    grid_sec = time_sec[0] + np.arange(num_samples) / rate_hz
    columns = [np.interp(grid_sec, time_sec, channel) for channel in recording.samples.T]
    return np.stack(columns, axis=1).astype(np.float32), True


def _time_sec(path, recording, rate_hz):
    """What the time column says, in seconds; None where it says nothing."""
    time = recording.time
    if time is None or len(time) < 2:
        return None
    step = float(np.median(np.diff(time)))
    if step <= 0:  # of a clock without parts of a second
        return None
    if recording.time_unit_sec is not None:
        unit = recording.time_unit_sec
    elif step == 1:  # the samples' numbers
        unit = 1 / rate_hz
    else:
        fitting = [u for u in _UNITS_SEC.values() if abs(step * u * rate_hz - 1) <= _RATE_TOLERANCE]
        # Nothing is sampled less often than once in two seconds.
        if not fitting and step >= 2:
            return None
        unit = fitting[0] if fitting else 1.0
    step_sec = step * unit
    if abs(step_sec * rate_hz - 1) > _RATE_TOLERANCE:
        raise UserError(
            f"The time column of '{path}' has a sample every {step_sec:.6g} s, "
            f"{1 / step_sec:.6g} Hz, but --rate_hz is {rate_hz:g}; correct it, or rename the "
            "column if it is no time."
        )
    return time * unit
