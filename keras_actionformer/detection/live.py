"""Detections of a sequence that goes on, told when what comes later does not change them.

What the network computes for a point depends on the steps of its receptive field (tiles.py), and
what suppression makes of a candidate on those that overlap it. So once no action is longer than a
known length, a detection is settled a fixed number of steps after its end: when all points are
computed that can have a candidate which overlaps it, or one that overlaps such a one.
"""

import numpy as np

from keras_actionformer.checks import positive_whole
from keras_actionformer.detection.detections import Detections
from keras_actionformer.detection.seconds import clipped_sec
from keras_actionformer.detection.tiles import receptive_fields, tile_overlap, why_not_tiles
from keras_actionformer.errors import UserError

# An action of the last level, which has no end, may be so many times as long as its shortest.
_LONGEST = 2
# Actions before what is told that are looked at again for what they suppress.
_LOOK_BACK = 3


def longest_steps(architecture):
    """Steps that no action is taken to be longer than: twice the shortest of the last level."""
    low, high = architecture.regression_range[-1]
    return int(np.ceil(_LONGEST * 2 * low)) or architecture.max_seq_len


def settled_after(architecture, longest):
    """Steps after the end of a detection from which on nothing that comes changes it.

    Args:
      architecture: `Architecture`.
      longest: int, steps of the longest action.

    Raises:
      UserError: its points see all of a sequence.
    """
    problem = why_not_tiles(architecture)
    if problem is not None:
        raise UserError(
            f"The model can only detect in sequences that have ended, because {problem}."
        )
    return max(after for _, after in receptive_fields(architecture)) + 2 * longest


class LiveDetector:
    """Takes features as they come, and gives each detection once, when it is settled.

    With `delay` of `settled_after` detections are those of `detect` on the whole sequence, but
    where better and better ones overlap each other over more than two actions from here, and but
    for `pre_nms_topk` and `max_seg_num`, which count what is looked at and not all of the sequence.
    With a shorter one the last of them are found as if the sequence ended here.

    Args:
      model: `ActionFormer`.
      grid: `FeatureGrid` of the features.
      longest: int, steps of the longest action, or None for `longest_steps`.
      delay: int, steps from the end of a detection until it is told; None for `settled_after`.
      score_threshold: see `Detections.filter`.

    Raises:
      UserError: the model sees all of a sequence at once, or windows of it, or a number is out of
        its range.
    """

    def __init__(self, model, grid, longest=None, delay=None, score_threshold=None):
        architecture = model.architecture
        if model.postprocess.sliding_steps:
            raise UserError(
                "The model can only detect in sequences that have ended, because it cuts them to "
                "windows (sliding_steps)."
            )
        if longest is None:
            longest = longest_steps(architecture)
        self.longest = positive_whole("longest", longest)
        settled = settled_after(architecture, self.longest)
        self.delay = settled if delay is None else positive_whole("delay", delay)
        self._model, self._grid, self._threshold = model, grid, score_threshold
        self._stride, self._left = architecture.coarsest_stride, tile_overlap(architecture)[0]
        self._tail = _Tail(architecture.channels)
        self._told = -np.inf  # detections that end by this step have been told

    def add(self, feats):
        """Takes the next steps, (n, C) numbers; returns `Detections` that are settled now."""
        self._tail.add(np.asarray(feats, "float32"))
        until = len(self._tail) - self.delay
        return self._tell(until) if until > 0 else self._none()

    def finish(self, duration_sec=None):
        """The sequence has ended; returns the `Detections` that were not told yet."""
        return self._tell(np.inf, duration_sec) if len(self._tail) else self._none()

    def _tell(self, until, duration_sec=None):
        first_kept = self._first_kept()
        start = max(first_kept - self._left, 0)
        detector = self._model.detector()
        segments, scores, labels = detector.detect_tail(self._tail, start, first_kept)
        if np.isnan(scores).any():
            raise UserError(
                "The network computes NaN or infinite numbers: are the features such as the model "
                "was trained on?"
            )
        segments = segments.astype("float64") + start
        is_new = (self._told < segments[:, 1]) & (segments[:, 1] <= until)
        self._told = until
        if until < np.inf:
            self._tail.forget(max(self._first_kept() - self._left, 0))
        segments_sec = clipped_sec(segments[is_new], self._grid, duration_sec)
        names = self._model.class_names
        found = Detections(segments_sec, scores[is_new], labels[is_new], names)
        found = found[segments_sec[:, 0] < segments_sec[:, 1]].filter(min_score=self._threshold)
        return found[np.argsort(found.segments_sec[:, 1], kind="stable")]

    def _first_kept(self):
        """The first step whose points can matter to what is not told yet."""
        if self._told == -np.inf:
            return 0
        step = max(int(self._told) - _LOOK_BACK * self.longest, 0)
        return step // self._stride * self._stride

    def _none(self):
        return Detections(np.zeros((0, 2)), [], [], self._model.class_names)


class _Tail:
    """A sequence (T, C) of which only the end is kept."""

    ndim = 2

    def __init__(self, channels):
        self._first, self._kept = 0, np.zeros((0, channels), "float32")

    def __len__(self):
        return self._first + len(self._kept)

    @property
    def shape(self):
        return len(self), self._kept.shape[1]

    def add(self, feats):
        self._kept = np.concatenate([self._kept, feats])

    def forget(self, first):
        """Forgets the steps before one."""
        self._kept = self._kept[first - self._first :]
        self._first = first

    def __getitem__(self, steps):
        return self._kept[steps.start - self._first : steps.stop - self._first]
