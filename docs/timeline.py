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

from keras_actionformer import (
    ActionFormer,
    evaluate,
    load_annotations,
    plot_timeline,
    simulate_dataset,
)

PICTURE = pathlib.Path(__file__).with_name("timeline.png")
MIN_SCORE = 0.3


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
    plot_timeline(results[middle], videos[middle], PICTURE, min_score=MIN_SCORE, all_classes=True)
    print(f"{videos[middle].video_id}, mAP {100 * scores[middle]:.2f}: {PICTURE}")


if __name__ == "__main__":
    main()
