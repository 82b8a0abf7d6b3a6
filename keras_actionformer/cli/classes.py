"""What the option --classes names: classes, or what an export says of its model."""

import pathlib

from keras_actionformer.deploy.manifest import Exported, told_by
from keras_actionformer.errors import UserError
from keras_actionformer.files import read_json, told_if_unreadable


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
    return told_by(manifest, source)


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
