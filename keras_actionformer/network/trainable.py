"""A network as Keras trains it: its losses, and answers to what `fit` offers and it cannot use."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_actionformer.checks import check_class_weights
from keras_actionformer.errors import UserError
from keras_actionformer.network.adapted_layers import has_lora, quantization
from keras_actionformer.network.architecture import Architecture
from keras_actionformer.network.losses import PositivesAverage, regression_weight, training_losses
from keras_actionformer.network.replicas import sum_over_replicas


class TrainableNetwork(keras.Model):
    """The half of `ActionFormer` that `compile`, `fit`, `evaluate` and `save` need.

    Its inputs, outputs and layers, and the attribute `architecture`, come from there.
    """

    architecture: Architecture
    _class_weights: tuple[float, ...] | None = None

    def _add_losses(self, init_loss_norm):
        """Adds the variables of `compute_loss`; to be called once the network is built."""
        self.positives_average = PositivesAverage(init_loss_norm, name="positives_average")
        self.positives_average.build(())
        self.loss_trackers = tuple(
            keras.metrics.Mean(name=name)
            for name in ("cls_loss", "reg_loss", "zero_starts", "zero_ends")
        )

    @property
    def network_weights(self) -> list[Any]:
        """Variables of the network, frozen ones included, without the loss normalizer."""
        normalizer = self.positives_average.value
        return [variable for variable in self.weights if variable is not normalizer]

    @property
    def recompute(self) -> bool:
        """bool, whether training computes the insides of blocks and heads twice.

        It then keeps only their inputs for the gradient: less memory for a quarter more time.
        To be set before `compile`; a model with dropout cannot, for it would draw twice, too.
        """
        return self.get_layer("heads").recompute

    @recompute.setter
    def recompute(self, value: bool) -> None:
        if value and self.architecture.dropout:
            raise UserError(
                f"recompute needs dropout=0, but dropout={self.architecture.dropout}: what is "
                "computed again would drop something else."
            )
        backbone = self.get_layer("backbone")
        for layer in (*backbone.stem, *backbone.branch, self.get_layer("heads")):
            layer.recompute = value

    @property
    def class_weights(self) -> tuple[float, ...] | None:
        """A factor of the classification loss for each class (any K numbers), or None for none.

        To be set before `compile`. Of a weight of 2 all that is learned of a class counts twice:
        where it is, and where it is not.
        """
        return self._class_weights

    @class_weights.setter
    def class_weights(self, value: Sequence[float] | None) -> None:
        if value is not None:
            value = check_class_weights("class_weights", value, self.architecture.num_classes)
        self._class_weights = value

    def _changes(self):
        """What was done to the network since it was made, for `_change` to do to another one.

        Returns:
          dict: how it is `"quantized"`, and the paths of the weights that are `"frozen"`, if any.

        Raises:
          UserError: see `quantization`.
        """
        mode, trainable = quantization(self.layers), {id(v) for v in self.trainable_variables}
        frozen = [v.path for v in self.network_weights if id(v) not in trainable]
        if has_lora(self.layers):  # which is merged into what is saved; then all of it trains
            frozen = []
        return {**({"quantized": mode} if mode else {}), **({"frozen": frozen} if frozen else {})}

    def _change(self, quantized=None, frozen=()):
        if quantized is not None:
            self.quantize(quantized)
        for variable in self.network_weights:
            if variable.path in frozen:
                variable.trainable = False

    def save(self, filepath: str | os.PathLike[str], *args: Any, **kwargs: Any) -> None:
        """As `keras.Model.save`; what cannot be saved is refused before a file is emptied."""
        quantization(self.layers)
        super().save(filepath, *args, **kwargs)

    def compile(self, optimizer: Any = "rmsprop", **kwargs: Any) -> None:
        """As `keras.Model.compile`, without loss and metrics: `compute_loss` has them."""
        for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
            if kwargs.get(name):
                raise UserError(
                    f"compile({name}=...) has no use here: the model has its own losses "
                    "(loss_weight sets theirs), and mAP is evaluate(videos, detections)."
                )
        super().compile(optimizer, **kwargs)
        # Now and not inside the traced step: averages start from the values of the weights.
        self.optimizer.build(self.trainable_variables)

    def get_compile_config(self) -> dict[str, Any] | None:
        """As `keras.Model`; None with LoRA weights, whose optimizer does not fit what is saved."""
        return None if has_lora(self.layers) else super().get_compile_config()

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """As it was compiled before it was saved; of a `compile` like ours Keras does not know."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.fit`, of what `train_dataset` returns; see there for its form."""
        for name in ("class_weight", "sample_weight"):
            if kwargs.get(name) is not None:
                raise UserError(
                    f"fit({name}=...) weighs whole sequences, which here hold actions of several "
                    "classes: set the model's class_weights before compile."
                )
        self._check_callbacks(**kwargs)
        return super().fit(*args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.evaluate`, of what `train_dataset` returns."""
        self._check_callbacks(**kwargs)
        return super().evaluate(*args, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.predict`: raw outputs of `{"feats", "mask"}`, and no detections."""
        if not isinstance(x, Mapping) and (hasattr(x, "shape") or isinstance(x, list | tuple)):
            raise UserError(
                "predict takes {'feats': (B, T, C), 'mask': (B, T)} and gives raw outputs: "
                "detect(feats) takes sequences of any lengths and gives detections."
            )
        self._check_callbacks(**kwargs)
        return super().predict(x, *args, **kwargs)

    def _check_callbacks(self, callbacks=None, **kwargs):
        """Raises UserError for Keras' callback that swaps weights with averages of their shapes."""
        optimizer = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        for callback in getattr(callbacks, "callbacks", callbacks) or ():
            if isinstance(callback, keras.callbacks.SwapEMAWeights) and hasattr(
                optimizer, "averages"
            ):
                raise UserError(
                    "SwapEMAWeights finds no averages in this optimizer, which keeps them as "
                    "vectors: compile(keras.optimizers.AdamW(..., use_ema=True)), or take them "
                    "from optimizer.averages()."
                )

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Assigns targets and sums the losses (paper, eq. 7).

        Under a strategy of `tf.distribute` it is the part of a replica's own sequences in the loss
        of the whole batch, as gradients are summed; what is told is that of the whole batch.

        Args:
          x: {"feats" (B, T, C), "mask" (B, T)}.
          y: {"segments" (B, N, 2) in grid steps, "labels" (B, N) int, -1 = padding}.
          y_pred: {"logits", "offsets"}, the call's outputs.

        Returns:
          Scalar loss.
        """
        if not isinstance(y, Mapping) or sample_weight is not None:
            raise UserError(
                "Batches are pairs ({'feats', 'mask'}, {'segments', 'labels'}) without weights, "
                "as train_dataset makes them."
            )
        _, mask = self.get_layer("pad")(x["feats"], ops.cast(x["mask"], "bool"))
        sums = training_losses(self.architecture, mask, y, y_pred, self.class_weights)
        cls_total, reg_total, num_positive, *zeros, num_points = sum_over_replicas(sums)
        cls_loss, reg_loss, *zero_shares = self.loss_trackers
        count = ops.maximum(num_positive, 1.0)
        for tracker, value in ((cls_loss, cls_total), (reg_loss, reg_total)):
            tracker.update_state(value / count, sample_weight=count)
        for tracker, value in zip(zero_shares, zeros, strict=True):
            tracker.update_state(value / num_points)
        normalizer = self.positives_average(num_positive, training=training)
        weight = regression_weight(
            cls_total / normalizer, reg_total / normalizer, self.architecture.loss_weight
        )
        cls_sum, reg_sum = sums[:2]
        return cls_sum / normalizer + weight * (reg_sum / normalizer)

    def get_metrics_result(self) -> dict[str, Any]:
        """As `keras.Model`, but all losses are those of a positive point.

        What is trained is divided by a running average of their number, which starts at
        `init_loss_norm`: it rises, or falls, while that moves to what the data has. And of two
        batches of other sizes it differs though both fit equally well.
        """
        results = super().get_metrics_result()
        cls_loss, reg_loss = results["cls_loss"], results["reg_loss"]
        weight = regression_weight(cls_loss, reg_loss, self.architecture.loss_weight)
        return {**results, "loss": cls_loss + weight * reg_loss}
