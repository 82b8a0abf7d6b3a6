"""What a training runs on: one device, several of this host, or those of several hosts.

Nothing of a training's result depends on it but the last digits (and, on TensorFlow, which random
numbers stochastic depth and dropout draw): a batch is shared out in equal parts, and losses,
gradients and the loss normalizer are those of all of it.
"""

import contextlib
import os
import re

import keras
import numpy as np

from keras_actionformer.errors import UserError, counted
from keras_actionformer.quiet import look_for_devices, quiet_start
from keras_actionformer.training.hosts import NUM_PROCESSES

ALL = "all"
ONE_FOLDER = "it must be one folder that all hosts see"
_SEVERAL_HOSTS = (
    "several hosts train together on Keras' JAX backend alone (Keras' `fit` does not work with "
    "TensorFlow's MultiWorkerMirroredStrategy): set KERAS_BACKEND=jax, and start each host as "
    "docs/scale.md says"
)
# Of what JAX says where another process is gone; Gloo connects CPUs, NCCL GPUs.
_LOST = re.compile("gloo|nccl|connection|coordination service|heartbeat", re.IGNORECASE)


class OneDevice:
    """The device that Keras takes by itself; the others override what is different with them.

    Attributes:
      part: two ints, which part of each batch the stream of this process is to make, and of how
        many; see `train_dataset`.
      number: int, how many devices share each batch, of all processes.
      is_writer: bool, whether this process writes the run's folder; others only read it.
    """

    part = (0, 1)
    number = 1
    is_writer = True

    def together(self):
        """A context for all that has to do with a training."""
        return contextlib.nullcontext()

    def making(self):
        """A context in which the model is made and compiled."""
        return contextlib.nullcontext()

    def fitting(self):
        """A context in which the model is fitted."""
        return contextlib.nullcontext()

    def apart(self):
        """A context, within `fitting`, for what this process computes on its own."""
        return contextlib.nullcontext()

    def stream(self, dataset):
        """The training batches as `fit` can share them out."""
        return dataset

    def start(self, model):
        """To be called once a model has the weights, and the random states, that it starts with."""

    def agreed(self, numbers):
        """Numbers by name, as the writer has them; waits until all processes have come so far."""
        return numbers

    def check_same(self, what, number, fix):
        """Raises UserError where a number is not the writer's.

        Args:
          what: str, what it is.
          number: int.
          fix: str, what to do then.
        """
        theirs = self.agreed({what: number})[what]
        if theirs != number:
            raise UserError(
                f"{what} is {number} for this process, but {theirs} for the first: {fix}."
            )


class Replicas(OneDevice):
    """Devices of this host, each with a replica of the network, on TensorFlow.

    Args:
      names: list of str, as TensorFlow calls the devices.
    """

    def __init__(self, names):
        import tensorflow as tf

        self._names, self.number = names, len(names)
        self._strategy = tf.distribute.MirroredStrategy(names)

    def together(self):
        _tell_shares(self._names)
        return contextlib.nullcontext()

    def making(self):
        return self._strategy.scope()

    def stream(self, dataset):
        """Masks become floats: Keras takes a mean of the first batch, which truth values lack."""
        import tensorflow as tf

        return dataset.map(lambda x, y: ({**x, "mask": tf.cast(x["mask"], tf.float32)}, y))

    def start(self, model):
        """Gives replicas different random numbers; those of the first are what is saved."""
        import tensorflow as tf

        states = [v for v in model.variables if v.name == "seed_generator_state"]

        def spread():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            for state in states:
                seed, counter = keras.ops.unstack(state, 2)
                seed = seed + keras.ops.cast(replica, seed.dtype)
                state.assign(keras.ops.stack([seed, counter]))

        tf.function(self._strategy.run, autograph=False)(spread)


class Shards(OneDevice):
    """Devices of this host or of several, each with a part of every batch, on JAX.

    Each process makes its own part of every batch, validates by itself, and reads the run's folder.

    Args:
      names: list of str, as Keras calls the devices.
    """

    def __init__(self, names):
        import jax

        self._names, self.number = names, len(names)
        self._distribution = keras.distribution.DataParallel(
            devices=names, auto_shard_dataset=False
        )
        self.part = jax.process_index(), jax.process_count()
        self.is_writer = jax.process_index() == 0
        # Connected now, they may wait for each other as long as they like; later, half a minute.
        self.agreed({"connected": 1})

    @contextlib.contextmanager
    def together(self):
        """Only the writer prints; a process that is gone is told in one sentence."""
        with contextlib.nullcontext() if self.is_writer else contextlib.redirect_stdout(None):
            _tell_shares(self._names)
            try:
                yield
            except UserError:  # a ValueError as well
                raise
            except (RuntimeError, ValueError) as error:
                if self.part[1] == 1 or not _LOST.search(str(error)):
                    raise
                raise UserError(
                    f"Another of the {self.part[1]} processes of this training has ended, and so "
                    "does this one; what ended it is told where it ran. Start all of them again "
                    "with --resume: the run goes on after its last finished epoch."
                ) from error

    def making(self):
        return self._distribution.scope()

    def fitting(self):
        return self._distribution.scope()

    @contextlib.contextmanager
    def apart(self):
        keras.distribution.set_distribution(None)
        try:
            yield
        finally:
            keras.distribution.set_distribution(self._distribution)

    def agreed(self, numbers):
        if self.part[1] == 1:
            return numbers
        from jax.experimental import multihost_utils

        # As bytes: JAX has no float64 by default.
        values = np.array(list(numbers.values()), np.float64).view(np.uint8)
        values = np.asarray(multihost_utils.broadcast_one_to_all(values)).view(np.float64)
        return {
            name: type(number)(value)
            for (name, number), value in zip(numbers.items(), values, strict=True)
        }


def _tell_shares(names):
    print(f"Each batch is shared out to {len(names)} devices: {', '.join(names)}.")


def find_devices(devices, train):
    """The devices that a training asks for.

    Args:
      devices: int, how many; or `"all"`: those of this host, or of all hosts that JAX knows of.
      train: section `train` of the configuration.

    Returns:
      `OneDevice` or a subclass.

    Raises:
      UserError: there are not as many, a batch cannot be shared out among them, or Keras' backend
        cannot use them.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        return _on_jax(devices, train.batch_size)
    if NUM_PROCESSES in os.environ or "TF_CONFIG" in os.environ:
        raise UserError(f"Several processes are asked for, but {_SEVERAL_HOSTS}.")
    if backend == "tensorflow":
        return _on_tensorflow(devices, train)
    _number(devices, [f"the one that {backend} takes"])
    return OneDevice()


def _on_tensorflow(devices, train):
    import tensorflow as tf

    if tf.distribute.has_strategy():
        raise UserError(
            "train() makes its own strategy: call it outside of the scope of one, with "
            f"devices='all' or a number of them; {_SEVERAL_HOSTS}."
        )
    look_for_devices()
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    names = [device.name.removeprefix("/device:") for device in found]
    num = _number(devices, names)
    _check_shares(train.batch_size, num)
    if num == 1:
        return OneDevice()
    if train.jit_compile == "on":
        raise UserError(
            f"train.jit_compile is 'on', but XLA cannot compile a step of {num} devices on Keras' "
            "TensorFlow backend: leave it at 'auto', or set KERAS_BACKEND=jax."
        )
    return Replicas(names[:num])


def _on_jax(devices, batch_size):
    import jax

    with quiet_start(), contextlib.suppress(RuntimeError):  # it has begun already
        import tensorflow as tf

        tf.config.set_visible_devices([], "GPU")  # it only reads data, and would take their memory
    if NUM_PROCESSES in os.environ and not jax.distributed.is_initialized():
        raise UserError(
            f"{NUM_PROCESSES} is set, but JAX has not been told of the other processes: call "
            "keras.distribution.initialize() before all else, as the program `train` does."
        )
    names, num_processes = keras.distribution.list_devices(), jax.process_count()
    num = _number(devices, names)
    if num_processes > 1 and num < len(names):
        raise UserError(
            f"devices is {num}, but the {num_processes} processes that train together have "
            f"{len(names)}, and none of them may be left out: set it to 'all'."
        )
    if jax.local_device_count() * num_processes != len(names):
        raise UserError(
            f"This process has {jax.local_device_count()} of the {len(names)} devices, but each of "
            f"the {num_processes} must have as many: leave some out by CUDA_VISIBLE_DEVICES."
        )
    _check_shares(batch_size, num)
    return OneDevice() if num == 1 else Shards(names[:num])


def _number(devices, names):
    """How many of the devices of these names are asked for."""
    if devices == ALL:
        return len(names)
    if isinstance(devices, bool) or not isinstance(devices, int) or devices < 1:
        raise UserError(f"devices must be 'all' or a whole number above 0, but is {devices!r}.")
    if devices > len(names):
        raise UserError(
            f"devices is {devices}, but there is only {counted(len(names), 'device')} here "
            f"({', '.join(names)}): set it to 'all' or to at most {len(names)}."
        )
    return devices


def _check_shares(batch_size, num):
    if batch_size % num:
        raise UserError(
            f"train.batch_size is {batch_size}, which {num} devices cannot share equally: set it "
            f"to a multiple of {num}."
        )
