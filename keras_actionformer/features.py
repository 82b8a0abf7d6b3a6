"""Feature files: one array (T, C) a video, read and checked."""

import dataclasses
import pathlib
import zipfile
import zlib

import numpy as np
from absl import logging

from keras_actionformer.errors import UserError, suggest


@dataclasses.dataclass(frozen=True)
class FeatureFiles:
    """A folder with one feature file a video: `<folder>/<prefix><video id><suffix>`.

    A file holds an array (T, C) of T time steps with C channels, as float16, float32, float64 or
    whole numbers: alone in a `.npy`, or under the key `feats` in a `.npz`.

    Args:
      folder: str or `os.PathLike`.
      feats_dim: int, the C every file must have, or None to take any.
      prefix: str, what file names have before the video id.
      suffix: str, `.npy` or `.npz`, or what file names end with, e.g. `_rgb.npy`.

    Raises:
      UserError: the folder does not exist, or `suffix` is of another kind of file.
    """

    folder: str
    feats_dim: int | None = None
    prefix: str = ""
    suffix: str = ".npy"

    def __post_init__(self):
        if not self.suffix.endswith((".npy", ".npz")):
            raise UserError(f"suffix must end in .npy or .npz, but it is {self.suffix!r}.")
        if not pathlib.Path(self.folder).is_dir():
            raise UserError(f"Feature folder '{self.folder}' does not exist; check its path.")

    def path(self, video_id):
        """Returns where the features of a video are expected."""
        return pathlib.Path(self.folder) / f"{self.prefix}{video_id}{self.suffix}"

    def has(self, video_id):
        """Returns whether a video has a feature file."""
        return self.path(video_id).is_file()

    def load(self, video_id):
        """Reads and checks the features of a video.

        Returns:
          float32 (T, C), T at least 1, all finite.

        Raises:
          UserError: the file is missing, broken, empty, not two-dimensional, of another width
            than `feats_dim`, or has a value that is NaN or infinite.
        """
        array = self.open(video_id)
        with np.errstate(over="ignore"):  # What overflows becomes infinite and is found below.
            feats = np.array(array, np.float32, order="C")
        finite_steps = np.isfinite(feats).all(axis=1)
        if not finite_steps.all():
            step = int(np.argmin(finite_steps))
            raise UserError(
                f"Feature file '{self.path(video_id)}' has a NaN or infinite value at step {step} "
                f"({np.count_nonzero(~finite_steps)} of {len(feats)} steps); compute it again."
            )
        return feats

    def open(self, video_id):
        """Opens the features of a video, from a `.npy` without reading its values.

        Returns:
          array (T, C) as stored, read-only memory for a `.npy`; checked like those of `load`
          except for NaN and infinite values.

        Raises:
          UserError: see `load`.
        """
        path = self.path(video_id)
        if not path.is_file():
            raise UserError(f"Feature file '{path}' does not exist{self._nearest(path)}")
        array = _open_array(path)
        self._check(path, array)
        return array

    def _nearest(self, path):
        names = sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []
        count = sum(name.endswith(self.suffix) for name in names)
        return f"; its folder holds {count} *{self.suffix} files" + (
            suggest(path.name, names) or "."
        )

    def _check(self, path, array):
        where = f"Feature file '{path}'"
        if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
            raise UserError(f"{where} must hold real numbers, but its type is {array.dtype}.")
        if array.ndim != 2:
            raise UserError(
                f"{where} must have the shape (time steps, channels), but it is {array.shape}."
            )
        if array.size == 0:
            raise UserError(f"{where} is empty: its shape is {array.shape}; compute it again.")
        if self.feats_dim is not None and array.shape[1] != self.feats_dim:
            fix = "correct feats_dim or take other features"
            if array.shape[0] == self.feats_dim:
                fix = "it seems to be transposed: save it as (time steps, channels)"
            raise UserError(
                f"{where} must have {self.feats_dim} channels, but its shape is {array.shape}; "
                f"{fix}."
            )


def _open_array(path):
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded as archive:
            if "feats" in archive:
                return archive["feats"]
            names = ", ".join(map(repr, archive.files)) or "nothing"
    except (OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(
            f"Feature file '{path}' cannot be read as a NumPy array ({error}); write it again with "
            "numpy.save or numpy.savez from an array of numbers."
        ) from None
    raise UserError(
        f"Feature file '{path}' has no array 'feats', only {names}; save it under this key."
    )


def resize_feats(feats, num_steps):
    """Resizes features in time by linear interpolation.

    Steps are taken for intervals of equal length that fill the sequence before and after, and
    values beyond the centres of the first and the last step are theirs (the rule that other
    libraries call `align_corners=False`).

    Args:
      feats: float (T, C).
      num_steps: int, the T to return.

    Returns:
      float32 (num_steps, C).
    """
    feats = np.asarray(feats, np.float32)
    if len(feats) == num_steps:
        return feats
    position = (np.arange(num_steps) + 0.5) * (len(feats) / num_steps) - 0.5
    position = np.clip(position, 0, len(feats) - 1)
    left = position.astype(np.int64)
    right = np.minimum(left + 1, len(feats) - 1)
    weight = (position - left).astype(np.float32)[:, None]
    return feats[left] * (1 - weight) + feats[right] * weight


def videos_with_features(videos, features):
    """Leaves out the videos that have no feature file, and logs how many those are.

    Released data sets lack some videos; leaving them out is a choice, so it is a step of its own.

    Args:
      videos: sequence of `Video`.
      features: `FeatureFiles`.

    Returns:
      tuple of `Video`.
    """
    present = tuple(video for video in videos if features.has(video.video_id))
    if len(present) < len(videos):
        missing = [v.video_id for v in videos if not features.has(v.video_id)]
        logging.warning(
            "%d of %d videos have no feature file in '%s' and are left out: %s%s",
            len(missing), len(videos), features.folder, ", ".join(missing[:5]),
            ", ..." if len(missing) > 5 else "",
        )
    return present
