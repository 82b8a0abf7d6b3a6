"""An optimizer's update of many weights at once: the one place that overrides Keras' internals.

Variable by variable, the update of 200 variables has more operations than the network and its
gradient together, and takes as long to trace and to compile. At full width on two CPU cores, with
TensorFlow 2.21, two vectors of all weights brought 14,502 operations of a step to 3,668, tracing
from 5.1 to 1.7 seconds, and XLA's compiling from 12.7 to 3.3 seconds.

Keras has no public place for it. Of `keras.optimizers.Optimizer` (3.15) this file

- overrides `add_optimizer_variables`, `_get_current_learning_rate`, `_clip_gradients`,
  `_apply_weight_decay`, `_update_model_variables_moving_average`,
  `_overwrite_model_variables_with_average_value`, `_backend_apply_gradients`,
  `_backend_update_step` and TensorFlow's `_distributed_tf_update_step` (and, in public,
  `load_own_variables`);
- reads `_trainable_variables`, `_model_variables_moving_average`, `_learning_rate`, `_var_key`,
  `_use_weight_decay`, `_iterations`, `_accumulated_gradients` and `_get_variable_index`. The
  subclasses' `_updated` read `_momentums` and `_velocities`.

`tests/training/test_optimizers.py` notices a Keras that does without one of them:
`test_keras_still_has_what_is_overridden` by name, the others by the numbers of real steps.
"""

import contextlib
import functools
import math

import keras
import numpy as np
from keras import ops

# Weights that are updated at once. Half a dozen vectors as long as the group are there during its
# update: with 4 million weights, 0.1 GB, where the 29 million of THUMOS14's network as one vector
# took 0.7, which was the most that a step with `recompute` held, and an eighth more time.
_MAX_GROUP_SIZE = 2**22


class VectorUpdate:
    """Mixed into a Keras optimizer, updates weights in a few long vectors, one after the other.

    The optimizer says how, by `_updated(index, weights, gradient, learning_rate, decay)`: the new
    weights of group `index`, from vectors of its weights and gradients.

    Kernels decay, and have vectors of their own; biases, norms, scales, relative position tables
    and what `exclude_from_weight_decay` names do not. Whatever Keras' optimizers keep for each
    variable is a vector here, too; `averages` gives the averaged weights in the variables' shapes.
    `global_clipnorm` limits the norm of the gradients' sum over replicas.

    Args:
      ema_ramp: bool, whether the averages' momentum rises with the steps, see `_momentum`; it
        never exceeds `ema_momentum`.
    """

    def __init__(self, *args, ema_ramp=False, **kwargs):
        for name in ("ema_overwrite_frequency", "nesterov", "amsgrad"):
            if kwargs.get(name):
                raise ValueError(f"{name} is not supported. Received: {name}={kwargs[name]}")
        super().__init__(*args, **kwargs)
        self.ema_ramp = ema_ramp

    def get_config(self):
        return {**super().get_config(), "ema_ramp": self.ema_ramp}

    def _groups(self, variables):
        """Lists of the variables that are updated as one vector, see `_MAX_GROUP_SIZE`."""
        # Not an attribute: Keras would take the weights in it for variables of the optimizer.
        groups = []
        for decays in (True, False):
            size = math.inf  # no group yet
            for variable in variables:
                if self._decays(variable) == decays:
                    size += math.prod(variable.shape)
                    if size > _MAX_GROUP_SIZE:
                        groups.append([])
                        size = math.prod(variable.shape)
                    groups[-1].append(variable)
        return groups

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

    def load_own_variables(self, store):
        """Sets what Keras keeps in a file; its vectors may be cut in other places than these.

        Keras would go on without what was saved, and with averages of the initial weights.
        """
        saved = [np.asarray(store[str(i)]) for i in range(len(store.keys()))]
        shapes = [tuple(variable.shape) for variable in self.variables]
        if [value.shape for value in saved] != shapes:
            saved = _cut_again(saved, shapes) or saved
        super().load_own_variables({str(i): value for i, value in enumerate(saved)})

    def averages(self):
        """The averaged weights: a NumPy array for each variable, in the variables' order."""
        pieces = {}
        for group, average in zip(
            self._groups(self._trainable_variables),
            self._model_variables_moving_average,
            strict=True,
        ):
            for variable, value in zip(
                group, np.split(ops.convert_to_numpy(average), _ends(group)), strict=True
            ):
                pieces[self._var_key(variable)] = value.reshape(variable.shape)
        return [pieces[self._var_key(variable)] for variable in self._trainable_variables]

    def _overwrite_model_variables_with_average_value(self, trainable_variables):
        keys = map(self._var_key, self._trainable_variables)
        averages = dict(zip(keys, self.averages(), strict=True))
        for variable in trainable_variables:
            variable.assign(averages[self._var_key(variable)])

    # === Overrides, called by Keras during a step ===

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

    def _backend_apply_gradients(self, grads, trainable_variables):
        if self._accumulates_over_replicas():
            # Keras would sum over the replicas where a step is due, which TensorFlow cannot do
            # within a condition: they are summed for each batch, then `_add_up` looks what is due.
            self._backend_update_step(grads, trainable_variables, self.learning_rate)
        else:
            super()._backend_apply_gradients(grads, trainable_variables)

    def _accumulates_over_replicas(self):
        if not self.gradient_accumulation_steps or keras.backend.backend() != "tensorflow":
            return False
        import tensorflow as tf

        return tf.distribute.get_strategy().num_replicas_in_sync > 1

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        if keras.backend.backend() == "tensorflow":  # sums over replicas and calls the next method
            super()._backend_update_step(grads, trainable_variables, learning_rate)
        else:
            self._update(grads, trainable_variables, learning_rate)

    def _distributed_tf_update_step(self, distribution, grads_and_vars, learning_rate):
        grads, variables = zip(*grads_and_vars, strict=True)
        update = self._add_up if self._accumulates_over_replicas() else self._update
        distribution.extended.update(
            variables[0],
            lambda _, grads, learning_rate: update(grads, variables, learning_rate),
            args=(grads, learning_rate),
            group=False,
        )

    def _add_up(self, grads, variables, learning_rate):
        """Updates with the mean of the gradients since the last step, or adds these to them."""
        sums = [self._accumulated_gradients[self._get_variable_index(v)] for v in variables]
        num_batches = self.gradient_accumulation_steps

        def update():
            means = [(gradient + s) / num_batches for gradient, s in zip(grads, sums, strict=True)]
            self._update(self._clip_gradients(means), variables, learning_rate)
            for s in sums:
                s.assign(ops.zeros_like(s))

        def add():
            for gradient, s in zip(grads, sums, strict=True):
                s.assign(gradient + s)

        ops.cond((self._iterations + 1) % num_batches == 0, update, add)

    def _update(self, grads, trainable_variables, learning_rate):
        grads = {
            self._var_key(variable): gradient
            for variable, gradient in zip(trainable_variables, grads, strict=True)
        }
        groups = self._groups(self._trainable_variables)
        gradients = self._gradient_vectors(groups, grads)
        learning_rate = ops.cast(learning_rate, gradients[0].dtype)
        scale = self._gradient_scale(gradients)
        done = gradients
        for index, (group, gradient) in enumerate(zip(groups, gradients, strict=True)):
            with _not_before(done):
                gradient = gradient if scale is None else gradient * scale
                done = self._update_group(index, group, gradient, grads, learning_rate)

    def _update_group(self, index, group, gradient, grads, learning_rate):
        """Updates one group's weights and averages; returns a list of what it computes last."""
        weights = _concatenate(group)
        decay = self.weight_decay if self.weight_decay and self._decays(group[0]) else 0.0
        weights = self._updated(index, weights, gradient, learning_rate, decay)
        values = [
            value if self._var_key(variable) in grads else variable
            for variable, value in zip(group, _split(weights, group), strict=True)
        ]
        last = weights
        if self.use_ema:
            average = self._model_variables_moving_average[index]
            if len(grads) < len(self._trainable_variables):
                weights = _concatenate(values)
            momentum = self._momentum(weights.dtype)
            last = momentum * average + (1.0 - momentum) * weights
            average.assign(last)
        for variable, value in zip(group, values, strict=True):
            variable.assign(value)
        return [last]

    def _momentum(self, dtype):
        """The averages' momentum at this step.

        With `ema_ramp` it is `(1 + t) / (10 + t)` at step t, counted from 0, up to `ema_momentum`:
        the averages are then those of the last ninth of the steps, however few there were, and
        have forgotten the initial weights, of which a constant 0.999 keeps 97 % after 35 steps.
        """
        if not self.ema_ramp:
            return self.ema_momentum
        step = ops.cast(self.iterations, dtype)
        return ops.minimum((1.0 + step) / (10.0 + step), self.ema_momentum)

    def _gradient_vectors(self, groups, grads):
        """The gradient of each group, with zeros where `grads` (a dict) has none."""

        def gradient(variable):
            found = grads.get(self._var_key(variable))
            if found is None:
                return ops.zeros(variable.shape, variable.dtype)
            return ops.cast(found, variable.dtype)

        return [_concatenate([gradient(v) for v in group]) for group in groups]

    def _gradient_scale(self, gradients):
        """The factor that brings all gradients together to `global_clipnorm`, None without one."""
        if not self._clips_globally:
            return None
        norm = ops.sqrt(sum(ops.sum(ops.square(gradient)) for gradient in gradients))
        scale = ops.minimum(1.0, self.global_clipnorm / norm)
        return ops.where(ops.isfinite(norm), scale, np.nan)  # an infinite norm must show


def _not_before(tensors):
    """A context in which TensorFlow computes nothing before the tensors are there.

    What of the update needs no gradient it would compute at the start of a step, and keep until
    its end: vectors of all weights, and all averages times their momentum.
    """
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    import tensorflow as tf

    return tf.control_dependencies(tensors)


def _concatenate(tensors):
    return ops.concatenate([ops.reshape(tensor, (-1,)) for tensor in tensors])


def _split(vector, variables):
    """The inverse of `_concatenate`, for tensors of the variables' shapes."""
    ends = _ends(variables)
    pieces = ops.split(vector, ends) if ends else [vector]  # TensorFlow cannot split nowhere
    return [ops.reshape(piece, v.shape) for piece, v in zip(pieces, variables, strict=True)]


def _ends(variables):
    """Where in `_concatenate` each but the last variable ends, a list of ints."""
    return np.cumsum([math.prod(variable.shape) for variable in variables])[:-1].tolist()


def _cut_again(arrays, shapes):
    """Arrays whose numbers, one after the other, are of other shapes; None if they do not fit.

    Vectors may be cut anywhere; all else must be as it was.
    """
    if [x.shape for x in arrays if x.ndim != 1] != [shape for shape in shapes if len(shape) != 1]:
        return None
    others = iter([x for x in arrays if x.ndim != 1])
    vectors = [x for x in arrays if x.ndim == 1]
    sizes = [math.prod(shape) for shape in shapes if len(shape) == 1]
    if not vectors or sum(sizes) != sum(map(len, vectors)):
        return None
    vectors = iter(np.split(np.concatenate(vectors), np.cumsum(sizes)[:-1]))
    return [next(vectors if len(shape) == 1 else others) for shape in shapes]


def _initial_weights(variables, shape, dtype=None):
    return ops.copy(ops.cast(_concatenate(variables), dtype))  # JAX would share a single one
