"""How the layers of a network were changed since it was made: quantized, or given LoRA weights."""

import keras

from keras_actionformer.errors import UserError


def layers_within(layers):
    """Yields layers and all that are attributes of them, or in lists of these, each once.

    Args:
      layers: list of `keras.layers.Layer`.
    """
    waiting, seen = list(layers), set()
    while waiting:
        layer = waiting.pop()
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        yield layer
        for value in vars(layer).values():
            if isinstance(value, keras.layers.Layer):
                waiting.append(value)
            elif isinstance(value, list | tuple):
                waiting += [x for x in value if isinstance(x, keras.layers.Layer)]


def quantization(layers):
    """How layers are quantized, e.g. `"int8"`, or None.

    Raises:
      UserError: some are and some are not, or in a way that needs more than its name.
    """
    dense = [x for x in layers_within(layers) if isinstance(x, keras.layers.Dense)]
    modes = {layer.quantization_mode for layer in dense} or {None}  # convolutions alone have none
    if len(modes) == 1 and modes <= {None, "int8", "int4", "float8"}:
        return modes.pop()
    raise UserError(
        "A model of which some dense layers are quantized in one way and some in another, or by "
        "calibration, cannot be saved or copied: save it before quantize()."
    )


def has_lora(layers):
    """bool, whether some layers have LoRA weights, which are merged into what is saved."""
    return any(getattr(layer, "lora_enabled", False) for layer in layers_within(layers))
