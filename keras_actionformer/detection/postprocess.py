"""Settings of what happens between the heads' outputs and detections. Does not load Keras."""

import dataclasses

from keras_actionformer.checks import choice, flag, number, shown, whole
from keras_actionformer.errors import UserError

_KINDS = {float: number, int: whole, bool: flag}
_MAX_COUNT = 100_000  # suppression takes a round for each detection: a file must not ask for days
NMS_METHODS = ("soft", "improved", "linear", "vanilla")  # those that make scores fall
_MIN_SIGMA = 1e-6  # tIoU^2 / sigma stays a number in float32


@dataclasses.dataclass(frozen=True)
class PostProcess:
    """Settings from scores and offsets to detections; the names are the reference's.

    Attributes:
      pre_nms_thresh: candidates must score above this.
      pre_nms_topk: most candidates of one level.
      topk_per_level: bool; False takes `pre_nms_topk` of all levels together (OpenTAD).
      duration_thresh: candidates must be longer than this, in grid steps; below 0 keeps those
        without any length, too (OpenTAD).
      nms_method: how candidates that overlap a better one fare. `"soft"`: scores fall by a factor
        of `exp(-tIoU^2 / sigma)`; `"improved"`: where the tIoU reaches a limit that grows with the
        better one's length; `"linear"`: by one of `1 - tIoU`, where it reaches `iou_threshold`;
        `"vanilla"`: to 0 there; `"hard"`: they are dropped there, and first of all what does not
        exceed `min_score`; `"none"`: every candidate is kept, level by level. (`"improved"`,
        `"linear"` and `"vanilla"` are OpenTAD's methods 3, 1 and 0.)
      multiclass_nms: bool, suppress within a class only; otherwise across classes.
      iou_threshold: tIoU with a better candidate, see `nms_method`; `"soft"` has none.
      iou_threshold_per_step: of `"improved"`, what a step of the better one's length adds to it (a
        second, where windows are put together).
      nms_sigma: sigma of `"soft"` and `"improved"`.
      min_score: NMS drops candidates whose score falls below this (soft; the best one of a
        class stays) or does not exceed this (hard).
      max_seg_num: most detections of a sequence.
      voting_thresh: class-agnostic NMS only: boundaries become a score-weighted mean of the
        candidates whose tIoU reaches this; 0 turns it off.
      voting_by_tiou: bool, a vote weighs score times tIoU; False: the score alone (OpenTAD).
      drop_empty: bool, leave out what has no length once it is clipped to the sequence's time:
        detections before its start or past its end. The reference keeps them, at 0 or the end.
      spread_duration: bool, of a model that resizes (`force_upsampling`): its steps share out the
        sequence's duration from 0 s on, and not the frames that features have seen (OpenTAD).
      round_results: bool, seconds have 2 decimals and scores 4, those of windows already before
        suppression (OpenTAD).
      sliding_steps: int, length of the windows that `detect` cuts longer sequences to where it is
        not told, or 0 for whole sequences.
      sliding_overlap: float in [0, 1), the part of a window that the next one repeats.
      sliding_reaches_end: bool; False cuts as many windows as whole strides fit into the sequence,
        whose end may stay unseen then (OpenTAD).

    Raises:
      UserError: a value is of another type or out of its range.
    """

    pre_nms_thresh: float = 0.001
    pre_nms_topk: int = 5000
    topk_per_level: bool = True
    duration_thresh: float = 0.05
    nms_method: str = "soft"
    multiclass_nms: bool = True
    iou_threshold: float = 0.1
    iou_threshold_per_step: float = 0.0
    nms_sigma: float = 0.5
    min_score: float = 0.01
    max_seg_num: int = 1000
    voting_thresh: float = 0.75
    voting_by_tiou: bool = True
    drop_empty: bool = True
    spread_duration: bool = False
    round_results: bool = False
    sliding_steps: int = 0
    sliding_overlap: float = 0.5
    sliding_reaches_end: bool = True

    def __post_init__(self):
        choice("nms_method", self.nms_method, *NMS_METHODS, "hard", "none")
        for field in dataclasses.fields(self):
            if field.type in _KINDS:
                value = _KINDS[field.type](field.name, getattr(self, field.name))
                object.__setattr__(self, field.name, value)  # the way round `frozen`
        if self.sliding_steps < 0:
            raise UserError(f"sliding_steps must be 0 or more, but is {self.sliding_steps}.")
        if not 0 <= self.sliding_overlap < 1:
            raise UserError(f"sliding_overlap must lie in [0, 1), but is {self.sliding_overlap}.")
        for name in ("pre_nms_topk", "max_seg_num"):
            count = getattr(self, name)
            if not 1 <= count <= _MAX_COUNT:
                raise UserError(
                    f"{name} must be at least 1 and at most {_MAX_COUNT}, but is {shown(count)}."
                )
        for name in ("pre_nms_thresh", "iou_threshold", "min_score", "voting_thresh"):
            if getattr(self, name) > 1:
                raise UserError(
                    f"{name} must be at most 1, for so are scores and tIoU, but is "
                    f"{shown(getattr(self, name))}."
                )
        if self.nms_sigma < _MIN_SIGMA:
            raise UserError(
                f"nms_sigma must be above 0 ({_MIN_SIGMA:g} or more), but is {self.nms_sigma:g}."
            )
