"""int8 with activations of fixed ranges: the products of a TFLite file, calibrated on features."""

import contextlib
import os
import warnings

import numpy as np

from keras_actionformer.deploy.exported import SIGNATURE
from keras_actionformer.errors import UserError, counted
from keras_actionformer.extras import import_extra

# Where the time goes. What is left in float32 is quick, and sums of squares, softmax and the
# turns of suppression lose by eight bits.
_OPERATIONS = ("CONV_2D", "FULLY_CONNECTED")
# With the ranges of 8 steps, the ten best scores of `simulated` on other sequences were 0.54 off in
# the mean, with those of 32 steps 0.02, of 100 0.011, of 300 0.008, and of 12 recordings 0.007.
_LEAST_STEPS = 100


def import_quantizer():
    """The package that quantizes: its modules `quantizer`, `calibrator` and `qtyping`.

    Raises:
      UserError: the extra is not installed.
    """
    return [
        import_extra(
            f"ai_edge_quantizer.{module}", "ai-edge-quantizer", "quantize", "Calibrating an export"
        )
        for module in ("quantizer", "calibrator", "qtyping")
    ]


def check_calibration(sequences, coarsest_stride):
    """Raises UserError where the ranges of sequences would hold for nothing but themselves.

    The check of the export would not show it, for it runs on the same ones.

    Args:
      sequences: list of (T, C) float32 arrays.
      coarsest_stride: int, steps from point to point of the model's coarsest level. A sequence that
        is shorter is padding, mostly, and hundreds of them say nothing of others (with 480 of 1 or
        of 3 steps, the ten best scores of `simulated` were 0.6 off).
    """
    fix = "give a dozen recordings of the training, or leave calibration_feats out."
    num_steps = sum(len(x) for x in sequences if len(x) >= coarsest_stride)
    if num_steps < _LEAST_STEPS:
        raise UserError(
            f"calibration_feats have {counted(num_steps, 'step')} in sequences of "
            f"{coarsest_stride} or more (the stride of the coarsest level), but the ranges of "
            f"activations need {_LEAST_STEPS} or more: {fix}"
        )
    if all((x == sequences[0][0]).all() for x in sequences):
        raise UserError(f"calibration_feats are the same at all of {num_steps} steps: {fix}")


def quantize_calibrated(path, signature, sequences):
    """Replaces a float32 TFLite file by one whose convolutions and products are of int8.

    Weights have a scale a channel, activations the range that they have on the sequences, one for
    each tensor (static-range quantization); everything else stays float32.

    Args:
      path: `pathlib.Path` of the file.
      signature: list of `tf.TensorSpec`, its inputs; sizes that are free are None.
      sequences: list of (T, C) float32 arrays.
    """
    quantizer, calibrator, qtyping = import_quantizer()
    float_file = quantizer.Quantizer(str(path))
    for name in _OPERATIONS:
        float_file.add_static_config(
            ".*", qtyping.TFLOperationName[name], activation_num_bits=8, weight_num_bits=8
        )
    calls = [_inputs(signature, feats) for feats in sequences]
    # Ranges are kept as it runs; the other way keeps all that the network computes.
    mode = calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED
    with (
        warnings.catch_warnings(action="ignore"),
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        ranges = float_file.calibrate({SIGNATURE: calls}, num_threads=os.cpu_count(), mode=mode)
        content = float_file.quantize(ranges).quantized_model
    path.write_bytes(content)


def _inputs(signature, feats):
    """One call with a sequence: as often, and as many of its steps, as the export has room for."""
    batch_size, num_steps, _ = signature[0].shape
    feats = feats[:num_steps]
    padding = (num_steps or len(feats)) - len(feats)
    # A frame rate or a duration may have to be given: any will do.
    values = {"num_steps": len(feats), "fps": 1.0, "duration_sec": len(feats)}
    inputs = {"feats": np.pad(feats, ((0, padding), (0, 0)))[None]}
    for spec in signature[1:]:
        inputs[spec.name] = np.array([values[spec.name]], spec.dtype.as_numpy_dtype)
    return {name: np.repeat(x, batch_size or 1, axis=0) for name, x in inputs.items()}
