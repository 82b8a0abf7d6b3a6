"""Sequences of any length in little memory: overlapping tiles that give what one pass gives.

What the network computes for a point depends on the steps of its receptive field alone. So a tile
computes the same as one pass for all points that lie at least this field inside of it. Neighbours
overlap by two fields, every point is taken from the one tile that has all it depends on, and the
candidates are put together as if one pass had found them: a sequence's end is that of its last
tile alone, and the best candidates of a level are those of all tiles.
"""

import dataclasses

import numpy as np

from keras_actionformer.checks import whole
from keras_actionformer.data.arrays import read_steps
from keras_actionformer.errors import UserError
from keras_actionformer.network.points import padded_length

# Longer sequences run in tiles of this length; with the settings of THUMOS14 a tenth overlaps.
DEFAULT_STEPS = 16384


@dataclasses.dataclass(frozen=True)
class Tile:
    """A stretch of a sequence that the network runs on, and the part of it that counts.

    Attributes:
      start, stop: ints, the steps `start <= step < stop`.
      first_kept, stop_kept: ints; points at other steps belong to a neighbour.
    """

    start: int
    stop: int
    first_kept: int
    stop_kept: int


def why_not_tiles(architecture):
    """Tells why no part of a sequence can be seen alone, the end of a sentence; None where it can.

    Args:
      architecture: `Architecture`.
    """
    if architecture.force_upsampling:
        return "it resizes all of a sequence to one length (force_upsampling)"
    if architecture.resize_longer:
        return "it resizes long sequences (resize_longer)"
    if architecture.use_abs_pe:
        return "its position embedding tells where in a sequence a step lies (use_abs_pe)"
    if any(block.window <= 1 for block in architecture.blocks if block.window is not None):
        return "some of its attention sees all steps (n_mha_win_size)"
    return None


def receptive_fields(architecture):
    """How far the points of a level see.

    The numbers are exact: the step that many before (or after) some point of the level still
    matters to it, and none further away does to any.

    Args:
      architecture: `Architecture` for which `why_not_tiles` is None.

    Returns:
      list of (int, int), for each level that has points: steps before the point, steps after it.
    """
    side = architecture.backbone_arch[0] * (architecture.embd_kernel_size // 2)
    sides = {1: side}  # of the last block at a stride
    for block in architecture.blocks:
        if block.window is None:  # two convolutions, the first of them strided
            side += block.stride_in + block.stride_out
        else:  # convolutions and pooling, which see half a stride or more, and then attention
            kernel = max(1, block.stride_out // block.stride_in // 2)
            side += kernel * block.stride_in + block.window // 2 * block.stride_out
        sides[block.stride_out] = side

    strides = architecture.strides
    fields = [(sides[stride], sides[stride]) for stride in strides]
    if architecture.fpn_type != "identity":
        # A step takes over that of the next level which begins with it or up to `scale - 1`
        # steps before it; then there is a convolution.
        for level in reversed(range(len(fields) - 1)):
            (left, right), (next_left, next_right) = fields[level : level + 2]
            before = (architecture.scale_factor - 1) * strides[level]
            fields[level] = (max(left, next_left + before), max(right, next_right))
        fields = [
            (left + stride, right + stride)
            for (left, right), stride in zip(fields, strides, strict=True)
        ]
    heads = architecture.head_num_layers * (architecture.head_kernel_size // 2)
    return [
        (left + heads * stride, right + heads * stride)
        for (left, right), stride in zip(fields, strides, strict=True)
    ]


def tile_overlap(architecture):
    """Steps that tiles must see before and after what is kept, multiples of the last stride."""
    stride = architecture.coarsest_stride
    left, right = map(max, zip(*receptive_fields(architecture), strict=True))
    return padded_length(left, stride), padded_length(right, stride)


def tile_length(architecture, tile_steps=None):
    """Chooses the length of the tiles.

    Args:
      architecture: `Architecture`.
      tile_steps: int, the length that is wanted; None: `DEFAULT_STEPS`, or as many as it takes
        for at least half of a tile to count.

    Returns:
      int, a multiple of the coarsest stride, not below `tile_steps`; None where the model cannot
      run in tiles and `tile_steps` is None.

    Raises:
      UserError: the model cannot run in tiles, or in none so short.
    """
    problem, stride = why_not_tiles(architecture), architecture.coarsest_stride
    if tile_steps is None:
        if problem is not None:
            return None
        left, right = tile_overlap(architecture)
        return padded_length(max(DEFAULT_STEPS, 2 * (left + right)), stride)
    tile_steps = whole("tile_steps", tile_steps)
    if problem is not None:
        raise UserError(f"The model cannot run in tiles, because {problem}: leave out tile_steps.")
    left, right = tile_overlap(architecture)
    least = left + right + stride
    if tile_steps < least:
        raise UserError(
            f"tile_steps must be at least {least}, because a point of the model sees {left} steps "
            f"before it and {right} after it, but is {tile_steps}."
        )
    return padded_length(tile_steps, stride)


def plan_tiles(architecture, num_steps, tile_steps):
    """Covers a sequence with tiles of equal length.

    All start at multiples of the coarsest stride, so that they have the points of one pass. The
    last one ends with the sequence.

    Args:
      architecture: `Architecture`.
      num_steps: int, T with its padding, a multiple of the coarsest stride.
      tile_steps: int, from `tile_length`.

    Returns:
      list of `Tile`, ascending; every step is kept once.
    """
    left, right = tile_overlap(architecture)
    last = max(num_steps - tile_steps, 0)
    starts = [*range(0, last, tile_steps - left - right), last]
    edges = [0, *(start + tile_steps - right for start in starts[:-1]), num_steps]
    return [
        Tile(start, min(start + tile_steps, num_steps), *edges[i : i + 2])
        for i, start in enumerate(starts)
    ]


def cut_tile(feats, tile, present_steps):
    """Reads a tile of a sequence and its padding: a batch of one.

    Args:
      feats: (T, C) array-like, of which only the tile is read.
      tile: `Tile`.
      present_steps: int, steps of the sequence that the reference would have (see padding.py).

    Returns:
      dict: "feats" (1, T', C) float32; "mask", "present" and "kept" (1, T') bool: steps that are
      valid, that are present, and that are valid and whose points count.
    """
    step = np.arange(tile.start, tile.stop)
    mask = step < len(feats)
    batch = np.zeros((len(step), feats.shape[1]), "float32")
    batch[: np.count_nonzero(mask)] = read_steps(feats, tile.start, tile.stop)
    kept = mask & (tile.first_kept <= step) & (step < tile.stop_kept)
    arrays = {"feats": batch, "mask": mask, "present": step < present_steps, "kept": kept}
    return {name: array[None] for name, array in arrays.items()}


class BestCandidates:
    """The candidates of all tiles, of which as many are kept as in one pass: of a level, or of all.

    Times are counted from the sequence's start in float32, as one pass counts them, and so they
    are multiples of 1/512 of a step at 20,000 steps and of 1/16 at 10^6 steps, where suppression
    begins to see it in the shortest segments. The last bit of a time may differ from one pass.

    Args:
      settings: `PostProcess`.
      strides: strides of the levels, in steps.
      num_classes: int.
    """

    def __init__(self, settings, strides, num_classes):
        self._settings = settings
        self._strides = strides
        self._num_classes = num_classes
        nothing = np.zeros((0, 2), "float32"), np.zeros(0, "float32"), np.zeros(0, "int32")
        self._groups = [nothing] * (len(strides) if settings.topk_per_level else 1)

    def add(self, tile, segments, scores, labels):
        """Adds what `decode` returns for a tile; tiles come in their order.

        Args:
          tile: `Tile`.
          segments: (N, 2) float32 in steps from the tile's start.
          scores: (N,) float32, 0 where a point does not count; or NaN, which stays.
          labels: (N,) int32.
        """
        segments = (segments.astype("float64") + tile.start).astype("float32")
        limit, first = self._settings.pre_nms_topk, 0
        points = [(tile.stop - tile.start) // stride for stride in self._strides]
        for group, count in enumerate(points if self._settings.topk_per_level else [sum(points)]):
            rows = slice(first, first + min(limit, count * self._num_classes))
            first = rows.stop
            # The others come after all of these and count for nothing.
            counts = ~(scores[rows] <= max(self._settings.pre_nms_thresh, 0.0))
            found = [x[rows][counts] for x in (segments, scores, labels)]
            merged = [np.concatenate(x) for x in zip(self._groups[group], found, strict=True)]
            # Equal scores: the earlier point first, as in one pass.
            best = np.argsort(-np.nan_to_num(merged[1], nan=np.inf), kind="stable")[:limit]
            self._groups[group] = tuple(x[best] for x in merged)

    def valid(self):
        """Segments (N, 2) in steps, scores (N,) and labels (N,): those that may be detected."""
        segments, scores, labels = map(np.concatenate, zip(*self._groups, strict=True))
        # Not before the best are chosen: in one pass, short ones are among them, too.
        duration = segments[:, 1] - segments[:, 0]
        valid = (duration > self._settings.duration_thresh) | np.isnan(scores)
        return segments[valid], scores[valid], labels[valid]
