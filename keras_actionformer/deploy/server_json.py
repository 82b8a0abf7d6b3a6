"""The JSON that a server of detectors reads and writes: that of TensorFlow Serving's REST API.

A request has `instances`, a list of sequences, or `inputs`, a dict of the same by columns:

    {"instances": [{"feats": [[...], ...], "num_steps": 7, "fps": 30, "duration_sec": 12.5}]}
    {"inputs": {"feats": [[[...], ...]], "num_steps": [7], "fps": [30], "duration_sec": [12.5]}}

All but `feats` may be left out or 0, which is not given, unless the model needs them. Other than
in TensorFlow Serving, the sequences of a request may have different lengths.
"""

import re
from typing import NamedTuple

import msgspec
import numpy as np

from keras_actionformer.deploy.exported import SIGNATURE
from keras_actionformer.errors import UserError, counted

# A call of the model computes at most so many times the steps that it was asked for.
_MAX_PADDING = 1.25

_LONGEST_QUOTE = 300  # characters of what is wrong with a body


class _Row(msgspec.Struct, forbid_unknown_fields=True):
    feats: msgspec.Raw
    num_steps: int = 0
    fps: float = 0.0
    duration_sec: float = 0.0


class _Columns(msgspec.Struct, forbid_unknown_fields=True):
    feats: msgspec.Raw
    num_steps: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    fps: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    duration_sec: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    signature_name: str = SIGNATURE
    instances: list[_Row] | msgspec.UnsetType = msgspec.UNSET
    inputs: _Columns | msgspec.UnsetType = msgspec.UNSET


# These check the types of all values while they read: no null, true or "1" passes for a number.
# None of them is given more than a row of numbers, or what has as few values: each of its calls
# keeps all other threads waiting, and a number as Python's takes ten times its text.
_BODY, _LISTS = msgspec.json.Decoder(_Body), msgspec.json.Decoder(list[msgspec.Raw])
_FLOATS, _INTS = msgspec.json.Decoder(list[float]), msgspec.json.Decoder(list[int])
_COLUMNS = {"num_steps": _INTS, "fps": _FLOATS, "duration_sec": _FLOATS}

_SPARE_LISTS = 100  # more than a body without sequences has, of lists and of objects
# What is no list as the first of a list, and after a list in it.
_NO_FIRST_LIST, _NO_NEXT_LIST = re.compile(rb"\[\s*[^\s\[\]]"), re.compile(rb"\]\s*,\s*[^\s\[]")
_MANY_DIGITS = 4096  # which take long, and are no use


class Accepted(NamedTuple):
    """What requests must hold, and how much at most.

    Attributes:
      num_channels: int, C of the model.
      required: tuple of str, of "fps" and "duration_sec" those that must be given.
      max_instances: int, most sequences of a request.
      max_steps: int, most steps of a sequence.
    """

    num_channels: int
    required: tuple
    max_instances: int
    max_steps: int


class Instance(NamedTuple):
    """One sequence: feats (T, C) float32, all of them valid, and the scalars, 0 = not given."""

    feats: np.ndarray
    fps: float
    duration_sec: float


class Request(NamedTuple):
    """The sequences of one request, and whether they came by columns."""

    instances: list[Instance]
    by_columns: bool


# === Reading ===


def read_request(body, accepted):
    """Reads the body of a request for detections.

    Args:
      body: bytes-like, JSON as above.
      accepted: `Accepted`.

    Returns:
      `Request`.

    Raises:
      UserError: it is no JSON or of another form, a number is not finite in float32, a row has not
        C numbers, `num_steps` is not within the sequence, or there is too much.
    """
    most = accepted.max_instances * (accepted.max_steps + 1) + _SPARE_LISTS
    for bracket, limit in ((b"[", most), (b"{", accepted.max_instances + _SPARE_LISTS)):
        if body.count(bracket) > limit:
            raise UserError(
                f"The body has over {limit} {bracket.decode()!r}, more than "
                f"{accepted.max_instances} sequences of {accepted.max_steps} steps need."
            )
    windows = range(0, len(body) - _MANY_DIGITS, _MANY_DIGITS)
    if any(body[start : start + _MANY_DIGITS].isdigit() for start in windows):
        raise UserError(f"A number of the body has over {_MANY_DIGITS} digits; round it.")
    content = _decode(_BODY, body)
    if content.signature_name not in ("", SIGNATURE):
        raise UserError(
            f"signature_name must be {SIGNATURE!r} or left out; others are not served here."
        )
    if (content.instances is msgspec.UNSET) == (content.inputs is msgspec.UNSET):
        raise UserError("A request must have either 'instances' or 'inputs'.")
    by_columns = content.inputs is not msgspec.UNSET
    rows = _rows(content.inputs) if by_columns else content.instances
    where = "inputs.feats" if by_columns else "instances"
    if not 1 <= len(rows) <= accepted.max_instances:
        raise UserError(
            f"{where} must have 1 to {counted(accepted.max_instances, 'sequence')}, but has "
            f"{len(rows)}; send "
            "more in several requests."
        )
    instances = [_instance(f"{where}[{i}]", row, accepted) for i, row in enumerate(rows)]
    return Request(instances, by_columns)


def _decode(decoder, text, path="$", row=None):
    """What a decoder makes of JSON that stands at a path of the body, in a row of what is there."""
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as error:
        path = path if row is None else f"{path}[{row}]"
        told = str(error).replace("`$", f"`{path}")
        if path != "$" and " - at " not in told:
            told += f" - at `{path}`"
        raise UserError(f"The request is not as it must be: {_brief(told)}.") from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise UserError(
            f"The body is no JSON, which has no NaN or Infinity: {_brief(str(error))}."
        ) from None


def _brief(text):
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}..."


def _lists(text, path):
    """The texts of the lists that a list in JSON holds.

    Nothing else may be in it: the number of the brackets, and no other one, is bounded.
    """
    if _NO_FIRST_LIST.match(text) or _NO_NEXT_LIST.search(text):
        raise UserError(
            f"The request is not as it must be: Expected `array` in an array - at `{path}`."
        )
    return _decode(_LISTS, text, path)


def _num_values(text):
    """How many values a list in JSON has, unless one of them holds commas; at least 1."""
    return bytes(text).count(b",") + 1


def _rows(columns):
    sequences = _lists(columns.feats, "$.inputs.feats")
    count = len(sequences)
    scalars = []
    for name, decoder in _COLUMNS.items():
        text = getattr(columns, name)
        if text is msgspec.UNSET:
            text = b"[0]"
        num_values = _num_values(text)
        if num_values <= max(1, count):
            values = _decode(decoder, text, f"$.inputs.{name}")
            num_values = len(values)
        if num_values not in (1, count):
            raise UserError(
                f"inputs.{name} must have one value for each of the {count} sequences, but has "
                f"{num_values}."
            )
        scalars.append(values if num_values == count else values * count)
    return [_Row(*values) for values in zip(sequences, *scalars, strict=True)]


def _instance(where, row, accepted):
    path = f"$.{where}" if where.startswith("inputs") else f"$.{where}.feats"
    rows = _lists(row.feats, path)
    length = len(rows)
    if not 1 <= length <= accepted.max_steps:
        raise UserError(
            f"{where} must have 1 to {counted(accepted.max_steps, 'step')} of features, but "
            f"has {length}."
        )
    if not 0 <= row.num_steps <= length:
        raise UserError(
            f"num_steps of {where} must be 0 (all) to {length}, its rows, but is {row.num_steps}."
        )
    for name in ("fps", "duration_sec"):
        if not 0 <= _float32(getattr(row, name)) < np.inf:
            raise UserError(
                f"{name} of {where} must be 0 (not given) or above and fit into a float32, but is "
                f"{getattr(row, name)}."
            )
        if name in accepted.required and not getattr(row, name):
            raise UserError(f"{where} lacks its {name}, which this model cannot do without.")
    feats = np.empty((length, accepted.num_channels), np.float32)
    with np.errstate(over="ignore"):  # infinite then, which is refused
        for i, text in enumerate(rows):
            num_values = _num_values(text)
            if num_values <= accepted.num_channels:
                values = _decode(_FLOATS, text, path, i)
                num_values = len(values)
            if num_values != accepted.num_channels:
                raise UserError(
                    f"The rows of features of {where} must have "
                    f"{counted(accepted.num_channels, 'channel')}, "
                    f"but row {i} has {num_values}."
                )
            feats[i] = values
    if not np.isfinite(feats).all():
        raise UserError(f"A feature of {where} does not fit into a float32.")
    return Instance(feats[: row.num_steps or length], row.fps, row.duration_sec)


def _float32(values):
    with np.errstate(over="ignore"):  # infinite then, which is refused
        return np.array(values, np.float32)


# === Batches ===


def group_by_length(lengths, max_batch_size, max_steps):
    """Sorts sequences into batches in which little is padding.

    Args:
      lengths: sequence of int, steps of each.
      max_batch_size: int, most sequences of a batch.
      max_steps: int, most steps of a batch, with padding; a longer sequence is alone.

    Returns:
      List of lists of indices into `lengths`.
    """
    groups = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        group = groups[-1] if groups else []
        num_padded = (len(group) + 1) * lengths[group[0] if group else i]
        num_own = sum(lengths[j] for j in group) + lengths[i]
        fits = len(group) < max_batch_size and num_padded <= min(max_steps, _MAX_PADDING * num_own)
        if group and fits:
            group.append(i)
        else:
            groups.append([i])
    return groups


def pad_instances(instances):
    """Stacks B instances to the inputs of the signature.

    Returns:
      Dict of feats (B, T, C) float32, zeros past each end, num_steps (B,) int32, fps (B,) float32
      and duration_sec (B,) float32.
    """
    num_steps = np.array([len(instance.feats) for instance in instances], np.int32)
    num_channels = instances[0].feats.shape[1]
    feats = np.zeros((len(instances), num_steps.max(), num_channels), np.float32)
    for row, instance in zip(feats, instances, strict=True):
        row[: len(instance.feats)] = instance.feats
    return {
        "feats": feats,
        "num_steps": num_steps,
        "fps": np.array([instance.fps for instance in instances], np.float32),
        "duration_sec": np.array([instance.duration_sec for instance in instances], np.float32),
    }


# === Writing ===


def write_predictions(rows, by_columns):
    """The body of an answer.

    Args:
      rows: list of dicts, one a sequence: the signature's outputs without their batch axis.
      by_columns: bool, as in the `Request`.

    Returns:
      bytes, JSON.
    """
    lists = [{name: array.tolist() for name, array in row.items()} for row in rows]
    if by_columns:
        columns = {name: [row[name] for row in lists] for name in lists[0]}
        return msgspec.json.encode({"outputs": columns})
    return msgspec.json.encode({"predictions": lists})


def write_error(sentence):
    """The body of a refusal, bytes of JSON."""
    return msgspec.json.encode({"error": sentence})


def write_status(version):
    """The body that says that a version is there to be asked, bytes of JSON."""
    status = {
        "version": str(version),
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }
    return msgspec.json.encode({"model_version_status": [status]})


def write_metadata(name, version, signatures):
    """The body that describes a model, bytes of JSON.

    Args:
      name: str.
      version: int.
      signatures: dict of the SignatureDefs by name, each as the dict that its JSON is.
    """
    return msgspec.json.encode(
        {
            "model_spec": {"name": name, "signature_name": "", "version": str(version)},
            "metadata": {"signature_def": {"signature_def": signatures}},
        }
    )
