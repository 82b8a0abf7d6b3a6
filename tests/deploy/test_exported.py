"""Running exported detectors: every runtime gives what Keras gives, in any batch."""

import contextlib
import hashlib
import json
import shutil
import subprocess
import sys
from concurrent import futures

import keras
import numpy as np
import pytest

from helpers.exports import assert_detects, detect, ragged_batch, small_sequences
from helpers.models import CHANNELS, LONGEST, to_numpy
from helpers.programs import ROOT
from keras_actionformer import UserError
from keras_actionformer.deploy.exported import ExportedModel

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="exports are made with TensorFlow"
)

# What a service may send along with the four sequences; 0 is "not given".
FPS = (0.0, 30.0, 12.5, 0.0)
DURATION_SEC = (0.0, 4.0, 0.0, 0.5)
OUTPUTS = {"detection_segments", "detection_scores", "detection_classes", "num_detections"}


@pytest.fixture(scope="module")
def expected(model):
    """What Keras detects in each sequence with its frame rate and duration."""
    return [
        detect(model, feats, fps or None, duration_sec or None)
        for feats, fps, duration_sec in zip(small_sequences(), FPS, DURATION_SEC, strict=True)
    ]


@pytest.fixture(
    scope="module",
    params=[
        ("saved_model", "tensorflow"),
        ("saved_model", "openvino"),
        ("tflite", "litert"),
        pytest.param(("onnx", "onnxruntime"), marks=pytest.mark.slow),
    ],
    ids=lambda param: param[1],
)
def exported(request, export):
    """The model in each runtime."""
    format, runtime = request.param
    pytest.importorskip({"litert": "ai_edge_litert"}.get(runtime, runtime))
    return ExportedModel(export(format), runtime)


# === Every runtime ===


@pytest.mark.parametrize("padding", [np.nan, 1e9])
def test_a_ragged_batch_gives_what_keras_gives_each_sequence(exported, expected, padding):
    batch = ragged_batch(small_sequences(), padding)
    outputs = exported(**batch, fps=FPS, duration_sec=DURATION_SEC)
    assert set(outputs) == OUTPUTS == set(exported.manifest["outputs"])
    for name, array in outputs.items():
        assert array.dtype == exported.manifest["outputs"][name]["dtype"]
    for row, detections in enumerate(expected):
        assert_detects(outputs, row, detections)
    assert outputs["detection_segments"][3].max() <= DURATION_SEC[3]


def test_sequences_one_by_one(exported, expected):
    """No number of steps is given: all count."""
    for feats, fps, duration_sec, detections in zip(
        small_sequences(), FPS, DURATION_SEC, expected, strict=True
    ):
        outputs = exported(feats=feats[None], fps=[fps], duration_sec=[duration_sec])
        assert_detects(outputs, 0, detections)


def test_what_is_not_given_is_the_models(exported, model):
    feats = np.stack(small_sequences((40, 40)))
    for outputs in (exported(feats=feats), exported(feats=feats, num_steps=[0, 40], fps=25)):
        for row in range(2):
            assert_detects(outputs, row, model.detect(feats[row]))


def test_more_steps_than_there_are_mean_all(exported, model):
    feats = small_sequences((40,))[0]
    outputs = exported(feats=feats[None], num_steps=[1000])
    assert_detects(outputs, 0, model.detect(feats))


# === SavedModel, as services load it ===


@pytest.mark.slow
def test_saved_model_cli(export, expected, tmp_path):
    timing = {"fps": np.float32(FPS), "duration_sec": np.float32(DURATION_SEC)}
    np.savez(tmp_path / "in.npz", **ragged_batch(small_sequences(), 1e9), **timing)
    names = ("feats", "num_steps", "fps", "duration_sec")
    done = subprocess.run(
        [
            sys.executable, "-m", "tensorflow.python.tools.saved_model_cli", "run",
            f"--dir={export('saved_model')}", "--tag_set=serve",
            "--signature_def=serving_default", "--outdir=out",
            f"--inputs={';'.join(f'{name}=in.npz[{name}]' for name in names)}",
        ],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    outputs = {name: np.load(tmp_path / "out" / f"{name}.npy") for name in OUTPUTS}
    for row, detections in enumerate(expected):
        assert_detects(outputs, row, detections)


WITHOUT_KERAS = """
import sys
sys.modules["keras"] = sys.modules["keras_actionformer"] = None
import numpy as np
import tensorflow as tf
folder, source, target = sys.argv[1:]
detector = tf.saved_model.load(folder).signatures["serving_default"]
with np.load(source) as inputs:
    outputs = detector(**{name: tf.constant(inputs[name]) for name in inputs.files})
np.savez(target, **{name: tensor.numpy() for name, tensor in outputs.items()})
"""


@pytest.mark.slow
def test_a_process_that_has_tensorflow_alone(export, expected, tmp_path):
    timing = {"fps": np.float32(FPS), "duration_sec": np.float32(DURATION_SEC)}
    np.savez(tmp_path / "in.npz", **ragged_batch(small_sequences(), np.nan), **timing)
    folder = shutil.copytree(export("saved_model"), tmp_path / "elsewhere")
    subprocess.run(
        [sys.executable, "-c", WITHOUT_KERAS, folder, "in.npz", "out.npz"],
        cwd=tmp_path, check=True,
    )  # fmt: skip
    outputs = np.load(tmp_path / "out.npz")
    for row, detections in enumerate(expected):
        assert_detects(outputs, row, detections)


@pytest.mark.parametrize("format", ["saved_model", "tflite"])
def test_a_runtime_starts_without_its_messages(export, format):
    code = f"""
import numpy as np
from keras_actionformer import ExportedModel
ExportedModel({str(export(format))!r})(feats=np.zeros((1, 9, {CHANNELS}), "float32"))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and not done.stderr, done.stderr


@contextlib.contextmanager
def loaded_as_by_servers(folder):
    """Yields what runs a signature as TensorFlow Serving does, with the defaults it declares."""
    import tensorflow as tf

    session = tf.compat.v1.Session(graph=tf.Graph())
    with session.graph.as_default():  # and no longer: what follows is not to be built into it
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))

    def run(signature="serving_default", **inputs):
        signature = loaded.signature_def[signature]
        defaults = {name: tf.make_ndarray(x) for name, x in signature.defaults.items()}
        inputs = {**defaults, **inputs}
        assert inputs.keys() == signature.inputs.keys()
        feed = {signature.inputs[name].name: x for name, x in inputs.items()}
        return session.run({name: x.name for name, x in signature.outputs.items()}, feed)

    with contextlib.closing(session):
        yield run


@pytest.fixture(scope="module")
def server(export):
    with loaded_as_by_servers(export("saved_model")) as run:
        yield run


def test_the_loader_of_servers(server, expected):
    batch = ragged_batch(small_sequences(), 1e9)
    outputs = server(**batch, fps=FPS, duration_sec=DURATION_SEC)
    for row, detections in enumerate(expected):
        assert_detects(outputs, row, detections)


def test_a_server_fills_in_defaults_for_all_sequences(server, model):
    feats = np.stack(small_sequences((40, 40, 40)))
    outputs = server(feats=feats)
    slower = server(feats=feats, fps=[12.5], num_steps=[39])
    for row in range(3):
        assert_detects(outputs, row, model.detect(feats[row]))
        assert_detects(slower, row, model.detect(feats[row, :39], fps=12.5))


@pytest.mark.slow
def test_a_server_fills_in_defaults_of_a_fixed_batch(export, model):
    feats = np.stack(small_sequences((50, 50, 50)))
    with loaded_as_by_servers(export("saved_model", batch_size=3, num_steps=50)) as run:
        outputs = run(feats=feats)
    for row in range(3):
        assert_detects(outputs, row, model.detect(feats[row]))


def assert_raw(outputs, row, model, feats):
    """Outputs at the valid points are those of the network; they stand in the same order."""
    lengths = np.array([len(feats)], "int32")
    network = model.detector().network({"feats": feats[None], "num_steps": lengths})
    points = to_numpy(model.points(network["mask"].shape[1]))
    valid, there = (x[:, 0] < len(feats) for x in (points, outputs["points"]))
    np.testing.assert_array_equal(outputs["points"][there], points[valid])
    for name in ("logits", "offsets"):
        wanted = to_numpy(network[name])[0, valid]
        scale = max(1, abs(wanted).max())
        np.testing.assert_allclose(outputs[name][row, there], wanted, rtol=0, atol=1e-5 * scale)


def test_the_signature_of_raw_outputs(server, model):
    sequences = small_sequences()
    outputs = server("raw", **ragged_batch(sequences, 1e9))
    alone = server("raw", feats=sequences[1][None])
    assert outputs["logits"].shape[2] == 3
    for row, feats in enumerate(sequences):
        assert_raw(outputs, row, model, feats)
    assert_raw(alone, 0, model, sequences[1])


@pytest.mark.slow
@pytest.mark.parametrize("format", ["saved_model", "tflite", "onnx"])
def test_raw_exports(export, model, format):
    raw = ExportedModel(export(format, raw=True))
    assert set(raw.manifest["inputs"]) == {"feats", "num_steps"}
    sequences = small_sequences()
    outputs = raw(**ragged_batch(sequences, np.nan))
    for row, feats in enumerate(sequences):
        assert_raw(outputs, row, model, feats)
    with pytest.raises(UserError, match="There is no input 'fps'; there are feats, num_steps"):
        raw(feats=sequences[0][None], fps=[25.0])


def test_warm_up_requests_run(export, server):
    """They are the records that TensorFlow Serving replays."""
    prediction_log_pb2 = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    import tensorflow as tf

    path = export("saved_model") / "assets.extra" / "tf_serving_warmup_requests"
    lengths = []
    for record in tf.data.TFRecordDataset(str(path)):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        request = log.predict_log.request
        assert request.model_spec.signature_name == "serving_default"
        inputs = {name: tf.make_ndarray(x) for name, x in request.inputs.items()}
        lengths.append(inputs["feats"].shape[1])
        assert inputs["num_steps"] == lengths[-1]
        assert server(**inputs)["num_detections"].shape == (1,)
    assert lengths == [LONGEST // 8, LONGEST // 4, LONGEST // 2, LONGEST]


# === TFLite and ONNX without this library ===


def test_litert_alone(export, expected):
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    interpreter = litert.Interpreter(str(export("tflite") / "model.tflite"))
    runner = interpreter.get_signature_runner("serving_default")
    timing = {"fps": np.float32(FPS), "duration_sec": np.float32(DURATION_SEC)}
    outputs = runner(**ragged_batch(small_sequences(), np.nan), **timing)
    for row, detections in enumerate(expected):
        assert_detects(outputs, row, detections)
    nothing = np.zeros(1, "float32")  # one entry for all sequences
    feats = np.stack(small_sequences((40, 40)))
    steps = np.zeros(1, "int32")
    outputs = runner(feats=feats, num_steps=steps, fps=nothing, duration_sec=nothing)
    assert outputs["num_detections"].shape == (2,) and outputs["num_detections"].all()


@pytest.mark.slow
def test_onnxruntime_alone(export, expected):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(export("onnx") / "model.onnx"))
    shapes = {x.name: x.shape for x in [*session.get_inputs(), *session.get_outputs()]}
    assert shapes["feats"] == ["batch", "time", CHANNELS]
    assert shapes["detection_segments"][::2] == ["batch", 2]
    names = [x.name for x in session.get_outputs()]
    batch = ragged_batch(small_sequences(), np.nan)
    batch.update(fps=np.float32(FPS), duration_sec=np.float32(DURATION_SEC))
    outputs = dict(zip(names, session.run(names, batch), strict=True))
    for row, detections in enumerate(expected):
        assert_detects(outputs, row, detections)
    nothing = {"fps": np.zeros(1, "float32"), "duration_sec": np.zeros(1, "float32")}
    feats = {"feats": batch["feats"][:2, :40], "num_steps": np.zeros(1, "int32")}
    outputs = dict(zip(names, session.run(names, {**feats, **nothing}), strict=True))
    assert outputs["num_detections"].shape == (2,) and outputs["num_detections"].all()


# === What lies beside an export ===


@pytest.mark.parametrize(
    "format, others",
    [
        (
            "saved_model",
            {
                "saved_model.pb",
                "variables/variables.index",
                "variables/variables.data-00000-of-00001",
                "assets/labels.txt",
                "assets/thresholds.txt",
                "assets.extra/model_card.json",
            },
        ),
        ("tflite", {"model.tflite", "labels.txt", "thresholds.txt"}),
        pytest.param(
            "onnx", {"model.onnx", "labels.txt", "thresholds.txt"}, marks=pytest.mark.slow
        ),
    ],
)
def test_the_manifest_tells_the_truth(export, model, format, others):
    folder = export(format)
    manifest = json.loads((folder / "manifest.json").read_text())
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert manifest["files"].keys() == files - {"manifest.json"}
    assert files >= others
    assert files - others <= {"manifest.json", "assets.extra/tf_serving_warmup_requests"}
    for name, told in manifest["files"].items():
        content = (folder / name).read_bytes()
        assert told == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    labels = folder / ("assets/labels.txt" if format == "saved_model" else "labels.txt")
    assert labels.read_text() == "run\njump\nfall\n"
    # The second class has no threshold of its own.
    assert labels.with_name("thresholds.txt").read_text() == "0.4\n0.45\n0.625\n"
    assert manifest["thresholds"] == {"common": 0.45, "per_class": [0.4, None, 0.625]}

    assert (manifest["format"], manifest["precision"]) == (format, "float32")
    assert manifest["class_names"] == ["run", "jump", "fall"]
    assert manifest["grid"] == {"fps": 25.0, "stride_frames": 4.0, "window_frames": 16.0}
    assert manifest["postprocess"]["max_seg_num"] == 50
    assert manifest["versions"]["keras"] == keras.__version__
    difference = manifest["largest_difference"]
    assert difference["features"] == "made up" and difference["num_calls"] == 5
    assert difference["num_steps"] == [18, 47, 61, 2] and difference["detections"] > 100
    assert 0 < difference["score"] <= 1e-5 and 0 < difference["seconds"] <= 1e-4

    assert list(manifest["inputs"]) == ["feats", "num_steps", "fps", "duration_sec"]
    assert manifest["inputs"]["feats"]["shape"] == ["batch", "time", CHANNELS]
    assert "default" not in manifest["inputs"]["feats"]
    assert manifest["inputs"]["num_steps"]["default"] == 0
    outputs = ExportedModel(folder)(feats=np.zeros((2, 9, CHANNELS)))
    assert manifest["outputs"].keys() == outputs.keys()
    for name, told in manifest["outputs"].items():
        assert told["dtype"] == outputs[name].dtype
        for size, found in zip(told["shape"], outputs[name].shape, strict=True):
            assert {"batch": 2}.get(size, size) == found


def test_the_model_card(export):
    card = json.loads((export("saved_model") / "assets.extra" / "model_card.json").read_text())
    assert card["grid"] == {"fps": 25.0, "stride_frames": 4.0, "window_frames": 16.0}
    assert card["class_names"] == ["run", "jump", "fall"]
    assert card["postprocess"]["nms_method"] == "soft"
    assert card["thresholds"]["per_class"] == [0.4, None, 0.625]
    assert {"feature_encoder", "licence", "source"} <= card.keys()


# === What is no export, and no input ===


@pytest.fixture
def copy(export, tmp_path):
    """A TFLite export to damage."""
    return shutil.copytree(export("tflite"), tmp_path / "copy")


def test_the_last_version_is_taken(export, tmp_path):
    for version in ("9", "10"):
        shutil.copytree(export("tflite"), tmp_path / version)
    (tmp_path / "11").mkdir()  # not yet complete
    manifest = json.loads((tmp_path / "10" / "manifest.json").read_text())
    (tmp_path / "10" / "manifest.json").write_text(json.dumps({**manifest, "mark": 1}))
    assert ExportedModel(tmp_path).manifest["mark"] == 1
    assert "mark" not in ExportedModel(str(tmp_path / "9")).manifest


def test_what_is_no_export(copy, tmp_path):
    with pytest.raises(UserError, match="absent' cannot be read .No such file"):
        ExportedModel(tmp_path / "absent")
    with pytest.raises(UserError, match="model.tflite' cannot be read .Not a directory"):
        ExportedModel(copy / "model.tflite")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty' holds no export: there is no manifest.json"):
        ExportedModel(tmp_path / "empty")
    (copy / "model.tflite").unlink()
    with pytest.raises(UserError, match="copy' is not complete: model.tflite is missing"):
        ExportedModel(copy)


@pytest.mark.parametrize(
    "manifest",
    ["", "{", "[]", "{}", '{"format": "saved_model"}', '{"format": ["tflite"], "inputs": {}}',
     '{"format": "coreml", "inputs": {"feats": {}}}', "\xff",
     '{"format": "tflite", "inputs": {"feats": {}}}',
     '{"format": "tflite", "inputs": ["feats"], "outputs": {}}',
     '{"format": "tflite", "inputs": {"feats": {}}, "outputs": {}}',
     *('{"format": "tflite", "outputs": {}, "inputs": {"feats": '
       f'{{"shape": {shape}, "dtype": "float32", "meaning": "features"}}}}}}'
       for shape in ('["b", "t", "c"]', '["b", "t", 0]', '["b", -5, 5]', '[true, "t", 5]'))],
)  # fmt: skip
def test_a_damaged_manifest(copy, manifest):
    (copy / "manifest.json").write_bytes(manifest.encode("latin-1"))
    with pytest.raises(UserError, match="manifest.json' (is damaged|must hold|is no manif)"):
        ExportedModel(copy)


@pytest.mark.parametrize("format", ["tflite", pytest.param("onnx", marks=pytest.mark.slow)])
def test_a_file_with_other_bytes_or_of_another_export(export, tmp_path, format):
    copy = shutil.copytree(export(format), tmp_path / "copy")
    file = copy / f"model.{format}"
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = b"B" * 400  # weights, mostly: the runtime would not see it
    file.write_bytes(content)
    message = f"model.{format}' is damaged, or of another export: its SHA-256 .* copy all files"
    with pytest.raises(UserError, match=message):
        ExportedModel(copy)


@pytest.mark.parametrize(
    "name, message",
    [
        ("variables.index", "is not complete: variables/variables.index is missing; copy"),
        ("variables.data-00000-of-00001", "00001' is damaged, or of another export"),
    ],
)
def test_a_saved_model_without_all_its_variables(export, tmp_path, name, message):
    copy = shutil.copytree(export("saved_model"), tmp_path / "copy")
    path = copy / "variables" / name
    path.write_bytes(path.read_bytes()[:100])
    if name == "variables.index":
        path.unlink()
    with pytest.raises(UserError, match=message):
        ExportedModel(copy)


@pytest.mark.parametrize("input, dtype", [("feats", "float16"), ("num_steps", "int64")])
def test_a_manifest_that_tells_of_other_inputs(copy, input, dtype):
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["inputs"][input]["dtype"] = dtype
    (copy / "manifest.json").write_text(json.dumps(manifest))
    message = r"model.tflite' cannot be run by litert \(.*\); copy all files of the export again"
    with pytest.raises(UserError, match=message):
        ExportedModel(copy).detect(np.zeros((9, CHANNELS), "float32"))


def test_features_of_which_the_network_computes_no_numbers(export):
    huge = np.full((9, CHANNELS), 3e38, "float32")
    message = r"computes NaN or infinite numbers of feats\[1\], whose largest feature is 3e\+38"
    with pytest.raises(UserError, match=message):
        ExportedModel(export("tflite")).detect([np.zeros((9, CHANNELS)), huge])


def test_wrong_inputs(export):
    exported = ExportedModel(export("tflite"))
    feats = np.zeros((2, 30, CHANNELS), "float32")
    for inputs, message in (
        ({"feats": feats, "mask": feats}, "There is no input 'mask'; there are feats, num_steps"),
        ({}, "The input 'feats' has to be given: features."),
        ({"feats": feats[0]}, r"feats must be \(batch, time, 5\), but its shape is \(30, 5\)"),
        ({"feats": feats[..., :3]}, r"but its shape is \(2, 30, 3\)"),
        ({"feats": feats[:0]}, r"but its shape is \(0, 30, 5\)"),
        ({"feats": feats[:, :0]}, r"but its shape is \(2, 0, 5\)"),
        ({"feats": feats.astype(str)}, "feats must be an array of float32"),
        ({"feats": [[[0.0] * 5], [[0.0] * 4]]}, "feats must be an array of float32"),
        ({"feats": feats, "fps": [1, 2, 3]}, r"fps must be \(batch\), but its shape is \(3,\)"),
        ({"feats": feats, "num_steps": [7.5, 8]}, "num_steps must be an array of int32"),
    ):
        with pytest.raises(UserError, match=message):
            exported(**inputs)
    assert exported(feats=feats, fps=[30, 25])["num_detections"].shape == (2,)


@pytest.mark.slow
def test_inputs_of_another_size_than_a_fixed_one(export):
    exported = ExportedModel(export("saved_model", batch_size=3, num_steps=50))
    assert exported.manifest["inputs"]["feats"]["shape"] == [3, 50, CHANNELS]
    for feats in (np.zeros((2, 50, CHANNELS)), np.zeros((3, 49, CHANNELS))):
        with pytest.raises(UserError, match=r"feats must be \(3, 50, 5\), but its shape is"):
            exported(feats=feats)


@pytest.mark.parametrize(
    "format, runtime, message",
    [
        ("tflite", "openvino", "runtime='openvino' does not run tflite: litert."),
        ("saved_model", "litert", "does not run saved_model: tensorflow or openvino."),
        ("saved_model", "tf", "does not run saved_model: tensorflow or openvino."),
    ],
)
def test_wrong_runtimes(export, format, runtime, message):
    with pytest.raises(UserError, match=message):
        ExportedModel(export(format), runtime)


@pytest.mark.parametrize(
    "format, runtime, module, package, extra",
    [
        ("tflite", None, "ai_edge_litert.interpreter", "ai-edge-litert", "tflite"),
        ("saved_model", "openvino", "openvino", "openvino", "openvino"),
        pytest.param(
            "onnx", None, "onnxruntime", "onnxruntime", "onnx", marks=pytest.mark.slow
        ),
    ],
)  # fmt: skip
def test_a_missing_runtime(export, monkeypatch, format, runtime, module, package, extra):
    folder = export(format)
    monkeypatch.setitem(sys.modules, module, None)
    message = rf"needs {package}: pip install 'keras-actionformer\[{extra}\]'"
    with pytest.raises(UserError, match=message):
        ExportedModel(folder, runtime)


def test_several_threads_at_once(exported, expected):
    sequences = small_sequences()

    def detect_row(i):
        row = i % len(sequences)
        fps, duration_sec = [FPS[row]], [DURATION_SEC[row]]
        return row, exported(feats=sequences[row][None], fps=fps, duration_sec=duration_sec)

    with futures.ThreadPoolExecutor(6) as pool:
        for row, outputs in pool.map(detect_row, range(48)):
            assert_detects(outputs, 0, expected[row])


def test_number_of_threads(export, expected):
    batch = ragged_batch(small_sequences(), 0.0)
    for format in ("saved_model", "tflite"):
        outputs = ExportedModel(export(format), num_threads=1)(
            **batch, fps=FPS, duration_sec=DURATION_SEC
        )
        assert_detects(outputs, 0, expected[0])
