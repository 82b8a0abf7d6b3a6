"""How long a sequence is made before the network sees it.

A convolution masks its output, but the normalization after it turns the zeros of an invalid step
into its bias, and the next convolution lets that into the last valid steps. So it counts whether
invalid steps follow the last valid one. The reference pads every sequence to `max_seq_len` steps,
or, where it is longer, to a multiple of what its largest attention window and stride need.

Here a sequence has as many steps as the batch, and a second mask, `present`, tells which of them
the reference would have. Steps that are not present are zeros throughout the network, like those
outside of a convolution's input, so that a sequence gives the reference's numbers in any batch.
"""

import keras
from keras import ops

from keras_actionformer.errors import UserError
from keras_actionformer.network.layers import apply_mask, pad_time
from keras_actionformer.network.points import padded_length


class PadToStride(keras.layers.Layer):
    """Zeros invalid steps and adds more of them up to a multiple of the coarsest stride.

    Call: `(feats (B, T, C), mask (B, T)) -> (feats (B, T', C), mask (B, T'))` for any T >= 1.
    """

    def __init__(self, stride, **kwargs):
        super().__init__(**kwargs)
        self.stride = stride

    def call(self, feats, mask):
        num_steps = ops.shape(feats)[1]
        extra = padded_length(num_steps, self.stride) - num_steps
        feats = apply_mask(feats, mask)  # whatever a caller padded with
        mask = ops.cast(mask, "int32")  # padding of booleans is not implemented everywhere
        return pad_time(feats, 0, extra), pad_time(mask, 0, extra) > 0

    def compute_output_spec(self, feats, mask):
        batch, steps, dim = feats.shape
        steps = None if steps is None else padded_length(steps, self.stride)
        return (
            keras.KerasTensor((batch, steps, dim), self.compute_dtype),
            keras.KerasTensor((batch, steps), "bool"),
        )

    def get_config(self):
        # The model itself is saved as the arguments of `ActionFormer`; only this asks its layers.
        raise UserError(
            "keras.models.clone_model would make a network without losses and without detect: "
            "ActionFormer.from_config(model.get_config()) makes a model like this one, and "
            "set_weights(model.get_weights()) gives it the same weights."
        )


@keras.saving.register_keras_serializable("keras_actionformer")
class PadAsReference(keras.layers.Layer):
    """Adds the invalid steps that the network needs to compute what the reference does.

    One coarsest step of padding (as many as half a kernel there) tells the network the same as
    more would: no sequence needs more, unless the reference itself pads by less. Position
    embeddings of sequences longer than `max_seq_len` are stretched over the padded length, so
    that these are padded as far as the reference does.

    Args:
      max_seq_len: int, steps that shorter sequences are padded to.
      multiple: int, steps that longer ones are padded to a multiple of.
      stride: int, coarsest stride of the network.
      margin: int, steps of padding that tell as much as more would; a multiple of `stride`.
      stretches: bool, the network has a position embedding.

    Call: `(feats (B, T, C), num_steps (B,) int32) -> (feats (B, T', C), mask (B, T'), present
    (B, T'))`; what stands in `feats` past `num_steps` does not matter.
    """

    def __init__(self, max_seq_len, multiple, stride, margin, stretches, **kwargs):
        super().__init__(**kwargs)
        self.max_seq_len = max_seq_len
        self.multiple = multiple
        self.stride = stride
        self.margin = margin
        self.stretches = stretches

    def reference_length(self, num_steps):
        """Steps the reference pads `num_steps` (int or int32 tensor) to."""
        short = padded_length(self.max_seq_len, self.stride)
        long = padded_length(padded_length(num_steps, self.multiple), self.stride)
        return self._where_short(num_steps, short, long)

    def padded_steps(self, num_steps):
        """T' of a batch of T = `num_steps` (int or int32 scalar)."""
        reference = self.reference_length(num_steps)
        needed = padded_length(num_steps, self.stride) + self.margin
        if isinstance(num_steps, int):
            needed = min(needed, reference)
        else:
            needed = ops.minimum(needed, reference)
        return self._where_short(num_steps, needed, reference) if self.stretches else needed

    def _where_short(self, num_steps, short, long):
        if isinstance(num_steps, int):  # which stays one: XLA needs static shapes
            return short if num_steps <= self.max_seq_len else long
        return ops.where(num_steps <= self.max_seq_len, short, long)

    def call(self, feats, num_steps):
        steps_before = ops.shape(feats)[1]
        steps_after = self.padded_steps(steps_before)
        step = ops.expand_dims(ops.arange(steps_after, dtype="int32"), 0)
        mask = step < ops.expand_dims(num_steps, -1)
        present = step < ops.expand_dims(self.reference_length(num_steps), -1)
        feats = pad_time(feats, 0, steps_after - steps_before)
        # Not a product, which would keep a NaN that somebody has padded with.
        nothing = ops.zeros((feats.shape[-1],), feats.dtype)  # its shape tells TFLite the width
        feats = ops.where(ops.expand_dims(mask, -1), feats, nothing)
        return feats, mask, present

    def compute_output_spec(self, feats, num_steps):
        batch, steps, channels = feats.shape
        steps = None if steps is None else self.padded_steps(steps)
        return (
            keras.KerasTensor((batch, steps, channels), self.compute_dtype),
            keras.KerasTensor((batch, steps), "bool"),
            keras.KerasTensor((batch, steps), "bool"),
        )

    def get_config(self):
        return {
            **super().get_config(),
            "max_seq_len": self.max_seq_len,
            "multiple": self.multiple,
            "stride": self.stride,
            "margin": self.margin,
            "stretches": self.stretches,
        }


def inference_padding(architecture):
    """Returns the `PadAsReference` of an `Architecture`."""
    stride = architecture.coarsest_stride
    embedding_reach = padded_length(architecture.embd_kernel_size // 2, stride) // stride
    # The reference pairs its levels that have points with the first windows, whichever level
    # they start from.
    multiples = (
        stride * (window // 2) * 2 if window > 1 else stride
        for stride, window in zip(architecture.strides, architecture.windows, strict=False)
    )
    return PadAsReference(
        max_seq_len=architecture.max_seq_len,
        multiple=max(multiples),
        stride=stride,
        margin=max(1, architecture.head_kernel_size // 2, embedding_reach) * stride,
        stretches=architecture.use_abs_pe,
        name="inference_pad",
    )
