"""Features of sensors: windows of the samples themselves, flattened channel by channel.

What was chosen once for a data set (`SensorWindows`) lies as `windows.json` beside the features, so
that recordings which come later get theirs by the same numbers.
"""

import contextlib
import dataclasses
import os
import pathlib

import numpy as np

from keras_actionformer.checks import check_keywords
from keras_actionformer.containers.numpy_files import write_npy
from keras_actionformer.data.grid import FeatureGrid
from keras_actionformer.datasets.sensor_times import evenly_sampled
from keras_actionformer.datasets.sensors import read_recording
from keras_actionformer.errors import UserError, counted
from keras_actionformer.files import lock_folder, read_json, write_json

SETTINGS = "windows.json"


@dataclasses.dataclass(frozen=True)
class SensorWindows:
    """How samples become features.

    Args:
      rate_hz: float, samples a second.
      window_samples: int, samples that a step of the features holds.
      stride_samples: int, samples from one step to the next.
      mean, std: floats, one a channel: `(samples - mean) / std` is what the windows hold, so that
        no channel is lost beside one of larger numbers.
    """

    rate_hz: float
    window_samples: int
    stride_samples: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def feats_dim(self) -> int:
        """Channels of a feature."""
        return self.window_samples * len(self.mean)

    @property
    def grid(self) -> FeatureGrid:
        """The timing of the features."""
        return FeatureGrid(self.rate_hz, self.stride_samples, self.window_samples)

    def features(self, samples, name="recording"):
        """The features of one recording.

        Args:
          samples: (N, channels), N at least `window_samples`.
          name: str, names the recording in errors.

        Returns:
          float32 (T, feats_dim), see `cut_windows`.

        Raises:
          UserError: the recording has other channels, or is too short.
        """
        if samples.shape[1] != len(self.mean):
            raise UserError(
                f"Recording {name} has {counted(samples.shape[1], 'channel')}, but the others have "
                f"{len(self.mean)}; all need the same columns in the same order."
            )
        scaled = (samples - np.float32(self.mean)) / np.float32(self.std)
        return cut_windows(scaled, self.window_samples, self.stride_samples, name)

    def save(self, folder):
        """Writes the settings into a folder of features."""
        write_json(pathlib.Path(folder) / SETTINGS, dataclasses.asdict(self), indent=1)


def load_windows(folder):
    """Reads the `SensorWindows` of a folder of features.

    Raises:
      UserError: the folder has none, or the file is damaged.
    """
    path = pathlib.Path(folder) / SETTINGS
    content = read_json(path, "Settings of sensor windows")
    if not isinstance(content, dict):
        raise UserError(f"'{path}' must hold a JSON object; write the features again.")
    check_keywords(SensorWindows, content, f"'{path}'")
    return SensorWindows(
        **{**content, "mean": tuple(content["mean"]), "std": tuple(content["std"])}
    )


def cut_windows(samples, window_samples, stride_samples, name="recording"):
    """Cuts samples into windows, each flattened channel by channel.

    Args:
      samples: (N, channels) samples of one recording, N at least `window_samples`.
      window_samples: int, samples that a window holds.
      stride_samples: int, samples from one window to the next.
      name: str, names the recording in the error.

    Returns:
      float32 ((N - window_samples) // stride_samples + 1, channels * window_samples).

    Raises:
      UserError: the recording is shorter than one window.
    """
    if len(samples) < window_samples:
        raise UserError(
            f"Recording {name} has {counted(len(samples), 'sample')}, less than one window of "
            f"{window_samples}; it seems to be cut off."
        )
    windows = np.lib.stride_tricks.sliding_window_view(samples, window_samples, axis=0)
    windows = windows[::stride_samples]  # (T, channels, window_samples)
    return windows.reshape(len(windows), -1).astype(np.float32)


def measure_recordings(recordings, rate_hz, progress):
    """Reads recordings once, to check them and to know how large the numbers of a channel are.

    Args:
      recordings: dict of name to `pathlib.Path`.
      rate_hz: float, samples a second, which their time columns must not contradict.
      progress: function of (number of recordings done, their number, "recordings").

    Returns:
      (mean, std): two tuples of floats, one a channel, over all samples.

    Raises:
      UserError: a recording cannot be read, has other channels than the first, or a channel has
        the same number everywhere.
    """
    total, sums, squares, channels = 0, 0.0, 0.0, None
    for done, path in enumerate(recordings.values(), start=1):
        recording = read_recording(path)
        samples, _ = evenly_sampled(path, recording, rate_hz)
        if channels is not None and samples.shape[1] != channels:
            raise UserError(
                f"'{path}' has {counted(samples.shape[1], 'channel')}, but the recordings before "
                f"have {channels}; all need the same columns in the same order."
            )
        total, channels = total + len(samples), samples.shape[1]
        samples = samples.astype(np.float64)
        sums, squares = sums + samples.sum(axis=0), squares + np.square(samples).sum(axis=0)
        progress(done, len(recordings), "recordings")
    mean = sums / total
    std = np.sqrt(np.maximum(squares / total - mean**2, 0))
    constant = np.flatnonzero(std <= 1e-6 * np.maximum(np.abs(mean), 1e-6))
    if len(constant):
        name = recording.channels[constant[0]] if recording.channels else constant[0] + 1
        raise UserError(
            f"Channel {name} has the same number in all recordings: was its sensor switched off? "
            "Leave the column out."
        )
    return tuple(mean.tolist()), tuple(std.tolist())


def write_features(recordings, windows, output_dir, progress, tell=print):
    """Writes `<name>.npy`, float32 (T, feats_dim), of every recording, and `windows.json`.

    Args:
      recordings: dict of name to `pathlib.Path`.
      windows: `SensorWindows`.
      output_dir: str or `os.PathLike`, created when missing.
      progress: function of (number of recordings done, their number, "recordings").
      tell: function of a str; told of recordings that were not sampled evenly, or whose times
        cannot be read.

    Raises:
      UserError: a recording cannot be read, or another program writes to the folder.
    """
    output_dir, num_uneven, unread = pathlib.Path(output_dir), 0, []
    with only_writer(output_dir):
        for done, (name, path) in enumerate(recordings.items(), start=1):
            recording = read_recording(path)
            samples, is_interpolated = evenly_sampled(path, recording, windows.rate_hz)
            num_uneven += is_interpolated
            if recording.unread_time is not None:
                unread.append(f"{recording.unread_time!r} in '{path}'")
            feats = windows.features(samples, f"'{path}'")
            write_npy(output_dir / f"{name}.npy", feats)
            progress(done, len(recordings), "recordings")
        windows.save(output_dir)
    if num_uneven:
        tell(
            f"{counted(num_uneven, 'recording')} not sampled evenly: interpolated to "
            f"{windows.rate_hz:g} Hz by the time column."
        )
    if unread:
        tell(
            f"The times of {counted(len(unread), 'recording')} cannot be read, such as "
            f"{unread[0]}, so that gaps would go unseen; samples are taken to follow at "
            f"{windows.rate_hz:g} Hz. Times can be numbers, 10:20:30.5 or 2024-01-31 10:20:30.5."
        )


@contextlib.contextmanager
def only_writer(folder):
    """Has a folder to itself within the block, where its file system has locks.

    For files that belong together: of two writers each would leave some.

    Args:
      folder: str or `os.PathLike`, created when missing.

    Raises:
      UserError: another process writes to it.
    """
    os.makedirs(folder, exist_ok=True)
    try:
        lock = lock_folder(folder)
    except BlockingIOError:
        raise UserError(
            f"'{folder}' is being written by another program: wait until it ends, or name another "
            "folder."
        ) from None
    except OSError:
        lock = None
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)


def suggest_windows(lengths_sec, rate_hz, window_sec=None, step_sec=None):
    """Chooses windows for actions of these lengths.

    The step is an eighth of a short action (nine in ten are longer), and half a second at most:
    ends are then known to a small part of any action, and long ones are left to the levels of the
    pyramid. The window is a second, or as long as a short action where that is less, and two steps
    at least.

    Args:
      lengths_sec: float (N,), lengths of the actions.
      rate_hz: float, samples a second.
      window_sec, step_sec: floats that are given, or None.

    Returns:
      (window_samples, stride_samples): ints.
    """
    short_sec = float(np.quantile(lengths_sec, 0.1))
    if step_sec is None:
        step_sec = min(short_sec / 8, 0.5)
    stride_samples = max(round(step_sec * rate_hz), 1)
    if window_sec is None:
        window_sec = max(min(1.0, short_sec), 2 * stride_samples / rate_hz)
    return max(round(window_sec * rate_hz), 1), stride_samples
