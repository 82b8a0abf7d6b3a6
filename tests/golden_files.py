"""The reference's numbers: where they are, which cases there are, how to read one.

Every test that compares with the reference takes its cases from the files themselves, so that more
files of the same kind can be put into the folder, or another folder be named by the environment
variable KERAS_ACTIONFORMER_GOLDEN.
"""

import json
import os
import pathlib

import numpy as np
import pytest

GOLDEN = pathlib.Path(
    os.environ.get("KERAS_ACTIONFORMER_GOLDEN") or pathlib.Path(__file__).parent / "golden"
)


def cases(prefix):
    """Returns the `.npz` files at any depth whose name starts with `prefix`, as pytest params."""
    paths = sorted(GOLDEN.rglob(f"{prefix}*.npz"))
    return [pytest.param(path, id=path.stem) for path in paths]


def load(path):
    """Returns the arrays of a golden file by name; those named `*_json` are parsed."""
    with np.load(path, allow_pickle=False) as file:
        return {
            name: json.loads(str(file[name])) if name.endswith("_json") else file[name]
            for name in file.files
        }
