"""Detections as the files that challenges take: EPIC-KITCHENS-100's and Ego4D's.

* `"epic"`, action detection of EPIC-KITCHENS-100 (github.com/epic-kitchens/C2-Action-Detection,
  version 0.2): a detection has the ids of its verb and its noun, `action` ("verb,noun"), score and
  segment; three levels of supervision stand at the top.
* `"ego4d"`, Moment Queries of Ego4D (github.com/EGO4D/episodic-memory, version 1.0): a detection
  has label, score and segment. Of the two lists that a file has, the first is scored by mAP and the
  second by recall; here both are the same.
"""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from keras_actionformer.checks import choice, entries, shown
from keras_actionformer.errors import UserError
from keras_actionformer.files import write_json

if TYPE_CHECKING:
    from keras_actionformer.detection.detections import Detections

SUBMISSIONS = ("epic", "ego4d")
# Of the challenge's baseline: pre-training on public data, labels with start and end, and the
# training subset alone (SlowFastProposalClassifier/run_net.py).
SUPERVISION = (2, 3, 3)
_LEVELS = ("sls_pt", "sls_tl", "sls_td")  # pre-training, training labels, training data
_ACTION = re.compile(r"([0-9]{1,3}),([0-9]{1,3})")
NUM_VERBS, NUM_NOUNS = 97, 300  # of EPIC-KITCHENS-100, ids from 0
_FIX = (
    "as '0,21' of the ids of verb (to 96) and noun (to 299): detect with a model of verbs and one "
    "of nouns (--verbs and --nouns)."
)


def save_submission(
    path: str | os.PathLike[str],
    format_name: str,
    detections: Mapping[str, Detections],
    supervision: Sequence[int] = SUPERVISION,
) -> None:
    """Writes the file that a challenge takes; a video without detections has an empty list.

    Args:
      path: str or `os.PathLike`, ending in `.json`.
      format_name: `"epic"`, for detections whose classes are called `"VERB,NOUN"` by their ids, as
        those of a `VerbNounModel`; or `"ego4d"`, for detections with class names.
      detections: dict, video id (of Ego4D, that of the clip) to `Detections`.
      supervision: three ints in 0..5, of EPIC: the levels of pre-training, training labels and
        training data; 4 for the last where the model was trained on validation videos, too.

    Raises:
      UserError: there is no such format, a name or level is wrong, or classes are called otherwise.
    """
    check_submission(path, format_name, supervision)
    if format_name == "epic":
        results = {id_: _epic_rows(id_, found) for id_, found in detections.items()}
        levels = dict(zip(_LEVELS, supervision, strict=True))
        content = {"version": "0.2", "challenge": "action_detection", **levels, "results": results}
    else:
        results = {id_: _ego4d_rows(id_, found) for id_, found in detections.items()}
        content = {
            "version": "1.0",
            "challenge": "ego4d_moment_queries",
            "detect_results": results,
            "retrieve_results": results,
        }
    write_json(path, content, indent=None, ensure_ascii=False)


def check_submission(
    path: str | os.PathLike[str], format_name: str, supervision: Sequence[int] = SUPERVISION
) -> None:
    """Raises UserError where `save_submission` would, whatever is detected."""
    choice("format", format_name, *SUBMISSIONS)
    if pathlib.Path(path).suffix.lower() != ".json":
        raise UserError(f"'{path}' must end in .json, as the format {format_name} is JSON.")
    levels = entries(supervision) or []
    known = [level for level in levels if level in range(6)]
    if len(levels) != len(_LEVELS) or len(known) != len(_LEVELS):
        raise UserError(
            f"supervision must be three whole numbers in 0..5, for {', '.join(_LEVELS)}, but is "
            f"{shown(supervision)}."
        )


def check_classes(format_name: str, class_names: Sequence[str]) -> None:
    """Raises UserError where a challenge does not know detections of these classes."""
    wrong = [] if format_name == "ego4d" else [n for n in class_names if not _ids(n)]
    if class_names and not wrong:
        return
    told = f"The model has {f'classes such as {wrong[0]!r:.100}' if wrong else 'no class names'}"
    if format_name == "epic":
        raise UserError(f"{told}, but a submission to EPIC-KITCHENS-100 has actions, {_FIX}")
    raise UserError(f"{told}, which a submission to Ego4D needs: create it with class_names.")


def levels_of(texts: Sequence[str]) -> tuple[int, ...]:
    """The levels of supervision of texts such as those of `--supervision=2,3,3`."""
    try:
        return tuple(map(int, texts))
    except ValueError:
        raise UserError(
            f"--supervision={','.join(texts)} must be three numbers, as 2,3,3."
        ) from None


def _epic_rows(video_id, found):
    rows = []
    ids = {label: _pair(video_id, name) for label, name in zip(found.labels.tolist(), found.names)}
    for row, label in zip(found.to_dicts(), found.labels.tolist()):
        verb, noun = ids[label]
        pair = {"verb": verb, "noun": noun, "action": f"{verb},{noun}"}
        rows.append({**pair, "score": row["score"], "segment": row["segment"]})
    return rows


def _ids(name):
    """The ids of verb and noun in the name of an action; None if it is none of the challenge."""
    match = _ACTION.fullmatch(name)
    ids = match and (int(match[1]), int(match[2]))
    return ids if ids and ids[0] < NUM_VERBS and ids[1] < NUM_NOUNS else None


def _pair(video_id, name):
    ids = _ids(name)
    if not ids:
        raise UserError(
            f"Video {video_id!r} has a detection of class {name!r:.100}, but a submission to "
            f"EPIC-KITCHENS-100 has actions, {_FIX}"
        )
    return ids


def _ego4d_rows(video_id, found):
    if len(found) and not found.class_names:
        raise UserError(
            f"The detections of video {video_id!r} have no class names, which a submission to "
            "Ego4D needs: create the model with class_names."
        )
    return found.to_dicts()
