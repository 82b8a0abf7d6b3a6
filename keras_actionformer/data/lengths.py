"""Whether features are as long as their videos: a wrong frame rate or stride shows here."""

import numpy as np

# Of the steps that duration, fps and stride give, a length may miss the larger of these.
TOLERANCE = 0.1
TOLERANCE_STEPS = 2
# Frame rates that videos have; 23.976 and 29.97 are within the tolerance of theirs.
FRAME_RATES = (10, 12.5, 15, 20, 24, 25, 30, 50, 60, 100, 120)
# Factors by which a stride is likely to be wrong.
STRIDE_FACTORS = (2, 4, 8, 16, 1 / 2, 1 / 4, 1 / 8, 1 / 16)
# How near to one of these the value must be that would fit.
LIKELY = 0.025


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
