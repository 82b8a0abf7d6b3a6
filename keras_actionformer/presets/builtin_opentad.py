"""The built-in architectures of OpenTAD's configurations of ActionFormer.

Facts are those of its configuration files (github.com/sming256/OpenTAD), merged; the scores are
those that it publishes. Of its published checkpoints each opens with the name of its architecture:
`from_preset("epoch_34.pth", config="thumos14_i3d_strong")`.
"""

from keras_actionformer.datasets.formats import THUMOS14_CLASSES
from keras_actionformer.presets.benchmarks import BuiltIn, overlapping_ranges, scores_of

_TENTHS = (0.1, 0.2, 0.3, 0.4, 0.5)
_OF_NINE = (0.2, 0.5, 0.7)  # of the tenths to 0.9, whose average is told
_OF_TEN = (0.5, 0.75, 0.95)  # of the twentieths from 0.5 on

# What it does with every data set.
_MODEL = dict(conv_ln_epsilon=1e-6, mask_after_relu=True)
_POSTPROCESS = dict(
    pre_nms_topk=2000,
    topk_per_level=False,
    duration_thresh=-1.0,
    min_score=0.001,
    voting_by_tiou=False,
    drop_empty=False,
    round_results=True,
)
# Of one class every point is a candidate.
_ONE_CLASS = dict(pre_nms_thresh=0.0, pre_nms_topk=100_000)


def _narrow(width):
    return dict(embd_dim=width, fpn_dim=width, head_dim=width)


def _windows(window_steps, overlap):
    return dict(sliding_steps=window_steps, sliding_overlap=overlap, sliding_reaches_end=False)


def _opentad(description, num_parameters, scores, encoder, grid, postprocess, names=(), **model):
    return BuiltIn(
        description=f"{description}; OpenTAD's settings",
        num_parameters=num_parameters,
        model=_MODEL | model,
        grid=grid,
        postprocess=_POSTPROCESS | postprocess,
        scores=scores,
        feature_encoder=encoder,
        class_names=names,
    )


# === THUMOS14 and MultiTHUMOS ===

_I3D_GRID = dict(fps=None, stride_frames=4, window_frames=16)


def _multithumos(features, num_parameters, input_dim, *scores):
    return _opentad(
        f"MultiTHUMOS (65 actions), {features} features; scored on THUMOS14's test videos",
        num_parameters,
        scores_of(_OF_NINE, *scores),
        "I3D trained on Kinetics",
        _I3D_GRID,
        dict(pre_nms_topk=8000, max_seg_num=8000, voting_thresh=0.7),
        input_dim=input_dim,
        num_classes=65,
        backbone_arch=(3, 0, 5),
        init_loss_norm=100,
    )


_THUMOS = {
    "thumos14_i3d_strong": _opentad(
        "THUMOS14 (20 sports), two-stream I3D features; trained on validation, scored on test",
        29_251_612,
        scores_of((0.3, 0.4, 0.5, 0.6, 0.7), 83.78, 80.06, 73.16, 60.46, 44.72, 68.44),
        "I3D (rgb + flow) trained on Kinetics",
        _I3D_GRID,
        dict(max_seg_num=2000, voting_thresh=0.7),
        THUMOS14_CLASSES,
        input_dim=2048,
        num_classes=20,
        input_dropout=0.2,
        init_loss_norm=100,
    ),
    "multithumos_i3d": _multithumos("two-stream I3D", 23_786_057, 2048, 60.18, 45.01, 24.56, 39.19),
    "multithumos_i3d_rgb": _multithumos("I3D (RGB)", 22_213_193, 1024, 53.52, 39.05, 19.69, 34.02),
}

# === One class, and scores of whole videos ===

_RESIZED = dict(
    num_classes=1,
    n_mha_win_size=[7, 7, 7, 7, 7, -1],
    use_abs_pe=True,
    max_seq_len=192,
    force_upsampling=True,
    resize_method="roi_align",
    label_smoothing=0.1,
    loss_weight=2.0,
    init_loss_norm=200,
    **_narrow(256),
)
_RESIZED_POSTPROCESS = _ONE_CLASS | dict(
    multiclass_nms=False,
    max_seg_num=100,
    nms_sigma=0.75,
    voting_thresh=0.9,
    spread_duration=True,
)


def _resized(data_set, encoder, num_parameters, scores, grid=None, **model):
    return _opentad(
        f"{data_set}, {encoder} features resized to 192 steps; scored on validation",
        num_parameters,
        scores_of(_OF_TEN, *scores),
        encoder,
        grid,
        _RESIZED_POSTPROCESS,
        ("action",),
        **_RESIZED,
        **model,
    )


_VIDEO_SCORES = {
    "anet_tsp_opentad": _resized(
        "ActivityNet 1.3 (200 classes by external scores)",
        "TSP",
        6_943_497,
        (55.08, 38.27, 8.91, 37.07),
        dict(fps=15, stride_frames=16, window_frames=16),
        input_dim=512,
        input_dropout=0.2,
    ),
    "fineaction_videomae_h": _resized(
        "FineAction (106 classes by external scores)",
        "VideoMAE-H",
        7_533_321,
        (29.44, 19.46, 5.06, 19.32),
        input_dim=1280,
    ),
    "fineaction_videomaev2_g": _resized(
        "FineAction (106 classes by external scores)",
        "VideoMAE V2-g",
        7_631_625,
        (29.85, 19.72, 5.17, 19.62),
        input_dim=1408,
    ),
    "hacs_slowfast": _opentad(
        "HACS Segments (200 classes by external scores), SlowFast features; scored on validation",
        8_319_753,
        scores_of(_OF_TEN, 56.18, 37.97, 11.05, 37.71),
        "SlowFast-R101 fine-tuned on HACS",
        dict(fps=15, stride_frames=8, window_frames=32),
        # Its voting has no effect within classes.
        _ONE_CLASS | dict(max_seg_num=100, nms_sigma=0.75, voting_thresh=0.7),
        ("action",),
        input_dim=2304,
        num_classes=1,
        n_mha_win_size=[13, 13, 13, 13, 13, -1],
        use_abs_pe=True,
        max_seq_len=960,
        resize_longer=True,
        input_dropout=0.1,
        label_smoothing=0.1,
        init_loss_norm=400,
        **_narrow(256),
    ),
}

# === EPIC-Kitchens-100 ===


def _epic(target, num_classes, num_parameters, scores, **model):
    return _opentad(
        f"EPIC-Kitchens-100 ({num_classes} {target}s), SlowFast features; scored on validation",
        num_parameters,
        scores_of(_TENTHS, *scores),
        "SlowFast trained on EPIC-Kitchens-100 (action classification)",
        dict(fps=30, stride_frames=16, window_frames=32),
        dict(pre_nms_topk=5000, max_seg_num=2000, nms_sigma=0.4),
        input_dim=2304,
        num_classes=num_classes,
        n_mha_win_size=9,
        regression_range=overlapping_ranges(6),
        init_loss_norm=250,
        **model,
    )


_EPIC = {
    "epic_slowfast_verb_opentad": _epic(
        "verb", 97, 29_763_177, (27.68, 26.79, 25.62, 24.06, 20.48, 24.93)
    ),
    # The nouns that occur, of 300.
    "epic_slowfast_noun_opentad": _epic(
        "noun", 293, 30_064_429, (25.78, 24.73, 22.83, 20.84, 17.45, 22.33), label_smoothing=0.1
    ),
}

# === Ego4D Moment Queries ===


def _ego4d(encoder, num_parameters, scores, stride_frames, window_frames, arch, **model):
    num_levels = arch[2] + 1
    return _opentad(
        f"Ego4D Moment Queries (110 classes), {encoder} features of clips; scored on validation",
        num_parameters,
        scores_of(_TENTHS, *scores),
        encoder,
        dict(fps=30, stride_frames=stride_frames, window_frames=window_frames),
        dict(pre_nms_topk=5000, max_seg_num=2000, nms_sigma=2.0, voting_thresh=0.95)
        | _windows(model["max_seq_len"], 0.0),
        num_classes=110,
        backbone_arch=arch,
        use_abs_pe=True,
        regression_range=overlapping_ranges(num_levels),
        input_dropout=0.2,
        dropout=0.1,
        point_classes="all",
        init_loss_norm=100,
        **model,
    )


_NINE_LEVELS = dict(arch=(2, 2, 8), n_mha_win_size=[9, 9, 9, 9, 9, 9, -1, -1, -1], max_seq_len=1024)
_EGO4D = {
    "ego4d_slowfast_opentad": _ego4d(
        "SlowFast",
        39_269_497,
        (20.90, 18.12, 15.81, 14.25, 12.21, 16.26),
        stride_frames=16,
        window_frames=32,
        input_dim=2304,
        **_NINE_LEVELS,
    ),
    "ego4d_egovlp_opentad": _ego4d(
        "EgoVLP",
        20_457_337,
        (27.79, 24.97, 22.37, 19.25, 16.25, 22.13),
        stride_frames=16,
        window_frames=16,
        input_dim=256,
        **_NINE_LEVELS,
        **_narrow(384),
    ),
    "ego4d_internvideo": _ego4d(
        "InternVideo",
        40_465_530,
        (32.59, 30.28, 27.53, 25.09, 22.13, 27.52),
        stride_frames=8,
        window_frames=8,
        arch=(2, 2, 9),
        input_dim=1024,
        n_mha_win_size=[17, 17, 17, 17, 17, 17, 17, -1, -1, -1],
        max_seq_len=2048,
    ),
}

# === Charades ===


def _charades(encoder, num_parameters, scores, grid, postprocess, **model):
    return _opentad(
        f"Charades (157 classes), {encoder} features; scored on test",
        num_parameters,
        scores_of(_OF_NINE, *scores),
        encoder,
        grid,
        dict(max_seg_num=1000, nms_sigma=0.3, voting_thresh=0.7) | postprocess,
        input_dim=1024,
        num_classes=157,
        n_mha_win_size=-1,
        use_abs_pe=True,
        input_dropout=0.3,
        init_loss_norm=100,
        **model,
    )


_CHARADES = {
    "charades_i3d_rgb": _charades(
        "I3D (RGB)",
        31_051_430,
        (31.33, 23.07, 13.60, 20.60),
        dict(fps=24, stride_frames=8, window_frames=0),
        {},
        backbone_arch=(2, 2, 6),
        max_seq_len=768,
        resize_longer=True,
    ),
    "charades_videomae_l": _charades(
        "VideoMAE-L",
        34_213_543,
        (38.87, 29.67, 17.52, 26.04),
        dict(fps=30, stride_frames=4, window_frames=4),
        _windows(512, 0.5),
        backbone_arch=(2, 2, 7),
        max_seq_len=512,
    ),
}

OPENTAD = {**_THUMOS, **_VIDEO_SCORES, **_EPIC, **_EGO4D, **_CHARADES}
