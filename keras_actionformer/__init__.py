"""Temporal action localization in Keras 3: when does what happen in a long sequence?

Names are imported when they are first used: reading annotations or scoring detections does not
load Keras.
"""

from typing import TYPE_CHECKING

from keras_actionformer.quiet import import_quietly

__version__ = "0.1.0"

_HOMES = {
    "ActionFormer": "model",
    "AdamW": "training.optimizers",
    "Annotations": "data.annotations",
    "Architecture": "network.architecture",
    "Detections": "detection.detections",
    "Encoder": "video.encoder",
    "Ensemble": "detection.ensembles",
    "ErrorAnalysis": "evaluation.error_analysis",
    "EvaluationResult": "evaluation.result",
    "ExportedModel": "deploy.exported",
    "FeatureFiles": "data.features",
    "FeatureGrid": "data.grid",
    "Lengths": "data.windows",
    "ModelSummary": "benchmark.summary",
    "PostProcess": "detection.postprocess",
    "RawOutputs": "detection.raw_outputs",
    "SGD": "training.optimizers",
    "Sampling": "video.encoder",
    "ServedModel": "deploy.client",
    "Thresholds": "detection.thresholds",
    "Timing": "data.grid",
    "UserError": "errors",
    "VerbNounModel": "detection.actions",
    "Video": "data.annotations",
    "analyze": "evaluation.error_analysis",
    "class_colours": "report.palette",
    "compare": "evaluation.comparison",
    "count_bouts": "detection.bouts",
    "default_config": "training.config",
    "draw_video": "video.drawing",
    "evaluate": "evaluation.evaluation",
    "evaluate_actions": "evaluation.actions",
    "extract_videos": "video.feature_folder",
    "list_presets": "presets.builtin",
    "load_annotations": "data.annotation_files",
    "load_config": "training.config_files",
    "load_detections": "detection.detections",
    "open_encoder": "video.named_encoders",
    "plot_annotations": "report.data_charts",
    "plot_boundaries": "report.error_charts",
    "plot_confusion": "report.error_charts",
    "plot_curves": "report.curve_charts",
    "plot_errors": "report.error_charts",
    "plot_levels": "report.pyramid_charts",
    "plot_raw_outputs": "report.score_curves",
    "plot_timeline": "report.timeline",
    "plot_training": "report.training_charts",
    "read_ego4d": "datasets.ego4d",
    "read_epic100": "datasets.formats",
    "read_thumos14": "datasets.formats",
    "recommend_thresholds": "evaluation.score_thresholds",
    "results_of_run": "report.sources",
    "save_annotations": "data.annotation_files",
    "save_detections": "detection.detections",
    "save_drafts": "detection.drafts",
    "save_submission": "detection.submissions",
    "simulate_dataset": "datasets.simulated",
    "simulate_videos": "video.simulated",
    "summarize": "benchmark.summary",
    "train": "training.trainer",
    "train_dataset": "data.batches",
    "write_page": "report.page",
    "write_pictures": "report.pictures",
}

__all__ = ["__version__", *_HOMES]

if TYPE_CHECKING:  # the same names for editors and type checkers, which read and do not run this
    from keras_actionformer.benchmark.summary import ModelSummary as ModelSummary
    from keras_actionformer.benchmark.summary import summarize as summarize
    from keras_actionformer.data.annotation_files import load_annotations as load_annotations
    from keras_actionformer.data.annotation_files import save_annotations as save_annotations
    from keras_actionformer.data.annotations import Annotations as Annotations
    from keras_actionformer.data.annotations import Video as Video
    from keras_actionformer.data.batches import train_dataset as train_dataset
    from keras_actionformer.data.features import FeatureFiles as FeatureFiles
    from keras_actionformer.data.grid import FeatureGrid as FeatureGrid
    from keras_actionformer.data.grid import Timing as Timing
    from keras_actionformer.data.windows import Lengths as Lengths
    from keras_actionformer.datasets.ego4d import read_ego4d as read_ego4d
    from keras_actionformer.datasets.formats import read_epic100 as read_epic100
    from keras_actionformer.datasets.formats import read_thumos14 as read_thumos14
    from keras_actionformer.datasets.simulated import simulate_dataset as simulate_dataset
    from keras_actionformer.deploy.client import ServedModel as ServedModel
    from keras_actionformer.deploy.exported import ExportedModel as ExportedModel
    from keras_actionformer.detection.actions import VerbNounModel as VerbNounModel
    from keras_actionformer.detection.bouts import count_bouts as count_bouts
    from keras_actionformer.detection.detections import Detections as Detections
    from keras_actionformer.detection.detections import load_detections as load_detections
    from keras_actionformer.detection.detections import save_detections as save_detections
    from keras_actionformer.detection.drafts import save_drafts as save_drafts
    from keras_actionformer.detection.ensembles import Ensemble as Ensemble
    from keras_actionformer.detection.postprocess import PostProcess as PostProcess
    from keras_actionformer.detection.raw_outputs import RawOutputs as RawOutputs
    from keras_actionformer.detection.submissions import save_submission as save_submission
    from keras_actionformer.detection.thresholds import Thresholds as Thresholds
    from keras_actionformer.errors import UserError as UserError
    from keras_actionformer.evaluation.actions import evaluate_actions as evaluate_actions
    from keras_actionformer.evaluation.comparison import compare as compare
    from keras_actionformer.evaluation.error_analysis import ErrorAnalysis as ErrorAnalysis
    from keras_actionformer.evaluation.error_analysis import analyze as analyze
    from keras_actionformer.evaluation.evaluation import evaluate as evaluate
    from keras_actionformer.evaluation.result import EvaluationResult as EvaluationResult
    from keras_actionformer.evaluation.score_thresholds import (
        recommend_thresholds as recommend_thresholds,
    )
    from keras_actionformer.model import ActionFormer as ActionFormer
    from keras_actionformer.network.architecture import Architecture as Architecture
    from keras_actionformer.presets.builtin import list_presets as list_presets
    from keras_actionformer.report.curve_charts import plot_curves as plot_curves
    from keras_actionformer.report.data_charts import plot_annotations as plot_annotations
    from keras_actionformer.report.error_charts import plot_boundaries as plot_boundaries
    from keras_actionformer.report.error_charts import plot_confusion as plot_confusion
    from keras_actionformer.report.error_charts import plot_errors as plot_errors
    from keras_actionformer.report.page import write_page as write_page
    from keras_actionformer.report.palette import class_colours as class_colours
    from keras_actionformer.report.pictures import write_pictures as write_pictures
    from keras_actionformer.report.pyramid_charts import plot_levels as plot_levels
    from keras_actionformer.report.score_curves import plot_raw_outputs as plot_raw_outputs
    from keras_actionformer.report.sources import results_of_run as results_of_run
    from keras_actionformer.report.timeline import plot_timeline as plot_timeline
    from keras_actionformer.report.training_charts import plot_training as plot_training
    from keras_actionformer.training.config import default_config as default_config
    from keras_actionformer.training.config_files import load_config as load_config
    from keras_actionformer.training.optimizers import SGD as SGD
    from keras_actionformer.training.optimizers import AdamW as AdamW
    from keras_actionformer.training.trainer import train as train
    from keras_actionformer.video.drawing import draw_video as draw_video
    from keras_actionformer.video.encoder import Encoder as Encoder
    from keras_actionformer.video.encoder import Sampling as Sampling
    from keras_actionformer.video.feature_folder import extract_videos as extract_videos
    from keras_actionformer.video.named_encoders import open_encoder as open_encoder
    from keras_actionformer.video.simulated import simulate_videos as simulate_videos
else:

    def __getattr__(name):
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_quietly(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value  # this function is not asked for it again
        return value


def __dir__() -> list[str]:
    return __all__
