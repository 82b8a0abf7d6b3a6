"""One HTML file about a run, or about a file of detections, that needs nothing beside it.

Its script and style are those of `templates/`, named by their hashes in a policy that forbids the
browser everything else: whatever texts of others the page shows, none of them runs, and nothing is
fetched. Does not load Keras.
"""

import base64
import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
import time
import urllib.parse

import numpy as np

import keras_actionformer
from keras_actionformer.detection.thresholds import Thresholds
from keras_actionformer.errors import UserError, counted
from keras_actionformer.evaluation.error_analysis import analyze
from keras_actionformer.evaluation.evaluation import evaluate
from keras_actionformer.evaluation.score_thresholds import TIOU, recommend_thresholds
from keras_actionformer.extras import import_extra
from keras_actionformer.files import atomic_write
from keras_actionformer.report import charts, tables
from keras_actionformer.report.page_data import timeline_data
from keras_actionformer.report.summary import summary

_TEMPLATES = pathlib.Path(__file__).with_name("templates")
_SCRIPTS = ("counts.js", "document.js", "charts.js", "timelines.js", "page.js")
_STYLE = "page.css"
# What browsers play, first the most common.
_VIDEO_SUFFIXES = (".mp4", ".webm", ".m4v", ".mov", ".ogv", ".mkv")
# Okabe and Ito's colours, which people with any kind of colour vision tell apart, and two more.
_LIGHT = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B97F00", "#3A9BD1", "#7A5195", "#6B6B2A")
_DARK = ("#4BA3DB", "#F08C3C", "#2CC79A", "#E09BC4", "#F2BC4B", "#8ACBF5", "#B693D6", "#BDBD6C")
_HEAT_STEPS = 10


def write_page(path, scored, videos=None):
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
    environment = _environment()
    are_recommended = scored.thresholds is not None
    thresholds = scored.thresholds or _thresholds_of_best_f1(scored)
    result = evaluate(
        scored.videos,
        scored.detections,
        scored.tiou_thresholds,
        class_names=scored.class_names or None,
        thresholds=thresholds,
    )
    analysis = analyze(
        scored.videos,
        scored.detections,
        tiou_thresholds=scored.tiou_thresholds,
        thresholds=thresholds,
        class_names=scored.class_names or None,
    )
    tious = sorted({*map(float, scored.tiou_thresholds), TIOU})
    timelines = timeline_data(scored, thresholds, tious, TIOU)
    timelines["colours"] = [label % len(_LIGHT) for label in timelines["labels"]]
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
    text = _fill(
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
        confusion=tables.confusion(analysis.confusion, _HEAT_STEPS),
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


def _thresholds_of_best_f1(scored):
    ids = [found.labels for found in scored.detections.values()]
    num_classes = 1 + int(np.max(np.concatenate([np.zeros(1, np.int64), *ids])))
    found = recommend_thresholds(
        scored.videos,
        scored.detections,
        max(num_classes, len(scored.class_names)),
        class_names=scored.class_names or None,
    )
    return found or Thresholds(0.0)


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


# === Text ===


def _environment():
    jinja2 = import_extra("jinja2", "Jinja2", "report", "Writing a page")
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,  # texts of others are on the page
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _fill(environment, template, data, charts_by_part, can_play, **parts):
    """The text of a page whose data and charts its script draws."""
    all_charts, places = [], {}
    for name, some in charts_by_part.items():
        places[name] = range(len(all_charts), len(all_charts) + len(some))
        all_charts += some
    content = json.dumps(
        {**data, "charts": all_charts}, separators=(",", ":"), allow_nan=False
    ).replace("<", "\\u003c")  # no text of others ends the element
    script = "".join(_read(name) for name in _SCRIPTS)
    script = f'(function () {{\n"use strict";\n{script}}})();\n'
    style = _read(_STYLE) + _colours()
    policy = {
        "default-src": "'none'",
        "script-src": _hash(script),
        "style-src": _hash(style),
        "img-src": "data:",
        **({"media-src": "'self' file:"} if can_play else {}),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    safe = environment.filters["safe"]
    return environment.get_template(template).render(
        policy="; ".join(f"{name} {value}" for name, value in policy.items()),
        version=keras_actionformer.__version__,
        data=safe(content),
        script=safe(script),
        style=safe(style),
        charts=all_charts,
        chart_places=places,
        **parts,
    )


def _read(name):
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _hash(text):
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _colours():
    """Rules for the colours of classes (`k0`, ...) and for cells of the confusion matrix (`h0`)."""
    named = [
        "".join(f"--k{place}: {colour}; " for place, colour in enumerate(colours))
        for colours in (_LIGHT, _DARK)
    ]
    rules = [
        f":root {{ {named[0]} }}",
        f"@media (prefers-color-scheme: dark) {{ :root {{ {named[1]} }} }}",
        *(f".k{place} {{ --c: var(--k{place}); }}" for place in range(len(_LIGHT))),
        *(
            f".h{step} {{ background: rgb(0 114 178 / {step / _HEAT_STEPS / 1.6:.2f}); }}"
            for step in range(1, _HEAT_STEPS + 1)
        ),
    ]
    return "\n".join([*rules, ""])
