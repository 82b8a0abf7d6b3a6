"""Between backbone and heads: a normalization per level, or a top-down feature pyramid."""

import keras
from keras import ops

from keras_actionformer.checks import from_fields
from keras_actionformer.network.architecture import Architecture
from keras_actionformer.network.layers import (
    Composite,
    DepthwiseConv1D,
    MaskedConv1D,
    apply_mask,
    shifted,
)


@keras.saving.register_keras_serializable("keras_actionformer")
class Neck(Composite):
    """Prepares the pyramid's levels for the shared heads.

    `"identity"` normalizes each level. `"fpn"` is a feature pyramid network (Lin et al. 2017):
    1x1 lateral convolutions, a top-down sum of nearest-neighbour upsampled levels, a depthwise
    convolution and a normalization per level.

    Args:
      architecture: `Architecture`, or a dict of its fields.

    Call: `([(B, T_l, D)], [(B, T_l)]) -> [(B, T_l, fpn_dim)]` for l >= `fpn_start_level`.
    """

    def __init__(self, architecture, **kwargs):
        super().__init__(**kwargs)
        self.architecture = from_fields("architecture", architecture, Architecture)

    def build(self, levels_shape, masks_shape=None):
        if self.built:
            return
        settings = self.architecture
        shapes = [tuple(shape) for shape in levels_shape[settings.fpn_start_level :]]
        out_shapes = [(*shape[:2], settings.fpn_dim) for shape in shapes]
        use_bias = not settings.fpn_with_ln
        if settings.fpn_type == "fpn":
            self.lateral_convs, self.fpn_convs = [], []
            for i, (shape, out_shape) in enumerate(zip(shapes, out_shapes, strict=True)):
                lateral = self.add(
                    MaskedConv1D,
                    shape,
                    settings.fpn_dim,
                    1,
                    use_bias=use_bias,
                    name=f"lateral_convs_{i}",
                )
                conv = self.add(
                    DepthwiseConv1D, [out_shape] * 3, use_bias=use_bias, name=f"fpn_convs_{i}"
                )
                self.lateral_convs.append(lateral)
                self.fpn_convs.append(conv)
        if settings.fpn_with_ln:
            self.fpn_norms = [
                self.add_norm(shape, f"fpn_norms_{i}") for i, shape in enumerate(out_shapes)
            ]
        self.built = True

    def call(self, levels, masks):
        first = self.architecture.fpn_start_level
        levels, masks = levels[first:], masks[first:]
        if self.architecture.fpn_type == "fpn":
            levels = self._top_down(levels, masks)
        if self.architecture.fpn_with_ln:
            levels = [norm(x) for norm, x in zip(self.fpn_norms, levels, strict=True)]
        return levels

    def _top_down(self, levels, masks):
        laterals = [
            conv(x, mask)[0]
            for conv, x, mask in zip(self.lateral_convs, levels, masks, strict=True)
        ]
        for i in reversed(range(len(laterals) - 1)):
            upsampled = ops.repeat(laterals[i + 1], self.architecture.scale_factor, axis=1)
            laterals[i] = laterals[i] + upsampled
        return [
            apply_mask(conv(shifted(x, 3, 1)), mask)
            for conv, x, mask in zip(self.fpn_convs, laterals, masks, strict=True)
        ]

    def compute_output_spec(self, levels, masks):
        return [
            keras.KerasTensor((*x.shape[:2], self.architecture.fpn_dim), self.compute_dtype)
            for x in levels[self.architecture.fpn_start_level :]
        ]

    def get_config(self):
        return {**super().get_config(), "architecture": self.architecture.to_dict()}
