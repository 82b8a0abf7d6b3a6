"""What `detect` is given, checked: sequences of features, and a number for each of them.

Features may be longer than memory allows. Nothing here reads or converts all of a sequence at
once but `check_sequences`, which is asked to.
"""

import os
from collections.abc import Mapping

import numpy as np

from keras_actionformer.checks import from_fields, number, shown
from keras_actionformer.data.arrays import not_finite
from keras_actionformer.data.grid import FeatureGrid
from keras_actionformer.errors import UserError, counted


def open_inputs(model, feats, grid, fps, duration_sec):
    """Checks what `detect` is told of sequences.

    Args:
      model: `ActionFormer`.
      others: as for its `detect`.

    Returns:
      (sequences, `FeatureGrid` of each, duration of each or None, whether it was a single one). Of
      a model that shares out durations the grids are None.

    Raises:
      UserError: see `open_sequences` and `grids_of`, or a duration is not above 0.
    """
    sequences, single = open_sequences(feats, model.architecture.channels)
    count = len(sequences)
    if model.postprocess.spread_duration and model.architecture.resize_to is not None:
        grids = [None] * count
    else:
        grids = grids_of(from_fields("grid", grid, FeatureGrid) or model.grid, fps, count)
    durations_sec = one_each("duration_sec", duration_sec, count)
    check_durations(durations_sec)
    return sequences, grids, durations_sec, single


def open_sequences(feats, channels, name="feats"):
    """Checks the features of one sequence or of many, and leaves them where they are.

    Args:
      feats: (T, C) float array, or a list, generator or `tf.data.Dataset` of such arrays; an array
        may be a memory map, or anything with a shape that gives arrays when it is sliced.
      channels: int, the C that each must have.
      name: str, the argument that messages name.

    Returns:
      (list of (T, C), bool): the sequences, to be converted to float32 when they are sliced, and
      whether it was a single one.

    Raises:
      UserError: a sequence has another shape, no step, or NaN or infinite values.
    """
    single = getattr(feats, "ndim", None) == 2
    is_several = hasattr(feats, "__iter__") or hasattr(feats, "__getitem__")
    if isinstance(feats, str | bytes | os.PathLike | Mapping) or not (single or is_several):
        raise UserError(
            f"{name} must be an array (T, {channels}), or several, but is {shown(feats)}: read it "
            "before, for example by numpy.load(path)."
        )
    shape = getattr(feats, "shape", ())
    if len(shape) == 3 and shape[0] > 1 and shape[1] == 1:
        raise UserError(
            f"{name} has the shape {tuple(shape)}: {shape[0]} sequences of one step each, or one "
            f"of {shape[0]} steps? That would be {name}[:, 0], the others list({name})."
        )
    sequences = [
        _check_feats(x, channels, name if single else f"{name}[{i}]")
        for i, x in enumerate([feats] if single else feats)
    ]
    return sequences, single


def check_sequences(feats, channels, name="feats"):
    """As `open_sequences`, but all of them as float32 arrays."""
    sequences, single = open_sequences(feats, channels, name)
    return [np.asarray(x[:]).astype("float32", copy=False) for x in sequences], single


def _check_feats(feats, channels, name):
    given = type(feats).__name__
    try:
        if getattr(feats, "ndim", None) != 2 or not isinstance(feats[:0], np.ndarray):
            feats = np.asarray(feats)
        if feats.dtype.kind in "cmM":  # NumPy would leave out what is no float of them
            raise TypeError
        if feats.dtype.kind not in "biuf":
            feats = feats.astype("float32")
    except UserError:  # of a file
        raise
    except (TypeError, ValueError):
        dtype = getattr(feats, "dtype", None)
        of = f" of {dtype}" if isinstance(dtype, np.dtype) else ""
        raise UserError(f"{name} must be an array of real numbers, but is {given}{of}.") from None
    if feats.ndim != 2 or feats.shape[1] != channels:
        raise UserError(
            f"{name} must be (T, {channels}), {counted(channels, 'channel')} a step as the "
            "model was built "
            f"for, but its shape is {feats.shape}."
        )
    if not len(feats):
        raise UserError(f"{name} is empty: its shape is {feats.shape}.")
    if getattr(feats, "is_checked_when_read", False):
        return feats
    count, first = not_finite(feats)
    if count:
        raise UserError(
            f"{name} has NaN or infinite values in {count} of {len(feats)} steps, first at step "
            f"{first}."
        )
    return feats


def one_each(name, value, count):
    """Spreads a number or None over `count` sequences, or checks one value a sequence."""
    if getattr(value, "ndim", None) == 0:  # an array, or a tensor, of one number
        value = np.asarray(value).item()
    if isinstance(value, str) or not hasattr(value, "__iter__"):  # None, or checked as a number
        return [value] * count
    values = list(value)
    if len(values) != count:
        raise UserError(
            f"{name} has {counted(len(values), 'value')} for {counted(count, 'sequence')}."
        )
    return values


def grids_of(grid, fps, count):
    """The `FeatureGrid` of each of `count` sequences.

    Args:
      grid: `FeatureGrid`, or None where nobody has said it.
      fps: float, or one a sequence: frames per second, where they differ from the grid's; or None.

    Raises:
      UserError: the timing of a sequence is not known.
    """
    if grid is None:
        raise UserError(
            "The model does not know the timing of its features: pass "
            "grid=FeatureGrid(fps=..., stride_frames=..., window_frames=...)."
        )
    grids = [grid.with_fps(rate) for rate in one_each("fps", fps, count)]
    if any(grid.fps is None for grid in grids):
        raise UserError(
            "The model was trained on videos of several frame rates: pass fps, the frames a "
            "second of this one."
        )
    return grids


def check_durations(durations_sec):
    """Raises UserError where a duration is known and not above 0."""
    for duration_sec in durations_sec:
        if duration_sec is not None and number("duration_sec", duration_sec) <= 0:
            raise UserError(f"duration_sec must be above 0, but is {duration_sec}.")
