"""A video that goes on: a file that grows while it is watched, to its end or until Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import keras
import numpy as np
import pytest

from helpers.programs import ROOT, run_here
from helpers.videos import number_in, write_sound, write_video
from keras_actionformer import ActionFormer, load_detections
from keras_actionformer.data.encoder_records import SAMPLING
from keras_actionformer.errors import UserError
from keras_actionformer.video.extraction import record_of
from keras_actionformer.video.live import open_live
from keras_actionformer.video.motion import MotionEncoder
from keras_actionformer.video.reading import probe, sample_frames, sample_live

pytest.importorskip("av")

GRID = {"fps": 8, "stride_frames": 2, "window_frames": 4}


def moving(number):
    """A square that goes about, so that features differ."""
    picture = np.zeros((48, 64, 3), np.uint8)
    place = (number * 3 // 2) % 48
    picture[8 : 8 + 16, place : place + 12] = 40 + (number * 5) % 200
    return picture


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """A small network with random weights, which sees 26 steps before and after."""
    folder = tmp_path_factory.mktemp("preset") / "small"
    keras.utils.set_random_seed(0)
    ActionFormer(
        input_dim=MotionEncoder.width, num_classes=2, class_names=["go", "stay"], grid=GRID,
        backbone_arch=(1, 0, 1), embd_dim=8, fpn_dim=8, head_dim=8, n_head=2, n_mha_win_size=5,
        max_seq_len=64, cls_prior_prob=0.4, encoder={**record_of(MotionEncoder()), SAMPLING: GRID},
    ).save_to_preset(folder)  # fmt: skip
    return folder


def grow(path, content, pieces=40, pause_sec=0.02):
    """Writes a file piece by piece, in a thread."""
    path.write_bytes(b"")

    def write():
        size = -(-len(content) // pieces)
        for start in range(0, len(content), size):
            with open(path, "ab") as file:
                file.write(content[start : start + size])
            time.sleep(pause_sec)

    thread = threading.Thread(target=write)
    thread.start()
    return thread


@pytest.mark.parametrize("suffix", [".ts", ".mkv"])
def test_the_pictures_of_a_growing_file(tmp_path, suffix):
    whole = write_video(tmp_path / f"whole{suffix}", 100, options={"g": "10"})
    growing = tmp_path / f"growing{suffix}"
    thread = grow(growing, whole.read_bytes())
    with open_live(str(growing), 1.0, lambda: False) as (container, stream):
        seen = [number_in(p) for p in sample_live(container, stream, "growing", 10)]
    thread.join()
    wanted = [number_in(p) for p in sample_frames(whole, 10, probe(whole).duration_sec)]
    assert seen == wanted and len(seen) == 40


def test_what_cannot_be_watched(tmp_path):
    cases = {
        "no.ts": "is no file here; name one, an address such as rtsp://HOST/PATH, or the number",
        str(write_sound(tmp_path / "sound.mkv", 0.5)): "holds no video, only audio",
    }
    (tmp_path / "noise.ts").write_bytes(bytes(range(256)) * 40)
    cases[str(tmp_path / "noise.ts")] = "cannot be watched .* as .ts, .mkv or .flv"
    if sys.platform == "linux":
        cases["987"] = "'987' cannot be watched .*; check that /dev/video987 is a camera"
    for source, text in cases.items():
        with pytest.raises(UserError, match=text):
            with open_live(source, 0.1, lambda: False):
                pass


def test_an_address_leads_to_no_file(tmp_path):
    """A playlist from the net could name files here."""
    for source in ("http://127.0.0.1:9/a.m3u8", "rtsp://127.0.0.1:9/a"):
        with pytest.raises(UserError, match="cannot be watched .*; check the address"):
            with open_live(source, 1.0, lambda: False):
                pass


def test_as_detect_on_the_whole_video(tmp_path, preset):
    whole = write_video(tmp_path / "whole.ts", 1000, options={"g": "10"}, picture=moving)
    done = run_here(
        tmp_path, "detect", f"--preset={preset}", "--videos=whole.ts", "--output=whole.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    wanted = load_detections(tmp_path / "whole.json")["whole"]
    threshold = float(np.sort(wanted.scores)[-40:][0]) - 1e-4
    wanted = wanted.filter(min_score=threshold)
    assert len(wanted) >= 20
    longest_sec = np.diff(wanted.segments_sec).max() + 0.1

    thread = grow(tmp_path / "growing.ts", whole.read_bytes(), 100, 0.01)
    done = run_here(
        tmp_path, "detect", f"--preset={preset}", "--watch=growing.ts", "--output=found.jsonl",
        f"--score_threshold={threshold}", f"--longest_sec={longest_sec}", "--quiet_sec=2",
        "--every_sec=5",
    )  # fmt: skip
    thread.join()
    assert done.returncode == 0, done.stderr
    assert f"{len(wanted)} detections. Wrote found.jsonl." in done.stdout
    found = load_detections(tmp_path / "found.jsonl")["growing"]
    orders = [np.lexsort(x.segments_sec.T) for x in (wanted, found)]
    for name, tolerance in (("segments_sec", 1e-3), ("scores", 1e-4)):
        ours, theirs = (
            getattr(x, name)[i] for x, i in zip((found, wanted), orders[::-1], strict=True)
        )
        np.testing.assert_allclose(ours, theirs, atol=tolerance)
    names = (np.array(x.names)[i].tolist() for x, i in zip((found, wanted), orders[::-1]))
    assert next(names) == next(names)
    # A line is written once and for all; one that is being written is left out.
    text = (tmp_path / "found.jsonl").read_text()
    (tmp_path / "found.jsonl").write_text(text[:-20])
    assert len(load_detections(tmp_path / "found.jsonl")["growing"]) == len(wanted) - 1


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--bouts"], "--bouts is not for --watch: leave it out"),
        (["--output=a.json"], "must end in .jsonl"),
        (["--delay_sec=0"], "--delay_sec must be above 0, but it is 0"),
        ([], "--watch needs to know from which score on detections count"),
    ],
)
def test_options_that_do_not_fit(tmp_path, preset, options, text):
    done = run_here(tmp_path, "detect", f"--preset={preset}", "--watch=a.ts", *options)
    assert done.returncode == 2 and text in done.stderr


@pytest.mark.slow
def test_interrupted(tmp_path, preset):
    write_video(tmp_path / "a.ts", 1000, options={"g": "10"}, picture=moving)
    process = subprocess.Popen(
        [sys.executable, "-m", "keras_actionformer", "detect", f"--preset={preset}", "--watch=a.ts",
         "--output=found.jsonl", "--score_threshold=0.2", "--quiet_sec=600", "--longest_sec=5"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    found, deadline = tmp_path / "found.jsonl", time.monotonic() + 200
    while time.monotonic() < deadline and not (found.exists() and found.stat().st_size):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    rows = [json.loads(line) for line in found.read_text().splitlines()]
    assert f"{len(rows)} detections. Wrote found.jsonl." in out
