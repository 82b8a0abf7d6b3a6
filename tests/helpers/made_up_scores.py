"""Ground truth and detections that are made up, with names that a page must not believe."""

import numpy as np

from keras_actionformer.data.annotations import Video
from keras_actionformer.detection.detections import Detections
from keras_actionformer.report.sources import Scored

HOSTILE = "</script><script>document.title='broken out'</script>"
NAMES = ("run", HOSTILE, "<b>jump</b> & sit")


def made_up(num_videos=8, seed=0, blur_sec=0.4, names=NAMES, share_found=0.8):
    """Videos of a minute with actions, and detections of most of them beside wrong ones.

    Args:
      num_videos: int.
      seed: int.
      blur_sec: float, how far boundaries are off.
      names: tuple of str, the classes.
      share_found: float, of the actions.

    Returns:
      `Scored`.
    """
    rng = np.random.default_rng(seed)
    videos, detections = [], {}
    for index in range(num_videos):
        count = int(rng.integers(3, 9))
        starts = np.sort(rng.uniform(0, 55, count)).round(2)
        segments = np.stack([starts, starts + rng.uniform(1, 5, count).round(2)], axis=1)
        labels = rng.integers(len(names), size=count)
        video_id = f"video {index} {HOSTILE}" if index == 1 else f"video_{index}"
        videos.append(Video(video_id, "test", 60.0, None, segments, labels))
        found = rng.random(count) < share_found
        right = segments[found] + rng.normal(0, blur_sec, (found.sum(), 2))
        wrong = rng.uniform(0, 55, 12)
        detections[video_id] = Detections(
            np.concatenate([np.sort(right, axis=1), np.stack([wrong, wrong + 2], axis=1)]),
            np.concatenate([rng.uniform(0.3, 0.99, found.sum()), rng.uniform(0, 0.6, 12)]),
            np.concatenate([labels[found], rng.integers(len(names), size=12)]),
            names,
        )
    return Scored("made up", tuple(videos), detections, names)
