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
    convolution and a normalization per level. In `"full_fpn"` the last convolution is a full one,
    and the lateral ones are normalized, too.

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
        self.lateral_convs, self.lateral_norms, self.fpn_convs, self.fpn_norms = [], [], [], []
        for i, (shape, out_shape) in enumerate(zip(shapes, out_shapes, strict=True)):
            if settings.fpn_type != "identity":
                self.lateral_convs.append(self._conv(shape, 1, f"lateral_convs_{i}"))
            if settings.fpn_type == "fpn":
                conv = self.add(
                    DepthwiseConv1D,
                    [out_shape] * 3,
                    use_bias=not settings.fpn_with_ln,
                    name=f"fpn_convs_{i}",
                )
                self.fpn_convs.append(conv)
            if settings.fpn_type == "full_fpn":
                self.fpn_convs.append(self._conv(out_shape, 3, f"fpn_convs_{i}"))
            if settings.fpn_type == "full_fpn" and settings.fpn_with_ln:
                self.lateral_norms.append(self._norm(out_shape, f"lateral_norms_{i}"))
            if settings.fpn_with_ln:
                self.fpn_norms.append(self._norm(out_shape, f"fpn_norms_{i}"))
        self.built = True

    def _conv(self, shape, kernel_size, name):
        settings = self.architecture
        use_bias = not settings.fpn_with_ln
        return self.add(
            MaskedConv1D, shape, settings.fpn_dim, kernel_size, use_bias=use_bias, name=name
        )

    def _norm(self, shape, name):
        return self.add_norm(shape, name, self.architecture.conv_ln_epsilon)

    def call(self, levels, masks):
        first = self.architecture.fpn_start_level
        levels, masks = levels[first:], masks[first:]
        if self.architecture.fpn_type != "identity":
            levels = self._top_down(levels, masks)
        if self.architecture.fpn_with_ln:
            levels = [norm(x) for norm, x in zip(self.fpn_norms, levels, strict=True)]
        if self.architecture.fpn_type == "full_fpn" and self.architecture.mask_after_relu:
            levels = list(map(apply_mask, levels, masks))
        return levels

    def _top_down(self, levels, masks):
        laterals = [
            conv(x, mask)[0]
            for conv, x, mask in zip(self.lateral_convs, levels, masks, strict=True)
        ]
        if self.lateral_norms:
            laterals = [norm(x) for norm, x in zip(self.lateral_norms, laterals, strict=True)]
            if self.architecture.mask_after_relu:
                laterals = list(map(apply_mask, laterals, masks))
        for i in reversed(range(len(laterals) - 1)):
            upsampled = ops.repeat(laterals[i + 1], self.architecture.scale_factor, axis=1)
            laterals[i] = laterals[i] + upsampled
        if self.architecture.fpn_type == "full_fpn":
            return [
                conv(x, mask)[0]
                for conv, x, mask in zip(self.fpn_convs, laterals, masks, strict=True)
            ]
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
