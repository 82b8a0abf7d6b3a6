"""The scores that a classifier gave whole videos, and the files that hold them.

Four kinds of files of video scores are read, told apart by the suffix. Class names may be missing:

* `.json`: `{"results": {video id: [K numbers]}, "class": [K names]}` (the key may also be
  `"classes"` or `"class_names"`), or only `{video id: [K numbers]}`.
* `.csv`: the first line is `video` (or `video_id`) and K class names, or without names
  `video,score_0,score_1,...`; then a line a video.
* `.npz`: arrays `video_ids` (V,) and `scores` (V, K), or an array (K,) a video under its id; either
  with `class_names` (K,) or without.
* `.pkl`: a pickled dict of the same form as a JSON file. Nothing in it is executed.
"""

import pathlib
import re

import numpy as np

from keras_actionformer.checks import check_class_names
from keras_actionformer.containers.csv_files import read_rows
from keras_actionformer.containers.numpy_files import read_npz
from keras_actionformer.errors import UserError, said_of, suggest
from keras_actionformer.files import (
    RepeatedKeyError,
    read_json,
    read_text,
    told_if_unreadable,
    unique_keys,
)

_NUMBERED = re.compile(r"score_[0-9]+")
# What files call the list of class names.
_NAMES_KEYS = ("class", "classes", "class_names")


class VideoScores(dict):
    """The class scores of whole videos: a dict, video id to float64 (K,), that knows the classes.

    Example:

    >>> video_scores = VideoScores({"v1": [0.7, 0.3], "v2": [0.1, 0.9]}, ("run", "jump"))
    >>> video_scores["v2"], video_scores.class_names
    (array([0.1, 0.9]), ('run', 'jump'))

    Args:
      scores: mapping, video id to K numbers, finite and 0 or larger: probabilities, not logits.
      class_names: sequence of K different str, or empty when the classes have no names.

    Raises:
      UserError: there is no video, one has scores of another kind or another number of them, or
        the names do not fit.
    """

    def __init__(self, scores, class_names=()):
        super().__init__()
        for video_id, values in scores.items():
            if not isinstance(video_id, str):
                raise UserError(f"A video id must be a text, but one is {video_id!r}.")
            self[video_id] = check_scores(f"The scores of video {video_id!r}", values)
        if not self:
            raise UserError("There are no scores of any video.")
        first, count = next((video_id, len(values)) for video_id, values in self.items())
        for video_id, values in self.items():
            if len(values) != count:
                raise UserError(
                    f"Every video needs a score for each class, but video {first!r} has {count} "
                    f"scores and video {video_id!r} has {len(values)}."
                )
        self.class_names = check_class_names(class_names, count)


def load_video_scores(path, class_names=None):
    """Reads a file of video scores; the head of this module describes the formats.

    With `class_names`, place `i` of the scores is class `i` of these names: a file with names is
    brought into this order, and its other classes follow, so nothing is lost; in a file without
    names the classes must already be in this order.

    Args:
      path: str or `os.PathLike` ending in `.json`, `.csv`, `.npz` or `.pkl`.
      class_names: sequence of str, index = class id (those of the ground truth, say), or None for
        the classes as the file has them.

    Returns:
      `VideoScores`, a dict from video id to float64 (K,).

    Raises:
      UserError: the file is missing, broken, of another kind, names a video twice or lacks one of
        `class_names`, or `VideoScores` refuses what it holds.
    """
    readers = {".json": _read_json, ".csv": _read_csv, ".npz": _read_npz, ".pkl": _read_pickle}
    read = readers.get(pathlib.Path(path).suffix.lower())
    if read is None:
        raise UserError(
            f"The name of a file of video scores must end in {', '.join(readers)}, but it is "
            f"'{path}'."
        )
    if not pathlib.Path(path).is_file():
        raise UserError(f"File of video scores '{path}' does not exist; check its path.")
    scores, names = read(path)
    with said_of(f"File of video scores '{path}'"):
        video_scores = VideoScores(scores, names)
        return video_scores if class_names is None else _in_order(video_scores, class_names)


def check_scores(where, values):
    """Returns class scores as float64 (K,)."""
    try:
        scores = np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{where} must be a list of numbers: {error}.") from None
    if scores.ndim != 1 or not len(scores):
        raise UserError(
            f"{where} must have the shape (classes,), one number a class, but it is {scores.shape}."
        )
    wrong = ~(np.isfinite(scores) & (scores >= 0))
    if wrong.any():
        raise UserError(
            f"{where} must be finite and 0 or larger (probabilities: apply a softmax to logits), "
            f"but the score of class {wrong.argmax()} is {scores[wrong][0]}."
        )
    return scores


def _in_order(video_scores, class_names):
    """Returns the scores with the classes in the order of `class_names`, other classes last."""
    if not video_scores.class_names:
        return VideoScores(video_scores, class_names)
    place = {name: index for index, name in enumerate(video_scores.class_names)}
    missing = [name for name in class_names if name not in place]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(class_names)} class names have no scores, the first is "
            f"{missing[0]!r}; name the classes alike{suggest(missing[0], place) or '.'}"
        )
    others = [name for name in place if name not in set(class_names)]
    names = (*class_names, *others)
    places = [place[name] for name in names]
    return VideoScores({id_: scores[places] for id_, scores in video_scores.items()}, names)


def _read_json(path):
    """Returns ({video id: scores}, class names), not yet checked; so do the other readers."""
    return _split_names(path, read_json(path, "File of video scores"))


def _read_pickle(path):
    from keras_actionformer.data.pickles import read_pickle

    return _split_names(path, read_pickle(path))


def _split_names(path, content):
    names = ()
    if isinstance(content, dict) and "results" in content:
        keys = [key for key in content if key != "results"]
        if len(keys) > 1 or not set(keys) <= set(_NAMES_KEYS):
            raise UserError(
                f"File of video scores '{path}' may have one of {', '.join(map(repr, _NAMES_KEYS))}"
                f" beside 'results', but it has {', '.join(map(repr, keys))}; rename or remove "
                "what is more."
            )
        names = content[keys[0]] if keys else ()
        content = content["results"]
    if not isinstance(content, dict) or not isinstance(names, list | tuple):
        raise UserError(
            f"File of video scores '{path}' must hold {{\"results\": {{video id: scores}}, "
            '"class": [names]} or {video id: scores}.'
        )
    return content, names


def _read_csv(path):
    source = f"File of video scores '{path}'"
    rows, decimal = read_rows(source, read_text(path, "File of video scores"))
    rows = [(line, [cell.strip() for cell in row]) for line, row in rows]
    header = rows[0][1] if rows else []
    if len(header) < 2 or header[0] not in ("video", "video_id"):
        raise UserError(
            f"File of video scores '{path}' must begin with the line video,<class name>,... or "
            f"video,score_0,..., but it begins with {','.join(header)!r:.60}."
        )
    for line, row in rows[1:]:
        if len(row) != len(header):
            raise UserError(
                f"File of video scores '{path}', line {line} must have {len(header)} columns as "
                f"the first line has, but it has {len(row)}."
            )
    names = () if all(map(_NUMBERED.fullmatch, header[1:])) else header[1:]
    pairs = [(row[0], [cell.replace(decimal, ".") for cell in row[1:]]) for _, row in rows[1:]]
    return _without_repeats(path, pairs), names


def _read_npz(path):
    with told_if_unreadable(
        f"File of video scores '{path}' cannot be read as NumPy arrays",
        "write it again with numpy.savez from arrays of numbers and texts",
    ):
        arrays = read_npz(path)
    names = arrays.pop("class_names", np.array([])).ravel().tolist()
    if set(arrays) != {"video_ids", "scores"}:
        return arrays, names
    ids, scores = arrays["video_ids"], arrays["scores"]
    if ids.ndim != 1 or scores.ndim != 2 or len(ids) != len(scores):
        raise UserError(
            f"File of video scores '{path}' must hold 'video_ids' (videos,) and 'scores' (videos, "
            f"classes), but their shapes are {ids.shape} and {scores.shape}."
        )
    return _without_repeats(path, list(zip(ids.tolist(), scores))), names


def _without_repeats(path, pairs):
    try:
        return unique_keys(pairs)
    except RepeatedKeyError as error:
        raise UserError(
            f"File of video scores '{path}' has {error.key!r} twice; give every video one entry."
        ) from None
