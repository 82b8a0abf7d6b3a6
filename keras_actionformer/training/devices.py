"""What a training runs on: one device, several of this host, or those of several hosts.

Nothing of a training's result depends on it but the last digits (and, on TensorFlow, which random
numbers stochastic depth and dropout draw): a batch is shared out in equal parts, and losses,
gradients and the loss normalizer are those of all of it.
"""

import contextlib
import os

import keras

from keras_actionformer.errors import UserError, counted

ALL = "all"
_SEVERAL_HOSTS = (
    "several hosts train together on Keras' JAX backend alone (Keras' `fit` does not work with "
    "TensorFlow's MultiWorkerMirroredStrategy): set KERAS_BACKEND=jax, and start each host as "
    "docs/scale.md says"
)


class OneDevice:
    """The device that Keras takes by itself.

    Attributes:
      part: two ints, which part of each batch the stream of this process is to make, and of how
        many; see `train_dataset`.
      is_writer: bool, whether this process writes the run's folder; the others write nothing.
    """

    part = (0, 1)
    is_writer = True

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


class Replicas(OneDevice):
    """Devices of this host, each with a replica of the network, on TensorFlow.

    Args:
      names: list of str, as TensorFlow calls the devices.
    """

    def __init__(self, names):
        import tensorflow as tf

        self._strategy = tf.distribute.MirroredStrategy(names)

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
                replica = keras.ops.cast(replica, seed.dtype)
                state.assign(keras.ops.stack([seed + replica, counter]))

        tf.function(self._strategy.run, autograph=False)(spread)


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
    names = _tensorflow_devices() if backend == "tensorflow" else ["the default device"]
    num = _number(devices, names)
    if num == 1:
        return OneDevice()
    if train.batch_size % num:
        raise UserError(
            f"train.batch_size is {train.batch_size}, which {num} devices cannot share equally: "
            f"set it to a multiple of {num}."
        )
    if train.jit_compile == "on":
        raise UserError(
            f"train.jit_compile is 'on', but XLA cannot compile a step of {num} devices on Keras' "
            "TensorFlow backend: leave it at 'auto', or set KERAS_BACKEND=jax."
        )
    return Replicas(names[:num])


def _number(devices, names):
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


def _tensorflow_devices():
    """Names of the GPUs or, where there is none, of the CPUs that TensorFlow is set to see."""
    import tensorflow as tf

    if tf.distribute.has_strategy():
        raise UserError(
            "train() makes its own strategy: call it outside of the scope of one, with "
            f"devices='all' or a number of them; {_SEVERAL_HOSTS}."
        )
    if "TF_CONFIG" in os.environ:
        raise UserError(f"TF_CONFIG is set, but {_SEVERAL_HOSTS}.")
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name.removeprefix("/device:") for device in found]
