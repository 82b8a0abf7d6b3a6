"""The names of the package: each loads, and editors and type checkers see the same ones."""

import ast
import pathlib

import pytest

import keras_actionformer

TREE = ast.parse(pathlib.Path(keras_actionformer.__file__).read_text(encoding="utf-8"))


def homes_for_type_checkers():
    """`{name: module}` of the imports under `if TYPE_CHECKING`."""
    (block,) = (node for node in TREE.body if isinstance(node, ast.If))
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    homes = {}
    for node in block.body:
        for alias in node.names:
            assert alias.asname == alias.name  # "as itself" is how a name is made public
            homes[alias.name] = node.module.removeprefix("keras_actionformer.")
    return homes


def test_type_checkers_see_what_is_loaded():
    assert homes_for_type_checkers() == keras_actionformer._HOMES


@pytest.mark.parametrize("name", keras_actionformer.__all__)
def test_every_name_loads(name):
    value = getattr(keras_actionformer, name)
    home = keras_actionformer._HOMES.get(name)
    if home is not None:  # the module that defines it, and not one that uses it
        assert value.__module__ == f"keras_actionformer.{home}"
        assert value.__doc__
    assert getattr(keras_actionformer, name) is value


def test_other_names():
    assert set(dir(keras_actionformer)) == set(keras_actionformer.__all__)
    with pytest.raises(AttributeError, match="no attribute 'ActionFormers'"):
        keras_actionformer.ActionFormers  # noqa: B018
