"""What computed features: the record of an encoder, beside features and with models.

A record is a dict that JSON can hold: a `name`, and what else the features depend on (weights by
their SHA-256, the preparation of pictures). With a model it has an entry `sampling`, too: which
frames its steps have seen.
"""

from keras_actionformer.checks import number, shown
from keras_actionformer.errors import UserError

SAMPLING = "sampling"
# What to do about features of another encoder than a model's.
_ALL_THE_SAME = "or go on all the same with --any_encoder (data.any_encoder of a configuration)"
ANY_ENCODER = f"extract features as those were, {_ALL_THE_SAME}"
OTHER_ENCODER = f"name that one in --encoder, {_ALL_THE_SAME}"
OF_MODEL = "{name} of what the model was trained on"
_DEEPEST = 8
_TIMES = ("fps", "stride_frames", "window_frames")


def check_record(record):
    """Returns the record of an encoder; None where it tells nothing.

    Raises:
      UserError: it is no dict, or nests many, or its sampling is no dict of numbers.
    """
    if record is not None and not isinstance(record, dict):
        raise UserError(f"encoder must be a dict or None, but is {shown(record)}.")
    if _is_deep(record, _DEEPEST):  # a file of somebody else may nest a thousand
        raise UserError(f"encoder must nest at most {_DEEPEST} dicts and lists.")
    sampling = (record or {}).get(SAMPLING, {})
    if not isinstance(sampling, dict):
        raise UserError(f"encoder.{SAMPLING} must be a dict, but is {shown(sampling)}.")
    for name in _TIMES:
        if sampling.get(name) is not None:
            number(f"encoder.{SAMPLING}.{name}", sampling[name])
    return record or None


def _is_deep(value, left):
    inside = value.values() if isinstance(value, dict) else value
    is_nested = isinstance(value, dict | list)
    return is_nested and (not left or any(_is_deep(item, left - 1) for item in inside))


def joined_record(records):
    """The record of several streams, dicts in their order, of which some may tell nothing."""
    if not any(records):
        return {}
    names = [str(record.get("name", "unknown")) for record in records]
    return {"name": " + ".join(names), "streams": [dict(record) for record in records]}


def describe_record(record):
    """A record in words: `"motion (version=1, framing.height=64, ...)"`."""
    values = _flat(record)
    name = values.pop("name", "an encoder without a name")
    details = [f"{key}={value}" for key, value in values.items() if value is not None]
    return f"{name} ({', '.join(details)})" if details else name


def check_same_encoder(where, found, wanted, source, fix):
    """Raises UserError where two records tell of different encoders; one of them may be empty.

    Args:
      where: str, what to call the features of the first, see `FeatureFiles.describe`.
      found, wanted: dicts or None.
      source: str, whose the second one is, with {name} for the name of the value.
      fix: str, what to do about it.
    """
    if not found or not wanted:
        return
    ours, theirs = _flat(found), _flat(wanted)
    for name in {**ours, **theirs}:
        own, other = ours.get(name), theirs.get(name)
        is_file = f"{name}_sha256" in ours and f"{name}_sha256" in theirs  # whatever it is called
        if own != other and not is_file:
            raise UserError(
                f"{where} has encoder.{name}={shown(own)}, but "
                f"{source.format(name=f'encoder.{name}')} is {shown(other)}; {fix}."
            )


def common_record(videos, features, fix):
    """What has computed the features of all videos.

    Args:
      videos: sequence of `Video`.
      features: `FeatureFiles`.
      fix: str, what to do where they differ; None: that is nothing to tell.

    Returns:
      dict, the record of the encoder with its `sampling`, a dict of fps, stride_frames and
      window_frames, None of what videos differ in; or None where no features tell, or they differ.

    Raises:
      UserError: the features of two videos are of different encoders, and `fix` is not None.
    """
    sidecars = {video.video_id: features.sidecar(video.video_id) for video in videos}
    sidecars = {key: sidecar for key, sidecar in sidecars.items() if sidecar and sidecar.encoder}
    if not sidecars:
        return None
    first, *others = sidecars
    record = sidecars[first].encoder
    try:
        for video_id in others:
            check_same_encoder(
                features.describe(video_id),
                sidecars[video_id].encoder,
                record,
                f"{{name}} of '{features.paths(first)[0]}'",
                fix,
            )
    except UserError:
        if fix is not None:
            raise
        return None
    times = {name: {getattr(one, name) for one in sidecars.values()} for name in _TIMES}
    common = {name: found.pop() if len(found) == 1 else None for name, found in times.items()}
    return {**record, SAMPLING: common}


def _flat(record, path=""):
    """All that a record holds but its sampling, also within dicts and lists: name with dots to
    value. The name comes first."""
    found = {}
    for key, value in enumerate(record) if isinstance(record, list) else record.items():
        if isinstance(value, dict | list) and value:
            if path or key != SAMPLING:
                found.update(_flat(value, f"{path}{key}."))
        else:
            found[f"{path}{key}"] = value
    return {name: found[name] for name in sorted(found, key=lambda name: name != "name")}
