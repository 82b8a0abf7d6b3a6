"""Scores detections: mAP at temporal IoU thresholds and Recall@kx.

From files, in about a second (no deep learning framework is started):

  evaluate --ground_truth=annotations.json --detections=detections.json --subset=test

or of a trained model, whose detections are computed first:

  evaluate --workdir=runs/thumos14
"""

import json

from absl import flags

from keras_actionformer.annotations import load_annotations
from keras_actionformer.cli.quiet import import_trainer
from keras_actionformer.detections import load_detections
from keras_actionformer.errors import UserError
from keras_actionformer.evaluation import TIOU_THRESHOLDS, evaluate
from keras_actionformer.files import atomic_write

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a training run to evaluate.")
_GROUND_TRUTH = flags.DEFINE_string("ground_truth", None, "JSON file of annotations.")
_DETECTIONS = flags.DEFINE_string("detections", None, "JSON or CSV file of detections.")
_SUBSET = flags.DEFINE_string(
    "subset", None, "Subset to evaluate; without it, the run's data.eval_subset, or 'test'."
)
_TIOU = flags.DEFINE_list(
    "tiou", None, "Temporal IoU thresholds; without them, the run's, or 0.3,...,0.7."
)
_PER_CLASS = flags.DEFINE_bool("per_class", False, "Also print a table with a line a class.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write the scores to.")


def main():
    result = _evaluate(_thresholds(_TIOU.value))
    print(result)
    if _PER_CLASS.value:
        print(f"\n{result.per_class_table()}")
    if _OUTPUT.value:
        with atomic_write(_OUTPUT.value) as file:
            json.dump(result.to_dict(), file, indent=1)
            file.write("\n")


def _evaluate(tiou_thresholds):
    """Returns the `EvaluationResult` of what the flags name."""
    files = (_GROUND_TRUTH.value, _DETECTIONS.value)
    if _WORKDIR.value and not any(files):
        # The only import of a framework, seconds long: the files need none.
        return import_trainer().evaluate_workdir(_WORKDIR.value, _SUBSET.value, tiou_thresholds)
    if _WORKDIR.value or not all(files):
        raise UserError(
            "Give either --workdir=DIR, or both --ground_truth=FILE.json and --detections=FILE."
        )
    # Published scores count annotations that reach beyond their video, so they stay as they are.
    annotations = load_annotations(files[0], outside="keep")
    return evaluate(
        annotations.subset(_SUBSET.value or "test"),
        load_detections(files[1], class_names=annotations.class_names),
        tiou_thresholds or TIOU_THRESHOLDS,
        class_names=annotations.class_names,
    )


def _thresholds(texts):
    """Floats from the texts of --tiou, or None where it is not given."""
    try:
        return texts and tuple(float(text) for text in texts)
    except ValueError as error:
        raise UserError(
            f"--tiou must be numbers with commas between them, for example 0.3,0.5,0.7; got "
            f"{','.join(texts)!r}."
        ) from error
