"""Which frames a step of the features sees, and what becomes of many videos."""

import contextlib
import dataclasses
import fractions
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from helpers.programs import ROOT, run_here
from helpers.videos import number_in, write_video
from keras_actionformer.data.features import FeatureFiles
from keras_actionformer.data.sidecars import read_sidecar
from keras_actionformer.errors import UserError
from keras_actionformer.video import feature_folder
from keras_actionformer.video.encoder import Sampling
from keras_actionformer.video.extraction import check_sampling, extract_steps, sidecar_of
from keras_actionformer.video.feature_folder import extract_videos
from keras_actionformer.video.finding import find_video_files
from keras_actionformer.video.reading import Framing, probe

pytest.importorskip("av")

NTSC = fractions.Fraction(30000, 1001)
OWN = Sampling(None, None, None)


class Numbers:
    """An encoder that reads the numbers that the pictures show: those of a clip's frames."""

    framing = Framing(48, 64)
    sampling = Sampling(None, 16, 4)
    batch_clips = 3
    record = {"name": "numbers"}

    def __init__(self, clip_frames=16):
        self.clip_frames = self.width = clip_frames

    def __call__(self, clips):
        assert clips.dtype == np.uint8 and clips.shape[2:] == (48, 64, 3)
        assert clips.shape[0] <= self.batch_clips
        return np.array([[number_in(picture) for picture in clip] for clip in clips], np.float32)


def features(path, encoder, sampling=OWN):
    sidecar = sidecar_of(probe(path), encoder, check_sampling(encoder, sampling))
    return np.concatenate(list(extract_steps(path, encoder, sidecar))), sidecar


@pytest.mark.parametrize(("window", "stride"), [(16, 4), (16, 16), (3, 7), (1, 1), (90, 1)])
def test_windows_of_frames(tmp_path, window, stride):
    path = write_video(tmp_path / "v.mp4", 90, NTSC)
    encoder = Numbers(window)
    feats, sidecar = features(path, encoder, Sampling(None, window, stride))
    starts = np.arange(0, 90 - window + 1, stride)
    np.testing.assert_array_equal(feats, starts[:, None] + np.arange(window))
    assert (sidecar.num_frames, sidecar.stride_frames, sidecar.window_frames) == (
        90, stride, window,
    )  # fmt: skip


@pytest.mark.parametrize("rate", [24, 25, NTSC, 50])
@pytest.mark.parametrize("sampling", [OWN, Sampling(10, 8, 2), Sampling(12.5, 16, 3)])
def test_a_step_is_centred_where_the_grid_says(tmp_path, rate, sampling):
    path = write_video(tmp_path / "v.mp4", 150, rate)
    feats, sidecar = features(path, Numbers(2), sampling)
    # Of the frames that were sampled evenly, the middle one: frame n is shown around n + 0.5.
    centres_sec = (feats.mean(axis=1) + 0.5) / float(rate)
    wanted_sec = sidecar.grid.to_sec(np.arange(len(feats)))
    assert np.abs(centres_sec - wanted_sec).max() <= 0.5 / float(rate) + 0.001


def test_a_varying_rate_keeps_the_clock(tmp_path):
    """A second of video in which every frame lasts long, after one of short ones."""
    times_ms = [*range(0, 1000, 20), *range(1000, 4000, 250)]
    path = write_video(tmp_path / "v.mp4", len(times_ms), 30, times_ms)
    feats, sidecar = features(path, Numbers(1), Sampling(10, 1, 1))
    shown_ms = np.array(times_ms)[feats[:, 0].astype(int)]
    wanted_ms = 1000 * sidecar.grid.to_sec(np.arange(len(feats)))
    assert (shown_ms <= wanted_ms + 1).all()
    assert (wanted_ms - shown_ms < 251).all() and len(feats) >= 38


def test_pictures_are_pooled_over_the_window(tmp_path):
    path = write_video(tmp_path / "v.mp4", 40)
    feats, _ = features(path, Numbers(1), Sampling(None, 8, 4))
    np.testing.assert_allclose(feats[:, 0], np.arange(0, 33, 4) + 3.5)
    feats, _ = features(path, Numbers(1), Sampling(None, 2, 5))
    np.testing.assert_allclose(feats[:, 0], np.arange(0, 39, 5) + 0.5)


def test_a_clip_takes_frames_evenly(tmp_path):
    path = write_video(tmp_path / "v.mp4", 32)
    feats, _ = features(path, Numbers(4), Sampling(None, 16, 16))
    np.testing.assert_array_equal(feats, [[2, 6, 9, 13], [18, 22, 25, 29]])


def test_a_video_shorter_than_a_window(tmp_path):
    feats, _ = features(write_video(tmp_path / "v.mp4", 5), Numbers(16))
    np.testing.assert_array_equal(feats, [[0, 1, 2, 3, *[4] * 12]])
    feats, sidecar = features(write_video(tmp_path / "w.mp4", 1), Numbers(1), Sampling(2, 1, 1))
    assert feats.shape == (1, 1) and sidecar.num_frames == 1


def test_settings_that_do_not_fit():
    with pytest.raises(UserError, match="window_frames is 1000000, .* the most are 10000"):
        check_sampling(Numbers(), Sampling(None, 10**6, 4))
    with pytest.raises(UserError, match="window_frames is 8, but the encoder numbers looks at 16"):
        check_sampling(Numbers(16), Sampling(None, 8, None))
    with pytest.raises(UserError, match="fps must be above 0"):
        check_sampling(Numbers(16), Sampling(0, None, None))


def test_features_that_are_not_finite(tmp_path):
    encoder = Numbers(1)
    path = write_video(tmp_path / "v.mp4", 10)
    sidecar = sidecar_of(probe(path), encoder, check_sampling(encoder, Sampling(None, 1, 1)))
    broken = lambda clips: np.full((len(clips), 1), np.nan)  # noqa: E731
    broken.__dict__.update(clip_frames=1, framing=encoder.framing, batch_clips=2)
    with pytest.raises(UserError, match="at 0.0 s are NaN"):
        np.concatenate(list(extract_steps(path, broken, sidecar)))


# === Many videos ===


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    for name, count in (("a.mp4", 60), ("b.mkv", 40), ("c.mp4", 30)):
        write_video(folder / name, count)
    return folder


@pytest.mark.parametrize("workers", [1, 2])
def test_a_folder_of_features(tmp_path, videos, workers):
    found = find_video_files([videos], print)
    seen = []
    result = extract_videos(
        found, Numbers(), tmp_path / "feats", OWN, workers, lambda *row: seen.append(row)
    )
    assert result.shapes == {"a": (12, 16), "b": (7, 16), "c": (4, 16)}
    assert seen[0][1] == pytest.approx(130 / 25)
    files = FeatureFiles(tmp_path / "feats")
    assert files.load("b")[1].tolist() == list(range(4, 20))
    sidecar = files.sidecar("b")
    assert (sidecar.fps, sidecar.video["file"], sidecar.encoder["name"]) == (25, "b.mkv", "numbers")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "feats").iterdir()}
    again = extract_videos(found, Numbers(), tmp_path / "feats")
    assert (again.shapes, sorted(again.skipped)) == ({}, ["a", "b", "c"])
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "feats").iterdir()}
    # Others are not written over, nor taken for these.
    with pytest.raises(UserError, match="a.npy' is there already, but not of this video and these"):
        extract_videos(found, Numbers(), tmp_path / "feats", Sampling(None, 16, 8))
    write_video(videos / "a.mp4", 50)
    with pytest.raises(UserError, match="a.npy' is there already, but not of this video"):
        extract_videos(found, Numbers(), tmp_path / "feats")


def test_features_of_half_the_bytes(tmp_path, videos):
    found = find_video_files([videos / "a.mp4"], print)
    extract_videos(found, Numbers(), tmp_path / "whole", OWN)
    extract_videos(found, Numbers(), tmp_path / "half", OWN, feats_dtype="float16")
    whole, half = (FeatureFiles(tmp_path / name) for name in ("whole", "half"))
    assert half.open("a").dtype == "float16" and whole.sidecar("a") == half.sidecar("a")
    np.testing.assert_array_equal(half.open("a"), whole.load("a").astype("float16"))


def test_a_damaged_video_costs_itself(tmp_path, videos):
    (videos / "b.mkv").write_bytes(b"no video")
    content = (videos / "c.mp4").read_bytes()
    place = content.index(b"mdat") + 600  # decodes until there
    (videos / "c.mp4").write_bytes(content[:place] + bytes(900) + content[place + 900 :])
    told = {}
    result = extract_videos(
        find_video_files([videos], print), Numbers(), tmp_path / "f", tell=told.__setitem__
    )
    assert "a" in result.shapes and "b" in result.failed
    with pytest.raises(UserError, match="a.npy' is a file, but features are a folder's"):
        extract_videos({}, Numbers(), tmp_path / "f" / "a.npy")
    assert told.keys() == {"a", "b", "c"}
    assert not (tmp_path / "f" / "b.npy").exists()


def test_a_stopped_call_leaves_whole_files(tmp_path, videos):
    class Stopped(Exception):
        pass

    def stop(video_id, result):
        raise Stopped

    found = find_video_files([videos], print)
    with pytest.raises(Stopped):
        extract_videos(found, Numbers(), tmp_path / "feats", tell=stop)
    assert threading.active_count() == 1 or not any(
        "ThreadPool" in thread.name for thread in threading.enumerate()
    )
    result = extract_videos(found, Numbers(), tmp_path / "feats")
    assert result.skipped and result.shapes.keys().isdisjoint(result.skipped)
    whole = extract_videos(found, Numbers(), tmp_path / "whole")
    for video_id in whole.shapes:
        paths = [tmp_path / folder / f"{video_id}.npy" for folder in ("feats", "whole")]
        np.testing.assert_array_equal(*map(np.load, paths))
        assert read_sidecar(paths[0]) == read_sidecar(paths[1])


# === Which videos ===


def test_tables_name_videos(tmp_path, videos):
    table = videos / "bouts.csv"
    table.write_text("video,start,end,label\na,1,2,x\na,3,4,x\nb.mkv,1,2,x\n")
    assert list(find_video_files([table], print)) == ["a", "b"]
    table.write_text("video\na\nb.mkv\n")
    assert list(find_video_files([table], print)) == ["a", "b"]
    table.write_text("video,start,end,label\nC:\\films\\a.mp4,1,2,x\n/else/where/b.mkv,1,2,x\n")
    assert list(find_video_files([table], print)) == ["a", "b"]
    table.write_text("video,start,end,label\naa,1,2,x\n")
    with pytest.raises(UserError, match="names the video 'aa', which is not beside it; did you"):
        find_video_files([table], print)
    write_video(videos / "a.mkv", 2)
    table.write_text("video,start,end,label\na,1,2,x\n")
    with pytest.raises(UserError, match="which may be 'a.mkv' and 'a.mp4'; add its suffix"):
        find_video_files([table], print)
    with pytest.raises(UserError, match="would both have features called 'a'; rename one"):
        find_video_files([videos], print)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no video"):
        find_video_files([tmp_path / "empty"], print)
    with pytest.raises(UserError, match="does not exist; name a video"):
        find_video_files([tmp_path / "no.mp4"], print)
    with pytest.raises(UserError, match="names no video: give files, folders"):
        find_video_files([""], print)
    with pytest.raises(UserError, match="'a' does not exist; .*a comma in its name, name the fol"):
        find_video_files(["a", "left.mp4"], print)


# === The program ===


def test_the_program(tmp_path, videos):
    done = run_here(tmp_path, "extract", "--videos=videos", "--encoder=motion", "--output=feats")
    assert done.returncode == 0, done.stderr
    assert "a: 8 steps of 496 channels" in done.stdout
    assert done.stdout.endswith("Features of 3 videos written to 'feats'.\n")
    (videos / "d.mp4").write_bytes(b"")
    done = run_here(tmp_path, "extract", "--videos=videos", "--encoder=motion", "--output=feats")
    assert done.returncode == 1
    assert "Error: Video 'videos/d.mp4' cannot be read" in done.stderr
    assert "0 videos written to 'feats'; 3 there already; 1 without, for the" in done.stdout
    done = run_here(tmp_path, "extract", "--videos=videos", "--encoder=motoin", "--output=feats")
    assert done.returncode == 2
    assert done.stderr == "extract: There is no encoder 'motoin'; did you mean 'motion'?\n"


@pytest.mark.slow
def test_killed_and_started_again(tmp_path, videos):
    for count in range(12):
        write_video(videos / f"more{count}.mp4", 250)
    command = [sys.executable, "-m", "keras_actionformer", "extract", "--videos=videos"]
    command += ["--encoder=motion", "--fps=25", "--output=feats", "--workers=2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "feats").glob("[!.]*.npy")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = list((tmp_path / "feats").glob("[!.]*.npy"))
    assert 0 < len(kept) < 15
    for folder in ("feats", "whole"):
        done = subprocess.run([*command, f"--output={folder}"], cwd=tmp_path, env=environment)
        assert done.returncode == 0
    for path in sorted((tmp_path / "whole").iterdir()):
        other = tmp_path / "feats" / path.name
        assert other.read_bytes() == path.read_bytes(), path.name
    assert sorted(os.listdir(tmp_path / "feats")) == sorted(os.listdir(tmp_path / "whole"))


def test_two_programs_that_write_the_same_features_at_one_moment(tmp_path, videos, monkeypatch):
    """The other one's settings would tell the timing of these features."""

    @contextlib.contextmanager
    def atomic_path(path):
        path.parent.mkdir()
        yield path
        other = read_sidecar(path)
        dataclasses.replace(other, stride_frames=2 * other.stride_frames).save(path)

    monkeypatch.setattr(feature_folder, "atomic_path", atomic_path)
    found = extract_videos({"a": videos / "a.mp4"}, Numbers(), tmp_path / "feats")
    assert "a.npy' was written by another program at the same" in str(found.failed["a"])
    assert not found.shapes and not list((tmp_path / "feats").glob("*.npy"))
