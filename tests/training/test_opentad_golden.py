"""Learning rates and ten training steps against OpenTAD's."""

import functools

import keras
import numpy as np
import pytest

from helpers.golden_files import cases, group, load
from helpers.models import to_numpy, without_stochastic_depth
from helpers.opentad_batches import opentad_batch
from helpers.opentad_models import opentad_model
from keras_actionformer.presets.opentad import parameter_name
from keras_actionformer.presets.reference import from_reference
from keras_actionformer.training.optimizers import SGD, AdamW, WarmupSchedule


def schedule_of(scheduler, learning_rate, steps_per_epoch):
    """The schedule for the section `scheduler` of OpenTAD's configuration.

    It counts all epochs, those of the warm-up included; milestones, too.
    """
    warmup = scheduler.get("warmup_epoch", 0)
    is_cosine = scheduler["type"] == "LinearWarmupCosineAnnealingLR"
    return WarmupSchedule(
        learning_rate,
        warmup * steps_per_epoch,
        decay="cosine" if is_cosine else "multistep",
        total_steps=scheduler["max_epoch"] * steps_per_epoch,
        milestones=[(m - warmup) * steps_per_epoch for m in scheduler.get("milestones", ())],
        gamma=scheduler.get("gamma", 0.1),
        warmup_holds=is_cosine,
    )


def _schedules():
    for case in cases("o_t"):
        for name, found in load(case.values[0])["meta_json"].get("schedules", {}).items():
            # A recipe of ActionFormer neither begins nor ends elsewhere than at about 0.
            if not {"eta_min", "warmup_start_lr"} & found["config"].keys():
                yield pytest.param(case.values[0], name, id=f"{case.id}-{name}")


@pytest.mark.parametrize("path, name", list(_schedules()))
def test_golden_learning_rates(path, name):
    golden = load(path)
    case, expected = golden["meta_json"]["schedules"][name], golden[name]
    steps_per_epoch = case["steps_per_epoch"]
    schedule = schedule_of(case["config"], max(expected), steps_per_epoch)
    # Beyond the last epoch its cosine goes up again; no training gets there.
    steps = range(min(len(expected), case["config"]["max_epoch"] * steps_per_epoch))
    rates = [float(schedule(step)) for step in steps]
    np.testing.assert_allclose(rates, expected[: len(rates)], rtol=1e-5, atol=1e-7 * max(expected))


def _trainings():
    return [case for case in cases("o_t") if "out/losses" in load(case.values[0])]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="ours is TensorFlow's")
@pytest.mark.parametrize("path", _trainings())
def test_golden_training_steps(path):
    golden = load(path)
    config, meta = golden["config_json"], golden["meta_json"]
    model = opentad_model(golden, input_dropout=0.0, dropout=0.0)
    without_stochastic_depth(model)
    count = meta["batches_per_epoch"]
    labels = [value for key, value in golden.items() if "gt_labels_" in key]
    batches = [opentad_batch(golden, f"in/batch{i}/", max(map(len, labels))) for i in range(count)]
    section = config["optimizer"]
    settings = dict(
        learning_rate=schedule_of(config["scheduler"], section["lr"], count),
        weight_decay=section["weight_decay"],
        global_clipnorm=config["clip_grad_norm"],
        use_ema=True,
        ema_momentum=meta["ema_decay"],
    )
    if section["type"] == "AdamW":
        optimizer = AdamW(**settings)
    else:
        optimizer = SGD(momentum=section["momentum"], **settings)
    model.compile(optimizer, jit_compile=False)

    names_of = functools.partial(parameter_name, fpn_type=model.architecture.fpn_type)
    shapes, noisy = group(golden, "param/"), set(meta["noise_dominated_params"])

    def check(values, prefix, atol):
        for variable, value in zip(model.trainable_variables, values, strict=True):
            expected, names = from_reference(variable, group(golden, prefix), names_of)
            # A softmax does not see a shift of all keys: these gradients are rounding alone.
            if noisy.intersection(names) or names[0].endswith(("key.bias", "key_norm.bias")):
                continue
            assert set(names) <= set(shapes)
            np.testing.assert_allclose(
                to_numpy(value), expected, rtol=0, atol=atol, err_msg=f"{variable.path} {prefix}"
            )

    for step, expected in enumerate(golden["out/losses"]):
        rate = float(optimizer.learning_rate)
        np.testing.assert_allclose(rate, golden["out/lr"][step, 0], rtol=1e-5, atol=1e-10)
        model.reset_metrics()
        before = float(model.positives_average.value)
        model.train_on_batch(*batches[step % count])
        normalizer = golden["out/loss_normalizer"][step]
        np.testing.assert_allclose(float(model.positives_average.value), normalizer, rtol=1e-5)
        told = model.get_metrics_result()
        positives = round(10 * normalizer - 9 * before)
        ours = np.multiply([told["cls_loss"], told["loss"]], positives / normalizer)
        noise = abs(golden["out/losses_f64"][step] - expected).max()
        np.testing.assert_allclose(ours, expected[[0, 2]], atol=max(10 * noise, 1e-5))
        if step == 1:
            check(model.trainable_variables, "step2/", 1e-5)
    # Ten steps of Adam are up to 0.01 in all; a gradient near 0 is known to its rounding.
    check(model.trainable_variables, "final/", 1e-4)
    check(optimizer.averages(), "ema/", 1e-5)
