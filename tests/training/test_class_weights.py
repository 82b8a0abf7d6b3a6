"""Weights of classes: from the configuration to the loss, and to what `inspect` shows."""

import json

import keras
import numpy as np
import pytest

from helpers.models import to_numpy
from helpers.small_run import small_config, write_data
from keras_actionformer.errors import UserError
from keras_actionformer.training.config import check_config
from keras_actionformer.training.diagnosis import diagnose
from keras_actionformer.training.experiment import Experiment

INPUTS = {"feats": np.ones((1, 20, 4), "float32"), "mask": np.ones((1, 20), bool)}
ACTIONS = {"segments": np.array([[[2.0, 7.0]]], "float32"), "labels": np.array([[0]])}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Videos with 3 actions of "a" and 1 of "b" to train on, of 3 classes."""
    folder = tmp_path_factory.mktemp("data")
    write_data(folder)
    path = folder / "annotations.json"
    content = json.loads(path.read_text())
    labels = {"v0": (0, 0), "v1": (1, 0)}
    for name, video in content["database"].items():
        found = zip(labels.get(name, ()), video["annotations"], strict=False)
        if video["subset"] == "training":
            video["annotations"] = [
                {**action, "label": "ab"[label], "label_id": label} for label, action in found
            ]
    path.write_text(json.dumps(content))
    return folder


def weighted_config(data, weights):
    config = small_config(data)
    config.model.num_classes = 3
    config.train.class_weights = weights
    return config


def weights_of(config):
    experiment = Experiment(config)
    return experiment.class_weights(experiment.read_annotations())


def test_balanced_weights_are_of_the_training_subset(data):
    # 2 actions on average of a class that has some; together they weigh 4, as without.
    assert weights_of(weighted_config(data, "balanced")) == pytest.approx([2 / 3, 2.0, 1.0])
    assert weights_of(weighted_config(data, None)) is None
    assert weights_of(weighted_config(data, (1, 2, 0.5))) == (1, 2, 0.5)


def test_inspect_shows_them(data):
    def lines_of(weights):
        return str(diagnose(weighted_config(data, weights))).splitlines()

    header, *rows = lines_of("balanced")[4:8]
    assert header.split()[-1] == "weight"
    assert [row.split()[-1] for row in rows] == ["0.667", "2", "1"]
    assert "weight" not in lines_of(None)[4]


@pytest.mark.parametrize(
    "weights, message",
    [
        ("balance", "train.class_weights must be a list of numbers"),
        ((1.0, 2.0), "has 2 numbers for 3 classes"),
        ((1.0, -2.0, 1.0), "must be 0 or more, but one is -2"),
        ((1.0, "2", 1.0), "must be a finite number"),
    ],
)
def test_wrong_weights(data, weights, message):
    with pytest.raises(UserError, match=message):
        check_config(weighted_config(data, weights))


def test_a_model_learns_by_them(data):
    experiment = Experiment(weighted_config(data, None))
    model = experiment.build_model(experiment.read_annotations())
    outputs = model(INPUTS)

    def loss():
        return float(to_numpy(model.compute_loss(INPUTS, ACTIONS, outputs, training=False)))

    plain = loss()
    model.class_weights = [1, 1, 1]
    assert loss() == pytest.approx(plain, rel=1e-6)
    model.class_weights = [0, 0, 0]  # what is left is the loss of the segments
    assert loss() < plain
    model.class_weights = None
    assert loss() == plain
    with pytest.raises(UserError, match="class_weights has 1 number for 3 classes"):
        model.class_weights = [1]
    assert keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model))
