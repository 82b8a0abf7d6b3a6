"""Targets, losses and gradients against OpenTAD's."""

import functools

import keras
import numpy as np
import pytest

from helpers.golden_files import cases, group, load
from helpers.models import to_numpy
from helpers.opentad_batches import opentad_batch
from helpers.opentad_models import opentad_model
from keras_actionformer.network.losses import diou_loss_1d, sigmoid_focal_loss
from keras_actionformer.network.points import points_of
from keras_actionformer.network.targets import assign_targets
from keras_actionformer.presets.opentad import parameter_name
from keras_actionformer.presets.reference import from_reference

tf = pytest.importorskip("tensorflow")
on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="takes gradients with TensorFlow"
)


def _sets():
    for case in cases("o_t"):
        for name in load(case.values[0])["meta_json"].get("cases", {}):
            yield pytest.param(case.values[0], name, id=f"{case.id}-{name}")


def _point_classes(filter_similar_gt):
    return "shortest" if filter_similar_gt else "all"


@pytest.mark.parametrize("path, name", list(_sets()))
def test_golden_targets(path, name):
    golden = load(path)
    case, labels = golden["meta_json"]["cases"][name], golden[f"{name}/gt_labels"]
    segments = golden[f"{name}/gt_segments"].reshape(-1, 2)
    if not len(labels):  # a batch always has room for one action
        segments, labels = np.zeros((1, 2)), np.full(1, -1)
    cls_targets, reg_targets = assign_targets(
        golden[f"{name}/points"],
        segments[None].astype("float32"),
        labels[None].astype("int32"),
        case["num_classes"],
        case.get("center_sample", "radius"),
        case.get("center_sample_radius", 1.5),
        _point_classes(case.get("filter_similar_gt", True)),
    )
    _check_targets(to_numpy(cls_targets)[0], to_numpy(reg_targets)[0], group(golden, f"{name}/"))


def _check_targets(cls_targets, reg_targets, expected):
    np.testing.assert_array_equal(cls_targets, expected["cls"])
    positive = expected["cls"].any(axis=-1)
    np.testing.assert_allclose(reg_targets[positive], expected["reg"][positive], rtol=0, atol=1e-5)


@on_tensorflow
@pytest.mark.parametrize("path", cases("o_t"))
def test_golden_single_losses(path):
    golden = load(path)
    for name in {key.split("/")[0] for key in golden if key.endswith("/loss")}:
        if name == "giou":  # which no configuration of ActionFormer takes
            continue
        loss, grad = golden[f"{name}/loss"], golden[f"{name}/grad"]
        if name == "diou":
            # Ours takes offsets from a point, here from 0, which only segments share that overlap.
            targets, predicted = golden["iou/target"], golden["iou/pred"]
            share = np.minimum(*np.stack([targets, predicted])[:, :, 1]) > np.maximum(
                *np.stack([targets, predicted])[:, :, 0]
            )
            share &= abs(golden["iou/target"] - golden["iou/pred"]).min(axis=1) > 0  # a kink
            assert share.any()
            sign = np.array([-1, 1], "float32")
            targets, predicted = (x[share] * sign for x in (targets, predicted))
            function, loss, grad = diou_loss_1d, loss[share], grad[share] * sign
        else:
            targets, predicted = golden["focal/targets"], golden["focal/logits"]
            settings = {"focal": {}, "focal_a5_g1": {"alpha": 0.5, "gamma": 1.0}}[name]
            function = functools.partial(sigmoid_focal_loss, **settings)
        x = tf.Variable(predicted)
        with tf.GradientTape() as tape:
            value = function(tf.constant(targets), x)
        np.testing.assert_allclose(to_numpy(value), loss, rtol=1e-5, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(tape.gradient(value, x), grad, rtol=1e-4, atol=1e-5)


def _combos():
    for case in cases("o_t"):
        for combo in load(case.values[0])["meta_json"].get("combos", {}):
            yield pytest.param(case.values[0], combo, id=f"{case.id}-{combo}")


@functools.cache
def _golden_model(path):
    """One model a file: what a combination changes are settings of its losses alone."""
    golden = load(path)
    return golden, opentad_model(golden)


@on_tensorflow
@pytest.mark.parametrize("path, combo", list(_combos()))
def test_golden_losses_and_gradients(path, combo):
    golden, weights_of = _golden_model(path)
    case = golden["meta_json"]["combos"][combo]
    changes = dict(case["settings"])
    if "filter_similar_gt" in changes:
        changes["point_classes"] = _point_classes(changes.pop("filter_similar_gt"))
    model = type(weights_of).from_config({**weights_of.get_config(), **changes})
    for ours, theirs in zip(model.weights, weights_of.weights, strict=True):
        ours.assign(theirs)
    x, y = opentad_batch(golden, f"in/{case['batch']}/")
    _check_assignment(model, x, y, golden, case["batch"])
    # Evaluation mode differs from training mode in what is dropped alone, which is nothing there.
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x, y, model(x, training=False), training=True)
    gradients = tape.gradient(loss, model.trainable_variables)
    call1, normalizer = golden[f"{combo}/call1"], golden[f"{combo}/loss_normalizer"]
    np.testing.assert_allclose(to_numpy(loss), call1[2], rtol=1e-5)
    np.testing.assert_allclose(to_numpy(model.positives_average.value), normalizer[1], rtol=1e-6)
    # What is told is divided by the positive points of the batch, as its losses of a validation.
    told = model.get_metrics_result()
    cls_loss, reg_loss, cost = golden[f"{combo}/eval_loss"]
    np.testing.assert_allclose([told["cls_loss"], told["loss"]], [cls_loss, cost], rtol=1e-5)
    _check_gradients(model, gradients, golden, combo)
    loss = model.compute_loss(x, y, model(x, training=False), training=True)
    np.testing.assert_allclose(to_numpy(loss), golden[f"{combo}/call2"][2], rtol=1e-5)
    np.testing.assert_allclose(to_numpy(model.positives_average.value), normalizer[2], rtol=1e-6)


def _check_assignment(model, x, y, golden, batch):
    """Targets of the settings that the file has stored: those of its configuration."""
    settings = model.architecture
    head = golden["config_json"]["model"]["rpn_head"]
    is_stored = settings.center_sample == head["center_sample"]
    is_stored &= settings.center_sample_radius == head["center_sample_radius"]
    expected = group(golden, f"targets/{batch}/filter_{settings.point_classes == 'shortest'}/")
    if not is_stored or not expected:
        return
    cls_targets, reg_targets = assign_targets(
        points_of(settings, x["mask"].shape[1]),
        y["segments"],
        y["labels"],
        settings.num_classes,
        settings.center_sample,
        settings.center_sample_radius,
        settings.point_classes,
    )
    _check_targets(to_numpy(cls_targets), to_numpy(reg_targets), expected)


def _check_gradients(model, gradients, golden, combo):
    order, noisy = golden["meta_json"]["param_order"], _noisy(golden, combo)
    shapes = {name: golden[f"param/{name}"] for name in order}
    norms = dict(zip(order, golden[f"{combo}/grad_norms"], strict=True))
    exact = dict(zip(order, golden[f"{combo}/grad_norms_f64"], strict=True))
    names_of = functools.partial(parameter_name, fpn_type=model.architecture.fpn_type)
    stored = group(golden, f"{combo}/grad/")
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        _, names = from_reference(variable, shapes, names_of)
        if noisy.intersection(names):
            continue
        gradient = np.zeros(variable.shape) if gradient is None else to_numpy(gradient)
        norm = np.sqrt(sum(norms[name] ** 2 for name in names))
        noise = abs(norm - np.sqrt(sum(exact[name] ** 2 for name in names)))
        allowed = max(10 * noise, 1e-5 * max(norm, 1.0))
        assert abs(np.linalg.norm(gradient) - norm) <= allowed, variable.path
        if all(name in stored for name in names):
            value, _ = from_reference(variable, stored, names_of)
            np.testing.assert_allclose(gradient, value, rtol=0, atol=allowed)


def _noisy(golden, combo):
    return set(golden["meta_json"]["combos"][combo]["noise_dominated_grads"])
