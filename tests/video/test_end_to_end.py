"""From videos and a table of what happens in them to a trained model, and back onto a video."""

import keras
import pytest

from helpers.programs import run_here
from keras_actionformer.presets.runs import run_scores
from keras_actionformer.video.reading import read_frames
from keras_actionformer.video.simulated import simulate_videos

pytest.importorskip("av")


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="trains")
def test_made_up_videos(tmp_path):
    def run(verb, *options):
        done = run_here(tmp_path, verb, *options)
        assert done.returncode == 0, done.stderr

    video = "videos/test_00.mp4"
    simulate_videos(tmp_path, num_train=10, num_test=3)
    run("extract", "--videos=videos", "--encoder=motion", "--output=feats")
    run("init", "--annotations=bouts.csv", "--feats=feats", "--output=mine.py")
    run(
        "train", "--config=mine.py", "--workdir=run", "--config.data.val_subset=",
        "--config.train.warmup_epochs=2", "--config.train.epochs=18",
    )  # fmt: skip
    # Hardly learnt, and yet not by chance: untrained models have less than 1.
    assert run_scores(tmp_path / "run")["average"] > 15
    run(
        "detect", "--workdir=run", f"--videos={video}", "--score_threshold=0.1",
        "--output=found.csv",
    )  # fmt: skip
    run("draw", f"--videos={video}", "--detections=found.csv", "--output=drawn.mp4")
    times = [[time for time, _ in read_frames(tmp_path / name)] for name in (video, "drawn.mp4")]
    assert times[1] == pytest.approx(times[0], abs=1e-4)
