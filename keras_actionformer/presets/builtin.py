"""The built-in architectures: one for each benchmark configuration of the reference and OpenTAD's.

Each is stated by what differs from the defaults of `ActionFormer` and `PostProcess`. Facts are
those of the reference's configuration files and README (happyharrycn/actionformer_release); the
scores are its published ones, on the features and the split that `description` names.
"""

import fnmatch
import pathlib
from typing import Any

from keras_actionformer.datasets.formats import THUMOS14_CLASSES
from keras_actionformer.presets.benchmarks import BuiltIn, overlapping_ranges, scores_of
from keras_actionformer.presets.builtin_opentad import OPENTAD
from keras_actionformer.presets.folder import CONFIG, METADATA, read_part

# === THUMOS14 ===

_THUMOS14 = {
    "thumos14_i3d": BuiltIn(
        description="THUMOS14 (20 sports), two-stream I3D features; trained on validation, "
        "scored on test",
        num_parameters=29_251_612,
        model=dict(input_dim=2048, num_classes=20, n_mha_win_size=19, init_loss_norm=100),
        grid=dict(fps=None, stride_frames=4, window_frames=16),
        postprocess=dict(
            pre_nms_topk=2000, max_seg_num=200, min_score=0.001, voting_thresh=0.7, drop_empty=False
        ),
        scores=scores_of((0.3, 0.4, 0.5, 0.6, 0.7), 82.13, 77.80, 70.95, 59.40, 43.87, 66.83),
        feature_encoder="I3D (rgb + flow) trained on Kinetics",
        archive="thumos_i3d_reproduce",
        class_names=THUMOS14_CLASSES,
    ),
}

# === ActivityNet 1.3 ===

# One class: the network finds actions, and classes come from external scores of whole videos.
_ACTIVITYNET = dict(
    num_classes=1,
    n_mha_win_size=[7, 7, 7, 7, 7, -1],
    embd_dim=256,
    fpn_dim=256,
    head_dim=256,
    use_abs_pe=True,
    max_seq_len=192,
    force_upsampling=True,
    init_loss_norm=200,
    label_smoothing=0.1,
    loss_weight=2.0,
)
_ACTIVITYNET_POSTPROCESS = dict(
    pre_nms_topk=2000,
    max_seg_num=100,
    min_score=0.001,
    multiclass_nms=False,
    nms_sigma=0.75,
    duration_thresh=0.001,
    voting_thresh=0.9,
    drop_empty=False,
)
_ANET13 = {
    "anet_tsp": BuiltIn(
        description="ActivityNet 1.3 (200 classes by external scores), TSP features resized to "
        "192 steps; scored on validation",
        num_parameters=6_943_497,
        model=dict(input_dim=512, **_ACTIVITYNET),
        grid=dict(fps=15, stride_frames=16, window_frames=16),
        postprocess=_ACTIVITYNET_POSTPROCESS,
        scores=scores_of((0.5, 0.75, 0.95), 54.67, 37.81, 8.36, 36.56),
        feature_encoder="R(2+1)D-34 trained with TSP on ActivityNet",
        archive="anet_tsp_reproduce",
        class_names=("action",),
    ),
    "anet_i3d": BuiltIn(
        description="ActivityNet 1.3 (200 classes by external scores), I3D features resized to "
        "192 steps; scored on validation",
        num_parameters=8_123_145,
        model=dict(input_dim=2048, **_ACTIVITYNET),
        grid=dict(fps=25, stride_frames=16, window_frames=16),
        postprocess=_ACTIVITYNET_POSTPROCESS,
        scores=scores_of((0.5, 0.75, 0.95), 54.29, 36.71, 8.24, 36.03),
        feature_encoder="I3D trained on Kinetics",
        archive="anet_i3d_reproduce",
        class_names=("action",),
    ),
}

# === EPIC-Kitchens-100 ===


def _epic(target, num_classes, num_parameters, scores, **model):
    return BuiltIn(
        description=f"EPIC-Kitchens-100 ({num_classes} {target}s), SlowFast features; scored on "
        "validation",
        num_parameters=num_parameters,
        model=dict(
            input_dim=2304,
            num_classes=num_classes,
            n_mha_win_size=9,
            regression_range=overlapping_ranges(6),
            init_loss_norm=250,
            **model,
        ),
        grid=dict(fps=30, stride_frames=16, window_frames=32),
        postprocess=dict(max_seg_num=2000, min_score=0.001, nms_sigma=0.4, drop_empty=False),
        scores=scores_of((0.1, 0.2, 0.3, 0.4, 0.5), *scores),
        feature_encoder="SlowFast trained on EPIC-Kitchens-100 (action classification)",
        archive=f"epic_slowfast_{target}_reproduce",
    )


_EPIC100 = {
    "epic_slowfast_verb": _epic("verb", 97, 29_763_177, (26.58, 25.42, 24.15, 22.29, 19.09, 23.51)),
    "epic_slowfast_noun": _epic(
        "noun", 300, 30_075_188, (25.21, 24.11, 22.66, 20.47, 16.97, 21.88), label_smoothing=0.1
    ),
}

# === Ego4D Moment Queries ===


def _ego4d(encoders, num_parameters, scores, window_frames=32, num_branches=7, **model):
    width = model.get("embd_dim", 512)
    dim = width if isinstance(width, int) else sum(width)
    return BuiltIn(
        description=f"Ego4D Moment Queries (110 classes), {encoders} features; scored on "
        "validation",
        num_parameters=num_parameters,
        model=dict(
            num_classes=110,
            backbone_arch=(2, 2, num_branches),
            n_mha_win_size=9,
            use_abs_pe=True,
            regression_range=overlapping_ranges(num_branches + 1),
            max_seq_len=1024,
            fpn_dim=dim,
            head_dim=dim,
            dropout=0.1,
            init_loss_norm=100,
            **model,
        ),
        grid=dict(fps=30, stride_frames=16, window_frames=window_frames),
        postprocess=dict(
            max_seg_num=2000, min_score=0.001, nms_sigma=0.9, voting_thresh=0.95, drop_empty=False
        ),
        scores=scores_of((0.1, 0.2, 0.3, 0.4, 0.5), *scores),
        feature_encoder=encoders,
        archive=f"ego4d_{encoders.lower().replace(' + ', '_')}_reproduce",
    )


_EGO4D = {
    "ego4d_slowfast": _ego4d(
        "SlowFast",
        32_945_271,
        (20.09, 17.45, 14.44, 12.46, 10.00, 14.89),
        num_branches=6,
        input_dim=2304,
    ),
    "ego4d_omnivore": _ego4d(
        "Omnivore", 34_927_736, (23.87, 20.78, 18.39, 15.33, 12.65, 18.20), input_dim=1536
    ),
    "ego4d_egovlp": _ego4d(
        "EgoVLP",
        18_675_576,
        (26.84, 23.86, 20.57, 17.19, 14.54, 20.60),
        window_frames=16,
        input_dim=256,
        embd_dim=384,
    ),
    # Streams in one projection ...
    "ego4d_slowfast_egovlp": _ego4d(
        "SlowFast + EgoVLP",
        78_933_624,
        (27.98, 24.46, 21.21, 18.56, 15.60, 21.56),
        input_dim=2304 + 256,
        embd_dim=768,
        n_head=12,
    ),
    "ego4d_omnivore_egovlp": _ego4d(
        "Omnivore + EgoVLP",
        77_164_152,
        (27.99, 24.94, 21.94, 19.05, 15.98, 21.98),
        input_dim=1536 + 256,
        embd_dim=768,
        n_head=12,
    ),
    # ... and each with its own. The reference's first network of them, of 20.95, had seven levels
    # and widths of 384, 384 and 256: 121,695,351 parameters.
    "ego4d_slowfast_omnivore_egovlp": _ego4d(
        "SlowFast + Omnivore + EgoVLP",
        134_048_888,
        (28.26, 24.69, 21.88, 19.35, 16.28, 22.09),
        input_dim=[2304, 1536, 256],
        embd_dim=[256, 384, 384],
        n_head=16,
    ),
}

ARCHITECTURES = {**_THUMOS14, **_ANET13, **_EPIC100, **_EGO4D, **OPENTAD}


def built_in_arguments(name):
    """Arguments of `ActionFormer` for a built-in architecture: a dict."""
    built_in = ARCHITECTURES[name]
    data = {key: getattr(built_in, key) for key in ("class_names", "grid", "postprocess")}
    return {**built_in.model, **data}


# === Names ===


def list_presets(pattern: str = "*") -> dict[str, dict[str, Any]]:
    """Lists the built-in presets.

    Args:
      pattern: str with the wildcards `*` and `?`, e.g. `"thumos*"`.

    Returns:
      dict of name to a dict of `description`, `num_parameters`, `scores` (published or measured
      mAP in percent by tIoU) and `has_weights`: whether the weights come with this package.
    """
    presets = {
        name: {
            "description": architecture.description,
            "num_parameters": architecture.num_parameters,
            "scores": architecture.scores,
            "has_weights": False,
        }
        for name, architecture in ARCHITECTURES.items()
    }
    for name, folder in bundled_folders().items():
        metadata = read_part(folder / METADATA)
        presets[name] = {
            **{key: metadata[key] for key in ("description", "num_parameters", "scores")},
            "has_weights": True,
        }
    return {name: presets[name] for name in sorted(presets) if fnmatch.fnmatch(name, pattern)}


def bundled_folders():
    """Folders of the presets that come with their weights, by name."""
    folder = pathlib.Path(__file__).parent / "bundled"
    return {path.parent.name: path.parent for path in folder.glob(f"*/{CONFIG}")}
