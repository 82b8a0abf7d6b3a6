"""Whether features that can be read fit their videos and have something to learn from."""

import numpy as np

from keras_actionformer.errors import UserError

# Of the steps that duration, fps and stride give, a length may miss the larger of these.
TOLERANCE = 0.1
TOLERANCE_STEPS = 2
# Frame rates that videos have; 23.976 and 29.97 are within the tolerance of theirs.
FRAME_RATES = (10, 12.5, 15, 20, 24, 25, 30, 50, 60, 100, 120)
# Factors by which a stride is likely to be wrong.
STRIDE_FACTORS = (2, 4, 8, 16, 1 / 2, 1 / 4, 1 / 8, 1 / 16)
# How near to one of these the value must be that would fit.
LIKELY = 0.025


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


def length_problem(videos, grids, lengths):
    """Compares features' lengths with their videos' durations.

    Counting windows that lie in the video wholly or only in part gives different lengths; all
    between the two are right.

    Args:
      videos: sequence of `Video`; those without a duration are not judged.
      grids: sequence of `FeatureGrid`, one a video.
      lengths: sequence of int, steps of each video's features on its grid.

    Returns:
      None, or (sentence, is_error): what does not fit and the likely cause; True when it is most
      of the videos, so that it is the settings and not single files that are wrong.
    """
    known = [row for row in zip(videos, grids, lengths, strict=True) if row[0].duration_sec]
    wrong = [row for row in known if _steps_off(*row) > 0]
    if not wrong:
        return None
    video, grid, length = wrong[0]
    steps = video.duration_sec * grid.fps / grid.stride_frames
    sentence = (
        f"The features of {len(wrong)} of {len(known)} videos do not fit the videos' durations: "
        f"{video.video_id!r} lasts {video.duration_sec:g} s, which at fps={grid.fps:g} and "
        f"stride_frames={grid.stride_frames:g} makes {steps:.0f} steps, but it has {length} "
        f"({length / max(steps, 1e-9):.2f} times as many)"
    )
    if len(wrong) <= len(known) / 2:
        return f"{sentence}; compute these again or correct their durations.", False
    return (
        f"{sentence}; fps or stride_frames is likely wrong{_likely_cause(wrong)}. Set "
        "check_durations=False (data.check_durations of a configuration) if the durations are "
        "wrong.",
        True,
    )


def _steps_off(video, grid, length):
    """Steps by which a length misses all that is tolerated; 0 or less is right."""
    steps = video.duration_sec * grid.fps / grid.stride_frames
    most, least = steps + 1, steps + 1 - 2 * grid.offset_grid
    return max(length - most, least - length) - max(TOLERANCE * steps, TOLERANCE_STEPS)


def _likely_cause(wrong):
    """Names the frame rate and the stride that would fit, where such values are usual."""
    rates, strides = [], []
    for video, grid, length in wrong:
        num_frames = video.duration_sec * grid.fps
        frames_seen = (length - 1) * grid.stride_frames + grid.window_frames
        rates.append(frames_seen / video.duration_sec)
        strides.append((num_frames - grid.window_frames) / max(length - 1, 1))
    grid = wrong[0][1]
    causes = [("fps", float(np.median(rates)), FRAME_RATES)]
    usual = [grid.stride_frames * factor for factor in STRIDE_FACTORS]
    causes.append(("stride_frames", float(np.median(strides)), usual))
    fitting = [
        f"{name}={value:g}"
        for name, fit, values in causes
        for value in values
        if abs(fit / value - 1) < LIKELY
    ]
    stride = causes[1][1]
    # Only where the videos agree on it is the stride a cause.
    agreeing = np.mean([abs(other - stride) < LIKELY * stride for other in strides])
    if not fitting and agreeing > 0.5:
        fitting = [f"stride_frames={stride:.3g}"]
    return f" ({' or '.join(fitting)} would fit)" if fitting else ""


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
