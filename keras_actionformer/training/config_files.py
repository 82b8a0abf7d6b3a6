"""Configuration files: the built-in ones by their name, any by its path."""

import ast
import os
import pathlib
import runpy
from typing import Any

from keras_actionformer.errors import UserError, suggest


def load_config(name: str | os.PathLike[str], **arguments: Any) -> Any:
    """Returns what `get_config()` of a configuration file returns.

    A file that extends another loads it by its path, so that a copy of both works anywhere:
    `load_config(pathlib.Path(__file__).with_name("hapt.py"))`.

    Args:
      name: str, a built-in configuration, e.g. `"thumos14_i3d"`; or str or `os.PathLike`, the path
        of a file.
      **arguments: those of its `get_config`, where it has some.

    Raises:
      UserError: there is no such configuration, or it is no Python file with a `get_config()`.
    """
    path = find_config(name)
    try:
        get_config = runpy.run_path(str(path)).get("get_config")
    except SyntaxError as error:
        raise UserError(
            f"Configuration file '{path}', line {error.lineno}, is not Python: {error.msg}."
        ) from error
    if get_config is None:
        raise UserError(f"Configuration file '{path}' has no function get_config().")
    return get_config(**arguments)


def find_config(name):
    """Returns the path of a configuration file.

    Args:
      name: as for `load_config`. A file here comes before a built-in configuration.

    Raises:
      UserError: there is none.
    """
    if not isinstance(name, str | os.PathLike) or not str(name):
        raise UserError(
            f"A configuration is a built-in name or the path of a file, but got {name!r}."
        )
    path = pathlib.Path(name)
    if path.is_file():
        return path
    if path.suffix or len(path.parts) != 1:  # no name but a path
        if path.is_dir():
            raise UserError(f"'{path}' is a folder, not a configuration file.")
        known = [entry.name for entry in path.parent.glob("*.py")] + list(built_in_configs())
        raise UserError(
            f"Configuration file '{path}' does not exist{suggest(path.name, known) or '.'}"
        )
    if str(path) not in built_in_configs():
        raise UserError(
            f"There is no configuration '{path}'{suggest(path, built_in_configs()) or '.'} "
            "`keras-actionformer help train` lists them."
        )
    return built_in_folder() / f"{path}.py"


def built_in_configs():
    """What the first line of each built-in configuration says: `{name: text}`."""
    texts = {}
    for path in sorted(built_in_folder().glob("*.py")):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        texts[path.stem] = text.partition("\n")[0]
    return texts


def built_in_folder():
    """Where the built-in configurations lie: inside the package, in a checkout beside it."""
    package = pathlib.Path(__file__).parents[1]
    inside = package / "configs"
    return inside if inside.is_dir() else package.with_name("configs")
