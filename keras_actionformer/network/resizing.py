"""Sequences made shorter or longer before the network sees them."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_actionformer")
class ResizeTo(keras.layers.Layer):
    """Resizes every sequence to one length, or those that are longer.

    `"linear"` interpolates between steps, as `resize_feats` does. `"roi_align"` takes the mean of
    as many interpolated samples as a new step has old ones, rounded up (He et al. 2017, Mask R-CNN,
    as OpenTAD uses it: features and length pass through float16).

    Args:
      num_steps: int, that length.
      method: `"linear"` or `"roi_align"`.
      only_longer: bool, shorter sequences stay as they are (`"linear"` alone).

    Call: `(feats (B, T, C), num_steps (B,) int32) -> (feats (B, T', C), num_steps (B,))`; T' is
    `num_steps` or, with `only_longer`, at most this.
    """

    def __init__(self, num_steps, method="linear", only_longer=False, **kwargs):
        super().__init__(**kwargs)
        self.num_steps = num_steps
        self.method = method
        self.only_longer = only_longer

    def call(self, feats, num_steps):
        if self.method == "roi_align":
            return _roi_align(feats, num_steps, self.num_steps), self._new_steps(num_steps)
        new_steps = self._new_steps(num_steps)
        length = ops.expand_dims(ops.cast(num_steps, "float32"), -1)  # (B, 1)
        centre = ops.arange(self._longest(ops.shape(feats)[1]), dtype="float32") + 0.5  # (T',)
        # scale * centre - 0.5, rounded to float32 once, as in the reference: the rounding shows
        # in long sequences. The product with the first bits of the scale is exact, as float32 has
        # 24 bits: those of 2 * num_steps for the centre, the others for scales up to 256.
        scale = length / ops.expand_dims(ops.cast(new_steps, "float32"), -1)
        bits = 2.0 ** max(0, 24 - 8 - (2 * self.num_steps).bit_length())
        coarse = ops.floor(scale * bits) / bits
        position = (coarse * centre - 0.5) + (scale - coarse) * centre
        position = ops.clip(position, 0.0, length - 1.0)
        left = ops.cast(position, "int32")
        right = ops.minimum(left + 1, ops.expand_dims(ops.cast(num_steps, "int32") - 1, -1))
        weight = ops.expand_dims(position - ops.cast(left, "float32"), -1)
        weight = ops.cast(weight, feats.dtype)
        feats = _take_steps(feats, left) * (1 - weight) + _take_steps(feats, right) * weight
        return feats, new_steps

    def _new_steps(self, num_steps):
        if self.only_longer:
            return ops.minimum(num_steps, self.num_steps)
        return ops.zeros_like(num_steps) + self.num_steps

    def _longest(self, steps):
        """T' of T `steps`, an int or a tensor."""
        if not self.only_longer:
            return self.num_steps
        return (
            min(steps, self.num_steps)
            if isinstance(steps, int)
            else ops.minimum(steps, self.num_steps)
        )

    def compute_output_spec(self, feats, num_steps):
        batch, steps, channels = feats.shape
        steps = None if steps is None and self.only_longer else self._longest(steps)
        return (
            keras.KerasTensor((batch, steps, channels), self.compute_dtype),
            keras.KerasTensor(num_steps.shape, "int32"),
        )

    def get_config(self):
        return {
            **super().get_config(),
            "num_steps": self.num_steps,
            "method": self.method,
            "only_longer": self.only_longer,
        }


_WIDE = range(11, 24)  # powers of two from which on 11 bits leave out whole numbers


def _to_half(x):
    """Rounds float32 to the 11 bits of float16 (Veltkamp 1968).

    Two casts would do it, too, but converters take two in a row for none.
    """
    x = ops.cast(x, "float32")
    scaled = x * (2.0**13 + 1)
    # The maximum changes nothing but keeps optimizers of graphs from taking this for `x`.
    return scaled - ops.maximum(scaled - x, -3e38)


def _roi_align(feats, num_steps, new_steps):
    """`"roi_align"` of `ResizeTo`: `(B, T, C), (B,), int -> (B, new_steps, C)`."""
    feats = _to_half(feats)
    length = ops.expand_dims(ops.cast(num_steps, "float32"), -1)  # (B, 1)
    # float16 has no number between 2048 and 2050: a box may end beyond the sequence.
    spacing = sum(ops.cast(length > 2.0**bits, "float32") * 2.0 ** (bits - 11) for bits in _WIDE)
    box = ops.round(length / (1 + spacing)) * (1 + spacing) / new_steps  # old steps a new one
    samples = ops.ceil(box)  # (B, 1), of each new step
    most = (ops.shape(feats)[1] + new_steps) // new_steps  # that a sequence of the batch may need
    sample = ops.expand_dims(ops.arange(new_steps * most, dtype="int32"), 0)
    place, nth = (ops.cast(x, "float32") for x in (sample // most, sample % most))  # (1, N)
    position = (place * box - 0.5) + (nth + 0.5) * box / samples  # (B, N)
    counts = ops.logical_and(nth < samples, position <= length)
    position = ops.clip(position, 0.0, length - 1.0)
    left = ops.cast(position, "int32")
    right = ops.minimum(left + 1, ops.expand_dims(ops.cast(num_steps, "int32") - 1, -1))
    weight = ops.expand_dims(position - ops.cast(left, "float32"), -1)
    values = _take_steps(feats, left) * (1 - weight) + _take_steps(feats, right) * weight
    values = values * ops.expand_dims(ops.cast(counts, "float32"), -1)
    values = ops.reshape(values, (-1, new_steps, most, feats.shape[2]))
    return ops.sum(values, axis=2) / ops.expand_dims(samples, -1)


def _take_steps(x, index):
    """`x (B, T, C)`, `index (B, N) int32 -> (B, N, C)`."""
    return ops.take_along_axis(x, ops.expand_dims(index, -1), axis=1)


def resizing(architecture):
    """Returns the `ResizeTo` of an `Architecture`, or None where it resizes nothing."""
    if architecture.resize_to is not None:
        return ResizeTo(architecture.resize_to, architecture.resize_method, name="resize")
    if architecture.resize_longer:
        return ResizeTo(architecture.max_seq_len, only_longer=True, name="resize")
    return None
