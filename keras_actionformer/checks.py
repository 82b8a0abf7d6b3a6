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
import re
import reprlib
from collections.abc import Iterable

import numpy as np

from keras_actionformer.errors import UserError, counted, suggest

_RATE = re.compile(r"(-?[0-9]{1,9}(?:\.[0-9]{1,9})?)(?:/([0-9]{1,9}))?")
_BRIEF = reprlib.Repr()
_BRIEF.maxlevel, _BRIEF.maxstring = 2, 60


# === Names ===


def check_keywords(function, names, source, owner=None):
    """Raises UserError for a name that is no keyword argument of `function`.

    Args:
      function: a function or class whose arguments have names.
      names: the keywords to check.
      source: str, where they come from, to begin the sentence with.
      owner: str, what takes them, for the sentence; by default the name of `function`.
    """
    known = [name for name in inspect.signature(function).parameters if name != "kwargs"]
    for name in names:
        if name not in known:
            raise UserError(
                f"{source} has {shown(name)}, which {owner or function.__name__} does not know"
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


def check_text(name, value, errors="strict"):
    """Raises UserError for a string that no file can hold: it has half of a character.

    Args:
      name: str, what it is, to begin the sentence with.
      value: str.
      errors: str, as for `str.encode`; "surrogateescape" allows what file names may have.
    """
    try:
        value.encode("utf-8", errors)
    except UnicodeEncodeError:
        raise UserError(
            f"{name} must be valid text, but {shown(value)} has half of a character; correct it."
        ) from None


def whole(name, value):
    """A whole number as an int, or UserError: 3.0 and True are none."""
    try:
        return _index(value)
    except TypeError:
        raise UserError(f"{name} must be a whole number, but it is {shown(value)}.") from None


def positive_whole(name, value):
    """A whole number of at least 1 as an int, or UserError."""
    try:
        found = _index(value)
    except TypeError:
        found = 0
    if found < 1:
        raise UserError(f"{name} must be a whole number from 1 up, but it is {shown(value)}.")
    return found


def number(name, value):
    """A finite number as an int or float, or UserError."""
    try:
        real = isinstance(value, numbers.Real) and not isinstance(value, bool)
        if real and math.isfinite(value):
            return int(value) if isinstance(value, numbers.Integral) else float(value)
    except OverflowError:  # an int beyond every float
        pass
    raise UserError(f"{name} must be a finite number, but it is {shown(value)}.")


def read_rate(text):
    """The number of a frame rate as video tools print it, "29.97" or "30000/1001"; or None."""
    parts = _RATE.fullmatch(text.strip())
    if parts is None or (parts[2] and not int(parts[2])):
        return None
    return float(parts[1]) / float(parts[2] or 1)


def frames_a_second(name, value):
    """A frame rate as an int or float above 0, or UserError.

    Args:
      name: str, to begin the sentence with.
      value: a number, or a text that `read_rate` reads.
    """
    found = read_rate(value) if isinstance(value, str) else value
    found = number(name, value if found is None else found)
    if found <= 0:
        raise UserError(f"{name} must be above 0, but it is {shown(value)}.")
    return found


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
    """An int, or a tuple of ints from a list, tuple, range or array; or UserError."""
    values = entries(value)
    try:
        return _index(value) if values is None else (*map(_index, values),)
    except TypeError:
        raise UserError(
            f"{name} must be an int or a list of ints, but is {shown(value)}."
        ) from None


def _index(value):
    if isinstance(value, bool):
        raise TypeError("a bool is no int here")
    return operator.index(value)


def entries(value):
    """The entries of a list, tuple, range or array; None for anything else."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return list(value) if isinstance(value, list | tuple | range) else None


def check_class_weights(name, value, num_classes):
    """A factor for each class as a tuple of floats.

    Raises:
      UserError: these are not `num_classes` numbers from 0 up.
    """
    weights = entries(value)
    if weights is None:
        raise UserError(f"{name} must be a list of numbers, one a class, but is {shown(value)}.")
    if len(weights) != num_classes:
        raise UserError(
            f"{name} has {counted(len(weights), 'number')} for "
            f"{counted(num_classes, 'class')}: one each."
        )
    weights = tuple(float(number(f"An entry of {name}", weight)) for weight in weights)
    if min(weights) < 0:
        raise UserError(f"{name} must be 0 or more, but one is {min(weights):g}.")
    return weights


def check_class_names(value, num_classes=None, source=""):
    """Class names as a tuple, empty for None.

    Args:
      value: what should be class names, in the order of their ids.
      num_classes: int, how many they must be where there are any; None for any number.
      source: str, where they come from, to begin the sentence with.

    Raises:
      UserError: they are not `num_classes` different strings.
    """
    where = f"{source}: class_names" if source else "class_names"
    value = value.tolist() if isinstance(value, np.ndarray) else value
    ordered = isinstance(value, Iterable) and not isinstance(value, str | bytes | dict | set)
    if value is not None and not ordered:
        raise UserError(f"{where} must be a list of names, but is {shown(value)}.")
    names = tuple(value) if ordered else ()
    for name in names:
        if not isinstance(name, str) or not name:
            raise UserError(
                f"{where} must be strings that are not empty, but one is {shown(name)}."
            )
        check_text(where, name)
    for name, count in collections.Counter(names).most_common(1):
        if count > 1:
            raise UserError(
                f"{where} has {shown(name)} {count} times; every class needs its own name."
            )
    if names and num_classes not in (None, len(names)):
        raise UserError(
            f"{where} has {counted(len(names), 'name')}, but num_classes={num_classes}; make "
            "them agree."
        )
    return names
