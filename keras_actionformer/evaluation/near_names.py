"""Names of videos and classes that two files mean alike and write differently.

Such detections score 0, as if all were wrong, and nothing but the names says why.
"""

import re

from keras_actionformer.checks import shown
from keras_actionformer.data.entries import MEDIA_SUFFIXES, file_name
from keras_actionformer.data.feature_files import FILE_SUFFIXES, HDF5_SUFFIXES
from keras_actionformer.errors import UserError

_MOST_EXAMPLES = 3
_SUFFIXES = MEDIA_SUFFIXES | {"json", *(x.lstrip(".") for x in FILE_SUFFIXES + HDF5_SUFFIXES)}
_PREFIX = re.compile(r"^v[\W_]+")
_SEPARATORS = re.compile(r"(?<=[^\W_])[\W_]+(?=[^\W_])")
_LEADING_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")


def check_names(ground_truth, detections, class_names):
    """Raises UserError where most names of one side have a near twin on the other.

    Two ids of videos are twins if they differ in case, folder, ending, leading zeros, separators or
    a leading "v_" alone; two names of classes, in case or separators. A class id written as a text
    is a twin of the class, and ids that all are one too large are the next classes' twins.

    Args:
      ground_truth: sequence of `annotations.Video`.
      detections: dict, video id to `Detections`.
      class_names: tuple of str, index = label id; may end before the last class.
    """
    check_video_names(ground_truth, detections)
    true_ids = {label for video in ground_truth for label in video.labels.tolist()}
    found_ids = {label for found in detections.values() for label in found.labels.tolist()}
    named = dict(enumerate(class_names))
    of_numbers = {str(i): class_twin(name) for i, name in named.items()}
    if any(name in of_numbers for name in map(named.get, true_ids)):
        of_numbers = {}  # the classes are called by numbers
    _refuse_twins(
        "classes",
        {named[i] for i in true_ids if i in named},
        {named[i] for i in found_ids if i in named},
        lambda name: of_numbers.get(name.strip(), class_twin(name)),
    )
    # Without names, nobody knows whether there are classes that the ground truth lacks.
    ids = set(named) or true_ids
    has_all = bool(named) or len(found_ids) == len(ids)
    if ids and found_ids and has_all and 0 not in found_ids and max(found_ids) == max(ids) + 1:
        raise UserError(
            f"The detections have the class ids {min(found_ids)} to {max(found_ids)}, but those of "
            f"the ground truth begin with 0, and the last is {max(ids)}: subtract 1 from the "
            "detections' ids, or write the classes' names."
        )


def check_video_names(ground_truth, detections):
    """As `check_names`, of videos alone."""
    _refuse_twins("videos", {video.video_id for video in ground_truth}, set(detections), video_twin)


def _refuse_twins(kind, true, found, twin):
    """Raises UserError where most of the names `true` or most of `found` have a twin.

    Args:
      kind: str, what has the names.
      true, found: sets of str.
      twin: callable, from a name to what it shares with its twins.
    """
    true_of = {twin(name): name for name in sorted(true - found)}
    pairs = [(true_of[twin(name)], name) for name in sorted(found - true) if twin(name) in true_of]
    num_twins = len({name for name, _ in pairs})
    if 2 * num_twins > len(true) or 2 * len(pairs) > len(found):
        examples = ", ".join(f"{shown(b)} for {shown(a)}" for a, b in pairs[:_MOST_EXAMPLES])
        raise UserError(
            f"The detections write the names of {kind} in another way than the ground truth: "
            f"{examples}{', ...' if len(pairs) > _MOST_EXAMPLES else ''} ({len(pairs)} of "
            f"{len(found)}). They would count as others: write them alike."
        )


def video_twin(video_id):
    """What two ids of videos share that are twins, see `check_names`."""
    name = file_name(video_id.strip()).casefold()
    stem, _, suffix = name.rpartition(".")
    if stem and suffix in _SUFFIXES:
        name = stem
    return class_twin(_LEADING_ZEROS.sub("", _PREFIX.sub("", name)))


def class_twin(name):
    """What two names of classes share that differ in case, or in what separates words, alone.

    What a name begins or ends with is a part of it, as in "+1" and "-1", unless it is a space.
    """
    return _SEPARATORS.sub("", name.casefold().strip())
