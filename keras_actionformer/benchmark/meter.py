"""Times calls, and beside them what the machine reaches at its best."""

import os
import pathlib
import platform
import time

import keras
import numpy as np
from keras import ops

from keras_actionformer.benchmark.measurements import Measurement

try:
    import resource
except ImportError:  # on Windows
    resource = None

_WARM_UPS = 2  # the first call traces and compiles


class Meter:
    """Measures calls, each after two that warm up.

    Args:
      num_runs: int.
      dtype: str, the type that the measured networks, and so the primitives, compute in.
      matrix_size: int, n of the primitive (n, n) x (n, n).
      conv_steps, conv_width: ints, of the primitive convolution of 3 taps.
    """

    def __init__(
        self, num_runs=7, dtype="float32", matrix_size=4096, conv_steps=2304, conv_width=512
    ):
        self.num_runs = num_runs
        self.dtype = dtype
        self._matrix_size = matrix_size
        self._conv_steps = conv_steps
        self._conv_width = conv_width
        self._primitives = None

    def measure(self, case, call, num_steps=None, gflop=None, with_memory=True):
        """Measures the milliseconds of a call.

        Args:
          case: str, what it is.
          call: function without arguments; it returns when all is computed.
          num_steps: int, length of the sequence, where that is of interest.
          gflop: float, useful work of a call in billions of floating-point operations: the
            primitives then run beside each run, for the machine's speed drifts.
          with_memory: bool, whether the peak memory of the process is that of this case.

        Returns:
          `Measurement`.
        """
        for _ in range(_WARM_UPS):
            call()
        peak_mb = peak_memory_mb() if with_memory else None  # before the primitives take theirs
        if gflop is not None:
            self._primitive_gflops()
        milliseconds, rates = [], []
        for _ in range(self.num_runs):
            milliseconds.append(1e3 * _seconds(call))
            if gflop is not None:
                rates.append(max(self._primitive_gflops()))
        return Measurement(case, "ms", tuple(milliseconds), num_steps, gflop, tuple(rates), peak_mb)

    def measure_primitives(self):
        """Measures what the machine reaches in a matrix product and in a convolution.

        Returns:
          Two `Measurement`s in GFLOP/s.
        """
        for _ in range(_WARM_UPS):
            self._primitive_gflops()
        runs = [self._primitive_gflops() for _ in range(self.num_runs)]
        names = (
            f"{self.dtype} matrix product, {self._matrix_size}^3",
            f"{self.dtype} convolution, 3 x {self._conv_width}",
        )
        lengths = (None, self._conv_steps)
        return [
            Measurement(name, "GFLOP/s", rates, length)
            for name, rates, length in zip(names, zip(*runs, strict=True), lengths, strict=True)
        ]

    def _primitive_gflops(self):
        """Runs both primitives once; returns their GFLOP/s."""
        if self._primitives is None:
            self._primitives = self._make_primitives()
            for call, _ in self._primitives:
                call()
        return tuple(gflop / _seconds(call) for call, gflop in self._primitives)

    def _make_primitives(self):
        """The two calls with their GFLOP, in the mode that is the quicker one for them."""
        rng = np.random.default_rng(0)

        def normal(*shape):
            return ops.convert_to_tensor(rng.standard_normal(shape, "float32"), dtype=self.dtype)

        size, steps, width = self._matrix_size, self._conv_steps, self._conv_width
        product = compiled(ops.matmul, available_modes()[0])
        conv = compiled(lambda x, kernel: ops.conv(x, kernel, padding="same"), available_modes()[0])
        matrices = normal(size, size), normal(size, size)
        signal = normal(1, steps, width), normal(3, width, width)
        return (
            (lambda: wait(product(*matrices)), 2e-9 * size**3),
            (lambda: wait(conv(*signal)), 2e-9 * steps * 3 * width**2),
        )


def _seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def peak_memory_mb():
    """Most memory that this process has held at once, in MB; None where the system does not say."""
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if platform.system() == "Darwin" else peak * 1024 / 1e6


def available_modes():
    """How this backend can run a function: `"graph"` and `"xla"`, or the only way it has."""
    return {"tensorflow": ("graph", "xla"), "jax": ("xla",)}.get(
        keras.backend.backend(), ("eager",)
    )


def compiled(function, mode):
    """Returns `function`, of tensors, to be run in one of `available_modes()`."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=mode == "xla", autograph=False)
    if backend == "jax":
        import jax

        return jax.jit(function)
    import torch

    return torch.no_grad()(function)


def wait(outputs):
    """Waits until `outputs` are computed: accelerators answer before they are."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tf.test.experimental.sync_devices()
    elif backend == "jax":
        import jax

        jax.block_until_ready(outputs)
    else:
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()


def machine():
    """Describes where measurements are made: dict of str to str or int."""
    backend = keras.backend.backend()
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": _num_threads(),
        "accelerator": _accelerator(),
        "system": platform.system(),
        "python": platform.python_version(),
        "keras": keras.__version__,
        "backend": f"{backend} {__import__(backend).__version__}",
        "numpy": np.__version__,
        "modes": "/".join(available_modes()),
    }


def _processor():
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _num_threads():
    """Threads that one operation may use."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        chosen = tf.config.threading.get_intra_op_parallelism_threads()
        if chosen:
            return chosen
    if hasattr(os, "sched_getaffinity"):  # backends then take the cores they are given
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _accelerator():
    """What the backend computes on besides the processor, or "none"."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        names = [tf.config.experimental.get_device_details(x).get("device_name") for x in gpus]
    elif backend == "jax":
        import jax

        names = [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    else:
        import torch

        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return ", ".join(map(str, names)) or "none"
