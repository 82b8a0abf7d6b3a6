"""Optimizers and learning-rate schedule, with the update rules the reference trains with.

Both are Keras optimizers; they differ from Keras' own in four points, each of which changes
numbers: where epsilon stands (AdamW), that weight decay is added to the gradient (SGD), that the
average of the weights starts from the initial weights, and that with `gradient_accumulation_steps`
schedule and average go by the steps of the optimizer, as without, and not by batches.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from keras_actionformer.training.vector_update import VectorUpdate


@keras.saving.register_keras_serializable("keras_actionformer")
class WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up from 0, then cosine or multistep decay, a value for every optimizer step.

    The first step has rate 0; the base rate is reached at the last step of the warm-up and held
    for one more or, without `warmup_holds`, at the step after the warm-up.

    Args:
      learning_rate: float, base rate.
      warmup_steps: int, 0 for none.
      decay: `"cosine"` or `"multistep"`.
      total_steps: int, steps of warm-up and decay together (cosine only).
      milestones: ints, steps after the warm-up at which the rate is multiplied by `gamma`
        (multistep only).
      gamma: float.
      min_learning_rate: float, rate at the end of the cosine.
      warmup_holds: bool.
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
        warmup_holds=True,
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
        self.warmup_holds = warmup_holds

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
        last = self.warmup_steps - 1 if self.warmup_holds else self.warmup_steps
        rising = self.learning_rate * step / max(last, 1)
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
            "warmup_holds": self.warmup_holds,
        }


@keras.saving.register_keras_serializable("keras_actionformer")
class AdamW(VectorUpdate, keras.optimizers.AdamW):
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
class SGD(VectorUpdate, keras.optimizers.SGD):
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
