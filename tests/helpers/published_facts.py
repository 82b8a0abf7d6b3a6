"""What the authors publish of each benchmark's configuration, written down from their files.

Nothing here comes from the package: what compares with it finds a number that was copied wrongly,
or one that belongs to another version of a configuration. Settings have the names of our
configurations; each value is in the file that `source` names or, where that says nothing, the
default of its program (`_REFERENCE`, `_OPENTAD`). Commits are in brackets.

Left out are settings without effect: the voting of OpenTAD's suppression within classes, the tIoU
of hard suppression, the momentum of SGD.
"""

import copy
import dataclasses
import json
import pathlib


@dataclasses.dataclass(frozen=True)
class Facts:
    """A configuration as its authors publish it.

    Attributes:
      source: str, where settings and parameters were read.
      scores: tuple of float, published mAP in percent as it is printed, the average last; empty
        where none is published.
      num_parameters: int, trainable numbers; None where no source tells them.
      num_epochs: int, of the schedule's epochs those that the published model was trained.
      settings: dict, name to value.
    """

    source: str
    scores: tuple
    num_parameters: int | None
    num_epochs: int
    settings: dict


def differences(settings, facts):
    """Returns the settings that both have and that differ: name to (ours, published).

    Args:
      settings: dict, name to value; a list counts as the tuple of the same.
      facts: `Facts`.
    """
    both = settings.keys() & facts.settings.keys()
    pairs = {name: (_tuples(settings[name]), facts.settings[name]) for name in both}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _tuples(value):
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def _facts(source, scores, num_parameters, program, num_epochs=None, **settings):
    settings = program | settings
    num_epochs = num_epochs or settings["epochs"] + settings["warmup_epochs"]
    return Facts(source, scores, num_parameters, num_epochs, settings)


def levels(num_levels, overlap=False):
    """Levels after two blocks, and their ranges: (0, 4), (4, 8), ... or (0, 4), (2, 8), ..."""
    ends = [4 * 2**level for level in range(num_levels - 1)]
    starts = [0, *(end // 2 if overlap else end for end in ends)]
    ranges = tuple(zip(starts, [*ends, 10000], strict=True))
    return dict(backbone_arch=(2, 2, num_levels - 1), regression_range=ranges)


def _width(width, total=None):
    return dict(embd_dim=width, fpn_dim=total or width, head_dim=total or width)


_TENTHS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_TWENTIETHS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)

# What both programs take for every data set, or take where a configuration says nothing else: the
# reference's libs/core/config.py [ba97112] and libs/utils/train_utils.py, OpenTAD's
# configs/_base_/models/actionformer.py, opentad/models/detectors/single_stage.py and
# opentad/utils/ema.py [3dd7b03].
_BOTH = dict(
    fps=None,
    downsample_rate=1,
    trunc_thresh=0.5,
    crop_ratio=(0.9, 1.0),
    class_agnostic=False,
    backbone_type="convTransformer",
    scale_factor=2,
    n_head=4,
    embd_kernel_size=3,
    embd_with_ln=True,
    fpn_type="identity",
    fpn_with_ln=True,
    fpn_start_level=0,
    head_kernel_size=3,
    head_num_layers=3,
    head_with_ln=True,
    head_empty_cls=(),
    max_seq_len=2304,
    use_abs_pe=False,
    use_rel_pe=False,
    center_sample="radius",
    center_sample_radius=1.5,
    cls_prior_prob=0.01,
    label_smoothing=0.0,
    loss_weight=1.0,
    dropout=0.0,
    droppath=0.1,
    input_dropout=0.0,
    force_upsampling=False,
    pre_nms_thresh=0.001,
    nms_method="soft",
    nms_sigma=0.5,
    multiclass_nms=True,
    min_score=0.001,  # said by every configuration
    drop_empty=False,  # both only limit times to the video's
    optimizer="AdamW",
    learning_rate=1e-4,
    weight_decay=0.05,
    schedule="cosine",
    warmup_epochs=5,
    batch_size=2,
    clip_norm=1.0,
    ema=0.999,
    tiou_thresholds=_TENTHS[:5],
    **levels(6),
    **_width(512),
)

# === The reference: github.com/happyharrycn/actionformer_release; scores: README.md [1657159] ===

_REFERENCE = _BOTH | dict(pre_nms_topk=5000, duration_thresh=0.05, voting_thresh=0.75)

# Of one class; the two best of its video then come from elsewhere (libs/utils/postprocessing.py
# [18e5860], opentad/models/utils/post_processing/classifier.py).
_ACTIVITYNET = dict(
    class_agnostic=True,
    num_classes=1,
    n_mha_win_size=(7, 7, 7, 7, 7, -1),
    use_abs_pe=True,
    max_seq_len=192,
    force_upsampling=True,
    init_loss_norm=200,
    label_smoothing=0.1,
    loss_weight=2.0,
    pre_nms_topk=2000,
    max_seg_num=100,
    nms_sigma=0.75,
    multiclass_nms=False,
    voting_thresh=0.9,
    topk=2,
    learning_rate=1e-3,
    batch_size=16,
    epochs=10,
    tiou_thresholds=_TWENTIETHS,
    **_width(256),
)
_ANET = (
    _REFERENCE
    | _ACTIVITYNET
    | dict(stride_frames=16, window_frames=16, duration_thresh=0.001, num_pred=200)
)
_EPIC = _REFERENCE | dict(
    fps=30,
    stride_frames=16,
    window_frames=32,
    trunc_thresh=0.3,
    input_dim=2304,
    n_mha_win_size=9,
    init_loss_norm=250,
    max_seg_num=2000,
    nms_sigma=0.4,
    epochs=16,
    **levels(6, overlap=True),
)
_EGO4D = _REFERENCE | dict(
    fps=30,
    stride_frames=16,
    window_frames=32,
    trunc_thresh=0.3,
    num_classes=110,
    n_mha_win_size=9,
    use_abs_pe=True,
    max_seq_len=1024,
    dropout=0.1,
    init_loss_norm=100,
    max_seg_num=2000,
    nms_sigma=0.9,
    voting_thresh=0.95,
    epochs=10,
    **levels(8, overlap=True),
)


def _ego4d(name, commit, scores, num_parameters, **settings):
    """The published model is epoch_010.pth.tar (README), counted from 1 (train.py [ba97112])."""
    source = f"configs/ego4d_{name}.yaml [{commit}]"
    return _facts(source, scores, num_parameters, _EGO4D, num_epochs=10, **settings)


_REFERENCE_FACTS = {
    "thumos14_i3d": _facts(
        "configs/thumos_i3d.yaml [88f6110]", (82.13, 77.80, 70.95, 59.40, 43.87, 66.83), 29_251_612,
        _REFERENCE, stride_frames=4, window_frames=16, input_dim=2048, num_classes=20,
        n_mha_win_size=19, init_loss_norm=100, pre_nms_topk=2000, max_seg_num=200,
        voting_thresh=0.7, epochs=30, tiou_thresholds=_TENTHS[2:7],
    ),
    "anet_tsp": _facts(
        "configs/anet_tsp.yaml [61ea7eb]", (54.67, 37.81, 8.36, 36.56), 6_943_497, _ANET, fps=15,
        input_dim=512,
    ),
    "anet_i3d": _facts(
        "configs/anet_i3d.yaml [bc9c4c6]", (54.29, 36.71, 8.24, 36.03), 8_123_145, _ANET, fps=25,
        input_dim=2048,
    ),
    "epic_slowfast_verb": _facts(
        "configs/epic_slowfast_verb.yaml [445d400]", (26.58, 25.42, 24.15, 22.29, 19.09, 23.51),
        29_763_177, _EPIC, num_classes=97,
    ),
    "epic_slowfast_noun": _facts(
        "configs/epic_slowfast_noun.yaml [445d400]", (25.21, 24.11, 22.66, 20.47, 16.97, 21.88),
        30_075_188, _EPIC, num_classes=300, label_smoothing=0.1,
    ),
    "ego4d_slowfast": _ego4d(
        "slowfast", "1657159", (20.09, 17.45, 14.44, 12.46, 10.00, 14.89), 32_945_271,
        input_dim=2304, **levels(7, overlap=True),
    ),
    "ego4d_omnivore": _ego4d(
        "omnivore", "1657159", (23.87, 20.78, 18.39, 15.33, 12.65, 18.20), 34_927_736,
        input_dim=1536,
    ),
    "ego4d_egovlp": _ego4d(
        "egovlp", "1657159", (26.84, 23.86, 20.57, 17.19, 14.54, 20.60), 18_675_576,
        window_frames=16, input_dim=256, **_width(384),
    ),
    "ego4d_slowfast_egovlp": _ego4d(
        "slowfast_egovlp", "875e526", (27.98, 24.46, 21.21, 18.56, 15.60, 21.56), 78_933_624,
        input_dim=2560, n_head=12, **_width(768),
    ),
    "ego4d_omnivore_egovlp": _ego4d(
        "omnivore_egovlp", "875e526", (27.99, 24.94, 21.94, 19.05, 15.98, 21.98), 77_164_152,
        input_dim=1792, n_head=12, **_width(768),
    ),
    # Before [ba97112]: seven levels, widths of 384, 384 and 256, 121,695,351 parameters, 20.95.
    "ego4d_slowfast_omnivore_egovlp": _ego4d(
        "slowfast_omnivore_egovlp", "61ea7eb", (28.26, 24.69, 21.88, 19.35, 16.28, 22.09),
        134_048_888, input_dim=(2304, 1536, 256), n_head=16, **_width((256, 384, 384), total=1024),
    ),
    # Of the reference's fork github.com/epic-kitchens/C10-epic-sounds-detection.
    "epic_sounds": _facts(
        "baseline/configs/epic_sounds_auditory_slowfast.yaml [ef432f3]", (), None, _EPIC,
        stride_frames=6, num_classes=44, max_seq_len=9216, label_smoothing=0.1,
    ),
}  # fmt: skip

# === OpenTAD: github.com/sming256/OpenTAD [3dd7b03]; scores of configs/actionformer/README.md ===

# Its configurations as its program merges them, with the parameters that the program counts.
_RAW = json.loads((pathlib.Path(__file__).parents[1] / "golden/o_facts_configs.json").read_text())
# How its classifiers put the scores of segment and video together
# (opentad/models/utils/post_processing/classifier.py).
_RULES = {
    "CUHKANETClassifier": "product",
    "TCANetHACSClassifier": "twice_product",
    "StandardClassifier": "sqrt",
}
# Its file of videos that are not scored, and where `prepare` puts it.
_BLOCKED = {"data/activitynet-1.3/annotations/blocked.json": "data/activitynet/blocked.json"}
# What its program does with every data set; what is without effect stands as we have it.
_OPENTAD = _BOTH | dict(
    cut_keeps="an_action",
    cut_beyond_ends=False,
    drop_repeated_actions=True,
    drop_without_actions=True,
    conv_ln_epsilon=1e-6,
    mask_after_relu=True,
    points_at_centers=False,
    topk_per_level=False,
    duration_thresh=-1.0,  # below 0: of any length, and of none
    voting_by_tiou=False,
    round_results=True,
    val_every=1,
)


def _opentad(file, *scores, **changes):
    raw, source = _RAW[f"{file}.py"], f"configs/actionformer/{file}.py [3dd7b03]"
    settings = _OPENTAD | _data_facts(raw) | _model_facts(raw) | _test_facts(raw) | _training(raw)
    num_parameters = changes.pop("num_parameters", raw["_facts"]["parameters"])
    num_epochs = changes.pop("num_epochs", _num_epochs(raw))
    return Facts(source, scores, num_parameters, num_epochs, settings | changes)


def _num_epochs(raw):
    return raw["workflow"].get("end_epoch", raw["scheduler"]["max_epoch"])


def _step(raw, subset, kind):
    """The settings of a step of a pipeline, or an empty dict."""
    pipeline = raw["dataset"][subset]["pipeline"]
    return next((step for step in pipeline if step["type"] == kind), {})


def _data_facts(raw):
    data = raw["dataset"]["train"]
    cut = _step(raw, "train", "RandomTrunc")
    of_seconds = data["type"].startswith("Anet")  # others cut times to frames
    facts = dict(
        trunc_thresh=cut["trunc_thresh"],
        crop_ratio=tuple(cut["crop_ratio"]),
        class_agnostic=data.get("class_agnostic", False),
        whole_frames=not of_seconds,
        min_action_share=0.01 if of_seconds and data["filter_gt"] else 0.0,
        prefix=_step(raw, "train", "LoadFeats").get("prefix", ""),
        spread_duration="resize_length" in data,
    )
    if "resize_length" in data:
        return facts
    # That of Ego4D's clips is the annotations'.
    fps = 30 if data["type"].startswith("Ego4D") else data.get("fps")
    return facts | dict(
        fps=fps,
        stride_frames=data["feature_stride"] * data["sample_stride"],
        window_frames=2 * data["offset_frames"],
    )


def _model_facts(raw):
    projection, neck, head = (raw["model"][name] for name in ("projection", "neck", "rpn_head"))
    assert neck["type"] == "FPNIdentity"
    data, attention = raw["dataset"]["train"], projection["attn_cfg"]
    return dict(
        input_dim=projection["in_channels"],
        num_classes=head["num_classes"],
        backbone_arch=_tuples(projection["arch"]),
        embd_dim=projection["out_channels"],
        embd_kernel_size=projection["conv_cfg"]["kernel_size"],
        n_head=attention["n_head"],
        n_mha_win_size=_tuples(attention["n_mha_win_size"]),
        use_abs_pe=projection["use_abs_pe"],
        fpn_dim=neck["out_channels"],
        head_dim=head["feat_channels"],
        head_num_layers=head["num_convs"] + 1,
        regression_range=_tuples(head["prior_generator"]["regression_range"]),
        max_seq_len=projection["max_seq_len"],
        force_upsampling="resize_length" in data,
        resize_method="roi_align" if "resize_length" in data else "linear",
        resize_longer=bool(_step(raw, "test", "Padding")),
        input_dropout=projection.get("input_pdrop", 0.0),
        dropout=projection["conv_cfg"]["proj_pdrop"],
        droppath=projection["path_pdrop"],
        cls_prior_prob=head["cls_prior_prob"],
        center_sample=head["center_sample"],
        center_sample_radius=head["center_sample_radius"],
        point_classes="shortest" if head.get("filter_similar_gt", True) else "all",
        loss_weight=head.get("loss_weight", 1.0),
        label_smoothing=head["label_smoothing"],
        init_loss_norm=head["loss_normalizer"],
    )


def _test_facts(raw):
    section, data = raw["post_processing"], raw["dataset"]["test"]
    nms, one_class = section["nms"], raw["model"]["rpn_head"]["num_classes"] == 1
    facts = dict(
        # Of one class every point is a candidate.
        pre_nms_thresh=0.0 if one_class else section.get("pre_nms_thresh", 0.001),
        pre_nms_topk=100_000 if one_class else section.get("pre_nms_topk", 2000),
        nms_sigma=nms["sigma"],
        max_seg_num=nms["max_seg_num"],
        min_score=nms["min_score"],
        multiclass_nms=nms["multiclass"],
        voting_thresh=nms["voting_thresh"],
        sliding_steps=data.get("window_size", 0),
        tiou_thresholds=tuple(raw["evaluation"]["tiou_thresholds"]),
        blocked_videos=_BLOCKED.get(raw["evaluation"].get("blocked_videos"), ""),
    )
    if "window_size" in data:
        facts |= dict(sliding_overlap=data["window_overlap_ratio"], sliding_reaches_end=False)
    if "external_cls" in section:
        classifier = section["external_cls"]
        facts |= dict(topk=classifier["topk"], rule=_RULES[classifier["type"]])
    return facts


def _training(raw):
    optimizer, scheduler = raw["optimizer"], raw["scheduler"]
    assert optimizer["type"] == "AdamW" and optimizer["paramwise"] and raw["solver"]["ema"]
    return dict(
        batch_size=raw["solver"]["train"]["batch_size"],
        clip_norm=raw["solver"]["clip_grad_norm"],
        learning_rate=optimizer["lr"],
        weight_decay=optimizer["weight_decay"],
        warmup_epochs=scheduler["warmup_epoch"],
        epochs=scheduler["max_epoch"] - scheduler["warmup_epoch"],
        # Epochs count from 0 there.
        val_from=raw["workflow"]["val_start_epoch"] + 1,
    )


_OPENTAD_FACTS = {
    "thumos14_i3d_strong": _opentad("thumos_i3d", 83.78, 80.06, 73.16, 60.46, 44.72, 68.44),
    "anet_tsp_opentad": _opentad("anet_tsp", 55.08, 38.27, 8.91, 37.07),
    "hacs_slowfast": _opentad("hacs_slowfast", 56.18, 37.97, 11.05, 37.71),
    "epic_slowfast_verb_opentad": _opentad(
        "epic_kitchens_slowfast_verb", 27.68, 26.79, 25.62, 24.06, 20.48, 24.93
    ),
    "epic_slowfast_noun_opentad": _opentad(
        "epic_kitchens_slowfast_noun", 25.78, 24.73, 22.83, 20.84, 17.45, 22.33
    ),
    "ego4d_slowfast_opentad": _opentad(
        "ego4d_slowfast", 20.90, 18.12, 15.81, 14.25, 12.21, 16.26
    ),
    "ego4d_egovlp_opentad": _opentad("ego4d_egovlp", 27.79, 24.97, 22.37, 19.25, 16.25, 22.13),
    "ego4d_internvideo": _opentad("ego4d_internvideo", 32.59, 30.28, 27.53, 25.09, 22.13, 27.52),
    "multithumos_i3d": _opentad("multithumos_i3d", 60.18, 45.01, 24.56, 39.19),
    "multithumos_i3d_rgb": _opentad("multithumos_i3d_rgb", 53.52, 39.05, 19.69, 34.02),
    "charades_i3d_rgb": _opentad("charades_i3d_rgb", 31.33, 23.07, 13.60, 20.60),
    # The program cannot load this one, whose files say what differs from the one before; its
    # parameters are counted from its shapes.
    "charades_videomae_l": _opentad(
        "charades_i3d_rgb", 38.87, 29.67, 17.52, 26.04, num_parameters=34_213_543, num_epochs=20,
        fps=30, stride_frames=4, window_frames=4, max_seq_len=512, resize_longer=False,
        sliding_steps=512, sliding_overlap=0.5, sliding_reaches_end=False, **levels(8),
    ),
    "fineaction_videomae_h": _opentad("fineaction_videomae_h", 29.44, 19.46, 5.06, 19.32),
    "fineaction_videomaev2_g": _opentad("fineaction_videomaev2_g", 29.85, 19.72, 5.17, 19.62),
}  # fmt: skip

FACTS = {**_REFERENCE_FACTS, **_OPENTAD_FACTS}
OPENTAD = tuple(_OPENTAD_FACTS)


def opentad_model(name):
    """Returns the section `model` of one of `OPENTAD`, for the caller to change."""
    file = pathlib.PurePosixPath(FACTS[name].source.split()[0]).name
    return copy.deepcopy(_RAW[file]["model"])


# The stride of resized features is of no account where a duration is shared out, but in the files.
_OPENTAD_FACTS["anet_tsp_opentad"].settings.update(fps=15, stride_frames=16, window_frames=16)
for _name in ("fineaction_videomae_h", "fineaction_videomaev2_g"):
    _OPENTAD_FACTS[_name].settings.update(stride_frames=None)

# What OpenTAD does and this package does not, in the words of the configurations that must say it.
OPENTAD_ALONE = {
    "the best is told": OPENTAD,
    "Its random numbers are others": OPENTAD,
    "videos video_test_0000270 and video_test_0001292": ("thumos14_i3d_strong",),
}
