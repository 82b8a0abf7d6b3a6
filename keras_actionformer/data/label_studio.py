"""Label Studio: exports of videos, sounds and time series (JSON, JSON-MIN) read, tasks written."""

import re
import urllib.parse

from keras_actionformer.checks import frames_a_second, number, shown
from keras_actionformer.data.entries import (
    MEDIA_SUFFIXES,
    add_action,
    file_name,
    media_entry,
    without_points,
)
from keras_actionformer.data.table_times import to_seconds
from keras_actionformer.errors import UserError

# What spans of time are called in a region; "labels" are those of sounds, in seconds.
_FRAMES, _SERIES, _SOUNDS = "timelinelabels", "timeserieslabels", "labels"
_SIDES = ("start", "end")
_UPLOADED = re.compile(r"/data/upload/.*?/?([0-9a-f]{8}-)?([^/]+)$")


def is_label_studio(content):
    """Whether the content of a JSON file is a list of tasks, or one task, of Label Studio."""
    if isinstance(content, dict):
        return isinstance(content.get("data"), dict) and "annotations" in content
    return isinstance(content, list) and bool(content)


def label_studio_entries(source, content, reading):
    """Makes entries of tasks: spans of a video's timeline, of a sound or of a time series.

    Frames of a timeline count from 1, and the last one belongs to the span. Tasks that nobody has
    labelled, and those that were skipped, are left out.

    Args:
      source: str, the file as errors name it.
      content: see `is_label_studio`.
      reading: `Reading`.

    Returns:
      dict, the entries that `build_annotations` takes.

    Raises:
      UserError: something is wrong, or it is not clear which video or what times are meant.
    """
    entries, places, unlabelled = {}, {}, 0
    for i, task in enumerate([content] if isinstance(content, dict) else content):
        where = f"{source}, task {_name(task, i)}"
        data, regions = _data_and_regions(where, task)
        if regions is None:
            unlabelled += 1
            continue
        name = _media(where, data)
        entry = media_entry(entries, where, name)
        if places.setdefault(name, i) != i or len(regions) > 1:
            raise UserError(
                f"{where}: {name!r} is annotated {max(len(regions), 2)} times; which of them "
                "counts is not clear, so keep one."
            )
        fps = _fps(where, data, reading)
        for place, kind, value in _spans(where, regions[0]):
            for start_sec, end_sec in _times(place, kind, value, fps, reading):
                for label in value[kind]:
                    add_action(entry, place, label, start_sec, end_sec)
    if unlabelled:
        reading.tell(f"{source}: tasks without annotations are left out: {unlabelled}.")
    return without_points(entries, source, reading.tell)


def _name(task, i):
    id_ = task.get("id") if isinstance(task, dict) else None
    return shown(id_) if isinstance(id_, int | str) else f"number {i}"


def _data_and_regions(where, task):
    """Returns (a task's data; a list of lists of regions, one an annotation, or None for none)."""
    if not isinstance(task, dict):
        raise UserError(f"{where} must be an object as Label Studio exports it.")
    if "data" not in task:  # of JSON-MIN, whose fields are data and regions side by side
        lists = [value for value in task.values() if isinstance(value, list)]
        if not lists and "annotation_id" not in task:  # it would be a video without actions
            raise UserError(
                f"{where} is none of Label Studio's: it has neither 'data' nor 'annotation_id'; "
                "write rows of actions as a .csv table."
            )
        is_labelled = task.get("annotation_id", "") is not None
        return task, [[region for value in lists for region in value]] if is_labelled else None
    data, annotations = task["data"], task.get("annotations")
    if "predictions" in task and annotations is None:  # what a model says is no truth
        raise UserError(
            f"{where} has predictions alone; correct and submit them in Label Studio, and export "
            "what comes of it."
        )
    if not isinstance(data, dict) or not isinstance(annotations, list):
        raise UserError(f"{where} must have 'data' and 'annotations' as Label Studio exports them.")
    regions = []
    for annotation in annotations:
        result = annotation.get("result") if isinstance(annotation, dict) else None
        if not isinstance(result, list):
            raise UserError(
                f"{where}: an annotation must have a list 'result', but it is {shown(result)}."
            )
        if not annotation.get("was_cancelled"):
            regions.append(result)
    return data, regions or None


def _media(where, data):
    """Returns the name of the file that a task shows."""
    names = {}
    for field, value in data.items():
        name = _file_of(value) if isinstance(value, str) else ""
        if name.rpartition(".")[2].lower() in MEDIA_SUFFIXES and "." in name:
            names[name] = field
    if len(names) != 1:
        found = " and ".join(map(repr, names)) or "none"
        raise UserError(
            f"{where} must have one file of a video or recording in its data, but it has {found}; "
            "export the others apart."
        )
    return next(iter(names))


def _file_of(value):
    """The name of the file at a path or an address, as it was before it was uploaded."""
    try:
        address = urllib.parse.urlsplit(value)
    except ValueError:
        return ""
    path = urllib.parse.unquote(address.path)
    if path.rstrip("/").endswith("local-files"):  # /data/local-files/?d=folder/v1.mp4
        path = urllib.parse.parse_qs(address.query).get("d", [""])[0]
    if uploaded := _UPLOADED.search(path):
        return uploaded[2]
    return file_name(path)


def _fps(where, data, reading):
    fps = data.get("fps")
    return reading.fps if fps is None else frames_a_second(f"{where}: 'fps'", fps)


def _spans(where, regions):
    """Yields (place, what kind of span it is, its value) of the regions that are spans of time."""
    for i, region in enumerate(regions):
        value = region.get("value", region) if isinstance(region, dict) else None
        if not isinstance(value, dict):
            continue
        for kind in (_FRAMES, _SERIES, _SOUNDS):
            labels = value.get(kind)
            # "labels" are those of words and pictures as well, which have no times.
            if labels is None or (kind == _SOUNDS and ("text" in value or "start" not in value)):
                continue
            place = f"{where}, region {i}"
            if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
                raise UserError(f"{place}: {kind!r} must be a list of names.")
            yield place, kind, value


def _times(where, kind, value, fps, reading):
    """Returns the [start, end] of a span in seconds; of a timeline there may be several."""
    if kind == _FRAMES:
        ranges = value.get("ranges")
        if not isinstance(ranges, list) or not all(isinstance(one, dict) for one in ranges):
            raise UserError(f"{where}: 'ranges' must be a list of {{'start', 'end'}}.")
        pairs = [[number(f"{where}: {s!r}", one.get(s)) for s in _SIDES] for one in ranges]
        return [
            [to_seconds(where, start - 1, "frames", fps), to_seconds(where, end, "frames", fps)]
            for start, end in pairs
        ]
    times = [value.get("start"), value.get("end")]
    if any(isinstance(time, str) for time in times):
        raise UserError(
            f"{where}: 'start' is {shown(times[0])}, but times must count from the start of the "
            "recording; label a series whose time column does."
        )
    times = [number(f"{where}: {side!r}", time) for side, time in zip(_SIDES, times, strict=True)]
    if kind == _SOUNDS:
        return [times]
    if reading.time_unit is None:
        raise UserError(
            f"{where}: 'start' is {shown(times[0])}, which may be seconds, milliseconds or the "
            "number of a sample, as the series' time column has it; say which by time_unit "
            "('seconds', 'milliseconds' or 'frames'; data.time_unit in a configuration)."
        )
    return [[to_seconds(where, time, reading.time_unit, fps) for time in times]]


# === Writing ===


def label_studio_tasks(drafts):
    """Returns tasks of `Draft`s that have media files, as JSON to import holds them.

    What was found are predictions in seconds, of an `<Audio name="audio">` that shows a video's
    sound, under `<Labels name="label">`; the frames of `<TimelineLabels>` would be coarser.
    """
    return [
        {"data": {"video": draft.media}, "predictions": [_prediction(draft.spans)]}
        for draft in drafts
    ]


def _prediction(spans):
    regions = [
        {
            "id": f"span{number_}",
            "from_name": "label",
            "to_name": "audio",
            "type": _SOUNDS,
            "value": {
                **dict(zip(_SIDES, span.times_sec, strict=True)),
                "channel": 0,
                _SOUNDS: [span.label],
            },
            "score": round(span.score, 4),
        }
        for number_, span in enumerate(spans, start=1)
    ]
    # By this one, tasks can be sorted.
    mean = sum(span.score for span in spans) / max(len(spans), 1)
    return {"model_version": "keras-actionformer", "score": round(mean, 4), "result": regions}
