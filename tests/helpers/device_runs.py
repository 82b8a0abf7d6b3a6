"""A program that trains on devices: these have to be set up before a backend starts.

    python device_runs.py DATA RUNS

`RUNS` is JSON, a list of trainings one after the other: what `start_runs` takes.
"""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys

TESTS = pathlib.Path(__file__).parents[1]


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
    paths = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    flags = "--xla_force_host_platform_device_count=2"
    return subprocess.Popen(
        [sys.executable, __file__, str(data), json.dumps(runs)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": paths, "XLA_FLAGS": flags, **variables},
    )  # fmt: skip


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
