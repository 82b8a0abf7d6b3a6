"""The blocks of the backbone: transformer block, and the baseline's convolutional block."""

import functools

import keras
from keras import ops

from keras_actionformer.network.attention import MaskedAttention
from keras_actionformer.network.layers import (
    Composite,
    MaskedConv1D,
    apply_mask,
    gelu,
    shifted,
    strided_length,
    strided_spec,
)

# Width inside a block, in units of the width that passes through it.
_MLP_EXPANSION = 4
_CONV_EXPANSION = 2


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
        # Dropout of one number a sample *is* stochastic depth.
        self.drop = self.add(keras.layers.Dropout, (x_shape[0], 1, 1), self.rate)
        self.built = True

    def call(self, x, training=False):
        scale = ops.cast(self.scale, x.dtype)
        if training and self.rate > 0:
            kept = self.drop(ops.ones((ops.shape(x)[0], 1, 1), x.dtype), training=True)
            scale = kept * scale  # first, so that `x` is multiplied and kept but once
        return x * scale

    def compute_output_shape(self, x_shape):
        return x_shape

    def get_config(self):
        return {**super().get_config(), "rate": self.rate}


def max_pool(x, stride, present=None):
    """Max-pooling with a window of `stride + 1` steps centred on every `stride`-th step.

    What lies outside the sequence does not count, nor what is not `present (B, T)`; masked steps
    inside it do, with their zeros (the reference's behaviour).
    `(B, T, D) -> (B, ceil(T / stride), D)`.
    """
    lowest = -3e38 if keras.backend.standardize_dtype(x.dtype) != "float16" else -6e4
    if present is not None:
        x = ops.where(ops.expand_dims(present, -1), x, ops.cast(lowest, x.dtype))
    return functools.reduce(ops.maximum, shifted(x, stride + 1, stride, lowest))


@keras.saving.register_keras_serializable("keras_actionformer")
class TransformerBlock(Composite):
    """Pre-norm transformer block whose attention may halve the time axis (paper, eq. 3-5).

    `y = pool(x) + scale(attention(norm(x)))`, `out = y + scale(mlp(norm(y)))`.

    Args:
      num_heads, window, stride, use_rel_pe, dropout: as in `MaskedAttention`; `dropout` also
        acts on both layers of the MLP.
      droppath: float, stochastic depth. LayerScale exists only when it is above 0.

    Call: `(x (B, T, D), mask (B, T), present (B, T) or None) -> (y (B, ceil(T / stride), D),
    mask)`.
    """

    def __init__(
        self,
        num_heads,
        window=-1,
        stride=1,
        use_rel_pe=False,
        dropout=0.0,
        droppath=0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.window = window
        self.stride = stride
        self.use_rel_pe = use_rel_pe
        self.dropout = dropout
        self.droppath = droppath

    def build(self, x_shape, mask_shape=None, present_shape=None):
        if self.built:
            return
        batch, steps, dim = x_shape
        inner_shape = (batch, strided_length(steps, self.stride), dim)
        hidden = _MLP_EXPANSION * dim
        self.ln1 = self.add_norm(x_shape, "ln1")
        self.attn = self.add(
            MaskedAttention,
            x_shape,
            self.num_heads,
            self.window,
            self.stride,
            use_rel_pe=self.use_rel_pe,
            dropout=self.dropout,
            masks_output=False,
            name="attn",
        )
        self.ln2 = self.add_norm(inner_shape, "ln2")
        self.mlp_in = self.add_dense((None, dim), hidden, "mlp_in")
        self.mlp_out = self.add_dense((None, hidden), dim, "mlp_out")
        self.mlp_drop = self.add(keras.layers.Dropout, (None, dim), self.dropout)
        if self.droppath > 0:
            for branch in ("attn", "mlp"):
                name = f"drop_path_{branch}"
                setattr(self, name, self.add(LayerScale, inner_shape, self.droppath, name=name))
        self.built = True

    def call(self, x, mask, present=None, training=False):
        def attend(x):
            normed = self.ln1(x)
            if present is not None:
                normed = apply_mask(normed, present)
            return self.attn(normed, mask, training=training)[0]

        def transform(x):
            # As a matrix: TensorFlow then does product, bias and GELU in one operation.
            y = ops.reshape(self.ln2(x), (-1, x.shape[-1]))
            y = self.mlp_in(y)
            if self.dropout:
                y = self.mlp_out(self.mlp_drop(gelu(y), training=training))
            else:
                y = self.from_input(lambda y: self.mlp_out(gelu(y)), y, training)
            y = self.mlp_drop(y, training=training)
            return ops.reshape(y, ops.shape(x))

        out_mask = mask[:, :: self.stride]
        y = self.maybe_recomputed(attend, x, training)
        if self.droppath > 0:
            y = self.drop_path_attn(y, training=training)
        skip = max_pool(x, self.stride, present) if self.stride > 1 else x
        # The sums are masked, not what is added: a mask times a scale would be a large array.
        x = apply_mask(skip + y, out_mask)
        y = self.maybe_recomputed(transform, x, training)
        if self.droppath > 0:
            y = self.drop_path_mlp(y, training=training)
        return apply_mask(x + y, out_mask), out_mask

    def compute_output_spec(self, x, mask, present=None, training=False):
        return strided_spec(self, x, self.stride)

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "window": self.window,
            "stride": self.stride,
            "use_rel_pe": self.use_rel_pe,
            "dropout": self.dropout,
            "droppath": self.droppath,
        }


@keras.saving.register_keras_serializable("keras_actionformer")
class ConvBlock(Composite):
    """Residual block of two convolutions, the paper's convolutional baseline (section 4.4).

    Args:
      kernel_size: odd int.
      stride: int, of the first convolution; the skip then is a strided 1x1 convolution.

    Call: `(x (B, T, D), mask (B, T), present (B, T) or None) -> (y (B, ceil(T / stride), D),
    mask)`. Steps that are not present must be zeros, and stay zeros.
    """

    def __init__(self, kernel_size=3, stride=1, **kwargs):
        super().__init__(**kwargs)
        self.kernel_size = kernel_size
        self.stride = stride

    def build(self, x_shape, mask_shape=None, present_shape=None):
        if self.built:
            return
        dim = x_shape[-1]
        hidden = _CONV_EXPANSION * dim
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

    def call(self, x, mask, present=None, training=False):
        def convolve(x):
            y, out_mask = self.conv1(x, mask)
            return self.conv2(ops.relu(y), out_mask)[0]

        out_mask = mask[:, :: self.stride]
        y = self.maybe_recomputed(convolve, x, training)
        skip = self.downsample(x, mask)[0] if self.stride > 1 else x
        return ops.relu(skip + y), out_mask

    def compute_output_spec(self, x, mask, present=None, training=False):
        return strided_spec(self, x, self.stride)

    def get_config(self):
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "stride": self.stride,
        }
