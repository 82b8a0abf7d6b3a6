"""`detect --export` and `ExportedModel.detect`: as with the model, and without TensorFlow."""

import dataclasses
import json
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

from helpers.exports import LENGTHS, detect, small_sequences
from helpers.models import CHANNELS
from helpers.programs import ROOT, run_here
from keras_actionformer import ActionFormer, UserError, load_detections, simulate_dataset
from keras_actionformer.data.sidecars import Sidecar
from keras_actionformer.deploy.exported import ExportedModel

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="exports are made with TensorFlow"
)

SIDECAR = Sidecar(25.0, 4, 16, duration_sec=7.0, num_frames=175)
FORMATS = ["tflite", "saved_model", pytest.param("onnx", marks=pytest.mark.slow)]
RUNTIMES = {"tflite": "ai_edge_litert", "onnx": "onnxruntime"}


@pytest.fixture(scope="module")
def presets(model, tmp_path_factory):
    """The folder of a preset of the model."""
    folder = tmp_path_factory.mktemp("presets") / "small"
    model.save_to_preset(folder)
    return folder


@pytest.fixture
def feats(tmp_path):
    """A folder with the features of four videos, one of which tells its own timing."""
    folder = tmp_path / "feats"
    folder.mkdir()
    for i, x in enumerate(small_sequences()):
        np.save(folder / f"v{i}.npy", x)
    SIDECAR.save(folder / "v1.npy")
    return folder


def assert_same(found, expected):
    assert len(found) == len(expected) > 0
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.segments_sec, expected.segments_sec, rtol=0, atol=1e-4)
    assert found.class_names == expected.class_names


def by_time(found):
    starts, ends = found.segments_sec.T
    return found[np.lexsort((ends, starts, found.labels))]


# === In Python ===


@pytest.mark.parametrize("format", FORMATS)
def test_one_sequence_or_many(export, model, format):
    pytest.importorskip(RUNTIMES.get(format, "tensorflow"))
    exported, sequences = ExportedModel(export(format)), small_sequences()
    rates, durations_sec = [None, 30, 12.5, None], [None, 4.0, None, 0.5]
    found = exported.detect(sequences, rates, durations_sec)
    for x, detections, fps, duration_sec in zip(
        sequences, found, rates, durations_sec, strict=True
    ):
        assert_same(detections, detect(model, x, fps, duration_sec))
    assert_same(
        exported.detect(sequences[2].astype("float64"), fps=30), detect(model, sequences[2], 30)
    )
    assert exported.told.thresholds == model.thresholds and exported.told.grid == model.grid
    assert exported.input_dim == CHANNELS and not exported.needs("fps")


@pytest.mark.slow
def test_what_is_fixed_in_an_export(export, model):
    exported = ExportedModel(export("tflite", batch_size=2, num_steps=50))
    short, long = small_sequences((30, 51))
    assert_same(exported.detect(short), detect(model, short))
    with pytest.raises(UserError, match=r"feats\[1\] has 51 steps, but '.*' was exported for 50: "):
        exported.detect([short, long])


@pytest.mark.slow
def test_an_export_of_raw_outputs(export):
    with pytest.raises(UserError, match="gives logits and offsets, and no detections: export the"):
        ExportedModel(export("tflite", raw=True)).detect(small_sequences()[0])


@pytest.mark.parametrize(
    "changes, options, text",
    [
        ({"fps": None}, {}, "was trained on videos of several frame rates: pass fps"),
        ({"duration_sec": None}, {}, "has no timing of its own: pass duration_sec"),
        ({}, {"fps": -1}, "fps must be above 0"),
        ({}, {"duration_sec": [1, 2]}, "duration_sec has 2 values for 1 sequence"),
        ({"feats": np.nan}, {}, "feats has NaN or infinite values in 48 of 48 steps"),
        ({"class_names": ["a", "a"]}, {}, "manifest.json' cannot be used: class_names has 'a' 2"),
        ({"class_names": ["a"]}, {}, "manifest.json' cannot be used: thresholds has 3"),
    ],
)
def test_what_does_not_go(export, tmp_path, changes, options, text):
    folder = shutil.copytree(export("tflite"), tmp_path / "copy")
    manifest = json.loads((folder / "manifest.json").read_text())
    feats = small_sequences()[0] * changes.pop("feats", 1)
    for name in {"fps", "duration_sec"} & changes.keys():
        del manifest["inputs"][name]["default"]
    manifest.update({k: v for k, v in changes.items() if k == "class_names"})
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=text):
        ExportedModel(folder).detect(feats, **options)


# === The verb ===

ALONE = """
import sys
from keras_actionformer.cli import main
try:
    main()
finally:
    print("Loaded:", *sys.modules)
"""


def detect_alone(folder, *options):
    """Runs `detect` in a process of its own; returns what it prints, and what it has loaded."""
    done = subprocess.run(
        [sys.executable, "-c", ALONE, "detect", *map(str, options)],
        cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0 and not done.stderr, done.stderr
    printed, loaded = done.stdout.split("Loaded:")
    return printed, loaded.split()


def assert_same_text(found, expected):
    """Numbers may be rounded the other way."""
    words, others = (text.replace(",", " ").split() for text in (found, expected))
    assert len(words) == len(others)
    for word, other in zip(words, others, strict=True):
        assert word == other or float(word) == pytest.approx(float(other), abs=0.0101)


@pytest.mark.parametrize("format", ["tflite", pytest.param("onnx", marks=pytest.mark.slow)])
def test_as_with_the_model_and_without_tensorflow(export, presets, feats, tmp_path, format):
    """Bouts, their table, drafts of a labelling tool, and times that features tell."""
    pytest.importorskip(RUNTIMES[format])
    options = [
        f"--feats={feats}", "--bouts", "--min_length_sec=0.2", "--format=audacity",
        "--output=drafts", "--summary=counts.csv",
    ]  # fmt: skip
    for name in ("model", "export"):
        (tmp_path / name).mkdir()
    expected = run_here(tmp_path / "model", "detect", f"--preset={presets}", *options)
    assert expected.returncode == 0, expected.stderr
    printed, loaded = detect_alone(tmp_path / "export", f"--export={export(format)}", *options)
    assert_same_text(printed, expected.stdout)
    assert "fall" in printed
    assert {"keras", "tensorflow", "jax"}.isdisjoint(loaded) and RUNTIMES[format] in loaded
    for path in (tmp_path / "model").rglob("*.*"):
        other = tmp_path / "export" / path.relative_to(tmp_path / "model")
        assert_same_text(other.read_text(), path.read_text())


def test_a_run_of_several_streams(export, model, feats, tmp_path):
    """As of `--workdir`, a folder of features each."""
    folder = shutil.copytree(export("tflite"), tmp_path / "copy")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["num_streams"] == 1
    (folder / "manifest.json").write_text(json.dumps({**manifest, "num_streams": 2}))
    for i, x in enumerate(small_sequences()):
        for name, part in (("one", x[:, :2]), ("two", x[:, 2:])):
            (tmp_path / name).mkdir(exist_ok=True)
            np.save(tmp_path / name / f"v{i}.npy", part)
    done = run_here(tmp_path, "detect", "--export=copy", "--feats=one,two", "--output=d.json")
    assert done.returncode == 0, done.stderr
    found = load_detections(tmp_path / "d.json", model.class_names)
    for i, x in enumerate(small_sequences()):
        assert_same(found[f"v{i}"], detect(model, x))


def test_a_sequence_for_which_a_model_would_take_tiles(export, tmp_path, monkeypatch):
    monkeypatch.setattr("keras_actionformer.cli.detecting_models._MANY_STEPS", 60)
    np.save(tmp_path / "long.npy", small_sequences()[2])
    done = run_here(tmp_path, "detect", f"--export={export('tflite')}", "--feats=long.npy")
    assert done.returncode == 0
    assert done.stderr == (
        "Warning: 'long' has 61 steps, which run in one pass and take memory for all of them: "
        "tiles are for a run or a preset.\n"
    )


@pytest.mark.parametrize(
    "options, text",
    [
        (["--config.postprocess.nms_sigma=0.4"], "nms_sigma changes nothing without a model of"),
        (["--tile_steps=99"], "--tile_steps is for a run or a preset, not for an --export or a"),
        (["--preset=simulated"], "Give either --workdir=DIR, --preset=NAME, --export=DIR or"),
        (["--classes=labels.txt"], "--classes and --timeout are for --server"),
        (["--table=t", "--fps=3"], "either --table, or --fps"),
    ],
)
def test_options_that_are_not_for_an_export(export, feats, tmp_path, options, text):
    options = [f"--export={export('tflite')}", f"--feats={feats}", *options]
    done = run_here(tmp_path, "detect", *options)
    assert done.returncode == 2 and text in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_export_does_not_watch(tmp_path):
    done = run_here(tmp_path, "detect", "--export=e", "--watch=film.ts")
    assert done.stderr == "detect: --export is not for --watch: leave it out.\n"


def test_features_of_another_encoder(export, feats, tmp_path):
    folder = shutil.copytree(export("tflite"), tmp_path / "copy")
    manifest = json.loads((folder / "manifest.json").read_text())
    record = {"name": "motion", "sha256": "0" * 64}
    (folder / "manifest.json").write_text(json.dumps({**manifest, "encoder": record}))
    other = dataclasses.replace(SIDECAR, encoder={**record, "sha256": "1" * 64})
    other.save(feats / "v1.npy")
    options = [f"--export={folder}", f"--feats={feats / 'v1.npy'}"]
    done = run_here(tmp_path, "detect", *options)
    assert done.returncode == 2 and "encoder.sha256" in done.stderr
    assert "--any_encoder" in done.stderr
    assert run_here(tmp_path, "detect", *options, "--any_encoder").returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("format", ["tflite", "onnx"])
def test_the_simulated_videos(checked_by_one_process, tmp_path, format):
    pytest.importorskip(RUNTIMES[format])
    simulate_dataset(tmp_path / "data", num_train=1, num_test=6)
    model = ActionFormer.from_preset("simulated")
    with checked_by_one_process():
        model.export_detector(tmp_path / "export", format)
    _, loaded = detect_alone(tmp_path, "--export=export", "--feats=data/feats", "--output=d.json")
    assert {"keras", "tensorflow"}.isdisjoint(loaded)
    found = load_detections(tmp_path / "d.json", model.class_names)
    assert len(found) == 7
    for video_id, detections in found.items():
        expected = model.detect(np.load(tmp_path / "data" / "feats" / f"{video_id}.npy"))
        # Of hundreds, some have the same score but for the last digit.
        assert_same(by_time(detections), by_time(expected))
        assert max(LENGTHS) < len(detections)
