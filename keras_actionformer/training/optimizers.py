"""Optimizers and learning-rate schedule, with the update rules the reference trains with.

Both are Keras optimizers; they differ from Keras' own in four points, each of which changes
numbers: where epsilon stands (AdamW), that weight decay is added to the gradient (SGD), that the
average of the weights starts from the initial weights, and that with `gradient_accumulation_steps`
schedule and average go by the steps of the optimizer, as without, and not by batches.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable("keras_actionformer")
class WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up from 0, then cosine or multistep decay, a value for every optimizer step.

    The first step has rate 0; the base rate is reached at the last step of the warm-up and held
    for one more.

    Args:
      learning_rate: float, base rate.
      warmup_steps: int, 0 for none.
      decay: `"cosine"` or `"multistep"`.
      total_steps: int, steps of warm-up and decay together (cosine only).
      milestones: ints, steps after the warm-up at which the rate is multiplied by `gamma`
        (multistep only).
      gamma: float.
      min_learning_rate: float, rate at the end of the cosine.
    """

    def __init__(
        self,
        learning_rate,
        warmup_steps,
        decay="cosine",
        total_steps=None,
        milestones=(),
        gamma=0.1,
        min_learning_rate=1e-8,
    ):
        if decay not in ("cosine", "multistep"):
            raise ValueError(f"decay must be 'cosine' or 'multistep'. Received: decay={decay!r}")
        if decay == "cosine" and (total_steps is None or total_steps <= warmup_steps):
            raise ValueError(
                f"total_steps must exceed warmup_steps={warmup_steps}. "
                f"Received: total_steps={total_steps}"
            )
        self.learning_rate = learning_rate
        self.warmup_steps = warmup_steps
        self.decay = decay
        self.total_steps = total_steps
        self.milestones = tuple(milestones)
        self.gamma = gamma
        self.min_learning_rate = min_learning_rate

    def __call__(self, step):
        step = ops.cast(step, "float32")
        after = step - self.warmup_steps
        if self.decay == "cosine":
            phase = math.pi * after / (self.total_steps - self.warmup_steps)
            amplitude = 0.5 * (self.learning_rate - self.min_learning_rate)
            rate = self.min_learning_rate + amplitude * (1.0 + ops.cos(phase))
        else:
            passed = sum(ops.cast(after >= m, "float32") for m in self.milestones)
            rate = self.learning_rate * self.gamma ** ops.convert_to_tensor(passed, "float32")
        rising = self.learning_rate * step / max(self.warmup_steps - 1, 1)
        return ops.where(step < self.warmup_steps, rising, rate)

    def get_config(self):
        return {
            "learning_rate": self.learning_rate,
            "warmup_steps": self.warmup_steps,
            "decay": self.decay,
            "total_steps": self.total_steps,
            "milestones": self.milestones,
            "gamma": self.gamma,
            "min_learning_rate": self.min_learning_rate,
        }


class _VectorUpdate:
    """Updates all kernels as one vector and all other variables as a second one.

    Variable by variable, the update of 200 variables has more operations than the network and its
    gradient together, and takes as long to trace and to compile.

    Two vectors, because kernels decay and biases, norms, scales, relative position tables and
    what `exclude_from_weight_decay` names do not. Whatever Keras' optimizers keep for each variable
    is a vector here, too; `averages` gives the averaged weights in the variables' shapes.
    `global_clipnorm` limits the norm of the gradients' sum over replicas.
    """

    def __init__(self, *args, **kwargs):
        for name in ("ema_overwrite_frequency", "nesterov", "amsgrad"):
            if kwargs.get(name):
                raise ValueError(f"{name} is not supported. Received: {name}={kwargs[name]}")
        super().__init__(*args, **kwargs)

    def _groups(self, variables):
        """Lists of the variables that decay and of those that do not; none is empty."""
        # Not an attribute: Keras would take the weights in it for variables of the optimizer.
        decaying = [v for v in variables if self._decays(v)]
        others = [v for v in variables if not self._decays(v)]
        return [group for group in (decaying, others) if group]

    def _decays(self, variable):
        return variable.name == "kernel" and self._use_weight_decay(variable)

    def add_optimizer_variables(self, trainable_variables, name, initializer="zeros"):
        """Adds a vector for each group; Keras calls it for moments and averages."""
        if not isinstance(name, str):
            return [self.add_optimizer_variables(trainable_variables, n) for n in name]
        vectors = []
        for group in self._groups(trainable_variables):
            if name == "average":  # starts from the weights
                initializer = functools.partial(_initial_weights, group)
            size = sum(math.prod(v.shape) for v in group)
            vectors.append(self.add_variable((size,), initializer, dtype=group[0].dtype, name=name))
        return vectors

    def averages(self):
        """The averaged weights: a tensor for each variable, in the variables' order."""
        pieces = {}
        for group, average in zip(
            self._groups(self._trainable_variables),
            self._model_variables_moving_average,
            strict=True,
        ):
            pieces.update(zip(map(self._var_key, group), _split(average, group), strict=True))
        return [pieces[self._var_key(variable)] for variable in self._trainable_variables]

    def _overwrite_model_variables_with_average_value(self, trainable_variables):
        keys = map(self._var_key, self._trainable_variables)
        averages = dict(zip(keys, self.averages(), strict=True))
        for variable in trainable_variables:
            variable.assign(averages[self._var_key(variable)])

    def _get_current_learning_rate(self):
        if isinstance(self._learning_rate, keras.optimizers.schedules.LearningRateSchedule):
            return self._learning_rate(self.iterations)  # Keras' `_iterations` are batches
        return super()._get_current_learning_rate()

    def _clip_gradients(self, grads):
        return grads if self._clips_globally else super()._clip_gradients(grads)

    @property
    def _clips_globally(self):
        return bool(self.global_clipnorm) and self.global_clipnorm > 0

    def _apply_weight_decay(self, variables):
        """Does nothing: decay is part of `_updated`."""

    def _update_model_variables_moving_average(self, trainable_variables):
        """Does nothing: Keras calls it after each batch, `_update` averages after each step."""

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        if keras.backend.backend() == "tensorflow":  # sums over replicas and calls the next method
            super()._backend_update_step(grads, trainable_variables, learning_rate)
        else:
            self._update(grads, trainable_variables, learning_rate)

    def _distributed_tf_update_step(self, distribution, grads_and_vars, learning_rate):
        grads, variables = zip(*grads_and_vars, strict=True)
        distribution.extended.update(
            variables[0],
            lambda _, grads: self._update(grads, variables, learning_rate),
            args=(grads,),
            group=False,
        )

    def _update(self, grads, trainable_variables, learning_rate):
        grads = {
            self._var_key(variable): gradient
            for variable, gradient in zip(trainable_variables, grads, strict=True)
        }
        groups = self._groups(self._trainable_variables)
        gradients = self._gradient_vectors(groups, grads)
        learning_rate = ops.cast(learning_rate, gradients[0].dtype)
        for index, group in enumerate(groups):
            weights = _concatenate(group)
            decay = self.weight_decay if self.weight_decay and self._decays(group[0]) else 0.0
            weights = self._updated(index, weights, gradients[index], learning_rate, decay)
            values = [
                value if self._var_key(variable) in grads else variable
                for variable, value in zip(group, _split(weights, group), strict=True)
            ]
            if self.use_ema:
                average = self._model_variables_moving_average[index]
                if len(grads) < len(self._trainable_variables):
                    weights = _concatenate(values)
                average.assign(self.ema_momentum * average + (1.0 - self.ema_momentum) * weights)
            for variable, value in zip(group, values, strict=True):
                variable.assign(value)

    def _gradient_vectors(self, groups, grads):
        """The gradient of each group, clipped; with zeros where `grads` (a dict) has none."""

        def gradient(variable):
            found = grads.get(self._var_key(variable))
            if found is None:
                return ops.zeros(variable.shape, variable.dtype)
            return ops.cast(found, variable.dtype)

        gradients = [_concatenate([gradient(v) for v in group]) for group in groups]
        if not self._clips_globally:
            return gradients
        norm = ops.sqrt(sum(ops.sum(ops.square(gradient)) for gradient in gradients))
        scale = ops.minimum(1.0, self.global_clipnorm / norm)
        scale = ops.where(ops.isfinite(norm), scale, np.nan)  # an infinite norm must show
        return [gradient * scale for gradient in gradients]


def _concatenate(tensors):
    return ops.concatenate([ops.reshape(tensor, (-1,)) for tensor in tensors])


def _split(vector, variables):
    """The inverse of `_concatenate`, for tensors of the variables' shapes."""
    ends = np.cumsum([math.prod(variable.shape) for variable in variables])
    # TensorFlow cannot split without a place to do so.
    pieces = ops.split(vector, [int(end) for end in ends[:-1]]) if len(ends) > 1 else [vector]
    return [ops.reshape(piece, v.shape) for piece, v in zip(pieces, variables, strict=True)]


def _initial_weights(variables, shape, dtype=None):
    return ops.copy(ops.cast(_concatenate(variables), dtype))  # JAX would share a single one


@keras.saving.register_keras_serializable("keras_actionformer")
class AdamW(_VectorUpdate, keras.optimizers.AdamW):
    """AdamW (Loshchilov and Hutter 2019) with epsilon beside the bias-corrected deviation.

    `p -= lr * m_hat / (sqrt(v_hat) + epsilon)`, algorithm 1 of Kingma and Ba 2015. Keras divides
    by `sqrt(v) + epsilon`, which makes epsilon about 30 times larger at the first steps.

    Args: as `keras.optimizers.AdamW`, without `amsgrad`.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 1e-4,
        weight_decay: float | None = 0.05,
        epsilon: float = 1e-8,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, weight_decay=weight_decay, epsilon=epsilon, **kwargs)

    def _updated(self, index, weights, gradient, learning_rate, decay):
        m, v = self._momentums[index], self._velocities[index]
        m.assign(m + (gradient - m) * (1.0 - self.beta_1))
        v.assign(v + (ops.square(gradient) - v) * (1.0 - self.beta_2))
        # 1 - beta^step by expm1: the difference itself would lose half of its digits at first.
        step = ops.cast(self.iterations + 1, weights.dtype)
        m_scale = learning_rate / -ops.expm1(step * math.log(self.beta_1))
        v_scale = ops.rsqrt(-ops.expm1(step * math.log(self.beta_2)))
        weights = weights - weights * decay * learning_rate
        return weights - m * m_scale / (ops.sqrt(v) * v_scale + self.epsilon)


@keras.saving.register_keras_serializable("keras_actionformer")
class SGD(_VectorUpdate, keras.optimizers.SGD):
    """SGD with momentum and L2 regularization: the decay is part of the gradient.

    `v = momentum * v + gradient + decay * p`, `p -= lr * v`. Keras decays outside the momentum
    and keeps the learning rate inside it, which differs when the rate changes.

    Args: as `keras.optimizers.SGD`, without `nesterov`.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 1e-2,
        momentum: float = 0.9,
        weight_decay: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, momentum=momentum, weight_decay=weight_decay, **kwargs)

    def _updated(self, index, weights, gradient, learning_rate, decay):
        gradient = gradient + decay * weights
        if self.momentum:
            velocity = self.momentums[index]
            velocity.assign(velocity * self.momentum + gradient)
            gradient = velocity
        return weights - gradient * learning_rate
