"""Shares of a whole: how they are told where there is nothing to have a share of.

NumPy only.
"""

import numpy as np


def quotient(part, whole):
    """float64, part / whole of numbers or arrays that fit together; NaN where the whole is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), whole)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def percent(share, digits=2):
    """The text of a share in percent, "-" for NaN."""
    return "-" if np.isnan(share) else f"{100 * share:.{digits}f}"


def plain(values):
    """Numbers of any shape as (lists of) floats for JSON; None for NaN and infinity."""
    values = np.asarray(values, np.float64)
    return np.where(np.isfinite(values), values.astype(object), None).tolist()
