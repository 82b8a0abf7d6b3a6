"""A preset's folder: what its files are called, and how its texts are read and written."""

import json
import os
import pathlib

from keras_actionformer.errors import UserError
from keras_actionformer.files import check_is_file, parse_json, told_if_unreadable
from keras_actionformer.presets.card import CARD, PICTURES, is_card

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"


def read_part(path, fix="get the preset again"):
    """Reads a JSON object of a preset, of a run or of an export.

    Args:
      path: `pathlib.Path`.
      fix: str, what to do about a damaged one.

    Returns:
      dict.

    Raises:
      UserError: the file is missing, damaged, or holds something else.
    """
    if not path.exists():
        raise UserError(f"'{path}' does not exist: the preset is not complete.")
    with told_if_unreadable(f"'{path}' is damaged", fix):
        check_is_file(path)
        content = parse_json(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise UserError(f"'{path}' must hold a JSON object, but holds a {type(content).__name__}.")
    return content


def to_json(content):
    """The text of a part; raises UserError for what JSON cannot hold."""
    try:
        # What JSON does not know may be a number of NumPy's.
        return json.dumps(content, indent=2, allow_nan=False, default=float)
    except (TypeError, ValueError) as error:
        raise UserError(f"A preset holds what JSON can hold, but got {error}.") from None


def check_target(folder):
    """Returns the path to save a preset to.

    Args:
      folder: str or path.

    Raises:
      UserError: saving there would take something other than a preset away.
    """
    if str(folder).startswith("hf://"):
        raise UserError(f"{folder} is an address: save to a folder, and upload that.")
    path = pathlib.Path(os.path.realpath(pathlib.Path(folder).expanduser()))
    if pathlib.Path.cwd().is_relative_to(path):
        raise UserError(f"'{folder}' is the current folder, or contains it: name a new one.")
    if path.is_dir():
        known = {CONFIG, METADATA, WEIGHTS}
        if is_card(path / CARD):
            known |= {CARD, PICTURES}
        others = sorted({item.name for item in path.iterdir()} - known)
        if others:
            raise UserError(
                f"'{folder}' holds other files, such as {others[0]!r}, and would be replaced: "
                "choose a new folder."
            )
    elif path.exists():
        raise UserError(f"'{folder}' is a file: choose a new folder.")
    return path
