"""The one array that a file of saved objects holds: what PyTorch saved, or a pickle."""

import os

import numpy as np

from keras_actionformer.containers.claims import check_claim
from keras_actionformer.data.pickles import read_pickle
from keras_actionformer.errors import UserError
from keras_actionformer.files import told_if_unreadable


def only_array(path, saved, what, fix):
    """Finds the array in what a file holds: alone, in a dict under `feats`, or as its only array.

    Args:
      path: str or `os.PathLike`.
      saved: what was read of it, plain data.
      what: str, what errors call the array, e.g. `"tensor"`.
      fix: str, how to save it instead.

    Raises:
      UserError: there is no such array, or more than one.
    """
    if isinstance(saved, np.ndarray):
        return saved
    arrays = {}
    if isinstance(saved, dict):
        arrays = {key: value for key, value in saved.items() if isinstance(value, np.ndarray)}
        if "feats" in arrays:
            return arrays["feats"]
        if len(arrays) == 1:
            return next(iter(arrays.values()))
    names = ", ".join(f"{key!r:.80}" for key in list(arrays)[:5]) + ", ..." * (len(arrays) > 5)
    raise UserError(
        f"{path}: expected one {what}, alone or in a dict under 'feats', but it holds "
        f"{f'{len(arrays)} ({names})' if arrays else f'a {type(saved).__name__} without one'}; "
        f"{fix}."
    )


def read_pickled_array(path):
    """Reads a pickle of one array, or of a list of rows: alone or in a dict, see `only_array`.

    Args:
      path: str or `os.PathLike`; nothing that it asks for is run, see `read_pickle`.

    Returns:
      NumPy array.

    Raises:
      UserError: see `read_pickle`; or it holds no such array, or more than one.
    """
    saved, num_bytes = read_pickle(path), os.path.getsize(path)
    with told_if_unreadable(
        f"Feature file '{path}' holds a list that is no table of numbers",
        "pickle the array itself: pickle.dump(array, file)",
    ):
        if isinstance(saved, dict):
            saved = {key: _of_rows(value, num_bytes) for key, value in saved.items()}
        saved = _of_rows(saved, num_bytes)
    return only_array(path, saved, "array", "pickle the array alone: pickle.dump(array, file)")


def _of_rows(value, num_bytes):
    """float64 (rows, columns) of a list of rows, lists or arrays; anything else as it is."""
    if not isinstance(value, list | tuple) or not all(map(_is_row, value)):
        return value
    widths = {len(row) for row in value}
    if len(widths) > 1:
        raise ValueError(f"its rows have {min(widths)} to {max(widths)} numbers")
    # A file may mean one row many times.
    check_claim(8 * len(value) * sum(widths), num_bytes)
    rows = {id(row): _numbers(row) for row in value}
    return np.array([rows[id(row)] for row in value]).reshape(len(value), max(widths, default=0))


def _is_row(value):
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim == 1)


def _numbers(row):
    if isinstance(row, np.ndarray):
        if row.dtype.kind not in "fiu":
            raise ValueError(f"a row of it is of type {row.dtype}")
    elif not all(type(number) in (int, float) for number in row):
        raise ValueError("a row of it has something that is no number")
    return np.asarray(row, np.float64)
