"""Whether features that can be read have something to learn from. Lengths: see lengths.py."""

import numpy as np

from keras_actionformer.errors import UserError


def constant_problem(video, feats, where):
    """Tells when features are the same at every step, zeros for example.

    Args:
      video: `Video`.
      feats: float (T, C).
      where: str, what to call the features, see `FeatureFiles.describe`.

    Returns:
      None, or (sentence, is_error): an error when the video has actions, of which such features say
      nothing. (A still picture without an action may look like this.)
    """
    # Nearly all features differ here already.
    if len(feats) < 2 or not np.array_equal(feats[0], feats[-1]) or (feats != feats[0]).any():
        return None
    what = "holds only zeros" if not feats.any() else "is the same at every step"
    sentence = (
        f"{where} {what} ({len(feats)} steps), which no action can be learnt from; compute it "
        "again or leave the video out."
    )
    return sentence, bool(len(video.labels))


def late_problem(videos, grids, lengths):
    """Tells when actions start after the end of their video's features.

    Training leaves them out. When it is most actions, it is their times that are wrong.

    Args:
      videos: sequence of `Video`.
      grids: sequence of `FeatureGrid`, one a video.
      lengths: sequence of int, steps of each video's features on its grid.

    Returns:
      None, or (sentence, is_error).
    """
    num_actions, num_late, example = 0, 0, None
    for video, grid, length in zip(videos, grids, lengths, strict=True):
        late = grid.to_grid(video.segments_sec[:, 0]) >= length + grid.offset_grid
        num_actions += len(late)
        num_late += np.count_nonzero(late)
        if late.any() and example is None:
            start_sec = video.segments_sec[np.argmax(late), 0]
            example = (
                f"{video.video_id!r} has one from {start_sec:g} s, but its features end at "
                f"{grid.to_sec(length):.4g} s"
            )
    if not num_late:
        return None
    sentence = (
        f"{num_late} of {num_actions} actions start after the end of their video's features: "
        f"{example}"
    )
    if num_late <= num_actions / 2:
        return f"{sentence}; there is nothing to learn or find them from.", False
    return (
        f"{sentence}; are the times frames or milliseconds? They must be seconds. Or else correct "
        "fps and stride_frames.",
        True,
    )


def stop_at_error(problem):
    """Raises UserError for a problem that is an error; None and others pass.

    Args:
      problem: None, or (sentence, is_error).
    """
    if problem is not None and problem[1]:
        raise UserError(problem[0])
