"""The files that keep detections, read into columns and written.

Two forms, told apart by the suffix, and two that are only read:

* `.json`, the form of ActivityNet submissions:
  `{"results": {video_id: [{"label": name or id, "score": 0.9, "segment": [start_sec, end_sec]}]}}`
* `.csv` with the header `video,start_sec,end_sec,label,score`, one detection a line; written with
  commas, and read with semicolons (and then decimal commas) or tabs, too, and with the names that
  the evaluations of ActivityNet and of the reference have for these columns;
* `.jsonl`, as `detect --watch` writes it: in each line what `.json` has for a detection, and its
  `"video"`;
* `.json` as `submissions` writes it for a challenge: of EPIC-KITCHENS a label is the `"action"`,
  and of Ego4D's two lists the one for mAP is read.
"""

import csv
import pathlib
import re

from keras_actionformer.checks import shown
from keras_actionformer.containers.csv_files import read_rows
from keras_actionformer.data.annotations import MAX_CLASSES
from keras_actionformer.errors import UserError
from keras_actionformer.files import (
    atomic_write,
    parse_json,
    read_text,
    told_if_unreadable,
    write_json,
)

_CSV_COLUMNS = ("video", "start_sec", "end_sec", "label", "score")
_ACTIVITYNET_COLUMNS = ("video-id", "t-start", "t-end", "label", "score")
# What a file for a challenge calls its videos, and the label of a detection.
_OF_CHALLENGES = {
    "action_detection": ("results", "action"),
    "ego4d_moment_queries": ("detect_results", "label"),
}
_INTEGER = re.compile(r"\s*[0-9]{1,9}\s*")
_NAME_ERRORS = {".json": "strict", ".csv": "surrogateescape", ".jsonl": "strict"}


def write_rows(path, rows):
    """Writes what `detections.save_detections` is given.

    Args:
      path: str or `os.PathLike` ending in `.json` or `.csv`.
      rows: dict, video id to what `Detections.to_dicts` returns.
    """
    if _suffix(path, (".json", ".csv")) == ".json":
        content = {"version": "1.0", "results": rows}
        write_json(path, content, indent=None, ensure_ascii=False)
        return
    # What of a file's name is no UTF-8 is written as the name has it.
    with atomic_write(path, errors="surrogateescape") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_CSV_COLUMNS)
        for video_id, found in rows.items():
            for row in found:
                writer.writerow((video_id, *row["segment"], row["label"], row["score"]))


def read_columns(path, class_names=None):
    """Reads what `detections.load_detections` makes `Detections` of.

    Args:
      path, class_names: as for `load_detections`.

    Returns:
      (dict, video id to three lists of equal length: segments, scores, class ids; tuple of class
      names, empty when there are none).

    Raises:
      UserError: the file is missing, broken, lacks a field, or holds something else than numbers
        and labels; the text names the file and the video.
    """
    suffix = _suffix(path, tuple(_NAME_ERRORS))
    text = read_text(path, "File of detections", _NAME_ERRORS[suffix])
    if suffix == ".csv":
        columns = _parse_csv(path, text, class_names)
    else:
        columns = _parse_json(path, text) if suffix == ".json" else _parse_lines(path, text)
    labels = {video_id: rows[2] for video_id, rows in columns.items()}
    ids, names = _resolve_labels(path, labels, class_names)
    return {
        video_id: (segments, scores, ids[video_id])
        for video_id, (segments, scores, _) in columns.items()
    }, names


def _suffix(path, known):
    suffix = pathlib.Path(path).suffix.lower()
    if suffix not in known:
        raise UserError(f"{path}: the name of a detections file must end in {' or '.join(known)}.")
    return suffix


def _parse_json(path, text):
    """Returns {video id: (segments, scores, labels)}, lists of equal length, values checked."""
    with told_if_unreadable(f"{path}: not a JSON file of detections"):
        content = parse_json(text)
    name, label, results = "results", "label", None
    if isinstance(content, dict):
        challenge = content.get("challenge")
        if isinstance(challenge, str):
            name, label = _OF_CHALLENGES.get(challenge, (name, label))
        results = content.get(name)
    if not isinstance(results, dict):
        are_annotations = isinstance(content, dict) and "database" in content
        hint = " These are annotations: are two files swapped?" if are_annotations else ""
        raise UserError(
            f'{path}: expected {{"{name}": {{video id: [detections]}}}}; there is no "{name}" '
            f"object.{hint}"
        )
    return {
        video_id: _parse_video(path, video_id, rows, label) for video_id, rows in results.items()
    }


def _parse_lines(path, text):
    """As `_parse_json`; a last line that is not whole (somebody is writing it) is left out."""
    videos = {}
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        if number == len(lines) and not line.endswith("\n"):
            break
        with told_if_unreadable(f"{path}: line {number} is no detection"):
            row = parse_json(line)
            videos.setdefault(str(row["video"]), []).append(row)
    return {video_id: _parse_video(path, video_id, rows) for video_id, rows in videos.items()}


def _parse_video(path, video_id, rows, label="label"):
    try:
        segments = [row["segment"] for row in rows]
        scores = [row["score"] for row in rows]
        labels = [row[label] for row in rows]
        flat = [time for start, end in segments for time in (start, end)]
        # One set of types a column is many times faster than a test of every value.
        agree = label == "label" or all(map(_is_action, rows))
        if agree and {*map(type, flat), *map(type, scores)} <= {int, float} and type(rows) is list:
            return segments, scores, labels
    except (KeyError, TypeError, ValueError):
        pass
    raise UserError(f"{path}: video {video_id!r}: {_first_fault(rows, label)}")


def _is_action(row):
    """Whether a detection for EPIC-KITCHENS tells the same ids at both places."""
    return row["action"] == f"{row['verb']},{row['noun']}"


def _first_fault(rows, label):
    """Returns the text for the first detection of a video that cannot be read."""
    if not isinstance(rows, list):
        return f"expected a list of detections, got {type(rows).__name__}."
    fields = ("action", "verb", "noun") if label == "action" else (label,)
    for place, row in enumerate(rows):
        if not isinstance(row, dict):
            return f"detection {place} must be an object, got {row!r}."
        for field in (*fields, "score", "segment"):
            if field not in row:
                return f'detection {place} has no "{field}".'
        segment = row["segment"]
        if (
            not isinstance(segment, list)
            or len(segment) != 2
            or any(type(time) not in (int, float) for time in segment)
        ):
            return f'detection {place}: "segment" must be [start, end] in seconds, got {segment!r}.'
        if label == "action" and not _is_action(row):
            return (
                f'detection {place}: "action" must be "{row["verb"]},{row["noun"]}", its verb and '
                f"noun, got {row['action']!r}."
            )
        if type(row["score"]) not in (int, float):
            return f'detection {place}: "score" must be a number, got {row["score"]!r}.'
    return "the detections cannot be read."


def _parse_csv(path, text, class_names):
    """Returns {video id: (segments, scores, labels)} as `_parse_json` does."""
    rows, decimal = read_rows(str(path), text)
    header = rows[0][1] if rows else ["an empty file"]
    if tuple(header) not in (_CSV_COLUMNS, _ACTIVITYNET_COLUMNS):
        raise UserError(
            f"{path}: the first line must be {','.join(_CSV_COLUMNS)}, got {','.join(header)}."
        )
    columns = {}
    for line, row in rows[1:]:
        try:
            video_id, start, end, label, score = row
            start, end, score = (cell.replace(decimal, ".") for cell in (start, end, score))
            segments, scores, labels = columns.setdefault(video_id, ([], [], []))
            segments.append((float(start), float(end)))
            scores.append(float(score))
            labels.append(label)
        except ValueError as error:
            raise UserError(
                f"{path}: line {line} (video {row[0]!r}) must be {','.join(_CSV_COLUMNS)} with "
                f"numbers for times and score, got {','.join(row)!r}."
            ) from error
    # CSV has no types: labels are ids when all look like ids and none of them is a class name.
    found = {label for _, _, labels in columns.values() for label in labels}
    if found.isdisjoint(class_names or ()) and all(map(_INTEGER.fullmatch, found)):
        for segments, scores, labels in columns.values():
            labels[:] = map(int, labels)
    return columns


def _resolve_labels(path, labels, class_names):
    """Turns the labels of a file into class ids.

    Args:
      path: the file, for the error text.
      labels: dict, video id to list of str or int.
      class_names: see `load_detections`.

    Returns:
      (dict, video id to list of int; tuple of class names, empty when there are none).
    """
    kinds = {}
    for video_id, video_labels in labels.items():
        for kind in set(map(type, video_labels)):
            kinds.setdefault(kind, video_id)
    if not set(kinds) <= {str, int}:
        kind = next(kind for kind in kinds if kind not in (str, int))
        raise UserError(
            f"{path}: video {kinds[kind]!r}: a label must be a class name or an integer id, "
            f"got {kind.__name__}."
        )
    if len(kinds) == 2:
        raise UserError(
            f"{path}: video {kinds[str]!r} has labels that are names and video {kinds[int]!r} has "
            "integer ids; use one kind in the whole file."
        )
    names = tuple(class_names or ())
    if int in kinds:
        largest = max(max(ids, default=0) for ids in labels.values())
        if largest >= MAX_CLASSES:
            raise UserError(
                f"{path}: a label's id must be below {MAX_CLASSES}, but there is {shown(largest)}."
            )
        return labels, names if largest < len(names) else ()
    names += tuple(sorted({name for rows in labels.values() for name in rows} - set(names)))
    ids = {name: label for label, name in reversed(list(enumerate(names)))}
    return {video: [ids[name] for name in rows] for video, rows in labels.items()}, names
