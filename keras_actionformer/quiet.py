"""Starting TensorFlow without its messages about the machine, which would bury ours.

No setting of TensorFlow's does this: what it says while it is loaded comes before it reads
`TF_CPP_MIN_LOG_LEVEL`. Nothing is set here either, so that its messages stay as their user has
them in all that comes after the start.
"""

import contextlib
import importlib
import json
import os
import pathlib
import re
import sys
import tempfile
import threading

from keras_actionformer.errors import UserError
from keras_actionformer.extras import import_extra

# Information and warnings of TensorFlow's C++ part, that there is no NVIDIA driver to load,
# what its converters say of a graph in their own language, and what LiteRT runs on.
_NOISE = re.compile(
    rb"WARNING: All log messages before absl|To enable the following instructions: "
    rb"|[IW]0000 |E0000 .*(cuInit.*\(303\)|node_def_util)|INFO: Created TensorFlow Lite "
)
_STDERR = 2  # TensorFlow writes to the file and not to `sys.stderr`
_started_in = {}  # "pid" of the process that made the first model
_redirected = threading.Lock()  # there is one such file for all threads


@contextlib.contextmanager
def quiet_start():
    """Drops what TensorFlow says while it starts in the block; the rest follows at the end.

    When its user sets `TF_CPP_MIN_LOG_LEVEL` to 0, nothing is dropped.
    """
    with _without_noise():
        yield
        tensorflow = sys.modules.get("tensorflow")  # None, too, where its import is forbidden
        if tensorflow is not None:  # it looks for GPUs now and not later
            tensorflow.config.list_physical_devices()


def look_for_devices():
    """Has TensorFlow, where it is loaded, look for GPUs quietly, before the first model does."""
    check_process()
    with quiet_start():
        pass
    _started_in.setdefault("pid", os.getpid())


def check_process():
    """Raises UserError in a child of a process where a model had been: it would wait for ever.

    TensorFlow's and JAX' threads are not in what `fork` makes.
    """
    if _started_in.get("pid", os.getpid()) != os.getpid():
        raise UserError(
            "This process was forked from one that had made a model, whose threads it lacks: start "
            "processes by multiprocessing.get_context('spawn') and open the model in each of them."
        )


@contextlib.contextmanager
def without_warnings():
    """Holds back what is logged below errors within the block, by TensorFlow and others alike."""
    from absl import logging

    verbosity, level = logging.get_verbosity(), logging.get_absl_logger().level
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        logging.get_absl_logger().setLevel(level)  # unset, it is the root's, which may change yet


def import_quietly(name):
    """Imports and returns a module; what TensorFlow says if this loads it is dropped.

    Other than `quiet_start`, it leaves GPUs alone until they are used: an import that took them
    would keep its user from choosing among them.
    """
    if name in sys.modules or "tensorflow" in sys.modules:
        return importlib.import_module(name)
    with _without_noise():
        return importlib.import_module(name)


def import_keras():
    """Imports Keras and its backend, for programs, without what these load only where it is there.

    JAX, SciPy, matplotlib and OpenCV take a third of the time, for parts that no program uses: a
    converter and a training of TensorFlow's, and Keras' drawing. Afterwards they can be imported.

    Raises:
      UserError: the backend is not installed.
    """
    backend, unused = _backend(), ("matplotlib", "cv2")
    if backend == "tensorflow":
        unused = (*unused, "jax", "scipy")
    with quiet_start(), _as_if_absent(*unused):
        if backend in ("jax", "torch"):  # Keras would end in a traceback
            extra = "jax" if backend == "jax" else None
            import_extra(backend, backend, extra, f"KERAS_BACKEND={backend}")
        import keras  # noqa: F401


def _backend():
    """The backend that Keras will choose, as it documents: by its variable or its file."""
    folder = pathlib.Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    try:
        told = json.loads((folder / "keras.json").read_text()).get("backend")
    except (OSError, ValueError, AttributeError):
        told = None
    return os.environ.get("KERAS_BACKEND") or told or "tensorflow"


@contextlib.contextmanager
def _as_if_absent(*packages):
    """Has an import of these packages fail in the block, where they are not loaded already."""
    unseen = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(unseen))  # None: as Python documents it
    try:
        yield
    finally:
        for name in unseen:
            del sys.modules[name]


@contextlib.contextmanager
def _without_noise():
    """Holds back what is written to the standard error, and drops the lines of `_NOISE` from it."""
    terminal = _take_stderr()
    if terminal is None:
        yield
        return
    with _file_of_messages() as messages:
        os.dup2(messages.fileno(), _STDERR)
        try:
            yield
        finally:
            _flush()
            os.dup2(terminal, _STDERR)
            os.close(terminal)
            _redirected.release()
            messages.seek(0)
            for line in messages:
                if not _NOISE.match(line):
                    os.write(_STDERR, line)


def _file_of_messages():
    try:
        return tempfile.TemporaryFile()
    except OSError:  # no disk can be written to, as in a hardened container: in memory, then
        # TensorFlow imports absl's tests, which ask for a folder that they never use here.
        os.environ.setdefault("TEST_TMPDIR", os.curdir)
        return open(os.memfd_create("messages"), "w+b")


def _take_stderr():
    """A second number of the standard error for the time it leads elsewhere, or None: leave it."""
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        return None
    if not _redirected.acquire(blocking=False):  # by a block around this one, or another thread's
        return None
    try:
        _flush()
        return os.dup(_STDERR)
    except OSError:  # a program may have none
        _redirected.release()
        return None


def _flush():
    if sys.stderr is not None:
        sys.stderr.flush()
