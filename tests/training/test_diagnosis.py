"""Faults are planted in a good data set, one at a time: each must be found, and stop a training."""

import json
import os
import re

import keras
import numpy as np
import pytest

from helpers.programs import ROOT, run_here, run_program
from helpers.small_run import eagerly, small_config, write_data
from keras_actionformer.data.annotation_files import load_annotations
from keras_actionformer.errors import UserError
from keras_actionformer.training import run_scores, settings_warnings, trainer
from keras_actionformer.training.diagnosis import diagnose
from keras_actionformer.training.experiment import Experiment

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="training pipelines are TensorFlow's"
)


@pytest.fixture
def good(tmp_path, monkeypatch):
    """A folder with a good data set at 25 frames a second, a feature a second, and its settings."""
    for least in ("_FEWEST_STEPS", "_FEWEST_ACTIONS"):  # it is too small to learn from
        monkeypatch.setattr(settings_warnings, least, 1)
    write_data(tmp_path)
    change(tmp_path, lambda database: [video.update(fps=25) for video in database.values()])
    config = small_config(tmp_path)
    config.data.stride_frames = config.data.window_frames = 25.0
    config.model.backbone_arch = (1, 0, 2)
    config.train.ema = "auto"
    return tmp_path, config


def change(folder, function):
    """Applies a function to the videos of the annotation file."""
    path = folder / "annotations.json"
    content = json.loads(path.read_text())
    function(content["database"])
    path.write_text(json.dumps(content))


def annotation(change_database):
    """A fault in the annotation file: a function of its dict of videos."""
    return lambda folder, config: change(folder, change_database)


def segment(value, video="v0", index=0):
    """A fault: one segment has this value."""
    return annotation(lambda database: database[video]["annotations"][index].update(segment=value))


def each_action(function):
    """A fault in every annotation: a function of its dict."""

    def change_database(database):
        for video in database.values():
            for action in video["annotations"]:
                function(action)

    return annotation(change_database)


def feats(function, name="v1"):
    """A fault in a feature file: a function of its array."""

    def plant(folder, config):
        path = folder / "feats" / f"{name}.npy"
        np.save(path, function(np.load(path)))

    return plant


def content(function, name="v1"):
    """A fault in a feature file: a function of its bytes."""

    def plant(folder, config):
        path = folder / "feats" / f"{name}.npy"
        path.write_bytes(function(path.read_bytes()))

    return plant


def setting(section, name, value):
    """A fault in the configuration."""

    def plant(folder, config):
        (config[section] if section else config)[name] = value

    return plant


def sliding(folder, config):
    config.data.window_steps = 16
    config.model.force_upsampling = True


def with_value(value):
    def put(array):
        array[3, 1] = value
        return array

    return put


def in_half(largest):
    """A fault: features to be kept as float16, some of which are not up to it."""

    def plant(folder, config):
        config.data.feats_dtype = "float16"
        feats(lambda x: x / abs(x).max() * largest)(folder, config)

    return plant


def as_npz(folder, config):
    for path in (folder / "feats").iterdir():
        np.savez(path.with_suffix(".npz"), features=np.load(path))
    config.data.suffix = ".npz"


def times_without_durations(factor):
    """A fault: times in frames or milliseconds, and no durations that would show it at once."""

    def change_database(database):
        for video in database.values():
            del video["duration"]
            for action in video["annotations"]:
                action["segment"] = [factor * time for time in action["segment"]]

    return annotation(change_database)


def move_ids(action):
    action["label_id"] += 1


def swap_id_once(database):
    action = database["v0"]["annotations"][0]
    action["label_id"] = 1 - action["label_id"]


def same_id(action):
    action["label_id"] = 0


def scale_times(action):
    action["segment"] = [25 * time for time in action["segment"]]


def scale_durations(database):
    for video in database.values():
        video["duration"] *= 1000


# (name, how it is planted in the folder and the configuration, what the sentence says)
FAULTS = [
    # Settings.
    ("unknown suppression", setting("postprocess", "nms_method", "sot"), "did you mean 'soft'?"),
    ("no width", setting("postprocess", "nms_sigma", 0.0), "nms_sigma must be above 0"),
    ("share of nothing", setting("data", "trunc_thresh", 0.0), "trunc_thresh must lie in (0, 1]"),
    ("share above all", setting("data", "trunc_thresh", 1.5), "trunc_thresh must lie in (0, 1]"),
    ("crops above all", setting("data", "crop_ratio", (1.1, 2)), "crop_ratio must be (low, high)"),
    ("crops of one", setting("data", "crop_ratio", (0.9,)), "crop_ratio must be (low, high)"),
    ("long windows", setting("data", "window_steps", 500), "window_steps must be at most max_seq"),
    ("windows of resized", sliding, "resized to one length or cut to sliding windows, not both"),
    ("other time unit", setting("data", "time_unit", "sec"), "time_unit must be one of"),
    ("no step kept", setting("data", "downsample_rate", 0), "downsample_rate must be at least 1"),
    ("negative seed", setting(None, "seed", -1), "seed must be 0 or more"),
    ("large seed", setting(None, "seed", 2**32), "seed must be 0 or more"),
    ("other type", setting("data", "feats_dtype", "float61"), "feats_dtype must be one of float32"),
    ("stride is a text", setting("data", "stride_frames", "4"), "data.stride_frames must be"),
    ("no channels", setting("model", "input_dim", 0), "must set model.input_dim: it is 0"),
    # The annotation file.
    ("no file", lambda f, c: (f / "annotations.json").unlink(), "does not exist"),
    ("no JSON", lambda f, c: (f / "annotations.json").write_text("{,}"), "not valid JSON"),
    ("empty", lambda f, c: (f / "annotations.json").write_text("{}"), "lacks the field 'database'"),
    ("no video", annotation(lambda d: d.clear()), "holds no video"),
    ("no subset", annotation(lambda d: d["v0"].pop("subset")), "lacks the field 'subset'"),
    ("no segment", each_action(lambda a: a.pop("segment")), "lacks the field 'segment'"),
    # Labels.
    ("ids off by one", each_action(move_ids), "label_id 2 of label 'b' is outside 0..1"),
    ("negative id", each_action(lambda a: a.update(label_id=-1)), "label_id -1"),
    ("one id, two names", each_action(same_id), "give every label its own id"),
    ("one id swapped", annotation(swap_id_once), "but elsewhere"),
    ("too few classes", setting("model", "num_classes", 1), "is outside 0..0"),
    # Times.
    ("negative start", segment([-3, 2]), "starts before 0 s"),
    ("end before start", segment([6, 4]), "must end after it starts"),
    ("no length", segment([4, 4]), "must end after it starts"),
    ("NaN time", segment([float("nan"), 4]), "must be two finite numbers"),
    ("text as time", segment(["0:03", 4]), "must be two finite numbers"),
    ("end past the video", segment([2, 99]), "ends after the video's duration"),
    ("all times in frames", each_action(scale_times), "after the video's duration"),
    ("frames, no durations", times_without_durations(25), "are the times frames or milliseconds?"),
    ("milliseconds, no durations", times_without_durations(1000), "are the times frames or"),
    ("durations in ms", annotation(scale_durations), "do not fit the videos' durations"),
    # Subsets.
    ("unknown subset", setting("data", "train_subset", "trainig"), "did you mean 'training'?"),
    (
        "no training video",
        annotation(lambda d: [v.update(subset="test") for v in d.values()]),
        "No video has the subset 'training'",
    ),
    (
        "no action",
        annotation(lambda d: [v.update(annotations=[]) for v in d.values()]),
        "No training video has an action",
    ),
    ("large batches", setting("train", "batch_size", 5), "batch_size is 5 but there are 4"),
    # Timing.
    ("no fps", annotation(lambda d: d["v2"].pop("fps")), "'v2' has no 'fps'"),
    ("twice the fps", setting("data", "fps", 50.0), "fps=25 or stride_frames=50 would fit"),
    ("half the stride", setting("data", "stride_frames", 12.5), "stride_frames is likely wrong"),
    ("twice the stride", setting("data", "stride_frames", 50.0), "stride_frames is likely wrong"),
    (
        "ranges in seconds",
        setting("model", "regression_range", ((0, 0.1), (0.1, 0.2), (0.2, 0.3))),
        "No level of the model learns any of the",
    ),
    ("times in minutes", times_without_durations(1 / 60), "are the times seconds, not minutes"),
    # Feature files.
    ("no folder", setting("data", "feats", "nowhere"), "'nowhere', which does not exist"),
    ("wrong suffix", setting("data", "suffix", "_rgb.npy"), "v0_rgb.npy' does not exist"),
    ("no features", lambda f, c: (f / "feats" / "v1.npy").unlink(), "v1.npy' does not exist"),
    ("no bytes", content(lambda b: b""), "cannot be read"),
    ("half a file", content(lambda b: b[: len(b) // 2]), "cannot be read"),
    ("a web page", content(lambda b: b"<!DOCTYPE html><html>"), "cannot be read"),
    ("no steps", feats(lambda x: x[:0]), "is empty: its shape is (0, 4)"),
    ("NaN", feats(with_value(np.nan)), "NaN or infinite value at step 3"),
    ("infinite", feats(with_value(np.inf)), "NaN or infinite value at step 3"),
    (
        "too wide",
        feats(lambda x: np.hstack([x, x])),
        "; correct model.input_dim or take other features",
    ),
    ("transposed", feats(lambda x: x.T), "seems to be transposed"),
    ("one axis", feats(np.ravel), "must have the shape (time steps, channels)"),
    ("three axes", feats(lambda x: x[None]), "must have the shape (time steps, channels)"),
    ("texts", feats(lambda x: x.astype(str)), "must hold real numbers"),
    ("objects", feats(lambda x: x.astype(object)), "cannot be read"),
    ("complex", feats(lambda x: x.astype("complex64")), "must hold real numbers"),
    ("other key", as_npz, "has no array 'feats', only 'features'"),
    ("zeros", feats(np.zeros_like), "v1.npy' holds only zeros"),
    ("beyond float16", in_half(1e5), "v1.npy' has values up to 1e+05, beyond 65504, the largest"),
    ("below float16", in_half(1e-6), "v1.npy' has values of 1e-06 at most, but below 6.104e-05"),
    ("constant", feats(lambda x: np.tile(x[:1], (len(x), 1))), "is the same at every step"),
]


@pytest.fixture(scope="module")
def models():
    """What `build_model` made, by settings and class names: building one takes a second."""
    return {}


@pytest.fixture
def build_once(models, monkeypatch):
    build = Experiment.build_model

    def build_model(experiment, annotations):
        key = (experiment.config.model.to_json(), annotations.class_names)
        if key not in models:
            models[key] = build(experiment, annotations)
        return models[key]

    monkeypatch.setattr(Experiment, "build_model", build_model)


@pytest.mark.parametrize("plant, text", [fault[1:] for fault in FAULTS], ids=[f[0] for f in FAULTS])
def test_a_fault_is_found_and_stops_the_training(good, build_once, monkeypatch, plant, text):
    folder, config = good
    plant(folder, config)
    monkeypatch.setattr(trainer.ActionFormer, "fit", lambda *_, **__: pytest.fail("trains"))
    diagnosis = diagnose(config)
    assert diagnosis.errors and text in diagnosis.errors[0]
    assert diagnosis.errors[0] in str(diagnosis)
    with pytest.raises(UserError, match=f"^{re.escape(diagnosis.errors[0])}$"):
        trainer.train(config, folder / "run")
    assert not list((folder / "run").glob("*"))


def test_validation_data_is_kept_in_the_type_of_training_data(good):
    folder, config = good
    in_half(1e5)(folder, config)
    feats(lambda x: x / abs(x).max())(folder, config)  # what is learnt is right again
    feats(lambda x: x / abs(x).max() * 1e5, "v5")(folder, config)
    assert not diagnose(config).errors  # an evaluation does not keep them
    config.data.val_subset = "test"
    (error,) = diagnose(config).errors
    assert "v5.npy' has values up to 1e+05, beyond 65504" in error
    with pytest.raises(UserError, match=f"^{re.escape(error)}$"):
        trainer.train(config, folder / "run")


def test_good_data_is_trained_on(good, monkeypatch):
    folder, config = good
    diagnosis = diagnose(config)
    assert diagnosis.problems == () and "No errors." in str(diagnosis)

    class Trains(Exception):
        pass

    def fit(*_, **__):
        raise Trains

    monkeypatch.setattr(trainer.ActionFormer, "fit", fit)
    with pytest.raises(Trains):
        trainer.train(config, folder / "run")


# --- warnings ------------------------------------------------------------------------------------


def repeat(database):
    actions = database["v0"]["annotations"]
    actions.append(actions[0])


def copy_features(folder, config):
    """Test video v4 has the features of training video v0."""
    feats = np.load(folder / "feats" / "v0.npy")
    np.save(folder / "feats" / "v4.npy", feats)
    change(folder, lambda d: d["v4"].update(duration=d["v0"]["duration"], annotations=[]))


def keep_outside(folder, config):
    config.data.outside = "keep"
    change(folder, lambda d: d["v0"]["annotations"][-1]["segment"].__setitem__(1, 99))


def third_class(folder, config):
    """Only the evaluation has the class 'c'."""
    config.model.num_classes = 3
    change(folder, lambda d: d["v4"]["annotations"][0].update(label="c", label_id=2))


def like_another(folder, config):
    config.model.num_classes = 3
    change(folder, lambda d: d["v0"]["annotations"][0].update(label="A", label_id=2))


def leave_out(folder, config):
    config.data.missing_features = "skip"
    (folder / "feats" / "v0.npy").unlink()


WARNINGS = [
    ("too many classes", setting("model", "num_classes", 4), "2 of 4 classes have no training"),
    ("class to evaluate only", third_class, "1 of 3 classes of the evaluation subset have no"),
    ("nearly the same name", like_another, "The classes 'a' and 'A' differ in spelling only"),
    ("twice", annotation(repeat), " actions are annotated twice (same label and times)"),
    ("below a millisecond", segment([2, 2.0005]), " actions are shorter than a millisecond"),
    ("below a step", segment([2.1, 2.3]), "1 of them are shorter than one step"),
    ("past the end, kept", keep_outside, " actions start before their video or end after it"),
    ("longer than max_seq_len", setting("model", "max_seq_len", 5), "are never seen whole"),
    (
        "no action in one",
        annotation(lambda d: d["v0"].update(annotations=[])),
        "1 of 4 training videos have no action: 'v0'",
    ),
    (
        "misspelt subset",
        annotation(lambda d: d["v0"].update(subset="trainng")),
        "The subset 'trainng', of 1 of 6 videos, is not used; did you mean 'training'?",
    ),
    ("evaluated on training", setting("data", "eval_subset", "training"), "will be too good"),
    ("one short file", feats(lambda x: x[:10]), "The features of 1 of 4 videos do not fit"),
    ("copied features", copy_features, "'v0' (training) and 'v4' (test) have the same features"),
    (
        "feature file too many",
        lambda f, c: np.save(f / "feats" / "w.npy", np.ones((4, 4))),
        "1 of the feature files in",
    ),
    ("left out", leave_out, "1 of 4 videos of the subset 'training' have no features ('v0') and"),
    ("zeros to evaluate", feats(np.zeros_like, "v4"), "v4.npy' holds only zeros"),
]


@pytest.mark.parametrize(
    "plant, text", [case[1:] for case in WARNINGS], ids=[case[0] for case in WARNINGS]
)
def test_what_looks_wrong_is_a_warning(good, plant, text):
    folder, config = good
    plant(folder, config)
    diagnosis = diagnose(config)
    assert not diagnosis.errors
    assert any(text in sentence for sentence in diagnosis.warnings), diagnosis.warnings


# --- several faults, evaluation ------------------------------------------------------------------


def test_every_fault_is_told_and_the_rest_is_reported(good):
    folder, config = good
    segment([6, 4])(folder, config)
    segment([-3, 4], video="v1")(folder, config)
    feats(with_value(np.nan), "v2")(folder, config)
    feats(lambda x: x.T, "v3")(folder, config)
    config.train.batch_size = 1
    diagnosis = diagnose(config)
    texts = ["video 'v0', annotation 0", "video 'v1', annotation 0", "v2.npy", "v3.npy"]
    assert len(diagnosis.errors) == len(texts)
    assert all(text in error for text, error in zip(texts, diagnosis.errors, strict=True))
    assert diagnosis.statistics["subsets"]["training"]["videos"] == 2


def test_evaluation_data_is_checked_as_before_a_training(good):
    folder, config = good
    feats(with_value(np.nan), "v5")(folder, config)
    (error,) = diagnose(config).errors
    with pytest.raises(UserError, match=f"^{re.escape(error)}$"):
        run_scores.check_evaluation(config)
    config.data.eval_subset = ""
    assert not diagnose(config).errors


def video_scores(classes="ab", videos=("v4", "v5")):
    """A fault: a file of video scores of these classes and videos, topk the two best."""

    def plant(folder, config):
        path = folder / "scores.csv"
        rows = [f"{video},{','.join('1' for _ in classes)}" for video in videos]
        path.write_text("\n".join([f"video,{','.join(classes)}", *rows]))
        config.fusion.video_scores = str(path)

    return plant


def fusion(name, value):
    def plant(folder, config):
        video_scores()(folder, config)
        config.fusion[name] = value

    return plant


EVALUATION_FAULTS = [
    ("percent", setting(None, "tiou_thresholds", (30, 50)), "tiou_thresholds must be one or more"),
    ("no threshold", setting(None, "tiou_thresholds", ()), "tiou_thresholds must be one or more"),
    ("many classes", fusion("topk", 3), "topk must be a whole number in 1..2"),
    ("no class", fusion("topk", 0), "topk must be a whole number in 1..2"),
    ("no segment", fusion("num_pred", 0), "num_pred must be a whole number 1 or larger"),
    ("unscored video", video_scores(videos=["v4"]), "1 of 2 videos with detections have no video"),
    ("no such subset", setting("data", "eval_subset", "tset"), "did you mean 'test'?"),
    (
        "nothing to find",
        annotation(lambda d: [d[name].update(annotations=[]) for name in ("v4", "v5")]),
        "The ground truth holds no instance to find",
    ),
]


@pytest.mark.parametrize(
    "plant, text", [case[1:] for case in EVALUATION_FAULTS], ids=[c[0] for c in EVALUATION_FAULTS]
)
def test_what_would_stop_the_evaluation_is_told_before_the_training(good, plant, text):
    folder, config = good
    assert [v.video_id for v in run_scores.check_scoring(config)] == ["v4", "v5"]
    plant(folder, config)
    (error,) = diagnose(config).errors
    assert text in error
    with pytest.raises(UserError, match=f"^{re.escape(error)}$"):
        run_scores.check_evaluation(config)


def test_training_data_comes_before_evaluation_data(good):
    folder, config = good
    for name in ("v4", "v3"):
        feats(with_value(np.nan), name)(folder, config)
    config.tiou_thresholds = ()
    errors = diagnose(config).errors
    assert "v3.npy" in errors[0] and "tiou_thresholds" in errors[1] and "v4.npy" in errors[2]


def test_of_many_missing_files_the_number_is_told(tmp_path):
    write_data(tmp_path, num_videos=40)
    config = small_config(tmp_path)
    for i in range(30):
        (tmp_path / "feats" / f"v{i}.npy").unlink()
    errors = diagnose(config).errors
    assert len(errors) == 21 and "v19.npy' does not exist" in errors[19]
    assert errors[20] == "30 of 38 videos of the subset 'training' have no features."


def test_subset_of_videos_without_one(good):
    folder, config = good
    change(folder, lambda d: [d[name].pop("subset") for name in ("v0", "v1", "v2", "v3")])
    assert "lacks the field 'subset'" in diagnose(config).errors[0]
    config.data.default_subset = "training"
    assert not diagnose(config).problems


# --- numbers -------------------------------------------------------------------------------------


def test_numbers_by_hand(good):
    folder, config = good
    for name, seconds in (("v0", 40), ("v1", 20), ("v2", 30), ("v3", 30), ("v4", 40), ("v5", 30)):
        np.save(folder / "feats" / f"{name}.npy", np.random.default_rng(seconds).normal(
            size=(seconds, 4)))  # fmt: skip
        change(folder, lambda d: d[name].update(duration=seconds, annotations=[]))
    actions = [
        {"label": "a", "label_id": 0, "segment": [0, 4]},
        {"label": "a", "label_id": 0, "segment": [2, 6]},  # seconds 2 to 4 count once
        {"label": "b", "label_id": 1, "segment": [10, 30]},
    ]
    change(folder, lambda d: d["v0"].update(annotations=actions))
    done = []
    diagnosis = diagnose(config, progress=lambda *counts: done.append(counts))
    assert done == [(i, 6) for i in range(1, 7)]
    numbers = json.loads(json.dumps(diagnosis.to_dict()))
    training = numbers["subsets"]["training"]
    assert training["videos"] == 4 and training["videos_without_actions"] == 3
    assert training["actions"] == 3 and training["hours"] == pytest.approx(120 / 3600)
    assert training["share_in_actions"] == pytest.approx(26 / 120)
    assert [c["actions"]["training"] for c in numbers["classes"]] == [2, 1]
    assert [c["median_sec"] for c in numbers["classes"]] == [4, 20]
    lengths = numbers["action_lengths_sec"]
    assert lengths["quantiles"]["min"] == 4 and lengths["quantiles"]["max"] == 20
    # [4, 8), [8, 16), [16, 32]
    assert lengths["histogram"] == {"edges": [4, 8, 16, 32], "counts": [2, 0, 1]}
    assert numbers["features"]["channels"] == [4]
    assert numbers["features"]["steps"]["max"] == 40
    pyramid = numbers["pyramid"]
    assert (pyramid["max_seq_len"], pyramid["videos_longer"]) == (32, 1)
    assert (pyramid["actions"], pyramid["actions_longer_than_half"]) == (3, 1)
    # Levels (0, 4), (4, 8), (8, 10000) at 1, 2, 4 steps: half of 20 steps belongs to the last.
    assert [level["actions"] for level in pyramid["levels"]] == [2, 0, 1]
    assert not pyramid["unlearnt"]


def test_videos_that_train_and_are_scored_are_counted_once(good):
    _, config = good
    assert diagnose(config).statistics["features"]["videos"] == 6
    config.data.eval_subset = "training"
    assert diagnose(config).statistics["features"]["videos"] == 4


def test_resized_sequences_are_counted_at_their_new_length(good):
    _, config = good
    config.model.force_upsampling = True
    config.model.max_seq_len = 64
    pyramid = diagnose(config).statistics["pyramid"]
    assert pyramid["videos_longer"] == 0
    # Twice as many steps and more: actions of 3 to 7 seconds leave the level of (0, 4) steps.
    assert pyramid["levels"][0]["actions"] < pyramid["levels"][1]["actions"]


def test_files_alone(good):
    folder, config = good
    config.model.input_dim = config.model.num_classes = None
    diagnosis = diagnose(config, data_only=True)
    assert not diagnosis.errors
    assert diagnosis.statistics["pyramid"]["num_levels"] == 2
    feats(lambda x: x.T)(folder, config)
    (error,) = diagnose(config, data_only=True).errors
    assert "v1.npy' must have 4 channels" in error


def test_annotations_that_are_wrong_in_several_videos(good):
    folder, config = good
    segment([6, 4], "v0")(folder, config)
    segment([6, 4], "v3")(folder, config)
    told = []
    annotations = load_annotations(config.data.annotations, on_error=told.append)
    assert [video.video_id for video in annotations.videos] == ["v1", "v2", "v4", "v5"]
    assert ["'v0'" in str(told[0]), "'v3'" in str(told[-1])] == [True, True]


# --- the program ---------------------------------------------------------------------------------

CONFIG = """
import pathlib
from helpers.small_run import small_config

def get_config():
    config = small_config(pathlib.Path("."))
    config.data.stride_frames = config.data.window_frames = 25.0
    return config
"""


def test_program_with_a_configuration(good):
    folder, _ = good
    (folder / "config.py").write_text(CONFIG)
    tests = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"  # which the configuration imports
    done = run_program(
        folder, "inspect", "--config=config.py", "--config.data.fps=50", "--json=-",
        PYTHONPATH=tests,
    )  # fmt: skip
    assert done.returncode == 1 and not done.stderr
    numbers = json.loads(done.stdout)
    assert len(numbers["errors"]) == 1 and "fps=25" in numbers["errors"][0]
    assert numbers["subsets"]["training"]["videos"] == 4


def test_train_says_what_inspect_says_first(good):
    folder, _ = good
    (folder / "config.py").write_text(CONFIG)
    change(folder, lambda d: [video.pop("fps") for video in d.values()])
    told = run_here(folder, "inspect", "--config=config.py", "--json=-")
    stopped = run_here(folder, "train", "--config=config.py", "--workdir=run")
    errors = json.loads(told.stdout)["errors"]
    assert len(errors) == 6 and "'v0' has no 'fps'" in errors[0]
    assert stopped.returncode and stopped.stderr.count(errors[0]) == 1
    assert not any(error in stopped.stderr for error in errors[1:])
    assert not list((folder / "run").glob("*"))


def test_without_an_evaluation_subset_a_training_ends_without_scores(good):
    folder, _ = good
    (folder / "config.py").write_text(CONFIG)
    settings = ["--config=config.py", "--config.data.eval_subset=", "--config.train.epochs=1"]
    assert run_here(folder, "inspect", *settings).returncode == 0
    with eagerly():
        done = run_here(folder, "train", *settings, "--workdir=run")
    assert done.returncode == 0, done.stderr
    files = {path.name for path in (folder / "run").iterdir()}
    assert "model.keras" in files and "evaluation.json" not in files


def test_program_with_a_csv_file_without_subsets(good):
    folder, _ = good
    (folder / "table.csv").write_text("video,start,end,label\nv0,2,6,a\nv1,3,8,b\n")
    options = ("--annotations=table.csv", "--fps=25", "--stride_frames=25", "--window_frames=25")
    done = run_here(folder, "inspect", *options, "--feats=feats")
    assert done.returncode == 1 and "lacks the field 'subset'" in done.stdout
    done = run_here(folder, "inspect", *options, "--feats=feats", "--default_subset=training")
    assert done.returncode == 0, done.stdout
    (folder / "table.csv").write_text("video,start,end,label,duration\nv0,2,6,a,30\n")
    options = (*options, "--feats_dim=4", "--output=made_up")
    assert "lacks the field 'subset'" in run_here(folder, "simulate", *options).stderr
    done = run_here(folder, "simulate", *options, "--default_subset=training")
    assert done.returncode == 0, done.stderr


def test_program_with_a_table_of_frames_in_latin_1(good):
    folder, _ = good
    table = "Video;Verhalten;Start (Bild);Ende (Bild)\nv0.mp4;äsen;50;150\nv1.mp4;ruhen;75;200\n"
    (folder / "table.csv").write_bytes(table.encode("latin-1"))
    options = ("--annotations=table.csv", "--feats=feats", "--default_subset=training")
    options = (*options, "--stride_frames=25", "--window_frames=25", "--json=-")
    told = json.loads(run_here(folder, "inspect", *options, "--fps=25").stdout)
    assert told["errors"] == [] and "as Windows-1252 (Latin-1), so that" in " ".join(
        told["warnings"]
    )
    assert told["subsets"]["training"]["actions"] == 2
    told = json.loads(run_here(folder, "inspect", *options).stdout)
    assert "line 2: 'Start (Bild)' counts frames" in told["errors"][0]
    told = json.loads(
        run_here(folder, "inspect", *options, "--fps=25", "--time_unit=minutes").stdout
    )
    assert told["errors"] == []  # where the header says what numbers are, that counts


def test_program_with_a_setting_of_none(good):
    folder, _ = good
    (folder / "config.py").write_text(CONFIG)
    done = run_here(
        folder, "inspect", "--config=config.py", "--config.data.stride_frames=None", "--json=-"
    )
    assert done.returncode == 0 and json.loads(done.stdout)["errors"] == [], done.stderr
    done = run_here(folder, "inspect", "--config=config.py", "--config.data.stride_frames=four")
    assert done.returncode and "four" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_program_with_files(good):
    folder, _ = good
    done = run_here(
        folder, "inspect", "--annotations=annotations.json", "--feats=feats", "--stride_frames=25",
        "--window_frames=25", "--eval_subset=test", "--json=numbers.json",
    )  # fmt: skip
    assert done.returncode == 0 and not done.stderr
    assert "\n\nNo errors.\n" in done.stdout and "Suggested: max_seq_len = " in done.stdout
    assert json.loads((folder / "numbers.json").read_text())["errors"] == []


@pytest.mark.parametrize("arguments", [[], ["--annotations=a.json"], ["--feats=feats"]])
def test_program_without_what_it_needs(tmp_path, arguments):
    done = run_here(tmp_path, "inspect", *arguments)
    assert done.returncode == 2 and "Give either --config=FILE.py" in done.stderr
