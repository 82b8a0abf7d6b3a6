"""Presets: what is saved opens again, what is damaged is named, nothing good is lost."""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import types

import h5py
import keras
import numpy as np
import pytest

from helpers.golden_files import cases, load
from helpers.models import to_numpy
from helpers.small_run import eagerly, small_config, write_data
from keras_actionformer import (
    ActionFormer,
    FeatureGrid,
    PostProcess,
    Thresholds,
    UserError,
    evaluate,
    list_presets,
    train,
)
from keras_actionformer.data.annotation_files import load_annotations
from keras_actionformer.datasets.simulated import simulate_dataset
from keras_actionformer.evaluation.score_thresholds import score_above
from keras_actionformer.presets.builtin import ARCHITECTURES
from keras_actionformer.presets.presets import (
    model_metadata,
    store_thresholds,
    thresholds_file,
)

FILES = {"config.json", "metadata.json", "model.weights.h5", "README.md"}
ROOT = pathlib.Path(__file__).parents[2]


def make_model():
    keras.utils.set_random_seed(1)
    model = ActionFormer(
        6,
        3,
        backbone_arch=(1, 1, 2),
        embd_dim=8,
        fpn_dim=8,
        head_dim=8,
        n_head=2,
        n_mha_win_size=[5, 5, -1],
        use_rel_pe=True,
        max_seq_len=32,
        head_empty_cls=[1],
        postprocess=PostProcess(max_seg_num=25, min_score=0.001, nms_sigma=0.7),
        grid=FeatureGrid(25, 4, 16),
        class_names=("run", "jump", "fall"),
        thresholds=Thresholds(0.4, (0.3, None, 0.5)),
    )
    rng = np.random.default_rng(0)
    for variable in [*model.trainable_variables, model.positives_average.value]:
        variable.assign(to_numpy(variable) + rng.normal(0, 0.2, variable.shape))
    return model


@pytest.fixture(scope="module")
def model():
    """Tests leave it as it is."""
    return make_model()


@pytest.fixture(scope="module")
def feats():
    return np.random.default_rng(2).normal(size=(40, 6)).astype("float32")


@pytest.fixture(scope="module")
def detected(model, feats):
    """By the first call, as by every preset that is opened: later ones have other last digits."""
    return model.detect(feats)


def assert_same_detections(ours, theirs):
    np.testing.assert_array_equal(ours.segments_sec, theirs.segments_sec)
    np.testing.assert_array_equal(ours.scores, theirs.scores)
    assert ours.names == theirs.names


# === There and back ===


def test_what_is_saved_opens_as_it_was(model, feats, detected, tmp_path):
    model.save_to_preset(
        tmp_path / "a",
        description="One.",
        feature_encoder="I3D",
        licence="MIT",
        source="a run",
        scores={"0.5": 12.5},
    )
    assert {p.name for p in (tmp_path / "a").iterdir()} == FILES
    opened = ActionFormer.from_preset(tmp_path / "a")
    assert opened.config == model.config
    assert opened.postprocess == model.postprocess
    assert opened.grid == model.grid
    assert opened.class_names == model.class_names
    assert opened.thresholds == model.thresholds
    assert float(opened.positives_average.value) == float(model.positives_average.value)
    assert_same_detections(opened.detect(feats), detected)
    metadata = json.loads((tmp_path / "a" / "metadata.json").read_text())
    assert metadata["scores"] == {"0.5": 12.5}
    assert metadata["licence"] == "MIT"
    assert metadata["feature_encoder"] == "I3D"
    assert metadata["versions"]["keras"] == keras.__version__
    assert metadata["num_parameters"] == sum(
        int(np.prod(v.shape)) for v in model.trainable_variables
    )


def test_fresh_weights(model, tmp_path):
    model.save_to_preset(tmp_path / "a")
    fresh = ActionFormer.from_preset(tmp_path / "a", load_weights=False)
    assert fresh.config == model.config
    kernel = [v for v in fresh.trainable_variables if v.path == "backbone/embd_0/kernel"][0]
    saved = [v for v in model.trainable_variables if v.path == "backbone/embd_0/kernel"][0]
    assert not np.allclose(to_numpy(kernel), to_numpy(saved))
    assert fresh.thresholds is None  # those of the weights


@pytest.mark.parametrize("classes, names", [(5, ()), (["a", "b"], ("a", "b")), (3, ())])
def test_other_classes_replace_the_last_layer_only(model, tmp_path, classes, names):
    model.save_to_preset(tmp_path / "a")
    other = ActionFormer.from_preset(tmp_path / "a", num_classes=classes)
    count = classes if isinstance(classes, int) else len(classes)
    assert other.config["num_classes"] == count
    assert other.class_names == names
    assert other.config["head_empty_cls"] == [] and other.thresholds is None
    saved = {v.path: to_numpy(v) for v in model.trainable_variables}
    for variable in other.trainable_variables:
        if variable.path.startswith("heads/cls_head/out/"):
            assert variable.shape[-1] == count
            assert count != 3 or not np.allclose(to_numpy(variable), saved[variable.path])
        else:
            np.testing.assert_array_equal(to_numpy(variable), saved[variable.path])


@pytest.mark.parametrize(
    "arguments", [{"num_classes": ["fall", "sit", "run"]},
                  {"num_classes": 3, "class_names": ("fall", "sit", "run")}],
)  # fmt: skip
def test_a_class_of_the_same_name_keeps_what_it_has_learnt(model, tmp_path, arguments):
    model.save_to_preset(tmp_path / "a")
    other = ActionFormer.from_preset(tmp_path / "a", **arguments)
    assert other.class_names == ("fall", "sit", "run")
    saved = {v.path: to_numpy(v) for v in model.network_weights}
    for variable in other.network_weights:
        ours, theirs = to_numpy(variable), saved[variable.path]
        if variable.path.startswith("heads/cls_head/out/"):
            ours, theirs = ours[..., [0, 2]], theirs[..., [2, 0]]  # of run, jump, fall
        np.testing.assert_array_equal(ours, theirs, err_msg=variable.path)
    with pytest.raises(UserError, match="Give class names once"):
        ActionFormer.from_preset(tmp_path / "a", num_classes=["a"], class_names=["b"])


@pytest.mark.parametrize("named", [True, False])
def test_another_width_of_the_features_replaces_the_embedding_only(model, tmp_path, named):
    model.save_to_preset(tmp_path / "a", feature_encoder="I3D", source="a run")
    if not named:
        path = tmp_path / "a" / "metadata.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "class_names": []}))
    other = ActionFormer.from_preset(tmp_path / "a", input_dim=9)
    assert other.class_names == (model.class_names if named else ())
    assert other.provenance == {"licence": "", "source": "a run"}
    saved = {v.path: to_numpy(v) for v in model.network_weights}
    for variable in other.network_weights:
        if variable.path == "backbone/embd_0/kernel":
            assert variable.shape == (3, 9, 8)
        else:
            np.testing.assert_array_equal(to_numpy(variable), saved[variable.path])
    fresh = ActionFormer.from_preset(tmp_path / "a", load_weights=False, input_dim=9)
    assert fresh.config == other.config


def test_settings_can_be_changed(model, feats, tmp_path):
    model.save_to_preset(tmp_path / "a")
    other = ActionFormer.from_preset(
        tmp_path / "a",
        postprocess={"max_seg_num": 4},
        grid={"fps": 50},
        class_names=("x", "y", "z"),
        droppath=0.3,
    )
    assert other.postprocess == PostProcess(max_seg_num=4, min_score=0.001, nms_sigma=0.7)
    assert other.grid == FeatureGrid(50, 4, 16)
    assert other.config["droppath"] == 0.3
    found = other.detect(feats)
    assert set(found.names) <= {"x", "y", "z"}
    assert len(found) == 4


def test_a_training_run_opens(tmp_path):
    write_data(tmp_path)
    config = small_config(tmp_path)
    config.train.epochs = 1
    feats = np.load(tmp_path / "feats" / "v0.npy")
    with eagerly():
        trained = train(config, tmp_path / "run")
        opened = ActionFormer.from_preset(tmp_path / "run")
        assert opened.class_names == trained.class_names
        assert_same_detections(opened.detect(feats), trained.detect(feats))


def test_frozen_layers_are_saved_like_others(feats, detected, tmp_path):
    model = make_model()
    model.get_layer("backbone").trainable = False
    model.save_to_preset(tmp_path / "a")
    opened = ActionFormer.from_preset(tmp_path / "a")
    assert_same_detections(opened.detect(feats), detected)
    count = json.loads((tmp_path / "a" / "metadata.json").read_text())["num_parameters"]
    assert count == model.count_params() - 1  # without the loss normalizer


def test_the_dtype_is_that_of_the_call(model, tmp_path):
    model.save_to_preset(tmp_path / "a")
    for more in ({}, {"num_classes": 2}):
        half = ActionFormer.from_preset(tmp_path / "a", dtype="mixed_bfloat16", **more)
        assert half.get_layer("backbone").compute_dtype == "bfloat16"


def test_the_origin_travels_with_the_weights(model, tmp_path):
    model.save_to_preset(tmp_path / "a", licence="MIT", source="a run", scores={"0.5": 1})
    opened = ActionFormer.from_preset(tmp_path / "a")
    opened.save_to_preset(tmp_path / "b", source="another run")
    metadata = json.loads((tmp_path / "b" / "metadata.json").read_text())
    assert metadata["licence"] == "MIT"
    assert metadata["source"] == "another run"
    assert metadata["scores"] == {}  # they were those of the other weights
    fresh = ActionFormer.from_preset("ego4d_egovlp", load_weights=False, embd_dim=8, fpn_dim=8)
    assert fresh.provenance == {"feature_encoder": "EgoVLP"}


# === Built in ===


def test_built_in_presets_are_listed():
    assert list(list_presets()) == sorted([*ARCHITECTURES, "simulated"])
    assert list(list_presets("ego4d_*egovlp")) == [
        "ego4d_egovlp",
        "ego4d_omnivore_egovlp",
        "ego4d_slowfast_egovlp",
        "ego4d_slowfast_omnivore_egovlp",
    ]
    thumos = list_presets("thumos*")["thumos14_i3d"]
    assert thumos["scores"]["average"] == 66.83
    assert not thumos["has_weights"] and list_presets()["simulated"]["has_weights"]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_published_averages_are_those_of_the_published_scores(name):
    scores = dict(ARCHITECTURES[name].scores)
    average = scores.pop("average")
    # ActivityNet's is over ten thresholds, those of MultiTHUMOS and Charades over nine.
    if set(scores) not in ({"0.5", "0.75", "0.95"}, {"0.2", "0.5", "0.7"}):
        assert abs(np.mean(list(scores.values())) - average) < 0.011


def test_where_the_weights_of_a_built_in_architecture_are_is_told():
    with pytest.raises(UserError) as error:
        ActionFormer.from_preset("thumos14_i3d")
    lines = str(error.value).splitlines()
    assert len(lines) == 2
    assert "'thumos_i3d_reproduce'" in lines[0] and "MD5" in lines[0]
    assert "ActionFormer.from_preset('PATH/thumos_i3d_reproduce'" in lines[1]
    with pytest.raises(UserError) as error:
        ActionFormer.from_preset("thumos14_i3d_strong")
    lines = str(error.value).splitlines()
    assert len(lines) == 2 and "github.com/sming256/OpenTAD" in lines[0]
    assert "from_preset('epoch_N.pth', config='thumos14_i3d_strong')" in lines[1]


def test_a_built_in_architecture_with_fresh_weights():
    model = ActionFormer.from_preset(
        "ego4d_egovlp", num_classes=["a", "b"], load_weights=False, embd_dim=16, fpn_dim=16,
        head_dim=16,
    )  # fmt: skip
    assert model.config["num_classes"] == 2
    assert model.grid == FeatureGrid(30, 16, 16)
    assert model.postprocess.nms_sigma == 0.9
    assert model.config["use_abs_pe"] and len(model.strides) == 8


def test_the_bundled_preset_does_what_its_metadata_says(tmp_path):
    folder = ROOT / "keras_actionformer" / "presets" / "bundled" / "simulated"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 2e6
    model = ActionFormer.from_preset("simulated")
    annotations = simulate_dataset(tmp_path, num_train=0)
    feats = [np.load(tmp_path / "feats" / f"{v.video_id}.npy") for v in annotations.videos]
    found = model.detect(feats, duration_sec=[v.duration_sec for v in annotations.videos])
    detections = {v.video_id: d for v, d in zip(annotations.videos, found, strict=True)}
    result = evaluate(annotations.videos, detections, thresholds=model.thresholds)
    assert abs(100 * result.average_mean_ap - 87.76) < 0.1
    # The thresholds it recommends were found on the next 100 sequences. Is there a better one here?
    every = np.arange(0.25, 0.55, 0.001)
    best = max(score_above(annotations.videos, detections, float(x)).f1 for x in every)
    common = score_above(annotations.videos, detections, model.thresholds.common).f1
    assert 0.82 < best < 0.825
    assert best - 0.02 < common <= best and best - 0.02 < result.above_thresholds.f1
    # Of what bouts leave out more is wrong than right.
    bouts = {video_id: found.bouts(model.thresholds) for video_id, found in detections.items()}
    assert score_above(annotations.videos, bouts, 0.0).f1 > result.above_thresholds.f1


# === Thresholds ===


def test_thresholds_are_stored_in_a_preset_alone(model, tmp_path):
    model.save_to_preset(tmp_path / "a", description="One.", scores={"0.5": 12.5})
    before = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    opened = ActionFormer.from_preset(tmp_path / "a")
    opened.thresholds = Thresholds(0.25, (None, 0.75, None))
    store_thresholds(opened, thresholds_file(tmp_path / "a"))
    after = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    old, new = (json.loads(files.pop("metadata.json")) for files in (before, after))
    assert after == before  # and no half-written file lies beside them
    assert new == {**old, "thresholds": {"common": 0.25, "per_class": [None, 0.75, None]}}
    assert ActionFormer.from_preset(tmp_path / "a").thresholds == opened.thresholds


def test_thresholds_are_stored_in_a_run(model, feats, detected, tmp_path):
    model.save(tmp_path / "model.keras")
    opened = ActionFormer.from_preset(tmp_path)
    opened.thresholds = Thresholds(0.25)
    store_thresholds(opened, thresholds_file(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.thresholds == Thresholds(0.25)
    assert_same_detections(again.detect(feats), detected)


@pytest.mark.parametrize("preset", ["simulated", "thumos14_i3d", "hf://a/b", "absent"])
def test_thresholds_of_what_is_not_the_users_own(preset):
    with pytest.raises(UserError, match=rf"'{preset}' is no folder .*from_preset\('{preset}'\)"):
        thresholds_file(preset)


@pytest.mark.parametrize(
    "thresholds, text",
    [
        ({"common": 2, "per_class": [0.1]}, "has 1 in per_class, but num_classes=3"),
        ({"common": "high"}, "common must be a finite number, but it is 'high'"),
        ([0.1, 0.2], "thresholds must be a Thresholds, a dict of its fields or None"),
    ],
)
def test_damaged_thresholds(model, tmp_path, thresholds, text):
    model.save_to_preset(tmp_path / "a")
    path = tmp_path / "a" / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "thresholds": thresholds}))
    with pytest.raises(UserError, match=text):
        ActionFormer.from_preset(tmp_path / "a")


# === Reference checkpoints ===

NO_TORCH = """
import builtins, sys
imported = builtins.__import__
def guarded(name, *arguments, **more):
    if name.partition(".")[0] == "torch":
        raise ImportError("torch is not installed here")
    return imported(name, *arguments, **more)
builtins.__import__ = guarded
sys.path.insert(0, sys.argv[1])
import numpy as np
from keras_actionformer import ActionFormer, save_detections
model = ActionFormer.from_preset(sys.argv[2])
with np.load(sys.argv[3]) as videos:
    found = {
        name: model.detect(videos[name], fps=videos[name + " fps"].item(),
                           duration_sec=videos[name + " sec"].item())
        for name in videos.files if " " not in name
    }
assert "torch" not in sys.modules
np.savez(sys.argv[4], **{f"{n} {k}": getattr(d, k) for n, d in found.items()
                         for k in ("segments_sec", "scores", "labels")})
"""


@pytest.mark.parametrize("path", cases("j"))
@pytest.mark.parametrize("form", ["folder", "epoch_003_cudatag.pth.tar"])
def test_a_reference_checkpoint_gives_the_references_detections_without_torch(path, form, tmp_path):
    golden = load(path)
    config = golden["config_json"]
    source = path.parent if form == "folder" else path.parent / form
    if not source.exists() or not list(path.parent.glob("*.pth.tar")):
        pytest.skip("no checkpoint beside the numbers")
    annotations = load_annotations(path.parent / config["dataset"]["json_file"], outside="keep")
    videos = [v for name in config["val_split"] for v in annotations.subset(name)]
    arrays = {}
    for video in videos:
        feats = path.parent / config["dataset"]["feat_folder"] / f"{video.video_id}.npy"
        arrays[video.video_id] = np.load(feats)
        arrays[f"{video.video_id} fps"] = video.fps
        arrays[f"{video.video_id} sec"] = video.duration_sec
    np.savez(tmp_path / "videos.npz", **arrays)
    subprocess.run(
        [sys.executable, "-c", NO_TORCH, ROOT, source, tmp_path / "videos.npz",
         tmp_path / "found.npz"],
        check=True,
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
    )  # fmt: skip
    found = np.load(tmp_path / "found.npz")
    for video in videos:
        name = video.video_id
        mine = golden["eval/video_id"] == name
        np.testing.assert_allclose(
            found[f"{name} scores"], golden["eval/score"][mine], rtol=0, atol=1e-5
        )
        np.testing.assert_array_equal(found[f"{name} labels"], golden["eval/label"][mine])
        segments = np.stack([golden["eval/t-start"][mine], golden["eval/t-end"][mine]], axis=1)
        np.testing.assert_allclose(found[f"{name} segments_sec"], segments, rtol=0, atol=1e-4)


# === Damage ===


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda f: f.pop("backbone/embd_0/kernel"), "lacks the weight 'backbone/embd_0/kernel'"),
        (lambda f: f.create_dataset("a/b", data=1.0), "weight 'a/b', which the model has not"),
        (
            lambda f: (f.pop("heads/scale"), f.create_dataset("heads/scale", data=[1.0])),
            r"weight 'heads/scale' has shape \(1,\), but the model asks for \(3,\)",
        ),
        (
            lambda f: (f.pop("heads/scale"), f.create_dataset("heads/scale", data=[1, 2, 3])),
            "'heads/scale' must be real numbers in this file",
        ),
        (
            lambda f: (
                f.pop("heads/scale"),
                f.create_dataset("heads/scale", (3,), "f4", external=[("/etc/passwd", 0, 12)]),
            ),
            "'heads/scale' must be real numbers in this file",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(model, tmp_path, change, message):
    model.save_to_preset(tmp_path / "a")
    with h5py.File(tmp_path / "a" / "model.weights.h5", "r+") as file:
        change(file)
    with pytest.raises(UserError, match="is not the file that metadata.json tells of"):
        ActionFormer.from_preset(tmp_path / "a")
    write_sum(tmp_path / "a")
    with pytest.raises(UserError, match=message):
        ActionFormer.from_preset(tmp_path / "a")


def write_sum(folder):
    """Makes the metadata of a preset agree with its weights, as one made to deceive does."""
    metadata = json.loads((folder / "metadata.json").read_text())
    weights = (folder / "model.weights.h5").read_bytes()
    metadata["weights_sha256"] = hashlib.sha256(weights).hexdigest()
    (folder / "metadata.json").write_text(json.dumps(metadata))


def test_damaged_weights_are_not_shown_to_hdf5(model, tmp_path, monkeypatch):
    model.save_to_preset(tmp_path / "a")
    path = tmp_path / "a" / "model.weights.h5"
    content = path.read_bytes()
    monkeypatch.setattr(h5py, "File", None)  # it does not survive every one of them
    for place in range(0, len(content), len(content) // 9):
        path.write_bytes(content[:place] + b"\n" + content[place:])
        with pytest.raises(UserError, match="it is damaged or another one; get the preset again"):
            ActionFormer.from_preset(tmp_path / "a")


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("config.json", None, "config.json' does not exist: the preset is not complete"),
        ("metadata.json", None, "metadata.json' does not exist: the preset is not complete"),
        (
            "model.weights.h5",
            None,
            "model.weights.h5' does not exist, the file of the preset's weights: copy it",
        ),
        ("config.json", "{", "config.json' is damaged"),
        ("config.json", "[1]", "must hold a JSON object, but holds a list"),
        ("config.json", '{"input_dim": 6}', "has no 'num_classes'"),
        ("config.json", '{"input_dim": 6, "num_class": 1}', "did you mean 'num_classes'"),
        ("metadata.json", '{"grid": {"fp": 3}}', "'fp'.*did you mean 'fps'"),
        ("config.json", "[" * 100000, "config.json' is damaged"),
        ("model.weights.h5", "", "is not the file that metadata.json tells of"),
        ("model.weights.h5", "nothing", "it is damaged or another one"),
    ],
)
def test_damaged_files(model, tmp_path, name, text, message):
    model.save_to_preset(tmp_path / "a")
    path = tmp_path / "a" / name
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message):
        ActionFormer.from_preset(tmp_path / "a")


def test_weights_that_are_no_numbers(tmp_path):
    model = make_model()
    model.save_to_preset(tmp_path / "a")
    path = tmp_path / "a" / "model.weights.h5"
    with h5py.File(path, "r+") as file:
        file["heads/scale"][1] = np.nan
    write_sum(tmp_path / "a")
    with pytest.raises(UserError, match="weight 'heads/scale' is NaN or infinite somewhere"):
        ActionFormer.from_preset(tmp_path / "a")
    kernel = model.trainable_variables[0]
    kernel.assign(np.full(kernel.shape, np.inf))
    with pytest.raises(UserError, match="Weight 'backbone/embd_0/kernel' is NaN or infinite"):
        model.save_to_preset(tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_cut_weights(model, tmp_path):
    model.save_to_preset(tmp_path / "a")
    path = tmp_path / "a" / "model.weights.h5"
    whole = path.read_bytes()
    for size in range(1, len(whole), len(whole) // 7):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError):
            ActionFormer.from_preset(tmp_path / "a")


@pytest.mark.parametrize(
    "preset, message",
    [
        ("thumos14_i3", "did you mean 'thumos14_i3d'"),
        ("no/such/folder", "There is no preset 'no/such/folder'"),
        ("", "There is no preset ''|holds neither"),
        (".", "holds neither a preset"),
        ("a" * 5000, "cannot be read"),
    ],
)
def test_what_is_no_preset(tmp_path, monkeypatch, preset, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        ActionFormer.from_preset(preset)


def test_unknown_settings(model, tmp_path):
    model.save_to_preset(tmp_path / "a")
    with pytest.raises(UserError, match="'n_heads'.*did you mean 'n_head'"):
        ActionFormer.from_preset(tmp_path / "a", n_heads=2)
    with pytest.raises(UserError, match="lacks the weight 'backbone/branch_2|has shape"):
        ActionFormer.from_preset(tmp_path / "a", embd_dim=16, fpn_dim=16)


# === Saving ===


def test_an_interrupted_save_keeps_the_old_preset(model, tmp_path, monkeypatch):
    folder = tmp_path / "a"
    model.save_to_preset(folder, description="old")
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    for broken in ("dumps", "h5"):
        with monkeypatch.context() as patch:
            if broken == "dumps":
                patch.setattr(json, "dumps", _interrupt)
            else:
                patch.setattr(h5py, "File", _full_disk)
            with pytest.raises((KeyboardInterrupt, OSError)):
                model.save_to_preset(folder, description="new")
        assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
        assert [p.name for p in tmp_path.iterdir()] == ["a"]
    model.save_to_preset(folder, description="new")
    assert json.loads((folder / "metadata.json").read_text())["description"] == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def _interrupt(*arguments, **more):
    raise KeyboardInterrupt


def _full_disk(*arguments, **more):
    raise OSError(28, "No space left on device")


def test_a_kill_between_the_two_renames_loses_nothing(model, tmp_path, monkeypatch):
    folder = tmp_path / "a"
    model.save_to_preset(folder, description="old")
    replace, calls = os.replace, []

    def killed_at_the_second(source, target):
        calls.append(target)
        if len(calls) == 2:
            os._exit(9)
        replace(source, target)

    pid = os.fork()
    if pid == 0:
        os.replace = killed_at_the_second
        model.save_to_preset(folder, description="new")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    assert not folder.exists()
    ActionFormer.from_preset(folder)
    assert json.loads((folder / "metadata.json").read_text())["description"] == "old"


def test_a_folder_with_other_files_is_not_replaced(model, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="holds other files, such as 'thesis.tex'"):
        model.save_to_preset(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    with pytest.raises(UserError, match="is a file"):
        model.save_to_preset(tmp_path / "thesis.tex")


def test_a_link_leads_to_the_folder_that_is_replaced(model, tmp_path):
    model.save_to_preset(tmp_path / "a", description="old")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    model.save_to_preset(tmp_path / "link", description="new")
    assert (tmp_path / "link").is_symlink()
    assert json.loads((tmp_path / "a" / "metadata.json").read_text())["description"] == "new"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "link"]


def test_where_no_preset_goes(model, tmp_path, monkeypatch):
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    for folder in (".", "", "..", tmp_path):
        with pytest.raises(UserError, match="is the current folder, or contains it"):
            model.save_to_preset(folder)
    with pytest.raises(UserError, match="is an address"):
        model.save_to_preset("hf://a/b")
    with pytest.raises(UserError, match="what JSON can hold"):
        model.save_to_preset("c", scores={"x": object()})
    model.save_to_preset("c", scores={"x": np.float32(0.5)})
    assert json.loads(pathlib.Path("c", "metadata.json").read_text())["scores"] == {"x": 0.5}


def test_writers_at_the_same_time(model, tmp_path):
    """The later one stays; none fails and none leaves anything behind."""
    failures = []

    def save(description):
        try:
            for _ in range(5):
                model.save_to_preset(tmp_path / "a", description=description)
        except Exception as error:  # for the main thread to tell
            failures.append(error)

    threads = [threading.Thread(target=save, args=(name,)) for name in "xyz"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    ActionFormer.from_preset(tmp_path / "a")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


# === Hub ===


def test_a_preset_on_a_hub(model, feats, detected, tmp_path, monkeypatch):
    model.save_to_preset(tmp_path / "uploaded")
    calls = []

    def snapshot_download(repo_id, revision=None, allow_patterns=None):
        calls.append((repo_id, revision))
        folder = tmp_path / "cache"
        folder.mkdir(exist_ok=True)
        for name in allow_patterns:
            shutil.copy(tmp_path / "uploaded" / name, folder)
        return str(folder)

    def list_repo_files(repo_id, revision=None):
        return [path.name for path in (tmp_path / "uploaded").iterdir()] + ["more.pth"]

    hub = types.SimpleNamespace(
        snapshot_download=snapshot_download, list_repo_files=list_repo_files
    )
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    opened = ActionFormer.from_preset("hf://someone/kitchen")
    assert_same_detections(opened.detect(feats), detected)
    ActionFormer.from_preset("hf://someone/kitchen@v2")
    assert calls == [("someone/kitchen", None), ("someone/kitchen", "v2")]


def test_what_can_go_wrong_on_a_hub(monkeypatch):
    def snapshot_download(*arguments, **more):
        raise ConnectionError("no route to host\nmore")

    hub = types.SimpleNamespace(
        snapshot_download=snapshot_download, list_repo_files=snapshot_download
    )
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    with pytest.raises(UserError, match="^hf://a/b cannot be downloaded: no route to host$"):
        ActionFormer.from_preset("hf://a/b")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"pip install 'keras-actionformer\[hub\]'"):
        ActionFormer.from_preset("hf://a/b")


def test_scores_belong_to_the_weights(tmp_path):
    """They go into what is exported, and neither to fresh weights nor to other classes."""
    model = ActionFormer.from_preset("simulated")
    assert model_metadata(model)["scores"]["average"] == 87.76
    assert "scores" not in model_metadata(ActionFormer.from_preset("simulated", num_classes=5))
    fresh = ActionFormer.from_preset("simulated", load_weights=False)
    assert "scores" not in model_metadata(fresh)
    model.save_to_preset(tmp_path / "saved")  # which does not know whether it was trained since
    saved = json.loads((tmp_path / "saved" / "metadata.json").read_text())
    assert saved["scores"] == {} and saved["feature_encoder"] == "simulated"
