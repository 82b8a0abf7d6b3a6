"""Useful multiply-adds: by hand, against the kernels of a network, and of the architectures."""

import dataclasses
import math

import pytest

from keras_actionformer import ActionFormer
from keras_actionformer.benchmark.flops import gflop, multiply_adds, paper_multiply_adds
from keras_actionformer.network.architecture import Architecture
from keras_actionformer.presets.builtin import ARCHITECTURES

SMALL = {
    "input_dim": 3,
    "num_classes": 2,
    "backbone_arch": (1, 1, 1),
    "embd_dim": 4,
    "fpn_dim": 4,
    "head_dim": 5,
    "n_head": 2,
    "n_mha_win_size": 3,
    "head_num_layers": 2,
    "max_seq_len": 8,
}


def architecture(**changes):
    return Architecture(**{**SMALL, **changes})


def test_parts_by_hand():
    # 8 steps at full length, 4 after the one strided block: 12 steps of blocks, and 12 points.
    assert multiply_adds(architecture(), 8) == {
        "embedding": 8 * 3 * 3 * 4,  # steps, taps, from, to
        # Four projections of 4 x 4; before three of them 3 taps on each of 4 channels.
        "attention projections": 12 * (4 * 4 * 4 + 3 * 3 * 4),
        # A query sees 3 keys, at both ends 2: 22 pairs of 8 steps and 10 of 4. Twice 4 channels.
        "attention products": (22 + 10) * 2 * 4,
        "MLP": 12 * 2 * 4 * 16,  # 4 -> 16 -> 4
        "neck": 0,
        "classification head": 12 * (3 * 4 * 5 + 3 * 5 * 2),  # 4 -> 5 -> 2 classes
        "regression head": 12 * (3 * 4 * 5 + 3 * 5 * 2),  # 4 -> 5 -> 2 ends
    }


def test_parts_as_the_paper_counts_by_hand():
    counts = paper_multiply_adds(architecture(n_mha_win_size=5), 8)
    useful = multiply_adds(architecture(n_mha_win_size=5), 8)
    # 8 steps in chunks of 4 every 2 steps: 3 chunks of 4 x 4, and 8 steps with 6 values each; of 4
    # steps 1 chunk, and 4 with 6. The stem has 8 steps, and the branch comes from 8 and has 4.
    products = 4 * (3 * 16 + 8 * 6 + 16 + 4 * 6)
    norms = 2 * 4 * (8 + 3 * 8 + 8 + 3 * 4)
    assert counts["attention"] == useful["attention projections"] + products + norms
    assert counts["MLP"] - useful["MLP"] == 2 * 4 * 12
    assert counts["embedding"] - useful["embedding"] == 2 * 4 * 8
    assert counts["neck"] == 2 * 4 * 12
    assert counts["regression head"] - useful["regression head"] == 2 * 5 * 12
    without = {"embd_with_ln": False, "fpn_with_ln": False, "head_with_ln": False}
    counts = paper_multiply_adds(architecture(n_mha_win_size=-1, **without), 8)
    useful = multiply_adds(architecture(n_mha_win_size=-1), 8)
    assert counts["attention"] == norms + useful["attention projections"] + 2 * 4 * (64 + 16)
    assert counts["embedding"] == useful["embedding"] and counts["neck"] == 0


def test_other_parts_by_hand():
    counts = multiply_adds(
        architecture(
            input_dim=[3, 2], embd_dim=[4, 2], fpn_dim=7, head_dim=7, fpn_type="fpn",
            backbone_type="conv", backbone_arch=(1, 1, 2), fpn_start_level=1, scale_factor=4,
        ),
        32,
    )  # fmt: skip
    # 3 -> 4 and 2 -> 2, then 3 taps of 6 -> 6.
    assert counts["embedding"] == 32 * (3 * 4 + 2 * 2 + 3 * 6 * 6)
    # 6 -> 12 -> 6 at 32, 8 and 2 steps; where it strides, the skip is 6 -> 6.
    assert counts["MLP"] == 42 * 2 * 3 * 6 * 12 + 10 * 6 * 6
    assert counts["attention projections"] == counts["attention products"] == 0
    # Levels of 8 and 2 steps: 6 -> 7, then 3 taps on each of 7 channels.
    assert counts["neck"] == 10 * (6 * 7 + 3 * 7)


@pytest.mark.parametrize("window, pairs", [(4, 34 + 14), (1, 64 + 16), (-1, 64 + 16), (99, 80)])
def test_keys_that_queries_see(window, pairs):
    # Window 4 sees as many as 5 does: 8 * 5 - 2 * (1 + 2) and 4 * 5 - 2 * (1 + 2).
    counts = multiply_adds(architecture(n_mha_win_size=window), 8)
    assert counts["attention products"] == pairs * 2 * 4


def test_a_window_for_each_level():
    counts = multiply_adds(architecture(n_mha_win_size=[3, -1]), 8)
    assert counts["attention products"] == (22 + 16) * 2 * 4


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"backbone_type": "conv"},
        {"fpn_type": "fpn", "fpn_dim": 6, "head_dim": 3, "head_num_layers": 3},
        {"fpn_type": "full_fpn", "fpn_dim": 6, "head_dim": 3, "fpn_start_level": 1},
        {"input_dim": [3, 5], "embd_dim": [4, 2], "backbone_arch": (2, 0, 3), "fpn_dim": 6},
        {"scale_factor": 4, "fpn_start_level": 1, "embd_kernel_size": 5, "head_kernel_size": 5},
        {"use_rel_pe": True, "use_abs_pe": True, "embd_with_ln": False, "head_with_ln": False},
    ],
)
def test_every_kernel_counts_once_a_step(changes):
    model = ActionFormer(**{**SMALL, **changes})
    num_levels = model.config["backbone_arch"][2] + 1
    lengths = [64 // model.config["scale_factor"] ** level for level in range(num_levels)]
    uses = 0
    for variable in model.trainable_variables:
        if variable.name == "kernel":
            steps = _steps(variable.path, lengths, model.config["fpn_start_level"])
            uses += steps * math.prod(variable.shape)
    counts = multiply_adds(model.architecture, 64)
    assert uses == sum(counts.values()) - counts["attention products"]


def _steps(path, lengths, start_level):
    """Steps that come out of the layer which has this kernel."""
    part, layer = path.split("/")[:2]
    if part == "heads":
        return sum(lengths[start_level:])
    name, _, number = layer.rpartition("_")
    level = {"branch": int(number) + 1, "lateral_convs": int(number) + start_level}
    level["fpn_convs"] = level["lateral_convs"]
    return lengths[level.get(name, 0)]


def test_thumos14():
    thumos14 = ActionFormer.from_preset("thumos14_i3d", load_weights=False).architecture
    assert round(gflop(thumos14, 2304), 1) == 90.3
    assert round(gflop(dataclasses.replace(thumos14, n_mha_win_size=-1), 2304), 1) == 115.4


def test_cost_is_linear_in_the_length():
    local = architecture(backbone_arch=(2, 2, 3), n_mha_win_size=5)
    costs = [gflop(local, steps) for steps in (64, 128, 192, 1088)]
    assert costs[2] - costs[1] == pytest.approx(costs[1] - costs[0])
    assert costs[3] - costs[0] == pytest.approx(16 * (costs[1] - costs[0]))
    everywhere = dataclasses.replace(local, n_mha_win_size=-1)
    assert gflop(everywhere, 128) - gflop(local, 128) > 3 * (
        gflop(everywhere, 64) - gflop(local, 64)
    )


def test_padding_does_not_count():
    # 9 steps are padded to 10, and the blocks of attention to more: neither is useful.
    counts = multiply_adds(architecture(), 9)
    assert counts["embedding"] == 9 * 3 * 3 * 4
    assert counts["MLP"] == (9 + 5) * 2 * 4 * 16
    assert multiply_adds(architecture(), 1)["attention products"] == (1 + 1) * 2 * 4


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_built_in_architecture_can_be_counted(name):
    # Of the arguments alone: some of these networks take a gigabyte.
    settings = Architecture(**ARCHITECTURES[name].model)
    counts = multiply_adds(settings, settings.max_seq_len)
    assert all(isinstance(count, int) for count in counts.values())
    assert counts["MLP"] > counts["attention projections"] > counts["attention products"] > 0
