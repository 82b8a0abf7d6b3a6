"""TensorFlow's messages at its start: dropped, unless their reader asked for them."""

import os
import pathlib
import subprocess
import sys
import tempfile
import threading

import pytest

from keras_actionformer.quiet import quiet_start

ROOT = pathlib.Path(__file__).parents[1]


def standard_error(code, **variables):
    """What a program in Python writes there, with other environment variables."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TF_CPP_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "tensorflow", **variables},
        stderr=subprocess.PIPE, text=True, timeout=300, check=True,
    )  # fmt: skip
    return done.stderr


NOISE = "I0000 00:00:1.5    7 port.cc:153] oneDNN custom operations are on.\n"


def test_only_noise_is_dropped(capfd):
    with quiet_start():
        os.write(2, NOISE.encode())
        print("E0000 00:00:1.5 7 x.cc:1] out of memory", file=sys.stderr)
    assert capfd.readouterr().err == "E0000 00:00:1.5 7 x.cc:1] out of memory\n"
    os.write(2, NOISE.encode())  # as before
    assert capfd.readouterr().err == NOISE


def test_what_is_said_before_an_error_is_kept(capfd):
    with pytest.raises(ZeroDivisionError), quiet_start():
        os.write(2, b"why\n")
        1 / 0  # noqa: B018
    assert capfd.readouterr().err == "why\n"


def test_blocks_in_and_beside_each_other(capfd):
    def other_thread():
        with quiet_start():
            os.write(2, NOISE.encode())

    with quiet_start():
        with quiet_start():
            os.write(2, NOISE.encode())
        thread = threading.Thread(target=other_thread)
        thread.start()
        thread.join()
        os.write(2, b"said\n")
    os.write(2, b"later\n")
    assert capfd.readouterr().err == "said\nlater\n"


def test_a_reader_who_wants_them_gets_them(capfd, monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    with quiet_start():
        os.write(2, NOISE.encode())
    assert capfd.readouterr().err == NOISE


def test_names_of_the_library_start_tensorflow_quietly():
    code = (
        "from keras_actionformer import ActionFormer, list_presets\n"
        "list_presets()\n"
        "ActionFormer.from_preset('simulated')"
    )
    assert standard_error(code) == ""


def test_warnings_that_are_held_back_leave_the_level_to_the_root():
    code = (
        "import logging\n"
        "from absl import logging as messages\n"
        "logging.basicConfig()\n"
        "from keras_actionformer.quiet import without_warnings\n"
        "with without_warnings():\n"
        "    messages.warning('held back')\n"
        "logging.getLogger().setLevel(logging.INFO)\n"
        "messages.info('told')"
    )
    assert standard_error(code) == "INFO:absl:told\n"


def test_training_data_start_tensorflow_quietly(tmp_path):
    code = (
        "from keras_actionformer import *\n"
        f"videos = simulate_dataset({str(tmp_path)!r}, num_train=1, num_test=0).videos\n"
        f"feats = FeatureFiles({str(tmp_path / 'feats')!r})\n"
        "list(train_dataset(videos, feats, Timing(8, 16), Lengths(64), batch_size=1))"
    )
    assert standard_error(code) == ""


def test_the_devices_of_a_training_are_looked_for_quietly():
    code = (
        "from keras_actionformer import default_config, train\n"
        "from keras_actionformer.training.devices import find_devices\n"
        "find_devices(1, default_config().train)"
    )
    assert standard_error(code) == ""


def test_a_program_loads_keras_without_what_it_does_not_use():
    """Where they are installed, TensorFlow and Keras would load them; they can be loaded later."""
    code = (
        "import importlib, importlib.util, sys\n"
        "from keras_actionformer.quiet import import_keras\n"
        "import_keras()\n"
        "names = ('jax', 'scipy', 'matplotlib', 'cv2')\n"
        "assert 'keras' in sys.modules and not set(names) & set(sys.modules)\n"
        "for name in filter(importlib.util.find_spec, names): importlib.import_module(name)"
    )
    assert standard_error(code) == ""


@pytest.mark.slow
def test_a_program_starts_jax_quietly():
    pytest.importorskip("jax")
    code = (
        "import sys\n"
        "from keras_actionformer.cli import main\n"
        "sys.argv[1:] = ['summary', '--preset=simulated']\n"
        "main()"
    )
    assert standard_error(code, KERAS_BACKEND="jax") == ""


def test_a_backend_that_is_not_installed_is_told():
    code = (
        "import sys; sys.modules['jax'] = None\n"
        "from keras_actionformer.cli import main\n"
        "sys.argv[1:] = ['summary', '--preset=simulated']\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 2, end.code"
    )
    told = standard_error(code, KERAS_BACKEND="jax")
    assert told.startswith("summary: KERAS_BACKEND=jax needs jax: pip install"), told
    assert told.count("\n") == 1 and "keras-actionformer[jax]" in told


def test_a_program_without_standard_error():
    code = (
        "import os, sys; os.close(2); sys.stderr = None\n"
        "from keras_actionformer.quiet import quiet_start\n"
        "with quiet_start(): print('works')"
    )
    assert standard_error(code) == ""


def test_where_tensorflow_is_forbidden(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)  # as programs do that must not load it
    with quiet_start():
        pass


def test_a_start_where_no_disk_can_be_written_to(capfd, monkeypatch):
    def no_disk(*arguments, **options):
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setenv("TEST_TMPDIR", "")
    monkeypatch.delenv("TEST_TMPDIR")  # which is then set, and taken back after the test
    monkeypatch.setattr(tempfile, "TemporaryFile", no_disk)
    with quiet_start():
        os.write(2, NOISE.encode() + b"an error\n")
    assert capfd.readouterr().err == "an error\n"
