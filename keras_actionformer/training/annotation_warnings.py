"""What looks wrong in annotations although it can be trained on: a sentence each."""

import numpy as np

from keras_actionformer.data.annotations import ROUNDING_SEC
from keras_actionformer.data.instances import SAME_SEC, usable_instances
from keras_actionformer.errors import suggest
from keras_actionformer.evaluation.near_names import class_twin

_MOST_NAMED = 5


def annotation_warnings(annotations, train_videos, eval_videos):
    """Lists what looks wrong in annotations.

    Args:
      annotations: `Annotations`.
      train_videos, eval_videos: sequences of `Video`, those to train on and to evaluate on.

    Returns:
      list of str.
    """
    return [
        *_label_warnings(annotations.class_names, train_videos, eval_videos),
        *_subset_warnings(annotations.videos, train_videos, eval_videos),
        *_segment_warnings([*train_videos, *eval_videos]),
    ]


def _label_warnings(class_names, train_videos, eval_videos):
    trained, evaluated = _label_ids(train_videos), _label_ids(eval_videos)
    yield from unlearned_classes(class_names, train_videos)
    unknown = [class_names[i] for i in sorted(evaluated - trained)]
    if train_videos and unknown:
        yield (
            f"{len(unknown)} of {len(evaluated)} classes of the evaluation subset have no training "
            f"action, so that theirs count as missed: {some_names(unknown)}."
        )
    seen = {}
    for name in class_names:
        other = seen.setdefault(class_twin(name), name)
        if other != name:
            yield f"The classes {other!r} and {name!r} differ in spelling only; are they one?"


def unlearned_classes(class_names, train_videos):
    """Yields a sentence on the classes of which no training video has an action, if there are."""
    trained = _label_ids(train_videos)
    unlearned = [name for i, name in enumerate(class_names) if i not in trained]
    if train_videos and unlearned:
        yield (
            f"{len(unlearned)} of {len(class_names)} classes have no training action and will not "
            f"be learnt: {some_names(unlearned)}."
        )


def _label_ids(videos):
    return {int(label) for video in videos for label in video.labels}


def _subset_warnings(videos, train_videos, eval_videos):
    without = [video.video_id for video in train_videos if not len(video.labels)]
    if without:
        yield (
            f"{len(without)} of {len(train_videos)} training videos have no action: "
            f"{some_names(without)}."
        )
    used = {video.subset for video in (*train_videos, *eval_videos)}
    for subset in sorted({video.subset for video in videos} - used):
        if near := suggest(subset, used):
            count = sum(video.subset == subset for video in videos)
            yield f"The subset {subset!r}, of {count} of {len(videos)} videos, is not used{near}"
    both = {v.video_id for v in train_videos} & {v.video_id for v in eval_videos}
    if both:
        yield (
            f"{len(both)} of {len(eval_videos)} videos to evaluate on are trained on, so that "
            f"scores will be too good: {some_names(sorted(both))}."
        )


def _segment_warnings(videos):
    if not videos:
        return
    owner = np.repeat(np.arange(len(videos)), [len(video.labels) for video in videos])
    segments = np.concatenate([video.segments_sec for video in videos])
    labels = np.concatenate([video.labels for video in videos])
    ends = np.array([v.duration_sec or np.inf for v in videos])[owner]
    late = segments[:, 1] - ends
    usable = usable_instances(owner, segments, labels)
    short = segments[:, 1] - segments[:, 0] < SAME_SEC

    def example(rows):
        row = rows[0]
        start, end = segments[row]
        return f"{videos[owner[row]].video_id!r} from {start:g} to {end:g} s"

    outside = np.flatnonzero((segments[:, 0] < -ROUNDING_SEC) | (late > ROUNDING_SEC))
    if len(outside):
        outside = outside[np.argsort(-late[outside], kind="stable")]
        yield (
            f"{len(outside)} of {len(labels)} actions start before their video or end after it, "
            f"the worst in {example(outside)}."
        )
    repeated = np.flatnonzero(~usable & ~short)
    if len(repeated):
        yield (
            f"{len(repeated)} of {len(labels)} actions are annotated twice (same label and times), "
            f"first in {example(repeated)}; the evaluation counts them once."
        )
    if short.any():
        yield (
            f"{np.count_nonzero(short)} of {len(labels)} actions are shorter than a millisecond, "
            f"first in {example(np.flatnonzero(short))}; the evaluation leaves them out."
        )


def some_names(names):
    """Quotes the first of many names."""
    shown = ", ".join(map(repr, names[:_MOST_NAMED]))
    more = len(names) - _MOST_NAMED
    return f"{shown} and {more} more" if more > 0 else shown
