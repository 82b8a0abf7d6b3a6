"""The whole network against the reference, and what must not change its output."""

import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from helpers.golden_files import cases, join_levels, load
from helpers.models import reference_model, small_model, to_numpy
from keras_actionformer.data.grid import FeatureGrid
from keras_actionformer.detection.thresholds import Thresholds
from keras_actionformer.errors import UserError
from keras_actionformer.model import ActionFormer
from keras_actionformer.network.padding import inference_padding

SMALL = dict(
    input_dim=6,
    num_classes=3,
    backbone_arch=(2, 1, 2),
    embd_dim=8,
    fpn_dim=8,
    head_dim=8,
    n_head=2,
    n_mha_win_size=5,
    max_seq_len=32,
)


def _runs():
    for case in cases("a"):
        for run in load(case.values[0]).get("meta_json", {}).get("runs", {}):
            yield pytest.param(case.values[0], run, id=f"{case.id}-{run}")


@pytest.mark.parametrize("path, run", list(_runs()))
def test_forward_gives_the_reference_numbers(path, run):
    golden = load(path)
    model = reference_model(golden)
    x = {
        "feats": golden[f"in/{run}/feats"].transpose(0, 2, 1),
        "mask": golden[f"in/{run}/mask"][:, 0],
    }
    outputs = model(x)
    noise = golden["meta_json"]["float_noise"][run]
    count = len(model.strides)
    for name, key, stated in (
        ("logits", "cls_logits_", noise["max_abs_f32_minus_f64_cls"]),
        ("offsets", "offsets_", noise["max_abs_f32_minus_f64_off"]),
    ):
        expected = join_levels(golden, f"out/{run}/{key}", count)
        np.testing.assert_allclose(to_numpy(outputs[name]), expected, rtol=0, atol=10 * stated)
    points = model.points(x["feats"].shape[1])
    expected = join_levels(golden, f"out/{run}/points_", count)
    np.testing.assert_array_equal(to_numpy(points), expected)
    num_params = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert num_params == golden["meta_json"]["n_params"]


@pytest.fixture(scope="module")
def small():
    keras.utils.set_random_seed(1)
    model = ActionFormer(
        **SMALL,
        grid=FeatureGrid(30, 4, 16),
        class_names=("a", "b", "c"),
        thresholds=Thresholds(0.4, (0.3, None, 0.5)),
    )
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:  # so that no term hides behind a small value
        variable.assign(to_numpy(variable) + rng.normal(0, 0.2, variable.shape))
    return model


@pytest.mark.parametrize("num_steps", [1, 2, 3, 5, 31, 33, 50])
def test_any_length_runs(small, num_steps):
    feats = np.ones((2, num_steps, 6), "float32")
    outputs = small({"feats": feats, "mask": np.ones((2, num_steps), bool)})
    padded = -(-num_steps // 4) * 4
    assert outputs["logits"].shape == (2, padded + padded // 2 + padded // 4, 3)
    assert to_numpy(outputs["offsets"]).min() >= 0


def test_what_lies_behind_the_mask_does_not_matter(small):
    rng = np.random.default_rng(3)
    feats = rng.normal(size=(1, 24, 6)).astype("float32")
    mask = np.arange(24)[None] < 13
    garbage = np.where(mask[..., None], feats, 1e3).astype("float32")
    a, b = small({"feats": feats, "mask": mask}), small({"feats": garbage, "mask": mask})
    for name in a:
        np.testing.assert_array_equal(to_numpy(a[name]), to_numpy(b[name]))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="differentiates a graph")
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"backbone_type": "conv"},
        *(
            pytest.param(changes, marks=pytest.mark.slow)
            for changes in (
                {"n_mha_win_size": -1},
                {"use_abs_pe": True},
                {"fpn_type": "fpn"},
                {"fpn_type": "full_fpn", "mask_after_relu": True, "points_at_centers": True},
                {"backbone_arch": (2, 0, 2)},
                {"head_kernel_size": 5},
                {"embd_kernel_size": 9, "head_with_ln": False},
            )
        ),
    ],
    ids=str,
)
def test_a_training_step_needs_no_more_padding_than_detection(changes):
    """Loss and gradients of batches as long as `max_seq_len` and as short as they may be."""
    import tensorflow as tf

    model = small_model(**changes)
    padding = inference_padding(model.architecture)

    x_specs = {"feats": tf.TensorSpec((2, None, 5)), "mask": tf.TensorSpec((2, None), tf.bool)}
    y_specs = {"segments": tf.TensorSpec((2, 1, 2)), "labels": tf.TensorSpec((2, 1), tf.int32)}

    # Traced once for all lengths, which takes longer than all steps.
    @tf.function(input_signature=[x_specs, y_specs], autograph=False)
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x, y, model(x, training=False), training=False)
        return loss, tape.gradient(loss, [v.value for v in model.trainable_variables])

    longest, rng = model.config["max_seq_len"], np.random.default_rng(1)
    for length in (1, 5, 20, 31, 32, 41, longest):
        num_steps = padding.padded_steps(length)
        feats = rng.normal(size=(2, longest, 5)).astype("float32")
        mask = np.arange(longest) < np.array([[length], [max(1, length // 2)]])
        segments = np.array([[[0, length]], [[0, length / 2]]], "float32")
        y = {"segments": segments, "labels": np.array([[0], [2]], "int32")}
        expected = step({"feats": feats, "mask": mask}, y)
        found = step({"feats": feats[:, :num_steps], "mask": mask[:, :num_steps]}, y)
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
        largest = max(abs(gradient).max() for gradient in map(to_numpy, expected[1]))
        for a, b, variable in zip(found[1], expected[1], model.trainable_variables, strict=True):
            allowed = 1e-5 * max(abs(to_numpy(b)).max(), 0.1 * largest)
            np.testing.assert_allclose(a, b, rtol=0, atol=allowed, err_msg=variable.path)
    # Which would not hold for less: what follows a sequence shows in it.
    assert padding.padded_steps(20) < longest


def test_config_round_trip_keeps_everything(small):
    copy = ActionFormer.from_config(small.get_config())
    assert copy.get_config() == small.get_config()
    assert copy.thresholds == small.thresholds == Thresholds(0.4, (0.3, None, 0.5))
    copy.set_weights(small.get_weights())
    x = {"feats": np.ones((1, 20, 6), "float32"), "mask": np.ones((1, 20), bool)}
    np.testing.assert_array_equal(to_numpy(small(x)["logits"]), to_numpy(copy(x)["logits"]))


def test_keras_file_round_trip(small, tmp_path):
    small.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    feats = np.random.default_rng(5).normal(size=(40, 6)).astype("float32")
    ours, theirs = small.detect(feats), copy.detect(feats)
    np.testing.assert_array_equal(ours.scores, theirs.scores)
    np.testing.assert_array_equal(ours.segments_sec, theirs.segments_sec)
    assert copy.class_names == ("a", "b", "c")
    assert copy.thresholds == small.thresholds


def test_readme_way_of_loading_works_in_a_fresh_process(small, tmp_path):
    small.save(tmp_path / "model.keras")
    program = (
        "import keras; from keras_actionformer import ActionFormer; "
        f"print(keras.saving.load_model({str(tmp_path / 'model.keras')!r}).class_names)"
    )
    root = pathlib.Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )
    assert "('a', 'b', 'c')" in done.stdout


def test_mixed_precision_runs_and_stays_close():
    keras.utils.set_random_seed(1)
    full = ActionFormer(**SMALL)
    half = ActionFormer(**SMALL, dtype="mixed_bfloat16")
    half.set_weights(full.get_weights())
    x = {
        "feats": np.random.default_rng(0).normal(size=(1, 32, 6)).astype("float32"),
        "mask": np.ones((1, 32), bool),
    }
    a, b = full(x)["logits"], half(x)["logits"]
    assert keras.backend.standardize_dtype(b.dtype) == "bfloat16"
    assert keras.backend.standardize_dtype(half(x)["offsets"].dtype) == "float32"
    # bfloat16 has 8 bits of mantissa; logits are about -4.6 at first.
    np.testing.assert_allclose(to_numpy(a), to_numpy(keras.ops.cast(b, "float32")), atol=0.1)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(regression_range=[(0, 4)]), "regression_range has 1 pairs"),
        (dict(n_mha_win_size=[5, 5]), "n_mha_win_size has 2 windows"),
        (dict(input_dim=[3, 3]), "input_dim and embd_dim"),
        (dict(input_dim="6"), "input_dim must be an int or a list of ints, but is '6'"),
        (dict(n_mha_win_size=5.5), "n_mha_win_size must be an int or a list of ints"),
        (dict(n_head=3), "multiple of n_head"),
        (dict(fpn_dim=16), "fpn_dim must equal the width"),
        (dict(fpn_type="fpm"), "did you mean 'fpn'"),
        (dict(embd_kernel_size=4), "embd_kernel_size must be odd"),
        (dict(head_empty_cls=[3]), "head_empty_cls names class 3"),
        (dict(class_names=["a"]), "class_names has 1 name,"),
        (dict(cls_prior_prob=0.0), "cls_prior_prob"),
        (dict(num_classes=0), "num_classes must be a whole number of at least 1, but is 0"),
        (dict(num_classes=2.5), "num_classes must be a whole number"),
        (dict(scale_factor=3), "scale_factor must be 2 or 4"),
        (dict(droppath=1.5), "droppath must be a number from 0 to 0.99"),
        (dict(backbone_arch=(2, 2)), "backbone_arch must be three ints"),
        (dict(input_dim=0), "input_dim must be 1 or more"),
        (dict(regression_range=[(0, 4), (8, 4), (8, 9)]), r"regression_range.*has \[8, 4\]"),
        (dict(regression_range=[(0, 4), 5, (8, 9)]), r"regression_range.*has \[5\]"),
        (dict(use_rel_pe=True, n_mha_win_size=4), "use_rel_pe needs odd windows"),
        (dict(fpn_start_level=3), "the last level is 2"),
    ],
)
def test_contradicting_arguments_say_which(change, message):
    with pytest.raises(UserError, match=message):
        ActionFormer(**{**SMALL, **change})


def test_initial_values():
    model = ActionFormer(**SMALL, head_empty_cls=[1], cls_prior_prob=0.01)
    x = {"feats": np.zeros((1, 32, 6), "float32"), "mask": np.ones((1, 32), bool)}
    probability = 1 / (1 + np.exp(-to_numpy(model(x)["logits"])))
    # Features of zero leave little but the biases of the last layer.
    np.testing.assert_allclose(probability[..., 0], 0.01, rtol=1.5)
    assert probability[..., 1].max() < 1e-4
    # Neither regression output may start dead: a positive bias opens the ReLU.
    assert (to_numpy(model(x)["offsets"]) > 0).mean() > 0.9
