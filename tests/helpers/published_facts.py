"""What the authors publish of each benchmark's configuration, written down from their files.

Nothing here comes from the package: what compares with it finds a number that was copied wrongly,
or one that belongs to another version of a configuration. Settings have the names of our
configurations; each value is in the file that `source` names or, where that says nothing, the
default of its program (`_REFERENCE`, `_OPENTAD`). Commits are in brackets.

Left out are settings without effect: the voting of OpenTAD's suppression within classes, the tIoU
of hard suppression, the momentum of SGD.
"""

import dataclasses


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

_OPENTAD = _BOTH | dict(pre_nms_topk=2000, duration_thresh=0.0)  # asks for no duration
_THUMOS = _OPENTAD | dict(stride_frames=4, window_frames=16, n_mha_win_size=19, init_loss_norm=100)
_MULTITHUMOS = _THUMOS | dict(
    num_classes=65,
    backbone_arch=(3, 0, 5),
    pre_nms_topk=8000,
    max_seg_num=8000,
    epochs=60,
    tiou_thresholds=_TENTHS,
)
_CHARADES = _OPENTAD | dict(
    input_dim=1024,
    num_classes=157,
    n_mha_win_size=-1,
    use_abs_pe=True,
    input_dropout=0.3,
    init_loss_norm=100,
    max_seg_num=1000,
    nms_sigma=0.3,
    batch_size=16,
    epochs=15,
    tiou_thresholds=_TENTHS,
)
_FINEACTION = _OPENTAD | _ACTIVITYNET | dict(stride_frames=None)  # the duration, shared out


def _opentad(file, scores, num_parameters, program, **settings):
    """Settings as OpenTAD merges them, parameters as its program counts them."""
    source = f"configs/actionformer/{file}.py [3dd7b03]"
    return _facts(source, scores, num_parameters, program, **settings)


_OPENTAD_FACTS = {
    "thumos14_i3d_strong": _opentad(
        "thumos_i3d", (83.78, 80.06, 73.16, 60.46, 44.72, 68.44), 29_251_612, _THUMOS,
        input_dim=2048, num_classes=20, input_dropout=0.2, max_seg_num=2000, epochs=30,
        tiou_thresholds=_TENTHS[2:7],
    ),
    "hacs_slowfast": _opentad(
        "hacs_slowfast", (56.18, 37.97, 11.05, 37.71), 8_319_753, _OPENTAD, fps=15, stride_frames=8,
        window_frames=32, class_agnostic=True, input_dim=2304, num_classes=1,
        n_mha_win_size=(13, 13, 13, 13, 13, -1), use_abs_pe=True, max_seq_len=960,
        input_dropout=0.1, init_loss_norm=400, label_smoothing=0.1, max_seg_num=100, nms_sigma=0.75,
        topk=3, learning_rate=1e-3, weight_decay=0.03, batch_size=16, epochs=10,
        tiou_thresholds=_TWENTIETHS, **_width(256),
    ),
    "multithumos_i3d": _opentad(
        "multithumos_i3d", (60.18, 45.01, 24.56, 39.19), 23_786_057, _MULTITHUMOS, num_epochs=45,
        input_dim=2048,
    ),
    "multithumos_i3d_rgb": _opentad(
        "multithumos_i3d_rgb", (53.52, 39.05, 19.69, 34.02), 22_213_193, _MULTITHUMOS,
        num_epochs=45, input_dim=1024,
    ),
    "charades_i3d_rgb": _opentad(
        "charades_i3d_rgb", (31.33, 23.07, 13.60, 20.60), 31_051_430, _CHARADES, num_epochs=15,
        fps=24, stride_frames=8, window_frames=0, max_seq_len=768, **levels(7),
    ),
    # The program cannot load this one, so that it counts nothing.
    "charades_videomae_l": _opentad(
        "charades_videomae_l", (38.87, 29.67, 17.52, 26.04), None, _CHARADES, fps=30,
        stride_frames=4, window_frames=4, max_seq_len=512, **levels(8),
    ),
    "fineaction_videomae_h": _opentad(
        "fineaction_videomae_h", (29.44, 19.46, 5.06, 19.32), 7_533_321, _FINEACTION,
        input_dim=1280, epochs=15,
    ),
    "fineaction_videomaev2_g": _opentad(
        "fineaction_videomaev2_g", (29.85, 19.72, 5.17, 19.62), 7_631_625, _FINEACTION,
        input_dim=1408, epochs=10,
    ),
    "ego4d_internvideo": _opentad(
        "ego4d_internvideo", (32.59, 30.28, 27.53, 25.09, 22.13, 27.52), 40_465_530, _OPENTAD,
        num_epochs=20, fps=30, stride_frames=8, window_frames=8, trunc_thresh=0.3, input_dim=1024,
        num_classes=110, n_mha_win_size=(17, 17, 17, 17, 17, 17, 17, -1, -1, -1), use_abs_pe=True,
        max_seq_len=2048, input_dropout=0.2, dropout=0.1, init_loss_norm=100, pre_nms_topk=5000,
        max_seg_num=2000, nms_sigma=2.0, epochs=20, **levels(10, overlap=True),
    ),
}  # fmt: skip

FACTS = {**_REFERENCE_FACTS, **_OPENTAD_FACTS}

# What OpenTAD does and this package does not, in the words of the configurations that must say it.
_OF_ONE_CLASS = ("hacs_slowfast", "fineaction_videomae_h", "fineaction_videomaev2_g")
OPENTAD_ALONE = {
    "epsilon of 1e-6": tuple(_OPENTAD_FACTS),
    "a second time, after norm and ReLU": tuple(_OPENTAD_FACTS),
    "cuts actions at its own ends": tuple(_OPENTAD_FACTS),
    "best candidates of all levels together": tuple(_OPENTAD_FACTS),
    "the best is told": tuple(_OPENTAD_FACTS),
    "rounded to 0.01 s and scores to 0.0001": tuple(_OPENTAD_FACTS),
    "cut to whole frames": tuple(_OPENTAD_FACTS),
    "videos video_test_0000270 and video_test_0001292": ("thumos14_i3d_strong",),
    "candidates of any score": _OF_ONE_CLASS,
    "videos of more than 960 steps are resized": ("hacs_slowfast",),
    "videos of more than 768 steps are resized": ("charades_i3d_rgb",),
    "windows of 512 steps that overlap by half": ("charades_videomae_l",),
    "windows of 2048 steps that do not overlap": ("ego4d_internvideo",),
    "rounded before suppression": ("charades_videomae_l", "ego4d_internvideo"),
    "learns the classes of all of them": ("ego4d_internvideo",),
    "voting weighs by score alone": _OF_ONE_CLASS[1:],
    "resized by RoI-align": _OF_ONE_CLASS[1:],
    "step i stands for i / 192": _OF_ONE_CLASS[1:],
    "leaves out actions of up to 1 %": _OF_ONE_CLASS[1:],
}
