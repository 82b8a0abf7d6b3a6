"""Losses and gradients against the reference, and what they mean at the edges."""

import keras
import numpy as np
import pytest

from helpers.golden_files import cases, group, load, padded_training_batch
from helpers.models import reference_model, to_numpy
from keras_actionformer.network.losses import (
    detection_losses,
    diou_loss_1d,
    sigmoid_focal_loss,
)
from keras_actionformer.presets.reference import from_reference

tf = pytest.importorskip("tensorflow")
on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="takes gradients with TensorFlow"
)


def _focal_arguments(name):
    """`gamma1.5_alpha.6` -> {"gamma": 1.5, "alpha": 0.6}; `default` -> {}."""
    arguments = {}
    for part in name.split("_"):
        for key in ("alpha", "gamma"):
            if part.startswith(key):
                arguments[key] = float(part[len(key) :])
    return arguments


@on_tensorflow
@pytest.mark.parametrize("path", cases("c"))
def test_single_losses_and_their_gradients(path):
    golden = load(path)
    checks = []
    if "focal/logits" in golden:
        names = {k.split("/")[1] for k in golden if k.startswith("focal/") and k.count("/") == 2}
        checks += [
            (f"focal/{n}", "focal/targets", "focal/logits", sigmoid_focal_loss, n) for n in names
        ]
    if "ctr_diou_loss_1d/loss" in golden:
        checks.append(("ctr_diou_loss_1d", "iou/target", "iou/pred", diou_loss_1d, ""))
    for key, targets, predictions, loss, name in checks:
        x = tf.Variable(golden[predictions])
        with tf.GradientTape() as tape:
            value = loss(golden[targets], x, **_focal_arguments(name))
        np.testing.assert_allclose(to_numpy(value), golden[f"{key}/loss"], rtol=0, atol=1e-5)
        gradient = tape.gradient(value, x)
        np.testing.assert_allclose(gradient, golden[f"{key}/grad"], rtol=1e-5, atol=1e-5)


def _combos():
    for case in cases("c"):
        for combo in load(case.values[0]).get("meta_json", {}).get("combos", {}):
            yield pytest.param(case.values[0], combo, id=f"{case.id}-{combo}")


@on_tensorflow
@pytest.mark.parametrize("path, combo", list(_combos()))
def test_training_loss_and_gradients(path, combo):
    golden = load(path)
    settings = golden["meta_json"]["combos"][combo]
    model = reference_model(
        golden,
        loss_weight=settings["loss_weight"],
        label_smoothing=settings["label_smoothing"],
    )
    x, y = padded_training_batch(
        golden, f"in/{settings['batch']}/", golden["config_json"]["model"]["max_seq_len"]
    )
    # Evaluation mode differs from training mode in stochastic depth alone, which these files
    # have switched off.
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x, y, model(x, training=False), training=True)
    gradients = dict(
        zip(
            [v.path for v in model.trainable_variables],
            tape.gradient(loss, model.trainable_variables),
            strict=True,
        )
    )
    call1, normalizer = golden[f"{combo}/call1"], golden[f"{combo}/loss_normalizer"]
    # Told are losses of a positive point, whose number is what moved the normalizer.
    num_positive = round(10 * normalizer[0] - 9 * model.config["init_loss_norm"])
    told = [to_numpy(tracker.result()) for tracker in model.loss_trackers[:2]]
    losses = np.multiply(told, num_positive / normalizer[0])
    np.testing.assert_allclose([*losses, to_numpy(loss)], call1, rtol=1e-5)
    np.testing.assert_allclose(to_numpy(model.positives_average.value), normalizer[0], rtol=1e-6)

    noisy = settings["max_rel_grad_noise"]
    expected = group(golden, f"{combo}/grad/")
    order = golden["meta_json"]["param_order"]
    norms = dict(zip(order, golden[f"{combo}/grad_norms"], strict=True))
    norms64 = dict(zip(order, golden[f"{combo}/grad_norms_f64"], strict=True))
    for variable in model.trainable_variables:
        shapes = {n: golden[f"param/{n}"] for n in order}
        _, names = from_reference(variable, shapes)
        if any(n in noisy for n in names):
            continue
        gradient = gradients[variable.path]
        gradient = np.zeros(variable.shape) if gradient is None else to_numpy(gradient)
        norm = np.sqrt(sum(norms[n] ** 2 for n in names))
        stated = abs(norm - np.sqrt(sum(norms64[n] ** 2 for n in names)))
        allowed = max(10 * stated, 1e-5 * max(norm, 1.0))
        assert abs(np.linalg.norm(gradient) - norm) <= allowed, variable.path
        if all(n in expected for n in names):
            value, _ = from_reference(variable, expected)
            np.testing.assert_allclose(gradient, value, rtol=0, atol=allowed)

    for tracker in model.loss_trackers:
        tracker.reset_state()
    loss = model.compute_loss(x, y, model(x, training=False), training=True)
    np.testing.assert_allclose(to_numpy(loss), golden[f"{combo}/call2"][2], rtol=1e-5)
    np.testing.assert_allclose(to_numpy(model.positives_average.value), normalizer[1], rtol=1e-6)


def test_diou_by_hand():
    # Predicted [-1, 3], true [-2, 2] around the point: they share 3 of 5, the centers are 1 apart
    # in an enclosing segment of 5.
    loss = diou_loss_1d(np.array([[2.0, 2.0]]), np.array([[1.0, 3.0]]))
    np.testing.assert_allclose(to_numpy(loss), [1 - 3 / 5 + (1 / 5) ** 2], rtol=1e-6)
    # A prediction of length zero is finite.
    assert np.isfinite(to_numpy(diou_loss_1d(np.zeros((1, 2)), np.zeros((1, 2))))).all()


def test_focal_by_hand():
    # At probability 1/2 and a target of 1: 0.25 * (1/2)^2 * ln 2.
    loss = sigmoid_focal_loss(np.array([1.0]), np.array([0.0]))
    np.testing.assert_allclose(to_numpy(loss), [0.25 * 0.25 * np.log(2)], rtol=1e-6)


def test_weights_of_classes_multiply_their_losses():
    """Two points and three classes: the sum is that of the classes' own sums."""
    targets = np.float32([[[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]])
    offsets, valid = np.ones((1, 2, 2), "float32"), np.ones((1, 2), bool)
    logits = np.float32([[[0.3, -1.0, 2.0], [-0.5, 0.1, 0.7]]])

    def cls_loss(class_weights):
        cls, reg = detection_losses(targets, offsets, logits, offsets, valid, 0.0, class_weights)
        assert to_numpy(reg) == 0  # which they leave alone
        return to_numpy(cls)

    of_class = [cls_loss(np.eye(3)[i]) for i in range(3)]
    assert min(of_class) > 0
    np.testing.assert_allclose(cls_loss([2, 0.5, 1]), np.dot([2, 0.5, 1], of_class), rtol=1e-6)
    np.testing.assert_allclose(cls_loss(None), np.sum(of_class), rtol=1e-6)
