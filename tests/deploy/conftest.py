"""What the tests of this folder share: a small model, its exports, and a made-up server."""

import contextlib
import functools
from unittest import mock

import pytest

from helpers.served_detector import rest_server


@pytest.fixture(scope="session")
def model():
    from helpers.models import small_model  # Here, as clients need no Keras.

    return small_model()


@pytest.fixture(scope="session")
def checked_by_one_process():
    """A context in which one process runs what is exported, and not one each."""
    from helpers.exports import OneProcess
    from keras_actionformer.deploy import export_check

    with contextlib.closing(OneProcess()) as run:
        yield lambda: mock.patch.object(export_check, "_run_alone", run)


@pytest.fixture(scope="session")
def export(model, checked_by_one_process, tmp_path_factory):
    """Exports the model and returns the folder; each export is made once."""
    folder = tmp_path_factory.mktemp("exports")

    @functools.cache
    def export(format, **options):
        path = folder / "-".join([format, *(f"{key}={x}" for key, x in options.items())])
        with checked_by_one_process():
            return model.export_detector(path, format, **options)[0]

    return export


@pytest.fixture
def server(monkeypatch):
    """A REST server of the detector in `helpers.served_detector`."""
    monkeypatch.setenv("no_proxy", "*")
    with rest_server() as server:
        yield server
