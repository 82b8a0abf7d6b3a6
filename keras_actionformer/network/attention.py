"""Masked self-attention, over a window of steps or over all of them."""

import math

import keras
import numpy as np
from keras import ops

from keras_actionformer.network.layers import (
    Composite,
    DepthwiseConv1D,
    apply_mask,
    crop,
    pad_time,
    shifted,
    strided_length,
    strided_spec,
)

# Added to the attention logits of keys that must not be seen. Finite, so that a query without
# any valid key gives numbers (masked later) and not NaN; exp(-1e4) is exactly 0 in float32.
_HIDDEN = -1e4


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


def local_attention(q, k, v, mask, window, relative_bias=None, block=None):
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
      block: int, queries of a block, at least twice `window // 2`; None for the quickest.

    Returns:
      (B, T, H, D / H).
    """
    radius = window // 2
    # Within 4 % of the quickest in TensorFlow's graph mode on a CPU (docs/performance.md): its
    # neighbourhood must end inside the next block, larger ones multiply more that the band hides.
    block = block or max(4 * radius, 16)
    span = block + 2 * radius
    num_steps = ops.shape(q)[1]
    num_blocks = (num_steps + block - 1) // block
    missing = num_blocks * block - num_steps
    heads, head_dim = q.shape[2], q.shape[3]

    def neighbourhoods(x, outside=0):
        # (B, T, ...) -> (B, num_blocks, span, ...): block i and `radius` steps on either side.
        x = pad_time(x, radius, missing + block - radius, outside)
        x = ops.reshape(x, (-1, num_blocks + 1, block, *x.shape[2:]))
        other_axes = [(0, 0)] * (len(x.shape) - 3)
        own = crop(x, [(0, 0), (0, 1), (0, 0), *other_axes])
        after = crop(x, [(0, 0), (1, 0), (0, block - 2 * radius), *other_axes])
        return ops.concatenate([own, after], axis=2)

    def heads_first(x):
        return ops.transpose(x, (0, 1, 3, 2, 4))  # (B, num_blocks, H, block or span, D / H)

    q = ops.reshape(pad_time(q, 0, missing), (-1, num_blocks, block, heads, head_dim))
    k = ops.transpose(neighbourhoods(k), (0, 1, 3, 4, 2))
    logits = ops.matmul(heads_first(q), k)

    distance = np.arange(span)[None, :] - np.arange(block)[:, None]  # 0 = `radius` steps before
    in_window = (distance >= 0) & (distance <= 2 * radius)
    band = ops.cast(np.where(in_window, 0.0, _HIDDEN), q.dtype)
    if relative_bias is not None:
        band = band + ops.take(relative_bias, np.clip(distance, 0, 2 * radius), axis=1)
    hidden = ops.where(mask, ops.zeros((), q.dtype), ops.cast(_HIDDEN, q.dtype))
    hidden = ops.expand_dims(ops.expand_dims(neighbourhoods(hidden, _HIDDEN), 2), 2)
    logits = logits + (band + hidden)  # (B, num_blocks, 1 or H, block, span) on the right

    y = ops.matmul(ops.softmax(logits, axis=-1), heads_first(neighbourhoods(v)))
    y = heads_first(y)
    y = ops.reshape(y, (-1, num_blocks * block, heads, head_dim))
    return crop(y, [(0, 0), (0, missing), (0, 0), (0, 0)])


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
      masks_output: bool; False leaves it to the sum that follows.

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
        masks_output=True,
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
        self.kernel_size = stride + 1 if stride > 1 else 3
        self.use_conv = use_conv
        self.use_rel_pe = use_rel_pe
        self.dropout = dropout
        self.masks_output = masks_output

    def build(self, x_shape, mask_shape=None):
        if self.built:
            return
        batch, steps, dim = x_shape
        if dim % self.num_heads:
            raise ValueError(
                f"The width {dim} must be a multiple of the number of heads. "
                f"Received: num_heads={self.num_heads}"
            )
        inner_shape = (batch, strided_length(steps, self.stride), dim)
        for role in ("query", "key", "value"):
            if self.use_conv:
                taps_shape = [inner_shape] * self.kernel_size
                name = f"{role}_conv"
                conv = self.add(DepthwiseConv1D, taps_shape, use_bias=False, name=name)
                setattr(self, name, conv)
                setattr(self, f"{role}_norm", self.add_norm(inner_shape, f"{role}_norm"))
            setattr(self, role, self.add_dense((None, dim), dim, role))
        self.proj = self.add_dense((None, dim), dim, "proj")
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
        num_steps = ops.shape(out_mask)[1]
        if self.use_conv:
            taps = shifted(x, self.kernel_size, self.stride)

        def heads(role):
            y = x
            if self.use_conv:
                y = getattr(self, f"{role}_conv")(taps)
                y = getattr(self, f"{role}_norm")(y, out_mask)
            # As a matrix: TensorFlow then does product and bias in one operation.
            y = getattr(self, role)(ops.reshape(y, (-1, dim)))
            return ops.reshape(y, (-1, num_steps, self.num_heads, head_dim))

        q, k, v = heads("query") * head_dim**-0.5, heads("key"), heads("value")
        if self.window > 1:
            bias = self.rel_pe if self.use_rel_pe else None
            y = local_attention(q, k, v, out_mask, self.window, bias)
        else:
            y = global_attention(q, k, v, out_mask)
        y = self.proj(ops.reshape(y, (-1, dim)))
        y = self.proj_drop(ops.reshape(y, (-1, num_steps, dim)), training=training)
        return apply_mask(y, out_mask) if self.masks_output else y, out_mask

    def compute_output_spec(self, x, mask, training=False):
        return strided_spec(self, x, self.stride)

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "window": self.window,
            "stride": self.stride,
            "use_conv": self.use_conv,
            "use_rel_pe": self.use_rel_pe,
            "dropout": self.dropout,
            "masks_output": self.masks_output,
        }
