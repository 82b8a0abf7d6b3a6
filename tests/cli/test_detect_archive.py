"""`detect-archive`, with Beam's direct runner."""

import os
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from helpers.models import CHANNELS, small_model
from helpers.programs import ROOT, run_here, run_program
from helpers.videos import write_video
from keras_actionformer import ActionFormer, load_detections
from keras_actionformer.data.encoder_records import SAMPLING
from keras_actionformer.video.extraction import record_of
from keras_actionformer.video.motion import MotionEncoder

pytest.importorskip("apache_beam")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A folder with a preset and 20 feature files, of which one is damaged."""
    folder, rng = tmp_path_factory.mktemp("archive"), np.random.default_rng(0)
    small_model().save_to_preset(folder / "preset")
    (folder / "feats").mkdir()
    for number in range(20):
        feats = rng.standard_normal((rng.integers(20, 60), CHANNELS)).astype("float32")
        np.save(folder / "feats" / f"{number:02d}.npy", feats)
    (folder / "feats" / "07.npy").write_bytes(b"no features")
    return folder


OPTIONS = ("--preset=preset", "--feats=feats", "--shard_files=3")


def contents(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_it_detects_and_does_again_what_is_left(archive):
    first = run_here(archive, "detect-archive", *OPTIONS, "--output=found")
    assert first.returncode == 1, first.stderr  # for the one that is damaged
    assert "20 files in 7 shards, of which 0 are done." in first.stdout
    assert "07: Feature file" in first.stdout and "1 failed.\nWrote found/files.csv" in first.stdout
    before = contents(archive / "found")
    assert sum(name.startswith("detections-") for name in before) == 7
    (archive / "found" / "done" / "00003.json").unlink()
    second = run_here(archive, "detect-archive", *OPTIONS, "--output=found")
    assert "20 files in 7 shards, of which 6 are done." in second.stdout
    assert contents(archive / "found") == before
    other = run_here(archive, "detect-archive", *OPTIONS, "--output=found", "--fps=5")
    assert other.returncode == 2 and "detections of another fps" in other.stderr


def test_what_is_wrong_with_options_is_told(archive):
    for options, told in (
        (("--feats=feats", "--output=x"), "Give either --workdir=DIR or --preset=NAME."),
        ((*OPTIONS, "--videos=y", "--output=x"), "Give either --feats=FILES"),
        ((*OPTIONS, "--output=x", "--", "DirectRunner"), "but one is 'DirectRunner'"),
        (("--preset=preset", "--feats=none", "--output=x"), "'none' does not exist"),
        ((*OPTIONS, "--output=x", "--", "--runner=Foo"), "Beam does not take the options"),
        ((*OPTIONS, "--output=x", "--", "--direct_num_workers=a"), "invalid int value: 'a'"),
    ):
        done = run_here(archive, "detect-archive", *options)
        assert done.returncode == 2 and told in done.stderr
        assert "Traceback" not in done.stderr and not (archive / "x").exists()


def test_videos_are_encoded_as_in_the_training(tmp_path):
    pytest.importorskip("av")
    grid = {"fps": 8, "stride_frames": 2, "window_frames": 4}
    keras.utils.set_random_seed(0)
    model = ActionFormer(
        input_dim=MotionEncoder.width, num_classes=2, grid=grid, backbone_arch=(1, 0, 1),
        embd_dim=8, fpn_dim=8, head_dim=8, n_head=2, n_mha_win_size=5, cls_prior_prob=0.3,
        encoder={**record_of(MotionEncoder()), SAMPLING: grid},
    )  # fmt: skip
    model.save_to_preset(tmp_path / "preset")
    (tmp_path / "films" / "may").mkdir(parents=True)
    write_video(tmp_path / "films" / "may" / "a.mp4", 60)
    (tmp_path / "films" / "b.mp4").write_bytes(b"no video")
    done = run_here(
        tmp_path, "detect-archive", "--preset=preset", "--videos=films", "--output=found"
    )
    assert done.returncode == 1 and "b: Video 'films/b.mp4'" in done.stdout.replace(
        f"{tmp_path}/", ""
    )
    run_here(
        tmp_path, "detect", "--preset=preset", "--videos=films/may/a.mp4", "--output=found.json"
    )
    (found,) = load_detections(tmp_path / "found" / "detections-00000.jsonl").values()
    (expected,) = load_detections(tmp_path / "found.json").values()
    np.testing.assert_allclose(found.segments_sec, expected.segments_sec, atol=1e-4)


@pytest.mark.slow
def test_two_processes_do_as_one_and_say_little(archive):
    run_here(archive, "detect-archive", *OPTIONS, "--output=one")
    two = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
    done = run_program(archive, "detect-archive", *OPTIONS, "--output=two", "--", *two)
    assert done.returncode == 1, done.stderr
    assert "Pipeline_options" not in done.stderr and "sdk_worker" not in done.stderr
    assert len(done.stderr.splitlines()) <= 4, done.stderr
    assert contents(archive / "two") == contents(archive / "one")


@pytest.mark.slow
def test_killed_at_a_random_moment_it_ends_as_if_it_had_not_been(archive):
    command = [sys.executable, "-m", "keras_actionformer", "detect-archive", *OPTIONS]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    killed = archive / "killed"
    process = subprocess.Popen([*command, "--output=killed"], cwd=archive, env=environment)
    while not list(killed.glob("done/*")) and process.poll() is None:
        time.sleep(0.01)
    time.sleep(np.random.default_rng().uniform(0, 0.3))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    for place in ("killed", "undisturbed"):
        done = run_here(archive, "detect-archive", *OPTIONS, f"--output={place}")
        assert done.returncode == 1, done.stderr
    assert contents(killed) == contents(archive / "undisturbed")
