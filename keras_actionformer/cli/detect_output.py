"""What `detect` tells of what it found, and whether there is a place to write it to."""

import os
import pathlib

from keras_actionformer.detection.bouts import bout_table, count_bouts
from keras_actionformer.errors import UserError, counted
from keras_actionformer.remote import is_address


def sum_up(found, recommended, are_bouts):
    """How much was found; of bouts a table, of detections what the model recommends.

    Args:
      found: {video id: `Detections`}.
      recommended: `Thresholds`, or None.
      are_bouts: bool.

    Returns:
      str.
    """
    num_files = counted(len(found), "file")
    total = sum(map(len, found.values()))
    if are_bouts:
        text = f"{counted(total, 'bout')} in {num_files}"
        return f"{text}\n{bout_table(count_bouts(found))}" if total else f"{text}."
    if recommended is None:
        return f"{counted(total, 'detection')} in {num_files}."
    return (
        f"{counted(total, 'detection')} in {num_files}; the model recommends those with a "
        f"score from {recommended} on: --score_threshold={recommended.common:g}, or --bouts."
    )


def check_writable(flag, is_folder=False):
    """Makes the folder that holds the file of an option.

    Args:
      flag: the option's flag; of None there is no file.
      is_folder: bool, whether it may be an empty folder instead.

    Raises:
      UserError: the file cannot be written.
    """
    if flag.value is None:
        return
    option, path = f"--{flag.name}={flag.value}", pathlib.Path(flag.value)
    if is_address(flag.value):
        raise UserError(f"{option} must be a file here: copy it to its address.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{option}: {path.parent} is no folder ({error.strerror}).") from None
    if (path.is_dir() and not is_folder) or not os.access(path.parent, os.W_OK):
        raise UserError(f"{option} cannot be written: choose another file.")
