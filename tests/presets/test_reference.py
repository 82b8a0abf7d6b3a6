"""Checkpoints of the reference: configuration, names, shapes, and what is refused."""

import json
import math
import shutil

import keras
import numpy as np
import pytest

from helpers.golden_files import GOLDEN, cases, group, load
from helpers.models import to_numpy
from helpers.published_facts import OPENTAD
from helpers.reference_parameters import reference_parameters
from helpers.torch_writer import repeated, write_checkpoint
from keras_actionformer import ActionFormer, UserError, list_presets
from keras_actionformer.presets.builtin import ARCHITECTURES
from keras_actionformer.presets.reference import (
    find_checkpoint,
    load_reference_parameters,
    model_arguments,
    read_parameters,
    read_reference_config,
)

# The experiment's folder, for tests that need one real checkpoint to change.
EXPERIMENT = GOLDEN / "j_checkpoint"
CHECKPOINT = EXPERIMENT / "epoch_003.pth.tar"
needs_experiment = pytest.mark.skipif(not CHECKPOINT.exists(), reason="no checkpoint here")


def _small_parameters():
    """A model's arguments and random parameters under the reference's names."""
    config = dict(
        input_dim=4,
        num_classes=3,
        backbone_arch=(1, 1, 1),
        embd_dim=8,
        fpn_dim=8,
        head_dim=8,
        n_head=2,
        n_mha_win_size=3,
        max_seq_len=16,
    )
    rng = np.random.default_rng(0)
    shapes = reference_parameters(config)
    return config, {k: rng.normal(size=s).astype("float32") for k, s in shapes.items()}


# === Configuration ===


@pytest.mark.parametrize("path", cases("j"))
def test_printed_and_yaml_configurations_agree_with_the_stored_one(path):
    stored = load(path)["config_json"]
    printed = read_reference_config(path.parent / "config.txt")
    assert json.loads(json.dumps(printed)) == stored
    for yaml in path.parent.glob("*.yaml"):
        ours = model_arguments(read_reference_config(yaml))
        assert ActionFormer(**ours).get_config() | {"name": ""} == (
            ActionFormer(**model_arguments(stored)).get_config() | {"name": ""}
        )


def test_what_a_yaml_leaves_out_is_the_references_default(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("dataset: {num_classes: 5}\ntrain_cfg: {cls_prior_prob: 1e-2}\n")
    arguments = model_arguments(read_reference_config(path))
    assert arguments["num_classes"] == 5
    assert arguments["input_dim"] == 2304
    assert arguments["max_seq_len"] == 2304
    assert arguments["n_mha_win_size"] == -1  # global attention
    assert arguments["cls_prior_prob"] == 0.01  # YAML alone would take 1e-2 for a text
    assert arguments["grid"] == dict(fps=None, stride_frames=16, window_frames=32)


def test_downsampled_features_are_told():
    config = {"dataset": {"feat_stride": 4, "num_frames": 16, "downsample_rate": 3}}
    with pytest.raises(UserError, match="dataset.downsample_rate=3: state the timing"):
        model_arguments(config)


def test_the_form_of_a_configuration_counts_and_not_its_name(tmp_path):
    (tmp_path / "a.txt").write_text("dataset: {num_classes: 5}")
    (tmp_path / "b.yaml").write_text("{'dataset': {'num_classes': 5, 'default_fps': None}}")
    for name in ("a.txt", "b.yaml"):
        assert model_arguments(read_reference_config(tmp_path / name))["num_classes"] == 5


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("a.yaml", "a: [1", "neither the reference's printed configuration nor YAML"),
        ("a.txt", "{'model': ", "neither the reference's printed configuration nor YAML"),
        ("a.txt", "__import__('os').system('true')", "it has no sections"),
        ("a.yaml", "!!python/object/apply:os.system ['true']", "could not determine a constr"),
        ("a.txt", "[" * 10000, "neither the reference's printed configuration nor YAML"),
        ("a.txt", "[1, 2]", "it has no sections"),
        ("a.yaml", "model_name: TriDet", "is about the network 'TriDet'"),
        ("a.yaml", "x: " + "a" * 2**20, "too large"),
        ("a.yaml", "a: &a [1, 2]\nb: [*a, *a]", "aliases are not read"),
        ("a.yaml", "model:\n", "model must be a section"),
        ("a.yaml", "test_cfg: [1]", "test_cfg must be a section"),
    ],
)
def test_bad_configurations(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        read_reference_config(tmp_path / name)


def test_a_setting_of_another_network_is_told():
    with pytest.raises(UserError, match="'n_mha_win_sizes'.*did you mean 'n_mha_win_size'"):
        model_arguments({"model": {"n_mha_win_sizes": 9}})


# === Where the files are ===


def test_the_last_epoch_and_its_configuration_are_found(tmp_path):
    for name in ("epoch_002.pth.tar", "epoch_010.pth.tar", "epoch_9.pth.tar", "epoch_x.pth.tar"):
        (tmp_path / name).touch()
    assert find_checkpoint(tmp_path) == (tmp_path / "epoch_010.pth.tar", None)
    (tmp_path / "a.yaml").touch()
    assert find_checkpoint(tmp_path)[1] == tmp_path / "a.yaml"
    (tmp_path / "config.txt").touch()
    assert find_checkpoint(tmp_path / "epoch_002.pth.tar") == (
        tmp_path / "epoch_002.pth.tar",
        tmp_path / "config.txt",
    )


def test_two_yaml_files_are_not_chosen_from(tmp_path):
    write_checkpoint(tmp_path / "epoch_001.pth.tar", {"state_dict": {}})
    (tmp_path / "a.yaml").touch()
    (tmp_path / "b.yaml").touch()
    with pytest.raises(UserError, match="does not say what network it is for"):
        ActionFormer.from_preset(tmp_path)


# === Weights ===


@pytest.mark.parametrize("path", cases("j"))
def test_every_parameter_of_a_real_checkpoint_arrives(path):
    golden = load(path)
    config = model_arguments(golden["config_json"])
    assert {k: v.shape for k, v in group(golden, "ema/module.").items()} == (
        reference_parameters(config)
    )
    for checkpoint in path.parent.glob("*.pth.tar"):
        for ema, prefix in ((True, "ema/module."), (False, "sd/module.")):
            parameters = read_parameters(checkpoint, ema)
            stored = group(golden, prefix)
            assert parameters.keys() == stored.keys()
            for name, value in stored.items():
                np.testing.assert_array_equal(parameters[name], value)


@pytest.mark.parametrize("prefix", ["", "module.", "model.module.", "net._orig_mod."])
def test_any_prefix_is_accepted(tmp_path, prefix):
    config, parameters = _small_parameters()
    path = tmp_path / "a.pth.tar"
    write_checkpoint(path, {"state_dict_ema": {prefix + k: v for k, v in parameters.items()}})
    model = ActionFormer(**config)
    report = load_reference_parameters(model, read_parameters(path))
    assert len(report) == len(parameters)
    assert [shape for name, shape, _ in report if name == "reg_head.scale.1.scale"] == [()]
    kernel = next(v for v in model.trainable_variables if v.path == "heads/cls_head/out/kernel")
    np.testing.assert_array_equal(
        to_numpy(kernel), parameters["cls_head.cls_head.conv.weight"].transpose(2, 1, 0)
    )


def test_a_bare_state_dict_is_accepted(tmp_path):
    _, parameters = _small_parameters()
    write_checkpoint(tmp_path / "a.pth", parameters)
    found = read_parameters(tmp_path / "a.pth")
    assert found.keys() == parameters.keys()


def test_other_weights_than_asked_for_are_not_taken(tmp_path):
    _, parameters = _small_parameters()
    write_checkpoint(tmp_path / "a.pth", {"state_dict": parameters})
    with pytest.raises(UserError, match="has no 'state_dict_ema', only 'state_dict': pass ema=Fal"):
        read_parameters(tmp_path / "a.pth")
    assert read_parameters(tmp_path / "a.pth", ema=False).keys() == parameters.keys()


def test_weights_of_something_else(tmp_path):
    write_checkpoint(tmp_path / "a.pth", {"state_dict_ema": {"fc.weight": np.zeros((2, 2))}})
    with pytest.raises(UserError, match="does not hold the weights .* holds 'state_dict_ema'"):
        read_parameters(tmp_path / "a.pth")
    _, parameters = _small_parameters()
    write_checkpoint(
        tmp_path / "b.pth",
        {"state_dict_ema": {**{f"a.{k}": v for k, v in parameters.items()}, "b.c": np.zeros(1)}},
    )
    with pytest.raises(UserError, match="parameter 'b.c' does not start with 'a.'"):
        read_parameters(tmp_path / "b.pth")


@pytest.mark.parametrize(
    "value, message",
    [
        ([1.0, 2.0], "'backbone.embd.1.weight' is no tensor of real numbers"),
        (np.zeros(2, "int64"), "'backbone.embd.1.weight' is no tensor of real numbers"),
        (np.array([1, np.nan], "float32"), "'backbone.embd.1.weight' is NaN or infinite"),
        (np.array([1, 1e300]), "'backbone.embd.1.weight' is NaN or infinite"),
    ],
)
def test_parameters_that_are_no_numbers(tmp_path, value, message):
    _, parameters = _small_parameters()
    parameters["backbone.embd.1.weight"] = value
    write_checkpoint(tmp_path / "a.pth", {"state_dict_ema": parameters})
    with pytest.raises(UserError, match=message):
        read_parameters(tmp_path / "a.pth")


@pytest.mark.parametrize(
    "name, shape, message",
    [
        ("backbone.stem.0.mlp.3.weight", None, "backbone.stem.0.mlp.3.weight is missing"),
        ("neck.fpn_norms.1.bias", None, "neck.fpn_norms.1.bias is missing"),
        ("reg_head.scale.0.scale", None, "reg_head.scale.0.scale is missing"),
        ("reg_head.scale.1.scale", (2,), r"reg_head.scale.1.scale has shape \(2,\)"),
        ("cls_head.cls_head.conv.bias", (4,), r"cls_head.conv.bias has shape \(4,\), which does"),
        ("backbone.embd.0.conv.weight", (8, 5, 3), r"embd.0.conv.weight has shape \(8, 5, 3\)"),
        ("backbone.stem.0.attn.key.weight", (8, 8), r"attn.key.weight has shape \(8, 8\)"),
        ("backbone.stem.0.attn.key.weight", (8, 8, 3), r"key.weight has shape \(8, 8, 3\)"),
        ("backbone.stem.0.ln1.weight", (8, 1, 8), r"ln1.weight has shape \(8, 1, 8\)"),
        ("backbone.stem.1.ln1.weight", (1, 8, 1), "1 parameters .* first backbone.stem.1.ln1.wei"),
    ],
)
def test_what_does_not_fit_is_named(name, shape, message):
    config, parameters = _small_parameters()
    if shape is None:
        del parameters[name]
    else:
        parameters[name] = np.ones(shape, "float32")
    with pytest.raises(UserError, match=message):
        load_reference_parameters(ActionFormer(**config), parameters)


@needs_experiment
def test_a_configuration_elsewhere_can_be_named(tmp_path):
    shutil.copy(CHECKPOINT, tmp_path / "a.pth.tar")
    with pytest.raises(UserError, match="does not say what network it is for"):
        ActionFormer.from_preset(tmp_path / "a.pth.tar")
    with pytest.raises(UserError, match="Configuration file '.*none.yaml' does not exist"):
        ActionFormer.from_preset(tmp_path / "a.pth.tar", config=tmp_path / "none.yaml")
    model = ActionFormer.from_preset(tmp_path / "a.pth.tar", config=EXPERIMENT / "config.txt")
    expected = ActionFormer.from_preset(EXPERIMENT)
    for ours, theirs in zip(model.trainable_variables, expected.trainable_variables, strict=True):
        np.testing.assert_array_equal(to_numpy(ours), to_numpy(theirs))
    with pytest.raises(UserError, match="embd.0.conv.weight has shape"):
        ActionFormer.from_preset(tmp_path / "a.pth.tar", config="ego4d_egovlp")


# === Architectures ===


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_number_of_parameters_is_that_of_the_references_layers(name):
    model = dict(embd_dim=512, fpn_dim=512, head_dim=512, backbone_arch=(2, 2, 5))
    shapes = reference_parameters(model | ARCHITECTURES[name].model)
    assert sum(map(math.prod, shapes.values())) == ARCHITECTURES[name].num_parameters
    assert list_presets(name)[name]["num_parameters"] == ARCHITECTURES[name].num_parameters


def test_the_thumos14_architecture_has_the_published_number_of_parameters():
    model = ActionFormer.from_preset("thumos14_i3d", load_weights=False)
    assert sum(math.prod(v.shape) for v in model.trainable_variables) == 29_251_612


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name in ARCHITECTURES if name not in ("thumos14_i3d", *OPENTAD)]
)
def test_a_checkpoint_of_every_architecture_opens(name, tmp_path):
    built_in = ARCHITECTURES[name]
    model = dict(embd_dim=512, fpn_dim=512, head_dim=512, backbone_arch=(2, 2, 5))
    shapes = reference_parameters(model | built_in.model)
    # One number a parameter: files stay small whatever the size of the network.
    parameters = {k: repeated(i, s) for i, (k, s) in enumerate(shapes.items(), 1)}
    path = tmp_path / "epoch_010.pth.tar"
    write_checkpoint(path, {"state_dict_ema": {f"module.{k}": v for k, v in parameters.items()}})
    opened = ActionFormer.from_preset(path, config=name)
    assert opened.class_names == built_in.class_names
    found = sorted(float(keras.ops.max(v)) for v in opened.trainable_variables)
    scales = [i for i, k in enumerate(shapes, 1) if "reg_head.scale" in k]
    rest = [i for i, k in enumerate(shapes, 1) if "reg_head.scale" not in k]
    assert found == sorted([*rest, max(scales)])
