"""Scores of a model in training on the validation subset, between two epochs."""

import keras

from keras_actionformer.data.batches import evaluation_items
from keras_actionformer.errors import UserError, counted
from keras_actionformer.evaluation.evaluation import evaluate
from keras_actionformer.training.epochs import LOSS_OF, MEAN_AP_OF, num_epochs
from keras_actionformer.training.experiment import Experiment
from keras_actionformer.training.run_scores import detect_items, fuse_where_set

# Videos trained on for one that is validated, where `train.val_every` leaves it open.
_TRAINED_FOR_ONE = 8


class WeightsCopy:
    """A second model, which takes the weights of one in training: that itself is never touched.

    Args:
      model: `ActionFormer`, compiled.
    """

    def __init__(self, model):
        self.model = type(model).from_config(model.get_config())
        self.model.class_weights = model.class_weights
        self._source = model

    def take(self, weights):
        """Gives the copy what are the `"average"` or the `"last"` weights now, and returns it."""
        values = {}
        if weights == "average":
            keys = map(id, self._source.trainable_variables)
            values = dict(zip(keys, self._source.optimizer.averages(), strict=True))
        for ours, theirs in zip(self.model.weights, self._source.weights, strict=True):
            value = values.get(id(theirs))
            # As an array: on JAX the weights in training may lie on several devices.
            ours.assign(keras.ops.convert_to_numpy(theirs) if value is None else value)
        return self.model


class Validation:
    """The validation subset of a configuration, read and checked, and how a model does on it.

    Args:
      config: `ConfigDict`.
      annotations: `Annotations` of the training.
      num_train_videos: int.
      copy: `WeightsCopy` of the model in training.
      line: `RunningLine` to show the progress.

    Raises:
      UserError: there is no such subset, it has no action, or its features fail a check.
    """

    def __init__(self, config, annotations, num_train_videos, copy, line):
        experiment = Experiment(config)
        subset = config.data.val_subset
        self._config, self._copy, self._line = config, copy, line
        self._num_epochs = num_epochs(config.train)
        self._windows = experiment.detection_windows
        truth, self._video_scores = experiment.read_ground_truth()
        self._truth = truth.subset(subset)
        videos = experiment.present_videos(annotations.subset(subset))
        if not any(len(video.labels) for video in videos):
            raise UserError(f"data.val_subset is {subset!r}, but no video in it has an action.")
        self._batches = experiment.validation_stream(experiment.learned_videos(videos))
        scored = {video.video_id for video in self._truth}  # all but blocked ones
        videos = [video for video in videos if video.video_id in scored]
        self._items = evaluation_items(videos, experiment.features, experiment.timing)
        self._loss_step = self._traced_loss_step()
        self._first = config.train.val_from
        self.every = config.train.val_every or max(
            1, round(_TRAINED_FOR_ONE * len(videos) / num_train_videos)
        )

    def __str__(self):
        rhythm = "each epoch" if self.every == 1 else f"every {self.every} epochs"
        return (
            f"Validation on {counted(len(self._items), 'video')}, {rhythm}: mAP and recall "
            "(percent) of the "
            "averaged\nweights, mAP of the last weights; best: kept in best.keras."
        )

    def is_due(self, epoch):
        """Whether there is a validation after an epoch (int, the first is 1)."""
        if epoch == self._num_epochs:
            return True
        return epoch >= self._first and epoch % self.every == 0

    def scores(self, epoch, after_video=lambda: None):
        """Scores the average and the last weights of now; losses are those of the last.

        Args:
          epoch: int, the one that has just ended.
          after_video: function without arguments, called between the videos.

        Returns:
          dict, name (`"val_..."`) to float; mAP and recall in 0..1, on average over the tIoU
          thresholds.
        """
        found = {}
        for weights, column in MEAN_AP_OF.items():
            model = self._copy.take(weights)
            task = f"{epoch}/{self._num_epochs} validation, {weights}"
            result = self._evaluate(model, task, after_video)
            found[column] = result.average_mean_ap
            if self._config.train.best_by == "loss" and weights == "average":
                found[LOSS_OF[weights]] = self._losses()["val_loss"]
            found[column.replace("mAP", "recall")] = float(result.mean_recall[:, 0].mean())
        # The copy has the last weights still: losses to compare with those of the training.
        return {**self._losses(), **found}

    def _evaluate(self, model, task, after_video):
        def show(done, total):
            self._line.count(done, total, "videos", task)
            after_video()

        detections = detect_items(model, self._items, show, **self._windows)
        detections = fuse_where_set(detections, self._video_scores, self._config)
        return evaluate(self._truth, detections, tuple(self._config.tiou_thresholds))

    def _losses(self):
        model = self._copy.model
        for tracker in model.loss_trackers:
            tracker.reset_state()
        for inputs, actions in self._batches:
            self._loss_step(inputs, actions)
        results = model.get_metrics_result()
        return {f"val_{name}": float(results[name]) for name in ("loss", "cls_loss", "reg_loss")}

    def _traced_loss_step(self):
        model = self._copy.model

        def step(inputs, actions):
            model.compute_loss(inputs, actions, model(inputs, training=False), training=False)

        if keras.backend.backend() != "tensorflow":
            return step
        import tensorflow as tf

        return tf.function(step, input_signature=self._batches.element_spec, autograph=False)
