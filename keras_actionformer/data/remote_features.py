"""One stream of features at an address: methods as those of the streams in feature_files.py."""

import dataclasses

from keras_actionformer import remote
from keras_actionformer.containers.numpy_files import RemoteRows, open_remote_npy
from keras_actionformer.data.arrays import not_finite
from keras_actionformer.data.feature_files import (
    HDF5_SUFFIXES,
    StoredSteps,
    between,
    check_suffix,
    checked,
    read_features,
)
from keras_actionformer.errors import UserError
from keras_actionformer.files import path_inside, told_if_unreadable


@dataclasses.dataclass(frozen=True)
class RemoteStream:
    """An address with one file a video below it.

    Of a `.npy` the steps that are sliced are fetched, of others the whole file.

    Args:
      address: str.
      prefix: str, what file names have before the video id.
      suffix: str, what they have after it.
    """

    address: str
    prefix: str
    suffix: str

    def check(self):
        """Raises UserError where nothing can be read; whether there is something, tells a file."""
        if self.address.endswith(HDF5_SUFFIXES):
            raise UserError(
                f"Feature file '{self.address}' is HDF5, which is opened on this machine alone: "
                "copy it here, or write a .npy a video."
            )
        check_suffix(self.suffix)

    def path(self, video_id):
        return path_inside(self.address, f"{self.prefix}{video_id}{self.suffix}")

    def has(self, video_id):
        path = self.path(video_id)
        with told_if_unreadable(f"Feature file '{path}' cannot be looked for"):
            return remote.exists(path)

    def video_ids(self):
        with told_if_unreadable(f"Feature folder '{self.address}' cannot be read"):
            seen = remote.names_in(self.address)
        names = between(seen, self.prefix, self.suffix)
        if not names:
            raise UserError(
                f"Feature folder '{self.address}' does not exist, or holds no features with a name "
                f"{self.prefix}<video id>{self.suffix}."
            )
        return names

    def open(self, video_id):
        path = self.path(video_id)
        try:
            with told_if_unreadable(f"Feature file '{path}' cannot be read"):
                return self._open(path)
        except UserError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise UserError(
                    f"Feature file '{path}' does not exist; check the address."
                ) from None
            raise

    def _open(self, path):
        if not path.endswith(".npy"):
            with remote.local_copy(path) as local:
                return checked(path, read_features(local))
        array = checked(path, open_remote_npy(path))
        if isinstance(array, RemoteRows):
            return RemoteSteps(path, array)
        return _finite(path, array)


class RemoteSteps(StoredSteps):
    """Steps that are looked through when they are read: before, all would be fetched twice."""

    is_checked_when_read = True

    def __getitem__(self, steps):
        start, _, stride = steps.indices(len(self))
        return _finite(self._path, super().__getitem__(steps), start, stride)


def _finite(path, rows, start=0, stride=1):
    """Returns rows, of which the first is the step `start`; UserError where one is not finite."""
    count, first = not_finite(rows)
    if count:
        raise UserError(
            f"Feature file '{path}' has a NaN or infinite value at step {start + first * stride}; "
            "compute it again."
        )
    return rows
