"""Ego4D Moment Queries: the official annotations, and clips cut out of features of whole videos.

The reference cuts clips on the grid of the features (its tools/convert_ego4d_trainval.py): a clip
then begins up to 15 frames before its first one, and its times count from there.
"""

import dataclasses
import functools
import os
from collections.abc import Sequence
from typing import NamedTuple

from absl import logging

from keras_actionformer.checks import number
from keras_actionformer.data.annotations import Annotations, build_annotations
from keras_actionformer.data.entries import json_field
from keras_actionformer.datasets.formats import SUBSETS
from keras_actionformer.errors import UserError
from keras_actionformer.files import read_json

_NUM_CLASSES = 110
# The reference leaves out shorter moments.
_SHORTEST_SEC = 0.25
_SIDES = ("start", "end")
_FPS = (10, 100)  # of a clip whose frame numbers make sense; some have the same number twice
_MOST_FRAMES = 2**53  # beyond which there is no such number in float64
# Of the official features of whole videos, frames.
_STRIDE, _WINDOW = 16, 32

# Of an object: (where, item, name, kind).
_field = functools.partial(json_field, writer="Ego4D's moments files do")


# === Times from the start of each clip ===


def read_ego4d(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    class_names: Sequence[str] | None = None,
) -> Annotations:
    """Reads Ego4D's official Moment Queries files.

    `moments_train.json`, `moments_val.json` and `moments_test_unannotated.json` hold videos, these
    clips, and these the labels of each annotator, whose times count from the clip's start. Every
    clip becomes one video: the id is its `clip_uid`, the duration `video_end_sec -
    video_start_sec`, the frame rate that of its frames (unknown where the file's frame numbers
    make no sense). Of its labels count, as in the reference, those that are `primary` (110
    categories) and at least 0.25 s long; what several annotators mark alike, to 1 ms, counts once.

    `prepare --dataset=ego4d` writes times on the grid of features instead, where it cuts these out
    of those of whole videos, as the reference does.

    Args:
      paths: str or `os.PathLike`, or a list of them.
      class_names: list of str, the categories in the order of their ids; None takes the primary
        labels of all files in alphabetical order, which are the reference's ids when training and
        validation files are read together.

    Returns:
      `Annotations` with the subsets "training", "validation" and "test" as far as given.

    Raises:
      UserError: a file is unreadable or lacks a field, or a label is unknown.
    """
    entries, moments = {}, {}
    for clip in _clips(paths):
        moments[clip.clip_id] = _primary_moments(clip, "{side}_time")
        entries[clip.clip_id] = {
            "where": clip.where,
            "subset": clip.subset,
            **_clip_times(clip),
            "annotations": _long_enough(moments[clip.clip_id]),
        }
    return _annotations(paths, entries, moments, class_names)


@dataclasses.dataclass(frozen=True)
class _Clip:
    """A clip of a moments file.

    Args:
      where: str, what errors call it.
      clip_id, video_id: str, its own and that of the video it is a part of.
      subset: str.
      content: dict, what the file says of it.
    """

    where: str
    clip_id: str
    video_id: str
    subset: str
    content: dict


def _clips(paths):
    """Yields the clips of moments files (paths, or one path), each id once."""
    paths = [paths] if isinstance(paths, str | os.PathLike) else paths
    seen = set()
    for path in paths:
        where = f"Annotation file '{path}'"
        for video in _field(where, read_json(path, "Annotation file"), "videos", list):
            video_id = _field(where, video, "video_uid", str)
            here = f"{where}, video {video_id!r}"
            split = _field(here, video, "split", str)
            if split not in SUBSETS:
                raise UserError(f"{here}: 'split' must be train, val or test, but it is {split!r}.")
            for content in _field(here, video, "clips", list):
                clip_id = _field(here, content, "clip_uid", str)
                if clip_id in seen:
                    raise UserError(f"{here} has clip {clip_id!r}, which was there before.")
                seen.add(clip_id)
                place = f"{here}, clip {clip_id!r}"
                yield _Clip(place, clip_id, video_id, SUBSETS[split], content)


def _clip_times(clip):
    """Returns a clip's `duration` in seconds and, if its frame numbers make sense, its `fps`."""
    start_sec, end_sec = _seconds(clip)
    times = {"duration": end_sec - start_sec}
    frames = [clip.content.get(f"video_{side}_frame") for side in _SIDES]
    if end_sec > start_sec and all(isinstance(x, int) and 0 <= x < _MOST_FRAMES for x in frames):
        fps = (frames[1] - frames[0]) / (end_sec - start_sec)
        if _FPS[0] <= fps <= _FPS[1]:
            times["fps"] = round(fps, 3)
    return times


def _seconds(clip):
    """When a clip starts and ends in its video."""
    return [_seconds_of(clip.where, clip.content, f"video_{side}_sec") for side in _SIDES]


def _seconds_of(where, item, name):
    """A finite number of an object."""
    return number(f"{where}: {name!r}", _field(where, item, name, int | float))


def _primary_moments(clip, time_name):
    """The labels of the 110 categories, with their times as the field `time_name` has them."""
    moments = []
    # The clips of the test file have no annotations.
    has_any = "annotations" in clip.content
    for annotator in _field(clip.where, clip.content, "annotations", list) if has_any else []:
        for i, label in enumerate(_field(clip.where, annotator, "labels", list)):
            here = f"{clip.where}, label {i} of annotator {annotator.get('annotator_uid')}"
            if _field(here, label, "primary", bool):
                name = _field(here, label, "label", str)
                segment = [_seconds_of(here, label, time_name.format(side=x)) for x in _SIDES]
                moments.append({"where": here, "label": name, "segment": segment})
    return moments


def _long_enough(moments):
    # One that ends before it starts is wrong rather than short, and told as such.
    ends_sec = [moment["segment"] for moment in moments]
    return [m for m, (start, end) in zip(moments, ends_sec) if not 0 <= end - start < _SHORTEST_SEC]


def _annotations(paths, entries, moments, class_names=None):
    """The `Annotations` of clips.

    Args:
      paths: of the files.
      entries: dict, id of a clip that is kept to its entry, see `build_annotations`.
      moments: dict, id of any clip to its moments, short ones too: the classes are all of theirs.
      class_names: see `read_ego4d`.
    """
    if class_names is None:
        names = {moment["label"] for clip in moments.values() for moment in clip}
        class_names = sorted(names) or None
    num_short = sum(len(moments[key]) - len(entry["annotations"]) for key, entry in entries.items())
    logging.info("Ego4D: %d moments under %s s are left out.", num_short, _SHORTEST_SEC)
    paths = [paths] if isinstance(paths, str | os.PathLike) else paths
    annotations = build_annotations(
        f"Ego4D in {', '.join(map(str, paths))}",
        entries,
        class_names,
        outside="keep",
        drop_duplicates=True,
    )
    if len(annotations.class_names) != _NUM_CLASSES:
        logging.warning(
            "Ego4D: there are %d categories instead of %d, so their ids are not the usual ones; "
            "read the training and validation files together, or give class_names.",
            len(annotations.class_names),
            _NUM_CLASSES,
        )
    return annotations


# === Times on the grid of the features of whole videos ===


class _GridClip(NamedTuple):
    """Where a clip lies among the steps of its video's features.

    Attributes:
      steps: slice of them.
      start_sec: float, of the clip in its video.
      before_sec: float, from the start of the first step to that of the clip.
      duration_sec: float, from there to the end of the last frame that counts.
      fps: float.
    """

    steps: slice
    start_sec: float
    before_sec: float
    duration_sec: float
    fps: float


def read_ego4d_grid(paths):
    """Reads Ego4D's official Moment Queries files with times on the grid of the features.

    Durations and times are rounded to 0.01 s, as in the reference's file. As there, clips without
    moments are left out (but those of the test), and clips whose frame numbers make no sense, which
    have no place on the grid; so are those shorter than a window and a stride, which have no step.

    Args:
      paths: list of str or `os.PathLike`, see `read_ego4d`.

    Returns:
      `Annotations`; see `cut_clips` for the features that they fit.

    Raises:
      UserError: see `read_ego4d`.
    """
    entries, moments, left_out = {}, {}, []
    for clip in _clips(paths):
        moments[clip.clip_id] = _primary_moments(clip, "video_{side}_time")
        place = _on_grid(clip)
        if place is None:
            left_out.append(clip.clip_id)
            continue
        for moment in moments[clip.clip_id]:
            times_sec = moment["segment"]
            moment["segment"] = [x - place.start_sec + place.before_sec for x in times_sec]
        kept = _long_enough(moments[clip.clip_id])
        if not kept and clip.subset != "test":
            continue
        entries[clip.clip_id] = {
            "where": clip.where,
            "subset": clip.subset,
            "duration": round(place.duration_sec, 2),
            "fps": round(place.fps, 2),
            "annotations": [{**m, "segment": [round(x, 2) for x in m["segment"]]} for m in kept],
        }
    if left_out:
        logging.warning(
            "Ego4D: %d clips are too short, or have frame numbers that do not fit their seconds, "
            "and are left out: %s%s",
            len(left_out),
            ", ".join(left_out[:3]),
            ", ..." if len(left_out) > 3 else "",
        )
    return _annotations(paths, entries, moments)


def cut_clips(paths):
    """Where the features of clips are among those of their videos.

    Args:
      paths: see `read_ego4d_grid`.

    Returns:
      dict, id of a clip that has a place on the grid to (id of its video, slice of the steps of
      that).
    """
    places = {clip.clip_id: (clip.video_id, _on_grid(clip)) for clip in _clips(paths)}
    return {key: (video_id, place.steps) for key, (video_id, place) in places.items() if place}


def _on_grid(clip):
    """The `_GridClip` of a clip, or None where it has none."""
    start_sec, end_sec = _seconds(clip)
    start_sec = max(start_sec, 0)
    frames = [clip.content.get(f"video_{side}_frame") for side in _SIDES]
    if not end_sec > start_sec:
        raise UserError(f"{clip.where} must end after it starts, but ends at {end_sec:g} s.")
    if not all(isinstance(x, int | float) and abs(x) < _MOST_FRAMES for x in frames):
        return None
    first, end = max(int(frames[0]), 0), int(frames[1])
    fps = (end - first) / (end_sec - start_sec)
    if not _FPS[0] <= fps <= _FPS[1]:
        return None
    before = first % _STRIDE
    after = -(end - first + before - _WINDOW) % _STRIDE
    # The window that ends with the last frame is not taken, nor is it in the reference. So no clip
    # needs the last step of its video, which sees the last frames whatever the stride.
    steps = slice((first - before) // _STRIDE, (end + after - _WINDOW) // _STRIDE)
    if steps.stop <= steps.start:
        return None
    duration_sec = end_sec - start_sec + before / fps + after / fps
    return _GridClip(steps, start_sec, before / fps, duration_sec, fps)
