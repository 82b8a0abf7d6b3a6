"""Several models as one: what their networks say at every point is put together before any of it
is chosen.

`Ensemble` takes the mean of models of the same classes, as OpenTAD does for its entries to
challenges (its `fuse_list`): of the scores of a point, in 0..1, and of the distances to start and
end. `actions.VerbNounModel` joins a model of verbs and one of nouns.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from keras import ops

from keras_actionformer.checks import shown
from keras_actionformer.data.encoder_records import check_same_encoder
from keras_actionformer.detection.decode import LARGEST
from keras_actionformer.detection.detectors import Detectors, detect_with, raw_with
from keras_actionformer.errors import UserError

if TYPE_CHECKING:
    import numpy.typing as npt

    from keras_actionformer.detection.detections import Detections
    from keras_actionformer.detection.detector import Detector
    from keras_actionformer.detection.raw_outputs import RawOutputs
    from keras_actionformer.model import ActionFormer

# What decides where the points of a network lie, how far it sees, and so how a sequence is padded
# and cut: models that are put together have these in common. Others, such as widths, may differ.
_COMMON = (
    "input_dim", "backbone_type", "backbone_arch", "scale_factor", "embd_kernel_size",
    "n_mha_win_size", "use_abs_pe", "fpn_type", "fpn_start_level", "head_kernel_size",
    "head_num_layers", "points_at_centers", "max_seq_len", "force_upsampling", "resize_method",
    "resize_longer",
)  # fmt: skip


class CombinedModel:
    """Models that see the same features, as one that detects.

    Attributes:
      models: tuple of `ActionFormer`, or of what is several as one itself.
      architecture: `Architecture` of the first one, of which `_COMMON` is what all have.
      postprocess: `PostProcess` of the first one, may be set.
      grid: `FeatureGrid` of all, or None.
      encoder: dict, the record of what computed the features, or None.
      class_names: tuple of str, of what it detects.
      thresholds: None: scores of several are other ones than those that any of them was tuned on.

    Raises:
      UserError: the models differ in what they must have in common; the message names it.
    """

    def __init__(
        self,
        models: Sequence[ActionFormer | CombinedModel],
        class_names: Sequence[str],
        detectors: Detectors | None = None,
    ) -> None:
        first, *others = self.models = tuple(models)
        for i, model in enumerate(others, start=2):
            _check_alike(first, model, i)
        self.architecture = first.architecture
        self.postprocess = first.postprocess
        self.grid = first.grid
        self.encoder = next((model.encoder for model in self.models if model.encoder), None)
        self.class_names = tuple(class_names)
        self.thresholds = None
        self._detectors = detectors or Detectors()

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of the levels that have points, in steps."""
        return self.architecture.strides

    @property
    def layers(self) -> list[Any]:
        """The layers of all models."""
        return [layer for model in self.models for layer in model.layers]

    @property
    def variables(self) -> list[Any]:
        """The variables of all models."""
        return [variable for model in self.models for variable in model.variables]

    def padded_outputs(self, feats: Any, mask: Any, present: Any) -> tuple[Any, Any]:
        """Raw outputs as `ActionFormer.padded_outputs` has them, of all models together."""
        raise NotImplementedError

    def detect(
        self, feats: npt.ArrayLike | Iterable[npt.ArrayLike], **options: Any
    ) -> Detections | Any:
        """Detects actions in one sequence of features or in many.

        Args:
          feats: (T, C) float array, or several, of the features that all models take.
          **options: the others of `ActionFormer.detect`.

        Returns:
          As `ActionFormer.detect`, and so are its errors.
        """
        return detect_with(self, feats, **options)

    def detector(
        self, max_detections: int | None = None, jit_compile: bool | None = None
    ) -> Detector:
        """Returns the `Detector` that `detect` uses, see `ActionFormer.detector`."""
        return self._detectors.get(self, max_detections, jit_compile)


class Ensemble(CombinedModel):
    """The mean of several models of the same classes.

    At every point it is the mean of their scores (after the sigmoid) and of the segments that they
    see; candidates are chosen from it and suppressed with the settings of the first model.

    Example:

    ```python
    model = Ensemble([ActionFormer.from_preset(f"runs/seed_{i}") for i in range(3)])
    found = model.detect(feats)
    ```

    Args:
      models: sequence of `ActionFormer`, one or more, of the same classes, the same timing and the
        same pyramid; their widths and weights may differ.

    Raises:
      UserError: the models differ in what they must have in common; the message names it.
    """

    def __init__(self, models: Sequence[ActionFormer]) -> None:
        models = tuple(models)
        if not models:
            raise UserError("An Ensemble needs a model or more, but there is none.")
        super().__init__(models, models[0].class_names)
        for i, model in enumerate(models[1:], start=2):
            _check_classes(models[0], model, i)

    def raw(
        self, feats: npt.ArrayLike | Iterable[npt.ArrayLike], **options: Any
    ) -> RawOutputs | Any:
        """Tells the mean at every point, see `ActionFormer.raw`."""
        return raw_with(self, feats, **options)

    def padded_outputs(self, feats: Any, mask: Any, present: Any) -> tuple[Any, Any]:
        """The mean offsets, and the logits of the mean scores."""
        logits, offsets = zip(*(m.padded_outputs(feats, mask, present) for m in self.models))
        logits = [ops.cast(x, "float32") for x in logits]
        return _logits_of_mean(logits), mean_of([ops.cast(x, "float32") for x in offsets])


def mean_of(tensors):
    """The mean of tensors of one shape."""
    return functools.reduce(ops.add, tensors) / len(tensors)


def _logits_of_mean(logits):
    """The logits of the mean of sigmoids.

    In logarithms, as a score near 1 has no digits left for its distance from it.

    Args:
      logits: list of tensors of one shape, float32; where one is NaN or infinite, NaN comes out.
    """
    finite = functools.reduce(ops.logical_and, [ops.abs(x) <= LARGEST for x in logits])
    logits = [ops.where(finite, x, ops.zeros_like(x)) for x in logits]
    present, absent = (
        functools.reduce(ops.logaddexp, [ops.log_sigmoid(sign * x) for x in logits])
        for sign in (1.0, -1.0)
    )
    return ops.where(finite, present - absent, float("nan"))


# === What models must have in common ===


def _check_alike(first, model, number):
    """Raises UserError where a model sees other points, or other features, than the first one.

    Args:
      first, model: models.
      number: int, which model it is, from 1.
    """
    for name in _COMMON:
        ours, theirs = (getattr(x.architecture, name) for x in (first, model))
        if ours != theirs:
            raise UserError(
                f"Model {number} has {name}={shown(theirs)}, but the first has {shown(ours)}: "
                "models are put together point by point, and need the same points; train them "
                f"with the same {name}."
            )
    if model.grid != first.grid:
        raise UserError(
            f"Model {number} has the timing {model.grid}, but the first has {first.grid}: train "
            "them on the same features."
        )
    check_same_encoder(
        f"Model {number}", model.encoder, first.encoder, "{name} of the first", "train them on the "
        "same features",
    )  # fmt: skip
    if model.postprocess.spread_duration != first.postprocess.spread_duration:
        raise UserError(
            f"Model {number} has spread_duration={model.postprocess.spread_duration}, but the "
            f"first has {first.postprocess.spread_duration}: their times would differ."
        )


def _check_classes(first, model, number):
    """Raises UserError where a model has other classes than the first one."""
    ours, theirs = first.architecture.num_classes, model.architecture.num_classes
    if ours != theirs:
        raise UserError(
            f"Model {number} has {theirs} classes, but the first has {ours}: take models of the "
            "same classes."
        )
    names = zip(first.class_names, model.class_names)
    for label, (ours, theirs) in enumerate(names):
        if ours != theirs:
            raise UserError(
                f"Model {number} calls class id {label} {theirs!r}, but the first calls it "
                f"{ours!r}: take models of the same classes, in the same order."
            )
