"""Checks of the arguments of `ActionFormer`, so that a wrong one is a sentence."""

import inspect
import math
import numbers
import operator

import numpy as np

from keras_actionformer.errors import UserError, suggest


def check_keywords(function, names, source):
    """Raises UserError for a name that is no keyword argument of `function`.

    Args:
      function: a function or class whose arguments have names.
      names: the keywords to check.
      source: str, where they come from, to begin the sentence with.
    """
    known = [name for name in inspect.signature(function).parameters if name != "kwargs"]
    for name in names:
        if name not in known:
            raise UserError(
                f"{source} has {name!r}, which {function.__name__} does not know"
                f"{suggest(name, known) or '.'}"
            )


def ints(name, value):
    """An int, or a list of ints from any sequence, as JSON has them.

    Raises:
      UserError: it is something else.
    """
    try:
        return operator.index(value) if not np.iterable(value) else [*map(operator.index, value)]
    except TypeError:
        raise UserError(f"{name} must be an int or a list of ints, but is {value!r}.") from None


def regression_pairs(value, num_levels):
    """Regression ranges as lists; None gives (0, 4), (4, 8), ... and no upper limit at the end.

    Raises:
      UserError: an entry is no pair (min, max) with 0 <= min < max.
    """
    if value is None:
        edges = [0, *(4 * 2**level for level in range(num_levels - 1)), 10000]
        value = zip(edges[:-1], edges[1:], strict=True)
    pairs = [list(pair) if np.iterable(pair) else [pair] for pair in value]
    for pair in pairs:
        if len(pair) != 2 or not 0 <= pair[0] < pair[1]:
            raise UserError(
                f"regression_range must be pairs (min, max) with 0 <= min < max, but has {pair}."
            )
    return pairs


# The values that make sense, ends included, for arguments that are one number.
_RANGES = {
    "num_classes": (1, math.inf),
    "scale_factor": (2, 4),
    "embd_kernel_size": (1, math.inf),
    "n_head": (1, math.inf),
    "fpn_dim": (1, math.inf),
    "fpn_start_level": (0, math.inf),
    "head_dim": (1, math.inf),
    "head_kernel_size": (1, math.inf),
    "head_num_layers": (1, math.inf),
    "max_seq_len": (1, math.inf),
    "input_dropout": (0, 0.99),
    "dropout": (0, 0.99),
    "droppath": (0, 0.99),
    "cls_prior_prob": (1e-6, 1 - 1e-6),
    "center_sample_radius": (1e-6, math.inf),
    "label_smoothing": (0, 1),
    "init_loss_norm": (1e-6, math.inf),
}
_CHOICES = {
    "backbone_type": ("convTransformer", "conv"),
    "fpn_type": ("identity", "fpn"),
    "center_sample": ("radius", "none"),
}


def check_ranges(config):
    """Raises UserError for an argument that makes no sense whatever the others are."""
    for name, (low, high) in _RANGES.items():
        value = config[name]
        whole = isinstance(low, int) and high == math.inf
        number = isinstance(value, numbers.Integral if whole else numbers.Real)
        if not number or not low <= value <= high:
            kind = "a whole number" if whole else "a number"
            limits = f"of at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
            raise UserError(f"{name} must be {kind} {limits}, but is {value!r}.")
    for name, known in _CHOICES.items():
        if config[name] not in known:
            raise UserError(
                f"{name} must be one of {', '.join(known)}, but is {config[name]!r}"
                f"{suggest(config[name], known)}."
            )
    if config["scale_factor"] not in (2, 4):
        raise UserError(f"scale_factor must be 2 or 4, but is {config['scale_factor']}.")
    for name in ("embd_kernel_size", "head_kernel_size"):
        if config[name] % 2 == 0:
            raise UserError(f"{name} must be odd, but is {config[name]}.")
    arch = config["backbone_arch"]
    if np.shape(arch) != (3,) or min(arch) < 0 or arch[0] < 1 or arch[2] < 1:
        raise UserError(
            "backbone_arch must be three ints: embedding convolutions (1 or more), stem blocks "
            f"(0 or more), strided blocks (1 or more), but is {arch}."
        )
    if config["fpn_start_level"] > arch[2]:
        raise UserError(
            f"fpn_start_level is {config['fpn_start_level']}, but the last level is {arch[2]}."
        )
    for name in ("input_dim", "embd_dim"):
        if np.min(config[name]) < 1:
            raise UserError(f"{name} must be 1 or more, but is {config[name]}.")


def check_agreement(config, strides):
    """Raises UserError where arguments contradict each other."""
    num_levels = config["backbone_arch"][2] + 1
    if len(config["regression_range"]) != len(strides):
        raise UserError(
            f"regression_range has {len(config['regression_range'])} pairs, but the model has "
            f"points on {len(strides)} levels (backbone_arch[2] + 1 - fpn_start_level)."
        )
    windows = config["n_mha_win_size"]
    if isinstance(windows, list) and len(windows) != num_levels:
        raise UserError(
            f"n_mha_win_size has {len(windows)} windows, but the backbone has {num_levels} "
            "levels (backbone_arch[2] + 1)."
        )
    several = not isinstance(config["input_dim"], int)
    if several != (not isinstance(config["embd_dim"], int)) or (
        several and len(config["input_dim"]) != len(config["embd_dim"])
    ):
        raise UserError(
            "input_dim and embd_dim must both be ints or have one int a stream each, but are "
            f"{config['input_dim']} and {config['embd_dim']}."
        )
    width = sum(config["embd_dim"]) if several else config["embd_dim"]
    if config["backbone_type"] == "convTransformer" and width % config["n_head"]:
        raise UserError(f"embd_dim ({width}) must be a multiple of n_head ({config['n_head']}).")
    if config["fpn_type"] == "identity" and config["fpn_dim"] != width:
        raise UserError(
            f"fpn_dim must equal the width of the backbone ({width}) when fpn_type is "
            f"'identity', but is {config['fpn_dim']}."
        )
    all_windows = windows if isinstance(windows, list) else [windows]
    if config["use_rel_pe"] and any(w > 1 and w % 2 == 0 for w in all_windows):
        raise UserError(f"use_rel_pe needs odd windows, but n_mha_win_size is {windows}.")
    bad = [c for c in config["head_empty_cls"] if not 0 <= c < config["num_classes"]]
    if bad:
        raise UserError(
            f"head_empty_cls names class {bad[0]}, outside 0..{config['num_classes'] - 1}."
        )
