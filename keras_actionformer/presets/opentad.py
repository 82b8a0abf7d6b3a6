"""Models of OpenTAD: their settings and the names of their parameters, as ours.

OpenTAD's ActionFormer (github.com/sming256/OpenTAD) is the reference's network under other names,
but for three details that change numbers: `conv_ln_epsilon`, `mask_after_relu` and `"full_fpn"` of
`Architecture`.
"""

import dataclasses
import re

from keras_actionformer.checks import shown
from keras_actionformer.detection.postprocess import PostProcess
from keras_actionformer.errors import UserError, suggest

# === Settings ===

# The sections that a network is made from, and what each may hold; a setting that is not known may
# change numbers.
_KNOWN = {
    "model": "type projection neck rpn_head",
    "model.projection": (
        "type in_channels out_channels arch conv_cfg norm_cfg attn_cfg path_pdrop use_abs_pe "
        "max_seq_len input_pdrop"
    ),
    "model.projection.conv_cfg": "kernel_size proj_pdrop",
    "model.projection.attn_cfg": "n_head n_mha_win_size",
    "model.neck": "type in_channels out_channels num_levels scale_factor start_level norm_cfg",
    "model.rpn_head": (
        "type num_classes in_channels feat_channels num_convs cls_prior_prob prior_generator loss "
        "loss_normalizer loss_normalizer_momentum loss_weight center_sample center_sample_radius "
        "label_smoothing filter_similar_gt"
    ),
    "model.rpn_head.prior_generator": "type strides regression_range use_offset",
}
_TYPES = {
    "model": ("ActionFormer",),
    "model.projection": ("Conv1DTransformerProj",),
    "model.neck": ("FPNIdentity", "FPN"),
    "model.rpn_head": ("ActionFormerHead",),
    "model.rpn_head.prior_generator": ("PointGenerator",),
}


def is_opentad_config(config):
    """Whether a configuration, a dict, is one of OpenTAD."""
    model = config.get("model") if isinstance(config, dict) else None
    return isinstance(model, dict) and "type" in model


def architecture_arguments(config):
    """Arguments of `Architecture` for a configuration of OpenTAD.

    Args:
      config: dict of sections; that of the network is `model`.

    Returns:
      dict of keyword arguments.

    Raises:
      UserError: it is another network, or has a setting that is not known here.
    """
    sections = {path: _section(config, path) for path in _KNOWN}
    _, projection, convolution, attention, neck, head, points = sections.values()
    is_identity = neck["type"] == "FPNIdentity"
    neck_norm = neck.get("norm_cfg", {"type": "LN"} if is_identity else None)
    arguments = {
        "input_dim": _needed(projection, "model.projection", "in_channels"),
        "num_classes": _needed(head, "model.rpn_head", "num_classes"),
        "backbone_arch": projection.get("arch", (2, 2, 5)),
        "embd_dim": _needed(projection, "model.projection", "out_channels"),
        "embd_kernel_size": _needed(convolution, "model.projection.conv_cfg", "kernel_size"),
        "embd_with_ln": _has_norm("model.projection.norm_cfg", projection.get("norm_cfg")),
        "n_head": _needed(attention, "model.projection.attn_cfg", "n_head"),
        "n_mha_win_size": _needed(attention, "model.projection.attn_cfg", "n_mha_win_size"),
        "use_abs_pe": projection.get("use_abs_pe", False),
        "scale_factor": neck.get("scale_factor", 2),
        "fpn_type": "identity" if is_identity else "full_fpn",
        "fpn_dim": _needed(neck, "model.neck", "out_channels"),
        "fpn_with_ln": _has_norm("model.neck.norm_cfg", neck_norm),
        "fpn_start_level": neck.get("start_level", 0),
        "head_dim": _needed(head, "model.rpn_head", "feat_channels"),
        "head_num_layers": _needed(head, "model.rpn_head", "num_convs") + 1,
        "conv_ln_epsilon": 1e-6,
        "mask_after_relu": True,
        "points_at_centers": points.get("use_offset", False),
        "regression_range": _needed(points, "model.rpn_head.prior_generator", "regression_range"),
        "max_seq_len": projection.get("max_seq_len", 2304),
        "input_dropout": projection.get("input_pdrop") or 0.0,
        "dropout": convolution.get("proj_pdrop", 0.0),
        "droppath": projection.get("path_pdrop", 0.0),
        "init_loss_norm": head.get("loss_normalizer", 100),
    }
    if not head.get("filter_similar_gt", True):
        arguments["point_classes"] = "all"
    same = "cls_prior_prob center_sample center_sample_radius label_smoothing loss_weight".split()
    return {**arguments, **{name: head[name] for name in same if name in head}}


def _section(config, path):
    """A section of the configuration by its path, checked."""
    section = config
    for name in path.split("."):
        section = section.get(name)
        if not isinstance(section, dict):
            raise UserError(f"The configuration of OpenTAD has no section {path}.")
    types = _TYPES.get(path)
    if types and section.get("type") not in types:
        raise UserError(
            f"The configuration of OpenTAD has {path}.type={shown(section.get('type'))}; only "
            f"{' and '.join(map(repr, types))} can be opened here."
        )
    _check_names(section, path, _KNOWN[path].split())
    return section


def _check_names(section, path, known):
    for name in section:
        if name not in known:
            raise UserError(
                f"The configuration of OpenTAD has {path}.{name}, which is not known here"
                f"{suggest(str(name), known) or '.'}"
            )


def _needed(section, path, name):
    if name not in section:
        raise UserError(f"The configuration of OpenTAD has no {path}.{name}.")
    return section[name]


def _has_norm(path, norm):
    if norm not in (None, {"type": "LN"}):
        raise UserError(
            f"The configuration of OpenTAD has {path}={shown(norm)}; only dict(type='LN') and None "
            "can be opened here."
        )
    return norm is not None


# === Inference ===

_NMS = (
    "use_soft_nms sigma max_seg_num iou_threshold min_score multiclass voting_thresh method t1 t2"
).split()
_NMS_METHODS = ("vanilla", "linear", "soft", "improved")  # by their numbers
_POST_PROCESSING = "nms pre_nms_topk pre_nms_thresh external_cls save_dict sliding_window".split()


def model_arguments(config):
    """Arguments of `ActionFormer` for a configuration of OpenTAD.

    Args:
      config: dict of sections.

    Returns:
      dict of keyword arguments, timing included; class names are not among them.

    Raises:
      UserError: it is another network, or has a setting that is not known here.
    """
    arguments = architecture_arguments(config)
    data, max_seq_len = _test_data(config), arguments["max_seq_len"]
    lengths, timing = _lengths(data, max_seq_len)
    postprocess = _postprocess(config, arguments["num_classes"])
    return {
        **arguments,
        **lengths,
        "postprocess": dataclasses.replace(postprocess, **timing),
        "grid": _grid(data),
    }


def _lengths(data, max_seq_len):
    """How a test makes its sequences: arguments of `Architecture`, and fields of `PostProcess`."""
    steps = {step.get("type"): step for step in data.get("pipeline", ()) if isinstance(step, dict)}
    resize, pad = steps.get("ResizeFeat"), steps.get("Padding")
    if "resize_length" in data:
        _check_length("dataset.test.resize_length", data["resize_length"], max_seq_len)
        methods = {"torchvision_align": "roi_align", "interpolate": "linear"}
        tool = (resize or {}).get("tool")
        if tool not in methods:
            raise UserError(
                f"The configuration of OpenTAD resizes features by ResizeFeat(tool={shown(tool)}); "
                f"only {' and '.join(map(repr, methods))} can be opened here."
            )
        arguments = {"force_upsampling": True, "resize_method": methods[tool]}
        return arguments, {"spread_duration": True}
    if "window_size" in data:
        return {}, {
            "sliding_steps": data["window_size"],
            "sliding_overlap": data.get("window_overlap_ratio", 0.25),
            "sliding_reaches_end": False,
            "round_results": True,
        }
    if pad is not None:
        _check_length("Padding.length of dataset.test", pad.get("length"), max_seq_len)
        return {"resize_longer": True}, {}
    return {}, {}


def _check_length(path, length, max_seq_len):
    if length != max_seq_len:
        raise UserError(
            f"The configuration of OpenTAD has {path}={shown(length)}, but a max_seq_len of "
            f"{max_seq_len}; only equal ones can be opened here."
        )


def keeps_averages(config):
    """Whether a training of this configuration averages its weights, and a test takes these."""
    solver = config.get("solver")
    return bool(isinstance(solver, dict) and solver.get("ema", False))


def _test_data(config):
    """The settings of the data that a test reads, or an empty dict."""
    data = config.get("dataset")
    data = data.get("test") if isinstance(data, dict) else None
    return data if isinstance(data, dict) else {}


def _postprocess(config, num_classes):
    """The `PostProcess` of a configuration."""
    section = config.get("post_processing", {})
    _check_names(section, "post_processing", _POST_PROCESSING)
    nms = section.get("nms")
    if nms is not None:
        _check_names(nms, "post_processing.nms", _NMS)
    nms = nms or {}
    if num_classes == 1:  # every point is a candidate there
        candidates = {"pre_nms_thresh": 0.0, "pre_nms_topk": 100_000}
    else:
        candidates = {
            "pre_nms_thresh": section.get("pre_nms_thresh", 0.001),
            "pre_nms_topk": section.get("pre_nms_topk", 2000),
        }
    method, iou_threshold = _nms_method(nms), nms.get("iou_threshold", 0.0)
    return PostProcess(
        **candidates,
        topk_per_level=False,
        duration_thresh=-1.0,
        nms_method=method if nms else "none",
        multiclass_nms=nms.get("multiclass", True),
        iou_threshold=nms.get("t1", 0.0) if method == "improved" else iou_threshold,
        iou_threshold_per_step=nms.get("t2", 0.0),
        nms_sigma=nms.get("sigma", 0.5),
        min_score=nms.get("min_score", 0.0),
        max_seg_num=nms.get("max_seg_num", 100),
        voting_thresh=nms.get("voting_thresh", 0.0),
        voting_by_tiou=False,
        drop_empty=False,
    )


def _nms_method(nms):
    number = nms.get("method", 2)
    if number not in range(len(_NMS_METHODS)):
        raise UserError(
            f"The configuration of OpenTAD has post_processing.nms.method={shown(number)}; only "
            f"0 to {len(_NMS_METHODS) - 1} can be opened here."
        )
    return _NMS_METHODS[number] if nms.get("use_soft_nms", True) else "hard"


def _grid(data):
    """The arguments of `FeatureGrid` of a test's data, or None."""
    if "feature_stride" not in data:
        return None
    return {
        "fps": data.get("fps"),
        "stride_frames": data["feature_stride"] * data.get("sample_stride", 1),
        # It adds the frames from the start of a step to its middle.
        "window_frames": 2 * data.get("offset_frames", 0),
    }


# === Parameters ===

# Our variable paths to OpenTAD's names, applied in order. It keeps a normalization with the
# convolution before it, in one module.
_RENAMES = (
    (r"/", "."),
    (r"^backbone\.", "projection."),
    (r"\bembd(_norm)?_(\d+)", r"embed_\2\1"),
    (r"^neck\.lateral_norms_(\d+)", r"neck.lateral_convs_\1_norm"),
    (r"^heads\.(cls|reg)_head\.head_(\d+)", r"rpn_head.\1_convs_\2"),
    (r"^heads\.(cls|reg)_head\.norm_(\d+)", r"rpn_head.\1_convs_\2_norm"),
    (r"^heads\.(cls|reg)_head\.out", r"rpn_head.\1_head"),
    (r"^heads\.reg_head\.scale", "rpn_head.scale"),
    (r"\bmlp_in\b", "mlp.0"),
    (r"\bmlp_out\b", "mlp.3"),
    (r"_(\d+)\b", r".\1"),
    (r"_(\d+)_norm\b", r".\1.norm"),
    (r"\.(gamma|kernel)$", ".weight"),
    (r"\.beta$", ".bias"),
)
_CONVOLUTION = re.compile(r"(embed|proj|convs)\.\d+$|_conv$")  # parameters of an inner `conv`


def parameter_name(path, fpn_type="identity"):
    """OpenTAD's parameter name for a variable's path, e.g. `backbone/embd_0/kernel`."""
    if fpn_type == "full_fpn":
        path = re.sub(r"^neck/fpn_norms_(\d+)", r"neck/fpn_convs_\1_norm", path)
    name = path
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    layer, _, parameter = name.rpartition(".")
    return f"{layer}.conv.{parameter}" if _CONVOLUTION.search(layer) else name
