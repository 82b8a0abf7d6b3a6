"""What a configuration names, ready for use: annotations, features, batches, model, optimizer.

Keras is imported by what makes something of Keras alone: `inspect` reads data without it.
"""

import dataclasses
import functools

import ml_collections
import numpy as np

from keras_actionformer.data.batches import count_items, steps_per_epoch, train_dataset
from keras_actionformer.data.encoder_records import (
    ANY_ENCODER,
    OF_MODEL,
    SAMPLING,
    check_same_encoder,
    common_record,
)
from keras_actionformer.data.features import FeatureFiles, videos_with_features
from keras_actionformer.data.grid import Timing
from keras_actionformer.data.learned_actions import learned_videos
from keras_actionformer.data.sidecars import with_own_timing
from keras_actionformer.errors import UserError
from keras_actionformer.training.config import architecture_of, lengths_of, postprocess_of
from keras_actionformer.training.ground_truth import read_annotations, read_ground_truth
from keras_actionformer.training.pyramid import check_reach
from keras_actionformer.training.settings_warnings import settings_warnings

_MOST_MOMENTUM = 0.999  # of the averages with train.ema="auto": the reference's


@dataclasses.dataclass(frozen=True, eq=False)
class Experiment:
    """What a configuration names; each thing is made, and checked, when it is asked for.

    Args:
      config: `ConfigDict`, see `default_config`; checked by `check_config`.
    """

    config: ml_collections.ConfigDict

    def read_annotations(self, on_error=None, on_note=None):
        """The annotations it names, see `ground_truth.read_annotations`.

        Videos have the frame rate and the duration that their features tell, where they do.
        """
        return self._with_own_timing(read_annotations(self.config, on_error, on_note))

    def read_ground_truth(self):
        """What to score against, see `ground_truth.read_ground_truth`."""
        annotations, video_scores = read_ground_truth(self.config)
        return self._with_own_timing(annotations), video_scores

    def _with_own_timing(self, annotations):
        if self._sidecar is None:
            return annotations
        source = "data.{name} of the configuration"
        videos = with_own_timing(annotations.videos, self.features, self.timing, source)
        self.encoder(videos)  # or tells that they have several
        return dataclasses.replace(annotations, videos=videos)

    def encoder(self, videos):
        """What computed the features of videos, as they are used: see `common_record`.

        Raises:
          UserError: those of two are of different encoders, and `data.any_encoder` is not set.
        """
        data = self.config.data
        record = common_record(videos, self.features, None if data.any_encoder else ANY_ENCODER)
        if record is None:
            return None
        sampling = dict(record[SAMPLING])
        if sampling["stride_frames"] is not None:
            sampling["stride_frames"] *= data.downsample_rate
        return {**record, SAMPLING: sampling}

    def check_encoder(self, model, videos):
        """Raises UserError where a model was trained on features of another encoder than videos'.

        Args:
          model: `ActionFormer`.
          videos: sequence of `Video`.
        """
        has_other_width = architecture_of(self.config).channels != model.architecture.channels
        if self.config.data.any_encoder or has_other_width:  # then its embedding is not taken over
            return
        for video in videos:
            sidecar = self.features.sidecar(video.video_id)
            if sidecar is not None:
                where = self.features.describe(video.video_id)
                check_same_encoder(where, sidecar.encoder, model.encoder, OF_MODEL, ANY_ENCODER)

    @functools.cached_property
    def features(self):
        """The `FeatureFiles` it names, checked against its feature width."""
        data = self.config.data
        return FeatureFiles(
            data.feats,
            self.config.model.input_dim,
            data.prefix,
            data.suffix,
            "correct model.input_dim or take other features",
            data.unequal_streams,
        )

    def training_videos(self, annotations):
        """The videos of the training subset to use, with the actions to learn."""
        videos = annotations.subset(self.config.data.train_subset)
        return self.learned_videos(self.present_videos(videos))

    def learned_videos(self, videos):
        """Videos with the actions that are learned, see `learned_actions.learned_videos`."""
        data = self.config.data
        return learned_videos(
            videos,
            self.timing,
            data.whole_frames,
            data.min_action_share,
            data.drop_repeated_actions,
            data.drop_without_actions,
        )

    def present_videos(self, videos):
        """The videos to use: all, or (`data.missing_features`) those that have features."""
        if self.config.data.missing_features == "skip":
            return videos_with_features(videos, self.features)
        return videos

    @functools.cached_property
    def timing(self):
        """The `Timing` of its feature files; what is "auto" is what these tell, or 1."""
        data, sidecar = self.config.data, self._sidecar
        told = {
            name: getattr(sidecar, name, 1.0) if data[name] == "auto" else data[name]
            for name in ("stride_frames", "window_frames")
        }
        return Timing(
            **told,
            fps=data.fps,
            downsample_rate=data.downsample_rate,
            check_durations=data.check_durations,
        )

    @functools.cached_property
    def _sidecar(self):
        """What the first features tell that tell anything, or None."""
        try:
            return self.features.first_sidecar()
        except UserError:  # which whoever reads them is told
            return None

    @functools.cached_property
    def lengths(self):
        """The `Lengths` of its training sequences."""
        return lengths_of(self.config)

    @property
    def detection_windows(self):
        """Its sliding windows, as arguments of `ActionFormer.detect`."""
        return {
            "window_steps": self.lengths.window_steps,
            "window_overlap": self.lengths.window_overlap,
        }

    def count_batches(self, videos, num_devices=1):
        """The number of full batches that training videos, or windows of them, give in an epoch.

        Args:
          videos: sequence of `Video`.
          num_devices: int, how many devices share a batch.

        Raises:
          UserError: there is no full batch, or less than the optimizer needs for a step.
        """
        num_items = count_items(videos, self.features, self.timing, self.lengths)
        num_batches = steps_per_epoch(num_items, self.config.train.batch_size, num_devices)
        batches_per_step = self.config.train.accumulate_batches
        if batches_per_step > num_batches:
            raise UserError(
                f"train.accumulate_batches is {batches_per_step} but an epoch has "
                f"{num_batches} batches; set it to 1..{num_batches}."
            )
        return num_batches

    def check_levels(self, videos):
        """Raises UserError where the model would learn too few actions of training videos."""
        if self.config.model.force_upsampling or self.config.data.stride_frames is None:
            return  # The grid then depends on the features.
        grids = [self.timing.grid_of(video) for video in videos]
        check_reach(videos, grids, architecture_of(self.config))

    def settings_warnings(self, annotations, videos, batches_per_epoch):
        """What does not suit the training videos, see `settings_warnings`; a list of str."""
        depends = self.config.model.force_upsampling or self.config.data.stride_frames is None
        return settings_warnings(
            self.config,
            annotations.class_names,
            videos,
            [] if depends else [self.timing.grid_of(video) for video in videos],
            batches_per_epoch,
            architecture_of(self.config),
        )

    def training_stream(self, videos, epochs, padded_steps=None, part=(0, 1)):
        """The training batches, see `train_dataset` and `Lengths`."""
        return train_dataset(
            videos,
            self.features,
            self.timing,
            dataclasses.replace(self.lengths, padded_steps=padded_steps),
            batch_size=self.config.train.batch_size,
            epochs=epochs,
            seed=self.config.seed,
            cache_bytes=int(self.config.data.cache_gb * 2**30),
            feats_dtype=self.config.data.feats_dtype,
            part=part,
        )

    def validation_stream(self, videos):
        """Every step of videos once, in batches of one sequence and of lengths as in training.

        What is longer than the training's sequences is cut to windows of this length.
        """
        from keras_actionformer.network.padding import inference_padding

        lengths = self.lengths
        if lengths.resize_to is None and lengths.window_steps is None:
            lengths = dataclasses.replace(
                lengths, window_steps=lengths.max_seq_len, window_overlap=0.0
            )
        padding = inference_padding(architecture_of(self.config))
        return train_dataset(
            videos,
            self.features,
            self.timing,
            dataclasses.replace(lengths, crop_ratio=None, padded_steps=padding.padded_steps),
            batch_size=1,
            shuffle=False,
            cache_bytes=int(self.config.data.cache_gb * 2**30),
            feats_dtype=self.config.data.feats_dtype,
        )

    def build_model(self, annotations):
        """An `ActionFormer` with fresh weights for its annotations."""
        from keras_actionformer.model import ActionFormer

        grid = self._common_grid(annotations)
        known, arguments = annotations.class_names, self.config.model.to_dict()
        unknown = range(len(known), arguments["num_classes"])
        names = [*known, *(f"class_{i}" for i in unknown)]
        if not arguments["head_empty_cls"]:  # classes that no annotation names, as the reference
            arguments["head_empty_cls"] = sorted({*annotations.empty_label_ids(), *unknown})
        return ActionFormer(
            **arguments,
            postprocess=postprocess_of(self.config),
            grid=grid,
            class_names=names,
            encoder=self.encoder(annotations.videos),
            dtype="mixed_bfloat16" if self.config.train.mixed_precision else None,
        )

    def _common_grid(self, annotations):
        """The timing that all training features share; None where each video has its own."""
        if self.config.data.stride_frames is None:
            return None
        videos = annotations.subset(self.config.data.train_subset)
        grids = {self.timing.grid_of(video) for video in videos}
        # Of several frame rates none is the model's: `detect` then asks for that of its video.
        return grids.pop() if len(grids) == 1 else dataclasses.replace(grids.pop(), fps=None)

    def class_weights(self, annotations):
        """A factor of the classification loss for each class, or None.

        Balanced, it is the mean number of actions of a class (that has some) divided by the class'
        own, so that all actions together weigh as much as without.
        """
        weights = self.config.train.class_weights
        if weights != "balanced":
            return weights
        videos = annotations.subset(self.config.data.train_subset)
        labels = np.concatenate([np.asarray(video.labels, np.int64) for video in videos])
        counts = np.bincount(labels, minlength=self.config.model.num_classes)
        mean = counts.sum() / max(np.count_nonzero(counts), 1)
        return [float(mean / count) if count else 1.0 for count in counts]

    def make_optimizer(self, batches_per_epoch):
        """The optimizer with its schedule: one learning rate for every step.

        A step is of `train.accumulate_batches` batches, which may begin in one epoch and end in the
        next; what is left over at the end of the training makes no step.
        """
        from keras_actionformer.training.optimizers import SGD, AdamW, WarmupSchedule

        settings = self.config.train
        batches_per_step = settings.accumulate_batches

        def steps_until(epoch):
            return epoch * batches_per_epoch // batches_per_step

        warmup_steps = steps_until(settings.warmup_epochs)
        schedule = WarmupSchedule(
            settings.learning_rate,
            warmup_steps,
            decay=settings.schedule,
            total_steps=steps_until(settings.warmup_epochs + settings.epochs),
            milestones=[
                steps_until(settings.warmup_epochs + epoch) - warmup_steps
                for epoch in settings.milestones
            ],
            gamma=settings.gamma,
            warmup_holds=settings.warmup_holds,
        )
        common = dict(
            learning_rate=schedule,
            weight_decay=settings.weight_decay,
            global_clipnorm=settings.clip_norm if settings.clip_norm > 0 else None,
            use_ema=True,
            ema_momentum=_MOST_MOMENTUM if settings.ema == "auto" else settings.ema,
            ema_ramp=settings.ema == "auto",
            gradient_accumulation_steps=batches_per_step if batches_per_step > 1 else None,
        )
        if settings.optimizer == "AdamW":
            return AdamW(**common)
        return SGD(momentum=settings.momentum, **common)
