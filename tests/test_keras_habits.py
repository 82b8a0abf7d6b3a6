"""What a person who knows Keras types: it works, or a sentence tells what to type instead."""

import csv

import keras
import numpy as np
import pytest

from helpers.models import to_numpy, without_stochastic_depth
from helpers.small_run import small_config, write_data
from keras_actionformer import ActionFormer, AdamW, train_dataset
from keras_actionformer.errors import UserError
from keras_actionformer.training.experiment import Experiment

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="training pipelines are TensorFlow's"
)
INPUTS = {"feats": np.zeros((1, 20, 4), "float32"), "mask": np.ones((1, 20), bool)}
ACTIONS = {"segments": np.array([[[2.0, 7.0]]], "float32"), "labels": np.array([[0]])}


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_data(folder)
    return Experiment(small_config(folder))


@pytest.fixture(scope="module")
def batches(experiment):
    """Batches of four epochs of two, and all of the validation."""
    annotations = experiment.read_annotations()
    features, timing, lengths = experiment.features, experiment.timing, experiment.lengths
    return (
        experiment.training_stream(annotations.subset("training"), range(4)),
        train_dataset(annotations.subset("test"), features, timing, lengths, 2, range(1)),
    )


def compiled(experiment, optimizer=None, **settings):
    model = experiment.build_model(experiment.read_annotations())
    model.compile(optimizer or AdamW(1e-2, use_ema=True), run_eagerly=True, **settings)
    return model


def test_fit_with_keras_callbacks(experiment, batches, tmp_path):
    train, validation = batches
    model = compiled(experiment)
    history = model.fit(
        train,
        validation_data=validation,
        epochs=3,
        steps_per_epoch=2,
        shuffle=False,
        verbose=0,
        callbacks=[
            # No step can be so much better.
            keras.callbacks.EarlyStopping(min_delta=100, patience=2, restore_best_weights=True),
            keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", save_best_only=True),
            keras.callbacks.ReduceLROnPlateau(min_delta=100, patience=1, factor=0.5),
            keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        ],
    ).history
    assert len(history["val_loss"]) == 3 and np.isfinite(history["val_loss"]).all()
    assert history["learning_rate"] == pytest.approx([1e-2, 1e-2, 5e-3])
    with open(tmp_path / "log.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val_loss"]) for row in rows] == pytest.approx(history["val_loss"])
    assert (tmp_path / "best.keras").exists()


def test_fit_with_tensorboard(experiment, batches, tmp_path):
    pytest.importorskip("tensorboard")
    callback = keras.callbacks.TensorBoard(tmp_path)
    model = compiled(experiment)
    model.fit(
        batches[0], epochs=1, steps_per_epoch=1, shuffle=False, verbose=0, callbacks=[callback]
    )
    assert list(tmp_path.rglob("*tfevents*"))


def test_a_checkpoint_goes_on(experiment, batches, tmp_path):
    """Optimizer, averages and normalizer come back: two steps more are the model's own."""
    model = compiled(experiment)
    model.train_on_batch(*next(iter(batches[0])))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for one in (model, loaded):  # of which Keras does not keep what is drawn next
        without_stochastic_depth(one)
    for _ in range(2):
        for one in (model, loaded):
            one.train_on_batch(*next(iter(batches[1])))
    for ours, theirs in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_allclose(to_numpy(ours), to_numpy(theirs), rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(loaded.optimizer.averages(), model.optimizer.averages(), strict=True):
        np.testing.assert_allclose(to_numpy(ours), to_numpy(theirs), rtol=1e-5, atol=1e-6)


def test_evaluate_gives_the_losses(experiment, batches):
    model = compiled(experiment)
    found = model.evaluate(batches[1], verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(found["cls_loss"] + found["reg_loss"], rel=1e-5)
    assert found["loss"] in model.evaluate(batches[1], verbose=0)


def test_losses_do_not_depend_on_batches(experiment, batches):
    """Nor on where the normalizer starts: they are those of a positive point."""
    model = compiled(experiment)
    losses = ("loss", "cls_loss", "reg_loss")
    both = model.evaluate(batches[1], verbose=0, return_dict=True)
    each = model.evaluate(batches[1].unbatch().batch(1), verbose=0, return_dict=True)
    for name in losses:
        assert each[name] == pytest.approx(both[name], rel=1e-5)
    model.positives_average.value.assign(1000.0)
    again = model.evaluate(batches[1], verbose=0, return_dict=True)
    assert [again[name] for name in losses] == [both[name] for name in losses]


def test_predict_gives_raw_outputs(experiment, batches):
    model = compiled(experiment)
    assert model.predict(INPUTS, verbose=0)["offsets"].shape == (1, 30, 2)  # 20 + 10 points
    assert model.predict(batches[1], verbose=0)["logits"].shape == (2, 48, 2)


@pytest.mark.parametrize("feats", [np.zeros((20, 4)), [np.zeros((20, 4)), np.zeros((30, 4))]])
def test_predict_names_detect(experiment, feats):
    with pytest.raises(UserError, match=r"\{'feats': .*detect\(feats\) takes sequences"):
        compiled(experiment).predict(feats)


@pytest.mark.parametrize("name, value", [("class_weight", {0: 1.0}), ("sample_weight", [1.0])])
def test_fit_has_no_weights_of_sequences(experiment, batches, name, value):
    with pytest.raises(UserError, match=rf"fit\({name}=...\) weighs whole sequences"):
        compiled(experiment).fit(batches[0], **{name: value})


@pytest.mark.parametrize(
    "arguments", [(INPUTS,), (INPUTS, ACTIONS["labels"]), (INPUTS, ACTIONS, np.ones(1))]
)
def test_batches_of_another_form(experiment, arguments):
    with pytest.raises(UserError, match=r"Batches are pairs \(\{'feats', 'mask'\}, \{'segments'"):
        compiled(experiment).train_on_batch(*arguments)
    assert compiled(experiment).train_on_batch(INPUTS, ACTIONS)


@pytest.mark.parametrize("settings", [dict(loss="mse"), dict(metrics=["accuracy"])])
def test_compile_needs_neither_loss_nor_metrics(experiment, settings):
    with pytest.raises(UserError, match=r"compile\(.*\) has no use here: the model has its own"):
        compiled(experiment, **settings)


@pytest.mark.parametrize("verb", ["fit", "evaluate"])
def test_averages_are_no_variables_to_swap(experiment, batches, verb):
    with pytest.raises(UserError, match=r"compile\(keras.optimizers.AdamW\(..., use_ema=True\)\)"):
        callback = keras.callbacks.SwapEMAWeights()
        getattr(compiled(experiment), verb)(batches[1], callbacks=[callback])
    model = compiled(experiment, keras.optimizers.AdamW(1e-2, use_ema=True))
    model.fit(INPUTS, ACTIONS, verbose=0, callbacks=[keras.callbacks.SwapEMAWeights()])


def test_keras_own_optimizers(experiment):
    assert np.isfinite(compiled(experiment, "adam").train_on_batch(INPUTS, ACTIONS)).all()


@pytest.mark.parametrize(
    "setting, value",
    [
        (keras.config.set_dtype_policy, "mixed_bfloat16"),
        (keras.config.set_dtype_policy, "mixed_float16"),
        (keras.config.set_dtype_policy, "bfloat16"),
        (keras.config.set_dtype_policy, "float64"),
        (keras.config.set_floatx, "float64"),
        (keras.config.set_image_data_format, "channels_first"),
    ],
)
def test_settings_of_all_of_keras(experiment, setting, value, request):
    for undo, usual in (
        (keras.config.set_dtype_policy, "float32"),
        (keras.config.set_floatx, "float32"),
        (keras.config.set_image_data_format, "channels_last"),
    ):
        request.addfinalizer(lambda undo=undo, usual=usual: undo(usual))
    setting(value)
    model = compiled(experiment)
    assert np.isfinite(model.train_on_batch(INPUTS, ACTIONS)).all()
    is_scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert is_scaled == (value == "mixed_float16")  # in which small gradients vanish
    assert np.isfinite(model.detect(np.ones((20, 4), "float32")).scores).all()


def test_a_model_of_half_precision_scales_its_loss(experiment):
    config = experiment.build_model(experiment.read_annotations()).get_config()
    model = ActionFormer(**config, dtype="mixed_float16")
    model.compile("adam")
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
