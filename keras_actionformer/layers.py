"""Building blocks of the network: masked convolution, masked attention, transformer block.

Shapes, here and everywhere: B batch, T time, D width, H attention heads. A sequence is a pair
`(x, mask)` of `x (B, T, D)` and `mask (B, T)` bool, True = valid; a layer takes the pair and
returns the pair. Nothing here imports a backend: everything is `keras.ops`.

Where a choice looks odd, it is the reference implementation's: trained weights depend on it.
"""

import math

import keras
import numpy as np
from keras import ops

# Added to the attention logits of keys that must not be seen. Finite, so that a query without
# any valid key gives numbers (masked later) and not NaN; exp(-1e4) is exactly 0 in float32.
_HIDDEN = -1e4


class Composite(keras.layers.Layer):
    """A layer made of layers, which it creates when it is built."""

    def add(self, layer_class, input_shape, *args, **kwargs):
        """Creates a layer of this layer's dtype policy, builds it and returns it."""
        layer = layer_class(*args, dtype=self.dtype_policy, **kwargs)
        layer.build(input_shape)
        return layer

    def add_norm(self, input_shape, name):
        """Layer normalization over channels."""
        return self.add(LayerNorm, input_shape, name=name)

    def add_dense(self, input_shape, units, name):
        """Dense layer over channels with the reference's initial values."""
        kernel = fan_in_uniform(input_shape[-1])
        return self.add(
            keras.layers.Dense, input_shape, units, kernel_initializer=kernel, name=name
        )


@keras.saving.register_keras_serializable("keras_actionformer")
class LayerNorm(keras.layers.Layer):
    """Layer normalization over channels (Ba et al. 2016), epsilon 1e-5.

    Keras' own computes `x * a - mean * a`, whose rounding error grows with the mean; centering
    first keeps ours at the reference's level (3 times lower on its tests).
    """

    def build(self, x_shape):
        self.gamma = self.add_weight(name="gamma", shape=(x_shape[-1],), initializer="ones")
        self.beta = self.add_weight(name="beta", shape=(x_shape[-1],), initializer="zeros")
        self.built = True

    def call(self, x):
        wide = ops.cast(x, "float32") if x.dtype != "float64" else x
        centered = wide - ops.mean(wide, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(centered), axis=-1, keepdims=True)
        y = centered * ops.rsqrt(variance + 1e-5) * self.gamma + self.beta
        return ops.cast(y, x.dtype)

    def compute_output_shape(self, x_shape):
        return x_shape


def fan_in_uniform(fan_in):
    """Initializer U(-1/sqrt(fan_in), 1/sqrt(fan_in)), the reference's for every projection."""
    limit = 1.0 / math.sqrt(fan_in)
    return keras.initializers.RandomUniform(-limit, limit)


def gelu(x):
    """Exact GELU, written with erf: the form that every export format maps to a builtin."""
    return 0.5 * x * (1.0 + ops.erf(x * 2.0**-0.5))


def apply_mask(x, mask):
    """Zeros the invalid steps of `x (B, T, D)`; `mask (B, T)`."""
    return x * ops.cast(ops.expand_dims(mask, -1), x.dtype)


def pad_time(x, left, right, value=0):
    """Pads axis 1 of `x (B, T, ...)` by `left` and `right` steps of `value`."""
    widths = [(0, 0), (left, right)] + [(0, 0)] * (len(x.shape) - 2)
    return ops.pad(x, widths, constant_values=value)


@keras.saving.register_keras_serializable("keras_actionformer")
class MaskedConv1D(keras.layers.Layer):
    """1-D convolution over time whose output is zero at invalid steps.

    The kernel is centred as PyTorch centres it (`kernel_size // 2` zeros on both sides), also
    when it is strided; output step i is valid when input step `i * stride` is.

    Args:
      filters: int, output width; ignored when `depthwise`.
      kernel_size: odd int, in steps.
      stride: int, in steps.
      depthwise: bool, one filter a channel.
      use_bias: bool.

    Call: `(x (B, T, D), mask (B, T)) -> (y (B, ceil(T / stride), filters), mask)`.
    """

    def __init__(
        self, filters, kernel_size, stride=1, depthwise=False, use_bias=True, **kwargs
    ):
        super().__init__(**kwargs)
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd. Received: kernel_size={kernel_size}")
        self.filters = filters
        self.kernel_size = kernel_size
        self.stride = stride
        self.depthwise = depthwise
        self.use_bias = use_bias

    def build(self, x_shape, mask_shape=None):
        if self.built:
            return
        dim = x_shape[-1]
        fan_in = self.kernel_size * (1 if self.depthwise else dim)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.kernel_size, dim, 1 if self.depthwise else self.filters),
            initializer=fan_in_uniform(fan_in),
        )
        if self.use_bias:
            width = dim if self.depthwise else self.filters
            self.bias = self.add_weight(name="bias", shape=(width,), initializer="zeros")
        self.built = True

    def call(self, x, mask):
        x = pad_time(x, self.kernel_size // 2, self.kernel_size // 2)
        if self.depthwise:
            y = self._depthwise(x)
        else:
            y = ops.conv(x, self.kernel, strides=self.stride, padding="valid")
        if self.use_bias:
            y = y + self.bias
        mask = mask[:, :: self.stride]
        return apply_mask(y, mask), mask

    def _depthwise(self, x):
        # A sum of shifted products: a few multiplications a step are cheaper this way than as a
        # grouped convolution, on every backend.
        span = ops.shape(x)[1] - self.kernel_size + 1
        return sum(
            x[:, k : k + span : self.stride] * self.kernel[k, :, 0]
            for k in range(self.kernel_size)
        )

    def compute_output_spec(self, x, mask):
        width = x.shape[-1] if self.depthwise else self.filters
        steps = _strided_length(x.shape[1], self.stride)
        return (
            keras.KerasTensor((x.shape[0], steps, width), self.compute_dtype),
            keras.KerasTensor((x.shape[0], steps), "bool"),
        )

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "stride": self.stride,
            "depthwise": self.depthwise,
            "use_bias": self.use_bias,
        }


def global_attention(q, k, v, mask):
    """Softmax attention of every query over every valid key.

    Args:
      q, k, v: (B, T, H, D / H) float; `q` is already scaled.
      mask: (B, T) bool, validity of the keys.

    Returns:
      (B, T, H, D / H).
    """
    logits = ops.einsum("bqhd,bkhd->bhqk", q, k)
    hidden = ops.where(mask, ops.zeros((), q.dtype), ops.cast(_HIDDEN, q.dtype))
    logits = logits + ops.expand_dims(ops.expand_dims(hidden, 1), 1)
    return ops.einsum("bhqk,bkhd->bqhd", ops.softmax(logits, axis=-1), v)


def local_attention(q, k, v, mask, window, relative_bias=None, min_block=16):
    """Softmax attention of each query over the valid keys at most `window // 2` steps away.

    Section 3.2 of the paper. Queries are cut into blocks; a block meets its own keys and
    `window // 2` more on either side in one matrix product, and a band hides the keys outside of
    each query's window. Time and memory are linear in T for any T >= 1: no T x T array exists.

    Args:
      q, k, v: (B, T, H, D / H) float; `q` is already scaled.
      mask: (B, T) bool, validity of the keys.
      window: int, keys a query sees; an even one sees as many as the next odd one.
      relative_bias: optional (H, window) float, added to the logit of the key at distance
        -window // 2 ... window // 2.
      min_block: int, smallest number of queries in a block.

    Returns:
      (B, T, H, D / H).
    """
    radius = window // 2
    # At least 2 * radius, so that a block's neighbourhood ends inside the next block.
    block = max(2 * radius, min_block)
    span = block + 2 * radius
    num_steps = ops.shape(q)[1]
    num_blocks = (num_steps + block - 1) // block
    heads, head_dim = q.shape[2], q.shape[3]

    def neighbourhoods(x):
        # (B, T, ...) -> (B, num_blocks, span, ...): block i and `radius` steps on either side.
        x = pad_time(x, radius, (num_blocks + 1) * block - num_steps - radius)
        x = ops.reshape(x, (-1, num_blocks + 1, block, *x.shape[2:]))
        return ops.concatenate([x[:, :-1], x[:, 1:, : 2 * radius]], axis=2)

    q = pad_time(q, 0, num_blocks * block - num_steps)
    q = ops.reshape(q, (-1, num_blocks, block, heads, head_dim))
    logits = ops.einsum("bnqhd,bnkhd->bnhqk", q, neighbourhoods(k))

    distance = np.arange(span)[None, :] - np.arange(block)[:, None]  # 0 = `radius` steps before
    in_window = (distance >= 0) & (distance <= 2 * radius)
    band = ops.cast(np.where(in_window, 0.0, _HIDDEN), q.dtype)
    if relative_bias is not None:
        band = band + ops.take(relative_bias, np.clip(distance, 0, 2 * radius), axis=1)
    mask = neighbourhoods(ops.cast(mask, "int32")) > 0
    hidden = ops.where(mask, ops.zeros((), q.dtype), ops.cast(_HIDDEN, q.dtype))
    hidden = ops.expand_dims(ops.expand_dims(hidden, 2), 2)
    logits = logits + (band + hidden)  # (B, num_blocks, 1 or H, block, span) on the right

    y = ops.einsum("bnhqk,bnkhd->bnqhd", ops.softmax(logits, axis=-1), neighbourhoods(v))
    return ops.reshape(y, (-1, num_blocks * block, heads, head_dim))[:, :num_steps]


@keras.saving.register_keras_serializable("keras_actionformer")
class MaskedAttention(Composite):
    """Multi-head self-attention over the valid steps, local or global (paper, section 3.2).

    Queries, keys and values first pass a depthwise convolution and a layer normalization each; a
    stride in these convolutions is how the pyramid goes down.

    Args:
      num_heads: int, H; must divide the width.
      window: int, steps a query sees, centred on it; 1 or less means all (global attention).
      stride: int, downsampling in time.
      use_conv: bool; False is plain attention without convolutions (stride must be 1).
      use_rel_pe: bool, a learned bias per head and relative position; local attention only.
      dropout: float, on the output projection.

    Call: `(x (B, T, D), mask (B, T)) -> (y (B, ceil(T / stride), D), mask)`.
    """

    def __init__(
        self,
        num_heads,
        window=-1,
        stride=1,
        use_conv=True,
        use_rel_pe=False,
        dropout=0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if use_rel_pe and window <= 1:
            raise ValueError(
                f"use_rel_pe needs local attention (window > 1). Received: window={window}"
            )
        if stride > 1 and not use_conv:
            raise ValueError(f"stride={stride} needs use_conv=True: the convolution is strided.")
        self.num_heads = num_heads
        self.window = window
        self.stride = stride
        self.use_conv = use_conv
        self.use_rel_pe = use_rel_pe
        self.dropout = dropout

    def build(self, x_shape, mask_shape=None):
        if self.built:
            return
        batch, steps, dim = x_shape
        if dim % self.num_heads:
            raise ValueError(
                f"The width {dim} must be a multiple of the number of heads. "
                f"Received: num_heads={self.num_heads}"
            )
        inner_shape = (batch, _strided_length(steps, self.stride), dim)
        kernel_size = self.stride + 1 if self.stride > 1 else 3
        for role in ("query", "key", "value"):
            if self.use_conv:
                conv = self.add(
                    MaskedConv1D,
                    x_shape,
                    dim,
                    kernel_size,
                    self.stride,
                    depthwise=True,
                    use_bias=False,
                    name=f"{role}_conv",
                )
                setattr(self, f"{role}_conv", conv)
                setattr(self, f"{role}_norm", self.add_norm(inner_shape, f"{role}_norm"))
            setattr(self, role, self.add_dense(inner_shape, dim, role))
        self.proj = self.add_dense(inner_shape, dim, "proj")
        self.proj_drop = self.add(keras.layers.Dropout, inner_shape, self.dropout)
        if self.use_rel_pe:
            self.rel_pe = self.add_weight(
                name="rel_pe",
                shape=(self.num_heads, self.window),
                initializer=keras.initializers.TruncatedNormal(stddev=math.sqrt(2.0 / dim)),
            )
        self.built = True

    def call(self, x, mask, training=False):
        dim = x.shape[-1]
        head_dim = dim // self.num_heads
        out_mask = mask[:, :: self.stride]

        def heads(role):
            y = x
            if self.use_conv:
                y, _ = getattr(self, f"{role}_conv")(y, mask)
                y = getattr(self, f"{role}_norm")(y)
            y = getattr(self, role)(y)
            return ops.reshape(y, (-1, ops.shape(y)[1], self.num_heads, head_dim))

        q, k, v = heads("query") * head_dim**-0.5, heads("key"), heads("value")
        if self.window > 1:
            bias = self.rel_pe if self.use_rel_pe else None
            y = local_attention(q, k, v, out_mask, self.window, bias)
        else:
            y = global_attention(q, k, v, out_mask)
        y = ops.reshape(y, (-1, ops.shape(y)[1], dim))
        y = self.proj_drop(self.proj(y), training=training)
        return apply_mask(y, out_mask), out_mask

    def compute_output_spec(self, x, mask, training=False):
        return _strided_spec(self, x, self.stride)

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "window": self.window,
            "stride": self.stride,
            "use_conv": self.use_conv,
            "use_rel_pe": self.use_rel_pe,
            "dropout": self.dropout,
        }


@keras.saving.register_keras_serializable("keras_actionformer")
class LayerScale(Composite):
    """A learned scale per channel, and stochastic depth: whole samples dropped while training.

    Touvron et al. 2021 (LayerScale), Huang et al. 2016 (stochastic depth). A kept sample is
    divided by the probability of being kept, so that the expectation is unchanged.

    Args:
      rate: float in [0, 1), probability that a sample's branch is dropped.
    """

    def __init__(self, rate, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate

    def build(self, x_shape):
        # Close to zero: at first the block passes its input on (the reference's value).
        self.scale = self.add_weight(
            name="scale", shape=(x_shape[-1],), initializer=keras.initializers.Constant(1e-4)
        )
        # Dropout with a noise shape of one number a sample *is* stochastic depth.
        self.drop = self.add(
            keras.layers.Dropout, x_shape, self.rate, noise_shape=(None, 1, 1)
        )
        self.built = True

    def call(self, x, training=False):
        return self.drop(x * self.scale, training=training)

    def compute_output_shape(self, x_shape):
        return x_shape

    def get_config(self):
        return {**super().get_config(), "rate": self.rate}


def max_pool(x, stride):
    """Max-pooling with a window of `stride + 1` steps centred on every `stride`-th step.

    What lies outside the sequence does not count; masked steps inside it do, with their zeros
    (the reference's behaviour). `(B, T, D) -> (B, ceil(T / stride), D)`.
    """
    pad = (stride + 1) // 2
    lowest = -3e38 if keras.backend.standardize_dtype(x.dtype) != "float16" else -6e4
    x = pad_time(x, pad, pad, lowest)
    span = ops.shape(x)[1] - stride
    pooled = x[:, 0:span:stride]
    for k in range(1, stride + 1):
        pooled = ops.maximum(pooled, x[:, k : k + span : stride])
    return pooled


@keras.saving.register_keras_serializable("keras_actionformer")
class TransformerBlock(Composite):
    """Pre-norm transformer block whose attention may halve the time axis (paper, eq. 3-5).

    `y = pool(x) + scale(attention(norm(x)))`, `out = y + scale(mlp(norm(y)))`.

    Args:
      num_heads, window, stride, use_rel_pe, dropout: as in `MaskedAttention`; `dropout` also
        acts on both layers of the MLP.
      droppath: float, stochastic depth. LayerScale exists only when it is above 0.
      expansion: int, width of the MLP's hidden layer in units of D.

    Call: `(x (B, T, D), mask (B, T)) -> (y (B, ceil(T / stride), D), mask)`.
    """

    def __init__(
        self,
        num_heads,
        window=-1,
        stride=1,
        use_rel_pe=False,
        dropout=0.0,
        droppath=0.0,
        expansion=4,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.window = window
        self.stride = stride
        self.use_rel_pe = use_rel_pe
        self.dropout = dropout
        self.droppath = droppath
        self.expansion = expansion

    def build(self, x_shape, mask_shape=None):
        if self.built:
            return
        batch, steps, dim = x_shape
        inner_shape = (batch, _strided_length(steps, self.stride), dim)
        hidden = self.expansion * dim
        self.ln1 = self.add_norm(x_shape, "ln1")
        self.attn = self.add(
            MaskedAttention,
            x_shape,
            self.num_heads,
            self.window,
            self.stride,
            use_rel_pe=self.use_rel_pe,
            dropout=self.dropout,
            name="attn",
        )
        self.ln2 = self.add_norm(inner_shape, "ln2")
        self.mlp_in = self.add_dense(inner_shape, hidden, "mlp_in")
        self.mlp_out = self.add_dense((*inner_shape[:2], hidden), dim, "mlp_out")
        self.mlp_drop = self.add(keras.layers.Dropout, inner_shape, self.dropout)
        if self.droppath > 0:
            for branch in ("attn", "mlp"):
                name = f"drop_path_{branch}"
                setattr(self, name, self.add(LayerScale, inner_shape, self.droppath, name=name))
        self.built = True

    def call(self, x, mask, training=False):
        y, out_mask = self.attn(self.ln1(x), mask, training=training)
        if self.droppath > 0:
            y = self.drop_path_attn(y, training=training)
        skip = max_pool(x, self.stride) if self.stride > 1 else x
        x = apply_mask(skip, out_mask) + y

        y = self.mlp_drop(gelu(self.mlp_in(self.ln2(x))), training=training)
        y = apply_mask(self.mlp_drop(self.mlp_out(y), training=training), out_mask)
        if self.droppath > 0:
            y = self.drop_path_mlp(y, training=training)
        return x + y, out_mask

    def compute_output_spec(self, x, mask, training=False):
        return _strided_spec(self, x, self.stride)

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "window": self.window,
            "stride": self.stride,
            "use_rel_pe": self.use_rel_pe,
            "dropout": self.dropout,
            "droppath": self.droppath,
            "expansion": self.expansion,
        }


@keras.saving.register_keras_serializable("keras_actionformer")
class ConvBlock(Composite):
    """Residual block of two convolutions, the paper's convolutional baseline (section 4.4).

    Args:
      kernel_size: odd int.
      stride: int, of the first convolution; the skip then is a strided 1x1 convolution.
      expansion: int, width between the convolutions in units of D.

    Call: `(x (B, T, D), mask (B, T)) -> (y (B, ceil(T / stride), D), mask)`.
    """

    def __init__(self, kernel_size=3, stride=1, expansion=2, **kwargs):
        super().__init__(**kwargs)
        self.kernel_size = kernel_size
        self.stride = stride
        self.expansion = expansion

    def build(self, x_shape, mask_shape=None):
        if self.built:
            return
        dim = x_shape[-1]
        hidden = self.expansion * dim
        inner_shape = (*x_shape[:2], hidden)
        self.conv1 = self.add(
            MaskedConv1D, x_shape, hidden, self.kernel_size, self.stride, name="conv1"
        )
        self.conv2 = self.add(MaskedConv1D, inner_shape, dim, self.kernel_size, name="conv2")
        if self.stride > 1:
            self.downsample = self.add(
                MaskedConv1D, x_shape, dim, 1, self.stride, name="downsample"
            )
        self.built = True

    def call(self, x, mask, training=False):
        y, out_mask = self.conv1(x, mask)
        y, _ = self.conv2(ops.relu(y), out_mask)
        skip = self.downsample(x, mask)[0] if self.stride > 1 else x
        return ops.relu(skip + y), out_mask

    def compute_output_spec(self, x, mask, training=False):
        return _strided_spec(self, x, self.stride)

    def get_config(self):
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "stride": self.stride,
            "expansion": self.expansion,
        }


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
    """

    def __init__(self, max_seq_len, **kwargs):
        super().__init__(**kwargs)
        self.max_seq_len = max_seq_len

    def call(self, x, mask):
        dim = x.shape[-1]
        table = ops.cast(sinusoid_table(self.max_seq_len, dim) / math.sqrt(dim), x.dtype)
        num_steps = ops.shape(x)[1]
        stretch = self.max_seq_len / ops.cast(ops.maximum(num_steps, self.max_seq_len), "float32")
        position = (ops.arange(num_steps, dtype="float32") + 0.5) * stretch - 0.5
        position = ops.clip(position, 0.0, self.max_seq_len - 1.0)
        below = ops.floor(position)
        weight = ops.cast(ops.expand_dims(position - below, -1), x.dtype)
        below = ops.cast(below, "int32")
        above = ops.minimum(below + 1, self.max_seq_len - 1)
        embedding = (1.0 - weight) * ops.take(table, below, axis=0)
        embedding = embedding + weight * ops.take(table, above, axis=0)
        return x + apply_mask(ops.expand_dims(embedding, 0), mask)

    def compute_output_spec(self, x, mask):
        return keras.KerasTensor(x.shape, self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "max_seq_len": self.max_seq_len}


def _strided_length(steps, stride):
    return None if steps is None else -(-steps // stride)


def _strided_spec(layer, x, stride):
    """Symbolic output `(x, mask)` of a layer that keeps the width and strides in time."""
    steps = _strided_length(x.shape[1], stride)
    return (
        keras.KerasTensor((x.shape[0], steps, x.shape[2]), layer.compute_dtype),
        keras.KerasTensor((x.shape[0], steps), "bool"),
    )
