"""Made-up results to draw, and what makes a picture readable."""

import itertools
from unittest import mock

import numpy as np

from keras_actionformer import Detections, RawOutputs, Video

DURATION_SEC = 300.0
_LONG_NAMES = ("throwing a javelin after a run-up of twenty metres", "opening a tall fridge door")


def class_names(num_classes):
    """Names of which every fourth is long."""
    return tuple(
        f"{_LONG_NAMES[label % 2]} {label}" if label % 4 == 0 else f"action {label}"
        for label in range(num_classes)
    )


def made_up_video(num_classes, seed=0, video_id="video_0"):
    """A `Video` with two actions a class or more, and `Detections` of it: some right, some not."""
    rng = np.random.default_rng(seed)
    count = max(6, 2 * num_classes)
    labels = np.arange(count) % num_classes
    starts = rng.uniform(0, 0.9 * DURATION_SEC, count)
    lengths = rng.lognormal(2, 0.8, count)
    segments = np.stack([starts, np.minimum(starts + lengths, DURATION_SEC)], axis=1)
    video = Video(video_id, "test", DURATION_SEC, 30.0, segments, labels)
    found = np.clip(segments.repeat(2, 0) + rng.normal(0, 1.5, (2 * count, 2)), 0, DURATION_SEC)
    wrong = rng.random(2 * count) < 0.15
    found_labels = np.where(wrong, rng.integers(0, num_classes, 2 * count), labels.repeat(2))
    scores = rng.beta(2, 2, 2 * count)
    return video, Detections(np.sort(found, 1), scores, found_labels, class_names(num_classes))


def made_up_raw_outputs(video, num_classes, num_levels=4):
    """`RawOutputs` that see the actions of a video, each at the level of its length."""
    rng = np.random.default_rng(1)
    levels = []
    for level in range(num_levels):
        times = np.arange(0.5 * 2**level, DURATION_SEC, 2.0**level)
        segments = times[:, None] + 2.0**level * np.array([-1, 1])
        scores = np.full((len(times), num_classes), 0.01)
        for (start, end), label in zip(video.segments_sec, video.labels, strict=True):
            near = abs(times - (start + end) / 2) < (end - start) / 4 + 2.0**level
            fit = np.exp(-abs(np.log2((end - start) / 2.0 ** (level + 1))))
            scores[near, label] = 0.9 * fit
            segments[near] = [start, end] + rng.normal(0, 0.3, (near.sum(), 2))
        levels.append((times, np.full(len(times), level), scores, segments))
    columns = (np.concatenate(column) for column in zip(*levels, strict=True))
    return RawOutputs(*columns, class_names(num_classes))


# === Readable ===


def drawn_texts(figure):
    """Every text that is drawn, and the box in pixels that it fills: list of (str, bbox)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    canvas, found, draw = FigureCanvasAgg(figure), {}, Text.draw

    def record(text, renderer, *args, **kwargs):
        draw(text, renderer, *args, **kwargs)
        if text.get_visible() and text.get_text().strip():
            found[id(text)] = text.get_text(), text.get_window_extent(renderer)

    with mock.patch.object(Text, "draw", record):
        canvas.draw()
    return list(found.values())


def assert_readable(figure):
    """All texts lie on the figure, and none on another. Returns them."""
    texts, slack = drawn_texts(figure), 1.0  # a pixel, of rounding
    assert texts
    for text, box in texts:
        inside = (
            box.x0 >= -slack
            and box.y0 >= -slack
            and box.x1 <= figure.bbox.x1 + slack
            and box.y1 <= figure.bbox.y1 + slack
        )
        assert inside, f"{text!r} is clipped: {box} on {figure.bbox}"
    for (text, box), (other, other_box) in itertools.combinations(texts, 2):
        apart = (
            box.x1 <= other_box.x0 + slack
            or other_box.x1 <= box.x0 + slack
            or box.y1 <= other_box.y0 + slack
            or other_box.y1 <= box.y0 + slack
        )
        assert apart, f"{text!r} and {other!r} overlap"
    return [text for text, _ in texts]
