"""Recordings of sensors: tables of raw samples, a row a sample and a column a channel.

A recording is a file: CSV (with a header or none), `.npy` or Parquet. `sensor_windows` makes
features of it.
"""

import csv
import dataclasses
import io
import pathlib

import numpy as np

from keras_actionformer.containers.numpy_files import open_npy
from keras_actionformer.errors import UserError
from keras_actionformer.extras import import_extra
from keras_actionformer.files import read_text, told_if_unreadable

SUFFIXES = (".csv", ".tsv", ".txt", ".npy", ".parquet")

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
_RATE_TOLERANCE = 0.05  # of the frame rate that a time column tells


@dataclasses.dataclass(frozen=True)
class Recording:
    """The samples of one recording.

    Attributes:
      samples: float32 (N, channels).
      channels: tuple of str, the columns' names; empty where the file names none.
      time_sec: float64 (N,), what its time column says, in seconds; None without one, or where it
        is not a number.
    """

    samples: np.ndarray
    channels: tuple[str, ...] = ()
    time_sec: np.ndarray | None = None


def find_recordings(folder):
    """The recordings of a folder by name, the file's without its suffix.

    Args:
      folder: str or `os.PathLike`.

    Returns:
      dict of str to `pathlib.Path`, in the order of their names.

    Raises:
      UserError: there is no such folder, or none in it, or two of one name.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise UserError(f"'{folder}' is no folder; give the one that holds the recordings.")
    found = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in found:
            raise UserError(
                f"'{found[path.stem]}' and '{path}' are two recordings of one name, which the "
                "annotations could not tell apart; rename or remove one."
            )
        found[path.stem] = path
    if not found:
        raise UserError(f"'{folder}' holds no recordings; expected files {', '.join(SUFFIXES)}.")
    return found


def read_recording(path):
    """Reads the samples of a recording.

    A column is the time, and no channel, where its header says so, or where without a header the
    first column rises evenly by a whole number or a part of a second.

    Args:
      path: `pathlib.Path`, a file with one of `SUFFIXES`.

    Returns:
      `Recording`.

    Raises:
      UserError: the file is no table of finite numbers; which cell is told.
    """
    suffix = path.suffix.lower()
    if suffix == ".npy":
        with told_if_unreadable(f"'{path}' cannot be read as a NumPy array"):
            samples = open_npy(path)
        recording = Recording(_as_table(path, samples))
    elif suffix == ".parquet":
        recording = _read_parquet(path)
    else:
        recording = _read_text_table(path)
    _check_finite(path, recording)
    return recording


def _as_table(path, samples):
    """float32 (N, channels) of an array that may have one channel and no axis for it."""
    if samples.ndim == 1:
        samples = samples[:, None]
    if samples.ndim != 2 or not samples.size or samples.dtype.kind not in "fiu":
        raise UserError(
            f"'{path}' must hold numbers of shape (samples, channels), but holds {samples.dtype} "
            f"of shape {samples.shape}."
        )
    return samples.astype(np.float32)


def _check_finite(path, recording):
    rows, columns = np.nonzero(~np.isfinite(recording.samples))
    if len(rows):
        column = int(columns[0])
        name = recording.channels[column] if recording.channels else f"number {column + 1}"
        raise UserError(
            f"'{path}': sample {rows[0] + 1} of channel {name} is no finite number "
            f"({len(rows)} such values in all); fill or cut out what the sensor did not record."
        )


# === Tables ===


def _read_parquet(path):
    parquet = import_extra("pyarrow.parquet", "pyarrow", "parquet", "Reading Parquet files")
    with told_if_unreadable(f"'{path}' cannot be read as a Parquet table"):
        table = parquet.read_table(path)
        columns = {
            name: table.column(name).to_numpy().astype(np.float64)
            for name in table.column_names
            if not _is_time(name)
        }
        times = {
            name: table.column(name).to_numpy() for name in table.column_names if _is_time(name)
        }
    samples = _as_table(path, np.stack(list(columns.values()), axis=1))
    numbers = [(name, time) for name, time in times.items() if time.dtype.kind in "fiu"]
    time_sec = _seconds(numbers[0][1], numbers[0][0]) if numbers else None
    return Recording(samples, tuple(columns), time_sec)


def _read_text_table(path):
    text = read_text(path, "Recording")
    lines = text.splitlines()
    delimiter, decimal = _separators(path, lines)
    first = _cells(lines[0], delimiter)
    header = None if all(_is_number(cell, decimal) for cell in first) else first
    if decimal == ",":
        text = text.replace(",", ".")
    skip = 0 if header is None else 1
    is_time = [_is_time(name) for name in header or ()]
    columns = range(len(first))
    rows = [line for line in lines[skip:] if line.strip()]
    if not rows:
        raise UserError(f"Recording '{path}' holds no samples.")
    numeric = _cells(rows[0], delimiter)
    if len(numeric) < len(first):
        raise UserError(
            f"Recording '{path}' is not a table of numbers (of the {len(first)} columns of its "
            f"header, its first row has {len(numeric)}); every row needs a number in each column."
        )
    # Dates are no numbers, and there is nothing to learn from them.
    read = [i for i in columns if not (is_time and is_time[i]) or _is_number(numeric[i], decimal)]
    try:
        table = np.loadtxt(
            io.StringIO(text),
            delimiter=delimiter,
            skiprows=skip,
            usecols=read,
            ndmin=2,
            comments=None,
        )
    except ValueError as error:
        raise UserError(
            f"Recording '{path}' is not a table of numbers ({str(error).rstrip('.')}, counted "
            "without the header); every row needs a number in each column."
        ) from None
    if header is None:
        times = [0] if table.shape[1] > 1 and _rises_evenly(table[:, 0]) else []
    else:
        times = [place for place, i in enumerate(read) if is_time[i]]
    names = () if header is None else tuple(header[i] for i in read)
    time_sec = _seconds(table[:, times[0]], names[times[0]] if names else "") if times else None
    channels = [i for i in range(len(read)) if i not in times]
    if not channels:
        raise UserError(f"Recording '{path}' has a time column and no channel beside it.")
    return Recording(
        table[:, channels].astype(np.float32), tuple(names[i] for i in channels if names), time_sec
    )


def _cells(line, delimiter):
    if delimiter is None:
        return line.split()
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]


def _separators(path, lines):
    """(delimiter, decimal mark) of a table; a delimiter of None is any space."""
    rows = [line for line in lines[:20] if line.strip()]
    if not rows:
        raise UserError(f"Recording '{path}' is empty.")
    sample = rows[1:] or rows  # without the header, which may have any text
    for delimiter in (";", "\t"):
        if all(delimiter in row for row in sample):
            return delimiter, "," if any("," in row for row in sample) else "."
    if all("," in row for row in sample):
        return ",", "."
    return None, "."  # spaces, or a single column


def _is_number(cell, decimal):
    try:
        float(cell.replace(decimal, "."))
    except ValueError:
        return False
    return True


# === Time ===


def _is_time(name):
    words = name.lower().replace("(", " ").replace("_", " ").replace("[", " ").split()
    return bool(words) and words[0] in _TIME_NAMES


def _rises_evenly(values):
    steps = np.diff(values[:1000])
    return len(steps) > 2 and steps.min() > 0 and np.ptp(steps) <= 0.02 * steps.max()


def _seconds(values, name):
    """Times in seconds, from their name or else from how far apart they are."""
    name = name.lower()
    step = float(np.median(np.diff(values))) if len(values) > 1 else 0.0
    for unit, factor in (("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9), ("s", 1.0)):
        if name.strip("[]() ").endswith((f"_{unit}", f"({unit}", f"[{unit}", f" {unit}")):
            return np.asarray(values) * factor
    # Nothing is sampled less often than once in two seconds or more often than a million times.
    if step >= 2 or step <= 0:
        return None
    return np.asarray(values, np.float64)


def check_rate(path, recording, rate_hz):
    """Raises UserError where the time column of a recording contradicts the frame rate.

    Args:
      path: `pathlib.Path`, for the message.
      recording: `Recording`.
      rate_hz: float.
    """
    if recording.time_sec is None or len(recording.time_sec) < 2:
        return
    step = float(np.median(np.diff(recording.time_sec)))
    if step == 1 or step <= 0:  # the samples' numbers
        return
    if abs(step * rate_hz - 1) > _RATE_TOLERANCE:
        raise UserError(
            f"The time column of '{path}' has a sample every {step:.6g} s, {1 / step:.6g} Hz, but "
            f"--rate_hz is {rate_hz:g}; correct it, or rename the column if it is no time."
        )
