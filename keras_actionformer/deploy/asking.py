"""What a detector outside of Keras is asked, and what its answer must be: one that is served, or an
export that runs here."""

import numpy as np

from keras_actionformer.checks import number
from keras_actionformer.detection.detections import Detections
from keras_actionformer.detection.inputs import check_sequences, one_each
from keras_actionformer.errors import UserError, said_of

INPUTS = ("feats", "num_steps", "fps", "duration_sec")
OUTPUTS = ("detection_segments", "detection_scores", "detection_classes", "num_detections")

# What to say where an exported model has no value of its own for an input.
ASK_FOR = {
    "fps": "was trained on videos of several frame rates: pass fps (--fps), the frames a second of "
    "this one",
    "duration_sec": "has no timing of its own: pass duration_sec (--duration), the seconds that "
    "are shared out over the features",
}


def questions(feats, fps, duration_sec, input_dim, model, needed):
    """Checks what is to be detected in.

    Args:
      feats, fps, duration_sec: as for `ExportedModel.detect`.
      input_dim: int, channels that the model takes.
      model: str, what messages call the model.
      needed: inputs that the model has no value of its own for.

    Returns:
      (list with a dict of `INPUTS` for each sequence, arrays without an axis of the batch; bool,
      whether `feats` was a single one).

    Raises:
      UserError: features of a wrong shape, empty or not finite; no timing known.
    """
    sequences, single = check_sequences(feats, input_dim)
    times = (
        _known_or_zero(name, value, len(sequences), model, needed)
        for name, value in (("fps", fps), ("duration_sec", duration_sec))
    )
    num_steps = [np.int32(len(sequence)) for sequence in sequences]
    rows = zip(sequences, num_steps, *times, strict=True)
    return [dict(zip(INPUTS, row, strict=True)) for row in rows], single


def _known_or_zero(name, value, count, model, needed):
    """One float32 a sequence: 0 for None, as an exported model takes what is not told.

    Args:
      name: str, the input.
      value: float or None, or one a sequence.
      count: int, of sequences.
      model: str, what messages call the model.
      needed: inputs that the model has no value of its own for.

    Raises:
      UserError: one is not above 0, or not told and needed.
    """
    values = []
    for one in one_each(name, value, count):
        if one is None and name in needed:
            raise UserError(f"{model} {ASK_FOR[name]}.")
        with np.errstate(over="ignore", under="ignore"):
            values.append(np.float32(0.0 if one is None else number(name, one)))
        if one is not None and not 0 < values[-1] < np.inf:
            raise UserError(f"{name} must be above 0 and fit into a float32, but is {one}.")
    return values


def as_detections(outputs, class_names, answer):
    """The `Detections` of the first sequence of an answer.

    Args:
      outputs: dict of arrays, see `detection_graph`.
      class_names: sequence of str.
      answer: str, what messages call it.

    Raises:
      UserError: it is no such answer.
    """
    for name in OUTPUTS:
        if name not in outputs:
            raise UserError(f"{answer} cannot be used: {name!r} is missing.")
    scores = outputs["detection_scores"]
    num_rows = scores.shape[-1] if scores.ndim else 0
    shapes = ((1, num_rows, 2), (1, num_rows), (1, num_rows), (1,))
    for name, shape, kinds in zip(OUTPUTS, shapes, ("fiu", "fiu", "iu", "iu"), strict=True):
        array = outputs[name]
        if array.shape != shape or array.dtype.kind not in kinds:
            raise UserError(
                f"{answer} cannot be used: {name!r} must be {'whole' if kinds == 'iu' else 'real'} "
                f"numbers of shape {shape}, but is {array.dtype} of shape {array.shape}."
            )
    segments_sec, scores, labels, count = (outputs[name][0] for name in OUTPUTS)
    if not 0 <= count <= num_rows:
        raise UserError(f"{answer} cannot be used: 'num_detections' is {count}, of {num_rows}.")
    with np.errstate(over="ignore"):  # becomes infinite, which `Detections` tells
        segments_sec, scores = segments_sec.astype("float32"), scores.astype("float32")
    with said_of(f"{answer} cannot be used"):
        return Detections(segments_sec[:count], scores[:count], labels[:count], class_names)
