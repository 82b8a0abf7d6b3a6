"""Measuring the start of programs."""

import pytest

from keras_actionformer import UserError
from keras_actionformer.benchmark import starts


@pytest.fixture(autouse=True)
def quick_programs(monkeypatch):
    """What takes no seconds; one of them needs what is not installed, as an export may."""
    monkeypatch.setattr(starts, "_FILES", ())
    monkeypatch.setattr(starts, "_FORMATS", ())
    monkeypatch.setattr(starts, "_IMPORT", "import json")
    programs = {"help": ("detect", "--help"), "broken": ("detect", "--export=none", "--feats=.")}
    monkeypatch.setattr(starts, "_PROGRAMS", programs)


def test_time_and_work_of_each_program_that_works():
    found = list(starts.benchmark_start(num_runs=2))
    assert [(one.case, one.quantity) for one in found] == [
        ("start, import json", "ms"),
        ("start, import json", "ms of work"),
        ("start, help", "ms"),
        ("start, help", "ms of work"),
    ]
    assert all(len(one.values) == 2 and min(one.values) > 0 for one in found)
    assert found[3].median > found[1].median


def test_files_that_cannot_be_made(monkeypatch):
    monkeypatch.setattr(starts, "_FILES", (("detect", "--export=none", "--feats=."),))
    with pytest.raises(UserError, match="failed: detect: 'none' cannot be read .No such file"):
        list(starts.benchmark_start(num_runs=1))
