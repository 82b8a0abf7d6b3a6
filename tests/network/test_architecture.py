"""Values of `ActionFormer`, `PostProcess` and `FeatureGrid`, whatever a file may hold."""

import inspect
import json
import math

import numpy as np
import pytest

from keras_actionformer.checks import shown
from keras_actionformer.data.grid import FeatureGrid
from keras_actionformer.detection.postprocess import PostProcess
from keras_actionformer.errors import UserError
from keras_actionformer.model import ActionFormer
from keras_actionformer.network.architecture import Architecture
from keras_actionformer.presets.builtin import ARCHITECTURES

SMALL = dict(
    input_dim=4,
    num_classes=3,
    backbone_arch=(1, 0, 1),
    embd_dim=8,
    fpn_dim=8,
    head_dim=8,
    n_head=2,
    n_mha_win_size=5,
    max_seq_len=32,
)
DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(ActionFormer).parameters.items()
    if parameter.kind is inspect.Parameter.KEYWORD_ONLY
}
WHOLE = [
    "num_classes", "scale_factor", "embd_kernel_size", "n_head", "fpn_dim", "fpn_start_level",
    "head_dim", "head_kernel_size", "head_num_layers", "max_seq_len",
]  # fmt: skip
WHOLE_OR_LIST = ["input_dim", "embd_dim", "n_mha_win_size", "backbone_arch"]
NUMBERS = [
    "input_dropout", "dropout", "droppath", "cls_prior_prob", "center_sample_radius",
    "loss_weight", "label_smoothing", "init_loss_norm", "conv_ln_epsilon",
]  # fmt: skip
FLAGS = [
    "embd_with_ln", "use_abs_pe", "use_rel_pe", "fpn_with_ln", "head_with_ln", "force_upsampling",
    "mask_after_relu", "points_at_centers", "resize_longer",
]  # fmt: skip
CHOICES = ["backbone_type", "fpn_type", "center_sample", "resize_method", "point_classes"]
LISTS = ["head_empty_cls", "regression_range", "class_names"]
PARTS = ["grid", "postprocess", "thresholds"]


def bomb():
    """A list that is 30 lists deep and stands for 10^30 entries, as YAML's aliases can say it."""
    value = "a"
    for _ in range(30):
        value = [value] * 10
    return value


def refused(**arguments):
    """What `ActionFormer` says of them: one short line."""
    with pytest.raises(UserError) as error:
        ActionFormer(**{**SMALL, **arguments})
    message = str(error.value)
    assert len(message) < 400 and "\n" not in message
    return message


def test_every_argument_is_checked():
    groups = [WHOLE, WHOLE_OR_LIST, NUMBERS, FLAGS, CHOICES, LISTS, PARTS, ["encoder"]]
    assert sorted(sum(groups, [])) == sorted({"input_dim", "num_classes", *DEFAULTS})


@pytest.mark.parametrize(
    "names, values",
    [
        (WHOLE, [2.5, 3.0, True, "3", None, [3], {}, -1, 10**9, 10**5000, math.nan]),
        (WHOLE_OR_LIST, [2.5, 3.0, True, "", "3", None, [], {}, {4: 4}, [3.0], [True], ["a"]]),
        (WHOLE_OR_LIST, [-5, 0, 10**9, [0] * 3, [-5, 1, 1], [10**9] * 3, [1, 1, 10**6]]),
        (NUMBERS, [True, "x", None, [0.5], {}, math.nan, math.inf, -math.inf, 10**400, 1e300]),
        (FLAGS, [3, 0, 1, "no", None, [True], {}]),
        (CHOICES, ["", "nope", None, 1, ["fpn"], {}, np.array(["fpn", "conv"])]),
        (["head_empty_cls"], [3, None, "12", ["a"], [1.5], [True], [-1], [3], [10**9], {1: 1}]),
        (["regression_range"], [3, "ab", {}, [], [3, 4], [["a", "b"]] * 2, [[0, 4]] * 3]),
        (["regression_range"], [[[0, math.nan]] * 2, [[4, 0]] * 2, [[0, 10**400]] * 2, [[]] * 2]),
        (["class_names"], ["abc", {"a", "b", "c"}, dict(a=1, b=2, c=3), 5, "", {}, ["a", "b"]]),
        (["class_names"], [[None] * 3, ["a", "b", 1], ["a", "b", ""], ["a", "b", "a"]]),
        (PARTS, [[1, 2, 3], 5, "x", {"a": 1}, {1: 1}, (), True]),
        (["encoder"], [[1], 5, "motion", True]),
        (["grid"], [{}, {"fps": 1, "stride_frames": 1}, PostProcess()]),
        (["postprocess"], [FeatureGrid(1, 1, 1), {"nms_sigma": "a"}]),
    ],
)
def test_a_wrong_value_is_one_sentence_about_its_argument(names, values):
    for name in names:
        for value in values:
            message = refused(**{name: value})
            fields = value if name in PARTS and isinstance(value, dict) else ()
            assert name in message or any(field in message for field in fields)


@pytest.mark.parametrize(
    "name", [*WHOLE, *WHOLE_OR_LIST, *NUMBERS, *FLAGS, *CHOICES, *LISTS, *PARTS]
)
def test_shared_lists_are_never_walked_through(name):
    refused(**{name: bomb()})
    refused(**{name: [bomb()]})


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(grid={"fps": 3}), "The argument 'grid' lacks 'stride_frames'"),
        (dict(grid={"fp": 3}), "The argument 'grid' has 'fp', .*did you mean 'fps'"),
        (dict(grid=[1, 2, 3]), r"grid must be a FeatureGrid, .* but is \[1, 2, 3\]"),
        (dict(postprocess={"nms_sigm": 1}), "did you mean 'nms_sigma'"),
        (dict(n_mha_win_size=0), r"must be -1 \(attention over all steps\) or from 1 to"),
        (dict(scale_factor=4, backbone_arch=(1, 1, 9)), "make a stride of 262144 steps"),
        (dict(embd_dim=65536, fpn_dim=65536), r"would hold about .* numbers"),
        (dict(max_seq_len=2**24, input_dim=2048), r"max_seq_len=16777216 .* numbers"),
        (dict(class_names=["a", "b", "a"]), "class_names has 'a' 2 times"),
    ],
)
def test_the_sentence_tells_the_way_out(change, message):
    with pytest.raises(UserError, match=message):
        ActionFormer(**{**SMALL, **change})


def test_numbers_of_numpy_become_those_of_json():
    given = {
        **{name: np.int64(value) for name, value in SMALL.items() if isinstance(value, int)},
        "backbone_arch": np.array([1, 0, 1]),
        "scale_factor": np.int32(2),
        "n_mha_win_size": (np.int8(5), np.int8(-1)),
        "use_abs_pe": np.bool_(True),
        "dropout": np.float32(0.25),
        "init_loss_norm": 100,
        "head_empty_cls": range(1, 3),
        "regression_range": np.array([[0, 4], [4, 10000]]),
        "class_names": ("a", "b", "c"),
        "grid": FeatureGrid(np.float32(25), np.int64(4), 16),
        "postprocess": {"max_seg_num": np.int64(7), "min_score": 0, "nms_sigma": np.float32(0.5)},
    }
    config = ActionFormer(**given, name="a").get_config()
    assert json.loads(json.dumps(config)) == config
    expected = {
        **DEFAULTS,
        **SMALL,
        "backbone_arch": [1, 0, 1],
        "n_mha_win_size": [5, -1],
        "use_abs_pe": True,
        "dropout": 0.25,
        "init_loss_norm": 100,
        "head_empty_cls": [1, 2],
        "regression_range": [[0, 4], [4, 10000]],
        "class_names": ["a", "b", "c"],
        "grid": {"fps": 25.0, "stride_frames": 4, "window_frames": 16},
    }
    settings = config.pop("postprocess")
    assert (settings["max_seg_num"], settings["min_score"], settings["nms_sigma"]) == (7, 0, 0.5)
    del expected["postprocess"]
    assert config == {**expected, "name": "a"}


@pytest.mark.parametrize("built_in", ARCHITECTURES.values(), ids=list(ARCHITECTURES))
def test_the_bound_of_the_size_is_near_it(built_in):
    settings = Architecture(**built_in.model)
    sequence = settings.max_seq_len * (settings.channels + settings.width)
    assert 1 < (settings.size_bound - sequence) / built_in.num_parameters < 1.3


# === PostProcess ===


@pytest.mark.parametrize(
    "names, values",
    [
        (["pre_nms_topk", "max_seg_num"], ["9", 2.5, 9.0, True, None, 0, -1, 10**9, [9], math.nan]),
        (
            ["pre_nms_thresh", "duration_thresh", "iou_threshold", "nms_sigma", "min_score",
             "voting_thresh"],
            ["x", [1], None, True, math.nan, math.inf, 10**400, {}],
        ),
        (["pre_nms_thresh", "iou_threshold", "min_score", "voting_thresh"], [1.5, 50]),
        (["nms_sigma"], [0, -1, 1e-300]),
        (["multiclass_nms"], ["no", 0, 1, None, []]),
        (["nms_method"], ["sofd", None, 1, ["soft"], True]),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_one_sentence(names, values):
    for name in names:
        for value in [*values, bomb()]:
            with pytest.raises(UserError, match=name) as error:
                PostProcess(**{name: value})
            assert len(str(error.value)) < 400


def test_settings_may_be_ints_where_floats_are_meant():
    settings = PostProcess(pre_nms_thresh=0, voting_thresh=1, nms_sigma=1, multiclass_nms=np.True_)
    assert settings == PostProcess(pre_nms_thresh=0.0, voting_thresh=1.0, nms_sigma=1.0)


# === FeatureGrid ===


@pytest.mark.parametrize("value", [True, "four", [4], 10**400, math.inf, bomb()])
@pytest.mark.parametrize("name", ["fps", "stride_frames", "window_frames"])
def test_a_wrong_timing_is_one_sentence(name, value):
    with pytest.raises(UserError, match=f"{name} must be a finite number") as error:
        FeatureGrid(**{"fps": 25, "stride_frames": 4, "window_frames": 16, name: value})
    assert len(str(error.value)) < 400


def test_only_a_frame_rate_may_be_a_text():
    assert FeatureGrid(fps="30000/1001", stride_frames=4, window_frames=16).fps == 30000 / 1001
    with pytest.raises(UserError, match="stride_frames must be a finite number"):
        FeatureGrid(fps=25, stride_frames="4", window_frames=16)


# === Messages ===


@pytest.mark.parametrize("value", [bomb(), "x" * 10**6, [16**10000], {"a": bomb()}])
def test_values_are_quoted_briefly(value):
    assert 0 < len(shown(value)) < 300
