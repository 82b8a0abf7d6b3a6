"""`train.freeze`: the parts of a network that a training leaves as they are."""

import math
import re

from keras_actionformer.checks import entries, shown
from keras_actionformer.errors import UserError, suggest

# What the paths of a part's weights begin with; a number in it is that of a block.
_PARTS = {
    "embedding": r"backbone/(?:proj|embd|embd_norm)_",
    "stem": r"backbone/stem_(\d+)/",
    "branch": r"backbone/branch_(\d+)/",
    "backbone": r"backbone/",
    "neck": r"neck/",
    "cls_head": r"heads/cls_head/",
    "reg_head": r"heads/(?:reg_head/|scale$)",
    "heads": r"heads/",
}
_NUMBERED = ("stem", "branch")


def check_freeze(names):
    """Raises UserError for what `train.freeze` cannot be.

    Args:
      names: what should be a sequence of names of parts: `"embedding"` (of the features, and
        projections of streams), `"stem"` and `"branch"` (the blocks at full length, and the
        strided ones; `"branch:2"` is the first two of them), `"backbone"` (all of these),
        `"neck"`, `"cls_head"`, `"reg_head"`, and `"heads"` (both).
    """
    if entries(names) is None:
        raise UserError(
            f"train.freeze must be a tuple of names, such as ('backbone',), but is {shown(names)}."
        )
    for name in names:
        part, colon, count = str(name).partition(":")
        if part not in _PARTS:
            raise UserError(
                f"train.freeze names {shown(name)}, which is no part of a network"
                f"{suggest(part, _PARTS) or ': there are ' + ', '.join(_PARTS) + '.'}"
            )
        if colon and (part not in _NUMBERED or not re.fullmatch(r"[1-9]\d{0,3}", count)):
            raise UserError(
                f"train.freeze names {shown(name)}, but a number of blocks follows "
                f"{' or '.join(_NUMBERED)} alone, as in 'branch:2'."
            )


def freeze(model, names, new_weights=()):
    """Leaves parts of a network out of its training, and says so; before `compile`.

    Args:
      model: `ActionFormer`.
      names: as for `check_freeze`.
      new_weights: sequence of `NewWeights`, those that did not come from a preset.

    Raises:
      UserError: the network has no such part, one would stay random, or nothing is left to train.
    """
    for name in names:
        part = {v.path: v for v in model.network_weights if _is_in(name, v.path)}
        if not part:
            raise UserError(
                f"train.freeze names {name!r}, of which this network has nothing: leave it out."
            )
        for new in new_weights:
            if not new.paths.isdisjoint(part):
                rest = _parts_without(new.paths, part)
                raise UserError(
                    f"{new.reason} It would stay random, because train.freeze names {name!r}: "
                    + (
                        f"name {' and '.join(map(repr, rest))} instead."
                        if rest
                        else "leave it out."
                    )
                )
        for variable in part.values():
            variable.trainable = False
    if not model.trainable_variables:
        raise UserError(f"train.freeze={tuple(names)} leaves nothing to train: name fewer parts.")
    if names:
        sizes = [(math.prod(v.shape), v.trainable) for v in model.network_weights]
        total, frozen = sum(n for n, _ in sizes), sum(n for n, trainable in sizes if not trainable)
        print(f"Frozen: {', '.join(names)}, {frozen:,} of {total:,} numbers of the network.")


def _is_in(name, path):
    part, _, count = name.partition(":")
    found = re.match(_PARTS[part], path)
    return bool(found) and (not count or int(found[1]) < int(count))


def _parts_without(new_paths, paths):
    """The smallest parts that lie within some paths and have none of others."""
    inside = {
        name: {path for path in paths if _is_in(name, path)}
        for name in _PARTS
        if name not in ("backbone", "heads")
    }
    return [name for name, found in inside.items() if found and found.isdisjoint(new_paths)]
