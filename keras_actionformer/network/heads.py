"""The two heads, shared by all levels: what happens at a point, and from when to when.

All levels pass a head at once. They stand one after another on one time axis, kept apart by gaps
of zeros as wide as a kernel reaches, so that one convolution computes what a convolution a level
would.
"""

import math

import keras
import numpy as np
from keras import ops

from keras_actionformer.checks import from_fields
from keras_actionformer.network.architecture import Architecture
from keras_actionformer.network.layers import Composite, MaskedConv1D, apply_mask, crop, pad_time

# Initial bias of both offsets, in strides. The reference starts from 0, where half of the ReLU's
# outputs are closed and, with luck of the wrong kind, all of one end's, for good. 2 strides is
# about what positive points have to learn (their mean is 1.8 on HAPT): every point starts open and
# near its target, and so does the weights' average, half of which is still initial weights after
# 700 steps at a momentum of 0.999.
_OFFSET_BIAS = 2.0
_EMPTY_CLASS_PROB = 1e-6  # what a class without training instances starts from


class _ConvHead(Composite):
    """`num_layers - 1` convolutions with normalization and ReLU, then one to the outputs."""

    def __init__(self, outputs, dim, num_layers, kernel_size, with_ln, epsilon, bias, **kwargs):
        super().__init__(**kwargs)
        self.outputs = outputs
        self.dim = dim
        self.num_layers = num_layers
        self.kernel_size = kernel_size
        self.with_ln = with_ln
        self.epsilon = epsilon
        self.bias = bias

    def build(self, x_shape):
        shape = tuple(x_shape)
        self.head, self.norm = [], []
        for i in range(self.num_layers - 1):
            conv = self.add(
                MaskedConv1D,
                shape,
                self.dim,
                self.kernel_size,
                use_bias=not self.with_ln,
                masks_output=not self.with_ln,
                name=f"head_{i}",
            )
            self.head.append(conv)
            shape = (*shape[:2], self.dim)
            if self.with_ln:
                self.norm.append(self.add_norm(shape, f"norm_{i}", self.epsilon))
        self.out = self.add(MaskedConv1D, shape, self.outputs, self.kernel_size, name="out")
        self.out.bias.assign(self.bias)
        self.built = True

    def call(self, x, mask, kept):
        for i, conv in enumerate(self.head):
            x, _ = conv(x, mask)
            if self.with_ln:
                x = apply_mask(self.norm[i](x, mask), kept)
            x = ops.relu(x)
        return self.out(x, mask)[0]

    def get_config(self):
        return {
            **super().get_config(),
            "outputs": self.outputs,
            "dim": self.dim,
            "num_layers": self.num_layers,
            "kernel_size": self.kernel_size,
            "with_ln": self.with_ln,
            "epsilon": self.epsilon,
            "bias": np.asarray(self.bias).tolist(),
        }


@keras.saving.register_keras_serializable("keras_actionformer")
class Heads(Composite):
    """Classification and regression heads over all levels (paper, section 3.3).

    Args:
      architecture: `Architecture`, or a dict of its fields.

    Call: `([(B, T_l, D)], [(B, T_l)], [(B, T_l)] or None) -> logits (B, P, K), offsets (B, P,
    2)` for levels, masks and which steps are present (see padding.py). Offsets are the distances
    from the point to start and end in units of its level's stride, >= 0. Both are 0 at invalid
    points.
    """

    def __init__(self, architecture, **kwargs):
        super().__init__(**kwargs)
        self.architecture = from_fields("architecture", architecture, Architecture)

    def build(self, levels_shape, masks_shape=None, present_shape=None):
        if self.built:
            return
        shape = (levels_shape[0][0], None, levels_shape[0][2])
        settings = self.architecture
        hidden = (
            settings.head_dim,
            settings.head_num_layers,
            settings.head_kernel_size,
            settings.head_with_ln,
            settings.conv_ln_epsilon,
        )
        cls_bias = np.full(settings.num_classes, _logit(settings.cls_prior_prob), "float32")
        cls_bias[list(settings.head_empty_cls)] = _logit(_EMPTY_CLASS_PROB)
        offset_bias = np.full(2, _OFFSET_BIAS, "float32")
        self.cls_head = self.add(
            _ConvHead, shape, settings.num_classes, *hidden, bias=cls_bias, name="cls_head"
        )
        self.reg_head = self.add(_ConvHead, shape, 2, *hidden, bias=offset_bias, name="reg_head")
        num_levels = len(settings.strides)  # the offsets have a learned scale a level
        self.scale = self.add_weight(name="scale", shape=(num_levels,), initializer="ones")
        self.built = True

    def call(self, levels, masks, present=None, training=False):
        gap = self.architecture.head_kernel_size // 2
        lengths = [ops.shape(x)[1] for x in levels]
        x = _join(levels, gap)
        mask = _join([ops.cast(mask, "int32") for mask in masks], gap) > 0
        if present is None:
            on_level = [ops.ones((1, n), "int32") for n in lengths]
        else:
            on_level = [ops.cast(steps, "int32") for steps in present]
        on_level = _join(on_level, gap) > 0
        if present is not None:  # otherwise the gaps are zeros already
            x = apply_mask(x, on_level)

        # Invalid steps of a level keep relu(bias) in the reference (see Backbone); gaps must not.
        kept = mask if self.architecture.mask_after_relu else on_level

        def outputs(head):
            return self.maybe_recomputed(lambda x: head(x, mask, kept), x, training)

        logits = _split(outputs(self.cls_head), lengths, gap)
        # Ends are the sum of a large time and these: half precision would move them by steps.
        offsets = ops.cast(outputs(self.reg_head), self._offset_dtype())
        scale = ops.cast(self.scale, offsets.dtype)
        offsets = [x * scale[i] for i, x in enumerate(_split(offsets, lengths, gap))]
        return ops.concatenate(logits, axis=1), ops.relu(ops.concatenate(offsets, axis=1))

    def _offset_dtype(self):
        return keras.backend.result_type(self.compute_dtype, "float32")

    def compute_output_spec(self, levels, masks, present=None, training=False):
        batch = levels[0].shape[0]
        lengths = [x.shape[1] for x in levels]
        points = None if None in lengths else sum(lengths)
        return (
            keras.KerasTensor((batch, points, self.architecture.num_classes), self.compute_dtype),
            keras.KerasTensor((batch, points, 2), self._offset_dtype()),
        )

    def get_config(self):
        return {**super().get_config(), "architecture": self.architecture.to_dict()}


def _logit(probability):
    return -math.log((1.0 - probability) / probability)


def _join(levels, gap):
    """`[(B, T_l, ...)] -> (B, P + (L - 1) * gap, ...)`: the levels with zeros between them."""
    return ops.concatenate([pad_time(x, 0, gap) for x in levels[:-1]] + levels[-1:], axis=1)


def _split(x, lengths, gap):
    """Inverse of `_join`."""
    levels, first, last = [], 0, ops.shape(x)[1]
    for length in lengths:
        last = last - length
        levels.append(crop(x, [(0, 0), (first, last), (0, 0)]))
        first, last = first + length + gap, last - gap
    return levels
