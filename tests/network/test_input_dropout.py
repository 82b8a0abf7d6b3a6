"""Dropout of input channels: whole ones, rescaled, each sequence its own, only in training."""

import keras
import numpy as np
import pytest

from helpers.models import to_numpy
from keras_actionformer import ActionFormer
from keras_actionformer.errors import UserError

SMALL = dict(
    input_dim=64,
    num_classes=2,
    backbone_arch=(1, 1, 1),
    embd_dim=8,
    fpn_dim=8,
    head_dim=8,
    n_head=2,
    n_mha_win_size=3,
    max_seq_len=16,
)


def inputs(batch_size=3, channels=64):
    feats = np.random.default_rng(0).normal(1, 0.1, (batch_size, 16, channels))
    return {"feats": feats.astype("float32"), "mask": np.ones((batch_size, 16), bool)}


def dropped(model, feats):
    return to_numpy(model.get_layer("backbone").drop(feats, training=True))


def test_whole_channels_of_each_sequence_are_dropped_and_the_others_rescaled():
    keras.utils.set_random_seed(0)
    feats = inputs()["feats"]
    output = dropped(ActionFormer(**SMALL, input_dropout=0.25), feats)
    zero = output == 0
    assert (zero == zero[:, :1]).all()  # at all steps or at none
    assert not (zero[0, 0] == zero[1, 0]).all()
    np.testing.assert_allclose(output[~zero], feats[~zero] / 0.75, rtol=1e-6)
    # 48 of 192 on average; the standard deviation is 6.
    assert 24 < zero[:, 0].sum() < 72


def test_channels_of_the_projections_are_dropped_when_there_are_several_streams():
    keras.utils.set_random_seed(0)
    settings = {**SMALL, "input_dim": [40, 24], "embd_dim": [4, 4]}
    model = ActionFormer(**settings, input_dropout=0.5)
    assert dropped(model, inputs(channels=8)["feats"]).shape == (3, 16, 8)
    assert np.isfinite(to_numpy(model(inputs(), training=True)["logits"])).all()


def test_it_changes_training_alone():
    plain, dropping = (ActionFormer(**SMALL, input_dropout=p, droppath=0.0) for p in (0.0, 0.5))
    for ours, theirs in zip(dropping.trainable_variables, plain.trainable_variables, strict=True):
        ours.assign(theirs)
    expected = to_numpy(plain(inputs(), training=True)["logits"])
    np.testing.assert_array_equal(to_numpy(dropping(inputs())["logits"]), expected)
    training = to_numpy(dropping(inputs(), training=True)["logits"])
    assert np.abs(training - expected).max() > 1e-4


def test_without_it_there_is_no_state_for_it():
    assert not hasattr(ActionFormer(**SMALL).get_layer("backbone"), "drop")


def test_it_is_saved_and_checked(tmp_path):
    model = ActionFormer(**SMALL, input_dropout=0.3)
    model.save(tmp_path / "model.keras")
    assert keras.saving.load_model(tmp_path / "model.keras").config["input_dropout"] == 0.3
    with pytest.raises(UserError, match="input_dropout must be a number from 0 to 0.99"):
        ActionFormer(**SMALL, input_dropout=1.0)
