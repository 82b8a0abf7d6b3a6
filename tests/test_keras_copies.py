"""All ways of Keras and TensorFlow to keep or copy a model give the same model, or say why not."""

import copy
import os
import pickle

import keras
import numpy as np
import pytest

from helpers.models import CHANNELS, small_model, to_numpy, without_stochastic_depth
from keras_actionformer.errors import UserError
from keras_actionformer.model import ActionFormer
from keras_actionformer.network.adapted_layers import layers_within

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="checkpoints are TensorFlow's"
)


@pytest.fixture(scope="module", params=["convTransformer", "conv"])
def model(request):
    return small_model(fpn_type="fpn", backbone_type=request.param)


def fresh(model):
    return ActionFormer.from_config(model.get_config())


def by_checkpoint(model, folder):
    import tensorflow as tf

    path = tf.train.Checkpoint(model=model).save(folder / "checkpoint")
    other = fresh(model)
    status = tf.train.Checkpoint(model=other).restore(path)
    status.assert_existing_objects_matched()
    status.assert_consumed()
    return other


def by_checkpoint_manager(model, folder):
    import tensorflow as tf

    tf.train.CheckpointManager(tf.train.Checkpoint(net=model), folder, max_to_keep=1).save()
    other = fresh(model)
    checkpoint = tf.train.Checkpoint(net=other)
    assert tf.train.CheckpointManager(checkpoint, folder, max_to_keep=1).restore_or_initialize()
    return other


def by_keras_file(model, folder):
    model.save(folder / "model.keras")
    return keras.saving.load_model(folder / "model.keras")


def by_weights_file(model, folder):
    model.save_weights(folder / "model.weights.h5")
    other = fresh(model)
    other.load_weights(folder / "model.weights.h5")
    return other


def by_pickle(model, folder):
    return pickle.loads(pickle.dumps(model))


def by_deep_copy(model, folder):
    return copy.deepcopy(model)


def by_weights(model, folder):
    other = fresh(model)
    other.set_weights(model.get_weights())
    return other


def by_preset(model, folder):
    model.save_to_preset(folder / "preset")
    return ActionFormer.from_preset(folder / "preset")


@pytest.mark.parametrize(
    "copied",
    [
        by_checkpoint,
        by_checkpoint_manager,
        by_keras_file,
        by_weights_file,
        by_pickle,
        by_deep_copy,
        by_weights,
        by_preset,
    ],
)
def test_a_copy_is_the_same_model(model, copied, tmp_path):
    other = copied(model, tmp_path)
    assert [v.path for v in other.weights] == [v.path for v in model.weights]
    for ours, theirs in zip(other.weights, model.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(ours), to_numpy(theirs))
    feats = np.random.default_rng(1).normal(size=(30, CHANNELS)).astype("float32")
    found, expected = other.detect(feats), model.detect(feats)
    assert len(found) == len(expected) > 0
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
    assert found.class_names == expected.class_names


def test_clone_model_names_the_way_to_copy(model):
    with pytest.raises(UserError, match=r"without detect: ActionFormer.from_config\(model.get"):
        keras.models.clone_model(model)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked")
def test_a_forked_process_is_told_to_spawn(model):
    """It would wait for ever for threads that only the first process has."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            model.detect(np.zeros((20, CHANNELS), "float32"))
        except BaseException as error:
            os.write(writing, str(error).encode())
        os._exit(0)
    os.close(writing)
    with open(reading) as answer:
        assert "multiprocessing.get_context('spawn')" in answer.read()
    os.waitpid(child, 0)


# --- what is changed after its first use ------------------------------------------------------


def with_lora(model):
    for layer in layers_within(model.layers):
        if isinstance(layer, keras.layers.Dense):
            layer.enable_lora(2)
            layer.lora_kernel_b.assign(0.3 * np.ones(layer.lora_kernel_b.shape))


def with_int8(model):
    model.quantize("int8")


def with_half_precision(model):
    for layer in layers_within([model.get_layer("heads")]):
        layer.dtype_policy = "mixed_bfloat16"


@pytest.mark.parametrize("change", [with_lora, with_int8, with_half_precision])
def test_detect_heeds_what_is_changed_after_its_first_use(change):
    model = small_model()
    feats = np.random.default_rng(1).normal(size=(30, CHANNELS)).astype("float32")
    before = [model.detect(feats) for _ in range(10)][-1]  # traced
    change(model)
    after = model.detect(feats)
    assert len(after) != len(before) or not np.array_equal(after.scores, before.scores)


def with_a_frozen_layer(model):
    model.get_layer("backbone").trainable = False


def with_frozen_variables(model):
    for variable in model.network_weights:
        variable.trainable = not variable.path.startswith("neck") and variable.name != "bias"


ONE = (
    {"feats": np.zeros((1, 20, CHANNELS), "float32"), "mask": np.ones((1, 20), bool)},
    {"segments": np.array([[[2.0, 7.0]]], "float32"), "labels": np.array([[0]])},
)


@pytest.mark.parametrize("change", [with_a_frozen_layer, with_frozen_variables, with_lora])
@pytest.mark.parametrize("copied", [by_keras_file, by_deep_copy])
def test_what_was_frozen_and_trained_goes_on_so(change, copied, tmp_path):
    model = small_model()
    change(model)
    model.compile("adam", run_eagerly=True)
    model.train_on_batch(*ONE)
    other = copied(model, tmp_path)
    if change is with_lora:  # merged: its optimizer fits no more
        assert not other.compiled and len(other.trainable_variables) == len(other.network_weights)
        return
    ours, theirs = ([v.path for v in one.trainable_variables] for one in (other, model))
    assert ours == theirs
    other.run_eagerly = True
    for one in (model, other):
        without_stochastic_depth(one)
        one.train_on_batch(*ONE)
    for ours, theirs in zip(other.weights, model.weights, strict=True):
        np.testing.assert_allclose(to_numpy(ours), to_numpy(theirs), atol=1e-6)


@pytest.mark.parametrize("copied", [by_keras_file, by_preset])
def test_lora_is_merged_into_what_is_saved(copied, tmp_path):
    model = small_model()
    with_lora(model)
    feats = np.random.default_rng(1).normal(size=(30, CHANNELS)).astype("float32")
    found, expected = copied(model, tmp_path).detect(feats), model.detect(feats)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)


@pytest.mark.parametrize("copied", [by_keras_file, by_pickle, by_deep_copy])
def test_a_quantized_model_stays_one(copied, tmp_path):
    model = small_model()
    with_int8(model)
    feats = np.random.default_rng(1).normal(size=(30, CHANNELS)).astype("float32")
    other, expected = copied(model, tmp_path), model.detect(feats)
    assert {str(v.dtype) for v in other.weights} == {str(v.dtype) for v in model.weights}
    np.testing.assert_allclose(other.detect(feats).scores, expected.scores, atol=1e-6)


def test_a_preset_is_not_replaced_by_a_quantized_model(tmp_path):
    model = small_model()
    model.save_to_preset(tmp_path / "preset")
    with_int8(model)
    with pytest.raises(UserError, match=r"is quantized \(int8\): save it before quantize\(\)"):
        model.save_to_preset(tmp_path / "preset")
    assert [path.name for path in tmp_path.iterdir()] == ["preset"]
    ActionFormer.from_preset(tmp_path / "preset")


def test_a_partly_quantized_model_is_refused(tmp_path):
    model, path = small_model(), tmp_path / "model.keras"
    model.save(path)
    before = path.read_bytes()
    layers = [x for x in layers_within(model.layers) if isinstance(x, keras.layers.Dense)]
    layers[0].quantize("int8")
    text = "some dense layers are quantized in one way and some"
    with pytest.raises(UserError, match=text):
        copy.deepcopy(model)
    with pytest.raises(UserError, match=text):
        model.save(path)
    assert path.read_bytes() == before
    # Keras' own function opens the file before it asks anything of the model.
    with pytest.raises(UserError, match=text):
        keras.saving.save_model(model, path)
    assert path.read_bytes() != before
