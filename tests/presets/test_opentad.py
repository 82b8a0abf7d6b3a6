"""Models of OpenTAD: each of its configurations opens a checkpoint with its names, or says why not.

The configurations are those that it publishes, merged, in `o_facts_configs.json`.
"""

import copy
import json
import math

import numpy as np
import pytest

from helpers.golden_files import GOLDEN
from helpers.opentad_parameters import opentad_parameters
from helpers.torch_writer import repeated, write_checkpoint
from keras_actionformer import ActionFormer, UserError
from keras_actionformer.network.architecture import Architecture
from keras_actionformer.network.padding import inference_padding
from keras_actionformer.presets.opentad import architecture_arguments, model_arguments

FACTS = GOLDEN / "o_facts_configs.json"
CONFIGS = json.loads(FACTS.read_text()) if FACTS.exists() else {}
# One of them names a file that does not exist as what it is based on.
CONFIGS = {name: config for name, config in CONFIGS.items() if "model" in config}


def _narrow(config):
    """The same network with widths of an eighth and fewer classes, so that it is built quickly."""
    config = copy.deepcopy(config)
    projection, neck, head = (config["model"][k] for k in ("projection", "neck", "rpn_head"))
    width = projection["out_channels"] // 32
    projection["in_channels"] //= 64
    projection["out_channels"] = width
    neck.update(in_channels=width, out_channels=width)
    head.update(in_channels=width, feat_channels=width)
    return config


def _text(config):
    """A configuration as OpenTAD's logs have it."""
    settings = {name: value for name, value in config.items() if not name.startswith("_")}
    lines = "".join(f"{name} = {value!r}\n" for name, value in settings.items())
    return f"2026-01-02 03:04:05 Train INFO: Config: \n{lines}\n2026-01-02 03:04:05 Train INFO: x\n"


@pytest.mark.parametrize("name", CONFIGS)
def test_golden_sizes_of_a_published_configuration(name):
    config = CONFIGS[name]
    facts, shapes = config["_facts"], opentad_parameters(config["model"])
    shapes.pop("rpn_head.loss_normalizer")
    assert sum(map(math.prod, shapes.values())) == facts["parameters"]
    settings = Architecture(**architecture_arguments(config))
    assert list(settings.strides) == config["model"]["rpn_head"]["prior_generator"]["strides"]
    assert inference_padding(settings).multiple == facts["max_div_factor"]


@pytest.mark.parametrize("name", CONFIGS)
def test_an_experiment_of_a_published_configuration_opens(name, tmp_path):
    config = _narrow(CONFIGS[name])
    shapes = opentad_parameters(config["model"])
    weights = {f"module.{key}": repeated(0.25, shape) for key, shape in shapes.items()}
    weights["module.rpn_head.loss_normalizer"] = np.array(100)
    folder = tmp_path / "gpu1_id0"
    (folder / "checkpoint").mkdir(parents=True)
    (folder / "log.json").write_text(_text(config))
    for epoch in (3, 12):
        path = folder / "checkpoint" / f"epoch_{epoch}.pth"
        write_checkpoint(path, {"epoch": epoch, "state_dict": weights, "state_dict_ema": weights})
    model = ActionFormer.from_preset(folder)
    assert model.provenance["source"] == "epoch_12.pth, averaged weights"
    count = sum(math.prod(shape) for shape in shapes.values()) - 1  # the normalizer
    assert sum(math.prod(v.shape) for v in model.network_weights) == count
    nms = config["post_processing"]["nms"]
    assert model.postprocess.nms_sigma == nms["sigma"]
    assert model.postprocess.max_seg_num == nms["max_seg_num"]
    data = config["dataset"]["test"]
    if "resize_length" in data:
        assert model.architecture.resize_to == data["resize_length"]
        assert model.postprocess.spread_duration and model.grid is None
    else:
        assert model.grid.stride_frames == data["feature_stride"]
        assert model.grid.window_frames == 2 * data["offset_frames"]
    assert model.postprocess.sliding_steps == data.get("window_size", 0)


@pytest.fixture
def config():
    return _narrow(CONFIGS["thumos_i3d.py"])


@pytest.mark.skipif(not CONFIGS, reason="no configurations here")
@pytest.mark.parametrize(
    "path, value, message",
    [
        ("model.type", "TriDet", "model.type='TriDet'; only 'ActionFormer'"),
        ("model.projection.type", "TSMixer", "model.projection.type='TSMixer'"),
        ("model.projection.norm_cfg", {"type": "BN"}, "norm_cfg={'type': 'BN'}; only"),
        ("model.projection.input_drop", 1, "input_drop, which is not known.*'input_pdrop'"),
        ("model.projection.attn_cfg", None, "no section model.projection.attn_cfg"),
        ("model.rpn_head.prior_generator.offset", 1, "prior_generator.offset, which is not known"),
        ("post_processing.nms.method", 4, "post_processing.nms.method=4; only 0 to 3"),
        ("post_processing.nms.t3", 3, "post_processing.nms.t3, which is not known"),
        ("post_processing.more", 3, "post_processing.more, which is not known"),
    ],
)
def test_another_network_is_refused_by_name(config, path, value, message):
    *names, last = path.split(".")
    section = config
    for name in names:
        section = section[name]
    section[last] = value
    with pytest.raises(UserError, match=message):
        model_arguments(config)


@pytest.mark.skipif(not CONFIGS, reason="no configurations here")
def test_weights_that_do_not_fit_are_told_by_name(config, tmp_path):
    shapes = opentad_parameters(config["model"])
    (tmp_path / "log.json").write_text(_text(config))

    def told(**changes):
        weights = {key: repeated(0.5, shape) for key, shape in {**shapes, **changes}.items()}
        weights = {key: value for key, value in weights.items() if value.shape != (0,)}
        write_checkpoint(tmp_path / "a.pth", {"state_dict_ema": weights})
        with pytest.raises(UserError) as error:
            ActionFormer.from_preset(tmp_path / "a.pth")
        return str(error.value)

    first = "projection.embed.0.conv.weight"
    missing = told(**{"rpn_head.scale.5.scale": (0,)})
    assert missing.startswith("Parameter rpn_head.scale.5.scale is missing")
    assert told(more=(2, 3)).startswith("1 parameters of the checkpoint have no place")
    assert f"Parameter {first} has shape" in told(**{first: (1, 2, 3)})
    (tmp_path / "log.json").unlink()
    (tmp_path / "a.yaml").write_text(
        "dataset: {num_classes: 20}\nmodel: {embd_dim: 16, fpn_dim: 16, head_dim: 16}\n"
    )
    assert "a.pth' holds the weights of a network of OpenTAD, but" in told()
