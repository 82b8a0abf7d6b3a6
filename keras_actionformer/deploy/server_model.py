"""A SavedModel that answers many sequences at a time: of the server, the part with TensorFlow."""

import os
import pathlib
from typing import NamedTuple

import numpy as np
from absl import logging

from keras_actionformer.deploy.exported import (
    SIGNATURE,
    is_version,
    version_folders,
)
from keras_actionformer.deploy.server_json import Instance, group_by_length, pad_instances
from keras_actionformer.errors import UserError
from keras_actionformer.quiet import quiet_start, without_warnings

_SCALARS = ("num_steps", "fps", "duration_sec")
# Lengths at which the model is run before the first request comes.
_WARM_UP_STEPS = (32, 128, 512, 2304)


def find_version(model):
    """Finds the version of an exported model to serve.

    Args:
      model: str or `os.PathLike`, folder with a folder for each version, or that of one version.

    Returns:
      (name, version, folder): str, int and `pathlib.Path`.

    Raises:
      UserError: there is none.
    """
    folder = pathlib.Path(os.path.realpath(os.path.expanduser(model)))
    if not folder.is_dir():
        raise UserError(f"The model '{model}' is no folder; give the one that export wrote.")
    if (folder / "saved_model.pb").is_file():
        if is_version(folder):
            return folder.parent.name, int(folder.name), folder
        return folder.name, 1, folder
    versions = version_folders(folder)
    if not versions:
        raise UserError(
            f"The folder '{model}' holds neither saved_model.pb nor folders of versions (1, 2 and "
            "so on); give the one that export wrote."
        )
    if not (versions[-1] / "saved_model.pb").is_file():
        raise UserError(f"The version '{versions[-1]}' holds no saved_model.pb; remove it.")
    return folder.name, int(versions[-1].name), versions[-1]


class Description(NamedTuple):
    """What clients are told of a model.

    Attributes:
      num_channels: int, C of its features.
      required: tuple of str, of "fps" and "duration_sec" those that it does not work without.
      signatures: dict of its SignatureDefs by name, each as the dict that its JSON is.
    """

    num_channels: int
    required: tuple
    signatures: dict


class ServedSavedModel:
    """An exported detector.

    Args:
      folder: `pathlib.Path` of one version.
      max_batch_size: int, most sequences of a call of the model.
      max_steps: int, most steps of a call, with padding; a longer sequence is alone.

    Attributes:
      description: `Description`.

    Raises:
      UserError: the folder holds no SavedModel that works, or one that is no detector.
    """

    def __init__(self, folder, max_batch_size, max_steps):
        with quiet_start():
            import tensorflow as tf
        self._max_batch_size, self._max_steps = max_batch_size, max_steps
        try:
            # The variables live as long as the object that was loaded.
            with without_warnings():  # that it has no gradients
                self._loaded = tf.saved_model.load(str(folder))
            num_channels = _check_signature(folder, self._loaded.signatures)
            self._signature = self._loaded.signatures[SIGNATURE]
            signatures = _read_signatures(folder)
            defaults = signatures[SIGNATURE]["defaults"]
            required = tuple(n for n in ("fps", "duration_sec") if n not in defaults)
            self.description = Description(num_channels, required, signatures)
            for num_steps in _WARM_UP_STEPS:
                feats = np.zeros((min(num_steps, max_steps), num_channels), np.float32)
                self._call([Instance(feats, 1.0, 1.0)])
        except UserError:
            raise
        # Whatever TensorFlow has to say about a file from elsewhere.
        except Exception as error:
            reason = f"{type(error).__name__}: {first_line(error)}"
            raise UserError(
                f"The SavedModel '{folder}' cannot be used ({reason}); copy it again, or export "
                "the model again."
            ) from error

    def detect(self, instances):
        """Runs the model on sequences of any lengths.

        Args:
          instances: list of `Instance`.

        Returns:
          List with, for each, the dict of the outputs without their batch axis, or the exception
          that the model raised.
        """
        rows = [None] * len(instances)
        lengths = [len(instance.feats) for instance in instances]
        groups = group_by_length(lengths, self._max_batch_size, self._max_steps)
        while groups:
            group = groups.pop()
            try:
                found = self._call([instances[i] for i in group])
            except Exception as error:  # of whatever kind, the next request can be answered
                if len(group) > 1:  # others are not to suffer from one
                    groups += [[i] for i in group]
                    continue
                logging.exception("The model failed on a sequence of %d steps.", lengths[group[0]])
                found = [error]
            for i, row in zip(group, found, strict=True):
                rows[i] = row
        return rows

    def _call(self, instances):
        import tensorflow as tf

        inputs = pad_instances(instances)
        outputs = self._signature(**{name: tf.constant(array) for name, array in inputs.items()})
        arrays = {name: tensor.numpy() for name, tensor in outputs.items()}
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise FloatingPointError(
                "it computes NaN or infinite numbers: are the features such as it was trained on?"
            )
        return [{name: array[i] for name, array in arrays.items()} for i in range(len(instances))]


def _check_signature(folder, signatures):
    """Returns the number of channels of a detector, or raises UserError where it is none."""
    if SIGNATURE not in signatures:
        raise UserError(
            f"The SavedModel '{folder}' has no signature {SIGNATURE!r}; export the detector again."
        )
    inputs = signatures[SIGNATURE].structured_input_signature[1]
    found = {name: spec.shape.as_list() for name, spec in inputs.items()}
    num_channels = found.get("feats", [None])[-1]
    expected = {"feats": [None, None, num_channels], **dict.fromkeys(_SCALARS, [None])}
    if num_channels is None or found != expected:
        raise UserError(
            f"The SavedModel '{folder}' cannot be served: {SIGNATURE!r} must take feats (None, "
            f"None, channels) and {', '.join(_SCALARS)} (None,), but takes {found}; export "
            "detections of any batch size and number of steps."
        )
    return num_channels


def _read_signatures(folder):
    """The SignatureDefs of a SavedModel, as in `Description`."""
    from google.protobuf import json_format
    from tensorflow.core.protobuf import saved_model_pb2

    content = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    return {
        name: json_format.MessageToDict(
            signature, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        for name, signature in content.meta_graphs[0].signature_def.items()
    }


def first_line(error):
    """What an exception says, its first line and briefly."""
    return (str(error).splitlines() or [""])[0][:200]
