"""Runs: what they write, how they go on after being killed, what they refuse."""

import errno
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from helpers.models import to_numpy
from helpers.small_run import eagerly, small_config, write_data
from keras_actionformer import ActionFormer
from keras_actionformer.errors import UserError
from keras_actionformer.presets.runs import load_model
from keras_actionformer.training import callbacks, run_scores, trainer
from keras_actionformer.training.config import default_config, first_difference, run_config
from keras_actionformer.training.experiment import Experiment

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="training pipelines are TensorFlow's"
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_data(folder)
    return folder


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """A run of three epochs that nobody disturbed."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    trainer.train(small_config(data), workdir)
    return workdir


@pytest.fixture(scope="module")
def finished_eagerly(data, tmp_path_factory):
    """As `finished`; the last digits are others."""
    workdir = tmp_path_factory.mktemp("runs") / "eagerly"
    with eagerly():
        trainer.train(small_config(data), workdir)
    return workdir


def state(workdir):
    with np.load(workdir / "checkpoint.npz") as file:
        return {name: file[name] for name in file.files if name != "log"}


def assert_same_state(a, b):
    a, b = state(a), state(b)
    assert list(a) == list(b)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_features_of_half_the_bytes_train_alike(tmp_path):
    write_data(tmp_path)
    for path in (tmp_path / "feats").iterdir():
        np.save(path, np.load(path).astype("float16"))  # numbers that both types hold
    config = small_config(tmp_path)
    for dtype in ("float32", "float16"):
        config.data.feats_dtype = dtype
        with eagerly():
            trainer.train(config, tmp_path / dtype)
    assert_same_state(tmp_path / "float16", tmp_path / "float32")


def test_a_run_leaves_model_log_and_checkpoint(finished, data):
    assert {"config.json", "checkpoint.npz", "model.keras", "log.csv"} <= {
        path.name for path in finished.iterdir()
    }
    rows = (finished / "log.csv").read_text().splitlines()
    assert rows[0].startswith("epoch,cls_loss") and len(rows) == 1 + 3
    assert not [path for path in finished.rglob("*") if ".part" in path.name]
    model = load_model(finished, ActionFormer)
    assert model.class_names == ("a", "b") and model.grid.stride_frames == 1


def test_the_saved_model_has_the_averaged_weights(finished):
    saved = state(finished)
    averages = [v for k, v in saved.items() if k.endswith(" average")]
    model = load_model(finished, ActionFormer)
    kernels = [v for v in model.trainable_variables if v.name == "kernel"]
    others = [v for v in model.trainable_variables if v.name != "kernel"]
    for variables, average in zip((kernels, others), averages, strict=True):
        values = np.concatenate([to_numpy(variable).ravel() for variable in variables])
        np.testing.assert_array_equal(values, average)
    normalizer = [v for k, v in saved.items() if "positives_average" in k]
    assert len(normalizer) == 1 and normalizer[0] != 10.0
    assert to_numpy(model.positives_average.value) == normalizer[0]


def test_evaluation_writes_scores_and_detections(finished):
    result = run_scores.evaluate_workdir(
        finished, tiou_thresholds=(0.5,), average_recall=True, errors="data"
    )
    assert 0 <= result.average_mean_ap <= 1
    assert {"average_recall", "errors"} < json.loads(
        (finished / "evaluation.json").read_text()
    ).keys()
    written = json.loads((finished / "detections.json").read_text())["results"]
    assert set(written) == {"v4", "v5"}
    assert (finished / "evaluation.json").exists()


class _Stop(Exception):
    pass


def test_resuming_gives_the_same_weights_bit_for_bit(finished, data, tmp_path, monkeypatch):
    workdir = tmp_path / "run"
    original = callbacks.RunWriter.on_epoch_end

    def stop_after_first(self, epoch, logs=None):
        original(self, epoch, logs)
        raise _Stop

    for _ in range(2):
        with monkeypatch.context() as patch, pytest.raises(_Stop):
            patch.setattr(callbacks.RunWriter, "on_epoch_end", stop_after_first)
            trainer.train(small_config(data), workdir, resume=True)
    trainer.train(small_config(data), workdir, resume=True)
    assert_same_state(workdir, finished)
    assert len((workdir / "log.csv").read_text().splitlines()) == 1 + 3
    # And once it is done there is nothing left to do.
    trainer.train(small_config(data), workdir, resume=True)
    assert_same_state(workdir, finished)


def accumulating_config(data):
    """3 epochs of 4 batches, 3 of which make a step: the first two end in the middle of one."""
    config = small_config(data)
    config.model.backbone_arch = (1, 0, 1)
    config.train.batch_size = 1
    config.train.accumulate_batches = 3
    return config


@pytest.mark.slow
def test_steps_of_several_batches_go_on_over_epochs_and_interruptions(
    run_eagerly, data, tmp_path, monkeypatch
):
    config, whole, run = accumulating_config(data), tmp_path / "whole", tmp_path / "run"
    original = callbacks.RunWriter.on_epoch_end

    def copy_after_first(self, epoch, logs=None):
        original(self, epoch, logs)
        if epoch == 0:
            shutil.copytree(whole, run)

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.RunWriter, "on_epoch_end", copy_after_first)
        trainer.train(config, whole)
    # Steps end with batches 3, 6, 9 and 12: of the log is the rate of the step that comes next.
    schedule = Experiment(config).make_optimizer(batches_per_epoch=4)._learning_rate
    names, *rows = [line.split(",") for line in (whole / "log.csv").read_text().splitlines()]
    rates = [float(row[names.index("learning_rate")]) for row in rows]
    assert rates == [float(schedule(step)) for step in (1, 2, 4)] and schedule.total_steps == 4

    def waiting_gradients(workdir):
        saved = state(workdir).items()
        return any(v.any() for name, v in saved if name.endswith("gradient_accumulator"))

    assert waiting_gradients(run) and not waiting_gradients(whole)
    trainer.train(config, run, resume=True)
    assert_same_state(run, whole)


def test_steps_that_no_epoch_has_the_batches_for_are_refused(data, tmp_path):
    config = accumulating_config(data)
    config.train.accumulate_batches = 5
    with pytest.raises(UserError, match=r"accumulate_batches is 5 .* 4 batches; set it to 1\.\.4"):
        trainer.train(config, tmp_path / "run")


@pytest.mark.parametrize("recompute", [False, True])
def test_recomputing_is_a_setting(data, tmp_path, monkeypatch, recompute):
    def fit(model, *args, **kwargs):
        assert model.compiled and model.recompute == recompute
        raise _Stop

    config = small_config(data)
    config.train.recompute = recompute
    monkeypatch.setattr(ActionFormer, "fit", fit)
    with pytest.raises(_Stop):
        trainer.train(config, tmp_path / "run")


PROGRAM = """
import pathlib, sys
sys.path[:0] = [{root!r}, {tests!r}]
from helpers.small_run import small_config
from keras_actionformer.training import run_scores, trainer
trainer.train(small_config(pathlib.Path({data!r})), {workdir!r}, resume=True)
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_nothing_had_happened(finished, data, tmp_path):
    tests = pathlib.Path(__file__).parents[1]
    workdir = tmp_path / "run"
    program = PROGRAM.format(
        root=str(tests.parent), tests=str(tests), data=str(data), workdir=str(workdir)
    )
    rng = np.random.default_rng(0)

    def start():
        return subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    for _ in range(4):
        run = start()
        # Killed somewhere from before the data is read to while files are written.
        deadline = time.time() + rng.uniform(3, 12)
        while time.time() < deadline and run.poll() is None:
            time.sleep(0.01)
            if (workdir / "checkpoint.npz").exists() and rng.random() < 0.02:
                break
        run.send_signal(signal.SIGKILL)
        run.wait()
        for name in ("config.json", "log.csv", "checkpoint.npz", "model.keras"):
            if (workdir / name).exists():
                assert (workdir / name).stat().st_size > 0
        if (workdir / "checkpoint.npz").exists():
            state(workdir)
        if (workdir / "model.keras").exists():
            load_model(workdir, ActionFormer)
    assert start().wait() == 0
    assert_same_state(workdir, finished)


def test_a_full_disk_keeps_the_last_epoch(
    run_eagerly, finished_eagerly, data, tmp_path, monkeypatch
):
    workdir = tmp_path / "run"
    savez, calls = np.savez, []

    def full_from_the_second_on(file, **arrays):
        calls.append(1)
        if len(calls) >= 2:
            file.write(b"half of a checkpoint")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(workdir))
        savez(file, **arrays)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left") as raised:
        patch.setattr(np, "savez", full_from_the_second_on)
        patch.setattr(callbacks, "_WAITS_SEC", (0,))
        trainer.train(small_config(data), workdir)
    assert raised.value.__notes__ == [f"{workdir} keeps 1 of 3 epochs"] and len(calls) == 3
    assert not [path for path in workdir.rglob("*") if ".part" in path.name]
    assert len((workdir / "log.csv").read_text().splitlines()) == 1 + 1
    trainer.train(small_config(data), workdir, resume=True)
    assert_same_state(workdir, finished_eagerly)


@pytest.mark.parametrize("killed_before", ["atomic_path", "csv"])
def test_a_kill_between_the_last_files_loses_nothing(
    run_eagerly, finished_eagerly, data, tmp_path, monkeypatch, killed_before
):
    workdir = tmp_path / "run"

    def stop(*args, **kwargs):
        if (workdir / "checkpoint.npz").exists() and len(json.loads(log())) == 3:
            raise _Stop
        return original(*args, **kwargs)

    def log():
        with np.load(workdir / "checkpoint.npz") as file:
            return str(file["log"])

    target = callbacks if killed_before == "atomic_path" else callbacks.csv
    name = killed_before if target is callbacks else "DictWriter"
    original = getattr(target, name)
    with monkeypatch.context() as patch, pytest.raises(_Stop):
        patch.setattr(target, name, stop)
        trainer.train(small_config(data), workdir)
    (workdir / ".model.1.part.keras").write_bytes(b"half")  # what a real kill leaves
    trainer.train(small_config(data), workdir, resume=True)
    assert not list(workdir.glob(".*.part*"))
    assert_same_state(workdir, finished_eagerly)
    assert (workdir / "log.csv").read_text().count("\n") == 1 + 3
    ours, theirs = load_model(workdir, ActionFormer), load_model(finished_eagerly, ActionFormer)
    for a, b in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(a), to_numpy(b))


def test_a_diverged_training_stops_and_leaves_the_last_good_epoch(run_eagerly, data, tmp_path):
    config = small_config(data)
    config.train.learning_rate = 1e18
    config.train.clip_norm = 0.0
    with pytest.raises(UserError, match="the training diverged"):
        trainer.train(config, tmp_path / "run")
    if (tmp_path / "run" / "checkpoint.npz").exists():
        assert all(np.isfinite(v).all() for v in state(tmp_path / "run").values())


def test_damaged_files_are_named(finished, data, tmp_path):
    for name in ("config.json", "checkpoint.npz", "model.keras"):
        workdir = tmp_path / name
        shutil.copytree(finished, workdir)
        (workdir / name).write_bytes((workdir / name).read_bytes()[:100])
        with pytest.raises(UserError, match=f"{name}'? is damaged"):
            if name == "model.keras":
                load_model(workdir, ActionFormer)
            else:
                trainer.train(small_config(data), workdir, resume=True)


@pytest.mark.parametrize(
    "change,text",
    [
        (
            lambda saved: saved[sorted(saved)[3]].fill(np.nan),
            "0003 .* is NaN or infinite somewhere",
        ),
        (lambda saved: saved.pop(sorted(saved)[3]), "0003 .* is missing or has another shape"),
        (lambda saved: saved.update(log=np.array("[]")), "damaged .*log has no row of epoch 1"),
        (lambda saved: saved.update(log=np.array('[{"epoch": 1, "loss": "x"}]')), "as 'loss'"),
    ],
)
def test_wrong_checkpoints_are_told_and_taken_in_no_part(finished, tmp_path, change, text):
    shutil.copytree(finished, tmp_path / "run")
    path = tmp_path / "run" / "checkpoint.npz"
    with np.load(path) as file:
        saved = dict(file)
    change(saved)
    np.savez(path, **saved)
    model = load_model(finished, ActionFormer)
    model.compile(keras.optimizers.SGD())
    run = callbacks.RunWriter(model, tmp_path / "run", None, default_config().train)
    before = [to_numpy(v) for v in model.weights]
    with pytest.raises(UserError, match=text):
        run.restore()
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, to_numpy(new))


def test_unusable_evaluation_data_is_told_before_the_training(data):
    config = small_config(data)
    config.data.eval_subset = "tset"
    with pytest.raises(UserError, match="tset"):
        run_scores.check_evaluation(config)


def test_what_stops_before_the_first_step_leaves_nothing(data, tmp_path):
    def before_fit():
        raise UserError("no scores")

    with pytest.raises(UserError, match="no scores"):
        trainer.train(small_config(data), tmp_path / "run", before_fit=before_fit)
    assert not list((tmp_path / "run").glob("*"))


def test_classes_without_annotations_start_as_good_as_impossible(data):
    config = small_config(data)
    config.model.num_classes = 3
    model = Experiment(config).build_model(Experiment(config).read_annotations())
    assert model.config["head_empty_cls"] == [2] and model.class_names[2] == "class_2"


def test_a_folder_belongs_to_one_run(finished, data):
    with pytest.raises(UserError, match="already holds a training run: pass --resume"):
        trainer.train(small_config(data), finished)
    other = small_config(data)
    other.train.learning_rate = 5e-3
    with pytest.raises(UserError, match=r"train.learning_rate=0.01.*now says 0.005"):
        trainer.train(other, finished, resume=True)


def test_a_dead_output_is_told_once(capsys):
    callback = callbacks.DeadOutputWarning()
    dead = {"zero_starts": 0.4, "zero_ends": 1.0}
    callback.on_epoch_end(4, dead)
    assert "offset to the end of an action was 0 at every point" in capsys.readouterr().err
    callback.on_epoch_end(5, dead)
    callback.on_epoch_end(6, {"zero_starts": 0.4, "zero_ends": 0.0})
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    "section, name, value, message",
    [
        ("data", "annotations", "", "must set data.annotations"),
        ("data", "annotations", "nowhere.json", "nowhere.json"),
        ("data", "feats", "nowhere", "nowhere"),
        ("data", "train_subset", "trainig", "training"),
        ("model", "num_classes", 1, "0..0|num_classes=1"),
        ("model", "input_dim", 5, "5"),
        ("train", "optimizer", "AdamV", "did you mean 'AdamW'"),
        ("train", "batch_size", 0, "batch_size must be at least 1"),
        ("train", "batch_size", 9, "batch_size"),
        ("train", "accumulate_batches", 0, "accumulate_batches must be at least 1"),
        ("train", "jit_compile", "yes", "jit_compile must be one of"),
        ("train", "ema", 1.0, r"train.ema must be in \[0, 1\)"),
    ],
)
def test_wrong_settings_are_one_sentence_and_leave_nothing(
    data, tmp_path, section, name, value, message
):
    config = small_config(data)
    config[section][name] = value
    with pytest.raises(UserError, match=message):
        trainer.train(config, tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoint.npz").exists()


def test_a_training_that_would_drop_twice_is_refused(data, tmp_path):
    config = small_config(data)
    config.train.recompute, config.model.dropout = True, 0.1
    with pytest.raises(UserError, match=r"train.recompute needs model.dropout=0, but it is 0.1"):
        trainer.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_bad_feature_file_stops_before_the_first_step(tmp_path):
    write_data(tmp_path)
    feats = np.load(tmp_path / "feats" / "v1.npy")
    feats[3, 2] = np.nan
    np.save(tmp_path / "feats" / "v1.npy", feats)
    with pytest.raises(UserError, match=r"v1\.npy"):
        trainer.train(small_config(tmp_path), tmp_path / "run")
    (tmp_path / "feats" / "v1.npy").unlink()
    with pytest.raises(UserError, match=r"v1\.npy"):
        trainer.train(small_config(tmp_path), tmp_path / "run")


def test_loading_what_is_not_there(tmp_path):
    with pytest.raises(UserError, match="is no training folder"):
        load_model(tmp_path, ActionFormer)
    with pytest.raises(UserError, match="is no training folder"):
        run_scores.evaluate_workdir(tmp_path)


def test_configurations_are_locked_and_compared():
    config = default_config()
    with pytest.raises(AttributeError, match="epochs"):
        config.train.epoch = 3
    assert first_difference({"a": {"b": 1}}, {"a": {"b": 1}}) is None
    assert first_difference({"a": {"b": 1}}, {"a": {"b": 2}}) == ("a.b", 1, 2)
    assert first_difference({}, {"c": 1}) == ("c", None, 1)


def test_settings_that_an_older_run_did_not_know_have_their_defaults(finished, data, tmp_path):
    workdir = tmp_path / "old"
    shutil.copytree(finished, workdir)
    saved = json.loads((workdir / "config.json").read_text())
    del saved["fusion"], saved["data"]["window_steps"]
    (workdir / "config.json").write_text(json.dumps(saved))
    assert run_config(workdir) == run_config(finished)
    (workdir / "config.json").write_text(json.dumps({**saved, "data": 3}))
    with pytest.raises(UserError, match="config.json' is damaged"):
        run_config(workdir)


def test_videos_without_features_can_be_left_out(run_eagerly, tmp_path):
    write_data(tmp_path)
    (tmp_path / "feats" / "v0.npy").unlink()
    (tmp_path / "feats" / "v5.npy").unlink()
    config = small_config(tmp_path)
    config.train.epochs = config.train.warmup_epochs = 1
    config.train.batch_size = 3  # as many as the training videos that are left
    config.data.missing_features = "skip"
    model = trainer.train(config, tmp_path / "run")
    videos = Experiment(config).read_annotations().subset("test")
    assert list(run_scores.detect_subset(model, config, videos)) == ["v4"]
    # The one that was left out counts as missed.
    assert run_scores.evaluate_workdir(tmp_path / "run").num_videos_without_detections == 1


@pytest.mark.slow
def test_sliding_windows_train_and_detect(run_eagerly, data, tmp_path):
    config = small_config(data)
    config.train.epochs = config.train.warmup_epochs = 1
    config.data.window_steps = 16
    config.data.crop_ratio = None
    config.model.max_seq_len = 16
    videos = Experiment(config).read_annotations().subset("training")
    features = Experiment(config).features
    # Windows start every 8 steps, and one more ends with the sequence.
    num_windows = sum(-(-(len(features.load(v.video_id)) - 16) // 8) + 1 for v in videos)
    assert Experiment(config).count_batches(videos) == num_windows // 2
    model = trainer.train(config, tmp_path / "run")
    for _, found in run_scores.detect_subset(model, config, videos).items():
        assert 0 < len(found) <= 20
        assert found.segments_sec.max() > 17  # beyond the first window
