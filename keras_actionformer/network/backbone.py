"""From features to a pyramid: convolutional embedding, then transformer (or plain) blocks."""

import keras
from keras import ops

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
    """Feature pyramid of `1 + arch[2]` levels (paper, section 3.2 and figure 2).

    One projection a stream when there are several, optionally dropout of whole channels, `arch[0]`
    convolutions with layer normalization and ReLU, optionally a position embedding, `arch[1]`
    blocks at full length (the stem), `arch[2]` blocks that each stride by `scale_factor`.

    Args:
      backbone_type: `"convTransformer"` or `"conv"`, the paper's convolutional baseline.
      arch: three ints, numbers of embedding convolutions, stem blocks and strided blocks.
      input_dim: int, or one int a stream; streams are concatenated on channels.
      embd_dim: int, D; with several streams one int a stream, D being their sum.
      embd_kernel_size: odd int.
      embd_with_ln: bool, layer normalization after each embedding convolution (which then has no
        bias).
      scale_factor: int, 2 or 4, stride between levels.
      n_head: int, attention heads.
      n_mha_win_size: int, steps an attention query sees (-1: all), or one int a level.
      use_abs_pe: bool, sinusoidal position embedding.
      use_rel_pe: bool, relative position bias in local attention.
      max_seq_len: int, training length in steps (position embedding only).
      input_dropout: float, probability that a training step zeroes an input channel (of several
        streams: a channel of their projections) in all of a sequence; the others are divided by the
        probability of being kept (OpenTAD's `input_pdrop`).
      dropout, droppath: floats, see `TransformerBlock`.

    Call: `(feats (B, T, C), mask (B, T), present (B, T) or None) -> ([(B, T_l, D)], [(B, T_l)])`,
    T a multiple of `scale_factor ** arch[2]`, T_l = T / scale_factor ** l. `present` tells which
    steps count, by default all (see padding.py).
    """

    def __init__(
        self,
        backbone_type,
        arch,
        input_dim,
        embd_dim,
        embd_kernel_size,
        embd_with_ln,
        scale_factor,
        n_head,
        n_mha_win_size,
        use_abs_pe,
        use_rel_pe,
        max_seq_len,
        input_dropout,
        dropout,
        droppath,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.backbone_type = backbone_type
        self.arch = tuple(arch)
        self.input_dim = input_dim
        self.embd_dim = embd_dim
        self.embd_kernel_size = embd_kernel_size
        self.embd_with_ln = embd_with_ln
        self.scale_factor = scale_factor
        self.n_head = n_head
        self.n_mha_win_size = n_mha_win_size
        self.use_abs_pe = use_abs_pe
        self.use_rel_pe = use_rel_pe
        self.max_seq_len = max_seq_len
        self.input_dropout = input_dropout
        self.dropout = dropout
        self.droppath = droppath
        self.num_levels = self.arch[2] + 1
        self.dim = embd_dim if isinstance(embd_dim, int) else sum(embd_dim)

    def build(self, feats_shape, mask_shape=None, present_shape=None):
        if self.built:
            return
        shape = tuple(feats_shape)
        self.proj = []
        if not isinstance(self.input_dim, int):
            for i, (source, target) in enumerate(zip(self.input_dim, self.embd_dim, strict=True)):
                stream = (*shape[:2], source)
                self.proj.append(self.add(MaskedConv1D, stream, target, 1, name=f"proj_{i}"))
            shape = (*shape[:2], self.dim)
        if self.input_dropout:
            self.drop = self.add(
                keras.layers.Dropout,
                shape,
                self.input_dropout,
                noise_shape=(None, 1, None),
                name="drop",
            )
        self.embd, self.embd_norm = [], []
        for i in range(self.arch[0]):
            conv = self.add(
                MaskedConv1D,
                shape,
                self.dim,
                self.embd_kernel_size,
                use_bias=not self.embd_with_ln,
                masks_output=not self.embd_with_ln,
                name=f"embd_{i}",
            )
            self.embd.append(conv)
            shape = (*shape[:2], self.dim)
            if self.embd_with_ln:
                self.embd_norm.append(self.add_norm(shape, f"embd_norm_{i}"))
        if self.use_abs_pe:
            # As many positions as training sequences have after padding: none is stretched.
            positions = padded_length(self.max_seq_len, self.scale_factor ** self.arch[2])
            self.position = self.add(PositionEmbedding, shape, positions, name="position")
        windows = self.n_mha_win_size
        windows = [windows] * self.num_levels if isinstance(windows, int) else windows
        self.stem = [
            self._add_block(shape, 1, windows[0], name=f"stem_{i}") for i in range(self.arch[1])
        ]
        self.branch = []
        for i in range(self.arch[2]):
            block = self._add_block(shape, self.scale_factor, windows[i + 1], f"branch_{i}")
            self.branch.append(block)
            shape = (shape[0], strided_length(shape[1], self.scale_factor), self.dim)
        self.built = True

    def _add_block(self, shape, stride, window, name):
        if self.backbone_type == "conv":
            return self.add(ConvBlock, shape, stride=stride, name=name)
        return self.add(
            TransformerBlock,
            shape,
            self.n_head,
            window,
            stride,
            # Global attention has no relative positions: levels of both kinds may be mixed.
            use_rel_pe=self.use_rel_pe and window > 1,
            dropout=self.dropout,
            droppath=self.droppath,
            name=name,
        )

    def call(self, feats, mask, present=None, training=False):
        x = feats
        if self.proj:
            streams, first = [], 0
            for proj, width in zip(self.proj, self.input_dim, strict=True):
                streams.append(proj(x[:, :, first : first + width], mask)[0])
                first += width
            x = ops.concatenate(streams, axis=-1)
        if self.input_dropout:
            x = self.drop(x, training=training)
        for i, conv in enumerate(self.embd):
            x, _ = conv(x, mask)
            # Masked before the normalization and not after it, as in the reference: an invalid
            # step now holds relu(bias), which the next convolution lets into the last valid one.
            x = ops.relu(self.embd_norm[i](x, mask) if self.embd_with_ln else x)
            if present is not None:
                x = apply_mask(x, present)
        if self.use_abs_pe:
            x = self.position(x, mask, present)
        for block in self.stem:
            x, mask = block(x, mask, present, training=training)
        levels, masks = [x], [mask]
        for block in self.branch:
            x, mask = block(x, mask, present, training=training)
            present = None if present is None else present[:, :: self.scale_factor]
            levels.append(x)
            masks.append(mask)
        return levels, masks

    def compute_output_spec(self, feats, mask, present=None, training=False):
        batch, steps = feats.shape[:2]
        levels, masks = [], []
        for level in range(self.num_levels):
            length = strided_length(steps, self.scale_factor**level)
            levels.append(keras.KerasTensor((batch, length, self.dim), self.compute_dtype))
            masks.append(keras.KerasTensor((batch, length), "bool"))
        return levels, masks

    def get_config(self):
        return {
            **super().get_config(),
            "backbone_type": self.backbone_type,
            "arch": self.arch,
            "input_dim": self.input_dim,
            "embd_dim": self.embd_dim,
            "embd_kernel_size": self.embd_kernel_size,
            "embd_with_ln": self.embd_with_ln,
            "scale_factor": self.scale_factor,
            "n_head": self.n_head,
            "n_mha_win_size": self.n_mha_win_size,
            "use_abs_pe": self.use_abs_pe,
            "use_rel_pe": self.use_rel_pe,
            "max_seq_len": self.max_seq_len,
            "input_dropout": self.input_dropout,
            "dropout": self.dropout,
            "droppath": self.droppath,
        }
