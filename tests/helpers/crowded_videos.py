"""Annotated videos and detections in them, for what scores and analyses detections."""

import numpy as np

from keras_actionformer import Detections, Video


def video(video_id, segments_sec, labels, duration_sec=None):
    """An annotated `Video` from lists."""
    segments_sec = np.array(segments_sec, np.float64).reshape(-1, 2)
    return Video(video_id, "test", duration_sec, None, segments_sec, np.array(labels, np.int64))


def random_case(seed, num_videos=4, count=120):
    """Crowded segments of three classes that overlap with each other; one video has no instance.

    Returns:
      (list of `Video`, {video id: `Detections`}): no two scores are equal, and no instance is of
      class 3.
    """
    rng = np.random.default_rng(seed)
    truth, found = [], {}
    for place in range(num_videos):
        starts = rng.uniform(0, 200, 0 if place == 1 else 25)
        segments = np.stack([starts, starts + rng.uniform(2, 20, len(starts))], axis=1)
        name = f"video_{place}"
        truth.append(video(name, segments, rng.integers(0, 3, len(starts)), 220))
        starts = rng.uniform(0, 200, count)
        moved = np.stack([starts, starts + rng.uniform(2, 20, count)], axis=1)
        near = np.arange(len(segments))
        moved[near] = np.sort(segments + rng.normal(0, 1, segments.shape), axis=1)
        labels = rng.integers(0, 4, count)
        labels[near] = truth[-1].labels
        scores = (rng.permutation(count) + place / num_videos) / count
        found[name] = Detections(moved, scores, labels)
    return truth, found
