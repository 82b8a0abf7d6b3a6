"""Annotations: which actions happen when, in seconds, checked.

Whatever file they come from, `build_annotations` makes them of "entries", one dict a video:

    {"where": "Annotation file 'x.json', video 'video_1'",
     "subset": "training", "duration": 61.5, "fps": 30.0,
     "annotations": [{"where": "Annotation file 'x.json', video 'video_1', annotation 0",
                      "label": "jump", "label_id": 0, "segment": [3.2, 4.75]}]}

`duration`, `fps` and `label_id` may be absent. `where` is the place by which errors name a video or
an action. Everything a person can get wrong is checked once, when a file is loaded, and told with
the file, the place in it and the field it is about.
"""

import dataclasses
import unicodedata
from collections.abc import Sequence

import numpy as np

from keras_actionformer.checks import check_class_names, check_text, frames_a_second, shown
from keras_actionformer.data.instances import usable_instances
from keras_actionformer.errors import UserError, suggest

# Annotation tools round times and durations each on their own; an action that ends with its video
# then passes its end by this much at most. It is clipped silently; anything more is an error.
ROUNDING_SEC = 0.05
# Ids that a file numbers its classes with stay far below; a larger one is a mistake, and every id
# below it would become a class.
MAX_CLASSES = 10_000
# The one class that `class_agnostic` leaves.
AGNOSTIC_NAME = "action"


@dataclasses.dataclass(frozen=True, eq=False)
class Video:
    """One annotated sequence.

    Args:
      video_id: str, also the name of its feature file.
      subset: str, e.g. "training".
      duration_sec: float, or None when unknown.
      fps: float, frames a second, or None when the file does not say.
      segments_sec: float64 (N, 2), `[start, end]` of every action in seconds.
      labels: int64 (N,), their label ids.
    """

    video_id: str
    subset: str
    duration_sec: float | None
    fps: float | None
    segments_sec: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Annotations:
    """All videos of an annotation file, and the name of every label id.

    Args:
      videos: tuple of `Video`, in the order of the file.
      class_names: tuple of str; `class_names[i]` names label id `i`.
    """

    videos: tuple[Video, ...]
    class_names: tuple[str, ...]

    def subset(self, name: str | Sequence[str]) -> tuple[Video, ...]:
        """Returns the videos whose subset is `name`, upper or lower case alike.

        Args:
          name: str, or several of them for the videos of any.

        Raises:
          UserError: no video has this subset, or one of them.
        """
        names = [name] if isinstance(name, str) else list(name)
        known = sorted({v.subset for v in self.videos})
        for one in names:
            if one.lower() not in {subset.lower() for subset in known}:
                raise UserError(
                    f"No video has the subset {one!r}; the annotations have "
                    f"{', '.join(map(repr, known))}{suggest(one, known) or '.'}"
                )
        wanted = {one.lower() for one in names}
        return tuple(v for v in self.videos if v.subset.lower() in wanted)

    def empty_label_ids(self, subset: str | None = None) -> tuple[int, ...]:
        """Returns the label ids that no action has, in one subset or (None) in all videos.

        A detector must not learn from such a class: it would only ever see it absent.

        Returns:
          tuple of int, ascending.
        """
        videos = self.videos if subset is None else self.subset(subset)
        used = {int(label) for video in videos for label in video.labels}
        return tuple(i for i in range(len(self.class_names)) if i not in used)


def build_annotations(
    source,
    entries,
    class_names=None,
    num_classes=None,
    outside="error",
    drop_duplicates=False,
    class_agnostic=False,
):
    """Checks what the reader of any format has found and makes it `Annotations`.

    Args:
      source: str, what errors call the whole, e.g. `"Annotation file 'x.csv'"`.
      entries: dict from video id to its entry (see the head of this module), which is changed here.
      class_names, num_classes, outside, drop_duplicates, class_agnostic: as
        `annotation_files.load_annotations`.

    Returns:
      `Annotations`, the videos in the order of `entries`.

    Raises:
      UserError: an entry lacks a field or has a wrong value in one.
    """
    if outside not in ("error", "keep"):
        raise UserError(f"outside must be 'error' or 'keep', but it is {outside!r}.")
    if class_names is not None:
        class_names = check_class_names(class_names, num_classes, source)
    if not entries:
        raise UserError(f"{source} holds no video.")
    for video_id, entry in entries.items():
        check_text(f"{source}: a video id", video_id, "surrogateescape")
        _check_entry(entry["where"], entry)
    actions = [action for entry in entries.values() for action in entry["annotations"]]
    _check_look_alikes(source, "video ids", entries)
    _check_look_alikes(source, "labels", [action["label"] for action in actions])
    if drop_duplicates:
        _drop_duplicates(entries)
    if class_agnostic:
        if class_names is not None or num_classes not in (None, 1):
            raise UserError(
                "class_agnostic=True makes all labels one class; leave class_names out and set "
                "num_classes to 1."
            )
        class_names = (AGNOSTIC_NAME,)
        for entry in entries.values():
            for action in entry["annotations"]:
                action.update(label=AGNOSTIC_NAME, label_id=0)
    class_names = _class_names(source, entries, class_names, num_classes)
    ids = {name: i for i, name in enumerate(class_names)}
    videos = tuple(_video(id_, entry, ids, outside) for id_, entry in entries.items())
    return Annotations(videos, class_names)


def _check_entry(where, entry):
    """Checks form and types of a video's entry, so that the functions below may rely on them."""
    if "subset" not in entry:
        raise UserError(
            f"{where} lacks the field 'subset', for example 'training'; add it or give "
            f"default_subset{suggest('subset', entry) or '.'}"
        )
    if not isinstance(entry["subset"], str) or not entry["subset"]:
        raise UserError(f"{where}: 'subset' must be a text, but it is {shown(entry['subset'])}.")
    check_text(f"{where}: 'subset'", entry["subset"])
    duration = entry.get("duration")
    if duration is not None and not (_is_number(duration) and duration > 0):
        raise UserError(
            f"{where}: 'duration' must be a number above 0, but it is {shown(duration)}; correct "
            "it or leave it out when it is unknown."
        )
    if entry.get("fps") is not None:
        frames_a_second(f"{where}: 'fps'", entry["fps"])
    for action in entry["annotations"]:
        _check_action(action["where"], action)


def _check_action(where, action):
    for name, example in (("label", '"jump"'), ("segment", "[3.2, 4.75]")):
        if name not in action:
            raise UserError(
                f"{where} lacks the field '{name}', for example \"{name}\": {example}"
                f"{suggest(name, action) or '.'}"
            )
    if not isinstance(action["label"], str) or not action["label"]:
        raise UserError(f"{where}: 'label' must be a text, but it is {shown(action['label'])}.")
    check_text(f"{where}: 'label'", action["label"])
    segment = action["segment"]
    if not (isinstance(segment, list) and len(segment) == 2 and all(map(_is_number, segment))):
        raise UserError(
            f"{where}: 'segment' must be two finite numbers [start, end] in seconds, "
            f"but it is {shown(segment)}."
        )
    id_ = action.get("label_id")
    if id_ is not None and (not isinstance(id_, int) or isinstance(id_, bool)):
        raise UserError(f"{where}: 'label_id' must be a whole number, but it is {shown(id_)}.")


def _check_look_alikes(source, what, texts):
    """Raises UserError of texts that look the same, as two classes that are meant to be one."""
    seen = {}
    for text in dict.fromkeys(texts):
        other = seen.setdefault(unicodedata.normalize("NFC", " ".join(text.split())), text)
        if other != text:
            raise UserError(
                f"{source}: the {what} {shown(other)} and {shown(text)} differ in spaces or in how "
                f"letters are coded ({ascii(other)}, {ascii(text)}) alone; write them alike."
            )


def _is_number(value):
    # bool is an int in Python, but no time in a file. The comparison is False for NaN, and holds
    # for whole numbers too long for a float.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _drop_duplicates(entries):
    """Leaves out the annotations that no score counts, see `usable_instances`."""
    videos = np.repeat(np.arange(len(entries)), [len(e["annotations"]) for e in entries.values()])
    actions = [action for entry in entries.values() for action in entry["annotations"]]
    segments_sec = np.array([a["segment"] for a in actions], np.float64).reshape(-1, 2)
    ids = {label: i for i, label in enumerate({a["label"] for a in actions})}
    labels = np.array([ids[a["label"]] for a in actions], np.int64)
    keep = usable_instances(videos, segments_sec, labels)
    # One that ends before it starts is no short one but a mistake, which is told later.
    keep |= segments_sec[:, 1] < segments_sec[:, 0]
    is_kept = iter(keep.tolist())
    for entry in entries.values():
        entry["annotations"] = [a for a in entry["annotations"] if next(is_kept)]


def _class_names(source, entries, class_names, num_classes):
    """Decides which label has which id, and checks every label and id of the file."""
    ids = _file_ids(entries)
    if class_names is not None:
        for (label, id_), where in ids.items():
            _check_known(where, label, id_, class_names)
        return class_names
    if all(id_ is None for _, id_ in ids):
        names = {i: label for i, label in enumerate(sorted({label for label, _ in ids}))}
    else:
        names = _names_by_id(ids, num_classes)
    if num_classes is not None and len(names) > num_classes:
        raise UserError(
            f"{source} has {len(names)} different labels but num_classes is {num_classes}; "
            f"set num_classes to {len(names)} or correct the labels."
        )
    count = num_classes if num_classes is not None else max(names, default=-1) + 1
    labels = set(names.values())
    return tuple(names.get(i) or _unused_name(i, labels) for i in range(count))


def _unused_name(id_, labels):
    name = f"class_{id_}"
    # A file may call another id so, and two classes must not share a name.
    return f"{name} (unused)" if name in labels else name


def _file_ids(entries):
    """Returns {(label, label_id or None): the first place that has it}."""
    found = {}
    for entry in entries.values():
        for action in entry["annotations"]:
            found.setdefault((action["label"], action.get("label_id")), action["where"])
    without = [where for (_, id_), where in found.items() if id_ is None]
    if without and len(without) < len(found):
        raise UserError(
            f"{without[0]} lacks 'label_id' while others have one; give it to all annotations or "
            "to none."
        )
    return found


def _check_known(where, label, id_, class_names):
    if label not in class_names:
        raise UserError(
            f"{where}: label {label!r} is none of the {len(class_names)} class names"
            f"{suggest(label, class_names) or '.'}"
        )
    if id_ is not None and id_ != class_names.index(label):
        raise UserError(
            f"{where}: label {label!r} has the label_id {id_} but is number "
            f"{class_names.index(label)} of the class names; correct the file or the order of "
            "the names."
        )


def _names_by_id(ids, num_classes):
    names, numbers = {}, {}
    for (label, id_), where in ids.items():
        if id_ < 0 or (num_classes is not None and id_ >= num_classes):
            limit = (
                "must be 0 or more"
                if num_classes is None
                else (
                    f"is outside 0..{num_classes - 1} (num_classes={num_classes}); "
                    "raise num_classes or correct the file"
                )
            )
            raise UserError(f"{where}: label_id {id_} of label {label!r} {limit}.")
        if num_classes is None and id_ >= MAX_CLASSES:
            raise UserError(
                f"{where}: label_id {id_} of label {label!r} must be below {MAX_CLASSES}, since "
                "all ids up to it become classes; number the labels from 0."
            )
        if names.setdefault(id_, label) != label:
            raise UserError(
                f"{where}: label_id {id_} names {label!r}, but elsewhere {names[id_]!r}; "
                "give every label its own id."
            )
        if numbers.setdefault(label, id_) != id_:
            raise UserError(
                f"{where}: label {label!r} has the label_id {id_}, but elsewhere "
                f"{numbers[label]}; give every label one id."
            )
    return names


def _video(video_id, entry, ids, outside):
    """Builds the `Video` of a checked entry."""
    actions = entry["annotations"]
    duration = entry.get("duration")
    end = np.inf if duration is None else duration
    for action in actions:
        _check_segment(action, end, outside)
    segments = np.array([a["segment"] for a in actions], np.float64).reshape(-1, 2)
    # Only what lies within the rounding moves to the video's ends.
    near = (segments > -ROUNDING_SEC - 1e-9) & (segments < end + ROUNDING_SEC + 1e-9)
    clipped = np.where(near, np.clip(segments, 0.0, end), segments)
    # A segment inside that rounding is nothing but rounding: leave it rather than empty it.
    keep = clipped[:, 1] > clipped[:, 0]
    return Video(
        video_id=video_id,
        subset=entry["subset"],
        duration_sec=None if duration is None else float(duration),
        fps=None if entry.get("fps") is None else float(frames_a_second("fps", entry["fps"])),
        segments_sec=np.where(keep[:, None], clipped, segments),
        labels=np.array([ids[a["label"]] for a in actions], np.int64),
    )


def _check_segment(action, end_sec, outside):
    """Checks that a segment has a length and, unless `outside` is "keep", lies in its video."""
    segment = action["segment"]
    where = f"{action['where']}: 'segment' {shown(segment)}"
    if segment[1] <= segment[0]:
        raise UserError(f"{where} must end after it starts; correct or remove it.")
    limit = None
    if segment[0] < -ROUNDING_SEC - 1e-9:
        limit = "starts before 0 s"
    elif segment[1] > end_sec + ROUNDING_SEC + 1e-9:
        limit = f"ends after the video's duration of {end_sec} s"
    if limit and outside == "error":
        raise UserError(
            f"{where} {limit}; correct it, or load the file with outside='keep' when it is meant "
            "so."
        )
