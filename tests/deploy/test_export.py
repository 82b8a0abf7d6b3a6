"""Making exports: every kind of model, what is refused, and what stays when one fails."""

import dataclasses
import functools
import json
import shutil
import sys
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

from helpers.exports import assert_detects, detect, ragged_batch, small_sequences
from helpers.models import CHANNELS, small_model, to_numpy
from helpers.programs import run_here, run_program
from keras_actionformer import ActionFormer, FeatureGrid, PostProcess, UserError, evaluate
from keras_actionformer.data.examples import resize_feats
from keras_actionformer.datasets.simulated import simulate_dataset
from keras_actionformer.deploy import export, export_graphs
from keras_actionformer.deploy.exported import ExportedModel
from keras_actionformer.network.resizing import ResizeTo

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="exports are made with TensorFlow"
)


def postprocess(**changes):
    return PostProcess(**{"max_seg_num": 50, "pre_nms_topk": 60, **changes})


# === Every kind of model ===

KINDS = {
    "resized": {"force_upsampling": True},
    "resized, no timing": {"force_upsampling": True, "grid": None},
    "no timing": {"grid": None},
    "frame rate of each video": {"grid": FeatureGrid(None, 4, 16)},
    "absolute positions": {"use_abs_pe": True},
    "relative positions": {"use_rel_pe": True},
    "top-down neck": {"fpn_type": "fpn", "fpn_start_level": 1},
    "convolutions": {"backbone_type": "conv", "scale_factor": 4, "embd_kernel_size": 5},
    "global attention": {"n_mha_win_size": (5, -1, 5), "head_kernel_size": 5},
    "two streams": {"input_dim": (2, CHANNELS - 2), "embd_dim": (3, 5)},
    "voting across classes": {"postprocess": postprocess(multiclass_nms=False, min_score=0.1)},
    "hard": {"postprocess": postprocess(nms_method="hard", iou_threshold=0.4, drop_empty=False)},
    "no suppression": {"postprocess": postprocess(nms_method="none", pre_nms_thresh=0.05)},
    "OpenTAD": {
        "fpn_type": "full_fpn",
        "conv_ln_epsilon": 1e-6,
        "mask_after_relu": True,
        "points_at_centers": True,
        "resize_longer": True,
        "postprocess": postprocess(topk_per_level=False, duration_thresh=-1.0, drop_empty=False),
    },
    "OpenTAD, resized": {
        "conv_ln_epsilon": 1e-6,
        "mask_after_relu": True,
        "force_upsampling": True,
        "resize_method": "roi_align",
        "use_abs_pe": True,  # as they have, and so that steps of a short sequence differ
        "grid": None,
        "postprocess": postprocess(
            multiclass_nms=False, voting_by_tiou=False, spread_duration=True, pre_nms_topk=5000
        ),
    },
    "one level": {"backbone_arch": (1, 1, 0)},
    "no names": {"class_names": None, "num_classes": 1, "thresholds": None},
}
# A conversion to ONNX takes long; the others are made of the same parts.
IN_ONNX = ("OpenTAD, resized", "resized", "no timing", "voting across classes", "no suppression")


@pytest.fixture(scope="module")
def of_kind():
    """The model of a kind, which is the same for all formats."""
    return functools.cache(lambda kind: small_model(**KINDS[kind]))


@pytest.fixture(scope="module")
def function_of():
    """As `_function`, but traced once for all formats of a model: that takes seconds."""
    make, functions = export._function, {}

    def function_of(graph, model, batch_size=None, num_steps=None):
        key = model, *graph.defaults, batch_size, num_steps
        if key not in functions:
            functions[key] = make(graph, model, batch_size, num_steps)
        return functions[key]

    return function_of


@pytest.fixture
def quickly(function_of, checked_by_one_process, monkeypatch):
    """Exports are made of graphs that are traced once, and checked by one process."""
    monkeypatch.setattr("keras_actionformer.deploy.export._function", function_of)
    with checked_by_one_process():
        yield


def slow_by_turns(values, others):
    """All pairs, of which every second is slow, in turns, and the others exhaustive."""
    for i, value in enumerate(values):
        for j, other in enumerate(others):
            mark = pytest.mark.exhaustive if (i + j) % 2 else pytest.mark.slow
            yield pytest.param(value, other, marks=mark)


@pytest.mark.parametrize(
    "kind, format",
    [
        *slow_by_turns(KINDS, ["saved_model", "tflite"]),
        *(pytest.param(kind, "onnx", marks=pytest.mark.slow) for kind in IN_ONNX),
    ],
)
def test_an_export_detects_what_keras_detects(quickly, of_kind, tmp_path, format, kind):
    model = of_kind(kind)
    folder, manifest = model.export_detector(tmp_path / "export", format)
    exported = ExportedModel(folder)
    sequences = small_sequences()
    fps, duration_sec = [0.0, 30.0, 12.5, 0.0], [0.0, 4.0, 0.0, 0.5]
    needed = {"feats"}
    if model.grid is None:
        fps, duration_sec = [0.0] * 4, [9.0, 7.0, 10.0, 0.5]
        needed.add("duration_sec")
    elif model.grid.fps is None:
        fps = [25.0, 30.0, 12.5, 50.0]
        needed.add("fps")
    timing = {"fps": fps, "duration_sec": duration_sec}
    assert {name for name, x in manifest["inputs"].items() if "default" not in x} == needed
    for name in sorted(needed - {"feats"}):
        given = {key: x for key, x in timing.items() if key != name}
        with pytest.raises(UserError, match=f"The input '{name}' has to be given"):
            exported(**ragged_batch(sequences, np.nan), **given)

    together = exported(**ragged_batch(sequences, np.nan), **timing)
    for row, feats in enumerate(sequences):
        expected = detect(model, feats, fps[row] or None, duration_sec[row] or None)
        assert_detects(together, row, expected)
        alone = {key: x[row : row + 1] for key, x in timing.items()}
        assert_detects(exported(feats=feats[None], **alone), 0, expected)
    labels = folder / ("assets/labels.txt" if format == "saved_model" else "labels.txt")
    for path in (labels, labels.with_name("thresholds.txt")):
        assert path.exists() == (kind != "no names")


@pytest.mark.parametrize(
    "sizes, format",
    slow_by_turns([(4, None), (None, 70), (4, 70)], ["saved_model", "tflite"]),
)
def test_fixed_sizes(quickly, model, tmp_path, sizes, format):
    batch_size, num_steps = sizes
    folder, manifest = model.export_detector(
        tmp_path / "export", format, batch_size=batch_size, num_steps=num_steps
    )
    sizes = [batch_size or "batch", num_steps or "time", CHANNELS]
    assert manifest["inputs"]["feats"]["shape"] == sizes
    assert manifest["inputs"]["fps"]["shape"] == sizes[:1]
    assert manifest["outputs"]["detection_segments"]["shape"] == [sizes[0], 50, 2]
    exported, sequences = ExportedModel(folder), small_sequences()
    outputs = exported(**ragged_batch(sequences, np.nan, num_steps))
    for row, feats in enumerate(sequences):
        assert_detects(outputs, row, model.detect(feats))


@pytest.fixture(scope="module")
def simulated():
    return ActionFormer.from_preset("simulated")


@pytest.fixture(scope="module")
def export_simulated(simulated, function_of, tmp_path_factory):
    """Exports that preset to TFLite; returns the folder and the manifest, each made once."""

    @functools.cache
    def export_simulated(precision, raw=False, is_calibrated=False):
        with mock.patch.object(export, "_function", function_of):
            return simulated.export_detector(
                tmp_path_factory.mktemp("simulated") / "export",
                "tflite",
                precision=precision,
                calibration_feats=training_feats() if is_calibrated else None,
                raw=raw,
            )

    def training_feats():
        folder = tmp_path_factory.mktemp("training")
        videos = simulate_dataset(folder, num_train=12, num_test=0).videos
        return [np.load(folder / "feats" / f"{video.video_id}.npy") for video in videos]

    return export_simulated


@pytest.mark.parametrize("precision, raw", slow_by_turns(["float16", "int8"], [False, True]))
def test_fewer_digits_tell_what_they_find(
    quickly, simulated, export_simulated, tmp_path, monkeypatch, precision, raw
):
    model = simulated
    folder, manifest = export_simulated(precision, raw)
    difference = manifest["largest_difference"]
    assert manifest["precision"] == precision
    assert manifest["files"]["model.tflite"]["bytes"] < 0.75 * 4 * manifest["num_parameters"] + 4e5
    assert 1e-6 < difference["score"] < 0.1
    if not raw:
        assert 0.9 < difference["found"] <= 1 and difference["detections"] > 10
    # Another model's weights, in the same graph, are refused.
    trained = model.get_weights()
    write = export._write_tflite

    def sabotage(*arguments):
        rng = np.random.default_rng(0)
        model.set_weights([x + rng.normal(0, 0.05, x.shape) for x in trained])
        write(*arguments)
        model.set_weights(trained)

    monkeypatch.setattr(export, "_write_tflite", sabotage)
    with pytest.raises(UserError, match="disagrees and is removed.* [Ee]xport it in float"):
        model.export_detector(tmp_path / "other", "tflite", precision=precision, raw=raw)
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_int8_that_would_be_float32(quickly, model, tmp_path):
    with pytest.raises(UserError, match="none of this model's weights as int8"):
        model.export_detector(tmp_path / "export", "tflite", precision="int8")


@pytest.mark.slow
def test_ranges_that_are_calibrated_are_in_the_file(export_simulated):
    folder, manifest = export_simulated("int8", is_calibrated=True)
    assert manifest["calibrated_on"] == 12
    assert "ai-edge-quantizer" in manifest["versions"]
    assert manifest["largest_difference"]["features"] == "given"
    assert manifest["largest_difference"]["found"] > 0.9
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    tensors = litert.Interpreter(str(folder / "model.tflite")).get_tensor_details()
    # Of activations, which have a time axis that is free; weights have sizes that are fixed.
    activations = [
        x["quantization"] for x in tensors if x["dtype"] is np.int8 and -1 in x["shape_signature"]
    ]
    assert len(activations) > 40 and len(set(activations)) > 20


@pytest.mark.slow
@pytest.mark.parametrize("batch_size, num_steps", [(2, 70), (None, 200)])
def test_calibrated_at_fixed_sizes(quickly, simulated, tmp_path, batch_size, num_steps):
    rng = np.random.default_rng(0)
    # Of a frame rate that has to be given, and shorter and longer than what is fixed.
    feats = [rng.normal(size=(steps, 32)) for steps in (40, 300)]
    _, manifest = simulated.export_detector(
        tmp_path / "export",
        "tflite",
        precision="int8",
        calibration_feats=feats,
        batch_size=batch_size,
        num_steps=num_steps,
    )
    assert manifest["inputs"]["feats"]["shape"][:2] == [batch_size or "batch", num_steps]
    assert manifest["largest_difference"]["found"] > 0.7


@pytest.mark.slow
def test_late_times_have_fewer_digits(quickly, tmp_path):
    of_days = small_model(grid=FeatureGrid(fps=0.001, stride_frames=4, window_frames=4))
    _, manifest = of_days.export_detector(tmp_path / "export", "tflite")
    assert 1e-4 < manifest["largest_difference"]["seconds"] < 1


def scores_on_simulated(folder, annotations, detector):
    """Average mAP in percent of a function from features to (segments, scores, labels)."""
    from keras_actionformer import Detections

    detections = {}
    for video in annotations.videos:
        feats = np.load(folder / "feats" / f"{video.video_id}.npy").astype("float32")
        detections[video.video_id] = Detections(*detector(feats, video.duration_sec))
    return 100 * evaluate(annotations.videos, detections).average_mean_ap


@pytest.mark.slow
def test_fewer_digits_cost_little_accuracy(simulated, export_simulated, tmp_path):
    annotations = simulate_dataset(tmp_path, num_train=0)

    def in_keras(feats, duration_sec):
        found = simulated.detect(feats, duration_sec=duration_sec)
        return found.segments_sec, found.scores, found.labels

    expected = scores_on_simulated(tmp_path, annotations, in_keras)
    assert abs(expected - 87.76) < 0.1
    sizes = {}
    for precision, is_calibrated, points in (
        ("float32", False, 0.01),
        ("float16", False, 0.5),
        ("int8", True, 1.0),
        ("int8", False, 2.0),
    ):
        folder, _ = export_simulated(precision, is_calibrated=is_calibrated)
        sizes[precision] = (folder / "model.tflite").stat().st_size
        exported = ExportedModel(folder, num_threads=2)

        def in_litert(feats, duration_sec):
            outputs = exported(feats=feats[None], duration_sec=duration_sec)
            count = outputs["num_detections"][0]
            names = ("segments", "scores", "classes")
            return [outputs[f"detection_{name}"][0, :count] for name in names]

        found = scores_on_simulated(tmp_path, annotations, in_litert)
        print(f"{precision}: mAP {found:.2f}, Keras {expected:.2f}, {sizes[precision]} bytes")
        assert abs(found - expected) < points
    assert sizes["int8"] < 0.8 * sizes["float16"] < 0.6 * sizes["float32"]


def test_resizing_in_the_graph_is_that_of_the_data():
    """Up to the last digit of a few of the positions that are looked up."""
    rng = np.random.default_rng(0)
    pairs = rng.integers(1, 400, (60, 2)).tolist()
    pairs += [(1, 7), (7, 1), (48, 48), (100_000, 768), (9_001, 2304), (30_011, 192), (3, 5000)]
    is_exact = []
    for before, after in pairs:
        feats = rng.normal(0, 10, (before, 3)).astype("float32")
        padded = np.full((2, before + 5, 3), np.nan, "float32")
        padded[0, :before], padded[1] = feats, 0.0
        lengths = np.array([before, before + 5], "int32")
        resized, new_lengths = ResizeTo(after)(padded, lengths)
        assert to_numpy(new_lengths).tolist() == [after, after]
        assert not to_numpy(resized)[1].any()
        difference = abs(to_numpy(resized)[0] - resize_feats(feats, after)).max(axis=1)
        scale = abs(feats).max()
        # Between two steps the values change by no more than 2 * scale.
        assert difference.max() <= scale * (1e-6 + 2 * np.spacing(np.float32(before)))
        is_exact.append(difference <= 1e-6 * scale)
    assert np.mean(np.concatenate(is_exact)) > 0.9


# === What is refused, and what stays then ===


@pytest.fixture(scope="module")
def graph_of():
    """As `detection_graph`, but traced once for all exports of a model: that takes seconds."""
    import tensorflow as tf

    @functools.cache
    def graph_of(model):
        graph = export_graphs.detection_graph(model)
        return dataclasses.replace(graph, function=tf.function(graph.function, autograph=False))

    return graph_of


@pytest.fixture
def converter(export, graph_of, monkeypatch):
    """A converter to TFLite that is wrong: it always writes the exports of `model`."""
    detector, raw = export("tflite"), export("tflite", raw=True)

    def write(graph, folder, function, precision, calibration):
        right = detector if "fps" in graph.defaults else raw
        shutil.copy(right / "model.tflite", folder)

    monkeypatch.setattr("keras_actionformer.deploy.export._write_tflite", write)
    monkeypatch.setattr("keras_actionformer.deploy.export.detection_graph", graph_of)


def shifted(variable_path):
    """A model that is not the exported one: 0.01 is added to a variable."""
    other = small_model()
    (variable,) = [v for v in other.trainable_variables if v.path == variable_path]
    variable.assign(to_numpy(variable) + 0.01)
    return other


def assert_refused(model, folder, message, *arguments, **options):
    """And nothing has changed in the folder above."""
    before = {path: path.is_file() and path.read_bytes() for path in folder.parent.rglob("*")}
    with pytest.raises(UserError, match=message) as error:
        model.export_detector(folder, *arguments, **options)
    assert "\n" not in str(error.value)
    after = {path: path.is_file() and path.read_bytes() for path in folder.parent.rglob("*")}
    assert after == before


def test_an_export_that_disagrees(converter, tmp_path):
    folder = tmp_path / "export"
    shifted_classes = shifted("heads/cls_head/out/bias")
    message = "disagrees and is removed: scores differ by up to 0.0.*, more than 1e-05"
    assert_refused(shifted_classes, folder, message, "tflite", raw=True)
    message = "disagrees and is removed"
    assert_refused(shifted_classes, folder, message, "tflite")


@pytest.mark.slow
def test_offsets_and_times_that_disagree(converter, tmp_path):
    folder = tmp_path / "export"
    message = "disagrees and is removed: offsets in strides differ by up to 0.0.*, more than 0.000"
    assert_refused(shifted("heads/reg_head/out/bias"), folder, message, "tflite", raw=True)
    later = small_model(grid=FeatureGrid(25, 4, 16.1))
    message = "disagrees and is removed: times in seconds differ by up to 0.002, more than 0.0001"
    assert_refused(later, folder, message, "tflite")


@pytest.mark.slow
def test_an_export_with_few_digits_that_disagrees(converter, tmp_path):
    other = small_model(num_classes=3, head_num_layers=2)
    message = "those with float16 weights, [0-9]+% are the same, less than 95%"
    assert_refused(other, tmp_path / "export", message, "tflite", precision="float16")


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda outputs: outputs["num_detections"].fill(0), "is missing, or one is too many"),
        (lambda outputs: outputs["detection_classes"].fill(0), "is missing, or one is too many"),
        (lambda outputs: outputs["detection_scores"].fill(np.nan), "scores differ by up to nan"),
        (lambda outputs: outputs["detection_segments"].fill(np.nan), "seconds differ by up to nan"),
    ],
)
@pytest.mark.parametrize("call", [1, 4])
def test_one_call_that_disagrees(converter, tmp_path, monkeypatch, model, call, change, message):
    from keras_actionformer.deploy import export_check

    run = export_check._run_without_keras

    def changed(folder, requests):
        results = run(folder, requests)
        change(results[call])
        return results

    monkeypatch.setattr(export_check, "_run_without_keras", changed)
    assert_refused(model, tmp_path / "export", message, "tflite")


@pytest.mark.slow
def test_detections_too_many(converter, tmp_path):
    """Keras finds fewer than may be: nothing was cut off that could be those."""
    model = small_model(postprocess=postprocess(pre_nms_thresh=0.8))
    few = [len(model.detect(x)) for x in small_sequences()]
    assert 0 < max(few) < 50
    assert_refused(model, tmp_path / "export", "is missing, or one is too many", "tflite")


def test_a_file_that_does_not_run(tmp_path, monkeypatch, model):
    def write(graph, folder, function, precision, calibration):
        (folder / "model.tflite").write_bytes(b"TFL3 not a model")

    monkeypatch.setattr("keras_actionformer.deploy.export._write_tflite", write)
    message = "does not run, and is removed: .*cannot be opened by litert"
    assert_refused(model, tmp_path / "export", message, "tflite")


@pytest.mark.slow
def test_an_older_export_stays_until_a_new_one_is_good(converter, export, tmp_path, model):
    folder = shutil.copytree(export("tflite"), tmp_path / "export")
    (folder / "manifest.json").write_text("{}")
    (folder / ".DS_Store").write_text("where its icons are")
    other = shifted("heads/cls_head/out/bias")
    assert_refused(other, folder, "disagrees", "tflite")
    written, manifest = model.export_detector(folder, "tflite")
    assert written == folder and json.loads((folder / "manifest.json").read_text()) == manifest
    assert {path.name for path in folder.parent.iterdir()} == {"export"}
    assert (folder / ".DS_Store").read_text() == "where its icons are"


@pytest.mark.slow
def test_an_older_version_stays(tmp_path, monkeypatch, model):
    def write(graph, model, folder, function):
        (folder / "saved_model.pb").write_bytes(b"not a model")

    monkeypatch.setattr("keras_actionformer.deploy.export._write_saved_model", write)
    assert_refused(model, tmp_path / "new", "does not run, and is removed")
    (tmp_path / "old" / "7").mkdir(parents=True)
    assert_refused(model, tmp_path / "old", "does not run, and is removed")


def test_the_comparison_takes_all_digits(tmp_path, monkeypatch, model):
    def check(*arguments):
        assert not tf.config.experimental.tensor_float_32_execution_enabled()
        return {}

    monkeypatch.setattr(export, "_write_saved_model", lambda *arguments: None)
    monkeypatch.setattr(export, "check_export", check)
    was_enabled = tf.config.experimental.tensor_float_32_execution_enabled()
    _, manifest = model.export_detector(tmp_path / "export")
    assert manifest["largest_difference"] == {"features": "made up"}
    assert tf.config.experimental.tensor_float_32_execution_enabled() == was_enabled


@pytest.mark.slow
def test_a_model_that_detects_nothing(converter, tmp_path):
    silent = small_model(postprocess=postprocess(pre_nms_thresh=1.0))
    message = "cannot be checked: there are no detections to compare; pass features"
    assert_refused(silent, tmp_path / "export", message, "tflite")


@pytest.mark.slow
def test_times_that_are_wrong_in_the_graph(tmp_path, monkeypatch, model):
    to_sec = export_graphs._to_sec
    monkeypatch.setattr(export_graphs, "_to_sec", lambda *inputs: 1.001 * to_sec(*inputs))
    assert_refused(model, tmp_path / "export", "times in seconds differ by", "tflite")


def test_given_features_are_those_compared(converter, tmp_path, model):
    sequences = small_sequences((33, 70))
    _, manifest = model.export_detector(tmp_path / "export", "tflite", feats=sequences)
    difference = manifest["largest_difference"]
    assert difference["features"] == "given" and difference["num_steps"] == [33, 70]
    assert difference["num_calls"] == 3
    _, manifest = model.export_detector(tmp_path / "export", "tflite", feats=sequences[0])
    assert manifest["largest_difference"]["num_steps"] == [33]


# === Arguments and folders ===


@pytest.mark.parametrize(
    "options, message",
    [
        ({"format": "coreml"}, "format must be 'saved_model', 'tflite' or 'onnx', but is 'coreml'"),
        ({"format": None}, "format must be 'saved_model', 'tflite' or 'onnx', but is None"),
        ({"format": "tflite", "precision": "float8"}, "precision must be 'float32', 'float16' or"),
        ({"precision": "int8"}, "precision='int8' is for the format 'tflite', not for 'saved_mo"),
        ({"format": "onnx", "precision": "float16"}, "'tflite', not for 'onnx'"),
        (
            {"format": "tflite", "calibration_feats": [np.zeros((9, 5))]},
            "calibration_feats is for precision='int8', but precision is 'float32'",
        ),
        (
            {"format": "tflite", "precision": "int8", "calibration_feats": []},
            "calibration_feats is empty: give at least one sequence",
        ),
        (
            {"format": "tflite", "precision": "int8", "calibration_feats": [np.zeros((9, 4))]},
            r"calibration_feats\[0\] must be \(T, 5\)",
        ),
        (
            {"format": "tflite", "precision": "int8", "calibration_feats": [np.eye(9, 5)]},
            "calibration_feats have 9 steps in sequences of 4 or more .* need 100 or more: give a",
        ),
        (
            {"format": "tflite", "precision": "int8", "calibration_feats": [np.eye(3, 5)] * 60},
            "calibration_feats have 0 steps in sequences of 4 or more .* need 100 or more: give a",
        ),
        (
            {"format": "tflite", "precision": "int8", "calibration_feats": [np.ones((60, 5))] * 3},
            "calibration_feats are the same at all of 144 steps: give a dozen recordings",
        ),
        ({"batch_size": 0}, "batch_size must be at least 1, but is 0"),
        ({"num_steps": -1}, "num_steps must be .*-1"),
        ({"batch_size": 1.5}, "batch_size must be a whole number"),
        ({"batch_size": "4"}, "batch_size must be a whole number"),
        ({"feats": []}, "feats is empty: give at least one sequence"),
        ({"feats": [np.zeros((9, 4))]}, r"feats\[0\] must be \(T, 5\)"),
        ({"feats": [np.full((9, 5), np.nan)]}, r"feats\[0\] has NaN or infinite values"),
    ],
)
def test_wrong_arguments(tmp_path, model, options, message):
    assert_refused(model, tmp_path / "export", message, **options)


def test_wrong_folders(converter, tmp_path, monkeypatch, model):
    (tmp_path / "file").touch()
    for format in ("saved_model", "tflite"):
        assert_refused(model, tmp_path / "file", "file' is a file: choose a new folder", format)
    for name, format, message in (
        ("notes.txt", "saved_model", "holds other files, such as 'notes.txt'"),
        ("model.tflite", "saved_model", "holds other files, such as 'model.tflite'"),
        ("1", "tflite", "holds other files, such as '1'"),
        ("model.onnx", "tflite", "holds other files, such as 'model.onnx'"),
        ("manifest.json", "tflite", "holds other files, such as 'manifest.json'"),
    ):
        folder = tmp_path / f"{format} over {name}"
        folder.mkdir()
        (folder / name).touch()
        assert_refused(model, folder, message, format)
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    for folder in (".", "..", tmp_path / "a"):
        with pytest.raises(UserError, match="is the current folder, or contains it"):
            model.export_detector(folder, "tflite")


def test_versions_count_up(tmp_path, model):
    from keras_actionformer.deploy.export import _target

    assert _target(tmp_path / "new", "saved_model").name == "1"
    for name in ("1", "9", "10", ".9.0123456789ab.part"):
        (tmp_path / name).mkdir()
    assert _target(tmp_path, "saved_model").name == "11"


def test_other_backends(tmp_path, monkeypatch, model):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert_refused(model, tmp_path / "export", "made with TensorFlow, but Keras runs on jax")


def test_half_precision(tmp_path):
    half = small_model(dtype="mixed_bfloat16")
    message = "computes in half precision: open it without a mixed dtype policy"
    assert_refused(half, tmp_path / "export", message)


@pytest.mark.parametrize(
    "format, module, package",
    [
        ("onnx", "tf2onnx", "tf2onnx"),
        ("onnx", "onnxruntime", "onnxruntime"),
        ("tflite", "ai_edge_litert.interpreter", "ai-edge-litert"),
    ],
)
def test_missing_extras(tmp_path, monkeypatch, model, format, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    message = rf"needs {package}: pip install 'keras-actionformer\[{format}\]'"
    assert_refused(model, tmp_path / "export", message, format)


@pytest.mark.slow
def test_no_warm_up_without_its_package(quickly, tmp_path, monkeypatch, model):
    monkeypatch.setitem(sys.modules, "tensorflow_serving", None)
    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
    folder, manifest = model.export_detector(tmp_path / "export")
    assert [path.name for path in (folder / "assets.extra").iterdir()] == ["model_card.json"]
    assert "assets.extra/tf_serving_warmup_requests" not in manifest["files"]
    second, _ = model.export_detector(tmp_path / "export")
    assert (folder.name, second.name) == ("1", "2")


@pytest.mark.slow
def test_a_name_of_several_lines_is_one_label(converter, tmp_path):
    names = ("run", "jump\nhigh", "f\u00e4llt")
    folder, _ = small_model(class_names=names).export_detector(tmp_path / "export", "tflite")
    labels = (folder / "labels.txt").read_bytes().decode("utf-8")
    assert labels == "run\njump high\nf\u00e4llt\n"


# === The program ===


@pytest.mark.parametrize(
    "options, message",
    [
        (["--output=x"], "Give either --preset=NAME or --workdir=DIR."),
        (["--output=x", "--preset=a", "--workdir=b"], "Give either --preset=NAME or --workdir="),
        (["--preset=simulated"], "--output"),
        (["--preset=simulated", "--output=x", "--format=coreml"], "saved_model|tflite|onnx"),
        (["--preset=simulated", "--output=x", "--batch_size=0"], "batch_size"),
        (["--preset=simulated", "--output=x", "--feats=no.npy"], "'no.npy' does not exist"),
    ],
)
def test_wrong_options(tmp_path, options, message):
    done = run_program(tmp_path, "export", *options)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("export: ") and message in line
    assert not done.stdout and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options, message",
    [
        (["--preset=simulate"], "did you mean 'simulated'"),
        (["--preset=simulated", "--precision=int8"], "is for the format 'tflite'"),
        (["--preset=simulated", "--feats=wrong.npy"], "take features like those that the model"),
    ],
)
def test_wrong_options_for_the_model(tmp_path, options, message):
    np.save(tmp_path / "wrong.npy", np.zeros((9, 5)))
    done = run_here(tmp_path, "export", "--output=x", *options)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr
    assert not done.stdout and not (tmp_path / "x").exists()


@pytest.mark.slow
def test_the_program(tmp_path, model):
    model.save_to_preset(tmp_path / "preset")
    for i, feats in enumerate(small_sequences((30, 50))):
        np.save(tmp_path / f"v{i}.npy", feats)
    done = run_program(
        tmp_path, "export", "--preset=preset", "--format=tflite", "--output=out",
        "--precision=float16", "--feats=v0.npy,v1.npy",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == "Exporting, then comparing with Keras ...\n"
    *told, compared, wrote = done.stdout.splitlines()
    assert told[0] == "input  feats              float32 (batch, time, 5): features"
    assert [line.split()[:2] for line in told] == [
        ["input", "feats"], ["input", "num_steps"], ["input", "fps"], ["input", "duration_sec"],
        ["output", "detection_segments"], ["output", "detection_scores"],
        ["output", "detection_classes"], ["output", "num_detections"],
    ]  # fmt: skip
    assert compared.startswith("Compared with Keras: 2 sequences (given; 30, 50 steps), 3 calls, ")
    assert "% of " in compared and " clear detections found; largest difference " in compared
    # The model, its manifest, and its classes' names and recommended scores.
    assert wrote.startswith(f"Wrote {tmp_path / 'out'} (4 files, ")
    assert ExportedModel(tmp_path / "out").manifest["precision"] == "float16"

    done = run_here(tmp_path, "export", "--preset=preset", "--output=served")
    assert done.returncode == 0, done.stderr
    assert " detections; largest difference " in done.stdout
    assert f"Wrote {tmp_path / 'served' / '1'} (" in done.stdout
    done = run_here(
        tmp_path, "export", "--preset=preset", "--format=tflite", "--output=raw", "--raw"
    )
    assert "output logits             float32 (batch, points, 3): the sigmoid" in done.stdout
    assert " strides in offsets.\n" in done.stdout
