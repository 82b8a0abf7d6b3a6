"""A graph that TensorFlow traces once, when that pays."""

import keras


class TracedOnce:
    """Runs a graph on TensorFlow, traced once for all lengths.

    Tracing takes seconds. (`predict_on_batch` would trace for the first length, and then for any.)

    Args:
      graph: `keras.Model`.
      num_untraced: int, batches that run operation by operation before it is traced, unless more
        are expected: few would not pay for the tracing.
    """

    def __init__(self, graph, num_untraced):
        import tensorflow as tf

        specs = keras.tree.map_structure(lambda x: tf.TensorSpec(x.shape, x.dtype), graph.input)
        self._graph = graph
        self._traced = tf.function(graph, input_signature=[specs], autograph=False)
        self._num_untraced = num_untraced

    def expect(self, num_batches):
        if num_batches > self._num_untraced:
            self._num_untraced = 0

    def __call__(self, batch):
        if self._num_untraced <= 0:  # below it where threads count down at once
            return self._traced(batch)
        self._num_untraced -= 1
        return self._graph(batch)
