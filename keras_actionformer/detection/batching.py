"""Batches of sequences of different lengths: which go together, and how far they are padded."""

import itertools

import numpy as np

from keras_actionformer.detection.tiles import DEFAULT_STEPS

# Candidates of windows or tiles are padded to this or its doubles: few shapes to compile for.
LEAST_CANDIDATES = 1024


def round_up(num_steps):
    """The shortest length of few that is at least `num_steps`, and at most an eighth longer.

    64, then eight lengths between a power of two and the next: 72, 80, ... 128, 144, ...
    """
    num_steps = max(num_steps, 64)
    step = 2 ** ((num_steps - 1).bit_length() - 4)
    return -(-num_steps // step) * step


def plan_batches(lengths, batch_size):
    """Groups sequences of similar length, so that little is padded.

    Args:
      lengths: list of ints, steps of each sequence.
      batch_size: int, most sequences of a batch; fewer where they would have more steps together
        than a tile of `DEFAULT_STEPS`.

    Yields:
      List of indices into `lengths`, whose lengths `round_up` to the same.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    for length, group in itertools.groupby(order, key=lambda i: round_up(lengths[i])):
        group, size = list(group), max(1, min(batch_size, DEFAULT_STEPS // length))
        for first in range(0, len(group), size):
            yield group[first : first + size]


def pad_batch(sequences, length=None):
    """Reads (T, C) arrays: `{"feats" (B, length, C) float32, "num_steps" (B,) int32}`.

    `length` is that of the longest by default.
    """
    num_steps = np.array([len(sequence) for sequence in sequences], "int32")
    shape = len(sequences), length or num_steps.max(), sequences[0].shape[1]
    feats = np.zeros(shape, "float32")
    for row, sequence in enumerate(sequences):
        feats[row, : len(sequence)] = sequence[:]
    return {"feats": feats, "num_steps": num_steps}


def pad_candidates(candidates):
    """A batch for `Suppression` of the candidates of several sequences, of one of few lengths.

    Args:
      candidates: list of (segments (N, 2), scores (N,), labels (N,)), one a sequence.

    Returns:
      segments (B, M, 2), scores (B, M), labels (B, M) int32, valid (B, M) bool.
    """
    counts = [len(scores) for _, scores, _ in candidates]
    length = LEAST_CANDIDATES
    while length < max(counts):
        length *= 2
    shape = len(candidates), length
    batch = np.zeros((*shape, 2), "float32"), np.zeros(shape, "float32"), np.zeros(shape, "int32")
    for row, count in enumerate(counts):
        for padded, values in zip(batch, candidates[row], strict=True):
            padded[row, :count] = values
    return *batch, np.arange(length) < np.array(counts)[:, None]
