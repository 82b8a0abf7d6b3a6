"""Losses of a point: focal loss for its classes, distance-IoU loss for its action's extent."""

import keras
from keras import ops

from keras_actionformer.network.points import point_mask, points_of
from keras_actionformer.network.targets import assign_targets

_EPSILON = 1e-8
# Weight of the old value in an update of the average number of positive points.
_MOMENTUM = 0.9


def sigmoid_focal_loss(targets, logits, alpha=0.25, gamma=2.0):
    """Focal loss on independent sigmoid classes (Lin et al. 2017, eq. 4 and 5).

    Args:
      targets: (...) float in [0, 1]; soft targets are allowed.
      logits: (...) float.
      alpha: float, weight of the positive class; below 0 means no weighting.
      gamma: float, focusing exponent.

    Returns:
      (...) float, elementwise loss.
    """
    probability = ops.sigmoid(logits)
    loss = ops.binary_crossentropy(targets, logits, from_logits=True)
    wrongness = 1.0 - (probability * targets + (1.0 - probability) * (1.0 - targets))
    loss = loss * wrongness**gamma
    if alpha >= 0:
        loss = loss * (alpha * targets + (1.0 - alpha) * (1.0 - targets))
    return loss


def diou_loss_1d(targets, offsets):
    """Distance-IoU loss of segments given as offsets from a shared point (Zheng et al. 2020).

    `1 - IoU + (distance of the centers / length of the enclosing segment)^2`.

    Args:
      targets, offsets: (..., 2) float >= 0, distances to start and end.

    Returns:
      (...) float, elementwise loss.
    """
    # Where both are equal the target is taken, as the reference's gradients show.
    intersection = ops.sum(ops.where(offsets < targets, offsets, targets), axis=-1)
    enclosing = ops.sum(ops.where(offsets > targets, offsets, targets), axis=-1)
    union = ops.sum(offsets + targets, axis=-1) - intersection
    center, true_center = (0.5 * (x[..., 1] - x[..., 0]) for x in (offsets, targets))
    distance = (center - true_center) / ops.maximum(enclosing, _EPSILON)
    return 1.0 - intersection / ops.maximum(union, _EPSILON) + distance**2


def training_losses(architecture, mask, actions, outputs, class_weights=None):
    """Assigns targets to the points of a batch, and sums its losses (paper, eq. 7).

    Args:
      architecture: `Architecture`.
      mask: (B, T) bool, T a multiple of the coarsest stride.
      actions: {"segments" (B, N, 2) in grid steps, "labels" (B, N) int, -1 = padding}.
      outputs: {"logits" (B, P, K), "offsets" (B, P, 2)}.
      class_weights: K floats, factors of the classification loss of each class, or None.

    Returns:
      Six scalars: the sums of the classification and of the regression loss, the numbers of
      positive points, of points whose offset to the start, and to the end, is 0, and of all points.
    """
    valid = point_mask(mask, architecture.strides)
    cls_targets, reg_targets = assign_targets(
        points_of(architecture, ops.shape(mask)[1]),
        actions["segments"],
        actions["labels"],
        architecture.num_classes,
        architecture.center_sample,
        architecture.center_sample_radius,
        architecture.point_classes,
    )
    num_positive = ops.sum(ops.cast(positive_points(cls_targets, valid), "float32"))
    losses = detection_losses(
        cls_targets,
        reg_targets,
        outputs["logits"],
        outputs["offsets"],
        valid,
        architecture.label_smoothing,
        class_weights,
    )
    return *losses, num_positive, *point_counts(outputs["offsets"], valid)


def detection_losses(
    cls_targets, reg_targets, logits, offsets, valid, label_smoothing=0.0, class_weights=None
):
    """Sums both losses over the valid points of a batch (paper, eq. 7, without its weights).

    Args:
      cls_targets: (B, P, K) float of zeros and ones.
      reg_targets: (B, P, 2) float, used where a point has a class.
      logits: (B, P, K) float.
      offsets: (B, P, 2) float >= 0.
      valid: (B, P) bool.
      label_smoothing: float; targets become `target * (1 - s) + s / (K + 1)`.
      class_weights: see `training_losses`.

    Returns:
      Classification loss and regression loss, two scalars of float32.
    """
    logits, offsets = ops.cast(logits, "float32"), ops.cast(offsets, "float32")
    num_classes = cls_targets.shape[-1]
    positive = ops.expand_dims(positive_points(cls_targets, valid), -1)
    smooth = cls_targets * (1.0 - label_smoothing) + label_smoothing / (num_classes + 1)
    cls_loss = sigmoid_focal_loss(smooth, logits)
    if class_weights is not None:
        cls_loss = cls_loss * ops.convert_to_tensor(class_weights, "float32")
    cls_loss = ops.sum(cls_loss * ops.cast(ops.expand_dims(valid, -1), "float32"))

    # Elsewhere both segments are (1, 1): a loss of 0 with finite gradients to multiply by 0.
    loss = diou_loss_1d(ops.where(positive, reg_targets, 1.0), ops.where(positive, offsets, 1.0))
    return cls_loss, ops.sum(loss)


def regression_weight(cls_loss, reg_loss, weight):
    """The factor of the regression loss: `weight`, if it is above 0.

    Else the one that makes both parts equally large, as the reference.
    """
    if weight > 0:
        return weight
    return ops.stop_gradient(cls_loss) / ops.maximum(ops.stop_gradient(reg_loss), 0.01)


def point_counts(offsets, valid):
    """Numbers of valid points whose offset to the start, and to the end, is 0, and of all valid.

    Args:
      offsets: (B, P, 2) float >= 0.
      valid: (B, P) bool.

    Returns:
      Three scalars of float32.
    """
    is_zero = ops.cast(offsets <= 0, "float32") * ops.cast(ops.expand_dims(valid, -1), "float32")
    zeros = ops.sum(is_zero, axis=(0, 1))
    return zeros[0], zeros[1], ops.sum(ops.cast(valid, "float32"))


def positive_points(cls_targets, valid):
    """(B, P) bool: valid points with at least one class."""
    return ops.logical_and(ops.max(cls_targets, axis=-1) > 0, valid)


@keras.saving.register_keras_serializable("keras_actionformer")
class PositivesAverage(keras.layers.Layer):
    """Running average of the number of positive points, the normalizer of both losses.

    Args:
      initial: float, value before the first batch.
    """

    def __init__(self, initial, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})  # counts are beyond half precision
        self.initial = initial

    def build(self, num_positive_shape):
        self.value = self.add_weight(
            name="value",
            shape=(),
            dtype="float32",
            initializer=keras.initializers.Constant(self.initial),
            trainable=False,
        )
        self.built = True

    def call(self, num_positive, training=False):
        """Takes in the count (scalar) of a training batch; returns the average."""
        if training:
            count = ops.maximum(ops.cast(num_positive, "float32"), 1.0)
            self.value.assign(_MOMENTUM * self.value + (1.0 - _MOMENTUM) * count)
        return ops.convert_to_tensor(self.value)

    def get_config(self):
        return {**super().get_config(), "initial": self.initial}
