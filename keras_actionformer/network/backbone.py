"""From features to a pyramid: convolutional embedding, then transformer (or plain) blocks."""

import keras
from keras import ops

from keras_actionformer.checks import from_fields
from keras_actionformer.network.architecture import Architecture
from keras_actionformer.network.blocks import ConvBlock, TransformerBlock
from keras_actionformer.network.layers import (
    Composite,
    MaskedConv1D,
    PositionEmbedding,
    apply_mask,
    strided_length,
)
from keras_actionformer.network.points import padded_length


@keras.saving.register_keras_serializable("keras_actionformer")
class Backbone(Composite):
    """Feature pyramid, from full length to the coarsest stride (paper, section 3.2 and figure 2).

    One projection a stream when there are several, optionally dropout of whole channels,
    convolutions with layer normalization and ReLU, optionally a position embedding, blocks at full
    length (the stem), and blocks that each stride by `scale_factor`: a level each.

    Args:
      architecture: `Architecture`, or a dict of its fields.

    Call: `(feats (B, T, C), mask (B, T), present (B, T) or None) -> ([(B, T_l, D)], [(B, T_l)])`,
    T a multiple of the coarsest stride, T_l = T / scale_factor ** l. `present` tells which
    steps count, by default all (see padding.py).
    """

    def __init__(self, architecture, **kwargs):
        super().__init__(**kwargs)
        self.architecture = from_fields("architecture", architecture, Architecture)

    def build(self, feats_shape, mask_shape=None, present_shape=None):
        if self.built:
            return
        settings, shape = self.architecture, tuple(feats_shape)
        self.proj = []
        if settings.has_streams:
            for i, (source, target) in enumerate(
                zip(settings.input_dim, settings.embd_dim, strict=True)
            ):
                stream = (*shape[:2], source)
                self.proj.append(self.add(MaskedConv1D, stream, target, 1, name=f"proj_{i}"))
            shape = (*shape[:2], settings.width)
        if settings.input_dropout:
            self.drop = self.add(
                keras.layers.Dropout,
                shape,
                settings.input_dropout,
                noise_shape=(None, 1, None),
                name="drop",
            )
        self.embd, self.embd_norm = [], []
        for i in range(settings.backbone_arch[0]):
            conv = self.add(
                MaskedConv1D,
                shape,
                settings.width,
                settings.embd_kernel_size,
                use_bias=not settings.embd_with_ln,
                masks_output=not settings.embd_with_ln,
                name=f"embd_{i}",
            )
            self.embd.append(conv)
            shape = (*shape[:2], settings.width)
            if settings.embd_with_ln:
                norm = self.add_norm(shape, f"embd_norm_{i}", settings.conv_ln_epsilon)
                self.embd_norm.append(norm)
        if settings.use_abs_pe:
            # As many positions as training sequences have after padding: none is stretched.
            positions = padded_length(settings.max_seq_len, settings.coarsest_stride)
            self.position = self.add(PositionEmbedding, shape, positions, name="position")
        num_stem = settings.backbone_arch[1]
        self.stem = [
            self._add_block(shape, block, f"stem_{i}")
            for i, block in enumerate(settings.blocks[:num_stem])
        ]
        self.branch = []
        for i, block in enumerate(settings.blocks[num_stem:]):
            self.branch.append(self._add_block(shape, block, f"branch_{i}"))
            shape = (shape[0], strided_length(shape[1], settings.scale_factor), settings.width)
        self.built = True

    def _add_block(self, shape, block, name):
        settings, stride = self.architecture, block.stride_out // block.stride_in
        if block.window is None:
            return self.add(ConvBlock, shape, stride=stride, name=name)
        return self.add(
            TransformerBlock,
            shape,
            settings.n_head,
            block.window,
            stride,
            # Global attention has no relative positions: levels of both kinds may be mixed.
            use_rel_pe=settings.use_rel_pe and block.window > 1,
            dropout=settings.dropout,
            droppath=settings.droppath,
            name=name,
        )

    def call(self, feats, mask, present=None, training=False):
        x = feats
        if self.proj:
            streams, first = [], 0
            for proj, width in zip(self.proj, self.architecture.input_dim, strict=True):
                streams.append(proj(x[:, :, first : first + width], mask)[0])
                first += width
            x = ops.concatenate(streams, axis=-1)
        if self.architecture.input_dropout:
            x = self.drop(x, training=training)
        for i, conv in enumerate(self.embd):
            x, _ = conv(x, mask)
            # Masked before the normalization and not after it, as in the reference: an invalid
            # step now holds relu(bias), which the next convolution lets into the last valid one.
            x = ops.relu(self.embd_norm[i](x, mask) if self.embd_norm else x)
            if self.architecture.mask_after_relu:
                x = apply_mask(x, mask)
            elif present is not None:
                x = apply_mask(x, present)
        if self.architecture.use_abs_pe:
            x = self.position(x, mask, present)
        for block in self.stem:
            x, mask = block(x, mask, present, training=training)
        levels, masks = [x], [mask]
        for block in self.branch:
            x, mask = block(x, mask, present, training=training)
            present = None if present is None else present[:, :: self.architecture.scale_factor]
            levels.append(x)
            masks.append(mask)
        return levels, masks

    def compute_output_spec(self, feats, mask, present=None, training=False):
        batch, steps = feats.shape[:2]
        levels, masks = [], []
        for stride in self.architecture.level_strides:
            length, width = strided_length(steps, stride), self.architecture.width
            levels.append(keras.KerasTensor((batch, length, width), self.compute_dtype))
            masks.append(keras.KerasTensor((batch, length), "bool"))
        return levels, masks

    def get_config(self):
        return {**super().get_config(), "architecture": self.architecture.to_dict()}
