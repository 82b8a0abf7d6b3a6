"""Temporal action localization in Keras 3: when does what happen in a long sequence?

Names are imported when they are first used: reading annotations or scoring detections does not
load Keras.
"""

from keras_actionformer.quiet import import_quietly

__version__ = "0.1.0"

_HOMES = {
    "ActionFormer": "model",
    "AdamW": "training.optimizers",
    "Annotations": "data.annotations",
    "Architecture": "network.architecture",
    "Detections": "detection.detections",
    "EvaluationResult": "evaluation.result",
    "ExportedModel": "deploy.exported",
    "FeatureFiles": "data.features",
    "FeatureGrid": "data.grid",
    "Lengths": "data.windows",
    "PostProcess": "detection.postprocess",
    "SGD": "training.optimizers",
    "ServedModel": "deploy.client",
    "Timing": "data.grid",
    "UserError": "errors",
    "Video": "data.annotations",
    "default_config": "training.config",
    "evaluate": "evaluation.evaluation",
    "list_presets": "presets.presets",
    "load_annotations": "data.annotation_files",
    "load_config": "training.config_files",
    "load_detections": "detection.detections",
    "read_ego4d": "datasets.formats",
    "read_epic100": "datasets.formats",
    "read_thumos14": "datasets.formats",
    "save_annotations": "data.annotation_files",
    "save_detections": "detection.detection_files",
    "simulate_dataset": "datasets.simulated",
    "train": "training.trainer",
    "train_dataset": "data.batches",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_quietly(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value  # this function is not asked for it again
    return value


def __dir__():
    return __all__
