"""Several devices train what one would, and a run goes on with another number of them."""

import json
import re
import shutil

import keras
import numpy as np
import pytest

from helpers import device_runs
from helpers.device_runs import start_processes, start_runs
from helpers.programs import run_here
from helpers.small_run import small_config, write_data
from keras_actionformer import UserError
from keras_actionformer.training import trainer
from keras_actionformer.training.devices import OneDevice

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="starts the other backend by itself"
)

# Adam, the loss as it is; and SGD, both parts of the loss equally large, a step of two batches of
# which the last epoch ends in the middle.
SETTINGS = {
    "plain": {},
    "accumulated": {
        "train.optimizer": "SGD",
        "train.accumulate_batches": 2,
        "model.loss_weight": 0.0,
    },
}
# They shift all scores that a query gives to its keys alike, which changes no attention: their
# gradients are roundings, which Adam makes steps of.
ONLY_ROUNDED = ("attn/key/bias", "attn/key_norm/beta")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_data(folder, num_videos=14)
    return folder


def checkpoint(workdir):
    """(arrays by name, rows of the log without times)."""
    with np.load(f"{workdir}/checkpoint.npz") as file:
        arrays = {name: file[name] for name in file.files}
    rows = json.loads(str(arrays.pop("log")))
    return arrays, [{k: v for k, v in row.items() if "seconds" not in k} for row in rows]


def assert_same_training(workdir, expected, name):
    """Losses, weights and all that goes on from them are equal to 1e-5 of the largest of each."""
    (ours, rows), (theirs, expected_rows) = checkpoint(workdir), checkpoint(expected)
    assert list(ours) == list(theirs) and len(rows) == len(expected_rows) == 7
    for row, expected_row in zip(rows, expected_rows, strict=True):
        assert row == pytest.approx(expected_row, rel=1e-5)
    for key, value in theirs.items():
        path = key.split()[1]
        if name == "plain" and ("/" not in path or path.endswith(ONLY_ROUNDED)):
            continue  # or vectors of all weights
        atol = 1e-5 * max(np.abs(value).max(initial=0), 1e-2)
        np.testing.assert_allclose(ours[key], value, rtol=0, atol=atol, err_msg=key)


def finish(process):
    output, errors = process.communicate(timeout=600)
    return process.returncode, output, errors


def runs_of(name, folder):
    """What `start_runs` takes for one device and for two, folders `<settings>_<devices>`."""
    return [
        {
            "workdir": str(folder / f"{name}_{devices}"),
            "devices": devices,
            "settings": SETTINGS[name],
        }
        for devices in (1, 2)
    ]


@pytest.fixture(scope="module")
def accumulated(data, tmp_path_factory):
    """The folder of finished runs of TensorFlow."""
    folder = tmp_path_factory.mktemp("runs")
    status, _, errors = finish(start_runs(data, runs_of("accumulated", folder)))
    assert status == 0, errors
    return folder


@pytest.mark.slow
def test_two_devices_train_what_one_does(accumulated):
    assert_same_training(
        accumulated / "accumulated_2", accumulated / "accumulated_1", "accumulated"
    )


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "backend, name", [("tensorflow", "plain"), ("jax", "plain"), ("jax", "accumulated")]
)
def test_so_they_do_with_other_settings_and_on_jax(data, tmp_path, backend, name):
    pytest.importorskip(backend)
    status, _, errors = finish(start_runs(data, runs_of(name, tmp_path), KERAS_BACKEND=backend))
    assert status == 0, errors
    assert_same_training(tmp_path / f"{name}_2", tmp_path / f"{name}_1", name)


@pytest.mark.slow
def test_two_processes_train_what_one_does_though_one_was_killed(data, tmp_path):
    pytest.importorskip("jax")
    run = tmp_path / "together"
    first, killed = map(finish, start_processes(data, run, dies_at=run / "checkpoint.npz"))
    assert killed[0] == -9
    assert first[0] == 2, first
    assert "train: Another of the 2 processes of this training has ended" in first[2]
    assert len(checkpoint(run)[1]) < 7
    first, second = map(finish, start_processes(data, run))
    assert first[0] == second[0] == 0, (first, second)
    assert "to 2 devices" in first[1] and "devices" not in second[1]  # only one prints
    alone = {**runs_of("plain", tmp_path)[0], "settings": {"data.eval_subset": ""}}
    status, _, errors = finish(start_runs(data, [alone], KERAS_BACKEND="jax"))
    assert status == 0, errors
    assert_same_training(run, alone["workdir"], "plain")


@pytest.mark.slow
def test_a_killed_run_goes_on_with_as_many_devices_or_fewer(accumulated, data, tmp_path):
    settings, killed = SETTINGS["accumulated"], tmp_path / "killed"
    # The third epoch ends with a batch that waits for a second one.
    run = {"workdir": str(killed), "devices": 2, "settings": settings, "killed_after": 14}
    assert finish(start_runs(data, [run]))[0] == -9
    assert len(checkpoint(killed)[1]) == 3
    shutil.copytree(killed, tmp_path / "fewer")
    runs = [
        {"workdir": str(tmp_path / folder), "devices": devices, "settings": settings}
        for folder, devices in (("killed", 2), ("fewer", 1))
    ]
    status, _, errors = finish(start_runs(data, runs))
    assert status == 0, errors
    (ours, rows), (theirs, expected_rows) = (
        checkpoint(killed),
        checkpoint(accumulated / "accumulated_2"),
    )
    assert rows == expected_rows and list(ours) == list(theirs)
    for name, value in theirs.items():
        np.testing.assert_array_equal(ours[name], value, err_msg=name)
    assert_same_training(tmp_path / "fewer", accumulated / "accumulated_1", "accumulated")


# --- what is refused -----------------------------------------------------------------------------


def refusal(data, workdir, devices, **settings):
    config = small_config(data)
    config.update_from_flattened_dict(settings)
    with pytest.raises(UserError) as raised:
        trainer.train(config, workdir, devices=devices)
    assert not workdir.exists()
    return str(raised.value)


def test_a_batch_size_is_advised_that_devices_can_share(data, tmp_path, monkeypatch):
    several = OneDevice()
    monkeypatch.setattr(trainer, "find_devices", lambda *_: several)
    for several.number, fix in (
        (5, "there are 12 .* set it to 5..10, a multiple of the 5 devices"),
        (13, "too few for 13 devices: train on 12 or fewer"),
    ):
        told = refusal(data, tmp_path / "run", several.number, **{"train.batch_size": 65})
        assert re.search(fix, told)


def test_devices_that_are_not_there_are_refused(data, tmp_path):
    told = refusal(data, tmp_path / "run", 64)
    assert told.startswith("devices is 64, but there is only 1 device here (CPU:0)")
    for devices in (0, True, "two", 1.0):
        assert "devices must be 'all' or a whole" in refusal(data, tmp_path / "run", devices)


@pytest.mark.parametrize(
    "devices, told", [("64", "devices is 64, but"), ("two", "must be 'all' or a whole number")]
)
def test_the_program_takes_them_as_text(data, tmp_path, monkeypatch, devices, told):
    monkeypatch.setenv("DATA", str(data))
    monkeypatch.setenv("DIES_AT", "")
    options = f"--config={device_runs.__file__}", "--workdir=run", f"--devices={devices}"
    done = run_here(tmp_path, "train", *options)
    assert done.returncode == 2 and told in done.stderr


def test_several_hosts_are_sent_to_jax(data, tmp_path, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"worker": ["a:1", "b:1"]}}))
    assert "KERAS_BACKEND=jax" in refusal(data, tmp_path / "run", "all")
    monkeypatch.delenv("TF_CONFIG")
    monkeypatch.setenv("KERAS_DISTRIBUTION_NUM_PROCESSES", "2")
    assert "KERAS_BACKEND=jax" in refusal(data, tmp_path / "run", "all")
    monkeypatch.delenv("KERAS_DISTRIBUTION_NUM_PROCESSES")
    import tensorflow as tf

    with tf.distribute.OneDeviceStrategy("CPU:0").scope():
        told = refusal(data, tmp_path / "run", 1)
    assert "makes its own strategy" in told and "MultiWorkerMirroredStrategy" in told
