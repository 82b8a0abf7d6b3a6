"""Running an exported detector, without Keras: SavedModel, TFLite or ONNX."""

from __future__ import annotations

import functools
import os
import pathlib
import re
import sys
import threading
from typing import TYPE_CHECKING, Literal, overload

import numpy as np

from keras_actionformer.containers.numpy_files import read_npz
from keras_actionformer.deploy.asking import ASK_FOR, as_detections, questions
from keras_actionformer.deploy.manifest import Exported, told_by
from keras_actionformer.errors import UserError, counted
from keras_actionformer.extras import import_extra
from keras_actionformer.files import sha256, told_if_unreadable
from keras_actionformer.presets.folder import read_part
from keras_actionformer.quiet import quiet_start, without_warnings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from keras_actionformer.detection.detections import Detections

SIGNATURE = "serving_default"  # of a SavedModel, the one that detects
MANIFEST = "manifest.json"
# Of each class, a line: its name, and the score from which on the model recommends detections.
LABELS, THRESHOLDS = "labels.txt", "thresholds.txt"
# The file of each format, None where it is a folder.
FILES = {"saved_model": None, "tflite": "model.tflite", "onnx": "model.onnx"}
_FIX = "copy all files of the export again, or export the model again"
# What the names of files begin with that a runtime reads; the others are for people and servers.
_RUN = ("model.", "saved_model.pb", "variables/")
# What opens each format; the first is the format's own.
RUNTIMES = {
    "saved_model": ("tensorflow", "openvino"),
    "tflite": ("litert",),
    "onnx": ("onnxruntime",),
}
# Those that are extras: module, package, extra, what needs it.
_EXTRAS = {
    "litert": ("ai_edge_litert.interpreter", "ai-edge-litert", "tflite", "Running a TFLite file"),
    "onnxruntime": ("onnxruntime", "onnxruntime", "onnx", "Running an ONNX file"),
    "openvino": ("openvino", "openvino", "openvino", "OpenVINO"),
}


def is_version(path):
    """Whether a `pathlib.Path` is a folder that TF Serving takes for a version of a SavedModel."""
    return re.fullmatch("[0-9]{1,18}", path.name) is not None and path.is_dir()


def version_folders(folder):
    """The versions of a SavedModel.

    Args:
      folder: `pathlib.Path`, what was exported to.

    Returns:
      List of `pathlib.Path`, the folder of each, the newest last.

    Raises:
      OSError: the folder is none, or cannot be read.
    """
    return sorted(filter(is_version, folder.iterdir()), key=lambda path: int(path.name))


class ExportedModel:
    """An exported model, used like the `ActionFormer` it was exported from, or called with arrays.

    Example:

    ```python
    model = ExportedModel("exports/thumos14", num_threads=2)
    detections = model.detect(feats, fps=30)
    outputs = model(feats=feats[None], fps=[30.0])
    outputs["detection_segments"][0, : outputs["num_detections"][0]]  # seconds
    ```

    Args:
      folder: str or path, what was exported to (of SavedModels the last version is taken, unless
        the folder is that of a version).
      runtime: str, `"tensorflow"`, `"litert"`, `"onnxruntime"` or `"openvino"`; default: the
        format's own. OpenVINO reads SavedModels.
      num_threads: int, or None for as many as the runtime sees fit. TensorFlow's are those of the
        process (`tf.config.threading`).
      signature: str, of a SavedModel: `"serving_default"` or `"raw"`.

    Call: arrays by input name -> dict of NumPy arrays by output name, as `manifest` lists them.
    Optional inputs may be left out, and a number stands for one a sequence. Raises UserError
    where an input is missing, unknown, or of another shape than the manifest says, or the runtime
    fails. Several threads may call it at once.

    Attributes:
      manifest: dict, what the export says of itself.

    Raises:
      UserError: there is no export in the folder, it is incomplete or damaged, or its runtime is
        missing or does not read its format.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        runtime: Literal["tensorflow", "litert", "onnxruntime", "openvino"] | None = None,
        num_threads: int | None = None,
        signature: Literal["serving_default", "raw"] = "serving_default",
    ) -> None:
        folder = _find(pathlib.Path(folder).expanduser())
        self._folder = folder
        self.manifest = _read_manifest(folder)
        format = self.manifest["format"]
        runtimes = RUNTIMES[format]
        runtime = runtimes[0] if runtime is None else runtime
        if runtime not in runtimes:
            raise UserError(f"runtime={runtime!r} does not run {format}: {' or '.join(runtimes)}.")
        path = folder / (FILES[format] or ".")
        open_model = {
            "tensorflow": _open_saved_model,
            "litert": _open_tflite,
            "onnxruntime": _open_onnx,
            "openvino": _open_openvino,
        }[runtime]
        options = {"signature": signature} if runtime == "tensorflow" else {}
        with told_if_unreadable(f"'{path}' cannot be opened by {runtime}"), quiet_start():
            self._run = open_model(path, num_threads, **options)
        self._failed = f"'{path}' cannot be run by {runtime}"

    def __call__(self, **inputs: npt.ArrayLike | None) -> dict[str, np.ndarray]:
        specs = self.manifest["inputs"]
        unknown = sorted(set(inputs) - set(specs))
        if unknown:
            raise UserError(f"There is no input {unknown[0]!r}; there are {', '.join(specs)}.")
        arrays = {}
        for name, spec in specs.items():
            value = inputs.get(name)
            value = spec.get("default") if value is None else value
            if value is None:
                raise UserError(f"The input {name!r} has to be given: {spec['meaning']}.")
            arrays[name] = _as_input(name, value, spec, arrays.get("feats"))
            if "default" not in spec and name != "feats" and not (arrays[name] > 0).all():
                raise UserError(f"The input {name!r} must be above 0: {spec['meaning']}.")
        with told_if_unreadable(self._failed, _FIX):
            return self._run(arrays)

    @functools.cached_property
    def told(self) -> Exported:
        """What the manifest tells of the model: class names, thresholds, timing and encoder."""
        return told_by(self.manifest, f"'{self._folder / MANIFEST}'")

    @property
    def input_dim(self) -> int:
        """The channels of the features that the model takes."""
        return self.manifest["inputs"]["feats"]["shape"][-1]

    def needs(self, name: Literal["fps", "duration_sec"]) -> bool:
        """Whether the model has no value of its own for an input."""
        return "default" not in self.manifest["inputs"].get(name, {})

    @overload
    def detect(
        self,
        feats: np.ndarray,
        fps: float | None = None,
        duration_sec: float | None = None,
    ) -> Detections: ...
    @overload
    def detect(
        self,
        feats: Iterable[np.ndarray],
        fps: float | Sequence[float] | None = None,
        duration_sec: float | Sequence[float] | None = None,
    ) -> list[Detections]: ...
    def detect(self, feats, fps=None, duration_sec=None):
        """Detects actions in one sequence of features or in many, which run one by one.

        Args:
          feats: (T, input_dim) float array: one sequence; or a list or generator of such arrays of
            any lengths (up to `num_steps`, where the model was exported with that).
          fps: float, or one a sequence: frames per second of the video, where it differs from
            the model's timing.
          duration_sec: float, or one a sequence: detections are clipped to [0, duration].

        Returns:
          `Detections`, best first; a list of them, in the order of the input, for many.

        Raises:
          UserError: features of a wrong shape, empty, not finite or too long; no timing known; the
            export is of raw outputs, or computes a NaN or infinity.
        """
        if "logits" in self.manifest["outputs"]:
            raise UserError(
                f"'{self._folder}' gives logits and offsets, and no detections: export the model "
                "without --raw (raw=True)."
            )
        model = f"The model of '{self._folder}'"
        needed = [name for name in ASK_FOR if self.needs(name)]
        asked, single = questions(feats, fps, duration_sec, self.input_dim, model, needed)
        results = []
        for i, inputs in enumerate(asked):
            name = "feats" if single else f"feats[{i}]"
            self.check_length(len(inputs["feats"]), name)
            outputs = self(**self._batch_of(inputs))
            outputs = {key: array[:1] for key, array in outputs.items()}
            if not all(np.isfinite(array).all() for array in outputs.values()):
                raise UserError(
                    f"'{self._folder}' computes NaN or infinite numbers of {name}, whose largest "
                    f"feature is {np.abs(inputs['feats']).max():.4g}: are the features such as the "
                    "model was trained on?"
                )
            answer = f"What '{self._folder}' detects in {name}"
            results.append(as_detections(outputs, self.told.class_names, answer))
        return results[0] if single else results

    def check_length(self, num_steps: int, name: str) -> None:
        """Raises UserError where a sequence is longer than what the model was exported for."""
        most = self.manifest["inputs"]["feats"]["shape"][1]
        if isinstance(most, int) and num_steps > most:
            raise UserError(
                f"{name} has {counted(num_steps, 'step')}, but '{self._folder}' was exported for "
                f"{most}: cut it, or export the model without --num_steps."
            )

    def _batch_of(self, values):
        """The inputs for one sequence, padded and repeated to what was fixed in the export."""
        batch, steps, _ = self.manifest["inputs"]["feats"]["shape"]
        feats = values["feats"]
        if isinstance(steps, int):
            feats = np.pad(feats, ((0, steps - len(feats)), (0, 0)))
        inputs = {**values, "feats": feats}
        copies = batch if isinstance(batch, int) else 1
        return {name: np.stack([value] * copies) for name, value in inputs.items()}


def _as_input(name, value, spec, feats):
    """`value` as an array of the shape and dtype of an input; one number becomes one a row."""
    try:
        array = np.asarray(value).astype(spec["dtype"], casting="same_kind", copy=False)
    except (TypeError, ValueError):
        raise UserError(f"{name} must be an array of {spec['dtype']}: {spec['meaning']}.") from None
    wanted = spec["shape"]
    if feats is not None and array.size == 1:
        return np.full(len(feats), array.item(), spec["dtype"])
    fits = len(array.shape) == len(wanted) and all(
        found == size if isinstance(size, int) else found > 0
        for found, size in zip(array.shape, wanted, strict=True)
    )
    if not fits or (feats is not None and len(array) != len(feats)):
        raise UserError(
            f"{name} must be ({', '.join(map(str, wanted))}), but its shape is {array.shape}."
        )
    return array


def _find(folder):
    """The folder of an export or, of a folder of versions, that of the last one."""
    if (folder / MANIFEST).is_file():
        return folder
    try:
        versions = [path for path in version_folders(folder) if (path / MANIFEST).is_file()]
    except OSError as error:
        raise UserError(f"'{folder}' cannot be read ({error.strerror}).") from None
    if not versions:
        raise UserError(f"'{folder}' holds no export: there is no {MANIFEST} in it.")
    return versions[-1]


def _read_manifest(folder):
    path = folder / MANIFEST
    manifest = read_part(path, "export the model again")
    with told_if_unreadable(f"'{path}' is no manifest of an export"):
        _check_manifest(manifest)
        files = {
            name: str(told["sha256"])
            for name, told in manifest.get("files", {}).items()
            if name.startswith(_RUN)
        }
    _check_files(folder, {FILES[manifest["format"]] or "saved_model.pb": None, **files})
    return manifest


def _check_files(folder, digests):
    """Raises UserError where a file of an export is missing, or not what its manifest tells of.

    TFLite and ONNX files have no checksums: one with other bytes may well run, and detect nonsense.

    Args:
      folder: `pathlib.Path`.
      digests: dict, the SHA-256 of files by name, or None where it is not known.
    """
    for name, expected in digests.items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"'{folder}' is not complete: {name} is missing; {_FIX}.")
        if expected is None:
            continue
        with told_if_unreadable(f"'{path}' cannot be read", _FIX):
            found = sha256(path)
        if found != expected:
            raise UserError(
                f"'{path}' is damaged, or of another export: its SHA-256 is {found:.8}..., and not "
                f"{expected:.8}..., as {MANIFEST} beside it says; {_FIX}."
            )


def _check_manifest(manifest):
    """Raises KeyError, TypeError or ValueError where it lacks what a call of the export needs."""
    inputs, outputs = manifest["inputs"], manifest["outputs"]
    if not isinstance(inputs, dict) or not isinstance(outputs, dict):
        raise TypeError("its inputs or outputs are no object")
    if manifest["format"] not in list(FILES) or "feats" not in inputs:
        raise ValueError("its format or its inputs are of no export")
    for spec in (*inputs.values(), *outputs.values()):
        if not isinstance(spec["shape"], list) or not isinstance(spec["meaning"], str):
            raise TypeError("an input or output has no shape or no meaning")
        np.dtype(spec["dtype"])
    shape = inputs["feats"]["shape"]
    sizes = [size for size in shape if not isinstance(size, str)]  # the others are free
    if len(shape) != 3 or shape[2] not in sizes or any(type(x) is not int or x < 1 for x in sizes):
        raise ValueError(f"its input feats has the shape {shape}")


# === The runtimes: each opens a path and returns a function from arrays to arrays ===


def import_runtime(runtime):
    """Imports and returns the module of a runtime that is an extra, or raises UserError."""
    return import_extra(*_EXTRAS[runtime])


def _open_saved_model(path, num_threads, signature):
    import tensorflow as tf

    with without_warnings():  # that it has no gradients
        loaded = tf.saved_model.load(str(path))
    function = loaded.signatures[signature]
    names = function.structured_input_signature[1]

    def run(arrays):
        outputs = function(**{name: tf.constant(arrays[name]) for name in names})
        return {name: tensor.numpy() for name, tensor in outputs.items()}

    run.keep_alive = loaded  # its variables live as long as it does
    return run


def _open_tflite(path, num_threads):
    litert = import_runtime("litert")
    interpreter = litert.Interpreter(model_path=str(path), num_threads=num_threads)
    interpreter.allocate_tensors()  # and it tells now, not at the first call, what it runs on
    runner = interpreter.get_signature_runner()
    return _in_turn(lambda arrays: dict(runner(**arrays)))


def _open_onnx(path, num_threads):
    onnxruntime = import_runtime("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads or 0
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda arrays: dict(zip(names, session.run(names, arrays), strict=True))


def _open_openvino(path, num_threads):
    openvino = import_runtime("openvino")
    core = openvino.Core()
    # By default it computes in bfloat16 where the processor can.
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    if num_threads is not None:
        options["INFERENCE_NUM_THREADS"] = num_threads
    model = core.compile_model(core.read_model(str(path)), "CPU", options)
    return _in_turn(
        lambda arrays: {output.get_any_name(): x for output, x in model(arrays).items()}
    )


def _in_turn(run):
    """`run` for several threads: of a runtime with one set of tensors, which two calls would share.

    (LiteRT would end the process.)
    """
    lock = threading.Lock()

    def run_in_turn(arrays):
        with lock:
            return run(arrays)

    return run_in_turn


def main(argv):
    """`FOLDER INPUTS OUTPUTS`: runs an export on a file of inputs, without Keras.

    Args:
      argv: list of str: the export's folder; a `.npz` file with arrays `CALL/SIGNATURE/INPUT`; the
        `.npz` file to write, with arrays `CALL/OUTPUT`.
    """
    sys.modules["keras"] = None  # any import of it raises now
    folder, source, target = argv
    calls = {}
    for name, array in read_npz(source).items():
        call, signature, key = name.split("/")
        calls.setdefault((call, signature), {})[key] = array
    signatures = {signature for _, signature in calls}
    models = {signature: ExportedModel(folder, signature=signature) for signature in signatures}
    results = {}
    for (call, signature), arrays in calls.items():
        for name, array in models[signature](**arrays).items():
            results[f"{call}/{name}"] = array
    np.savez(target, **results)
