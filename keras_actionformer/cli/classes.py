"""The names of classes, and what an export says of its model, for the option --classes."""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from keras_actionformer.checks import check_class_names, from_fields
from keras_actionformer.data.encoder_records import check_record
from keras_actionformer.data.grid import FeatureGrid
from keras_actionformer.detection.thresholds import Thresholds, check_thresholds
from keras_actionformer.errors import UserError
from keras_actionformer.files import read_json, told_if_unreadable


class Exported(NamedTuple):
    """What is known of a model that is served.

    Attributes:
      class_names: sequence of str.
      thresholds: `Thresholds` that it recommends, or None.
      grid: `FeatureGrid` of the features it was trained on, or None.
      encoder: dict, the record of what computed those, or None.
    """

    class_names: Sequence[str] = ()
    thresholds: Thresholds | None = None
    grid: FeatureGrid | None = None
    encoder: dict | None = None


def read_classes(path):
    """Reads the classes of an export: its labels (see `read_class_names`) or its manifest.

    Returns:
      `Exported`, with the names alone of labels.

    Raises:
      UserError: the file cannot be read, or tells no names or other things.
    """
    if pathlib.Path(path).suffix.lower() != ".json":
        return Exported(read_class_names(path))
    source = f"--classes={path}"
    manifest = read_json(path, source)
    if not isinstance(manifest, dict) or not manifest.get("class_names"):
        raise UserError(f"{source} is no manifest of an export that names its classes.")
    try:
        names = check_class_names(manifest["class_names"])
        return Exported(
            names,
            check_thresholds(manifest.get("thresholds"), len(names)),
            from_fields("grid", manifest.get("grid"), FeatureGrid),
            check_record(manifest.get("encoder")),
        )
    except UserError as error:
        raise UserError(f"{source} cannot be used: {error}") from None


def read_class_names(path):
    """Reads the name of a class in each line, in the order of their ids.

    Returns:
      list of str.

    Raises:
      UserError: the file cannot be read, holds no name, or a line between names is empty, so that
        ids could not be told.
    """
    with told_if_unreadable(f"--classes={path} cannot be read"):
        lines = pathlib.Path(path).read_text(encoding="utf-8-sig").rstrip().splitlines()
    names = [line.strip() for line in lines]
    if not names:
        raise UserError(f"--classes={path} holds no name of a class.")
    if "" in names:
        raise UserError(
            f"--classes={path}: line {names.index('') + 1} is empty, but each line must name a "
            "class, in the order of their ids."
        )
    return names
