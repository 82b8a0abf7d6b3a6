"""Recomputing: the same gradients from less that is kept, and what it cannot do."""

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from helpers.models import CHANNELS, LONGEST, small_model, to_numpy
from keras_actionformer.errors import UserError

# One of each kind of block; the first one drops samples, at random.
NETWORKS = {
    "transformer": {"backbone_type": "convTransformer", "droppath": 0.5, "use_rel_pe": True},
    "conv": {"backbone_type": "conv"},
}
HERE = str(pathlib.Path(__file__).parent)


def small_batch():
    """Sequences of three lengths with two actions each."""
    rng = np.random.default_rng(5)
    x = {
        "feats": rng.normal(size=(4, LONGEST, CHANNELS)).astype("float32"),
        "mask": np.arange(LONGEST) < np.array([[LONGEST], [31], [LONGEST], [40]]),
    }
    y = {
        "segments": np.array([[[3.0, 9.0], [12.0, 28.0]]] * 4, "float32"),
        "labels": np.array([[0, 2]] * 4, "int32"),
    }
    return x, y


def gradients_of_tensorflow(model, jit_compile):
    """The gradients of a batch, and how many numbers are kept for them: the sizes of all floats
    that operations of the way forward write and operations of the way back read."""
    import tensorflow as tf

    kept = {}

    @tf.function(jit_compile=jit_compile, autograph=False)
    def gradients(x, y):
        operations = tf.compat.v1.get_default_graph().get_operations
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x, y, model(x, training=True))
        forward = operations()
        found = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
        written = {tensor.name: tensor for operation in forward for tensor in operation.outputs}
        for operation in operations()[len(forward) :]:
            for tensor in operation.inputs:
                if tensor.name in written and tensor.dtype.is_floating:
                    kept[tensor.name] = tensor.shape.num_elements()
        return [tf.convert_to_tensor(gradient) for gradient in found]

    found = [to_numpy(gradient) for gradient in gradients(*small_batch())]
    return found, sum(kept.values())


def gradients_of_jax(model):
    """The gradients of a batch, and how many numbers are kept for them."""
    import jax

    x, y = small_batch()

    def loss(values):
        with keras.StatelessScope(list(zip(model.trainable_variables, values, strict=True))):
            return model.compute_loss(x, y, model(x, training=True))

    values = [variable.value for variable in model.trainable_variables]
    way_back = jax.eval_shape(lambda values: jax.vjp(loss, values)[1], values)
    kept = sum(array.size for array in jax.tree.leaves(way_back))
    return [to_numpy(gradient) for gradient in jax.jit(jax.grad(loss))(values)], kept


def assert_same_from_less(gradients_of, network):
    model = small_model(**NETWORKS[network])
    assert not model.recompute
    expected, kept = gradients_of(model)
    recomputing = small_model(**NETWORKS[network])
    recomputing.recompute = True
    found, kept_then = gradients_of(recomputing)
    largest = max(abs(gradient).max() for gradient in expected)
    for variable, a, b in zip(model.trainable_variables, found, expected, strict=True):
        # A softmax does not see a shift of all keys: gradients of their biases are rounding only.
        allowed = 1e-5 * abs(b).max() + 1e-7 * largest
        np.testing.assert_allclose(a, b, rtol=0, atol=allowed, err_msg=variable.path)
    assert kept_then < kept / 2


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="differentiates a graph")
@pytest.mark.parametrize(
    "network, jit_compile",
    [
        pytest.param("transformer", False, id="transformer-graph", marks=pytest.mark.slow),
        pytest.param("transformer", True, id="transformer-xla", marks=pytest.mark.slow),
        pytest.param("conv", False, id="conv-graph"),
        pytest.param("conv", True, id="conv-xla", marks=pytest.mark.slow),
    ],
)
def test_gradients_are_the_same_from_less(network, jit_compile):
    assert_same_from_less(lambda model: gradients_of_tensorflow(model, jit_compile), network)


PROGRAM = """
import sys
sys.path[:0] = {path!r}
from test_recompute import NETWORKS, assert_same_from_less, gradients_of_jax
for network in NETWORKS:
    assert_same_from_less(gradients_of_jax, network)
"""


@pytest.mark.slow
def test_gradients_are_the_same_from_less_on_jax():
    pytest.importorskip("jax")
    subprocess.run(
        [sys.executable, "-c", PROGRAM.format(path=[HERE, *sys.path])],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        check=True,
    )


def test_what_drops_at_random_inside_cannot_be_computed_again():
    model = small_model(dropout=0.1)
    with pytest.raises(UserError, match="recompute needs dropout=0, but dropout=0.1"):
        model.recompute = True
    assert not model.recompute
    model.recompute = False
    small_model(droppath=0.1).recompute = True  # samples are dropped outside
