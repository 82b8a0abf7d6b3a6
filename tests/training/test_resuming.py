"""Finished runs that go on: with which settings, learning rates and weights."""

import contextlib
import json
import shutil

import keras
import numpy as np
import pytest

from helpers.small_run import eagerly, small_config, write_data
from keras_actionformer import UserError
from keras_actionformer.training import trainer
from keras_actionformer.training.config import run_config
from keras_actionformer.training.experiment import Experiment

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="training pipelines are TensorFlow's"
)

STEPS = 2  # of an epoch


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_data(folder)
    return folder


def config_of(data, epochs, schedule="cosine"):
    """One epoch of warm-up, and `epochs` more."""
    config = small_config(data)
    config.train.epochs = epochs
    config.train.schedule = schedule
    config.train.milestones = (3,) if schedule == "multistep" else ()
    return config


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "short"
    with eagerly():
        trainer.train(config_of(data, 2), workdir)
    return workdir


@pytest.fixture
def run(finished, tmp_path):
    """A finished run of 3 epochs."""
    return shutil.copytree(finished, tmp_path / "run")


def state(workdir):
    with np.load(workdir / "checkpoint.npz") as file:
        return {name: file[name] for name in file.files if name != "log"}


def assert_same_state(a, b):
    a, b = state(a), state(b)
    assert list(a) == list(b)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def learning_rates(workdir):
    with np.load(workdir / "checkpoint.npz") as file:
        return [row["learning_rate"] for row in json.loads(str(file["log"]))]


class _Switched(keras.optimizers.schedules.LearningRateSchedule):
    """One schedule up to a step, then another."""

    def __init__(self, first, then, step):
        self._first, self._then, self._step = first, then, step

    def __call__(self, step):
        first, then = self._first(step), self._then(step)
        return keras.ops.where(step < self._step, first, then)


def test_more_epochs_go_on_with_the_rates_of_the_longer_schedule(
    run_eagerly, data, run, tmp_path, monkeypatch, capsys
):
    trainer.train(config_of(data, 5), run, resume=True)
    assert f"{run} goes on with train.epochs=5 instead of 2" in capsys.readouterr().out
    assert run_config(run)["train"]["epochs"] == 5
    assert (run / "log.csv").read_text().count("\n") == 1 + 6

    # One undisturbed training whose schedule changes at the step where the first one ended.
    def make(self, batches_per_epoch):
        optimizer = original(self, batches_per_epoch)
        first = original(Experiment(config_of(data, 2)), batches_per_epoch)
        optimizer._learning_rate = _Switched(
            first._learning_rate, optimizer._learning_rate, 3 * STEPS
        )
        return optimizer

    original = Experiment.make_optimizer
    with monkeypatch.context() as patch:
        patch.setattr(Experiment, "make_optimizer", make)
        trainer.train(config_of(data, 5), tmp_path / "whole")
    assert_same_state(run, tmp_path / "whole")
    schedule = original(Experiment(config_of(data, 5)), STEPS)._learning_rate
    expected = [float(schedule(epoch * STEPS)) for epoch in (4, 5, 6)]
    assert learning_rates(run)[3:] == expected and expected[0] > learning_rates(run)[2]


def test_with_milestones_it_is_the_longer_training(run_eagerly, data, tmp_path):
    trainer.train(config_of(data, 2, "multistep"), tmp_path / "run")
    trainer.train(config_of(data, 4, "multistep"), tmp_path / "run", resume=True)
    trainer.train(config_of(data, 4, "multistep"), tmp_path / "whole")
    assert_same_state(tmp_path / "run", tmp_path / "whole")


def test_a_schedule_that_was_stopped_goes_on_to_its_end(run_eagerly, data, finished, tmp_path):
    config = config_of(data, 2)
    config.train.stop_after = 1
    trainer.train(config, tmp_path / "run")
    trainer.train(config_of(data, 2), tmp_path / "run", resume=True)
    assert_same_state(tmp_path / "run", finished)


def test_fewer_epochs_than_are_done_are_refused(data, run):
    with pytest.raises(UserError, match=r"has 3 epochs behind it, more than the 2"):
        trainer.train(config_of(data, 1), run, resume=True)
    assert run_config(run)["train"]["epochs"] == 2


def test_nothing_else_may_change(data, run):
    config = config_of(data, 5)
    config.train.warmup_epochs = 2
    with pytest.raises(
        UserError, match=r"train.warmup_epochs=1.* now says 2.*may change is train.epochs"
    ):
        trainer.train(config, run, resume=True)


def test_features_that_are_lost_in_training_are_named_and_the_run_goes_on(run_eagerly, tmp_path):
    write_data(tmp_path / "data")
    config = small_config(tmp_path / "data")
    config.data.cache_gb = 0.0
    config.train.epochs = 4
    feats, away = tmp_path / "data" / "feats", tmp_path / "away"

    @contextlib.contextmanager
    def lose_features():
        def after_step():
            if feats.exists() and (tmp_path / "run" / "checkpoint.npz").exists():
                feats.rename(away)

        yield after_step

    told = r"feats/v\d.npy' does not exist.* keeps [1-4] of 5 epochs; go on with --resume"
    with pytest.raises(UserError, match=told):
        trainer.train(config, tmp_path / "run", around_fit=lose_features)
    away.rename(feats)
    trainer.train(config, tmp_path / "run", resume=True)
    assert len(learning_rates(tmp_path / "run")) == 5
