"""All pictures of a run, or of a file of detections. Does not load Keras."""

import functools
import os
import pathlib

from keras_actionformer.data.annotations import Annotations
from keras_actionformer.detection.detections import Detections
from keras_actionformer.errors import UserError
from keras_actionformer.report.curve_charts import plot_curves
from keras_actionformer.report.data_charts import plot_annotations
from keras_actionformer.report.error_charts import plot_boundaries, plot_confusion, plot_errors
from keras_actionformer.report.figures import SUFFIXES, load_matplotlib
from keras_actionformer.report.sources import Scored
from keras_actionformer.report.timeline import plot_timeline
from keras_actionformer.report.training_charts import plot_log

FORMATS = tuple(suffix.removeprefix(".") for suffix in SUFFIXES)


def write_pictures(
    folder: str | os.PathLike[str], scored: Scored, file_format: str = "png", dark: bool = False
) -> list[pathlib.Path]:
    """Writes pictures of timelines, errors, confusions, curves, boundaries, data and training.

    Those of raw outputs need the model, see `plot_raw_outputs` and `plot_levels`.

    Example:

    ```python
    write_pictures("pictures", results_of_run("runs/mine"), "svg")
    ```

    Args:
      folder: str or path, for the files, such as `timelines.png`; others in it stay.
      scored: what `results_of_run` returns.
      file_format: "png", "svg" or "pdf".
      dark: bool, light on dark.

    Returns:
      list of paths, the files.

    Raises:
      UserError: matplotlib is missing (extra `plot`), there is no such format, or see `analyze`.
    """
    if file_format not in FORMATS:
        raise UserError(f"file_format must be one of {', '.join(FORMATS)}, but is {file_format!r}.")
    load_matplotlib()
    nothing = Detections([], [], [], scored.class_names)
    found = {
        video.video_id: scored.detections.get(video.video_id, nothing) for video in scored.videos
    }
    draw = functools.partial
    plots = {
        "timelines": draw(plot_timeline, found, scored.videos, min_score=scored.used_thresholds),
        "errors": draw(plot_errors, scored.analysis),
        "confusion": draw(plot_confusion, scored.analysis),
        "curves": draw(plot_curves, scored.analysis),
        "boundaries": draw(plot_boundaries, scored.analysis),
        "data": draw(plot_annotations, Annotations(scored.videos, scored.class_names)),
    }
    if scored.log:
        plots["training"] = draw(plot_log, scored.log)
    paths = {name: pathlib.Path(folder, f"{name}.{file_format}") for name in plots}
    for name, plot in plots.items():
        plot(path=paths[name], dark=dark)
    return list(paths.values())
