"""Schedules and optimizers: the reference's rates, ten training steps of it, serialization."""

import importlib.util
import os
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

from helpers.golden_files import cases, group, load, padded_training_batch
from helpers.models import reference_model, to_numpy, without_stochastic_depth
from keras_actionformer.presets.reference import from_reference
from keras_actionformer.training import vector_update
from keras_actionformer.training.config import default_config
from keras_actionformer.training.experiment import Experiment
from keras_actionformer.training.optimizers import SGD, AdamW, WarmupSchedule


def schedule_of(opt, steps_per_epoch):
    """The schedule for the section `opt` of the reference's configuration."""
    warmup = opt["warmup_epochs"] * steps_per_epoch if opt["warmup"] else 0
    return WarmupSchedule(
        opt["learning_rate"],
        warmup,
        decay=opt["schedule_type"],
        total_steps=warmup + opt["epochs"] * steps_per_epoch,
        milestones=[epoch * steps_per_epoch for epoch in opt["schedule_steps"]],
        gamma=opt["schedule_gamma"],
        min_learning_rate=1e-8 if opt["warmup"] else 0.0,
    )


def _sequences():
    for case in cases("d"):
        for name in load(case.values[0])["meta_json"].get("sequences", {}):
            yield pytest.param(case.values[0], name, id=f"{case.id}-{name}")


@pytest.mark.parametrize("path, name", list(_sequences()))
def test_learning_rates_are_the_references(path, name):
    golden = load(path)
    case = golden["meta_json"]["sequences"][name]
    schedule = schedule_of(case["opt"], case["num_iters_per_epoch"])
    rates = [float(schedule(step)) for step in range(len(golden[name]))]
    np.testing.assert_allclose(rates, golden[name], rtol=1e-5, atol=1e-7 * max(golden[name]))
    copy = WarmupSchedule.from_config(schedule.get_config())
    assert [float(copy(step)) for step in range(len(rates))] == rates


def _training_runs():
    return [case for case in cases("d") if "config_json" in load(case.values[0])]


def _has_no_gradient(names):
    """Whether the gradient is zero but for rounding: a softmax does not see a shift of all keys."""
    return any(name.endswith(("attn.key.bias", "attn.key_norm.bias")) for name in names)


@pytest.mark.parametrize(
    "jit_compile",
    [pytest.param(False, id="graph"), pytest.param(True, id="xla", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("path", _training_runs())
def test_training_steps_are_the_references(path, jit_compile):
    golden = load(path)
    config, meta = golden["config_json"], golden["meta_json"]
    opt = config["opt"]
    model = reference_model(golden)
    without_stochastic_depth(model)
    batches = []
    while f"in/batch{len(batches)}/v0/feats" in golden:
        prefix = f"in/batch{len(batches)}/"
        batches.append(padded_training_batch(golden, prefix, config["model"]["max_seq_len"]))
    # One static shape, as in training.
    most = max(y["labels"].shape[1] for _, y in batches)
    for _, y in batches:
        room = most - y["labels"].shape[1]
        y["segments"] = np.pad(y["segments"], [(0, 0), (0, room), (0, 0)])
        y["labels"] = np.pad(y["labels"], [(0, 0), (0, room)], constant_values=-1)

    clip = config["train_cfg"]["clip_grad_l2norm"]
    settings = dict(
        learning_rate=schedule_of(opt, len(batches)),
        weight_decay=opt["weight_decay"],
        global_clipnorm=clip if clip > 0 else None,
        use_ema=True,
        ema_momentum=0.999,
    )
    optimizer = (
        AdamW(**settings) if opt["type"] == "AdamW" else SGD(momentum=opt["momentum"], **settings)
    )
    model.compile(optimizer, jit_compile=jit_compile)

    shapes = group(golden, "param/")
    noise = meta["final_max_abs_f32_minus_f64"]
    noisy = set(meta.get("noise_dominated_params", ()))

    def check(values, prefix, roundings=0):
        for variable, value in zip(model.trainable_variables, values, strict=True):
            _, names = from_reference(variable, shapes)
            if noisy.intersection(names) or _has_no_gradient(names):
                continue
            expected, _ = from_reference(variable, group(golden, prefix))
            allowed = 10 * max(noise[n] for n in names)
            allowed = np.maximum(allowed, roundings * np.spacing(abs(expected)))
            excess = abs(to_numpy(value) - expected) - allowed
            assert excess.max() <= 0, f"{variable.path} in {prefix}: {excess.max()} too far"

    losses = golden["out/losses"]
    for step, expected in enumerate(losses):
        model.reset_metrics()
        result = model.train_on_batch(*batches[step % len(batches)], return_dict=True)
        # What is told is divided by the positive points of the batch, what is trained by their
        # average of momentum 0.9, from which their number follows.
        normalizer = golden["out/loss_normalizer"][step]
        before = golden["out/loss_normalizer"][step - 1] if step else model.config["init_loss_norm"]
        told = [result["cls_loss"], result["reg_loss"], result["loss"]]
        ours = np.multiply(told, round(10 * normalizer - 9 * before) / normalizer)
        spread = abs(golden["out64/losses"][step] - expected)
        np.testing.assert_allclose(
            ours, expected, rtol=0, atol=max(10 * spread.max(), 1e-5 * max(1, expected.max()))
        )
        np.testing.assert_allclose(
            to_numpy(model.positives_average.value), golden["out/loss_normalizer"][step], rtol=1e-5
        )
        if step == 1:
            check(model.trainable_variables, "step2/")
    check(model.trainable_variables, "final/")
    # Each step rounds a product and a sum, which XLA fuses into one operation.
    check(optimizer.averages(), "ema/", roundings=len(losses))


@pytest.mark.parametrize("make", [AdamW, SGD])
def test_only_kernels_decay(make):
    layer = keras.layers.Dense(2, name="dense")
    layer.build((None, 3))
    layer.bias.assign([1.0, 1.0])
    kernel = to_numpy(layer.kernel)
    optimizer = make(learning_rate=0.1, weight_decay=0.5)
    optimizer.apply([ops.zeros((3, 2)), ops.zeros(2)], layer.trainable_variables)
    np.testing.assert_allclose(to_numpy(layer.kernel), kernel * (1 - 0.1 * 0.5), rtol=1e-6)
    np.testing.assert_array_equal(to_numpy(layer.bias), [1.0, 1.0])


def test_the_momentum_of_averages_rises_with_the_steps():
    """(1 + t) / (10 + t) at step t, up to `ema_momentum`, worked by hand."""
    weight = keras.Variable([1.0])
    optimizer = SGD(learning_rate=1.0, momentum=0.0, use_ema=True, ema_momentum=0.4, ema_ramp=True)
    optimizer.build([weight])
    expected = 1.0
    for step, momentum in enumerate([1 / 10, 2 / 11, 3 / 12, 4 / 13, 5 / 14, 0.4, 0.4]):
        optimizer.apply([ops.ones((1,))], [weight])
        expected = momentum * expected + (1 - momentum) * -step  # the weight falls by 1 a step
        np.testing.assert_allclose(to_numpy(optimizer.averages()[0]), [expected], rtol=1e-6)
    again = SGD.from_config(optimizer.get_config())
    assert again.ema_ramp and not SGD(1.0).ema_ramp


def test_average_starts_from_the_initial_weights():
    variable = keras.Variable([1.0, 2.0], name="kernel")
    optimizer = SGD(learning_rate=1.0, use_ema=True, ema_momentum=0.9)
    optimizer.apply([ops.ones(2)], [variable])
    np.testing.assert_array_equal(to_numpy(variable), [0.0, 1.0])
    average = optimizer.averages()[0]
    np.testing.assert_allclose(to_numpy(average), [0.9, 1.9], rtol=1e-6)


@pytest.mark.parametrize("make", [AdamW, SGD])
def test_what_no_gradient_reaches_stays_as_it_is(make):
    weights = [keras.Variable([1.0, 2.0], name=name) for name in ("kernel", "kernel", "bias")]
    optimizer = make(learning_rate=0.1, weight_decay=0.5, use_ema=True, ema_momentum=0.5)
    optimizer.build(weights)
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        optimizer.apply([ops.ones(2), None, ops.ones(2)], weights)
    np.testing.assert_array_equal(to_numpy(weights[1]), [1.0, 2.0])
    np.testing.assert_array_equal(to_numpy(optimizer.averages()[1]), [1.0, 2.0])
    for changed in (weights[0], weights[2]):
        assert (to_numpy(changed) < [1.0, 2.0]).all()


def test_all_gradients_are_clipped_by_one_norm():
    # Lengths 3 and 4: together 5, which is twice the 2.5 that is allowed.
    gradients = [ops.convert_to_tensor([3.0, 0.0]), ops.convert_to_tensor([0.0, 4.0])]

    def step(**clipping):
        weights = [keras.Variable([0.0, 0.0], name=name) for name in ("kernel", "bias")]
        SGD(learning_rate=1.0, **clipping).apply(gradients, weights)
        return np.stack([to_numpy(w) for w in weights])

    np.testing.assert_allclose(step(global_clipnorm=2.5), [[-1.5, 0], [0, -2]], rtol=1e-6)
    np.testing.assert_array_equal(step(global_clipnorm=5.1), [[-3, 0], [0, -4]])
    np.testing.assert_allclose(step(clipnorm=3.5), [[-3, 0], [0, -3.5]], rtol=1e-6)
    np.testing.assert_array_equal(step(clipvalue=2.0), [[-2, 0], [0, -2]])
    gradients[1] = ops.convert_to_tensor([0.0, np.inf])
    assert np.isnan(step(global_clipnorm=2.5)).all()  # a training that diverges must show it


def test_a_model_ends_its_training_with_the_averages():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dense(1)])
    model.compile(SGD(0.1, use_ema=True, ema_momentum=0.9), loss="mse")
    rng = np.random.default_rng(0)
    model.fit(rng.normal(size=(8, 3)), rng.normal(size=(8, 1)), epochs=2, verbose=0)
    for variable, average in zip(
        model.trainable_variables, model.optimizer.averages(), strict=True
    ):
        np.testing.assert_array_equal(to_numpy(variable), to_numpy(average))


@pytest.mark.parametrize(
    "make, option",
    [(SGD, {"nesterov": True}), (AdamW, {"amsgrad": True}), (SGD, {"ema_overwrite_frequency": 5})],
)
def test_what_is_not_supported_is_refused(make, option):
    with pytest.raises(ValueError, match=f"{list(option)[0]} is not supported"):
        make(0.1, **option)


@pytest.mark.parametrize("make, kept", [(AdamW, 3), (SGD, 2)])
def test_an_optimizer_holds_vectors_and_no_weights(make, kept):
    weights = [keras.Variable(ops.ones((2, 3)), name=n) for n in ("kernel", "bias", "kernel")]
    optimizer = make(0.1, use_ema=True)
    optimizer.build(weights)
    assert not {id(v) for v in optimizer.variables} & {id(v) for v in weights}
    shapes = [tuple(v.shape) for v in optimizer.variables]
    # Steps and learning rate; then moments and average for kernels and for the bias.
    assert sorted(shapes) == sorted([(), ()] + [(12,), (6,)] * kept)


@pytest.mark.parametrize("make", [AdamW, SGD])
def test_how_many_weights_a_vector_holds_changes_nothing(make, monkeypatch):
    rng = np.random.default_rng(0)
    shapes = {"kernel": (4, 3), "bias": (3,)}
    names = ["kernel", "bias", "kernel", "kernel", "bias"]
    initial = [rng.normal(size=shapes[name]) for name in names]
    gradients = [[rng.normal(size=shapes[name]) for name in names] for _ in range(3)]

    def trained(most):
        monkeypatch.setattr(vector_update, "_MAX_GROUP_SIZE", most)
        weights = [keras.Variable(v, name=name) for v, name in zip(initial, names, strict=True)]
        optimizer = make(0.1, weight_decay=0.1, global_clipnorm=1.0, use_ema=True, ema_ramp=True)
        for step in gradients:
            optimizer.apply([ops.convert_to_tensor(g, "float32") for g in step], weights)
        num_vectors = sum(len(v.shape) == 1 for v in optimizer.variables)
        return num_vectors, [to_numpy(v) for v in weights], optimizer.averages()

    few, *expected = trained(1000)
    for most, times_more in ((24, 1.5), (5, 2.5)):  # of 2 vectors: 3; one a variable
        many, *found = trained(most)
        assert many == few * times_more
        # but for the sum of squares that clipping scales by
        for a, b in zip(sum(found, []), sum(expected, []), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("make", [AdamW, SGD])
@pytest.mark.parametrize("options", [{"use_ema": True}, {"gradient_accumulation_steps": 2}])
def test_a_saved_optimizer_goes_on_in_vectors_of_another_length(
    make, options, tmp_path, monkeypatch
):
    rng = np.random.default_rng(0)
    layers = [keras.layers.Dense(width) for width in (5, 4, 1)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.compile(make(0.1, global_clipnorm=1.0, **options), loss="mse")
    data = rng.normal(size=(24, 3)), rng.normal(size=(24, 1))
    model.fit(*data, batch_size=8, verbose=0)
    model.save(tmp_path / "a.keras")
    monkeypatch.setattr(vector_update, "_MAX_GROUP_SIZE", 20)
    again = keras.saving.load_model(tmp_path / "a.keras")
    assert len(again.optimizer.variables) > len(model.optimizer.variables)
    monkeypatch.undo()
    assert [to_numpy(v) for v in again.optimizer.variables if v.ndim == 0] == [
        to_numpy(v) for v in model.optimizer.variables if v.ndim == 0
    ]
    kept = [
        np.concatenate([to_numpy(v).ravel() for v in m.optimizer.variables]) for m in (model, again)
    ]
    np.testing.assert_array_equal(*kept)
    again.save(tmp_path / "b.keras")  # and back
    back = keras.saving.load_model(tmp_path / "b.keras")
    for trained in (model, back):
        trained.fit(*data, batch_size=8, shuffle=False, verbose=0)
    for found, expected in zip(back.weights, model.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(found), to_numpy(expected))


def test_a_saved_optimizer_that_had_made_no_step_changes_nothing():
    store = {}
    AdamW(0.1).save_own_variables(store)
    optimizer = AdamW(0.1)
    weights = [keras.Variable(np.ones((4, 3)), name="kernel")]
    optimizer.apply([ops.ones((4, 3))], weights)
    before = [to_numpy(v) for v in optimizer.variables]
    with pytest.warns(UserWarning, match="Skipping variable loading"):
        optimizer.load_own_variables(store)
    for found, expected in zip(optimizer.variables, before, strict=True):
        np.testing.assert_array_equal(to_numpy(found), expected)


def test_frozen_weights_stay_as_they_are():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dense(1)])
    optimizer = AdamW(0.1, use_ema=True, ema_momentum=0.5)
    model.compile(optimizer, loss="mse")
    rng = np.random.default_rng(0)
    data = rng.normal(size=(8, 3)), rng.normal(size=(8, 1))
    model.fit(*data, verbose=0)
    model.layers[0].trainable = False
    model.layers[0].kernel.assign(ops.ones((3, 2)))
    model.compile(optimizer, loss="mse")
    model.fit(*data, epochs=2, verbose=0)
    np.testing.assert_array_equal(to_numpy(model.layers[0].kernel), np.ones((3, 2)))


def test_weights_that_are_excluded_do_not_decay():
    weights = [keras.Variable([1.0], name="kernel") for _ in range(2)]
    optimizer = AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_list=weights[:1])
    optimizer.apply([ops.zeros(1)] * 2, weights)
    assert [float(to_numpy(w)[0]) for w in weights] == [1.0, pytest.approx(0.95)]


FIT = """
import sys
sys.path.insert(0, {root!r})
import keras, numpy as np
from keras_actionformer.training.optimizers import SGD, AdamW
rng = np.random.default_rng(0)
data = rng.normal(size=(8, 3)), rng.normal(size=(8, 1))
for make in (AdamW, SGD):
    for frozen in (False, True):
        layers = [keras.layers.Dense(2), keras.layers.Dense(1)]
        model = keras.Sequential([keras.Input((3,)), *layers])
        layers[0].trainable = not frozen
        before = keras.ops.convert_to_numpy(layers[0].kernel)
        model.compile(make(0.1, use_ema=True, global_clipnorm=1.0), loss="mse")
        losses = model.fit(*data, epochs=5, verbose=0).history["loss"]
        assert losses[-1] < losses[0], losses
        same = (keras.ops.convert_to_numpy(layers[0].kernel) == before).all()
        assert same == frozen
print("trained")
"""


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_another_backend_fits(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    root = pathlib.Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", FIT.format(root=str(root))],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert done.stdout.endswith("trained\n"), done.stderr[-2000:]


def test_keras_still_has_what_is_overridden():
    told = set(re.findall(r"`(\w+)`", vector_update.__doc__.partition("this file\n")[2]))
    told -= {"_updated", "test_keras_still_has_what_is_overridden"}
    optimizer = keras.optimizers.AdamW(use_ema=True, gradient_accumulation_steps=2)
    optimizer.build([keras.Variable([1.0])])
    assert [name for name in told if not hasattr(optimizer, name)] == []
    ours = [name for name in vars(vector_update.VectorUpdate) if re.match(r"_[a-z]|add_", name)]
    assert {name for name in ours if hasattr(optimizer, name)} <= told


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="counts a graph's operations")
@pytest.mark.parametrize("make", [AdamW, SGD])
def test_another_variable_takes_few_operations_more(make):
    import tensorflow as tf

    def operations(num_variables):
        weights = [keras.Variable(ops.ones(3), name="kernel") for _ in range(num_variables)]
        optimizer = make(learning_rate=0.1, weight_decay=0.5, use_ema=True, global_clipnorm=1.0)
        optimizer.build(weights)
        step = tf.function(
            lambda: optimizer.apply([ops.ones(3)] * num_variables, weights), autograph=False
        )
        return len(step.get_concrete_function().graph.get_operations())

    assert (operations(12) - operations(2)) / 10 < 20


@pytest.mark.parametrize("make", [AdamW, SGD])
def test_optimizer_survives_serialization(make):
    optimizer = make(WarmupSchedule(1e-3, 10, total_steps=50), weight_decay=0.1, use_ema=True)
    config = keras.optimizers.serialize(optimizer)
    copy = keras.optimizers.deserialize(config)
    assert type(copy) is make and copy.get_config() == optimizer.get_config()


def _applied(mode):
    """How gradients reach an optimizer: as they are, in TensorFlow's graph, or with XLA."""
    if mode == "eager":
        return lambda optimizer: optimizer.apply
    if keras.backend.backend() == "jax":
        return _applied_stateless
    if keras.backend.backend() != "tensorflow":
        pytest.skip("compiles with TensorFlow or JAX")
    import tensorflow as tf

    return lambda optimizer: tf.function(
        optimizer.apply, jit_compile=mode == "xla", autograph=False
    )


def _applied_stateless(optimizer):
    import jax

    step = jax.jit(optimizer.stateless_apply)

    def apply(gradients):
        trained = optimizer._trainable_variables
        values = [[v.value for v in variables] for variables in (optimizer.variables, trained)]
        trained_values, own_values = step(values[0], gradients, values[1])
        for variable, value in zip(trained, trained_values, strict=True):
            variable.assign(value)
        for variable, value in zip(optimizer.variables, own_values, strict=True):
            variable.assign(value)

    return apply


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
@pytest.mark.parametrize("name, schedule", [("AdamW", "cosine"), ("SGD", "multistep")])
def test_accumulated_batches_make_the_step_of_their_mean(name, schedule, mode):
    # 4 epochs of 5 batches: every other epoch ends in the middle of a step.
    config = default_config()
    config.train.optimizer, config.train.schedule = name, schedule
    config.train.milestones = (1, 2)
    config.train.warmup_epochs, config.train.epochs = 1, 3
    config.train.learning_rate, config.train.ema = 0.1, 0.9
    config.train.accumulate_batches = 2
    optimizer = Experiment(config).make_optimizer(batches_per_epoch=5)
    plain = {**optimizer.get_config(), "gradient_accumulation_steps": None}
    optimizers = [optimizer, type(optimizer).from_config(plain)]
    weights = []
    for optimizer in optimizers:
        ones = ops.ones((3, 3)), ops.ones(3)
        weights.append([keras.Variable(ones[0], name="kernel"), keras.Variable(ones[1])])
        optimizer.build(weights[-1])
    ours, expected = [_applied(mode)(optimizer) for optimizer in optimizers]
    # Longer than the 1 that is allowed, and of many directions: clipped is their mean, not each.
    gradients = np.random.default_rng(0).normal(0, 10, (20, 4, 3)).astype("float32")

    def split(gradient):
        return [ops.convert_to_tensor(gradient[:3]), ops.convert_to_tensor(gradient[3])]

    def values(variables):
        return [to_numpy(variable) for variable in variables]

    for step in range(10):
        before = values(optimizers[0].averages()), values(weights[0])
        first, second = gradients[2 * step : 2 * step + 2]
        assert to_numpy(optimizers[0].iterations) == step
        rates = [to_numpy(optimizer.learning_rate) for optimizer in optimizers]
        assert rates[0] == rates[1]
        ours(split(first))
        after = values(optimizers[0].averages()), values(weights[0])
        for a, b in zip(before[0] + before[1], after[0] + after[1], strict=True):
            np.testing.assert_array_equal(a, b)
        assert to_numpy(optimizers[0].learning_rate) == rates[0]
        ours(split(second))
        expected(split((first + second) / 2))
        for a, b in (weights, [o.averages() for o in optimizers]):
            for x, y in zip(values(a), values(b), strict=True):
                np.testing.assert_allclose(x, y, rtol=2e-6)
    assert abs(to_numpy(weights[0][0]) - 1).max() > 0.05


def test_a_schedule_counts_steps_of_several_batches():
    config = default_config()
    config.train.warmup_epochs, config.train.epochs = 1, 3
    config.train.milestones = (1, 2)
    config.train.accumulate_batches = 3
    # Epochs of 5 batches end at batch 5, 10, 15 and 20: in steps 1, 3, 5 and 6, and the last two
    # batches make none.
    schedule = Experiment(config).make_optimizer(batches_per_epoch=5)._learning_rate
    assert (schedule.warmup_steps, schedule.total_steps) == (1, 6)
    assert schedule.milestones == (3 - 1, 5 - 1)


def test_schedule_without_an_end_says_so():
    with pytest.raises(ValueError, match="total_steps must exceed warmup_steps=10"):
        WarmupSchedule(1e-3, 10, total_steps=10)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="of TensorFlow's graphs")
@pytest.mark.parametrize("optimizer", [AdamW, SGD])
def test_nothing_large_is_computed_before_the_gradients_are_there(optimizer):
    """TensorFlow would do so at the start of a step, and keep it in memory until its end."""
    import tensorflow as tf

    weights = [keras.Variable(np.ones((30, 10)), name="kernel"), keras.Variable(np.ones(200))]
    optimizer = optimizer(learning_rate=0.1, weight_decay=0.1, use_ema=True, global_clipnorm=1.0)
    optimizer.build(weights)

    @tf.function(autograph=False)
    def step(*gradients):
        optimizer.apply_gradients(zip(gradients, weights, strict=True))

    graph = step.get_concrete_function(
        *(tf.TensorSpec(weight.shape, tf.float32) for weight in weights)
    ).graph
    waits = {graph.inputs[0].op.name, graph.inputs[1].op.name}  # for a gradient, however far back
    early = []
    for operation in graph.get_operations():
        before = {x.op.name for x in operation.inputs} | {x.name for x in operation.control_inputs}
        if before & waits:
            waits.add(operation.name)
        elif operation.type not in ("Placeholder", "Const"):
            early += [x.name for x in operation.outputs if (x.shape.num_elements() or 0) >= 200]
    assert not early
