"""Writes one HTML page about a run, or about a file of detections: open it in any browser.

  report --workdir=runs/thumos14
  report --ground_truth=annotations.json --detections=detections.json --output=report.html
  report --workdir=runs/thumos14 --videos=videos --output=report.html

What is found and what is wrong in words; timelines of all videos, the worst first, with a score
threshold to be moved; scores, errors, data, and of a run its training and settings. The page is one
file that needs no network. Of a run it is about the results that `evaluate` has left in the folder.

With --pictures, the same is drawn into a folder, too, for a paper or a talk (extra plot).

  report --workdir=runs/thumos14 --pictures=pictures --picture_format=svg

With --videos, a folder with a file <video id>.mp4 (or .webm, ...) a video, a click on a bar plays
its moment. The page names these files by the way from --output to them: move both together.
"""

import os
import pathlib

from absl import flags

from keras_actionformer.cli.ground_truth import define_ground_truth, read_ground_truth
from keras_actionformer.errors import UserError
from keras_actionformer.presets.fetching import fetched
from keras_actionformer.presets.runs import PAGE
from keras_actionformer.report.figures import load_matplotlib
from keras_actionformer.report.page import write_page
from keras_actionformer.report.pictures import FORMATS, write_pictures
from keras_actionformer.report.sources import results_of_files, results_of_run

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a training run.")
_TRUTH = define_ground_truth()
_SUBSET = flags.DEFINE_string(
    "subset", None, "Subset of --ground_truth; by default --default_subset, or 'test'."
)
_DETECTIONS = flags.DEFINE_string("detections", None, "JSON or CSV file of detections.")
_SCORE_THRESHOLD = flags.DEFINE_float(
    "score_threshold",
    None,
    "Of --detections: the score from which on they count when the page opens; by default that of "
    "the best F1.",
)
_VIDEOS = flags.DEFINE_string("videos", None, "Folder of the videos.")
_OUTPUT = flags.DEFINE_string(
    "output", None, f"HTML file to write; by default {PAGE} in --workdir, or here."
)


_PICTURES = flags.DEFINE_string("pictures", None, "Folder for pictures of the same.")
_PICTURE_FORMAT = flags.DEFINE_enum("picture_format", "png", FORMATS, "Of --pictures.")
_DARK = flags.DEFINE_bool("dark", False, "Draws --pictures light on dark.")


def main():
    with fetched(_WORKDIR.value, writes_back=not _OUTPUT.value) as workdir:
        _report(workdir)


def _report(workdir):
    """Writes the page; `workdir` is what --workdir names, on this machine, or None."""
    output = pathlib.Path(_OUTPUT.value or pathlib.Path(workdir or "", PAGE))
    if output.suffix.lower() not in (".html", ".htm"):
        raise UserError(
            f"--output={output} must end in .html: it is for a page; --pictures=DIR draws pictures."
        )
    if _PICTURES.value:
        load_matplotlib()  # or tell before the work
    elif _DARK.value or _PICTURE_FORMAT.present:
        raise UserError("--dark and --picture_format are for pictures: give --pictures=DIR, too.")
    scored = _scored(workdir)
    write_page(output, scored, _VIDEOS.value)
    told = _OUTPUT.value or os.path.join(_WORKDIR.value or "", PAGE)
    print(f"{told}: {os.path.getsize(output) / 2**20:.1f} MB, for any browser.")
    if _PICTURES.value:
        paths = write_pictures(_PICTURES.value, scored, _PICTURE_FORMAT.value, _DARK.value)
        print(f"Drew {', '.join(map(str, paths))}.")


def _scored(workdir):
    ground_truth = _TRUTH["ground_truth"].value
    if _WORKDIR.value and not ground_truth and not _DETECTIONS.value:
        if _SUBSET.value or _SCORE_THRESHOLD.value is not None:
            raise UserError(
                "--subset and --score_threshold are for --detections: of a run the page is about "
                "the results that evaluate has left in its folder."
            )
        return results_of_run(workdir)
    if _WORKDIR.value or not ground_truth or not _DETECTIONS.value:
        raise UserError("Give --workdir=DIR, or --ground_truth=FILE and --detections=FILE.")
    annotations = read_ground_truth(_TRUTH)
    subset = _SUBSET.value or _TRUTH["default_subset"].value or "test"
    return results_of_files(annotations, subset, _DETECTIONS.value, _SCORE_THRESHOLD.value)
