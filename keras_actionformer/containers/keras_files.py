"""Keras' `.keras` files: what is in one, checked, before Keras reads any of it.

Keras makes of such a file whatever objects it names. Here it is asked for what the file says of one
known class, and its weights are parsed only when their checksum is right and they lead nowhere.
"""

import io
import json

from keras_actionformer.containers.hdf5_survey import survey
from keras_actionformer.containers.zip_files import open_zip, read_entry
from keras_actionformer.files import parse_json

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"


def read_keras_config(path, class_name):
    """The configuration of the model in a `.keras` file.

    Args:
      path: str or `os.PathLike`.
      class_name: str, the registered name of the class that it must be of.

    Returns:
      dict, what its `get_config` returned.

    Raises:
      OSError: there is no such file, or it cannot be read.
      ValueError: it is damaged, or holds another kind of model.
      Exception: anything that `zipfile` and h5py raise over damaged bytes.
    """
    with open_zip(path) as (archive, entries):
        strange = sorted(entries.keys() - {_CONFIG, _METADATA, _WEIGHTS})
        if strange:
            raise ValueError(f"it has an entry {strange[0][:80]!r}, which is none of a model's")
        content = parse_json(read_entry(archive, entries[_CONFIG]).decode("utf-8"))
        found = content.get("registered_name") if isinstance(content, dict) else None
        if found != class_name:
            kind = content.get("class_name") if isinstance(content, dict) else None
            raise ValueError(f"it holds {json.dumps(kind)[:80]}, another kind of Keras model")
        config = content.get("config")
        if not isinstance(config, dict):
            raise ValueError("it lacks the configuration of its model")
        weights = read_entry(archive, entries[_WEIGHTS])
        survey(io.BytesIO(weights), len(weights))
        return config
