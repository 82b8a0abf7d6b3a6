"""Annotation files: which actions happen when, in seconds, in the JSON form of ActivityNet.

```json
{"database": {"video_1": {"subset": "training", "duration": 61.5, "fps": 30.0,
                          "annotations": [{"label": "jump", "label_id": 0,
                                           "segment": [3.2, 4.75]}]}}}
```

`duration`, `fps` and `label_id` may be absent. Everything a person can get wrong is checked once,
when the file is loaded, and told with the file, the video and the field it is about.
"""

import dataclasses
import json

import numpy as np

from keras_actionformer.errors import UserError, suggest
from keras_actionformer.files import atomic_write

# Annotation tools round times and durations each on their own; an action that ends with its video
# then passes its end by this much at most. It is clipped silently; anything more is an error.
ROUNDING_SEC = 0.05


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

    def subset(self, name):
        """Returns the videos whose subset is `name`, upper or lower case alike.

        Raises:
          UserError: no video has this subset.
        """
        chosen = tuple(v for v in self.videos if v.subset.lower() == name.lower())
        if not chosen:
            known = sorted({v.subset for v in self.videos})
            raise UserError(
                f"No video has the subset {name!r}; the annotations have "
                f"{', '.join(map(repr, known))}{suggest(name, known) or '.'}"
            )
        return chosen

    def empty_label_ids(self, subset=None):
        """Returns the label ids that no action has, in one subset or (None) in all videos.

        A detector must not learn from such a class: it would only ever see it absent.

        Returns:
          tuple of int, ascending.
        """
        videos = self.videos if subset is None else self.subset(subset)
        used = {int(label) for video in videos for label in video.labels}
        return tuple(i for i in range(len(self.class_names)) if i not in used)


def load_annotations(path, class_names=None, num_classes=None, outside="error"):
    """Loads and checks an annotation file.

    Label ids are, in this order: the places in `class_names` when given; the `label_id`s of the
    file when it has them; the alphabetical order of the labels. An id that nobody uses is named
    `class_<id>`.

    Args:
      path: str or `os.PathLike`, the JSON file (see the head of this module).
      class_names: list of str, the known classes in the order of their ids, or None.
      num_classes: int, how many classes there are, or None for those the file has.
      outside: what to do about a segment that lies outside its video (starts before 0 or ends
        after `duration`) by more than `ROUNDING_SEC`: `"error"`, or `"keep"` as it stands. Some
        published annotations have such segments (THUMOS14: 30 of 6,365) and published scores count
        them.

    Returns:
      `Annotations`.

    Raises:
      UserError: the file is missing, is no JSON, lacks a field, or has a wrong value in one.
    """
    if outside not in ("error", "keep"):
        raise UserError(f"outside must be 'error' or 'keep', but it is {outside!r}.")
    if class_names is not None:
        class_names = _check_class_names(class_names, num_classes)
    entries = _check_database(path, _read_json(path))
    names = _class_names(path, entries, class_names, num_classes)
    ids = {name: i for i, name in enumerate(names)}
    videos = tuple(_video(path, id_, entry, ids, outside) for id_, entry in entries.items())
    return Annotations(videos, names)


def save_annotations(path, annotations):
    """Writes `annotations` to `path` in the form that `load_annotations` reads, all at once."""
    database = {}
    for video in annotations.videos:
        entry = {"subset": video.subset}
        if video.duration_sec is not None:
            entry["duration"] = float(video.duration_sec)
        if video.fps is not None:
            entry["fps"] = float(video.fps)
        entry["annotations"] = [
            {
                "label": annotations.class_names[label],
                "label_id": int(label),
                "segment": [float(start), float(end)],
            }
            for (start, end), label in zip(video.segments_sec, video.labels, strict=True)
        ]
        database[video.video_id] = entry
    with atomic_write(path) as file:
        json.dump({"version": "1.0", "database": database}, file, indent=1)
        file.write("\n")


def _check_class_names(class_names, num_classes):
    class_names = tuple(class_names)
    for name in class_names:
        if class_names.count(name) > 1:
            raise UserError(f"class_names holds {name!r} twice; every class needs its own name.")
    if num_classes not in (None, len(class_names)):
        raise UserError(
            f"class_names holds {len(class_names)} names but num_classes is {num_classes}; "
            "leave one of them out or make them agree."
        )
    return class_names


def _read_json(path):
    try:
        with open(path, encoding="utf-8-sig") as file:
            return json.load(file, object_pairs_hook=lambda pairs: _unique_keys(path, pairs))
    except FileNotFoundError:
        raise UserError(f"Annotation file '{path}' does not exist; check its path.") from None
    except json.JSONDecodeError as error:
        raise UserError(
            f"Annotation file '{path}' is not valid JSON: {error.msg} "
            f"in line {error.lineno}, column {error.colno}."
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"Annotation file '{path}' is not UTF-8 text (byte {error.start}); save it as UTF-8."
        ) from None
    except OSError as error:
        raise UserError(f"Annotation file '{path}' cannot be read: {error.strerror}.") from None


def _unique_keys(path, pairs):
    # Python's JSON reader keeps the last of two equal keys: one of two videos would be lost.
    entry = dict(pairs)
    if len(entry) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise UserError(
            f"Annotation file '{path}' has {twice!r} twice in one object; every video id and "
            "every field may appear once, so merge or rename the entries."
        )
    return entry


def _check_database(path, content):
    """Checks form and types of all entries, so that the functions below may rely on them."""
    where = f"Annotation file '{path}'"
    if not isinstance(content, dict) or "database" not in content:
        keys = list(content) if isinstance(content, dict) else []
        raise UserError(
            f"{where} must hold {{\"database\": {{video id: ...}}}}, but its top level lacks the "
            f"field 'database'{suggest('database', keys) or '.'}"
        )
    database = content["database"]
    if not isinstance(database, dict):
        raise UserError(f"{where}: 'database' must be an object of video ids, not a list or value.")
    if not database:
        raise UserError(f"{where} holds no video: its 'database' is empty.")
    return {id_: _check_entry(f"{where}, video {id_!r}", e) for id_, e in database.items()}


def _check_entry(where, entry):
    if not isinstance(entry, dict):
        raise UserError(f"{where} must be an object with 'subset' and 'annotations'.")
    if "subset" not in entry:
        raise UserError(
            f"{where} lacks the field 'subset', for example \"subset\": \"training\""
            f"{suggest('subset', entry) or '.'}"
        )
    if not isinstance(entry["subset"], str) or not entry["subset"]:
        raise UserError(f"{where}: 'subset' must be a text, but it is {entry['subset']!r}.")
    for name in ("duration", "fps"):
        value = entry.get(name)
        if value is not None and not (_is_number(value) and value > 0):
            raise UserError(
                f"{where}: '{name}' must be a number above 0, but it is {value!r}; "
                "correct it or leave it out when it is unknown."
            )
    return {**entry, "annotations": _check_actions(where, entry)}


def _check_actions(where, entry):
    # Videos without known actions (test videos of a challenge) have no 'annotations' at all;
    # a field with nearly this name is a slip of the pen that would lose the video's actions.
    if "annotations" not in entry and suggest("annotations", entry):
        raise UserError(
            f"{where} lacks the field 'annotations', which may be [] when the video has no actions"
            f"{suggest('annotations', entry)}"
        )
    actions = entry.get("annotations", [])
    if not isinstance(actions, list):
        raise UserError(f"{where}: 'annotations' must be a list, but it is {actions!r:.60}.")
    for i, action in enumerate(actions):
        _check_action(f"{where}, annotation {i}", action)
    return actions


def _check_action(where, action):
    if not isinstance(action, dict):
        raise UserError(f"{where} must be an object with 'label' and 'segment'.")
    for name, example in (("label", '"jump"'), ("segment", "[3.2, 4.75]")):
        if name not in action:
            raise UserError(
                f"{where} lacks the field '{name}', for example \"{name}\": {example}"
                f"{suggest(name, action) or '.'}"
            )
    if not isinstance(action["label"], str):
        raise UserError(f"{where}: 'label' must be a text, but it is {action['label']!r}.")
    segment = action["segment"]
    if not (isinstance(segment, list) and len(segment) == 2 and all(map(_is_number, segment))):
        raise UserError(
            f"{where}: 'segment' must be two finite numbers [start, end] in seconds, "
            f"but it is {segment!r:.60}."
        )
    if segment[1] <= segment[0]:
        raise UserError(
            f"{where}: 'segment' {segment} must end after it starts; correct or remove it."
        )


def _is_number(value):
    # bool is an int in Python, but no time in a file. The comparison is False for NaN, and holds
    # for whole numbers too long for a float.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _class_names(path, entries, class_names, num_classes):
    """Decides which label has which id, and checks every label and id of the file."""
    where = f"Annotation file '{path}'"
    ids = _file_ids(where, entries)
    if class_names is not None:
        for (label, id_), video_id in ids.items():
            _check_known(f"{where}, video {video_id!r}", label, id_, class_names)
        return class_names
    if all(id_ is None for _, id_ in ids):
        names = {i: label for i, label in enumerate(sorted({label for label, _ in ids}))}
    else:
        names = _names_by_id(where, ids, num_classes)
    if num_classes is not None and len(names) > num_classes:
        raise UserError(
            f"{where} has {len(names)} different labels but num_classes is {num_classes}; "
            f"set num_classes to {len(names)} or correct the labels."
        )
    count = num_classes if num_classes is not None else max(names, default=-1) + 1
    labels = set(names.values())
    return tuple(names.get(i) or _unused_name(i, labels) for i in range(count))


def _unused_name(id_, labels):
    name = f"class_{id_}"
    # A file may call another id so, and two classes must not share a name.
    return f"{name} (unused)" if name in labels else name


def _file_ids(where, entries):
    """Returns {(label, label_id or None): the first video that has it}."""
    found = {}
    for video_id, entry in entries.items():
        for action in entry["annotations"]:
            id_ = action.get("label_id")
            if id_ is not None and (not isinstance(id_, int) or isinstance(id_, bool)):
                raise UserError(
                    f"{where}, video {video_id!r}: 'label_id' must be a whole number, "
                    f"but it is {id_!r}."
                )
            found.setdefault((action["label"], id_), video_id)
    without = [video_id for (_, id_), video_id in found.items() if id_ is None]
    if without and len(without) < len(found):
        raise UserError(
            f"{where}, video {without[0]!r}: an annotation lacks 'label_id' while others have one; "
            "give it to all annotations or to none."
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


def _names_by_id(where, ids, num_classes):
    names, numbers = {}, {}
    for (label, id_), video_id in ids.items():
        here = f"{where}, video {video_id!r}"
        if id_ < 0 or (num_classes is not None and id_ >= num_classes):
            limit = "must be 0 or more" if num_classes is None else (
                f"is outside 0..{num_classes - 1} (num_classes={num_classes}); "
                "raise num_classes or correct the file"
            )
            raise UserError(f"{here}: label_id {id_} of label {label!r} {limit}.")
        if names.setdefault(id_, label) != label:
            raise UserError(
                f"{here}: label_id {id_} names {label!r}, but elsewhere {names[id_]!r}; "
                "give every label its own id."
            )
        if numbers.setdefault(label, id_) != id_:
            raise UserError(
                f"{here}: label {label!r} has the label_id {id_}, but elsewhere {numbers[label]}; "
                "give every label one id."
            )
    return names


def _video(path, video_id, entry, ids, outside):
    """Builds the `Video` of a checked entry."""
    actions = entry["annotations"]
    duration = entry.get("duration")
    segments = np.array([a["segment"] for a in actions], np.float64).reshape(-1, 2)
    if outside == "error":
        _check_inside(f"Annotation file '{path}', video {video_id!r}", segments, duration)
    end = np.inf if duration is None else duration
    # Only what lies within the rounding moves to the video's ends.
    near = (segments > -ROUNDING_SEC - 1e-9) & (segments < end + ROUNDING_SEC + 1e-9)
    clipped = np.where(near, np.clip(segments, 0.0, end), segments)
    # A segment inside that rounding is nothing but rounding: leave it rather than empty it.
    keep = clipped[:, 1] > clipped[:, 0]
    return Video(
        video_id=video_id,
        subset=entry["subset"],
        duration_sec=None if duration is None else float(duration),
        fps=None if entry.get("fps") is None else float(entry["fps"]),
        segments_sec=np.where(keep[:, None], clipped, segments),
        labels=np.array([ids[a["label"]] for a in actions], np.int64),
    )


def _check_inside(where, segments, duration):
    end = np.inf if duration is None else duration
    for i, segment in enumerate(segments.tolist()):
        if segment[0] < -ROUNDING_SEC - 1e-9 or segment[1] > end + ROUNDING_SEC + 1e-9:
            limit = "starts before 0 s"
            if segment[0] >= -ROUNDING_SEC - 1e-9:
                limit = f"ends after the video's duration of {duration} s"
            raise UserError(
                f"{where}, annotation {i}: 'segment' {segment} {limit}; correct it, or "
                "load the file with outside='keep' when it is meant so."
            )
