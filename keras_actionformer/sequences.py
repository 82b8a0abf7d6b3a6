"""What `detect` is given, checked: sequences of features, and a number for each of them."""

import numbers

import numpy as np

from keras_actionformer.errors import UserError


def check_sequences(feats, channels):
    """Checks the features of one sequence or of many.

    Args:
      feats: (T, C) float array, or a list, generator or `tf.data.Dataset` of such arrays.
      channels: int, the C that each must have.

    Returns:
      (list of float32 (T, C), bool): the sequences, and whether it was a single one.

    Raises:
      UserError: a sequence has another shape, no step, or NaN or infinite values.
    """
    single = getattr(feats, "ndim", None) == 2
    sequences = [
        _check_feats(x, channels, "feats" if single else f"feats[{i}]")
        for i, x in enumerate([feats] if single else feats)
    ]
    return sequences, single


def _check_feats(feats, channels, name):
    try:
        with np.errstate(over="ignore"):  # too large for float32 becomes infinite, and is told
            feats = np.asarray(feats).astype("float32", copy=False)
    except (TypeError, ValueError):
        raise UserError(f"{name} must be an array of numbers, but is {type(feats)}.") from None
    if feats.ndim != 2 or feats.shape[1] != channels:
        raise UserError(
            f"{name} must be (T, {channels}), {channels} channels a step as the model was built "
            f"for, but its shape is {feats.shape}."
        )
    if not len(feats):
        raise UserError(f"{name} is empty: its shape is {feats.shape}.")
    finite = np.isfinite(feats).all(axis=1)
    if not finite.all():
        raise UserError(
            f"{name} has NaN or infinite values in {np.sum(~finite)} of {len(feats)} steps, "
            f"first at step {np.argmin(finite)}."
        )
    return feats


def one_each(name, value, count):
    """Spreads a number or None over `count` sequences, or checks one value a sequence."""
    if value is None or isinstance(value, numbers.Number):
        return [value] * count
    values = list(value)
    if len(values) != count:
        raise UserError(f"{name} has {len(values)} values for {count} sequences.")
    return values


def check_durations(durations_sec):
    """Raises UserError where a duration is known and not above 0."""
    for duration_sec in durations_sec:
        if duration_sec is not None and not duration_sec > 0:
            raise UserError(f"duration_sec must be above 0, but is {duration_sec}.")
