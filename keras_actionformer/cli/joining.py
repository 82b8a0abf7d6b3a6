"""The processes of one training, on one host or several: how they find each other, and part."""

import atexit
import contextlib
import os
import signal
import sys

from keras_actionformer.errors import UserError
from keras_actionformer.quiet import import_keras
from keras_actionformer.training.hosts import ADDRESSES, NUM_PROCESSES, PROCESS_ID

_WHOLE_DAY_SEC = 24 * 3600  # for which the others wait while the first evaluates, at the end


@contextlib.contextmanager
def joined_processes():
    """Within the block this process is one of those that Keras' environment variables tell of.

    Without these it is alone. With them the backend must be JAX.

    Yields:
      bool, whether it is the only one or the first of them.

    Raises:
      UserError: a variable lacks, or is none of what it can be.
    """
    if NUM_PROCESSES not in os.environ or not _is_jax():
        yield True  # `train` refuses several processes of another backend
        return
    import jax

    # It would take SIGTERM for itself, and has nobody whom to tell of it.
    jax.config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(
        *_settings(),
        shutdown_timeout_seconds=_WHOLE_DAY_SEC,
        cluster_detection_method="deactivate",
    )
    try:
        yield jax.process_index() == 0
    except BaseException as error:
        # JAX would wait for the others at the end of this process, and they wait for this one.
        atexit.register(_end_at_once, _status(error))
        raise
    jax.distributed.shutdown()


def _is_jax():
    import_keras()
    import keras

    return keras.backend.backend() == "jax"


def _settings():
    """Address, number of processes and number of this one."""
    address = os.environ.get(ADDRESSES, "").partition(",")[0]
    if ":" not in address:
        raise UserError(
            f"{ADDRESSES} must tell host and port of the first process, such as 10.0.0.1:1234, "
            f"but it is {address!r}."
        )
    num, index = (os.environ.get(name, "") for name in (NUM_PROCESSES, PROCESS_ID))
    if not (num.isdecimal() and index.isdecimal() and int(index) < int(num)):
        raise UserError(
            f"{NUM_PROCESSES} must be a whole number and {PROCESS_ID} one from 0 to below it, but "
            f"they are {num!r} and {index!r}."
        )
    return address, int(num), int(index)


def _status(error):
    """The exit status that a program has after an error."""
    if isinstance(error, KeyboardInterrupt):
        return 128 + getattr(error, "signal", signal.SIGINT)
    return 2 if isinstance(error, UserError | OSError) else 1


def _end_at_once(status):
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, AttributeError, ValueError):
            stream.flush()
    os._exit(status)
