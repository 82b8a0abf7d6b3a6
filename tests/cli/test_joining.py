"""Processes that train together: what is told where their environment variables are wrong."""

import pytest

from keras_actionformer import UserError
from keras_actionformer.cli.joining import _settings
from keras_actionformer.training.hosts import ADDRESSES, NUM_PROCESSES, PROCESS_ID


def test_addresses_of_the_others_are_not_needed(monkeypatch):
    for name, value in ((ADDRESSES, "a:1,b:2"), (NUM_PROCESSES, "2"), (PROCESS_ID, "1")):
        monkeypatch.setenv(name, value)
    assert _settings() == ("a:1", 2, 1)


@pytest.mark.parametrize(
    "address, num, index, told",
    [
        ("", "2", "0", f"{ADDRESSES} must tell host and port .* but it is ''"),
        ("10.0.0.1", "2", "0", "but it is '10.0.0.1'"),
        ("a:1", "2", "2", f"{PROCESS_ID} one from 0 to below it, but they are '2' and '2'"),
        ("a:1", "two", "0", f"{NUM_PROCESSES} must be a whole number"),
        ("a:1", "2", "", "they are '2' and ''"),
    ],
)
def test_wrong_variables(monkeypatch, address, num, index, told):
    for name, value in ((ADDRESSES, address), (NUM_PROCESSES, num), (PROCESS_ID, index)):
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=told):
        _settings()
