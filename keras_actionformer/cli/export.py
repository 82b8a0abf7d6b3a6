"""Exports a trained model to run without this library: SavedModel, TFLite or ONNX.

  export --preset=simulated --output=exports/simulated
  export --workdir=runs/thumos14 --format=tflite --precision=float16 --output=exports/phone
  export --preset=presets/thumos14 --format=onnx --feats=video.npy --output=exports/onnx

What is exported takes features with their lengths, frame rates and durations to detections in
seconds; --raw exports the network alone. A SavedModel becomes the next version in the folder
(1, 2, ...), as TF Serving wants it. The export is run in a process without Keras, on the features
of --feats, else on four of --calibration_feats or on made-up ones, and compared with the model; one
that disagrees is not left behind.
"""

import os
import sys

from absl import flags, logging

from keras_actionformer.cli.videos import check_exist, find_videos
from keras_actionformer.detection.text_table import table
from keras_actionformer.errors import UserError, counted
from keras_actionformer.presets.fetching import fetched
from keras_actionformer.quiet import import_keras, quiet_start

_PRESET = flags.DEFINE_string(
    "preset", None, "A preset (name, folder or hf://...), or a reference checkpoint."
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Instead: the folder of a training run.")
_FORMAT = flags.DEFINE_enum(
    "format", "saved_model", ["saved_model", "tflite", "onnx"], "What to export to."
)
_OUTPUT = flags.DEFINE_string("output", None, "Folder to export to.", required=True)
_PRECISION = flags.DEFINE_enum(
    "precision", "float32", ["float32", "float16", "int8"], "Of the weights, for TFLite."
)
_CALIBRATION_FEATS = flags.DEFINE_list(
    "calibration_feats",
    None,
    "For int8: feature files or folders, a dozen of training, say, to fix the ranges of "
    "activations on, for processors that want them beforehand.",
)
_RAW = flags.DEFINE_bool("raw", False, "Export the network alone: logits, offsets and points.")
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", None, "Sequences of each call; any number where it is not given.", lower_bound=1
)
_NUM_STEPS = flags.DEFINE_integer(
    "num_steps", None, "Steps of each call; any number where it is not given.", lower_bound=1
)
_FEATS = flags.DEFINE_list(
    "feats",
    None,
    "Feature files or folders to check the export on; of several streams, a folder each.",
)


def main():
    if bool(_WORKDIR.value) == bool(_PRESET.value):
        raise UserError("Give either --preset=NAME or --workdir=DIR.")
    for paths in (_FEATS.value, _CALIBRATION_FEATS.value):
        if paths is not None:
            check_exist(paths)
    import_keras()
    from keras_actionformer.model import ActionFormer
    from keras_actionformer.training.config import run_config

    with fetched(_WORKDIR.value) as workdir:
        if workdir:
            _tell_what_stays_outside(run_config(workdir)["data"])
        # A run's folder may be called like a built-in preset.
        model = ActionFormer.from_preset(_PRESET.value or os.path.abspath(workdir))
    feats, calibration_feats = (
        None if paths is None else _features(model, paths)
        for paths in (_FEATS.value, _CALIBRATION_FEATS.value)
    )
    print("Exporting, then comparing with Keras ...", file=sys.stderr, flush=True)
    logging.set_verbosity(logging.WARNING)
    with quiet_start():
        folder, manifest = model.export_detector(
            _OUTPUT.value,
            _FORMAT.value,
            precision=_PRECISION.value,
            calibration_feats=calibration_feats,
            raw=_RAW.value,
            batch_size=_BATCH_SIZE.value,
            num_steps=_NUM_STEPS.value,
            feats=feats,
            verbose=1,
        )
    print(_signature_table(manifest))
    if _FORMAT.value == "saved_model" and not any("warmup" in name for name in manifest["files"]):
        print("No warm-up requests are in it: these need pip install 'keras-actionformer[grpc]'.")
    num_bytes = sum(file["bytes"] for file in manifest["files"].values())
    print(f"Compared with Keras: {_told(manifest['largest_difference'])}.")
    print(
        f"Wrote {folder} ({counted(len(manifest['files']) + 1, 'file')}, {num_bytes / 1e6:.1f} MB)."
    )


def _tell_what_stays_outside(data):
    """Prints what detect does with a run's features before its model sees them."""
    if data["downsample_rate"] > 1:
        print(f"The run uses every {data['downsample_rate']}th step: give the export those alone.")
    if data["window_steps"]:
        print(
            f"The run cuts sequences to windows of {data['window_steps']} steps, which the export "
            "does not: it takes whole sequences, or what it is given."
        )


def _signature_table(manifest):
    rows = []
    for side in ("input", "output"):
        for name, spec in manifest[f"{side}s"].items():
            shape = ", ".join(map(str, spec["shape"]))
            rows.append((side, name, spec["dtype"], f"({shape}): {spec['meaning']}"))
    return table(rows, ("<6", "<18", "<7", "<"), gap=" ")


def _features(model, paths):
    data = {"feats": "", "prefix": "", "suffix": ""}
    architecture = model.architecture
    videos = find_videos(paths, data, architecture.channels, architecture.num_streams)
    return [features.load(name) for features, name in videos.values()]


def _told(result):
    """What `check_export` found, as a sentence."""
    lengths = ", ".join(map(str, result["num_steps"]))
    parts = [
        f"{counted(len(result['num_steps']), 'sequence')} ({result['features']}; {lengths} steps)"
    ]
    parts.append(f"{result['num_calls']} calls")
    if "found" in result:
        parts.append(f"{result['found']:.1%} of {result['detections']} clear detections found")
    elif "detections" in result:
        parts.append(f"{counted(result['detections'], 'detection')}")
    limits = [f"{result['score']:.1e} in scores"]
    if "seconds" in result:
        limits.append(f"{result['seconds']:.1e} s in times")
    else:
        limits.append(f"{result['offset_strides']:.1e} strides in offsets")
    return f"{', '.join(parts)}; largest difference {' and '.join(limits)}"
