"""Packages that only some of the library needs: imported when they are, named when they lack."""

import importlib

from keras_actionformer.errors import UserError


def import_extra(module, package, extra, what):
    """Imports and returns a module of a package that need not be installed.

    Args:
      module: str, e.g. `"ai_edge_litert.interpreter"`.
      package: str, what the package index calls it.
      extra: str, the extra of this library that installs it; None where none does.
      what: str, what cannot be done without, e.g. `"Running a TFLite file"`.

    Raises:
      UserError: it is not installed, or cannot be loaded.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        wanted = f"'keras-actionformer[{extra}]'" if extra else package
        raise UserError(f"{what} needs {package}: pip install {wanted} ({error}).") from error
