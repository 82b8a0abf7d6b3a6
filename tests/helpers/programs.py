"""Runs the programs: in a process of their own, or in this one, where Keras needs no start."""

import contextlib
import io
import os
import pathlib
import subprocess
import sys
from unittest import mock

from absl import app, flags, logging

from keras_actionformer import cli

ROOT = pathlib.Path(__file__).parents[2]

app.define_help_flags()  # once for all, as the flags of the first verb are forgotten


def run_program(
    folder, *arguments, program=("-m", "keras_actionformer"), timeout_sec=300, **variables
):
    """Runs a program of this checkout in a folder, with more environment variables.

    Returns:
      `subprocess.CompletedProcess` with texts.
    """
    return subprocess.run(
        [sys.executable, *program, *map(str, arguments)],
        capture_output=True, text=True, timeout=timeout_sec, cwd=folder, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
    )  # fmt: skip


def run_here(folder, verb, *arguments):
    """As `run_program`, but in this process: for what a verb does, not for how it starts."""
    argv = [verb, *map(str, arguments)]
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2)]
    handler = logging.get_absl_handler().python_handler
    with (
        _one_verb(),
        contextlib.chdir(folder),
        contextlib.redirect_stdout(streams[0]),
        contextlib.redirect_stderr(streams[1]),
        mock.patch.object(handler, "stream", streams[1]),
        mock.patch.object(sys, "argv", ["keras-actionformer", *argv]),
        mock.patch.dict(os.environ),
    ):
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = end.code or 0
    texts = [stream.buffer.getvalue().decode() for stream in streams]
    return subprocess.CompletedProcess(argv, status, *texts)


@contextlib.contextmanager
def _one_verb():
    """Forgets what a verb has defined and set: verbs share names of options, a process has one."""
    names, verbosity = set(flags.FLAGS), logging.get_verbosity()
    level = logging.get_absl_logger().level
    try:
        yield
    finally:
        for name in set(flags.FLAGS) - names:
            delattr(flags.FLAGS, name)
        for verb in cli.VERBS:
            sys.modules.pop(cli.module_name(verb), None)
        logging.set_verbosity(verbosity)
        logging.get_absl_logger().setLevel(level)
