"""Several models as one: what their networks say at every point is put together before any of it
is chosen.

`Ensemble` takes the mean of models of the same classes, as OpenTAD does for its entries to
challenges (its `fuse_list`): of the scores of a point, in 0..1, and of the distances to start and
end. `actions.VerbNounModel` joins a model of verbs and one of nouns.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
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

    Args:
      models: dict of what messages call a model to an `ActionFormer` or several as one.
      class_names: sequence of str, of what is detected.
      detectors: `Detectors`, where it is not to be the usual one.

    Attributes:
      models: tuple of them.
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
        models: Mapping[str, ActionFormer | CombinedModel],
        class_names: Sequence[str],
        detectors: Detectors | None = None,
    ) -> None:
        first, *others = models
        for name in others:
            _check_alike(models[first], first, models[name], name)
        first, *_ = self.models = tuple(models.values())
        self.architecture = first.architecture
        self.postprocess = first.postprocess
        self.grid = first.grid
        self.encoder = next((model.encoder for model in self.models if model.encoder), None)
        self.class_names = tuple(class_names)
        self.thresholds = None
        self._networks = [m if isinstance(m, CombinedModel) else _Network(m) for m in self.models]
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
        outputs = [network.padded_outputs(feats, mask, present) for network in self._networks]
        logits, offsets = zip(*outputs)
        return self._joined(logits), functools.reduce(ops.add, offsets) / len(offsets)

    def _joined(self, logits):
        """What is decoded of the logits (B, P, K) of each model, float32."""
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
        named = {f"model {i}": model for i, model in enumerate(models, start=1)}
        if not named:
            raise UserError("An Ensemble needs a model or more, but there is none.")
        first = named["model 1"]
        super().__init__(named, first.class_names)
        for name, model in named.items():
            _check_classes(first, model, name)

    def raw(
        self, feats: npt.ArrayLike | Iterable[npt.ArrayLike], **options: Any
    ) -> RawOutputs | Any:
        """Tells the mean at every point, see `ActionFormer.raw`."""
        return raw_with(self, feats, **options)

    def _joined(self, logits):
        return _logits_of_mean(logits)


class _Network(keras.layers.Layer):
    """A model as one layer, for in a graph of several no two layers may have the same name.

    Args:
      model: `ActionFormer`.
    """

    def __init__(self, model):
        super().__init__(dtype="float32", autocast=False)
        self.model = model

    def padded_outputs(self, feats, mask, present):
        """`ActionFormer.padded_outputs` in float32."""
        return self(feats, mask, present)

    def call(self, feats, mask, present):
        return tuple(
            ops.cast(x, "float32") for x in self.model.padded_outputs(feats, mask, present)
        )

    def compute_output_spec(self, feats, mask, present):
        batch, num_classes = feats.shape[0], self.model.architecture.num_classes
        return tuple(keras.KerasTensor((batch, None, n), "float32") for n in (num_classes, 2))


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


def _check_alike(first, its_name, model, name):
    """Raises UserError where a model sees other points, or other features, than the first one.

    Args:
      first, model: models.
      its_name, name: str, what messages call them.
    """
    differing = {
        field: (getattr(model.architecture, field), getattr(first.architecture, field))
        for field in _COMMON
    }
    differing |= {
        f"grid.{field}": (getattr(model.grid, field, None), getattr(first.grid, field, None))
        for field in ("fps", "stride_frames", "window_frames")
    }
    ours, theirs = (x.postprocess.spread_duration for x in (first, model))
    differing["postprocess.spread_duration"] = theirs, ours
    for field, (theirs, ours) in differing.items():
        if theirs != ours:
            raise UserError(
                f"{name[0].upper()}{name[1:]} has {field}={shown(theirs)}, but {its_name} has "
                f"{shown(ours)}: models are put together point by point, so train them on the same "
                f"features with the same {field}."
            )
    check_same_encoder(
        f"{name[0].upper()}{name[1:]}",
        model.encoder,
        first.encoder,
        f"{{name}} of {its_name}",
        "train them on the same features",
    )


def _check_classes(first, model, name):
    """Raises UserError where a model has other classes than the first one."""
    ours, theirs = first.architecture.num_classes, model.architecture.num_classes
    if ours != theirs:
        raise UserError(
            f"{name.capitalize()} has {theirs} classes, but model 1 has {ours}: take models of the "
            "same classes."
        )
    for label, (ours, theirs) in enumerate(zip(first.class_names, model.class_names)):
        if ours != theirs:
            raise UserError(
                f"{name.capitalize()} calls class id {label} {theirs!r}, but model 1 calls it "
                f"{ours!r}: take models of the same classes, in the same order."
            )
