"""What the tests of this folder share: a small model, its exports, and a made-up server."""

import functools

import pytest

from helpers.served_detector import rest_server


@pytest.fixture(scope="session")
def model():
    from helpers.models import small_model  # Here, as clients need no Keras.

    return small_model()


@pytest.fixture(scope="session")
def export(model, tmp_path_factory):
    """Exports the model and returns the folder; each export is made once."""
    folder = tmp_path_factory.mktemp("exports")

    @functools.cache
    def export(format, **options):
        path = folder / "-".join([format, *(f"{key}={x}" for key, x in options.items())])
        return model.export_detector(path, format, **options)[0]

    return export


@pytest.fixture
def server(monkeypatch):
    """A REST server of the detector in `helpers.served_detector`."""
    monkeypatch.setenv("no_proxy", "*")
    with rest_server() as server:
        yield server
