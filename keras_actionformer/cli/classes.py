"""The names of classes in a text file, for the option --classes."""

import pathlib

from keras_actionformer.errors import UserError
from keras_actionformer.files import told_if_unreadable


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
