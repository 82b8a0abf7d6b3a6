"""The encoder that a model was trained on the features of, for videos that it is to look at."""

import dataclasses

from keras_actionformer.checks import shown
from keras_actionformer.data.encoder_records import (
    OF_MODEL,
    OTHER_ENCODER,
    SAMPLING,
    check_same_encoder,
    describe_record,
)
from keras_actionformer.errors import UserError
from keras_actionformer.video.encoder import Sampling
from keras_actionformer.video.extraction import check_sampling, record_of
from keras_actionformer.video.named_encoders import open_encoder


def encoder_of(model, name=None, any_encoder=False):
    """Opens the encoder whose features a model takes.

    Args:
      model: what has `encoder`, `grid` and `channels` as an `ActionFormer` and its architecture do.
      name: str, see `open_encoder`, where it is not to be the one that the model names; needed
        where that takes a file or a download, which nobody gets by a preset of somebody else.
      any_encoder: bool, whether it may be another one than the model was trained on.

    Returns:
      (`Encoder`, `Sampling` as in the training of the model).

    Raises:
      UserError: the model names none, it cannot be opened, or it is another one.
    """
    record = model.encoder
    encoder = open_encoder(name) if name else _open(record)
    found = f"The encoder {encoder.record['name']!r}"
    if not any_encoder:
        check_same_encoder(found, record_of(encoder), record, OF_MODEL, OTHER_ENCODER)
    if encoder.width != model.channels:
        raise UserError(
            f"{found} makes features of {encoder.width} channels, but the model takes "
            f"{model.channels}: name the encoder of its features in --encoder."
        )
    return encoder, check_sampling(encoder, _sampling_of(model.grid, record))


def _open(record):
    """Opens what the record of a model names."""
    if record is None:
        raise UserError(
            "The model does not tell what computed the features that it was trained on: name that "
            "encoder in --encoder, or extract features with it and give them in --feats."
        )
    told = f"The model was trained on features of {describe_record(record)}"
    name = record.get("name")
    if "streams" in record:
        raise UserError(
            f"{told}, several encoders: extract a folder of features with each, and give the "
            "folders in --feats."
        )
    if not isinstance(name, str) or ":" in name:
        raise UserError(f"{told}: open that by naming it in --encoder.")
    try:
        return open_encoder(name)
    except UserError as error:
        raise UserError(f"{error} {told}: name it, with what it needs, in --encoder.") from None


def _sampling_of(grid, record):
    """`Sampling` of what a model was trained on; None for what is not known."""
    times = dataclasses.asdict(grid) if grid else (record or {}).get(SAMPLING) or {}
    frames = [times.get(f"{name}_frames") for name in ("window", "stride")]
    for count in frames:
        if count is not None and count != int(count):
            raise UserError(
                f"The model was trained on features of every {shown(count)} frames, which no whole "
                "frames of a video make: extract features at another frame rate, and give them in "
                "--feats."
            )
    return Sampling(times.get("fps"), *(count and int(count) for count in frames))
