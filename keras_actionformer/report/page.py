"""One HTML file about a run, or about a file of detections. Does not load Keras."""

import importlib.metadata
import os
import pathlib
import platform
import time
import urllib.parse

import numpy as np

import keras_actionformer
from keras_actionformer.errors import UserError, counted
from keras_actionformer.evaluation.evaluation import evaluate
from keras_actionformer.evaluation.score_thresholds import TIOU
from keras_actionformer.files import atomic_write
from keras_actionformer.report import charts, tables
from keras_actionformer.report.html import HEAT_STEPS, NUM_COLOURS, fill, open_templates
from keras_actionformer.report.page_data import timeline_data
from keras_actionformer.report.sources import Scored
from keras_actionformer.report.summary import summary

# What browsers play, first the most common.
_VIDEO_SUFFIXES = (".mp4", ".webm", ".m4v", ".mov", ".ogv", ".mkv")


def write_page(
    path: str | os.PathLike, scored: Scored, videos: str | os.PathLike | None = None
) -> float:
    """Writes the page.

    Args:
      path: str or `os.PathLike`, the file to write.
      scored: `sources.Scored`.
      videos: str or path, folder of the videos, each called `<video id><suffix>`; clicking a bar
        plays its moment. None for none.

    Returns:
      float, the F1 at its thresholds.

    Raises:
      UserError: Jinja2 is not installed, or see `evaluation.evaluate`.
    """
    environment = open_templates()
    are_recommended = scored.thresholds is not None
    thresholds, analysis = scored.used_thresholds, scored.analysis
    result = evaluate(
        scored.videos,
        scored.detections,
        scored.tiou_thresholds,
        class_names=scored.class_names or None,
        thresholds=thresholds,
    )
    tious = sorted({*map(float, scored.tiou_thresholds), TIOU})
    timelines = timeline_data(scored, thresholds, tious, TIOU)
    timelines["colours"] = [label % NUM_COLOURS for label in timelines["labels"]]
    files = {} if videos is None else _video_files(videos, scored)
    for video in timelines["videos"]:
        if video["id"] in files:
            video["src"] = _relative_url(files[video["id"]], pathlib.Path(path).parent)
    lengths_sec = np.diff(np.concatenate([video.segments_sec for video in scored.videos]), axis=1)
    parts_with_charts = {
        "scores": charts.score_charts(analysis),
        "errors": charts.error_charts(analysis),
        "training": charts.training_charts(scored.log),
        "data": [charts.length_chart(lengths_sec[lengths_sec > 0])],
    }
    text = fill(
        environment,
        "page.html.jinja",
        data={"timelines": timelines},
        charts_by_part=parts_with_charts,
        can_play=bool(files),
        title=f"{scored.name}: what was found",
        subtitle=f"Written {time.strftime('%Y-%m-%d %H:%M')} by keras-actionformer "
        f"{keras_actionformer.__version__}. Everything is in this file; nothing is fetched.",
        own_text="as recommended" if are_recommended else "of the best F1",
        parts=_parts(scored),
        sentences=summary(scored, result, analysis, are_recommended),
        scores=tables.scores(result),
        scores_per_class=tables.scores_per_class(result),
        boundaries=tables.boundaries(analysis.boundaries),
        confusion=tables.confusion(analysis.confusion, HEAT_STEPS),
        data_sentence=tables.data_sentence(scored.videos),
        classes=tables.classes(scored.videos, timelines["classes"], timelines["labels"]),
        versions={
            "caption": "Written with",
            "head": ("package", "version"),
            "rows": list(_versions().items()),
        },
        settings=tables.changed_settings(scored.settings),
        all_settings=tables.all_settings(scored.settings),
    )
    # What of a file's name is no UTF-8 stands as \\udcff.
    with atomic_write(path, errors="backslashreplace") as file:
        file.write(text)
    return result.above_thresholds.f1


def _parts(scored):
    """The parts of the page that its navigation names."""
    parts = {
        "summary": "In short",
        "videos": "Videos",
        "scores": "Scores",
        "errors": "Errors",
        "training": "Training",
        "data-set": "Data",
        "settings": "Settings and versions",
    }
    if not scored.log:
        del parts["training"]
    return list(parts.items())


def _versions():
    versions = {"keras-actionformer": keras_actionformer.__version__}
    versions["Python"] = platform.python_version()
    for package in ("keras", "tensorflow", "numpy"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


# === Videos ===


def _video_files(folder, scored):
    """The files of videos that are in a folder: {video id: path}."""
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise UserError(f"--videos={folder} must be a folder of videos, but there is none.")
    inside = {path.name: path for path in sorted(folder.iterdir())}
    found = {}
    for video in scored.videos:
        names = (f"{video.video_id}{suffix}" for suffix in _VIDEO_SUFFIXES)
        path = next((inside[name] for name in names if name in inside), None)
        if path is not None:
            found[video.video_id] = path
    if not found:
        raise UserError(
            f"--videos={folder} has no video of {counted(len(scored.videos), 'video')}: the files "
            f"must be called <video id> and {', '.join(_VIDEO_SUFFIXES)}, such as "
            f"{scored.videos[0].video_id}{_VIDEO_SUFFIXES[0]}."
        )
    return found


def _relative_url(path, folder):
    relative = os.path.relpath(path, folder).replace(os.sep, "/")
    return urllib.parse.quote(os.fsencode(relative))
