"""Checks of arguments that may come from a file, so that a wrong one is a sentence.

They look at one level of a value only and quote a few of its entries: lists in a YAML file may
share each other, so that some lines of text stand for more entries than there is memory.
"""

import collections
import dataclasses
import inspect
import math
import numbers
import operator
import reprlib

import numpy as np

from keras_actionformer.errors import UserError, suggest

# Upper bounds, far above what any network of this kind has, so that a file from elsewhere cannot
# ask for all memory, or for a network that takes days to build.
_MAX_WIDTH = 65536
_MAX_STREAMS = 64
_MAX_CLASSES = 100_000
_MAX_BLOCKS = 64
_MAX_STRIDED = 12  # at a stride of 2 the last level of points is 4096 steps apart
_MAX_STRIDE = 65536  # every sequence is padded to a multiple of it
_MAX_KERNEL = 255
_MAX_WINDOW = 4096  # attention hides steps by a table of 2 * window^2 numbers
_MAX_STEPS = 2**24
_MAX_NUMBERS = 2**30  # parameters and one training sequence: 4 GiB; the largest preset has 0.13e9

_BRIEF = reprlib.Repr()
_BRIEF.maxlevel, _BRIEF.maxstring = 2, 60


# === Names ===


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
                f"{source} has {shown(name)}, which {function.__name__} does not know"
                f"{suggest(name, known) or '.'}"
            )


def from_fields(name, value, kind):
    """A dataclass from a dict of its fields.

    Args:
      name: str, the argument.
      value: an instance of `kind`, a dict, or None, which stays None.
      kind: the dataclass.

    Raises:
      UserError: it is something else, or fields are unknown, missing or wrong.
    """
    if value is None or isinstance(value, kind):
        return value
    if not isinstance(value, dict):
        raise UserError(
            f"{name} must be a {kind.__name__}, a dict of its fields or None, but is "
            f"{shown(value)}."
        )
    check_keywords(kind, value, f"The argument {name!r}")
    for field in dataclasses.fields(kind):
        if field.default is dataclasses.MISSING and field.name not in value:
            raise UserError(f"The argument {name!r} lacks {field.name!r}, a field that it needs.")
    return kind(**value)


# === Values ===


def shown(value):
    """A value as a message quotes it: briefly, however much it holds."""
    try:
        return _BRIEF.repr(value)
    except ValueError:  # Python prints no int of more than 4300 digits
        return "an int of thousands of digits"


def whole(name, value):
    """A whole number as an int, or UserError: 3.0 and True are none."""
    try:
        return _index(value)
    except TypeError:
        raise UserError(f"{name} must be a whole number, but it is {shown(value)}.") from None


def number(name, value):
    """A finite number as an int or float, or UserError."""
    try:
        real = isinstance(value, numbers.Real) and not isinstance(value, bool)
        if real and math.isfinite(value):
            return int(value) if isinstance(value, numbers.Integral) else float(value)
    except OverflowError:  # an int beyond every float
        pass
    raise UserError(f"{name} must be a finite number, but it is {shown(value)}.")


def flag(name, value):
    """True or False as a bool, or UserError."""
    if not isinstance(value, bool | np.bool_):
        raise UserError(f"{name} must be True or False, but it is {shown(value)}.")
    return bool(value)


def choice(name, value, *known):
    """The one of `known`, strings or ints, that `value` is, or UserError."""
    if isinstance(value, str | numbers.Integral) and value in known:
        return known[known.index(value)]
    near = suggest(value, known) if isinstance(value, str) else ""
    *most, last = map(repr, known)
    raise UserError(
        f"{name} must be {', '.join(most)} or {last}, but is {shown(value)}{near or '.'}"
    )


def ints(name, value):
    """An int, or a list of ints from a list, tuple, range or array; or UserError."""
    entries = _entries(value)
    try:
        return _index(value) if entries is None else [*map(_index, entries)]
    except TypeError:
        raise UserError(
            f"{name} must be an int or a list of ints, but is {shown(value)}."
        ) from None


def _index(value):
    if isinstance(value, bool):
        raise TypeError("a bool is no int here")
    return operator.index(value)


def _entries(value):
    """The entries of a list, tuple, range or array; None for anything else."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return list(value) if isinstance(value, list | tuple | range) else None


# === Arguments of `ActionFormer`, each by itself ===


def _whole_from(name, value, low, high):
    value = whole(name, value)
    if value < low:
        raise UserError(f"{name} must be a whole number of at least {low}, but is {shown(value)}.")
    if value > high:
        raise UserError(f"{name} must be at most {high}, but is {shown(value)}.")
    return value


def _odd(name, value):
    value = _whole_from(name, value, 1, _MAX_KERNEL)
    if value % 2 == 0:
        raise UserError(f"{name} must be odd, but is {value}.")
    return value


def _number_from(name, value, low, high):
    value = number(name, value)
    if not low <= value <= high:
        raise UserError(f"{name} must be a number from {low:g} to {high:g}, but is {shown(value)}.")
    return value


def _widths(name, value):
    value = ints(name, value)
    streams = value if isinstance(value, list) else [value]
    if not 1 <= len(streams) <= _MAX_STREAMS or not 1 <= min(streams) <= max(streams) <= _MAX_WIDTH:
        raise UserError(
            f"{name} must be 1 or more and at most {_MAX_WIDTH}, one int or one for each of up to "
            f"{_MAX_STREAMS} streams, but is {shown(value)}."
        )
    return value


def _arch(name, value):
    value = ints(name, value)
    limits = (1, _MAX_BLOCKS), (0, _MAX_BLOCKS), (1, _MAX_STRIDED)
    if (
        not isinstance(value, list)
        or len(value) != 3
        or any(not low <= v <= high for v, (low, high) in zip(value, limits, strict=True))
    ):
        raise UserError(
            f"{name} must be three ints: embedding convolutions (1 to {_MAX_BLOCKS}), stem blocks "
            f"(0 to {_MAX_BLOCKS}), strided blocks (1 to {_MAX_STRIDED}), but is {shown(value)}."
        )
    return value


def _windows(name, value):
    value = ints(name, value)
    for window in value if isinstance(value, list) else [value]:
        if window != -1 and not 1 <= window <= _MAX_WINDOW:
            raise UserError(
                f"{name} must be -1 (attention over all steps) or from 1 to {_MAX_WINDOW} steps, "
                f"but is {shown(window)}."
            )
    return value


def _class_ids(name, value):
    ids = _entries(value)
    if ids is None:
        raise UserError(f"{name} must be a list of class ids, but is {shown(value)}.")
    return [_whole_from(f"A class id of {name}", i, 0, _MAX_CLASSES) for i in ids]


# How each argument is checked, and by which limits, ends included.
_CHECKS = {
    "input_dim": (_widths,),
    "num_classes": (_whole_from, 1, _MAX_CLASSES),
    "backbone_type": (choice, "convTransformer", "conv"),
    "backbone_arch": (_arch,),
    "scale_factor": (choice, 2, 4),
    "embd_dim": (_widths,),
    "embd_kernel_size": (_odd,),
    "embd_with_ln": (flag,),
    "n_head": (_whole_from, 1, _MAX_WIDTH),
    "n_mha_win_size": (_windows,),
    "use_abs_pe": (flag,),
    "use_rel_pe": (flag,),
    "fpn_type": (choice, "identity", "fpn"),
    "fpn_dim": (_whole_from, 1, _MAX_WIDTH),
    "fpn_with_ln": (flag,),
    "fpn_start_level": (_whole_from, 0, _MAX_STRIDED),
    "head_dim": (_whole_from, 1, _MAX_WIDTH),
    "head_kernel_size": (_odd,),
    "head_num_layers": (_whole_from, 1, _MAX_BLOCKS),
    "head_with_ln": (flag,),
    "max_seq_len": (_whole_from, 1, _MAX_STEPS),
    "force_upsampling": (flag,),
    "input_dropout": (_number_from, 0, 0.99),
    "dropout": (_number_from, 0, 0.99),
    "droppath": (_number_from, 0, 0.99),
    "cls_prior_prob": (_number_from, 1e-6, 1 - 1e-6),
    "head_empty_cls": (_class_ids,),
    "center_sample": (choice, "radius", "none"),
    "center_sample_radius": (_number_from, 1e-6, 1e6),
    "loss_weight": (_number_from, -1e6, 1e6),
    "label_smoothing": (_number_from, 0, 1),
    "init_loss_norm": (_number_from, 1e-6, 1e9),
}


def check_ranges(arguments):
    """Checks what can be said of an argument whatever the others are.

    Args:
      arguments: dict; what is not in the table above is left out.

    Returns:
      dict of the same values as JSON has them: int, float, bool, str and lists of ints.

    Raises:
      UserError: a value is wrong.
    """
    return {
        name: check(name, arguments[name], *limits) for name, (check, *limits) in _CHECKS.items()
    }


def regression_pairs(value, num_levels):
    """Regression ranges as lists; None gives (0, 4), (4, 8), ... and no upper limit at the end.

    Raises:
      UserError: an entry is no pair (min, max) with 0 <= min < max.
    """
    if value is None:
        edges = [0, *(4 * 2**level for level in range(num_levels - 1)), 10000]
        value = list(zip(edges[:-1], edges[1:], strict=True))
    pairs = _entries(value)
    if pairs is None:
        raise UserError(f"regression_range must be a list of pairs, but is {shown(value)}.")
    checked = []
    for pair in pairs:
        ends = _entries(pair) or [pair]
        checked.append([number("A limit of regression_range", end) for end in ends[:3]])
        if len(ends) != 2 or not 0 <= ends[0] < ends[1]:
            raise UserError(
                "regression_range must be pairs (min, max) with 0 <= min < max, but has "
                f"{shown(ends)}."
            )
    return checked


def check_class_names(value, num_classes):
    """Class names as a tuple, empty for None.

    Raises:
      UserError: they are not `num_classes` different strings.
    """
    if value is not None and not isinstance(value, list | tuple):
        raise UserError(f"class_names must be a list of names, but is {shown(value)}.")
    names = tuple(value or ())
    for name in names:
        if not isinstance(name, str) or not name:
            raise UserError(
                f"class_names must be strings that are not empty, but one is {shown(name)}."
            )
    for name, count in collections.Counter(names).most_common(1):
        if count > 1:
            raise UserError(f"class_names has {shown(name)} {count} times, not once.")
    if names and len(names) != num_classes:
        raise UserError(f"class_names has {len(names)} names, but num_classes={num_classes}.")
    return names


# === All of them together ===


def check_agreement(config, strides):
    """Raises UserError where arguments contradict each other, or are too much together."""
    num_levels = config["backbone_arch"][2] + 1
    if config["fpn_start_level"] >= num_levels:
        raise UserError(
            f"fpn_start_level is {config['fpn_start_level']}, but the last level is "
            f"{num_levels - 1}."
        )
    if strides[-1] > _MAX_STRIDE:
        raise UserError(
            f"scale_factor {config['scale_factor']} and {num_levels - 1} strided blocks "
            f"(backbone_arch[2]) make a stride of {strides[-1]} steps, more than {_MAX_STRIDE}."
        )
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
            f"{shown(config['input_dim'])} and {shown(config['embd_dim'])}."
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
        raise UserError(f"use_rel_pe needs odd windows, but n_mha_win_size is {shown(windows)}.")
    bad = [c for c in config["head_empty_cls"] if not 0 <= c < config["num_classes"]]
    if bad:
        raise UserError(
            f"head_empty_cls names class {bad[0]}, outside 0..{config['num_classes'] - 1}."
        )
    channels = sum(config["input_dim"]) if several else config["input_dim"]
    count = count_numbers(config, channels, width)
    if count > _MAX_NUMBERS:
        raise UserError(
            f"The model and a sequence of max_seq_len={config['max_seq_len']} steps would hold "
            f"about {count:.1e} numbers, more than {_MAX_NUMBERS:.1e}: make embd_dim, head_dim, "
            "backbone_arch or max_seq_len smaller."
        )


def count_numbers(config, channels, width):
    """A bound, not far above, of the model's parameters plus the numbers of one sequence."""
    convolutions, *blocks = config["backbone_arch"]
    hidden = max(config["fpn_dim"], config["head_dim"])
    embedding = config["embd_kernel_size"] * (channels + convolutions * width) * width
    backbone = 13 * sum(blocks) * width**2  # 4 in the attention, 8 in the MLP, the small ones
    neck = (blocks[1] + 1) * width * config["fpn_dim"]
    heads = hidden * (2 * config["head_num_layers"] * hidden + config["num_classes"])
    sequence = config["max_seq_len"] * (channels + width)
    return embedding + backbone + neck + config["head_kernel_size"] * heads + sequence
