"""What a configuration names, ready for use: annotations, features, batches, model, optimizer."""

import dataclasses

from keras_actionformer.data.annotation_files import load_annotations
from keras_actionformer.data.batches import count_items, steps_per_epoch, train_dataset
from keras_actionformer.data.features import FeatureFiles, videos_with_features
from keras_actionformer.data.grid import Timing
from keras_actionformer.data.windows import Lengths
from keras_actionformer.detection.postprocess import PostProcess
from keras_actionformer.errors import UserError
from keras_actionformer.evaluation.video_scores import load_video_scores
from keras_actionformer.model import ActionFormer
from keras_actionformer.network.architecture import Architecture
from keras_actionformer.training.optimizers import SGD, AdamW, WarmupSchedule
from keras_actionformer.training.pyramid import check_reach


def read_annotations(config, on_error=None):
    """The annotations a configuration names, checked against its number of classes.

    Args:
      config: `ConfigDict`.
      on_error: see `load_annotations`.
    """
    return load_annotations(
        config.data.annotations,
        num_classes=config.model.num_classes,
        outside=config.data.outside,
        default_subset=config.data.default_subset or None,
        drop_duplicates=config.data.drop_duplicates,
        class_agnostic=config.data.class_agnostic,
        on_error=on_error,
    )


def read_ground_truth(config):
    """The annotations to score against, and the video scores to fuse detections with.

    Returns:
      (`Annotations`, `VideoScores`); without fusion the annotations of the training, and None.
    """
    if not config.fusion.video_scores:
        return read_annotations(config), None
    # With the classes of the file, whatever those of the model are.
    annotations = load_annotations(
        config.data.annotations,
        outside=config.data.outside,
        default_subset=config.data.default_subset or None,
        drop_duplicates=config.data.drop_duplicates,
    )
    return annotations, load_video_scores(config.fusion.video_scores, annotations.class_names)


def feature_files(config):
    """The feature files a configuration names, checked against its feature width."""
    return FeatureFiles(
        config.data.feats, config.model.input_dim, config.data.prefix, config.data.suffix
    )


def present_videos(config, videos, features):
    """The videos to use: all, or (`data.missing_features`) those that have features."""
    if config.data.missing_features == "skip":
        return videos_with_features(videos, features)
    return videos


def timing(config):
    """The `Timing` of a configuration's feature files."""
    data = config.data
    return Timing(
        stride_frames=data.stride_frames,
        window_frames=data.window_frames,
        fps=data.fps,
        downsample_rate=data.downsample_rate,
        check_durations=data.check_durations,
    )


def lengths(config, padded_steps=None):
    """The `Lengths` of a configuration's training sequences."""
    data, max_seq_len = config.data, config.model.max_seq_len
    return Lengths(
        max_seq_len=max_seq_len,
        trunc_thresh=data.trunc_thresh,
        crop_ratio=data.crop_ratio,
        resize_to=max_seq_len if config.model.force_upsampling else None,
        window_steps=data.window_steps or None,
        window_overlap=data.window_overlap,
        padded_steps=padded_steps,
    )


def detection_windows(config):
    """The sliding windows of a configuration, as arguments of `ActionFormer.detect`."""
    sliding = lengths(config)
    return {"window_steps": sliding.window_steps, "window_overlap": sliding.window_overlap}


def count_batches(config, videos, features):
    """The number of full batches that the training videos, or windows of them, give in an epoch.

    Raises:
      UserError: there is no full batch, or less than the optimizer needs for a step.
    """
    num_items = count_items(videos, features, timing(config), lengths(config))
    num_batches = steps_per_epoch(num_items, config.train.batch_size)
    if config.train.accumulate_batches > num_batches:
        raise UserError(
            f"train.accumulate_batches is {config.train.accumulate_batches} but an epoch has "
            f"{num_batches} batches; set it to 1..{num_batches}."
        )
    return num_batches


def check_levels(config, videos):
    """Raises UserError where the model would learn too few actions of training videos."""
    if config.model.force_upsampling or config.data.stride_frames is None:
        return  # The grid then depends on the features.
    grids = [timing(config).grid_of(video) for video in videos]
    check_reach(videos, grids, Architecture(**config.model))


def training_stream(config, videos, features, epochs, padded_steps=None):
    """The training batches of a configuration, see `train_dataset` and `Lengths`."""
    return train_dataset(
        videos,
        features,
        timing(config),
        lengths(config, padded_steps),
        batch_size=config.train.batch_size,
        epochs=epochs,
        seed=config.seed,
        cache_bytes=int(config.data.cache_gb * 2**30),
    )


def build_model(config, annotations):
    """An `ActionFormer` with fresh weights for a configuration and its annotations."""
    grid = _common_grid(config, annotations)
    names = list(annotations.class_names)
    names += [f"class_{i}" for i in range(len(names), config.model.num_classes)]
    arguments = config.model.to_dict()
    if not arguments["head_empty_cls"]:  # classes that no annotation names, as the reference
        empty = {*annotations.empty_label_ids(), *range(len(annotations.class_names), len(names))}
        arguments["head_empty_cls"] = sorted(empty)
    return ActionFormer(
        **arguments,
        postprocess=PostProcess(**config.postprocess.to_dict()),
        grid=grid,
        class_names=names,
        dtype="mixed_bfloat16" if config.train.mixed_precision else None,
    )


def _common_grid(config, annotations):
    """The timing that all training features share; None where each video has its own."""
    if config.data.stride_frames is None:
        return None
    videos = annotations.subset(config.data.train_subset)
    grids = {timing(config).grid_of(video) for video in videos}
    # Of several frame rates none is the model's: `detect` then asks for that of its video.
    return grids.pop() if len(grids) == 1 else dataclasses.replace(grids.pop(), fps=None)


def make_optimizer(config, batches_per_epoch):
    """The optimizer with its schedule: one learning rate for every step.

    A step is of `train.accumulate_batches` batches, which may begin in one epoch and end in the
    next; what is left over at the end of the training makes no step.
    """
    settings = config.train
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
    )
    common = dict(
        learning_rate=schedule,
        weight_decay=settings.weight_decay,
        global_clipnorm=settings.clip_norm if settings.clip_norm > 0 else None,
        use_ema=True,
        ema_momentum=settings.ema,
        gradient_accumulation_steps=batches_per_step if batches_per_step > 1 else None,
    )
    if settings.optimizer == "AdamW":
        return AdamW(**common)
    return SGD(momentum=settings.momentum, **common)
