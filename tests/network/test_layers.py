"""Single layers: the reference's numbers, hand-worked cases, behaviour."""

import keras
import numpy as np
import pytest
from keras import ops

from helpers.golden_files import cases, group, load
from helpers.models import to_numpy
from keras_actionformer.network.attention import MaskedAttention, global_attention, local_attention
from keras_actionformer.network.blocks import ConvBlock, LayerScale, TransformerBlock, max_pool
from keras_actionformer.network.layers import (
    DepthwiseConv1D,
    LayerNorm,
    MaskedConv1D,
    PositionEmbedding,
    apply_mask,
    crop,
    shifted,
    sinusoid_table,
    strided_spec,
)
from keras_actionformer.network.points import make_points
from keras_actionformer.presets.reference import from_reference


class MaskedDepthwiseConv1D(DepthwiseConv1D):
    """The reference's depthwise layer: of a sequence and its mask."""

    def __init__(self, kernel_size, stride, use_bias, **kwargs):
        super().__init__(use_bias, **kwargs)
        self.kernel_size, self.stride = kernel_size, stride

    def build(self, x_shape, mask_shape=None):
        super().build([x_shape] * self.kernel_size)

    def call(self, x, mask):
        y = super().call(shifted(x, self.kernel_size, self.stride))
        mask = mask[:, :: self.stride]
        return apply_mask(y, mask), mask

    def compute_output_spec(self, x, mask):
        return strided_spec(self, x, self.stride)

    def get_config(self):
        return {
            **super().get_config(), "kernel_size": self.kernel_size, "stride": self.stride
        }  # fmt: skip


def _conv(in_channels, out_channels, kernel_size, stride=1, padding=0, groups=1, bias=True):
    assert padding == kernel_size // 2
    if groups == in_channels > 1:
        return MaskedDepthwiseConv1D(kernel_size, stride, bias)
    return MaskedConv1D(out_channels, kernel_size, stride, use_bias=bias)


def _attention(n_embd, n_head, window_size=-1, n_qx_stride=1, n_kv_stride=1, use_rel_pe=False):
    assert n_qx_stride == n_kv_stride
    return MaskedAttention(n_head, window_size, n_qx_stride, use_rel_pe=use_rel_pe)


def _block(n_embd, n_head, n_ds_strides=(1, 1), path_pdrop=0.0, mha_win_size=-1, use_rel_pe=False):
    return TransformerBlock(
        n_head, mha_win_size, n_ds_strides[0], use_rel_pe=use_rel_pe, droppath=path_pdrop
    )


# The reference's classes with their arguments, as ours.
OURS = {
    "MaskedConv1D": _conv,
    "LayerNorm": lambda num_channels: LayerNorm(),
    "MaskedMHA": lambda n_embd, n_head: MaskedAttention(n_head, use_conv=False),
    "MaskedMHCA": _attention,
    "LocalMaskedMHCA": _attention,
    "TransformerBlock": _block,
    "ConvBlock": lambda n_embd, n_ds_stride=1, kernel_size=3: ConvBlock(kernel_size, n_ds_stride),
}


def _single_layers():
    for case in cases("a"):
        path = case.values[0]
        golden = load(path)
        for name in golden.get("meta_json", {}).get("blocks", {}):
            yield pytest.param(path, name, id=f"{path.stem}-{name}")


@pytest.mark.parametrize("path, name", list(_single_layers()))
def test_layer_gives_the_reference_numbers(path, name):
    golden = load(path)
    case = golden["meta_json"]["blocks"][name]
    layer = OURS[case["class"]](**case["kwargs"])
    # Named as a layer of a backbone, so that its variables map to the reference's parameters.
    single = case["class"] in ("MaskedConv1D", "LayerNorm")
    name_in_model = "embd_0" if single else "stem_0"
    layer = type(layer).from_config({**layer.get_config(), "name": name_in_model})
    x, mask = golden[f"{name}/x"].transpose(0, 2, 1), golden[f"{name}/mask"][:, 0]
    takes_mask = case["class"] != "LayerNorm"
    layer.build(*((x.shape, mask.shape) if takes_mask else (x.shape,)))
    parameters = group(golden, f"{name}/param/")
    if case["class"] == "LayerNorm":
        parameters = {f"conv.{k}": v for k, v in parameters.items()}
    prefix = name_in_model.replace("_", ".")
    parameters = {f"{prefix}.{k}": v for k, v in parameters.items()}
    used = set()
    for variable in layer.trainable_variables:
        value, names = from_reference(variable, parameters)
        variable.assign(value)
        used.update(names)
    assert used == set(parameters)
    y, out_mask = layer(x, mask) if takes_mask else (layer(x), mask)
    np.testing.assert_allclose(to_numpy(y), golden[f"{name}/out"].transpose(0, 2, 1), atol=1e-5)
    np.testing.assert_array_equal(to_numpy(out_mask), golden[f"{name}/out_mask"][:, 0])


@pytest.mark.parametrize("path", cases("a"))
def test_position_table_and_points(path):
    golden = load(path)
    for name, expected in golden.items():
        if name.startswith("sinusoid_"):
            positions, dim = map(int, name.split("_")[1:])
            table = sinusoid_table(positions, dim)
            np.testing.assert_allclose(table, expected[0].T, atol=1e-6)
    levels = group(golden, "point_generator/level_")
    if levels:
        points = np.concatenate([levels[str(i)] for i in range(len(levels))])
        strides = [int(levels[str(i)][0, 3]) for i in range(len(levels))]
        ranges = [levels[str(i)][0, 1:3] for i in range(len(levels))]
        ours = make_points(len(levels["0"]), strides, ranges)
        np.testing.assert_array_equal(to_numpy(ours), points)


@pytest.mark.parametrize("path", cases("a"))
def test_stochastic_depth_drops_samples_as_the_reference(path):
    golden = load(path)
    for name in [k[: -len("/u")] for k in golden if k.endswith("/u")]:
        keep = 1.0 - float(name.rsplit("_", 1)[1])
        x, scale = golden[f"{name}/x"], golden[f"{name}/param/scale"]
        layer = LayerScale(1.0 - keep)
        layer.build((None, None, x.shape[1]))
        layer.scale.assign(scale.reshape(-1))
        # The draws are the framework's own: what a draw decides is that a sample is zero or is
        # divided by the probability of keeping it, in evaluation neither.
        scaled = to_numpy(layer(x.transpose(0, 2, 1), training=False)).transpose(0, 2, 1)
        kept = np.floor(keep + golden[f"{name}/u"])
        np.testing.assert_allclose(scaled * kept / keep, golden[f"{name}/out"], atol=1e-5)
        ours = to_numpy(layer(x.transpose(0, 2, 1), training=True)).transpose(0, 2, 1)
        for sample, full in zip(ours, scaled / keep, strict=True):
            assert not sample.any() or np.allclose(sample, full, atol=1e-6)


def test_stochastic_depth_keeps_the_expectation_and_drops_whole_samples():
    keras.utils.set_random_seed(0)
    layer = LayerScale(0.3)
    x = np.ones((4000, 3, 2), "float32")
    layer.build(x.shape)
    layer.scale.assign([1.0, 2.0])
    y = to_numpy(layer(x, training=True))
    per_sample = y[:, :, 0]
    assert (per_sample == per_sample[:, :1]).all()
    # 4000 draws of a mean of 1 with standard deviation sqrt(0.3 / 0.7): 5 sigma is 0.05.
    assert abs(per_sample.mean() - 1.0) < 0.052
    assert abs((per_sample[:, 0] == 0).mean() - 0.3) < 0.04


@pytest.mark.parametrize("window", [3, 4, 9, 33])
@pytest.mark.parametrize("num_steps", [1, 2, 7, 16, 61])
def test_local_attention_is_global_attention_within_a_band(window, num_steps):
    rng = np.random.default_rng(window * 100 + num_steps)
    q, k, v = rng.normal(size=(3, 2, num_steps, 2, 4)).astype("float32")
    mask = np.arange(num_steps) < np.array([[num_steps], [max(1, num_steps // 2)]])
    bias = rng.normal(size=(2, window // 2 * 2 + 1)).astype("float32")
    y = to_numpy(local_attention(q, k, v, ops.convert_to_tensor(mask), window, bias))

    distance = np.arange(num_steps)[None, :] - np.arange(num_steps)[:, None]
    radius = window // 2
    logits = np.einsum("bqhd,bkhd->bhqk", q, k)
    logits += bias[:, np.clip(distance + radius, 0, 2 * radius)]
    logits[np.broadcast_to(abs(distance) > radius, logits.shape)] = -np.inf
    logits[np.broadcast_to(~mask[:, None, None, :], logits.shape)] = -np.inf
    logits -= np.maximum(logits.max(-1, keepdims=True), -1e30)
    weights = np.exp(logits)
    weights /= np.maximum(weights.sum(-1, keepdims=True), 1e-30)
    expected = np.einsum("bhqk,bkhd->bqhd", weights, v)
    # Queries outside the mask see whatever is there; their output is masked by the caller.
    np.testing.assert_allclose(y[mask], expected[mask], atol=1e-5)


def test_attention_over_nothing_is_finite():
    q = np.ones((1, 5, 1, 2), "float32")
    mask = ops.convert_to_tensor(np.zeros((1, 5), bool))
    assert np.isfinite(to_numpy(local_attention(q, q, q, mask, 3))).all()
    assert np.isfinite(to_numpy(global_attention(q, q, q, mask))).all()


def test_no_array_with_time_squared_entries_exists_with_a_local_window():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("reads TensorFlow's graph")
    import tensorflow as tf

    num_steps, window, heads = 4096, 9, 2
    layer = MaskedAttention(heads, window)
    layer.build((1, num_steps, 8), (1, num_steps))
    graph = tf.function(lambda x, mask: layer(x, mask)[0], autograph=False).get_concrete_function(
        tf.TensorSpec((1, num_steps, 8)), tf.TensorSpec((1, num_steps), tf.bool)
    )
    sizes = [
        np.prod([n or 1 for n in output.shape])
        for op in graph.graph.get_operations()
        for output in op.outputs
        if output.shape.rank is not None
    ]
    # The largest arrays are logits: every query against its block's neighbourhood.
    assert max(sizes) <= heads * num_steps * (16 + 2 * (window // 2))
    assert max(sizes) < num_steps**2 / 50


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize("num_steps", [1, 2, 9])
def test_a_convolution_is_a_sum_of_shifted_products(kernel_size, num_steps):
    rng = np.random.default_rng(kernel_size * 10 + num_steps)
    x = rng.normal(size=(2, num_steps, 7)).astype("float32")
    mask = np.arange(num_steps) < np.array([[num_steps], [num_steps // 2]])
    layer = MaskedConv1D(3, kernel_size)
    layer.build(x.shape, mask.shape)
    layer.bias.assign([1.0, 2.0, 3.0])
    y, out_mask = layer(x, mask)
    kernel, reach = to_numpy(layer.kernel), kernel_size // 2
    padded = np.pad(x, [(0, 0), (reach, reach), (0, 0)])
    expected = sum(padded[:, k : k + num_steps] @ kernel[k] for k in range(kernel_size))
    expected = expected + to_numpy(layer.bias)
    np.testing.assert_allclose(to_numpy(y), expected * mask[:, :, None], atol=1e-5)
    np.testing.assert_array_equal(to_numpy(out_mask), mask)


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 5])
def test_taps_are_slices_of_the_padded_sequence(kernel_size, stride):
    for num_steps in range(1, 10):
        x = np.random.default_rng(num_steps).normal(size=(2, num_steps, 3)).astype("float32")
        padded = np.pad(x, [(0, 0), (kernel_size, kernel_size), (0, 0)], constant_values=-7)
        taps = shifted(ops.convert_to_tensor(x), kernel_size, stride, value=-7)
        assert len(taps) == kernel_size
        for k, tap in enumerate(taps):
            first = kernel_size + k - kernel_size // 2  # step 0 of `x` is at `kernel_size`
            expected = padded[:, first : first + num_steps : stride]
            np.testing.assert_array_equal(to_numpy(tap), expected)


def gradients(function, *arrays):
    """Gradients of `sum(function(*arrays) * weights)`, weights at random."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("differentiates with TensorFlow")
    import tensorflow as tf

    tensors = [tf.convert_to_tensor(array) for array in arrays]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        y = function(*tensors)
        weights = np.random.default_rng(7).normal(size=y.shape).astype("float32")
        loss = tf.reduce_sum(y * weights)
    return [to_numpy(gradient) for gradient in tape.gradient(loss, tensors)]


@pytest.mark.parametrize("kernel_size", [1, 3, 5, 11])
@pytest.mark.parametrize("num_steps", [1, 2, 9])
def test_gradient_of_a_convolution(kernel_size, num_steps):
    """Against the sum over taps that the kernel is, differentiated by TensorFlow."""
    rng = np.random.default_rng(kernel_size * 10 + num_steps)
    x = rng.normal(size=(3, num_steps, 7)).astype("float32")
    layer = MaskedConv1D(4, kernel_size, use_bias=False, masks_output=False)
    layer.build(x.shape)

    def convolve(x, kernel):
        with keras.StatelessScope([(layer.kernel, kernel)]):
            return layer(x, np.ones(x.shape[:2], bool))[0]

    def summed(x, kernel):
        reach = kernel_size // 2
        padded = ops.pad(x, [(0, 0), (reach, reach), (0, 0)])
        return sum(padded[:, k : k + num_steps] @ kernel[k] for k in range(kernel_size))

    kernel = to_numpy(layer.kernel)
    for a, b in zip(gradients(convolve, x, kernel), gradients(summed, x, kernel), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-5)


@pytest.mark.parametrize("num_taps", [1, 3])
def test_gradient_of_a_depthwise_convolution(num_taps):
    """Against the same sum, differentiated by TensorFlow."""
    rng = np.random.default_rng(num_taps)
    taps = [rng.normal(size=(2, 9, 7)).astype("float32") for _ in range(num_taps)]
    layer = DepthwiseConv1D(use_bias=False)
    layer.build([tap.shape for tap in taps])
    kernel = rng.normal(size=layer.kernel.shape).astype("float32")

    def convolve(kernel, *taps):
        with keras.StatelessScope([(layer.kernel, kernel)]):
            return layer(list(taps))

    def summed(kernel, *taps):
        return sum(tap * row[:, 0] for tap, row in zip(taps, ops.unstack(kernel, num_taps)))

    np.testing.assert_array_equal(
        to_numpy(convolve(kernel, *taps)), to_numpy(summed(kernel, *taps))
    )
    arrays = kernel, *taps
    for a, b in zip(gradients(convolve, *arrays), gradients(summed, *arrays), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("as_tensors", [False, True])
@pytest.mark.parametrize("first, last", [(0, 0), (2, 0), (0, 3), (1, 2)])
def test_crop_and_its_gradient_are_those_of_a_slice(first, last, as_tensors):
    x = np.random.default_rng(0).normal(size=(2, 6, 5)).astype("float32")

    def cropped(x):
        ends = [ops.convert_to_tensor(n) for n in (first, last)] if as_tensors else (first, last)
        return crop(x, [(0, 0), ends, (1, 2)])

    def sliced(x):
        return x[:, first : 6 - last, 1:3]

    np.testing.assert_array_equal(to_numpy(cropped(x)), sliced(x))
    np.testing.assert_array_equal(gradients(cropped, x), gradients(sliced, x))


@pytest.mark.parametrize("stride, expected", [(2, [3, 4, 5]), (4, [4, 5])])
def test_max_pool_windows_are_centred(stride, expected):
    # Steps 1 3 4 2 5: with stride 2 the windows are (., 1, 3), (3, 4, 2), (2, 5, .); with stride
    # 4 they are (., ., 1, 3, 4), (4, 2, 5, ., .).
    x = np.array([1.0, 3, 4, 2, 5], "float32").reshape(1, 5, 1)
    assert to_numpy(max_pool(x, stride)).ravel().tolist() == expected


def test_max_pool_ignores_the_outside_but_not_masked_zeros():
    x = np.array([-3.0, -2, 0, 0], "float32").reshape(1, 4, 1)
    assert to_numpy(max_pool(x, 2)).ravel().tolist() == [-2, 0]


def test_position_embedding_is_stretched_when_longer_and_cut_when_shorter():
    layer = PositionEmbedding(8)
    table = sinusoid_table(8, 4) / 2.0  # divided by sqrt(D)

    def embedding(num_steps):
        x = np.zeros((1, num_steps, 4), "float32")
        return to_numpy(layer(x, ops.ones((1, num_steps), "bool")))[0]

    np.testing.assert_allclose(embedding(5), table[:5], atol=1e-6)
    # Twice as long: step 1 lies at (1 + 0.5) / 2 - 0.5 = 0.25 of the way from row 0 to row 1.
    np.testing.assert_allclose(embedding(16)[1], 0.75 * table[0] + 0.25 * table[1], atol=1e-6)
    np.testing.assert_allclose(embedding(16)[[0, -1]], table[[0, -1]], atol=1e-6)


@pytest.mark.parametrize(
    "layer",
    [
        MaskedConv1D(6, 3, 2),
        MaskedDepthwiseConv1D(5, 1, use_bias=False),
        MaskedDepthwiseConv1D(5, 2, use_bias=True),
        MaskedAttention(2, 5, 2, use_rel_pe=True, dropout=0.1),
        TransformerBlock(2, -1, 2, dropout=0.2, droppath=0.3),
        ConvBlock(5, 4),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layer_survives_serialization_and_any_length(layer):
    copy = type(layer).from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    x = np.random.default_rng(0).normal(size=(2, 13, 4)).astype("float32")
    mask = np.arange(13) < np.array([[13], [6]])
    y, out_mask = layer(x, mask)
    symbolic = keras.KerasTensor((None, None, 4)), keras.KerasTensor((None, None), "bool")
    spec, mask_spec = layer.compute_output_spec(*symbolic)
    assert spec.shape == (None, None, y.shape[-1]) and mask_spec.dtype == "bool"
    assert y.shape[:2] == out_mask.shape
    assert not to_numpy(y)[~to_numpy(out_mask)].any() or isinstance(layer, ConvBlock)
    copy.build(x.shape, mask.shape)
    for ours, theirs in zip(layer.weights, copy.weights, strict=True):
        theirs.assign(ours)
    np.testing.assert_array_equal(to_numpy(y), to_numpy(copy(x, mask)[0]))


def test_wrong_arguments_say_what_to_change():
    with pytest.raises(ValueError, match="kernel_size must be odd"):
        MaskedConv1D(4, 2)
    with pytest.raises(ValueError, match="use_rel_pe needs local attention"):
        MaskedAttention(2, -1, use_rel_pe=True)
    with pytest.raises(ValueError, match="multiple of the number of heads"):
        MaskedAttention(3, 5)(np.zeros((1, 4, 4), "float32"), np.ones((1, 4), bool))
