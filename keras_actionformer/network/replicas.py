"""Sums over the replicas of a network: the one file of this package that knows TensorFlow."""

import keras
from keras import ops


def sum_over_replicas(values):
    """Sums numbers that each replica has of its part of a batch, without a gradient.

    Under a strategy of `tf.distribute` a replica sees its own part alone. Everywhere else, also
    under `keras.distribution`, a step sees the whole batch, and these are its sums already.

    Args:
      values: scalars of float32.

    Returns:
      list of scalars; `values` themselves where there is one replica.
    """
    if keras.backend.backend() != "tensorflow":
        return values
    import tensorflow as tf

    context = tf.distribute.get_replica_context()  # None between the steps of several
    if context is None or context.num_replicas_in_sync == 1:
        return values
    return ops.unstack(context.all_reduce("SUM", ops.stop_gradient(ops.stack(values))), len(values))
