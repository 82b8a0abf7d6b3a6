"""Folds: every video is held out once, and a fold's training never sees it."""

import collections
import json

import keras
import numpy as np
import pytest

from helpers.programs import run_here
from helpers.small_run import eagerly, small_config, write_data
from keras_actionformer.data.annotations import Video
from keras_actionformer.errors import UserError
from keras_actionformer.training import folds
from keras_actionformer.training.folds import FoldScores, make_folds, train_folds

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="training pipelines are TensorFlow's"
)


def videos(num_videos):
    none = np.zeros((0, 2)), np.zeros(0, np.int64)
    return [Video(f"v{i}", "all", 10.0, 1.0, *none) for i in range(num_videos)]


def test_every_video_is_held_out_once():
    found = make_folds(videos(17), 5)
    assert list(found) == [f"fold_{i}" for i in range(1, 6)]
    assert sorted(sum(found.values(), [])) == sorted(v.video_id for v in videos(17))
    assert {len(fold) for fold in found.values()} == {3, 4}
    assert found == make_folds(videos(17), 5) != make_folds(videos(17), 5, seed=1)


def test_leaving_one_out():
    groups = {f"v{i}": f"user{i % 3}" for i in range(7)}
    assert make_folds(videos(7), groups=groups) == {
        "user0": ["v0", "v3", "v6"], "user1": ["v1", "v4"], "user2": ["v2", "v5"]
    }  # fmt: skip
    with pytest.raises(UserError, match="nothing in the column to leave out by, first of 'v7'"):
        make_folds(videos(8), groups=groups)
    with pytest.raises(UserError, match="only the fold 'a'"):
        make_folds(videos(2), groups={"v0": "a", "v1": "a"})


def test_scores():
    scores = FoldScores({"a": 50.0, "b": 70.0})
    assert scores.mean == 60 and scores.std == pytest.approx(np.sqrt(200))
    assert str(scores).splitlines()[-1] == (
        "Average mAP 60.00, standard deviation 14.14 over 2 folds (50.00 to 70.00)."
    )


@pytest.fixture
def data(tmp_path):
    write_data(tmp_path)
    config = small_config(tmp_path)
    config.train.warmup_epochs, config.train.epochs = 1, 1
    config.train.batch_size = 1
    return config


@pytest.mark.slow
def test_a_fold_never_sees_what_it_is_scored_on(data, tmp_path, monkeypatch):
    seen = []

    def train(config, workdir, resume, **options):
        seen.append(workdir.name)
        return real_train(config, workdir, resume, **options)

    real_train = folds.train
    monkeypatch.setattr(folds, "train", train)
    told = []
    with eagerly():
        scores = train_folds(data, tmp_path / "runs", num_folds=2, progress=told.append)
    assert seen == ["fold_1", "fold_2"] == list(scores.average_mean_ap)
    assert told[0] == "fold_1 (1 of 2): 3 of 6 videos held out"
    held_out = []
    for fold in seen:
        config = json.loads((tmp_path / "runs" / fold / "config.json").read_text())["data"]
        lines = (tmp_path / "runs" / f"{fold}_split.csv").read_text().splitlines()[1:]
        split = dict(line.split(",") for line in lines)
        assert collections.Counter(split.values()) == {"training": 3, "held out": 3}
        assert (config["train_subset"], config["eval_subset"]) == ("training", "held out")
        detections = json.loads((tmp_path / "runs" / fold / "detections.json").read_text())
        own = {video for video, subset in split.items() if subset == "held out"}
        assert set(detections["results"]) == own
        held_out += own
    assert sorted(held_out) == [f"v{i}" for i in range(6)]
    assert json.loads((tmp_path / "runs" / "folds.json").read_text()) == scores.average_mean_ap
    # What is scored already stays when it goes on.
    (tmp_path / "runs" / "fold_2" / "evaluation.json").unlink()
    seen.clear()
    with eagerly():
        again = train_folds(data, tmp_path / "runs", num_folds=2, resume=True, progress=told.append)
    assert seen == ["fold_2"] and again == scores


@pytest.mark.parametrize(
    "options, message",
    [
        (
            ["--folds=2", "--leave_one_out=user"],
            "Give --folds=N or --leave_one_out=COLUMN, not both",
        ),
        (["--folds=1"], "--folds=1"),
        (["--folds=9"], "too few for 9 subsets"),
    ],
)
def test_wrong_options(data, tmp_path, options, message):
    (tmp_path / "mine.py").write_text(
        "from keras_actionformer import default_config\n"
        "def get_config():\n"
        "    config = default_config()\n"
        "    config.data.annotations, config.data.feats = 'annotations.json', 'feats'\n"
        "    config.model.input_dim, config.model.num_classes = 4, 2\n"
        "    return config\n"
    )
    done = run_here(tmp_path, "train", "--config=mine.py", "--workdir=runs", *options)
    assert done.returncode == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1
