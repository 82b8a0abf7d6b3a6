"""One file or folder that answers "what happens when" without this library and without Keras."""

import contextlib
import errno
import importlib.metadata
import json
import os
import pathlib
import platform
import shutil
import tempfile

import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import keras_actionformer
from keras_actionformer.checks import choice, whole
from keras_actionformer.deploy.export_check import check_export, sequences_to_try
from keras_actionformer.deploy.export_graphs import detection_graph, raw_graph
from keras_actionformer.deploy.exported import (
    FILES,
    LABELS,
    MANIFEST,
    RUNTIMES,
    SIGNATURE,
    THRESHOLDS,
    import_runtime,
    version_folders,
)
from keras_actionformer.deploy.quantization import (
    check_calibration,
    import_quantizer,
    quantize_calibrated,
)
from keras_actionformer.errors import UserError
from keras_actionformer.extras import import_extra
from keras_actionformer.files import atomic_folder, restore_folder, sha256
from keras_actionformer.presets.presets import model_metadata
from keras_actionformer.quiet import without_warnings
from keras_actionformer.terminal import RunningLine

PRECISIONS = ("float32", "float16", "int8")
_ONNX_OPSET = 18
# Lengths of warm-up requests, in parts of the training length.
_WARMUP_PARTS = (8, 4, 2, 1)
_NUM_TRIED = 4  # sequences of those to calibrate on
_STEPS = ("Tracing", "Converting", "Comparing with Keras")
_PACKAGES = (
    "tensorflow",
    "tensorflow-cpu",
    "keras",
    "numpy",
    "tf2onnx",
    "onnx",
    "ai-edge-litert",
    "ai-edge-quantizer",
)

# What stands in a manifest of each input and output: axes, unit or meaning.
_MEANING = {
    "feats": (("batch", "time", "channels"), "features"),
    "num_steps": (("batch",), "valid steps of each sequence; 0: all"),
    "fps": (("batch",), "frames a second of each video; 0: the model's"),
    "duration_sec": (("batch",), "seconds that detections are clipped to; 0: not clipped"),
    "detection_segments": (("batch", "detections", "ends"), "start and end in seconds"),
    "detection_scores": (("batch", "detections"), "best first; 0 past num_detections"),
    "detection_classes": (("batch", "detections"), "class ids"),
    "num_detections": (("batch",), "detections of each sequence"),
    "logits": (("batch", "points", "classes"), "the sigmoid is the score"),
    "offsets": (("batch", "points", "ends"), "strides back to the start and on to the end"),
    "points": (("points", "columns"), "time in steps, range min, range max, stride"),
}


def export_detector(
    model,
    folder,
    format,
    precision,
    calibration_feats,
    raw,
    batch_size,
    num_steps,
    feats,
    verbose,
):
    """`ActionFormer.export_detector`, which documents it."""
    line = RunningLine()

    def begin(step):
        if verbose:
            line.count(step, len(_STEPS), "steps", "".join(_STEPS[step : step + 1]))

    _check_arguments(model, format, precision, calibration_feats, batch_size, num_steps)
    folder = _target(pathlib.Path(os.path.realpath(pathlib.Path(folder).expanduser())), format)
    tried, calibration = feats, None
    if calibration_feats is not None:
        longest = model.architecture.max_seq_len
        given = sequences_to_try(model, calibration_feats, "calibration_feats")
        calibration = [x[:longest] for x in given]
        check_calibration(calibration, model.strides[-1])
        # Made-up features would lie outside of the ranges of these.
        tried = calibration[:_NUM_TRIED] if feats is None else feats
    sequences = sequences_to_try(model, tried)
    begin(0)
    graph = raw_graph(model) if raw else detection_graph(model)
    function = _function(graph, model, batch_size, num_steps)
    with _gone_on_failure(folder.parent), _disk_told(folder), atomic_folder(folder) as temporary:
        begin(1)
        if format == "saved_model":
            _write_saved_model(graph, model, temporary, function)
        elif format == "tflite":
            _write_tflite(graph, temporary, function, precision, calibration)
        else:
            _write_onnx(temporary, function)
        if format != "saved_model":
            _write_classes(model, temporary)
        manifest = _manifest(graph, model, temporary, function, format, precision)
        if calibration:
            manifest["calibrated_on"] = len(calibration)
        _write_json(temporary / MANIFEST, manifest)
        begin(2)
        with _all_digits():
            found = check_export(model, temporary, manifest, sequences)
        manifest["largest_difference"] = {
            "features": "made up" if tried is None else "given",
            **found,
        }
        _write_json(temporary / MANIFEST, manifest)
        for path in filter(_is_hidden_file, folder.glob(".*")):  # of the export that is replaced
            shutil.copy2(path, temporary)
    begin(len(_STEPS))
    return folder, manifest


def _check_arguments(model, format, precision, calibration_feats, batch_size, num_steps):
    if keras.backend.backend() != "tensorflow":
        raise UserError(
            f"Exports are made with TensorFlow, but Keras runs on {keras.backend.backend()}: save "
            "a preset, and export that with KERAS_BACKEND=tensorflow."
        )
    choice("format", format, *FILES)
    choice("precision", precision, *PRECISIONS)
    for name, value in (("batch_size", batch_size), ("num_steps", num_steps)):
        if value is not None and whole(name, value) < 1:
            raise UserError(f"{name} must be at least 1, but is {value}.")
    if precision != "float32" and format != "tflite":
        raise UserError(f"precision={precision!r} is for the format 'tflite', not for {format!r}.")
    if calibration_feats is not None:
        if precision != "int8":
            raise UserError(
                f"calibration_feats is for precision='int8', but precision is {precision!r}."
            )
        import_quantizer()
    if model.get_layer("backbone").compute_dtype != "float32":
        raise UserError(
            "The model computes in half precision: open it without a mixed dtype policy to export."
        )
    if format != "saved_model":  # the check will need it, and a conversion takes its time
        import_runtime(RUNTIMES[format][0])


def _target(folder, format):
    """The folder to write: a new version of a SavedModel, or `folder` when nothing else is there.

    Raises:
      UserError: exporting there would take something other than an export away.
    """
    if pathlib.Path.cwd().is_relative_to(folder):
        raise UserError(f"'{folder}' is the current folder, or contains it: name a new one.")
    restore_folder(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"'{folder}' is a file: choose a new folder.")
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if format == "saved_model":
        versions = [path.name for path in version_folders(folder)] if names else []
        others = sorted(name for name in names - set(versions) if name[0] != ".")
        last = int(versions[-1]) if versions else 0
        folder = folder / str(last + 1)
    else:
        is_export = FILES[format] in names  # or a manifest and labels may be of something else
        ours = {FILES[format], MANIFEST, LABELS, THRESHOLDS} if is_export else set()
        others = sorted(name for name in names - ours if not _is_hidden_file(folder / name))
    if others:
        raise UserError(
            f"'{folder}' holds other files, such as {others[0]!r}: choose a new folder."
        )
    return folder


def _is_hidden_file(path):
    """Whether a path is what a file manager or a version control leaves in a folder."""
    return path.name[0] == "." and path.is_file()


@contextlib.contextmanager
def _gone_on_failure(folder):
    """Takes a folder that the block created away again when it fails."""
    is_new = not folder.exists()
    try:
        yield
    except BaseException:
        if is_new:
            with contextlib.suppress(OSError):  # another export has written to it
                folder.rmdir()
        raise


@contextlib.contextmanager
def _all_digits():
    """GPUs multiply all digits of float32 in the block, as the CPU does on which exports are run.

    Otherwise they may take ten bits of them (TensorFloat-32), and no export would agree.
    """
    settings = tf.config.experimental
    was_enabled = settings.tensor_float_32_execution_enabled()
    settings.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        settings.enable_tensor_float_32_execution(was_enabled)


@contextlib.contextmanager
def _disk_told(folder):
    """What TensorFlow raises over a full or closed disk, as Python does."""
    try:
        yield
    except tf.errors.OpError as error:
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES):
            if os.strerror(number) in str(error):
                raise OSError(number, os.strerror(number), str(folder)) from None
        raise


def _function(graph, model, batch_size=None, num_steps=None):
    """The graph as a `tf.function` for a fixed or any (None) number of sequences and steps."""
    channels = model.input["feats"].shape[-1]
    specs = {
        "feats": tf.TensorSpec((batch_size, num_steps, channels), tf.float32, "feats"),
        "num_steps": tf.TensorSpec((batch_size,), tf.int32, "num_steps"),
        "fps": tf.TensorSpec((batch_size,), tf.float32, "fps"),
        "duration_sec": tf.TensorSpec((batch_size,), tf.float32, "duration_sec"),
    }
    signature = [specs[name] for name in graph.defaults]
    return tf.function(graph.function, input_signature=signature, autograph=False)


# === The formats ===


def _write_saved_model(graph, model, folder, function):
    """One version in the layout of TF Serving."""
    module = _module(graph)
    functions = {SIGNATURE: function}
    if "fps" in graph.defaults:
        functions["raw"] = _function(
            raw_graph(model), model, *function.input_signature[0].shape[:2]
        )
    # Traced here: what is traced while a SavedModel is written is traced again afterwards.
    signatures = {name: x.get_concrete_function() for name, x in functions.items()}
    with tempfile.TemporaryDirectory(dir=folder) as assets:  # on the disk that is asked for
        written = _write_classes(model, pathlib.Path(assets))
        module.assets = [tf.saved_model.Asset(str(path)) for path in written]
        _save(module, folder, signatures)
    _declare_defaults(folder / "saved_model.pb", graph, function.input_signature[0].shape[0])
    extra = folder / "assets.extra"
    extra.mkdir()
    _write_json(extra / "model_card.json", model_metadata(model))
    _write_warmup_requests(extra / "tf_serving_warmup_requests", graph, model, function)


def _save(module, folder, signatures):
    # Gradients, whose tracing takes as long as all else, are for training: there is none here.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, str(folder), signatures, options)


def _module(graph):
    """A `tf.Module` that holds the variables of a graph, and keeps the rest of Keras out."""
    module = tf.Module()
    module.weights = [variable.value for variable in graph.weights]
    return module


def _declare_defaults(path, graph, batch_size):
    """Adds the default values of inputs to a SavedModel's signatures, for servers to fill in.

    One value for all sequences, or one each for a fixed number of them.

    TensorFlow would do that for a function with default arguments, but would put them into the
    graph, too, where other runtimes take them for constants.
    """
    saved_model = saved_model_pb2.SavedModel()
    saved_model.ParseFromString(path.read_bytes())
    for meta_graph in saved_model.meta_graphs:
        for signature in meta_graph.signature_def.values():
            for name, default in graph.defaults.items():
                if default is not None and name in signature.inputs:
                    dtype = tf.dtypes.as_dtype(signature.inputs[name].dtype)
                    values = [default] * (batch_size or 1)
                    signature.defaults[name].CopyFrom(tf.make_tensor_proto(values, dtype))
    path.write_bytes(saved_model.SerializeToString())
    path.with_name("fingerprint.pb").unlink(missing_ok=True)  # of what the file was before


def _write_warmup_requests(path, graph, model, function):
    """Requests of the usual lengths, which TF Serving runs before it takes a version into use."""
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ImportError:
        return  # the manifest tells that there are none
    batch_size, num_steps, _ = function.input_signature[0].shape
    longest = model.architecture.max_seq_len
    lengths = [num_steps] if num_steps else [max(1, longest // part) for part in _WARMUP_PARTS]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for length in lengths:
            request = predict_pb2.PredictRequest()
            request.model_spec.signature_name = SIGNATURE
            # A frame rate or a duration may have to be given: any will do.
            values = {"feats": 0.0, "num_steps": length, "fps": 1.0, "duration_sec": 1.0}
            for spec in function.input_signature:
                shape = [batch_size or 1, length, spec.shape[-1]][: len(spec.shape)]
                # One number and a shape, which stands for an array full of it.
                request.inputs[spec.name].CopyFrom(
                    tf.make_tensor_proto(values[spec.name], spec.dtype, shape)
                )
            log = prediction_log_pb2.PredictionLog(
                predict_log=prediction_log_pb2.PredictLog(request=request)
            )
            writer.write(log.SerializeToString())


def _write_tflite(graph, folder, function, precision, calibration):
    path = folder / FILES["tflite"]
    # As the converter would, with gradients, and on the disk that is asked for.
    with tempfile.TemporaryDirectory(dir=folder) as saved_model:
        _save(_module(graph), saved_model, {SIGNATURE: function.get_concrete_function()})
        with without_warnings():  # that it has no gradients
            converter = tf.lite.TFLiteConverter.from_saved_model(saved_model, [SIGNATURE])
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
            if precision != "float32" and calibration is None:
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
            if precision == "float16":
                converter.target_spec.supported_types = [tf.float16]
            path.write_bytes(converter.convert())
    if calibration is not None:
        quantize_calibrated(path, function.input_signature, calibration)
    if precision != "float32":
        interpreter = import_runtime("litert").Interpreter(model_path=str(path))
        if all(row["dtype"] != np.dtype(precision) for row in interpreter.get_tensor_details()):
            raise UserError(
                f"TFLite stores none of this model's weights as {precision}: they are too few to "
                "be worth it; export with precision='float32'."
            )


def _write_onnx(folder, function):
    tf2onnx = import_extra("tf2onnx", "tf2onnx", "onnx", "Exporting to ONNX")
    proto, _ = tf2onnx.convert.from_function(
        function,
        function.input_signature,
        opset=_ONNX_OPSET,
        custom_op_handlers={"SelectV2": (_select_in_onnx, [])},
    )
    for value in (*proto.graph.input, *proto.graph.output):
        axes, _ = _MEANING[value.name]
        for axis, dim in zip(axes, value.type.tensor_type.shape.dim, strict=True):
            if not dim.HasField("dim_value"):
                dim.dim_param = axis
    (folder / FILES["onnx"]).write_bytes(proto.SerializeToString())


def _select_in_onnx(context, node, name, arguments):
    """Converts `where`. On its own tf2onnx makes sums of products of it, which keep any NaN."""
    node.type = "Where"


# === What lies beside it ===


def _write_classes(model, folder):
    """Writes what is known of the classes, a line each in the order of their ids.

    Returns:
      list of `pathlib.Path`: the files with names and with recommended scores, as far as there are.
    """
    lines = {}
    if model.class_names:
        lines[LABELS] = [" ".join(name.splitlines()) for name in model.class_names]
    if model.thresholds:
        scores = model.thresholds.of(np.arange(model.architecture.num_classes))
        lines[THRESHOLDS] = [f"{score:g}" for score in scores]
    for name, texts in lines.items():
        text = "".join(f"{line}\n" for line in texts)
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    return [folder / name for name in lines]


def _manifest(graph, model, folder, function, format, precision):
    inputs, outputs = {}, {}
    for spec in function.input_signature:
        inputs[spec.name] = _described(spec.name, spec)
        if graph.defaults[spec.name] is not None:
            inputs[spec.name]["default"] = graph.defaults[spec.name]
        else:  # what 0 stands for
            inputs[spec.name]["meaning"] = inputs[spec.name]["meaning"].partition(";")[0]
    for name, tensor in function.get_concrete_function().structured_outputs.items():
        outputs[name] = _described(name, tensor)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        "format": format,
        "precision": precision,
        "inputs": inputs,
        "outputs": outputs,
        **model_metadata(model),
        "num_streams": model.architecture.num_streams,
        "versions": _versions(),
        "files": {
            path.relative_to(folder).as_posix(): {
                "bytes": path.stat().st_size,
                "sha256": sha256(path),
            }
            for path in files
        },
    }


def _described(name, tensor):
    """What a manifest says of an input or output; sizes that are free are named."""
    axes, meaning = _MEANING[name]
    shape = [axis if size is None else size for axis, size in zip(axes, tensor.shape, strict=True)]
    return {"shape": shape, "dtype": tensor.dtype.name, "meaning": meaning}


def _versions():
    versions = {
        "keras_actionformer": keras_actionformer.__version__,
        "python": platform.python_version(),
    }
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _write_json(path, content):
    path.write_text(json.dumps(content, indent=2, default=float) + "\n", encoding="utf-8")
