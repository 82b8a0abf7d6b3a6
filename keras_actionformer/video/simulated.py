"""A small made-up set of videos: two shapes in a cage, and a table of what they do when.

What a fixed camera sees of two animals: each wanders about, stays, and at times behaves in one of
five ways; both may at once. What is no behaviour distracts: walks, twitches of a moment, a third
shape that drifts by. The light changes slowly, and the camera adds noise. Files are as people have
them: H.264 and VP9, 8 frames a second, 29.97, and a rate that varies as a telephone's does.
"""

import csv
import fractions
import os
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from keras_actionformer.extras import import_extra
from keras_actionformer.files import atomic_write
from keras_actionformer.video.writing import write_video

BEHAVIOURS = ("bounce", "circle", "glow", "shake", "swell")
HEIGHT, WIDTH = 120, 160  # pixels
VIDEO_SEC = (50.0, 70.0)  # Uniform.
BOUT_SEC = (2.0, 12.0)  # Log-uniform; short and long bouts are equally common.
PAUSE_SEC = (2.0, 7.0)  # Uniform; of one shape between two bouts.
_SUFFIXES = (".mp4", ".webm", ".mkv")
_RATES = (fractions.Fraction(30_000, 1001), fractions.Fraction(8), None)  # None: it varies
_VARYING_SEC = (1 / 30, 1 / 7)  # Uniform, from one picture to the next.

# What a shape is, its colour and size (pixels), and where its middle stays: from (right, down) to
# (right, down). Each of the two has a cage of its own; the third does nothing, and may be anywhere.
_DISC = ("disc", (214, 96, 77), 13.0, ((30, 45), (50, 75)))
_SQUARE = ("square", (77, 136, 214), 12.0, ((110, 45), (130, 75)))
_DRIFTER = ("disc", (150, 150, 140), 6.0, ((10, 10), (150, 110)))
_EASE_SEC = 0.25  # a behaviour begins and ends so gently
_WALK_SEC, _TWITCH_SEC = 1.0, 0.3
_NOISE = 4.0  # standard deviation, of 255 levels
_LIGHT = 0.15  # by which the light rises and falls, of its mean


class Bout(NamedTuple):
    """That a shape behaves so from one time to another, in seconds."""

    behaviour: str
    start_sec: float
    end_sec: float


def simulate_videos(
    output_dir: str | os.PathLike[str],
    num_train: int = 48,
    num_test: int = 12,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Writes made-up videos `videos/*` and `bouts.csv`: video, start, end, behaviour, subset.

    With the defaults 60 videos of about a minute (160 x 120 pixels, no sound). A video depends on
    `seed`, its subset and its number alone (and on how FFmpeg rounds): a larger set begins with the
    videos of a smaller one.

    Args:
      output_dir: str or `os.PathLike`, created when missing.
      num_train: int, videos of the subset "training".
      num_test: int, videos of the subset "test".
      seed: int, 0 or more.
      progress: function of (videos that are done, all videos), or None.

    Returns:
      int, the bouts in all videos.

    Raises:
      UserError: the package of the extra `video` lacks, or a file cannot be written.
    """
    output_dir = pathlib.Path(output_dir)
    rows = []
    total = num_train + num_test
    for subset, (name, count) in enumerate((("training", num_train), ("test", num_test))):
        for i in range(count):
            rng = np.random.default_rng([seed, subset, i])
            file = f"{name}_{i:02d}{_SUFFIXES[i % len(_SUFFIXES)]}"
            # Every ending comes with every rate.
            rate = _RATES[(i + i // len(_SUFFIXES)) % len(_RATES)]
            bouts = _write(output_dir / "videos" / file, rate, rng)
            rows.extend(
                (file, f"{bout.start_sec:.2f}", f"{bout.end_sec:.2f}", bout.behaviour, name)
                for bout in sorted(bouts, key=lambda bout: bout.start_sec)
            )
            if progress is not None:
                progress(subset * num_train + i + 1, total)
    with atomic_write(output_dir / "bouts.csv") as file:  # last: where it is, all videos are
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("video", "start", "end", "behaviour", "subset"))
        writer.writerows(rows)
    return len(rows)


def _write(path, rate, rng):
    """Writes a video; returns its bouts."""
    av = import_extra("av", "av", "video", "Writing a video")
    duration_sec = rng.uniform(*VIDEO_SEC)
    times_sec = _times(rate, duration_sec, rng)
    histories = [[], *(_history(duration_sec, rng) for _ in range(2))]
    shapes = []
    for (*looks, home), bouts in zip((_DRIFTER, _DISC, _SQUARE), histories, strict=True):
        shapes.append((*looks, _states(bouts, home, times_sec, duration_sec, rng)))
    scene = _Scene(rng)
    light = 1 + _LIGHT * np.sin(2 * np.pi * (times_sec / rng.uniform(20, 60) + rng.random()))
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_video(path, None, HEIGHT, WIDTH, len(times_sec) / duration_sec) as writer:
        for k, time_sec in enumerate(times_sec):
            picture = scene.draw([(*looks, states[k]) for *looks, states in shapes], light[k])
            writer.write(av.VideoFrame.from_ndarray(picture, format="rgb24"), float(time_sec))
    return [bout for bouts in histories for bout in bouts]


def _times(rate, duration_sec, rng):
    """When each picture is shown, in seconds, float (N,)."""
    if rate is not None:
        return np.arange(int(duration_sec * rate)) / float(rate)
    pauses = rng.uniform(*_VARYING_SEC, int(duration_sec / _VARYING_SEC[0]))
    times_sec = np.cumsum(pauses) - pauses[0]
    return times_sec[times_sec < duration_sec]


# === What a shape does ===


def _history(duration_sec, rng):
    """The bouts of one shape, by time: a list of `Bout`."""
    bouts, now = [], rng.uniform(*PAUSE_SEC)
    while True:
        length = float(np.exp(rng.uniform(*np.log(BOUT_SEC))))
        if now + length > duration_sec - 0.5:
            return bouts
        behaviour = BEHAVIOURS[rng.integers(len(BEHAVIOURS))]
        bouts.append(Bout(behaviour, round(now, 2), round(now + length, 2)))
        now += length + rng.uniform(*PAUSE_SEC)


def _states(bouts, home, times_sec, duration_sec, rng):
    """Of a shape at each time: right, down (pixels), size and brightness (factors), (N, 4)."""
    states = np.stack(
        [*_places(bouts, home, times_sec, duration_sec, rng), *np.ones((2, len(times_sec)))]
    )
    for bout in bouts:
        since, until = times_sec - bout.start_sec, bout.end_sec - times_sec
        force = np.clip(np.minimum(since, until) / _EASE_SEC, 0, 1) * rng.uniform(0.8, 1.2)
        states += force * _movement(bout.behaviour, since, rng)
    for start in np.arange(rng.uniform(0, 6), duration_sec, 6):  # a moment's twitch
        inside = (times_sec >= start) & (times_sec < start + _TWITCH_SEC)
        states[0] += inside * rng.uniform(-4, 4)
    return states.T


def _places(bouts, home, times_sec, duration_sec, rng):
    """Right and down of a shape that stays where it behaves, and walks elsewhere between."""
    low, high = np.array(home)
    stays = [0.0, *(end for bout in bouts for end in (bout.start_sec, bout.end_sec)), duration_sec]
    knots, places, place = [], [], rng.uniform(low, high)
    for start, end in zip(stays[::2], stays[1::2], strict=True):
        # From the end of a bout to the start of the next: it stays, walks, and stays again.
        if end - start > _WALK_SEC:
            leaves = rng.uniform(start, end - _WALK_SEC)
            knots += [leaves, leaves + _WALK_SEC]
            places.append(place)
            place = rng.uniform(low, high)
            places.append(place)
    sway = rng.uniform(0, 2 * np.pi, 2)
    return [
        np.interp(times_sec, knots, [place[axis] for place in places])
        + 1.5 * np.sin(times_sec * (0.7, 0.9)[axis] + sway[axis])
        for axis in (0, 1)
    ]


def _movement(behaviour, since_sec, rng):
    """What a behaviour adds to right, down, size and brightness, (4, N)."""
    none = np.zeros_like(since_sec)
    turn = 2 * np.pi * since_sec * rng.uniform(0.85, 1.15)
    if behaviour == "bounce":
        return np.stack([none, -18 * np.abs(np.sin(0.6 * turn)), none, none])
    if behaviour == "circle":
        way = rng.choice([-1, 1])
        return np.stack([way * 16 * np.sin(0.6 * turn), 16 * np.cos(0.6 * turn), none, none])
    if behaviour == "glow":
        return np.stack([none, none, none, 0.45 * np.sin(turn)])
    if behaviour == "shake":
        return np.stack([6 * np.sin(1.8 * turn), none, none, none])
    return np.stack([none, none, 0.5 * np.sin(0.9 * turn), none])  # swell


# === What the camera sees ===


class _Scene:
    """A cage, its floor and a camera with noise."""

    def __init__(self, rng):
        self._rng = rng
        self._down, self._right = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
        floor = rng.uniform(90, 130, 3) + 12 * np.sin(self._right / rng.uniform(6, 14))[..., None]
        self._floor = floor.astype(np.float32)
        # Drawn once; every picture gets another part of it.
        noise = rng.standard_normal((HEIGHT + 64, WIDTH + 64, 3), np.float32)
        self._noise = _NOISE * noise

    def draw(self, shapes, light):
        """A picture, uint8 (H, W, 3), of (kind, colour, pixels, state of `_states`) of shapes."""
        picture = self._floor.copy()
        for kind, colour, pixels, (right, down, size, brightness) in shapes:
            radius = pixels * size
            part = tuple(
                slice(max(int(middle - radius) - 1, 0), max(int(middle + radius) + 3, 0))
                for middle in (down, right)
            )
            away = np.abs(self._down[part] - down), np.abs(self._right[part] - right)
            reach = np.hypot(*away) if kind == "disc" else np.maximum(*away)
            cover = np.clip(radius - reach + 0.5, 0, 1)[..., None]
            picture[part] += cover * (brightness * np.float32(colour) - picture[part])
        top, left = self._rng.integers(0, 64, 2)
        picture *= light
        picture += self._noise[top : top + HEIGHT, left : left + WIDTH]
        return np.clip(picture, 0, 255, out=picture).astype(np.uint8)
