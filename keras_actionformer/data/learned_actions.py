"""Which of a video's actions a training learns, and from when to when.

What OpenTAD leaves out and rounds, and the reference does not; scores count every action as it is.
"""

import dataclasses

import numpy as np

from keras_actionformer.errors import UserError


def learned_videos(
    videos,
    timing,
    whole_frames=False,
    min_action_share=0.0,
    drop_repeated=False,
    drop_without=False,
):
    """Returns the videos with the actions that a training learns.

    Args:
      videos: sequence of `Video`.
      timing: `Timing`, for the frame rates.
      whole_frames: bool, starts and ends are cut down to whole frames; an action within one frame
        is left out.
      min_action_share: float in [0, 1), an action must last more than this share of its video; 0
        keeps all.
      drop_repeated: bool, an action of the same times and class as an earlier one is left out.
      drop_without: bool, videos without any action are left out.

    Returns:
      tuple of `Video`, in the same order.

    Raises:
      UserError: a frame rate, or a duration, is needed and not known.
    """
    learned = []
    for video in videos:
        if whole_frames:
            fps = timing.grid_of(video, num_steps=1).fps
            video = dataclasses.replace(video, segments_sec=_frames(video.segments_sec, fps) / fps)
            video = _keep(video, _lengths_sec(video) > 0)
        if min_action_share:
            if video.duration_sec is None:
                raise UserError(
                    f"Video {video.video_id!r} has no 'duration' in the annotations, of which its "
                    "actions must last a share (data.min_action_share); add it there."
                )
            video = _keep(video, _lengths_sec(video) > min_action_share * video.duration_sec)
        if drop_repeated:
            video = _keep(video, _first_of_equal(video))
        if len(video.labels) or not drop_without:
            learned.append(video)
    return tuple(learned)


def _frames(segments_sec, fps):
    """Seconds in frames, cut down; what is a whole number but for rounding stays it."""
    frames = np.asarray(segments_sec, np.float64) * fps
    nearest = np.round(frames)
    return np.where(np.abs(frames - nearest) < 1e-6, nearest, np.floor(frames))


def _lengths_sec(video):
    return video.segments_sec[:, 1] - video.segments_sec[:, 0]


def _first_of_equal(video):
    """(N,) bool, False for actions that repeat an earlier one."""
    segments = video.segments_sec.tolist()
    keys = [(*times, int(x)) for times, x in zip(segments, video.labels, strict=True)]
    return np.array([key not in keys[:i] for i, key in enumerate(keys)], bool)


def _keep(video, kept):
    """The video with the actions of a mask (N,) alone."""
    return dataclasses.replace(
        video, segments_sec=video.segments_sec[kept], labels=np.asarray(video.labels)[kept]
    )
