"""What tests of several folders share."""

import pytest

from helpers.small_run import eagerly


@pytest.fixture
def run_eagerly():
    with eagerly():
        yield
