"""A small made-up data set: quick to write, learnable in minutes, not trivial.

Each class is a triple of signatures (onset, body, offset) that it shares with other classes, so a
single step does not tell the class: one has to see how an action begins and ends, from a second to
two minutes apart. Actions of different classes overlap; lone onsets, lone bodies and triples of no
class distract; coloured noise hides single steps. Signatures are directions in the feature space,
and features are averages over windows of frames, as those of a video network are.

Measured on the defaults: mAP averaged over tIoU 0.3 to 0.7 is 0.88 for an ActionFormer of width 64
after 480 steps of 4 sequences (under 3 minutes on 2 cores), and 0.22 for the best of twelve
smoothings and thresholds of a linear classifier of single steps.
"""

import os
import pathlib

import numpy as np

from keras_actionformer.containers.numpy_files import write_npy
from keras_actionformer.data.annotation_files import save_annotations
from keras_actionformer.data.annotations import Annotations, Video
from keras_actionformer.errors import UserError
from keras_actionformer.files import path_inside

FPS = 30
STRIDE_FRAMES = 8
WINDOW_FRAMES = 16
FEATS_DIM = 32

# The onset, body and offset signature of each class. All share them with others, except that body 2
# and onset 2 have one class each; other triples, such as (2, 2, 1), are distractors.
CLASSES = {
    "carry": (0, 0, 0),
    "cut": (1, 0, 1),
    "pour": (0, 1, 1),
    "stir": (1, 2, 0),
    "wash": (2, 1, 0),
}
NUM_SIGNATURES = (3, 3, 2)  # Onsets, bodies, offsets.

SEQUENCE_SEC = (120, 360)  # Uniform.
ACTION_SEC = (1.0, 120.0)  # Log-uniform; short and long actions are equally common.
ACTION_SHARE = 0.6  # An action takes at most this share of its sequence.
ACTION_EVERY_SEC = 22.0  # One action is tried to be placed per so many seconds.
MAX_OVERLAP = 2  # Actions that may go on at one time.
SAME_CLASS_GAP_SEC = 2.0  # Nearer together, two of a class would be one to any observer.
DISTRACTOR_EVERY_SEC = 30.0
DISTRACTOR_SEC = (1.0, 40.0)  # Log-uniform.

MARK_SEC = 3.0  # Onset and offset last so long, or a third of a short action.
MARK_SIZE = 3.0  # Height of an onset or offset.
BODY_SIZE = 1.5
BODY_WAVE = 0.3  # How much of the body's height swings.
SIZE_SPREAD = 0.15  # Standard deviation of the log of each action's height.

NOISE_SIZE = 0.4  # White noise of every step and channel.
DRIFT_SIZE = 0.3  # Coloured noise of every signature ...
DRIFT_MEMORY = 0.9  # ... and how much of it stays from step to step.


def simulate_dataset(
    output_dir: str | os.PathLike[str], num_train: int = 80, num_test: int = 40, seed: int = 0
) -> Annotations:
    """Writes a made-up data set: `annotations.json` and `feats/<video>.npy`.

    With the defaults 120 sequences of 2 to 6 minutes with 1,053 actions (seed 0), 7 MB. A sequence
    depends on `seed`, its subset and its number alone: a larger data set begins with the sequences
    of a smaller one.

    Args:
      output_dir: str or `os.PathLike`, created when missing.
      num_train: int, sequences of the subset "training".
      num_test: int, sequences of the subset "test".
      seed: int, 0 or more.

    Returns:
      `Annotations`.
    """
    output_dir = pathlib.Path(output_dir)
    mixing = _mixing(np.random.default_rng([seed]))
    videos = []
    for subset, (name, count) in enumerate((("training", num_train), ("test", num_test))):
        for i in range(count):
            video, feats = _sequence(
                f"{name}_{i:04d}", name, mixing, np.random.default_rng([seed, subset, i])
            )
            videos.append(video)
            write_npy(output_dir / "feats" / f"{video.video_id}.npy", feats)
    annotations = Annotations(tuple(videos), tuple(CLASSES))
    save_annotations(output_dir / "annotations.json", annotations)
    return annotations


def simulate_features(annotations, feats_dir, grid, feats_dim, seed=0, progress=print):
    """Writes made-up features for real annotations, to try a benchmark's settings without its data.

    Noise in every channel; while an action goes on, the direction of its class is added. The
    sequences are as long as windows fit into their video.

    Args:
      annotations: `Annotations`, whose videos have a duration.
      feats_dir: str or `os.PathLike`, gets `<video>.npy`, float32 (T, feats_dim).
      grid: `FeatureGrid`; with `fps` None, each video's own.
      feats_dim: int, C.
      seed: int, 0 or more.
      progress: function of one str, told after each video.

    Raises:
      UserError: a video has no duration, no frame rate is known, or an id is no name of a file in
        `feats_dir`.
    """
    feats_dir = pathlib.Path(feats_dir)
    directions = np.random.default_rng([seed, 0]).standard_normal(
        (len(annotations.class_names), feats_dim), np.float32
    )
    for video in annotations.videos:
        if video.duration_sec is None:
            raise UserError(f"Video {video.video_id!r} has no duration in the annotations.")
    ids = [video.video_id for video in annotations.videos]
    paths = {id_: path_inside(feats_dir, f"{id_}.npy") for id_ in ids}
    for i, video in enumerate(annotations.videos):
        video_grid = grid if grid.fps else grid.with_fps(video.fps)
        last_window = video_grid.to_grid(video.duration_sec) - grid.offset_grid
        steps = max(1, int(last_window) + 1)
        rng = np.random.default_rng([seed, i + 1])
        feats = rng.standard_normal((steps, feats_dim), np.float32)
        for segment_sec, label in zip(video.segments_sec, video.labels, strict=True):
            first, last = np.clip(np.round(video_grid.to_grid(segment_sec)), 0, steps).astype(int)
            feats[first : last + 1] += 0.2 * directions[label]
        write_npy(paths[video.video_id], feats)
        progress(f"{i + 1:3d}/{len(annotations.videos)} {video.video_id}: {steps} steps")


def _mixing(rng):
    """Returns the direction of every signature: orthonormal rows (8, 32), in random position."""
    directions, _ = np.linalg.qr(rng.standard_normal((FEATS_DIM, FEATS_DIM)))
    return directions[: sum(NUM_SIGNATURES)]


def _sequence(video_id, subset, mixing, rng):
    """Makes one sequence: its `Video` and its features, float16 (T, 32)."""
    num_frames = int(rng.uniform(*SEQUENCE_SEC) * FPS)
    segments, labels = _place_actions(num_frames / FPS, rng)
    signals = np.zeros((num_frames, sum(NUM_SIGNATURES)))  # Height of every signature by frame.
    triples = list(CLASSES.values())
    for (start, end), label in zip(segments, labels, strict=True):
        _add_event(signals, start, end, triples[label], rng)
    _add_distractors(signals, segments, rng)
    feats = _observe(signals, mixing, rng)
    video = Video(video_id, subset, num_frames / FPS, float(FPS), segments, labels)
    return video, feats.astype(np.float16)


def _place_actions(duration_sec, rng):
    """Draws actions that fit together: segments (N, 2) in seconds by start, and labels (N,)."""
    occupied = np.zeros((len(CLASSES), int(duration_sec * FPS) + 1), bool)
    gap = int(SAME_CLASS_GAP_SEC * FPS)
    placed = []
    for _ in range(round(duration_sec / ACTION_EVERY_SEC)):
        label = int(rng.integers(len(CLASSES)))
        length = _log_uniform(ACTION_SEC, ACTION_SHARE * duration_sec, rng)
        start = rng.uniform(0, duration_sec - length)
        first, last = int(start * FPS), int((start + length) * FPS) + 1
        near_same_class = occupied[label, max(first - gap, 0) : last + gap].any()
        if near_same_class or occupied[:, first:last].sum(axis=0).max() >= MAX_OVERLAP:
            continue
        occupied[label, first:last] = True
        placed.append((start, start + length, label))
    placed = np.array(sorted(placed), np.float64).reshape(-1, 3)
    return placed[:, :2].round(3), placed[:, 2].astype(np.int64)


def _log_uniform(limits, most, rng):
    low, high = limits
    return float(np.exp(rng.uniform(np.log(low), np.log(min(high, most)))))


def _add_distractors(signals, segments, rng):
    """Adds what looks like a part of an action, or like an action of no class."""
    duration_sec = len(signals) / FPS
    classes = set(CLASSES.values())
    for i in range(round(duration_sec / DISTRACTOR_EVERY_SEC)):
        triple = tuple(int(rng.integers(count)) for count in NUM_SIGNATURES)
        length = _log_uniform(DISTRACTOR_SEC, ACTION_SHARE * duration_sec, rng)
        start = rng.uniform(0, duration_sec - length)
        onset, body, offset = triple
        kind = i % 3
        if kind == 0:
            _add_event(signals, start, start + length, (onset, None, None), rng)
        elif kind == 1:
            _add_event(signals, start, start + length, (None, body, None), rng)
        # An action beside it could complete the triple of a class, and nobody could tell.
        elif triple not in classes and not _overlaps(start, start + length, segments):
            _add_event(signals, start, start + length, triple, rng)


def _overlaps(start, end, segments):
    return bool(((segments[:, 0] < end) & (segments[:, 1] > start)).any())


def _add_event(signals, start_sec, end_sec, triple, rng):
    """Adds the signatures of one event to `signals` (frames, 8); None leaves one of them out."""
    seconds = (np.arange(len(signals)) + 0.5) / FPS
    since, until = seconds - start_sec, end_sec - seconds
    inside = (since >= 0) & (until >= 0)
    mark_sec = min(MARK_SEC, (end_sec - start_sec) / 3)
    size = np.exp(SIZE_SPREAD * rng.standard_normal())
    phase, period = rng.uniform(0, 2 * np.pi), rng.uniform(2, 8)
    wave = 1 + BODY_WAVE * np.sin(2 * np.pi * seconds / period + phase)
    onset, body, offset = triple
    num_onsets, num_bodies, _ = NUM_SIGNATURES
    if onset is not None:
        signals[:, onset] += size * MARK_SIZE * (inside & (since < mark_sec))
    if body is not None:
        signals[:, num_onsets + body] += size * BODY_SIZE * wave * inside
    if offset is not None:
        column = num_onsets + num_bodies + offset
        signals[:, column] += size * MARK_SIZE * (inside & (until < mark_sec))


def _observe(signals, mixing, rng):
    """Averages signals over windows, adds noise, and mixes them: (frames, 8) -> (T, 32)."""
    windows = np.lib.stride_tricks.sliding_window_view(signals, WINDOW_FRAMES, axis=0)
    latent = windows[::STRIDE_FRAMES].mean(axis=-1)
    latent = latent + DRIFT_SIZE * _coloured_noise(latent.shape, rng)
    return latent @ mixing + NOISE_SIZE * rng.standard_normal((len(latent), FEATS_DIM))


def _coloured_noise(shape, rng):
    """Returns noise of variance 1 whose neighbours in time correlate by `DRIFT_MEMORY`."""
    noise = rng.standard_normal(shape)
    for t in range(1, len(noise)):
        noise[t] = DRIFT_MEMORY * noise[t - 1] + np.sqrt(1 - DRIFT_MEMORY**2) * noise[t]
    return noise
