"""Recordings of sensors: tables of raw samples, a row a sample and a column a channel.

A recording is a file: CSV (with a header or none), `.npy` or Parquet. `sensor_windows` makes
features of it.
"""

import dataclasses
import functools
import pathlib

import numpy as np

from keras_actionformer.containers.number_tables import read_number_table
from keras_actionformer.containers.numpy_files import open_npy
from keras_actionformer.datasets.sensor_times import (
    dates_sec,
    is_time,
    numbers_samples,
    rises_evenly,
    unit_sec,
)
from keras_actionformer.errors import UserError
from keras_actionformer.extras import import_extra
from keras_actionformer.files import told_if_unreadable

SUFFIXES = (".csv", ".tsv", ".txt", ".npy", ".parquet")


@dataclasses.dataclass(frozen=True)
class Recording:
    """The samples of one recording.

    Attributes:
      samples: float32 (N, channels).
      channels: tuple of str, the columns' names; empty where the file names none.
      time: float64 (N,), what its time column says; None without one, or where it is neither
        numbers nor dates.
      time_unit_sec: float, the unit of `time` in seconds; None where its header tells none.
      unread_time: str, the first cell of a time column that is neither; None without one.
    """

    samples: np.ndarray
    channels: tuple[str, ...] = ()
    time: np.ndarray | None = None
    time_unit_sec: float | None = None
    unread_time: str | None = None


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

    A column is the time, and no channel, where its header says so, or where the first one rises
    evenly and has no header, or one that says that it counts samples.

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
    with np.errstate(over="ignore"):  # infinite then, which is refused
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
    if recording.time is not None and not np.isfinite(recording.time).all():
        number = int(np.argmin(np.isfinite(recording.time))) + 1
        raise UserError(
            f"'{path}': the time of sample {number} is missing or no finite number; fill it in, or "
            "cut out the sample."
        )


# === Tables ===


def _read_parquet(path):
    parquet = import_extra("pyarrow.parquet", "pyarrow", "parquet", "Reading Parquet files")
    with told_if_unreadable(f"'{path}' cannot be read as a Parquet table"):
        table = parquet.read_table(path)
        arrays = {name: table.column(name).to_numpy() for name in table.column_names}
        times = {name: arrays.pop(name) for name in table.column_names if is_time(name)}
        columns = {name: array.astype(np.float64) for name, array in arrays.items()}
    samples = _as_table(path, np.stack(list(columns.values()), axis=1))
    for name, time in times.items():
        if time.dtype.kind == "M":
            return Recording(samples, tuple(columns), dates_sec(time.astype(str)), 1.0)
        if time.dtype.kind in "fiu":
            return Recording(samples, tuple(columns), time.astype(np.float64), unit_sec(name))
    return Recording(samples, tuple(columns))


def _read_text_table(path):
    table = read_number_table(path, "Recording", "sample")
    header, width = table.header, len(table.first)
    times = [place for place, name in enumerate(header or ()) if is_time(name)]
    # Dates are no numbers, and there is nothing to learn from them.
    dates = [place for place in times if not table.is_number(table.first[place])]
    read = [place for place in range(width) if place not in dates]
    names = [""] * width if header is None else header
    numbers = dict(zip(read, table.numbers(read).T, strict=True))
    if not times and len(numbers) > 1:
        counts = rises_evenly if header is None else functools.partial(numbers_samples, names[0])
        times = [0] if counts(numbers[0]) else []
    channels = [place for place in read if place not in times]
    if not channels:
        raise UserError(f"Recording '{path}' has a time column and no channel beside it.")
    time, unit, unread = None, None, None
    if times and times[0] in dates:
        parts = [[cell.strip() for cell in row.split(table.delimiter)] for row in table.rows]
        texts = [" ".join(cells[place] for place in dates) for cells in parts]  # date and time
        time, unit = dates_sec(texts), 1.0
        unread = texts[0] if time is None else None
    elif times:
        time, unit = numbers[times[0]], unit_sec(names[times[0]])
    samples = _as_table(path, np.stack([numbers[place] for place in channels], axis=1))
    channel_names = tuple(names[place] for place in channels if header)
    return Recording(samples, channel_names, time, unit, unread)
