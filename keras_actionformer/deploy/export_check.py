"""Does an export detect what the model detects? Asked of it where Keras cannot be imported."""

import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

from keras_actionformer.containers.numpy_files import read_npz
from keras_actionformer.data.grid import FeatureGrid
from keras_actionformer.deploy.exported import SIGNATURE
from keras_actionformer.detection.inputs import check_sequences
from keras_actionformer.errors import UserError

# Lengths of made-up sequences, in parts of the training length: one that the reference pads, one
# that fills it but for a step, a longer and a very short one.
_PARTS = (0.4, 1.0, 1.3, 0.02)
_PADDING = np.nan  # what stands past the end of a sequence must not matter
_SCORE_TOLERANCE = 1e-5
_SEC_TOLERANCE = 1e-4
_SEC_DIGITS = 4  # or as many units of float32's last place: 1e-3 s an hour after the start
_UNITS = {"score": "scores", "seconds": "times in seconds", "offset_strides": "offsets in strides"}
# How far an export may be off. With weights of fewer digits only clear detections are compared,
# whose ends `_SAME_PART` bounds; of these at least a part must be found again.
_LIMITS = {
    "float32": {"score": _SCORE_TOLERANCE, "offset_strides": 1e-4},
    "float16": {"score": 0.02, "offset_strides": 0.1},
    "int8": {"score": 0.1, "offset_strides": 1.0},
}
_LEAST_FOUND = {"float16": 0.95, "int8": 0.7}
_FIXES = {  # what to do when it is further off
    "float16": " Export it in float32.",
    "int8": " Give features of its training (feats, calibration_feats), or export it in float16.",
}
_LONGEST_RUN_SEC = 3600
_CLEAR_SCORE = 0.5  # of the best score of a sequence
_SAME_PART = 0.15  # of a detection's length: how far its ends may move


def sequences_to_try(model, feats=None, name="feats"):
    """The sequences to run it on, a list of (T, C) float32 arrays: made up, or those given.

    Raises:
      UserError: `feats` has none, or one of another shape or with NaN or infinite values.
    """
    channels = model.input["feats"].shape[-1]
    if feats is None:
        rng = np.random.default_rng(0)
        # Of one step alone, points may tie, and which comes first is a matter of the last digit.
        lengths = [max(2, int(part * model.architecture.max_seq_len) - 1) for part in _PARTS]
        return [rng.normal(size=(n, channels)).astype("float32") for n in lengths]
    sequences, _ = check_sequences(feats, channels, name)
    if not sequences:
        raise UserError(f"{name} is empty: give at least one sequence to run the export on.")
    return sequences


def check_export(model, folder, manifest, sequences):
    """Compares an export with the model it was made from.

    Sequences go through it one by one and all at once or, where its batch is fixed, as many at a
    time; some with a frame rate and a duration of their own.

    Args:
      model: `ActionFormer`.
      folder: path of the export.
      manifest: dict, its manifest.
      sequences: list of (T, C) float32 arrays.

    Returns:
      dict: what was compared, and the largest differences.

    Raises:
      UserError: the export does not run, or disagrees; or nothing is detected.
    """
    batch_size, num_steps, _ = manifest["inputs"]["feats"]["shape"]
    if isinstance(num_steps, int):
        sequences = [x[:num_steps] for x in sequences]
    fps, durations_sec = _timing(model, sequences)
    count = len(sequences)
    if isinstance(batch_size, int):
        calls = [
            [i % count for i in range(first, first + batch_size)]
            for first in range(0, count, batch_size)
        ]
    else:
        calls = [*([i] for i in range(count)), list(range(count))]
    requests = []
    for call in calls:
        inputs = _padded([sequences[i] for i in call], num_steps)
        inputs["fps"] = np.array([fps[i] or 0.0 for i in call], "float32")
        inputs["duration_sec"] = np.array([durations_sec[i] or 0.0 for i in call], "float32")
        requests.append((SIGNATURE, {name: inputs[name] for name in manifest["inputs"]}))
    precision = manifest["precision"]
    has_raw = manifest["format"] == "saved_model" and "logits" not in manifest["outputs"]
    if has_raw:
        requests.append(("raw", requests[-1][1]))
    results = _run_without_keras(folder, requests)
    pairs = _pairs(calls, results[: len(calls)])
    if "logits" in manifest["outputs"]:
        result, limits = _compare_raw(model, sequences, pairs), _LIMITS[precision]
    else:
        expected = _expected(model, sequences, fps, durations_sec)
        sec_tolerance = _sec_tolerance(expected, precision)
        result = _compare_detections(model.postprocess, expected, pairs, precision, sec_tolerance)
        limits = {"seconds": sec_tolerance, **_LIMITS[precision]}
    _refuse_disagreement(result, precision, limits)
    if has_raw:
        pairs = _pairs(calls[-1:], results[-1:])
        compared = _compare_raw(model, sequences, pairs)
        _refuse_disagreement(compared, precision, _LIMITS[precision])
    return {
        "num_steps": [len(x) for x in sequences],
        "num_calls": len(calls),
        **result,
    }


def _timing(model, sequences):
    """Frame rates and durations to pass with the sequences: lists of float or None."""
    grid = model.grid
    if grid is None:  # has to be told the duration; the frame rate does not matter
        return [None] * len(sequences), [0.5 * len(x) for x in sequences]
    rates = [
        1.25 * (grid.fps or 20.0) if i % 2 or grid.fps is None else None
        for i in range(len(sequences))
    ]
    durations_sec = [
        0.8 * grid.with_fps(rate).to_sec(len(x)) if i % 3 == 1 else None
        for i, (x, rate) in enumerate(zip(sequences, rates, strict=True))
    ]
    return rates, durations_sec


def _expected(model, sequences, fps, durations_sec):
    """What the model detects."""
    grids = [model.grid] * len(sequences)
    if model.grid is None:
        grids = [
            FeatureGrid(1.0, d / len(x), d / len(x))
            for x, d in zip(sequences, durations_sec, strict=True)
        ]
    return [
        model.detect(x, fps=rate, duration_sec=duration_sec, grid=grid)
        for x, rate, duration_sec, grid in zip(sequences, fps, durations_sec, grids, strict=True)
    ]


def _padded(sequences, num_steps):
    """`feats (B, T, C)` and `num_steps (B,)` of sequences; T is `num_steps` if that is an int."""
    lengths = [len(x) for x in sequences]
    steps = num_steps if isinstance(num_steps, int) else max(lengths)
    feats = np.full((len(sequences), steps, sequences[0].shape[1]), _PADDING, "float32")
    for row, x in enumerate(sequences):
        feats[row, : len(x)] = x
    return {"feats": feats, "num_steps": np.array(lengths, "int32")}


def _pairs(calls, results):
    """(index of a sequence, outputs of a call, its row in them) for every row."""
    return [
        (i, result, row)
        for call, result in zip(calls, results, strict=True)
        for row, i in enumerate(call)
    ]


def _run_without_keras(folder, requests):
    """Runs the export in a process of its own.

    Args:
      folder: path of the export.
      requests: list of (signature, dict of inputs).

    Returns:
      list of dicts, the outputs for each request.
    """
    with tempfile.TemporaryDirectory(dir=folder) as scratch:  # on the disk that has room for it
        source, target = pathlib.Path(scratch, "inputs.npz"), pathlib.Path(scratch, "outputs.npz")
        arrays = {
            f"{i}/{signature}/{name}": array
            for i, (signature, inputs) in enumerate(requests)
            for name, array in inputs.items()
        }
        np.savez(source, **arrays)
        _run_alone(folder, source, target)
        results = [{} for _ in requests]
        for key, array in read_npz(target).items():
            call, name = key.split("/")
            results[int(call)][name] = array
    return results


def _run_alone(folder, source, target):
    """Runs `exported.main` in a process of its own."""
    package = pathlib.Path(__file__).parents[2]
    program = (
        f"import sys; sys.path.append({str(package)!r}); "
        "from keras_actionformer.deploy.exported import main; main(sys.argv[1:])"
    )
    # This process may hold all memory of a GPU.
    settings = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    try:
        process = subprocess.run(
            [sys.executable, "-c", program, folder, source, target],
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            check=False,
            timeout=_LONGEST_RUN_SEC,
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"The export was made but does not end within {_LONGEST_RUN_SEC} s, and is removed."
        ) from None
    if process.returncode:
        last = (process.stderr.strip().splitlines() or [f"status {process.returncode}"])[-1]
        if last.startswith("OSError: "):  # what is wrong with the export would be told otherwise
            raise OSError(last.removeprefix("OSError: "))
        raise UserError(f"The export was made but does not run, and is removed: {last}")


def _compare_raw(model, sequences, pairs):
    """Largest differences in scores and in offsets (strides) at valid points.

    Offsets of more than a stride are compared relative to the largest of their sequence.
    """
    network = model.detector().network
    differences = []
    for i, found, row in pairs:
        num_steps = np.array([len(sequences[i])], "int32")
        expected = network({"feats": sequences[i][None], "num_steps": num_steps})
        points = np.asarray(model.points(expected["mask"].shape[1]))
        # Of a longer batch, the same points stand elsewhere, in the same order.
        valid, there = (x[:, 0] < len(sequences[i]) for x in (points, found["points"]))
        logits = np.asarray(expected["logits"])[0, valid]
        scores = np.abs(_sigmoid(logits) - _sigmoid(found["logits"][row, there])).max()
        offsets = np.asarray(expected["offsets"])[0, valid]
        strides = np.abs(offsets - found["offsets"][row, there]).max() / max(1, offsets.max())
        differences.append((scores, strides))
    score, strides = np.max(differences, axis=0)
    return {"score": float(score), "offset_strides": float(strides)}


def _sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x.astype("float64")))


def _sec_tolerance(expected, precision):
    """How far times may be off, in seconds: those of long recordings have fewer digits left."""
    if precision != "float32":
        return np.inf  # a part of their length bounds them
    latest_sec = max(detections.segments_sec.max(initial=0.0) for detections in expected)
    return max(_SEC_TOLERANCE, _SEC_DIGITS * float(np.spacing(np.float32(latest_sec))))


def _compare_detections(settings, expected, pairs, precision, sec_tolerance):
    """Compares the detections of the export with those of the model, by pairs of one class.

    Args:
      settings: `PostProcess`.
      expected: list of `Detections`, one a sequence.
      pairs: list of (index of a sequence, outputs of a call, its row in them).
      precision: str, of the export's weights.
      sec_tolerance: float, see `_sec_tolerance`.

    Returns:
      dict: the largest differences in scores and in seconds, infinite where a detection is missing
      or too many, and the number of detections compared; with reduced precision, of the clear
      ones, and which part of them is found again.
    """
    differences = []
    num_expected = num_clear = 0
    for i, outputs, row in pairs:
        count = int(outputs["num_detections"][row])
        segments_sec, scores, labels = (
            outputs[f"detection_{name}"][row, :count] for name in ("segments", "scores", "classes")
        )
        detections = expected[i]
        if precision != "float32":
            clear = _CLEAR_SCORE * detections.scores.max(initial=0.0)
            detections = detections.filter(min_score=clear)
            num_clear += int(np.sum(scores >= clear))
        (score_off, sec_off), is_more = _differences(detections, segments_sec, scores, labels)
        if precision == "float32":
            is_same = (score_off <= _SCORE_TOLERANCE) & (sec_off <= sec_tolerance)
            counts = is_same | ~_may_lack(detections.scores, scores, settings)
            if (is_more & ~_may_lack(scores, detections.scores, settings)).any():
                differences.append((np.inf, np.inf))
        else:
            lengths_sec = detections.segments_sec[:, 1] - detections.segments_sec[:, 0]
            counts = sec_off <= _SAME_PART * lengths_sec
        num_expected += len(detections)
        differences += list(zip(score_off[counts], sec_off[counts], strict=True))
    if not num_expected:
        raise UserError(
            "The export cannot be checked: there are no detections to compare; pass features in "
            "which the model finds some (feats, --feats)."
        )
    score, seconds = np.max(differences or [(np.inf, np.inf)], axis=0)
    result = {"score": float(score), "seconds": float(seconds), "detections": num_expected}
    if precision != "float32":
        result["found"] = len(differences) / max(num_expected, num_clear)
    return result


def _may_lack(scores, others, settings):
    """Whether detections of these scores, (M,) bool, may lack in a list with scores `others`.

    Who is kept at the end of a full list or at a threshold is a matter of the last digit.
    """
    thresholds = np.array([settings.pre_nms_thresh, settings.min_score])
    may_lack = (np.abs(scores[:, None] - thresholds) <= _SCORE_TOLERANCE).any(axis=1)
    if len(others) == settings.max_seg_num:
        may_lack |= scores <= others.min() + _SCORE_TOLERANCE
    return may_lack


def _differences(expected, segments_sec, scores, labels):
    """Of each expected detection, how far the nearest one of its class is that is not taken yet.

    Returns:
      (2, M) differences in score and in seconds, infinite where there is none; and, of those that
      were found, (N,) bool: nothing expected is near.
    """
    differences = np.full((2, len(expected)), np.inf)
    is_free = np.ones(len(scores), bool)
    for k in range(len(expected)):
        others = np.flatnonzero(is_free & (labels == expected.labels[k]))
        if len(others):
            score_off = np.abs(scores[others] - expected.scores[k])
            sec_off = np.abs(segments_sec[others] - expected.segments_sec[k]).max(axis=1)
            nearest = np.argmin(score_off / _SCORE_TOLERANCE + sec_off / _SEC_TOLERANCE)
            differences[:, k] = score_off[nearest], sec_off[nearest]
            is_free[others[nearest]] = False
    return differences, is_free


def _refuse_disagreement(result, precision, limits):
    problem = _disagreement(result, precision, limits)
    if problem:
        fix = _FIXES.get(precision, "")
        raise UserError(f"The export disagrees and is removed: {problem}.{fix}")


def _disagreement(result, precision, limits):
    """What of the result is further off than it may be, in words, or None."""
    if result.get("found", 1.0) < (least := _LEAST_FOUND.get(precision, 0.0)):
        return (
            f"of the clear detections, the model's and those with {precision} weights, "
            f"{result['found']:.0%} are the same, less than {least:.0%}"
        )
    if np.isinf(result["score"]):
        return "a detection of the model is missing, or one is too many"
    for name, limit in limits.items():
        if not result.get(name, 0.0) <= limit:  # as NaN is not
            return f"{_UNITS[name]} differ by up to {result[name]:.2g}, more than {limit:g}"
    return None
