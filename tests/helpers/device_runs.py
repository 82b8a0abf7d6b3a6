"""A program that trains on devices: these have to be set up before a backend starts.

    python device_runs.py DATA RUNS

`RUNS` is JSON, a list of trainings one after the other: what `start_runs` takes.

It is a configuration as well, for processes of the program `train` that train together: of the
folder that the variable `DATA` names. With `DIES_AT` one kills itself when that file is there.
"""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

TESTS = pathlib.Path(__file__).parents[1]
QUICKLY_COMPILED = "--xla_backend_optimization_level=0"  # which takes JAX longer than it trains


def start_runs(data, runs, **variables):
    """Starts trainings in a process that has two CPU devices.

    Args:
      data: path, folder that `write_data` has written.
      runs: list of dicts: `workdir`; `devices`; maybe `settings`, a dict of dotted names to values;
        `killed_after`, after how many steps and epochs together the process kills itself.
      **variables: more environment variables.

    Returns:
      `subprocess.Popen` with texts.
    """
    flags = f"{QUICKLY_COMPILED} --xla_force_host_platform_device_count=2"
    return _start([__file__, str(data), json.dumps(runs)], XLA_FLAGS=flags, **variables)


def start_processes(data, workdir, dies_at=None):
    """Starts two processes of the program `train` that train together, on JAX.

    Args:
      data: as for `start_runs`.
      workdir: path.
      dies_at: path of a file at whose appearance the second kills itself; or None.

    Returns:
      list of two `subprocess.Popen` with texts.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = ["-m", "keras_actionformer", "train", f"--config={__file__}", f"--workdir={workdir}"]
    return [
        _start(
            [*command, "--devices=all", "--resume"],
            KERAS_BACKEND="jax",
            XLA_FLAGS=QUICKLY_COMPILED,
            KERAS_DISTRIBUTION_JOB_ADDRESSES=address,
            KERAS_DISTRIBUTION_NUM_PROCESSES="2",
            KERAS_DISTRIBUTION_PROCESS_ID=str(index),
            DATA=str(data),
            DIES_AT=str(dies_at or "") if index == 1 else "",
        )
        for index in range(2)
    ]


def _start(arguments, **variables):
    paths = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": paths, **variables},
    )  # fmt: skip


def get_config():
    """The configuration of `start_processes`."""
    if os.environ["DIES_AT"]:
        threading.Thread(target=_die, daemon=True).start()
    config = config_of(os.environ["DATA"], {})
    config.data.eval_subset = ""
    return config


def _die():
    while not os.path.exists(os.environ["DIES_AT"]):
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGKILL)


def config_of(data, settings):
    """Seven epochs of three steps, each of four sequences; nothing is random but their order."""
    from helpers.small_run import small_config

    config = small_config(pathlib.Path(data))
    config.model.droppath = 0.0
    config.train.batch_size, config.train.epochs = 4, 6
    config.update_from_flattened_dict(settings)
    return config


@contextlib.contextmanager
def _killed(after_steps):
    steps = []

    def after_step():
        steps.append(1)
        if len(steps) == after_steps:
            os.kill(os.getpid(), signal.SIGKILL)

    yield after_step


def _main(data, runs):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
    from keras_actionformer.errors import UserError
    from keras_actionformer.training.trainer import train

    for run in json.loads(runs):
        config = config_of(data, run.get("settings", {}))
        killed_after = run.get("killed_after")
        around_fit = None if killed_after is None else lambda: _killed(killed_after)
        try:
            train(
                config,
                run["workdir"],
                resume=True,
                devices=run["devices"],
                around_fit=around_fit,
            )
        except UserError as error:
            sys.exit(f"UserError: {error}")


if __name__ == "__main__":
    _main(*sys.argv[1:])
