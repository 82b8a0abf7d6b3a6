"""Configurations of OpenTAD are read and never run: what they state, and what is refused."""

import pytest

from keras_actionformer import UserError
from keras_actionformer.presets.opentad_files import find_config, read_config


def write(folder, **texts):
    """Writes Python files by name, without `.py`; returns the last."""
    for name, text in texts.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return path


def test_literals_dicts_and_names_assigned_before(tmp_path):
    path = write(
        tmp_path,
        a='"""Text."""\n'
        "common = dict(path='x', stride=-4)\n"
        "data = dict(train=dict(**common), test={**common, 'fps': 2.5, 'keep': None})\n"
        "arch = (2, 2, [5, True])\n",
    )
    common = {"path": "x", "stride": -4}
    assert read_config(path) == {
        "common": common,
        "data": {"train": common, "test": {**common, "fps": 2.5, "keep": None}},
        "arch": (2, 2, [5, True]),
    }


def test_what_it_is_based_on_is_merged_as_mmengine_does(tmp_path):
    path = write(
        tmp_path,
        model="model = dict(type='A', neck=dict(type='N', levels=6), arch=(2, 2, 5))\n",
        data="data = dict(path='x')\nlist_of = [1, 2]\n",
        own="_base_ = ['model.py', 'data.py']\n"
        "model = dict(arch=(1, 0, 3),\n"
        "    neck=dict(_delete_=True, type='M', more=dict(_delete_=True)))\n"
        "list_of = [3]\n",
    )
    assert read_config(path) == {
        "model": {"type": "A", "neck": {"type": "M", "more": {}}, "arch": (1, 0, 3)},
        "data": {"path": "x"},
        "list_of": [3],
    }


def test_bases_are_found_from_the_file_that_names_them(tmp_path):
    write(tmp_path / "base" / "deep", b="x = 1\ny = 1\n")
    write(tmp_path / "base", a="_base_ = 'deep/b.py'\ny = 2\n")
    write(tmp_path / "own", c="_base_ = '../base/a.py'\nz = 3\n")
    assert read_config(tmp_path / "own" / "c.py") == {"x": 1, "y": 2, "z": 3}


@pytest.mark.parametrize(
    "text, message",
    [
        ("import os", "line 1: it imports os"),
        ("from os import system", "line 1: it imports os"),
        ("x = 1\ny = __import__('os').system('true')", "line 2: it calls ....system()"),
        ("x = open('/etc/passwd')", "it calls open()"),
        ("print('x')", "it calls print()"),
        ("x = [i for i in (1, 2)]", "it has a comprehension"),
        ("y = 3\nx = dict(a=[y for _ in (1, 2)])", "line 2: it has a comprehension"),
        ("x = {i: 1 for i in 'ab'}", "it has a comprehension"),
        ("x = unknown", "uses 'unknown', which it has not assigned"),
        ("x = dict([('a', 1)])", "it calls dict()"),
        ("x = (lambda: 1)()", "it calls ...()"),
        ("x = lambda: 1", "it has a Lambda"),
        ("def f(): pass", "it defines f"),
        ("class A: pass", "it defines A"),
        ("for i in (1, 2): x = i", "it has a For"),
        ("if True: x = 1", "it has a If"),
        ("x = [0] * 10**9", "it has a BinOp"),
        ("x = f'{1}'", "it has a JoinedStr"),
        ("a = dict(b=1)\nx = a['b']", "it has a Subscript"),
        ("a = 1\na.b = 2", "it has a Assign"),
        ("a = b = 1", "it has a Assign"),
        ("del x", "it has a Delete"),
        ("x = dict(**3)", "it has a Constant"),
        ("x = {(1, 2): 3}", "it has a Constant"),
        ("x = b'a'", "it has a Constant"),
        ("x = {{ _base_.a }}", "it has a Set"),
        ("x = (", "is no Python program that states settings"),
        ("x = " + "[" * 5000 + "]" * 5000, "is no Python program|nests deeper"),
        ("x = " + "-" * 3000 + "1", "is no Python program|nests deeper"),
        ("_base_ = 'no.py'", "is based on '.*no.py', which does not exist: .*log.json"),
        ("_base_ = 'a.py'", "is based on itself"),
        ("_base_ = 3", "_base_ must be a path"),
        ("_base_ = ['b.py', 'c.py']", "two of the files in its _base_ assign 'x'"),
        ("_base_ = 'b.py'\nx = dict(y=1)", "'x' is a dict, but what it is based on"),
    ],
)
def test_what_would_run_or_makes_no_sense_is_refused_by_name(tmp_path, text, message):
    path = write(tmp_path, b="x = 1", c="x = 2", a=text)
    with pytest.raises(UserError, match=message.replace("()", r"\(\)")):
        read_config(path)


def test_texts_that_stand_for_endless_sections_are_refused(tmp_path):
    lines = ["a0 = dict(x=1)"]
    lines += [f"a{i + 1} = dict(x=a{i}, y=a{i})" for i in range(40)]
    write(tmp_path, b="\n".join(f"{line}\n" for line in lines))
    path = write(tmp_path, a="_base_ = 'b.py'\n" + "\n".join(f"{line}\n" for line in lines))
    with pytest.raises(UserError, match="more sections than a configuration has"):
        read_config(path)
    for i in range(12):
        write(tmp_path, **{f"c{i}": f"_base_ = ['c{i + 1}.py', 'c{i + 1}.py']"})
    write(tmp_path, c12="")
    with pytest.raises(UserError, match="more than 50 files"):
        read_config(tmp_path / "c0.py")


def test_the_last_configuration_of_a_log_is_taken(tmp_path):
    stamp = "2026-01-02 03:04:05 Train INFO:"
    path = tmp_path / "log.json"
    path.write_text(
        f"{stamp} Config: \nx = 1\nmodel = dict(\n    a=2)\n\n{stamp} Loss=1.0\nnot = read\n"
        f"{stamp} Config: \nx = 3\n\n{stamp} mAP\n"
    )
    assert read_config(path) == {"x": 3}
    path.write_text(f"{stamp} Loss=1.0\n")
    with pytest.raises(UserError, match="holds no configuration of OpenTAD"):
        read_config(path)
    path.write_text(f"{stamp} Config: \nx = print(1)\n")
    with pytest.raises(UserError, match=r"line 1: it calls print\(\)"):
        read_config(path)


def test_settings_are_found_beside_a_checkpoint(tmp_path):
    checkpoint = tmp_path / "checkpoint" / "epoch_1.pth"
    checkpoint.parent.mkdir()
    assert find_config(checkpoint) is None
    program = write(tmp_path, thumos_i3d="x = 1")
    assert find_config(checkpoint) == program
    write(tmp_path, another="x = 1")
    assert find_config(checkpoint) is None
    (tmp_path / "log.json").touch()
    assert find_config(checkpoint) == tmp_path / "log.json"
