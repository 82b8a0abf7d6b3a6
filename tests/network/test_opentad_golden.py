"""The network against OpenTAD's numbers, to ten times what float32 and float64 differ by there."""

import numpy as np
import pytest
from keras import ops

from helpers.golden_files import cases, group, join_levels, load
from helpers.models import to_numpy
from helpers.opentad_models import opentad_model
from keras_actionformer.network.architecture import Architecture
from keras_actionformer.network.attention import MaskedAttention
from keras_actionformer.network.blocks import TransformerBlock
from keras_actionformer.network.layers import (
    Composite,
    DepthwiseConv1D,
    MaskedConv1D,
    apply_mask,
    shifted,
    sinusoid_table,
)
from keras_actionformer.network.neck import Neck
from keras_actionformer.presets.opentad import parameter_name
from keras_actionformer.presets.reference import from_reference


def _runs():
    for case in cases("o_a"):
        for run in load(case.values[0])["meta_json"].get("runs", {}):
            yield pytest.param(case.values[0], run, id=f"{case.id}-{run}")


@pytest.mark.parametrize("path, run", list(_runs()))
def test_golden_forward(path, run):
    golden = load(path)
    model = opentad_model(golden)
    noise = golden["meta_json"]["float_noise"][run]["max_abs_f32_minus_f64"]
    mask = golden[f"in/{run}/padded_mask"]
    feats = golden[f"in/{run}/feats"].transpose(0, 2, 1)
    feats = np.pad(feats, ((0, 0), (0, mask.shape[1] - feats.shape[1]), (0, 0)))
    outputs = model({"feats": feats, "mask": mask})
    count = len(model.strides)
    # What stands past the end of a sequence is not masked there, and not used.
    valid = np.concatenate([golden[f"out/{run}/mask_{i}"] for i in range(count)], axis=1)
    for name, key in (("logits", "cls_logits_"), ("offsets", "offsets_")):
        expected = join_levels(golden, f"out/{run}/{key}", count)[valid]
        found = to_numpy(outputs[name])[valid]
        np.testing.assert_allclose(found, expected, rtol=0, atol=10 * noise, err_msg=name)
    points = join_levels(golden, f"out/{run}/points_", count)
    np.testing.assert_array_equal(to_numpy(model.points(mask.shape[1])), points)
    num_params = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    # Its count has the buffer of the losses' normalizer in it, or not.
    assert golden["meta_json"]["n_params"] - num_params in (0, 1)


@pytest.mark.parametrize("path, run", list(_runs()))
def test_golden_forward_of_a_sequence_padded_as_far_as_it_needs(path, run):
    """What `detect` runs: a sequence alone, without all the padding that OpenTAD adds."""
    golden = load(path)
    model = opentad_model(golden)
    noise = golden["meta_json"]["float_noise"][run]["max_abs_f32_minus_f64"]
    lengths = golden[f"in/{run}/mask"].sum(axis=1)
    longest = lengths.argmax()  # a position embedding is stretched for the longest of a batch
    num_steps = lengths[longest]
    outputs = model.detector().network.predict_on_batch(
        {
            "feats": golden[f"in/{run}/feats"].transpose(0, 2, 1)[longest : longest + 1],
            "num_steps": np.array([num_steps], "int32"),
        }
    )
    first = 0
    for level, stride in enumerate(model.strides):
        valid = np.flatnonzero(outputs["mask"][0, ::stride])
        for name, key in (("logits", "cls_logits_"), ("offsets", "offsets_")):
            expected = golden[f"out/{run}/{key}{level}"][longest][valid]
            found = outputs[name][0][first + valid]
            np.testing.assert_allclose(found, expected, rtol=0, atol=10 * noise, err_msg=name)
        first += len(outputs["mask"][0, ::stride])


# === Single layers ===


class ConvModule(Composite):
    """As embedding, heads and neck put a convolution, a normalization and a ReLU together."""

    def __init__(self, out_channels, kernel_size, stride, depthwise, with_ln, relu, use_bias):
        super().__init__(name="embd_0")
        self.out_channels, self.kernel_size, self.stride = out_channels, kernel_size, stride
        self.depthwise, self.with_ln, self.relu, self.use_bias = depthwise, with_ln, relu, use_bias

    def build(self, x_shape, mask_shape):
        if self.depthwise:
            taps = [x_shape] * self.kernel_size
            self.conv = self.add(DepthwiseConv1D, taps, self.use_bias, name="conv")
        else:
            self.conv = self.add(
                MaskedConv1D, x_shape, self.out_channels, self.kernel_size, self.stride,
                use_bias=self.use_bias, name="conv",
            )  # fmt: skip
        if self.with_ln:
            self.norm = self.add_norm((*x_shape[:2], self.out_channels), "norm", 1e-6)
        self.built = True

    def call(self, x, mask):
        if self.depthwise:
            x, mask = self.conv(shifted(x, self.kernel_size, self.stride)), mask[:, :: self.stride]
        else:
            x, mask = self.conv(x, mask)
        x = self.norm(x, mask) if self.with_ln else x
        return apply_mask(ops.relu(x) if self.relu else x, mask), mask


def _conv_module(in_channels, out_channels, kernel_size, stride=1, padding=0, conv_cfg=None,
                 norm_cfg=None, act_cfg=None):  # fmt: skip
    assert padding == kernel_size // 2
    groups = (conv_cfg or {}).get("groups", 1)
    use_bias = (conv_cfg or {}).get("bias", norm_cfg is None)
    return ConvModule(
        out_channels, kernel_size, stride, groups > 1, norm_cfg is not None, act_cfg is not None,
        use_bias,
    )  # fmt: skip


def _attention(n_embd, n_head, window_size=-1, n_qx_stride=1, n_kv_stride=1):
    return MaskedAttention(n_head, window_size, n_qx_stride, name="stem_0")


def _block(in_channels, n_head, n_ds_strides=(1, 1), path_pdrop=0.0, mha_win_size=-1):
    stride = n_ds_strides[0]
    return TransformerBlock(n_head, mha_win_size, stride, droppath=path_pdrop, name="stem_0")


def _neck(kind, in_channels, out_channels, num_levels, start_level=0, norm_cfg=None):
    return Neck(
        Architecture(
            1,
            1,
            backbone_arch=(1, 0, num_levels - 1),
            embd_dim=in_channels,
            fpn_dim=out_channels,
            fpn_type={"FPN": "full_fpn", "FPNIdentity": "identity"}[kind],
            fpn_with_ln=kind == "FPNIdentity" or norm_cfg is not None,
            fpn_start_level=start_level,
            conv_ln_epsilon=1e-6,
            mask_after_relu=True,
        ),
        name="neck",
    )


OURS = {"ConvModule": _conv_module, "MaskedMHCA": _attention, "LocalMaskedMHCA": _attention,
        "TransformerBlock": _block}  # fmt: skip


def _is_known(case):
    """Whether a layer has only normalizations that some configuration of ActionFormer has."""
    norm = case["kwargs"].get("norm_cfg")
    return norm is None or norm["type"] == "LN"


def _layers():
    for case in cases("o_a"):
        blocks = load(case.values[0])["meta_json"].get("blocks", {})
        for name in [name for name, block in blocks.items() if _is_known(block)]:
            yield pytest.param(case.values[0], name, id=f"{case.id}-{name}")


def _give(layer, parameters, name_of):
    used = set()
    for variable in layer.trainable_variables:
        value, names = from_reference(variable, parameters, name_of)
        variable.assign(value)
        used.update(names)
    assert used == set(parameters)


@pytest.mark.parametrize("path, name", list(_layers()))
def test_golden_layer(path, name):
    golden = load(path)
    case, parameters = golden["meta_json"]["blocks"][name], group(golden, f"{name}/param/")
    if case["class"] in ("FPN", "FPNIdentity"):
        _check_neck(group(golden, f"{name}/"), case, parameters)
        return
    layer = OURS[case["class"]](**case["kwargs"])
    x, mask = golden[f"{name}/x"].transpose(0, 2, 1), golden[f"{name}/mask"]
    layer.build(x.shape, mask.shape)

    def name_of(path):
        if case["class"] == "ConvModule":
            return path.split("/", 1)[1].replace("/", ".").replace("kernel", "weight").replace(
                "gamma", "weight").replace("beta", "bias")  # fmt: skip
        return parameter_name(f"backbone/{path}").removeprefix("projection.stem.0.")

    _give(layer, parameters, name_of)
    y, out_mask = layer(x, mask)
    np.testing.assert_array_equal(to_numpy(out_mask), golden[f"{name}/out_mask"])
    expected = golden[f"{name}/out"].transpose(0, 2, 1)
    np.testing.assert_allclose(
        to_numpy(y), expected, rtol=0, atol=10 * case["max_abs_f32_minus_f64"]
    )


def _check_neck(golden, case, parameters):
    neck = _neck(case["class"], **case["kwargs"])
    count, first = case["kwargs"]["num_levels"], case["kwargs"].get("start_level", 0)
    levels = [ops.convert_to_tensor(golden[f"x_{i}"].transpose(0, 2, 1)) for i in range(count)]
    masks = [ops.convert_to_tensor(golden[f"mask_{i}"]) for i in range(count)]
    neck.build([tuple(x.shape) for x in levels])
    fpn_type = neck.architecture.fpn_type
    _give(neck, parameters, lambda path: parameter_name(path, fpn_type).removeprefix("neck."))
    found = neck(
        [ops.convert_to_tensor(x) for x in levels], [ops.convert_to_tensor(m) for m in masks]
    )
    for i, y in enumerate(found):
        expected, exact = golden[f"out_{i}"], golden[f"out64_{i}"]
        noise = max(abs(expected - exact).max(), 1e-7)
        y = to_numpy(y).transpose(0, 2, 1)
        keep = np.broadcast_to(golden[f"out_mask_{i}"][:, None], y.shape)
        np.testing.assert_allclose(y[keep], expected[keep], rtol=0, atol=10 * noise)
    assert len(found) == count - first


@pytest.mark.parametrize("path", cases("o_a"))
def test_golden_position_table(path):
    for name, expected in group(load(path), "sinusoid/").items():
        positions, dim = map(int, name.split("x"))
        table = sinusoid_table(positions, dim)
        if expected.shape[-2:] == table.T.shape:
            table = table.T
        np.testing.assert_allclose(table, expected.reshape(table.shape), atol=1e-6)
