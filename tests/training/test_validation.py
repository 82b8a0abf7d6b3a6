"""Validation between epochs: what it scores, what it keeps, and that it leaves no other trace."""

import csv
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
from keras_actionformer import ActionFormer, recommend_thresholds
from keras_actionformer.data.examples import segments_to_grid
from keras_actionformer.detection.detections import Detections
from keras_actionformer.errors import UserError
from keras_actionformer.network.losses import training_losses
from keras_actionformer.presets.runs import load_model
from keras_actionformer.training import callbacks, run_scores, trainer, validation
from keras_actionformer.training.experiment import Experiment

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="training pipelines are TensorFlow's"
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_data(folder)
    return folder


def validated_config(data):
    """4 epochs of a step, all of which are validated, with all that draws random numbers."""
    config = small_config(data)
    config.data.val_subset = "test"
    config.model.dropout = config.model.droppath = config.model.input_dropout = 0.1
    config.postprocess.max_seg_num = 5
    config.train.batch_size = 4
    config.train.epochs = 3
    config.train.val_every = 1
    return config


def fake_detections(model, items, progress=None, **windows):
    """Every action, and one more, with scores and ends that follow from the weights: quickly."""
    total = sum(float(np.abs(to_numpy(weight)).sum()) for weight in model.trainable_weights)
    rng = np.random.default_rng(int(total * 1e6))
    found = {}
    for video, feats, _ in items:
        segments = np.concatenate([video.segments_sec, [[0, len(feats)]]])
        segments = segments + rng.uniform(-1, 1, segments.shape) * [[0.5, -0.5]]
        labels = np.append(video.labels, 0)
        found[video.video_id] = Detections(np.sort(segments), rng.random(len(labels)), labels)
    return found


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """A run that nobody disturbed, with quick detections."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    with pytest.MonkeyPatch.context() as patch, eagerly():
        for module in (validation, run_scores):
            patch.setattr(module, "detect_items", fake_detections)
        trainer.train(validated_config(data), workdir)
    return workdir


@pytest.fixture
def quick(run_eagerly, monkeypatch):
    for module in (validation, run_scores):
        monkeypatch.setattr(module, "detect_items", fake_detections)


def log_of(workdir):
    """Rows of a log without the times."""
    with open(workdir / "log.csv", encoding="utf-8") as file:
        return [
            {name: value for name, value in row.items() if not name.endswith("seconds")}
            for row in csv.DictReader(file)
        ]


def state(workdir):
    with np.load(workdir / "checkpoint.npz") as file:
        return {name: file[name] for name in file.files if name != "log"}


def assert_same_arrays(a, b):
    assert list(a) == list(b)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def weights_of(workdir, name):
    model = keras.saving.load_model(workdir / name)
    return {f"{i} {v.path}": to_numpy(v) for i, v in enumerate(model.weights)}


def assert_same_run(ours, theirs):
    """Equal checkpoints, logs and models."""
    assert_same_arrays(state(ours), state(theirs))
    assert log_of(ours) == log_of(theirs)
    for path in theirs.glob("*.keras"):
        mine, others = weights_of(ours, path.name), weights_of(theirs, path.name)
        for a, b in zip(mine.values(), others.values(), strict=True):
            np.testing.assert_array_equal(a, b, err_msg=path.name)
    assert not list(ours.glob(".*.part*"))


def scripted(monkeypatch, *scores):
    """Validations then give these mAPs, of the average and of the last weights."""

    def script(self, epoch, after_video):
        average, last = scores[epoch - 1]
        return {"val_loss": 1.0, "val_mAP": average, "val_mAP_last": last, "val_recall": 0.5}

    monkeypatch.setattr(validation.Validation, "scores", script)


# --- what it scores ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scored(data, tmp_path_factory):
    """A run of two epochs, of which the second is validated by its detections."""
    config = validated_config(data)
    config.train.epochs, config.train.val_every = 1, 2
    config.model.max_seq_len = 48  # no video is longer
    workdir = tmp_path_factory.mktemp("runs") / "scored"
    trainer.train(config, workdir)
    return config, workdir


def test_the_log_has_what_an_evaluation_finds(scored):
    _, workdir = scored
    first, last = log_of(workdir)
    assert not first["val_mAP"] and first["loss"]
    for weights, suffix in (("average", ""), ("last", "_last")):
        result = run_scores.evaluate_workdir(workdir, "test", weights=weights)
        assert float(last[f"val_mAP{suffix}"]) == pytest.approx(result.average_mean_ap, abs=1e-9)
        recall = result.mean_recall[:, 0].mean()
        assert float(last[f"val_recall{suffix}"]) == pytest.approx(recall, abs=1e-9)
    # The files of a run are of the weights that it stands for.
    assert (workdir / "evaluation_last.json").exists()
    assert not (workdir / "evaluation.json").exists()


def test_losses_are_those_of_the_last_weights_on_all_actions(scored):
    """As sums over whole videos, one after the other."""
    config, workdir = scored
    experiment, model = Experiment(config), load_model(workdir, ActionFormer, "last")
    sums = np.zeros(3)
    for video in experiment.read_annotations().subset("test"):
        feats = experiment.features.load(video.video_id)
        padded = np.zeros((1, 48, feats.shape[1]), "float32")
        padded[0, : len(feats)] = feats
        mask = np.arange(48)[None] < len(feats)
        segments = segments_to_grid(video.segments_sec, experiment.timing.grid_of(video))
        actions = {"segments": segments[None], "labels": np.asarray(video.labels)[None]}
        outputs = model({"feats": padded, "mask": mask}, training=False)
        losses = training_losses(model.architecture, mask, actions, outputs)
        sums += [float(value) for value in losses[:3]]
    row = log_of(workdir)[-1]
    assert sums[2] > 0
    assert float(row["val_cls_loss"]) == pytest.approx(sums[0] / sums[2], rel=1e-4)
    assert float(row["val_reg_loss"]) == pytest.approx(sums[1] / sums[2], rel=1e-4)
    assert float(row["val_loss"]) == pytest.approx(sums[:2].sum() / sums[2], rel=1e-4)


def test_losses_see_every_step_of_long_videos(data):
    config = validated_config(data)
    config.model.max_seq_len = 16
    experiment = Experiment(config)
    videos = experiment.read_annotations().subset("test")
    batches = list(experiment.validation_stream(videos))
    feats = [experiment.features.load(video.video_id) for video in videos]
    # Windows of 16 steps side by side, the last of which ends with the video.
    assert len(batches) == sum(-(-len(x) // 16) for x in feats) > len(videos)
    assert all(to_numpy(x["mask"]).sum() <= 16 for x, _ in batches)
    seen = np.concatenate([to_numpy(x["feats"])[to_numpy(x["mask"])] for x, _ in batches])
    for step in np.concatenate(feats):
        assert (seen == step).all(axis=1).any()


# --- what it leaves alone ------------------------------------------------------------------------


def test_weights_do_not_depend_on_it(quick, whole, data, tmp_path):
    config = validated_config(data)
    config.data.val_subset = ""
    trainer.train(config, tmp_path / "run")
    assert_same_arrays(state(tmp_path / "run"), state(whole))
    assert not (tmp_path / "run" / "best.keras").exists()
    assert "val_mAP" not in log_of(tmp_path / "run")[0]


def test_loading_prefers_the_best(whole, tmp_path):
    def first_weight(weights=None):
        return to_numpy(load_model(whole, ActionFormer, weights).weights[0])

    rows = log_of(whole)
    assert len(rows) == 4 and all(row["val_mAP"] for row in rows)
    np.testing.assert_array_equal(first_weight(), first_weight("best"))
    assert not np.array_equal(first_weight("average"), first_weight("last"))
    preset = ActionFormer.from_preset(whole)
    np.testing.assert_array_equal(to_numpy(preset.weights[0]), first_weight("best"))
    with pytest.raises(
        UserError, match=r"model_epoch_3.keras does not exist: .* best, average, last"
    ):
        load_model(whole, ActionFormer, "3")


def test_the_last_weights_are_those_of_the_checkpoint(whole):
    saved = {name.split(" ", 1)[1]: value for name, value in state(whole).items()}
    for name, value in weights_of(whole, "last.keras").items():
        np.testing.assert_array_equal(value, saved[name.split(" ", 1)[1]])


def test_the_best_model_recommends_thresholds(whole, data, quick, tmp_path, capsys):
    """They are those of its detections in the subset, and come back where a stop has lost them."""
    model = load_model(whole, ActionFormer)
    experiment = Experiment(validated_config(data))
    videos = experiment.read_annotations().subset("test")
    items = [(video, np.zeros((round(video.duration_sec), 1)), None) for video in videos]
    assert model.thresholds == recommend_thresholds(videos, fake_detections(model, items), 2)
    assert load_model(whole, ActionFormer, "last").thresholds is None  # which nobody has asked
    shutil.copytree(whole, tmp_path / "run")
    path = tmp_path / "run" / "best.keras"
    expected, model.thresholds = model.thresholds, None
    model.save(path)
    found = trainer.train(validated_config(data), tmp_path / "run", resume=True)
    assert found.thresholds == load_model(tmp_path / "run", ActionFormer).thresholds == expected
    told = capsys.readouterr().out
    assert f"The score threshold of the best F1 on 'test' is {expected}; {path} keeps it.\n" in told


def test_what_is_assumed_in_annotations_is_told_once(quick, data, tmp_path, caplog):
    config = validated_config(data)
    config.train.epochs, config.data.annotations = 1, str(tmp_path / "latin.csv")
    config.model.num_classes = 1
    lines = ["video;subset;duration;fps;start;end;label"]
    for video in Experiment(validated_config(data)).read_annotations().videos:
        lines.append(f"{video.video_id};{video.subset};{video.duration_sec};1;0.5;3.5;Hüpfen")
    (tmp_path / "latin.csv").write_text("\n".join(lines), encoding="latin-1")
    run_scores.check_evaluation(config)
    trainer.train(config, tmp_path / "run")
    run_scores.evaluate_workdir(tmp_path / "run")
    assert len([record for record in caplog.records if "Windows-1252" in record.message]) == 1


# --- what it decides -----------------------------------------------------------------------------


def test_patience_ends_a_training_and_best_is_kept(quick, data, tmp_path, monkeypatch, capsys):
    config = validated_config(data)
    config.train.epochs, config.train.patience, config.train.keep_epochs = 9, 2, (2, 3)
    scripted(monkeypatch, (0.1, 0.2), (0.1, 0.3), (0.3, 0.1), (0.2, 0.3))
    workdir = tmp_path / "run"
    trainer.train(config, workdir)
    assert [row["epoch"] for row in log_of(workdir)] == ["1", "2", "3", "4"]
    told = capsys.readouterr().out
    assert "Ended after epoch 4: none of the last 2 was better." in told
    assert "The best validation mAP, 30.00, is of epoch 2 (last weights): best.keras." in told
    # Epochs 2 and 3 kept their averages; of epoch 2 the last weights are the best.
    kept = [weights_of(workdir, f"model_epoch_{epoch}.keras") for epoch in (2, 3)]
    best, last = weights_of(workdir, "best.keras"), weights_of(workdir, "last.keras")
    for other in (*kept, last):
        assert any((a != b).any() for a, b in zip(best.values(), other.values(), strict=True))
    # There is nothing to go on with, and the same is told.
    trainer.train(config, workdir, resume=True)
    assert "all 4 epochs are done already" in capsys.readouterr().out


def test_a_schedule_can_end_early(quick, data, tmp_path):
    """The weights are those of the same epoch of the whole schedule."""
    config = validated_config(data)
    config.train.keep_epochs = (2,)
    trainer.train(config, tmp_path / "whole")
    config.train.stop_after = 2
    config.data.val_subset = ""
    trainer.train(config, tmp_path / "part")
    kept = weights_of(tmp_path / "whole", "model_epoch_2.keras")
    for a, b in zip(
        weights_of(tmp_path / "part", "model.keras").values(), kept.values(), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    loaded = load_model(tmp_path / "whole", ActionFormer, "2")
    np.testing.assert_array_equal(to_numpy(loaded.weights[0]), next(iter(kept.values())))


def test_how_often_is_a_matter_of_the_number_of_videos(data):
    config = validated_config(data)
    annotations = Experiment(config).read_annotations()
    copy = validation.WeightsCopy(Experiment(config).build_model(annotations))
    config.train.val_every = 0
    every = [validation.Validation(config, annotations, n, copy, None).every for n in (4, 8, 100)]
    # Two videos to validate on.
    assert every == [4, 2, 1]
    config.train.val_every = 3
    due = validation.Validation(config, annotations, 4, copy, None).is_due
    assert [due(epoch) for epoch in range(1, 5)] == [False, False, True, True]
    config.train.val_every, config.train.val_from = 1, 2
    due = validation.Validation(config, annotations, 4, copy, None).is_due
    assert [due(epoch) for epoch in range(1, 5)] == [False, True, True, True]


def test_the_best_epoch_may_be_that_of_the_lowest_loss(quick, data, tmp_path, capsys):
    config = validated_config(data)
    config.train.epochs, config.train.best_by = 1, "loss"
    trainer.train(config, tmp_path / "run")
    rows = log_of(tmp_path / "run")
    losses = [float(row[name]) for row in rows for name in ("val_loss_average", "val_loss")]
    assert len(losses) == 4 and len(set(losses)) > 1
    assert f"The lowest validation loss, {min(losses):.4f}, is of epoch" in capsys.readouterr().out


# --- going on ------------------------------------------------------------------------------------


class _Stop(Exception):
    pass


@pytest.mark.parametrize("calls", [1, 4, 6])
def test_a_stop_in_a_validation_changes_nothing(quick, whole, data, tmp_path, monkeypatch, calls):
    """Two calls an epoch: of the average and of the last weights."""
    count = []

    def stop(*args, **kwargs):
        count.append(1)
        if len(count) == calls:
            raise _Stop
        return fake_detections(*args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(_Stop):
        patch.setattr(validation, "detect_items", stop)
        trainer.train(validated_config(data), tmp_path / "run")
    trainer.train(validated_config(data), tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", whole)


@pytest.mark.parametrize("patience", [0, 1])
def test_a_stop_before_the_best_is_written_loses_nothing(
    quick, data, tmp_path, monkeypatch, patience
):
    """Killed after every checkpoint, before anything that follows from it."""
    config = validated_config(data)
    config.train.patience = patience
    config.train.keep_epochs = (1, 2)
    scripted(monkeypatch, (0.1, 0.2), (0.3, 0.1), (0.2, 0.3), (0.0, 0.2))
    trainer.train(config, tmp_path / "whole")
    write = callbacks.RunWriter._write_models

    def stop(self):
        # As the first thing of a resumed run it must write.
        if self.model.optimizer.iterations > first:
            raise _Stop
        write(self)

    for epoch in range(3):
        first = epoch
        with monkeypatch.context() as patch, pytest.raises(_Stop):
            patch.setattr(callbacks.RunWriter, "_write_models", stop)
            trainer.train(config, tmp_path / "run", resume=True)
        assert len(log_of(tmp_path / "run")) == epoch if epoch else True
    trainer.train(config, tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


PROGRAM = """
import pathlib, sys, time
sys.path[:0] = [{root!r}, {tests!r}]
from helpers.small_run import eagerly
from training import test_validation as test
from keras_actionformer.training import trainer, validation

calls = []

def detect(*args, **kwargs):
    calls.append(1)
    if len(calls) == {calls}:
        pathlib.Path({marker!r}).touch()
        time.sleep(600)
    return test.fake_detections(*args, **kwargs)

validation.detect_items = detect
with eagerly():
    trainer.train(test.validated_config(pathlib.Path({data!r})), {workdir!r}, resume=True)
"""


@pytest.mark.slow
def test_a_run_killed_in_its_validations_goes_on_bit_for_bit(whole, data, tmp_path):
    tests = pathlib.Path(__file__).parents[1]
    workdir, marker = tmp_path / "run", tmp_path / "marker"

    def start(calls):
        program = PROGRAM.format(
            root=str(tests.parent), tests=str(tests), data=str(data), workdir=str(workdir),
            marker=str(marker), calls=calls,
        )  # fmt: skip
        return subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    for calls in (4, 1):  # in the second epoch's validation, and again after going on
        run = start(calls)
        while not marker.exists():
            assert run.poll() is None
            time.sleep(0.05)
        run.send_signal(signal.SIGKILL)
        run.wait()
        marker.unlink()
        assert len(log_of(workdir)) == 1
    assert start(calls=0).wait() == 0
    assert_same_run(workdir, whole)


# --- what stops before it begins -----------------------------------------------------------------


@pytest.mark.parametrize(
    "section, name, value, message",
    [
        ("data", "val_subset", "validaton", "validaton"),
        ("train", "patience", -1, "train.patience must be 0 or more"),
        ("train", "val_every", -1, "train.val_every must be 0 or more"),
        ("train", "best_by", "map", "train.best_by must be one of mAP, loss"),
        ("train", "val_from", -1, "train.val_from must be 0 or more"),
        ("data", "min_action_share", 1.0, r"data.min_action_share must lie in \[0, 1\)"),
        ("data", "cut_keeps", "all", "cut_keeps must be .an_action"),
        ("train", "stop_after", -1, "train.stop_after must be 0 or more"),
        ("train", "keep_epochs", (5,), "keep_epochs names epoch 5, but there are 1 to 4"),
        ("train", "keep_epochs", (2.5,), "must be a whole number"),
    ],
)
def test_wrong_settings_are_one_sentence_and_leave_nothing(
    data, tmp_path, section, name, value, message
):
    config = validated_config(data)
    config[section][name] = value
    with pytest.raises(UserError, match=message):
        trainer.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_patience_needs_something_to_wait_for(data, tmp_path):
    config = small_config(data)
    config.train.patience = 3
    with pytest.raises(UserError, match=r"train.patience is 3, .* set data.val_subset"):
        trainer.train(config, tmp_path / "run")


def test_unusable_validation_features_stop_before_the_first_step(tmp_path):
    write_data(tmp_path)
    feats = np.load(tmp_path / "feats" / "v5.npy")
    feats[3, 2] = np.nan
    np.save(tmp_path / "feats" / "v5.npy", feats)
    with pytest.raises(UserError, match=r"v5\.npy"):
        trainer.train(validated_config(tmp_path), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_models_of_an_earlier_run_do_not_stay(quick, whole, data, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(whole, workdir)
    (workdir / "checkpoint.npz").unlink()
    config = small_config(data)
    config.train.epochs = 1
    trainer.train(config, workdir)
    assert not (workdir / "best.keras").exists()
