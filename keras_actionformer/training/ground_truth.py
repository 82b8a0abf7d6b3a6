"""The annotations that a configuration names. Does not load Keras: scores and reports read them."""

import dataclasses

from keras_actionformer.data.annotation_files import load_annotations
from keras_actionformer.datasets.splits import load_split, with_split
from keras_actionformer.evaluation.blocked_videos import load_blocked_videos
from keras_actionformer.evaluation.video_scores import load_video_scores


def read_annotations(config, on_error=None, on_note=None):
    """The annotations to train on, checked against the configuration's number of classes.

    Args:
      config: `ConfigDict`, see `default_config`.
      on_error, on_note: see `load_annotations`.

    Returns:
      `Annotations`, with the subsets of `data.split` where it has one.
    """
    return _load(
        config,
        num_classes=config.model.num_classes,
        class_agnostic=config.data.class_agnostic,
        on_error=on_error,
        on_note=on_note,
    )


def read_ground_truth(config):
    """The annotations to score against, and the video scores to fuse detections with.

    Args:
      config: as for `read_annotations`.

    Returns:
      (`Annotations`, `VideoScores`); without fusion the annotations of the training, and None.
      They are without the videos that `data.blocked_videos` names. What is assumed in them, the
      training has told.
    """
    video_scores = config.fusion.video_scores
    if not video_scores:
        return _without_blocked(config, read_annotations(config, on_note=_tell_nobody)), None
    # With the classes of the file, whatever those of the model are.
    annotations = _without_blocked(config, _load(config, on_note=_tell_nobody))
    return annotations, load_video_scores(video_scores, annotations.class_names)


def _without_blocked(config, annotations):
    if not config.data.blocked_videos:
        return annotations
    ids = [video.video_id for video in annotations.videos]
    blocked = load_blocked_videos(config.data.blocked_videos, ids)
    videos = tuple(video for video in annotations.videos if video.video_id not in blocked)
    return dataclasses.replace(annotations, videos=videos)


def _load(config, **options):
    data = config.data
    annotations = load_annotations(
        data.annotations,
        outside=data.outside,
        # One that the split does not name is in no subset.
        default_subset=data.default_subset or ("(none)" if data.split else None),
        drop_duplicates=data.drop_duplicates,
        fps=data.fps,
        time_unit=data.time_unit or None,
        **options,
    )
    if not data.split:
        return annotations
    return with_split(annotations, load_split(data.split), data.split)


def _tell_nobody(note):
    """For `on_note` of `load_annotations`."""
