"""Compares runs: which differences are real, and what one finds and the other misses.

  compare --runs=runs/small,runs/large
  compare --ground_truth=annotations.json --detections=a.json,b.json --output=comparison.html

Each is compared with the first. How far a difference of scores may be due to the choice of the
videos tells an interval (paired bootstrap: both are scored on the same draws of the videos); where
it holds no 0, the difference is called real.

Of runs it takes the results that `evaluate` has left in their folders, all on the same videos, and
tells in which settings they differ, too. Runs whose settings are the same but for the seed are of
one recipe: recipes are compared by the means of their runs, and how far seeds move them is in the
intervals. Of one run each, an interval is about these very models; of two recipes, train each with
several seeds.

--runs takes files of scores (evaluation.json) as well, of which only the scores are told: they do
not say on which videos they come about.
"""

import json
import pathlib

from absl import flags

from keras_actionformer.cli.ground_truth import define_ground_truth, read_ground_truth
from keras_actionformer.detection.text_table import table
from keras_actionformer.errors import UserError, counted
from keras_actionformer.evaluation.comparison import NUM_RESAMPLES, compare
from keras_actionformer.files import write_json
from keras_actionformer.presets.runs import read_scores
from keras_actionformer.report.comparison_page import write_comparison_page
from keras_actionformer.report.sources import (
    check_same_ground_truth,
    results_of_files,
    results_of_run,
    short_names,
)
from keras_actionformer.report.tables import different_settings

_RUNS = flags.DEFINE_list("runs", None, "Folders of training runs, or files of their scores.")
_TRUTH = define_ground_truth()
_SUBSET = flags.DEFINE_string(
    "subset", None, "Subset of --ground_truth; by default --default_subset, or 'test'."
)
_DETECTIONS = flags.DEFINE_list("detections", None, "JSON or CSV files of detections.")
_RESAMPLES = flags.DEFINE_integer(
    "resamples", NUM_RESAMPLES, "How often videos are drawn.", lower_bound=100
)
_PER_CLASS = flags.DEFINE_bool("per_class", False, "Also print a table with a line a class.")
_OUTPUT = flags.DEFINE_string(
    "output", None, "File to write everything to: a page (.html), or numbers (.json)."
)


def main():
    paths = _RUNS.value or _DETECTIONS.value or []
    output = _OUTPUT.value and pathlib.Path(_OUTPUT.value)
    if bool(_RUNS.value) == bool(_TRUTH["ground_truth"].value and _DETECTIONS.value):
        raise UserError("Give --runs=A,B, or --ground_truth=FILE and --detections=A.json,B.json.")
    if len(paths) < 2:
        raise UserError(f"A comparison needs two or more, with commas between; got {paths[0]!r}.")
    if output and output.suffix not in (".html", ".json"):
        raise UserError(f"--output={output} must end in .html or .json.")
    names = short_names(paths)
    files = [path for path in _RUNS.value or [] if path.endswith(".json")]
    if files:
        if output or len(files) < len(paths):
            raise UserError(
                "Files of scores compare with each other alone, and write no --output: for more, "
                "name the folders of the runs."
            )
        print(_score_table(names, paths))
        return
    scored = _scored(paths)
    check_same_ground_truth(scored)
    first = scored[0]
    comparison = compare(
        first.videos,
        {name: one.detections for name, one in zip(names, scored, strict=True)},
        first.tiou_thresholds,
        {name: one.thresholds for name, one in zip(names, scored, strict=True)},
        first.class_names,
        _RESAMPLES.value,
        recipes=_recipes(names, scored),
    )
    print(comparison)
    if _PER_CLASS.value:
        print(f"\n{comparison.per_class_table()}")
    settings_of = dict(zip(names, (one.settings for one in scored), strict=True))
    settings = [
        settings_of[one.runs[0]]
        and {**settings_of[one.runs[0]], "seed": [settings_of[run]["seed"] for run in one.runs]}
        for one in comparison.compared
    ]
    different = different_settings(comparison.names, settings)
    if different:
        print(f"\n{table([different['head'], *different['rows']], ('<', '<'))}")
    if output and output.suffix == ".html":
        write_comparison_page(output, comparison, different)
    elif output:
        write_json(output, {**comparison.to_dict(), "settings": settings})


def _scored(paths):
    """The `Scored` of each."""
    if _RUNS.value:
        return [results_of_run(path) for path in paths]
    annotations = read_ground_truth(_TRUTH)
    subset = _SUBSET.value or _TRUTH["default_subset"].value or "test"
    return [results_of_files(annotations, subset, path) for path in paths]


def _recipes(names, scored):
    """The name of each run's recipe, as `compare` wants them: runs alike but for their seeds."""
    recipes = {}
    for name, one in zip(names, scored, strict=True):
        # Detections without settings may come from anywhere: each is a recipe of its own.
        same = one.settings and json.dumps({**one.settings, "seed": None}, sort_keys=True)
        recipes.setdefault(same or name, []).append(name)
    return {
        name: own[0] if len(own) == 1 else f"{own[0]} and {counted(len(own) - 1, 'more run')}"
        for own in recipes.values()
        for name in own
    }


def _score_table(names, paths):
    """mAP of files of scores, as far as they have the same tIoU thresholds."""
    scores = [read_scores(pathlib.Path(path)) for path in paths]
    columns = [key for key in scores[0] if all(key in one for one in scores)]
    rows = [("mAP at tIoU", *columns)]
    for name, one in zip(names, scores, strict=True):
        rows.append((name, *(f"{one[key]:.2f}" for key in columns)))
    return f"{table(rows)}\nFrom scores alone it cannot be told which differences are real."
