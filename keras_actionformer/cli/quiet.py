"""Starting TensorFlow without its messages about the machine, which would bury ours."""

import contextlib
import os
import re
import sys
import tempfile

# Information and warnings of TensorFlow's C++ part, that there is no NVIDIA driver to load,
# and what its converters say of a graph in their own language.
_NOISE = re.compile(
    r"WARNING: All log messages before absl|[IW]0000 |E0000 .*(cuInit.*\(303\)|node_def_util)"
)


@contextlib.contextmanager
def quiet_start():
    """Drops what TensorFlow says while it starts in the block; the rest follows at the end.

    `TF_CPP_MIN_LOG_LEVEL`, which acts on what TensorFlow says later, comes too late for this; when
    its user sets it to 0, nothing is dropped.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        yield
        return
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            yield
            if "tensorflow" in sys.modules:  # it looks for GPUs now and not later
                sys.modules["tensorflow"].config.list_physical_devices()
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)
            messages.seek(0)
            lines = messages.read().decode(errors="replace").splitlines(keepends=True)
            sys.stderr.write("".join(line for line in lines if not _NOISE.match(line)))


def import_keras():
    """Imports Keras and its backend."""
    with quiet_start():
        import keras  # noqa: F401
