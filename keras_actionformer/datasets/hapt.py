"""UCI HAPT: smartphone recordings of activities and postural transitions, as features and labels.

"Smartphone-Based Recognition of Human Activities and Postural Transitions", version 2.1
(Reyes-Ortiz et al., Neurocomputing 2015; no commercial use): 61 recordings of 30 people wearing a
phone on the waist, 50 samples a second of acceleration (g) and angular speed (rad/s) on three axes
each, with 1,214 segments of 12 activities. Real, small (6 hours) and free of video: a whole
training takes minutes on two cores.

The features ("HAPT-300") are the samples themselves: windows of 50 samples every 25, flattened
channel by channel (50 of acc x, then acc y, ..., gyro z) to 300 numbers a step. Another stride
gives the same windows at other times.
"""

import pathlib
import re

import numpy as np

from keras_actionformer.containers.numpy_files import read_npz, write_npy
from keras_actionformer.data.annotation_files import save_annotations
from keras_actionformer.data.annotations import Annotations, Video
from keras_actionformer.datasets.sensor_windows import cut_windows
from keras_actionformer.errors import UserError
from keras_actionformer.files import told_if_unreadable

FPS = 50
STRIDE_FRAMES = 25
WINDOW_FRAMES = 50
# The people whose recordings are the test set of the data set's own split (Test/subject_id_test).
TEST_USERS = (2, 4, 9, 10, 12, 13, 18, 20, 24)

_RECORDING = re.compile(r"exp(\d+)_user(\d+)$")


def prepare_hapt(source, output_dir, progress=print, stride_frames=STRIDE_FRAMES):
    """Writes the features and annotations of HAPT in the form that this library trains on.

    Files are `feats/<recording>.npy`, float32 (T, 300), and `annotations.json` with the subsets
    "training" (21 people, 42 recordings) and "test" (9 people, 19 recordings); the annotations come
    last, so that where they are, the features are complete. Doing it again gives the same files.

    Args:
      source: str or `os.PathLike`: UCI's unpacked folder or the `RawData` in it, or a file
        `hapt.npz` (or its folder) with the same recordings. `activity_labels.txt` is expected
        beside `RawData` or `hapt.npz`.
      output_dir: str or `os.PathLike`, created when missing.
      progress: function of one str, told after each recording and at the end.
      stride_frames: int, samples from one window to the next.

    Returns:
      `Annotations`.

    Raises:
      UserError: a file is missing, broken, or disagrees with another one.
    """
    if stride_frames < 1:
        raise UserError(f"stride_frames must be at least 1, but it is {stride_frames}.")
    read, names, class_names, label_rows = _open_source(pathlib.Path(source))
    output_dir = pathlib.Path(output_dir)
    videos = []
    for i, name in enumerate(names):
        samples = read(name)
        feats = cut_windows(samples, WINDOW_FRAMES, stride_frames, name)
        write_npy(output_dir / "feats" / f"{name}.npy", feats)
        videos.append(_video(name, len(samples), label_rows, class_names))
        progress(f"{i + 1:3d}/{len(names)} {name}: {len(feats)} steps")
    annotations = Annotations(tuple(videos), class_names)
    save_annotations(output_dir / "annotations.json", annotations)
    progress(_summary(annotations, output_dir))
    return annotations


def _open_source(source):
    """Finds out what `source` is.

    Returns:
      (read, names, class_names, label_rows): a function from a recording's name to its float
      samples (N, 6), all names, the activities, and int (M, 5) rows of labels.txt.
    """
    if not source.exists():
        raise UserError(f"'{source}' does not exist; give the folder that UCI's zip unpacks to.")
    archive = source / "hapt.npz" if source.is_dir() else source
    if archive.is_file():
        content = _read_archive(archive)
        names = sorted(key for key in content if _RECORDING.match(key))
        _check_found(archive, names)
        scale = np.repeat([content["acc_scale_g"], content["gyro_scale_rad_s"]], 3)
        class_names = _read_activities(archive.parent)
        return (lambda name: content[name] * scale), names, class_names, content["labels"]

    raw = source / "RawData" if (source / "RawData").is_dir() else source
    names = sorted(path.stem.removeprefix("acc_") for path in raw.glob("acc_exp*_user*.txt"))
    _check_found(raw, names)
    label_rows = _read_numbers(raw / "labels.txt", 5).astype(np.int64)
    return (lambda name: _read_samples(raw, name)), names, _read_activities(raw.parent), label_rows


def _check_found(place, names):
    if not names:
        raise UserError(
            f"'{place}' holds no recordings; expected files like acc_exp01_user01.txt in the "
            "folder RawData of UCI's HAPT data set."
        )


def _read_archive(path):
    with told_if_unreadable(f"'{path}' cannot be read as a NumPy archive"):
        content = read_npz(path)
    for key in ("labels", "acc_scale_g", "gyro_scale_rad_s"):
        if key not in content:
            raise UserError(f"'{path}' lacks the array {key!r}; take the right hapt.npz.")
    return content


def _read_samples(raw, name):
    """Returns the samples (N, 6) of one recording: acc x y z, gyro x y z."""
    acc = _read_numbers(raw / f"acc_{name}.txt", 3)
    gyro = _read_numbers(raw / f"gyro_{name}.txt", 3)
    if len(acc) != len(gyro):
        raise UserError(
            f"Recording {name} in '{raw}' has {len(acc)} samples of acceleration but {len(gyro)} "
            "of angular speed; unpack the data set again."
        )
    return np.concatenate([acc, gyro], axis=1)


def _read_numbers(path, columns):
    if not path.exists():
        raise UserError(f"'{path}' does not exist; unpack the whole data set.")
    with told_if_unreadable(f"'{path}' is not a table of numbers"):
        numbers = np.loadtxt(path, ndmin=2)
    if numbers.shape[1:] != (columns,) or not np.isfinite(numbers).all():
        raise UserError(
            f"'{path}' must hold rows of {columns} finite numbers, but its shape is "
            f"{numbers.shape}."
        )
    return numbers


def _read_activities(folder):
    """Returns the activity names in the order of their numbers, from lines like '1 WALKING'."""
    path = folder / "activity_labels.txt"
    with told_if_unreadable(
        f"'{path}' cannot be read", "it is part of UCI's zip and names the activities"
    ):
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if line]
    if not lines or any(line[0] != str(i + 1) or len(line) != 2 for i, line in enumerate(lines)):
        raise UserError(f"'{path}' must hold lines '1 NAME', '2 NAME', ... in this order.")
    return tuple(name for _, name in lines)


def _video(name, num_samples, label_rows, class_names):
    """Returns the `Video` of a recording; rows count samples from 1 and include the last one."""
    experiment, user = (int(number) for number in _RECORDING.match(name).groups())
    rows = label_rows[(label_rows[:, 0] == experiment) & (label_rows[:, 1] == user)]
    activity, first, last = rows[:, 2], rows[:, 3], rows[:, 4]
    wrong = (activity < 1) | (activity > len(class_names)) | (first < 1) | (last < first)
    wrong |= last > num_samples
    if wrong.any():
        raise UserError(
            f"Label row {rows[np.argmax(wrong)].tolist()} does not fit recording {name} with "
            f"{num_samples} samples and {len(class_names)} activities; unpack the data set again."
        )
    return Video(
        video_id=name,
        subset="test" if user in TEST_USERS else "training",
        duration_sec=num_samples / FPS,
        fps=float(FPS),
        segments_sec=np.stack([first - 1, last], axis=1) / FPS,
        labels=activity.astype(np.int64) - 1,
    )


def _summary(annotations, output_dir):
    parts = []
    for subset in ("training", "test"):
        videos = [video for video in annotations.videos if video.subset == subset]
        segments = sum(len(video.labels) for video in videos)
        parts.append(f"{len(videos)} {subset} recordings with {segments} segments")
    return f"Wrote {' and '.join(parts)} to '{output_dir}'."
