"""Draws `timeline.png`, the picture of README: what happens in a sequence, and what is detected.

    pip install ".[plot]"
    python docs/timeline.py

The data set is the made-up one, and the model the preset `simulated`, which was trained on other
sequences of it. Of the 40 test sequences the middle one by mAP is drawn, with every detection of
`MIN_SCORE` or more, wrong ones, too: neither the best that the model can do nor the worst.
"""

import pathlib
import tempfile

import numpy as np
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.patches import Patch

from keras_actionformer import ActionFormer, evaluate, load_annotations, simulate_dataset

PICTURE = pathlib.Path(__file__).with_name("timeline.png")
MIN_SCORE = 0.3
TRUTH = "#333333"
# Okabe and Ito's colours, which people with any kind of colour vision tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")


def main():
    with tempfile.TemporaryDirectory() as folder:
        simulate_dataset(folder, num_train=0)
        videos = load_annotations(f"{folder}/annotations.json").videos
        feats = [np.load(f"{folder}/feats/{video.video_id}.npy") for video in videos]
    results = ActionFormer.from_preset("simulated").detect(feats)
    scores = [
        evaluate([video], {video.video_id: found}).average_mean_ap
        for video, found in zip(videos, results, strict=True)
    ]
    middle = np.argsort(scores)[len(scores) // 2]
    video, found = videos[middle], results[middle].filter(min_score=MIN_SCORE)
    print(f"{video.video_id}, mAP {100 * scores[middle]:.2f}: {PICTURE}")
    draw(video, found).savefig(PICTURE, dpi=160)


def draw(video, found):
    """Returns a figure with a lane a class: true actions in its first row, detections below.

    Args:
      video: `Video`, whose actions are the truth.
      found: `Detections` of it, best first.
    """
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    axes = figure.add_subplot()
    top, centres = 0, []  # of the next lane; in rows, downwards
    for label, colour in enumerate(COLOURS):
        true = video.segments_sec[video.labels == label]
        ours = found[found.labels == label]
        rows = rows_without_overlap(ours.segments_sec)
        bottom = top + 2 + max(rows, default=0)
        if label % 2 == 0:
            axes.axhspan(top - 0.25, bottom + 0.25, color="#F4F4F4", linewidth=0)
        add_bars(axes, true, [top] * len(true), TRUTH, [1] * len(true))
        add_bars(axes, ours.segments_sec, [top + 1 + row for row in rows], colour, ours.scores)
        centres.append((top + bottom) / 2)
        top = bottom + 0.5
    axes.set_ylim(top - 0.25, -0.25)
    axes.set_yticks(centres, found.class_names, fontsize=14)
    axes.set_xlim(0, video.duration_sec)
    axes.set_xlabel("seconds", fontsize=13)
    axes.tick_params(axis="x", labelsize=13)
    axes.tick_params(axis="y", length=0)
    axes.spines[["left", "top", "right"]].set_visible(False)
    scores = (0.3, 0.5, 0.7)
    strips = [tuple(Patch(color=c, alpha=s, linewidth=0) for c in COLOURS) for s in scores]
    figure.legend(
        [Patch(color=TRUTH), *strips],
        ["what happened", *(f"detected, score {s}" for s in scores)],
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0)},  # side by side
        loc="outside upper center", ncols=4, frameon=False, fontsize=13, handlelength=1.9,
    )  # fmt: skip
    return figure


def rows_without_overlap(segments_sec):
    """Returns for each segment the first row, 0 or more, where none before it is in its way."""
    rows = []
    for i, (start, end) in enumerate(segments_sec):
        taken = {
            rows[j] for j in range(i) if segments_sec[j][0] < end and start < segments_sec[j][1]
        }
        rows.append(next(row for row in range(i + 1) if row not in taken))
    return rows


def add_bars(axes, segments_sec, rows, colour, strengths):
    for (start, end), row, strength in zip(segments_sec, rows, strengths, strict=True):
        axes.barh(
            row + 0.5, end - start, 0.76, start, color=colour, alpha=float(strength), linewidth=0
        )


if __name__ == "__main__":
    main()
