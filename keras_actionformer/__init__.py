"""Temporal action localization in Keras 3: when does what happen in a long sequence?

Names are imported when they are first used: reading annotations or scoring detections does not
load Keras.
"""

import importlib

__version__ = "0.1.0"

_HOMES = {
    "ActionFormer": "model",
    "Annotations": "annotations",
    "Detections": "detections",
    "EvaluationResult": "evaluation",
    "ExportedModel": "exported",
    "FeatureFiles": "features",
    "FeatureGrid": "timing",
    "PostProcess": "decode",
    "ServedModel": "client",
    "UserError": "errors",
    "Video": "annotations",
    "default_config": "config",
    "evaluate": "evaluation",
    "load_annotations": "annotations",
    "list_presets": "presets",
    "load_detections": "detections",
    "save_annotations": "annotations",
    "save_detections": "detections",
    "train": "trainer",
    "train_dataset": "dataset",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__():
    return __all__
