"""Which videos train, which validate and which test: a split, and the file that holds it.

The file is a CSV table `video,subset`. It lies beside a configuration (`data.split`), so that
nobody's own table is written to, and says for its videos what that table does not, or otherwise.
"""

import csv
import dataclasses
import os

import numpy as np

from keras_actionformer.containers.csv_files import read_rows
from keras_actionformer.data.annotations import Annotations
from keras_actionformer.errors import UserError, suggest
from keras_actionformer.files import atomic_write, read_text

# Of few groups of videos many orders are tried; of thousands any comes near to the shares.
_MOST_ORDERS, _TRIED_GROUPS = 32, 3200


def split_videos(videos, shares, groups=None, seed=0):
    """Assigns videos to subsets so that each gets its share of every class, as far as possible.

    Groups of videos (by default each video is one) go in a random order, those with the most
    actions first, to the subset that lacks most of what the group holds: by actions and seconds of
    each class, of which the rarest counts most, then by number of videos. Every subset gets one
    group at least. Of several random orders, where there are few groups, that one is taken whose
    subsets come nearest to their shares.

    Args:
      videos: sequence of `Video`.
      shares: dict of subset to float, its share of the actions, in sum 1.
      groups: dict of video id to what keeps it together with others, such as a subject; or None.
      seed: int.

    Returns:
      dict of video id to subset, in the order of `videos`.

    Raises:
      UserError: there are fewer groups than subsets.
    """
    group_of = {v.video_id: v.video_id if groups is None else groups[v.video_id] for v in videos}
    members = {}
    for video in videos:
        members.setdefault(group_of[video.video_id], []).append(video)
    if len(members) < len(shares):
        raise UserError(
            f"There are {len(members)} groups of videos, too few for {len(shares)} subsets "
            f"({', '.join(shares)})."
        )
    num_classes = 1 + max((int(v.labels.max()) for v in videos if len(v.labels)), default=0)
    counts = {name: _counts(group, num_classes) for name, group in members.items()}
    total = sum(counts.values())
    weights = 1 / np.maximum(total, 1)  # a class counts as much as any other, however rare
    wanted = {subset: share * total for subset, share in shares.items()}
    rng = np.random.default_rng([seed])
    names, found = list(members), []
    for _ in range(min(_MOST_ORDERS, max(1, _TRIED_GROUPS // len(names)))):
        order = [names[i] for i in rng.permutation(len(names))]
        order.sort(key=lambda name: -counts[name][:num_classes].sum())
        found.append(_assign(order, counts, wanted, weights))
    _, subset_of = min(found, key=lambda pair: pair[0])
    return {video.video_id: subset_of[group_of[video.video_id]] for video in videos}


def _assign(order, counts, wanted, weights):
    """Assigns groups in an order.

    Args:
      order: list of names of groups.
      counts: dict of name to `_counts` of the group.
      wanted: dict of subset to what it should get, as `_counts`.
      weights: float (2 K + 1,), what each count is worth.

    Returns:
      (float, how far the subsets are from what they should get; dict of name to subset).
    """
    lacking, subset_of = dict(wanted), {}
    num_videos = sum(counts.values())[-1]
    for place, name in enumerate(order):
        empty = [subset for subset in wanted if subset not in subset_of.values()]
        # The last groups go where there is none yet.
        open_subsets = empty if len(order) - place <= len(empty) else list(wanted)
        subset_of[name] = subset = max(
            open_subsets,
            key=lambda subset: (
                float(weights @ np.minimum(counts[name], np.maximum(lacking[subset], 0)))
                + 1e-3 * float(lacking[subset][-1]) / num_videos
            ),
        )
        lacking[subset] = lacking[subset] - counts[name]
    return sum(float(weights @ np.abs(lack)) for lack in lacking.values()), subset_of


def _counts(group, num_classes):
    """Actions of each class, seconds of each class, and videos, of a group."""
    labels = np.concatenate([np.zeros(0, np.int64), *(video.labels for video in group)])
    lengths = [np.diff(video.segments_sec)[:, 0] for video in group]
    seconds = np.bincount(labels, np.concatenate(lengths), minlength=num_classes)
    return np.concatenate([np.bincount(labels, minlength=num_classes), seconds, [len(group)]])


# === Files ===


def save_split(path, subset_of):
    """Writes a split.

    Args:
      path: str or `os.PathLike`.
      subset_of: dict of video id to subset.
    """
    with atomic_write(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["video", "subset"])
        writer.writerows(subset_of.items())


def load_split(path: str | os.PathLike[str]) -> dict[str, str]:
    """Reads a split.

    Args:
      path: str or `os.PathLike`, a CSV file with the columns `video` and `subset`.

    Returns:
      dict of video id to subset.

    Raises:
      UserError: the file is no such table, or names a video twice.
    """
    rows, _ = read_rows(f"Split file '{path}'", read_text(path, "Split file"))
    if not rows or [cell.strip().lower() for cell in rows[0][1]] != ["video", "subset"]:
        raise UserError(f"Split file '{path}' must begin with the line video,subset.")
    subset_of = {}
    for line, row in rows[1:]:
        if len(row) != 2 or not all(cell.strip() for cell in row):
            raise UserError(
                f"Split file '{path}', line {line}: expected a video and its subset, got "
                f"{','.join(row)!r}."
            )
        video, subset = (cell.strip() for cell in row)
        if video in subset_of:
            raise UserError(f"Split file '{path}', line {line}: {video!r} has a line already.")
        subset_of[video] = subset
    return subset_of


def with_split(annotations, subset_of, path):
    """Returns `Annotations` whose videos have the subsets of a split; others keep their own.

    Args:
      annotations: `Annotations`.
      subset_of: dict of video id to subset.
      path: the split's file, for the message.

    Raises:
      UserError: the split names a video that the annotations lack.
    """
    known = [video.video_id for video in annotations.videos]
    for name in subset_of:
        if name not in set(known):
            raise UserError(
                f"Split file '{path}' names the video {name!r}, which the annotations lack"
                f"{suggest(name, known) or '.'}"
            )
    videos = (
        dataclasses.replace(video, subset=subset_of.get(video.video_id, video.subset))
        for video in annotations.videos
    )
    return Annotations(tuple(videos), annotations.class_names)
