"""The smallest layers of the network: convolution, normalization, position embedding.

Shapes, here and everywhere: B batch, T time, D width, H attention heads. A sequence is a pair
`(x, mask)` of `x (B, T, D)` and `mask (B, T)` bool, True = valid; a layer takes the pair and
returns the pair. Nothing here imports a backend: everything is `keras.ops`.

Where a choice looks odd, it is the reference implementation's: trained weights depend on it.
"""

import math

import keras
import numpy as np
from keras import ops


class Composite(keras.layers.Layer):
    """A layer made of layers, which it creates when it is built."""

    def add(self, layer_class, input_shape, *args, **kwargs):
        """Creates a layer of this layer's dtype policy, builds it and returns it.

        One with a name becomes an attribute: of layers that are in lists alone,
        `tf.train.Checkpoint` stores nothing.
        """
        layer = layer_class(*args, dtype=self.dtype_policy, **kwargs)
        layer.build(input_shape)
        if "name" in kwargs:
            setattr(self, kwargs["name"], layer)
        return layer

    # Whether training keeps only the inputs of the layer's `maybe_recomputed` parts and computes
    # what lies inside of them again for the gradient.
    recompute = False

    def maybe_recomputed(self, function, x, training):
        """Returns `function(x)`; it must draw no random numbers: a second run would draw others."""
        return keras.remat(function)(x) if self.recompute and training else function(x)

    def from_input(self, function, x, training):
        """Returns `function(x)`, for whose gradient training keeps `x` and nothing inside.

        For what is cheap and a product after it: the gradient of the product needs what the cheap
        part gave, which is computed again, and not its own result.
        """
        return keras.remat(function)(x) if training else function(x)

    def add_norm(self, input_shape, name, epsilon=1e-5):
        """Layer normalization over channels."""
        return self.add(LayerNorm, input_shape, epsilon, name=name)

    def add_dense(self, input_shape, units, name):
        """Dense layer over channels with the reference's initial values."""
        kernel = fan_in_uniform(input_shape[-1])
        return self.add(
            keras.layers.Dense, input_shape, units, kernel_initializer=kernel, name=name
        )


@keras.saving.register_keras_serializable("keras_actionformer")
class LayerNorm(keras.layers.Layer):
    """Layer normalization over channels (Ba et al. 2016).

    Written out because it takes two thirds of the time of Keras' own layer forward, in
    TensorFlow's graph mode on a CPU, and centers first, so that a large mean costs no digits.
    Computes in float32 whatever it is given.

    Args:
      epsilon: float, added to the variance.

    Call: `(x (B, T, D), mask (B, T) or None) -> (B, T, D)`. Masked steps are normalized as if they
    were zeros, which makes them the bias; that costs less here than zeroing them before.
    """

    def __init__(self, epsilon=1e-5, **kwargs):
        super().__init__(**{"autocast": False, **kwargs})
        self.epsilon = epsilon

    def build(self, x_shape, mask_shape=None):
        self.gamma = self.add_weight(name="gamma", shape=(x_shape[-1],), initializer="ones")
        self.beta = self.add_weight(name="beta", shape=(x_shape[-1],), initializer="zeros")
        self.built = True

    def call(self, x, mask=None):
        dtype = keras.backend.result_type(keras.backend.standardize_dtype(x.dtype), "float32")
        steps = ops.ones((1, 1), dtype) if mask is None else ops.cast(mask, dtype)
        gamma, beta = ops.cast(self.gamma, dtype), ops.cast(self.beta, dtype)
        return _normalize(x, ops.expand_dims(steps, -1), gamma, beta, self.epsilon)

    def compute_output_spec(self, x, mask=None):
        return keras.KerasTensor(x.shape, x.dtype)

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


def _normalize(x, steps, gamma, beta, epsilon):
    """Layer normalization, zero where `steps` is, then scale and bias.

    With a gradient of its own: from the input and two numbers a step, where automatic
    differentiation would keep three more arrays as large as the input.
    """

    @ops.custom_gradient
    def normalized(x, steps, gamma, beta):
        wide = ops.cast(x, steps.dtype)
        mean = ops.mean(wide, axis=-1, keepdims=True)
        centered = wide - mean
        variance = ops.mean(ops.square(centered), axis=-1, keepdims=True)
        scale = steps * ops.rsqrt(variance + epsilon)

        def gradients(*args, upstream=None):
            dy = ops.cast(args[0] if upstream is None else upstream, steps.dtype)
            normed = (ops.cast(x, steps.dtype) - mean) * scale
            slope = dy * gamma
            common = ops.mean(slope, axis=-1, keepdims=True)
            common = common + normed * ops.mean(slope * normed, axis=-1, keepdims=True)
            dx = ops.cast(scale * (slope - common), x.dtype)
            return dx, ops.zeros_like(steps), ops.sum(dy * normed, (0, 1)), ops.sum(dy, (0, 1))

        return ops.cast(centered * (scale * gamma) + beta, x.dtype), gradients

    return normalized(x, steps, gamma, beta)


def fan_in_uniform(fan_in):
    """Initializer U(-1/sqrt(fan_in), 1/sqrt(fan_in)), the reference's for every projection."""
    limit = 1.0 / math.sqrt(fan_in)
    return keras.initializers.RandomUniform(-limit, limit)


@ops.custom_gradient
def gelu(x):
    """Exact GELU, written with erf: the form that every export format maps to a builtin.

    Its gradient is computed from the input alone, see `_normalize`.
    """

    def gradient(*args, upstream=None):
        dy = args[0] if upstream is None else upstream
        density = ops.exp(-0.5 * ops.square(x)) * (2.0 * math.pi) ** -0.5
        return dy * (0.5 * (1.0 + ops.erf(x * 2.0**-0.5)) + x * density)

    return 0.5 * x * (1.0 + ops.erf(x * 2.0**-0.5)), gradient


def apply_mask(x, mask):
    """Zeros the invalid steps of `x (B, T, D)`; `mask (B, T)`."""
    return x * ops.cast(ops.expand_dims(mask, -1), x.dtype)


def pad_time(x, left, right, value=0):
    """Pads axis 1 of `x (B, T, ...)` by `left` and `right` steps of `value`."""
    widths = [(0, 0), (left, right)] + [(0, 0)] * (len(x.shape) - 2)
    return ops.pad(x, widths, constant_values=value)


def crop(x, widths):
    """The inverse of padding: drops entries at both ends of axes.

    Its gradient is the padding; that of TensorFlow's own slices took a sixth of a training step.
    (As all gradients that are written out here, it is for reverse mode alone.)

    Args:
      x: tensor.
      widths: sequence of (first, last), how many entries to drop of each axis; ints or scalar
        integer tensors.

    Returns:
      Tensor.
    """

    @ops.custom_gradient
    def cropped(x):
        def gradient(*args, upstream=None):
            return ops.pad(args[0] if upstream is None else upstream, widths)

        ranges = []
        for axis, (first, last) in enumerate(widths):
            # None and constants, where possible: fewer operations, and static shapes stay known.
            first = None if isinstance(first, int) and first == 0 else first
            last = (-last or None) if isinstance(last, int) else ops.shape(x)[axis] - last
            ranges.append(slice(first, last))
        return x[tuple(ranges)], gradient

    return cropped(x)


def shifted(x, kernel_size, stride, value=0):
    """What each tap of a centred, strided kernel meets.

    Args:
      x: (B, T, D).
      kernel_size, stride: ints, in steps.
      value: float, what lies outside of the sequence.

    Returns:
      List of `kernel_size` tensors (B, ceil(T / stride), D): the k-th holds the steps
      `i * stride + k - kernel_size // 2`.
    """
    dim, left = x.shape[2], kernel_size // 2
    more_rows = -(-(kernel_size - 1) // stride)
    if stride == 1:
        x = pad_time(x, left, more_rows - left, value)
    else:
        # `stride` steps a row: slices without gaps, which take a fifth of the time of strided ones.
        num_steps = ops.shape(x)[1]
        rows = (num_steps + stride - 1) // stride + more_rows
        x = pad_time(x, left, rows * stride - left - num_steps, value)
        x = ops.reshape(x, (-1, rows, stride * dim))
    taps = []
    for k in range(kernel_size):
        row, column = divmod(k, stride)
        channels = (column * dim, (stride - 1 - column) * dim)
        taps.append(crop(x, [(0, 0), (row, more_rows - row), channels]))
    return taps


def strided_length(steps, stride):
    """Steps after a stride; None stays None."""
    return None if steps is None else -(-steps // stride)


def strided_spec(layer, x, stride, width=None):
    """Symbolic output `(x, mask)` of a layer that strides in time; None keeps the width."""
    steps = strided_length(x.shape[1], stride)
    return (
        keras.KerasTensor((x.shape[0], steps, width or x.shape[2]), layer.compute_dtype),
        keras.KerasTensor((x.shape[0], steps), "bool"),
    )


@ops.custom_gradient
def _centred_conv(x, kernel):
    """Convolution `(B, T, D), (K, D, F) -> (B, T, F)` of a centred kernel of odd size.

    The kernel's gradient is a matrix product a tap, which TensorFlow's graph mode computes two to
    three times as fast on a CPU as its own gradient of a convolution.
    """

    def gradient(*args, upstream=None):
        dy = args[0] if upstream is None else upstream
        size, dim, filters = kernel.shape
        num_steps = ops.shape(x)[1]
        step = ops.expand_dims(ops.arange(num_steps), -1)
        rows = ops.reshape(x, (-1, dim))
        taps = []
        for shift in range(-(size // 2), size // 2 + 1):
            # All sequences in one row, where steps of another sequence are met by zeros. Nothing
            # that is large comes of `x` alone: TensorFlow would have it ready, and keep it, long
            # before `dy` is there.
            is_inside = ops.logical_and(step + shift >= 0, step + shift < num_steps)
            slopes = ops.reshape(dy * ops.cast(is_inside, dy.dtype) if shift else dy, (-1, filters))
            first, last = max(shift, 0), max(-shift, 0)
            met, slopes = rows[first : -last or None], slopes[last : -first or None]
            taps.append(ops.matmul(ops.transpose(met), slopes))
        dkernel = ops.stack(taps)
        mirrored = ops.transpose(ops.flip(kernel, axis=0), (0, 2, 1))
        return _conv(dy, mirrored, padding="same"), dkernel

    return _conv(x, kernel, padding="same"), gradient


def _conv(x, kernel, **settings):
    """`ops.conv`, channels last whatever `keras.config.image_data_format` says."""
    return ops.conv(x, kernel, data_format="channels_last", **settings)


@keras.saving.register_keras_serializable("keras_actionformer")
class MaskedConv1D(keras.layers.Layer):
    """1-D convolution over time whose output is zero at invalid steps.

    The kernel is centred as PyTorch centres it (`kernel_size // 2` zeros on both sides), also
    when it is strided; output step i is valid when input step `i * stride` is.

    Args:
      filters: int, output width.
      kernel_size: odd int, in steps.
      stride: int, in steps.
      use_bias: bool.
      masks_output: bool; False leaves it to the normalization that follows.

    Call: `(x (B, T, D), mask (B, T)) -> (y (B, ceil(T / stride), filters), mask)`.
    """

    def __init__(
        self,
        filters,
        kernel_size,
        stride=1,
        use_bias=True,
        masks_output=True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd. Received: kernel_size={kernel_size}")
        self.filters = filters
        self.kernel_size = kernel_size
        self.stride = stride
        self.use_bias = use_bias
        self.masks_output = masks_output

    def build(self, x_shape, mask_shape=None):
        if self.built:
            return
        dim = x_shape[-1]
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.kernel_size, dim, self.filters),
            initializer=fan_in_uniform(self.kernel_size * dim),
        )
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")
        self.built = True

    def call(self, x, mask):
        if self.stride == 1:
            y = _centred_conv(x, ops.cast(self.kernel, x.dtype))
        else:  # "same" would centre the kernel elsewhere
            x = pad_time(x, self.kernel_size // 2, self.kernel_size // 2)
            y = _conv(x, self.kernel, strides=self.stride, padding="valid")
        if self.use_bias:
            y = y + self.bias
        mask = mask[:, :: self.stride]
        return apply_mask(y, mask) if self.masks_output else y, mask

    def compute_output_spec(self, x, mask):
        return strided_spec(self, x, self.stride, self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "stride": self.stride,
            "use_bias": self.use_bias,
            "masks_output": self.masks_output,
        }


@ops.custom_gradient
def _weighted_sum(weights, *taps):
    """Sum of `taps`, K of (B, T, D), each times its row of `weights (K, D)`.

    With a gradient of its own, in a third of the operations: what each of them costs beside its
    arithmetic is much of a step of a small network.
    """
    rows = ops.unstack(weights, len(taps))

    def gradient(*args, upstream=None):
        dy = args[0] if upstream is None else upstream
        dweights = ops.stack([ops.sum(dy * tap, (0, 1)) for tap in taps])
        return dweights, *(dy * row for row in rows)

    return sum(tap * row for tap, row in zip(taps, rows, strict=True)), gradient


@keras.saving.register_keras_serializable("keras_actionformer")
class DepthwiseConv1D(keras.layers.Layer):
    """Convolution over time with one filter a channel, of what `shifted` returns.

    A sum of products: a few multiplications a step are cheaper this way than as a grouped
    convolution, on every backend, and several convolutions of one input share its shifts.

    Args:
      use_bias: bool.

    Call: `[(B, T, D)] * kernel_size -> (B, T, D)`.
    """

    def __init__(self, use_bias=True, **kwargs):
        super().__init__(**kwargs)
        self.use_bias = use_bias

    def build(self, taps_shape):
        kernel_size, dim = len(taps_shape), taps_shape[0][-1]
        self.kernel = self.add_weight(
            name="kernel",
            shape=(kernel_size, dim, 1),
            initializer=fan_in_uniform(kernel_size),
        )
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(dim,), initializer="zeros")
        self.built = True

    def call(self, taps):
        y = _weighted_sum(ops.squeeze(self.kernel, -1), *taps)
        return y + self.bias if self.use_bias else y

    def compute_output_spec(self, taps):
        return keras.KerasTensor(taps[0].shape, self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "use_bias": self.use_bias}


def sinusoid_table(num_positions, dim):
    """The sinusoidal position encoding of Vaswani et al. 2017: (num_positions, dim) float32."""
    channel = np.arange(dim)
    angles = np.arange(num_positions)[:, None] / 10000.0 ** (2 * (channel // 2) / dim)
    return np.where(channel % 2 == 0, np.sin(angles), np.cos(angles)).astype("float32")


@keras.saving.register_keras_serializable("keras_actionformer")
class PositionEmbedding(keras.layers.Layer):
    """Adds a sinusoidal position embedding at the valid steps.

    A sequence of up to `max_seq_len` steps sees the first rows of the table; a longer one sees
    the whole table, linearly interpolated to its length (half-pixel centres).

    Args:
      max_seq_len: int, steps the model is trained on.

    Call: `(x (B, T, D), mask (B, T), present (B, T) or None) -> (B, T, D)`; the length of a
    sequence is the number of its present steps, by default T.
    """

    def __init__(self, max_seq_len, **kwargs):
        super().__init__(**kwargs)
        self.max_seq_len = max_seq_len

    def call(self, x, mask, present=None):
        dim = x.shape[-1]
        table = ops.cast(sinusoid_table(self.max_seq_len, dim) / math.sqrt(dim), x.dtype)
        num_steps = ops.shape(x)[1]
        length = num_steps
        if present is not None:
            length = ops.sum(ops.cast(present, "int32"), axis=1, keepdims=True)  # (B, 1)
        stretch = self.max_seq_len / ops.cast(ops.maximum(length, self.max_seq_len), "float32")
        position = (ops.arange(num_steps, dtype="float32") + 0.5) * stretch - 0.5
        position = ops.clip(position, 0.0, self.max_seq_len - 1.0)
        below = ops.floor(position)
        weight = ops.cast(ops.expand_dims(position - below, -1), x.dtype)
        below = ops.cast(below, "int32")
        above = ops.minimum(below + 1, self.max_seq_len - 1)
        embedding = (1.0 - weight) * ops.take(table, below, axis=0)
        embedding = embedding + weight * ops.take(table, above, axis=0)
        return x + apply_mask(embedding, mask)

    def compute_output_spec(self, x, mask, present=None):
        return keras.KerasTensor(x.shape, self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "max_seq_len": self.max_seq_len}
