"""How long the programs take from the start of Python, each in a process of its own.

Nothing here loads Keras.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

from keras_actionformer.benchmark.measurements import Measurement
from keras_actionformer.errors import UserError

_PACKAGE = pathlib.Path(__file__).parents[2]
_TRUTH = "--ground_truth=data/annotations.json"
_FILE = "--feats=data/feats/test_0000.npy"
# The work of each is small: sequences of a thousand steps and the detections in a few of them.
_FILES = (
    ("simulate", "--output=data"),
    ("detect", "--preset=simulated", _FILE, "--output=a.json"),
    (
        "detect",
        "--preset=simulated",
        _FILE,
        "--config.postprocess.nms_sigma=0.4",
        "--output=b.json",
    ),
)
_FORMATS = ("saved_model", "tflite", "onnx")
_GRID = ("--stride_frames=8", "--window_frames=16")
_IMPORT = "import tensorflow, keras"
_PROGRAMS = {
    "detect": ("detect", "--preset=simulated", _FILE),
    **{f"detect, {format}": ("detect", f"--export={format}", _FILE) for format in _FORMATS},
    "evaluate": ("evaluate", _TRUTH, "--subset=test", "--detections=a.json"),
    "compare": ("compare", _TRUTH, "--subset=test", "--detections=a.json,b.json"),
    "report": ("report", _TRUTH, "--subset=test", "--detections=a.json", "--output=report.html"),
    "inspect": ("inspect", "--annotations=data/annotations.json", "--feats=data/feats", *_GRID),
    "help of detect": ("detect", "--help"),
}


def benchmark_start(num_runs=7):
    """Measures programs from the start of Python to their end, and the import of TensorFlow.

    All take turns, so that each meets the same machine.

    Args:
      num_runs: int.

    Yields:
      `Measurement`: milliseconds, and those that processors were at work; of programs that work
      here: exports and pages need extras.
    """
    with tempfile.TemporaryDirectory() as folder:
        for arguments in _FILES:
            _run(folder, *_program(*arguments))
        for format in _FORMATS:
            options = ("--preset=simulated", f"--format={format}", f"--output={format}")
            _run(folder, *_program("export", *options), may_fail=True)
        cases = {_IMPORT: ("-c", _IMPORT)}
        for name, arguments in _PROGRAMS.items():
            if _run(folder, *_program(*arguments), may_fail=True) is not None:
                cases[name] = _program(*arguments)
        runs = [
            {name: _run(folder, *arguments) for name, arguments in cases.items()}
            for _ in range(num_runs)
        ]
    for name in cases:
        wall_ms, work_ms = zip(*(run[name] for run in runs), strict=True)
        yield Measurement(f"start, {name}", "ms", wall_ms)
        yield Measurement(f"start, {name}", "ms of work", work_ms)


def _program(*arguments):
    return ("-m", "keras_actionformer", *arguments)


def _run(folder, *arguments, may_fail=False):
    """Runs Python in a folder; returns milliseconds, and those of work; None where it failed."""
    path = os.pathsep.join([str(_PACKAGE), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    before, start = os.times(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    wall, after = time.perf_counter() - start, os.times()
    if done.returncode:
        if may_fail:
            return None
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise UserError(f"The program to be measured failed: {last}")
    work = sum(
        getattr(after, name) - getattr(before, name)
        for name in ("children_user", "children_system")
    )
    return 1e3 * wall, 1e3 * work
