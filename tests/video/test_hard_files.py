"""Videos that are hard on a reader: hours, 4K, ten bits, on end, cut short, without a picture."""

import subprocess
import sys

import numpy as np
import pytest

from helpers.programs import ROOT, run_here
from helpers.videos import repeat_video, turn, write_sound, write_video
from keras_actionformer.containers.numpy_files import write_npy_rows
from keras_actionformer.data.sidecars import read_sidecar
from keras_actionformer.video.encoder import Sampling
from keras_actionformer.video.extraction import check_sampling, extract_steps, sidecar_of
from keras_actionformer.video.motion import MotionEncoder
from keras_actionformer.video.reading import probe

pytest.importorskip("av")

RSS = """
import pathlib, resource, sys
import numpy as np
from keras_actionformer.video.encoder import Sampling
from keras_actionformer.video.feature_folder import extract_videos
from keras_actionformer.video.reading import Framing

class Wide:
    width, clip_frames, batch_clips = 4096, 2, 16
    framing, sampling, record = Framing(16, 16), Sampling(2, 2, 1), {"name": "wide"}

    def __call__(self, clips):
        return np.repeat(clips.mean(axis=(1, 2, 3, 4))[:, None], 4096, axis=1)

for name in ("minute", "hour"):
    path = pathlib.Path(f"{name}.mp4")
    done = extract_videos({name: path}, Wide(), "feats")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(done.shapes[name][0], peak / (2**20 if sys.platform == "darwin" else 2**10))
"""


def test_memory_does_not_grow_with_the_video(tmp_path):
    """The features of the hour alone are 118 MB."""
    minute = write_video(tmp_path / "minute.mp4", 120, 2, options={"bf": "0"})
    repeat_video(minute, tmp_path / "hour.mp4", 60)
    assert probe(tmp_path / "hour.mp4").duration_sec == pytest.approx(3600)
    done = subprocess.run(
        [sys.executable, "-c", RSS], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, text=True,
        capture_output=True, timeout=300,
    )  # fmt: skip
    (short, before), (long, after) = (map(float, row.split()) for row in done.stdout.splitlines())
    assert (short, long) == (119, 7199), done.stderr
    assert after - before < 30
    feats = np.load(tmp_path / "feats" / "hour.npy", mmap_mode="r")
    assert feats.shape == (7199, 4096) and feats.dtype == np.float32
    np.testing.assert_array_equal(feats[120:239], np.load(tmp_path / "feats" / "minute.npy"))


@pytest.mark.parametrize("counts", [[1], [3, 1, 7]])
def test_rows_are_written_as_numpy_would(tmp_path, counts):
    rows = np.random.default_rng(0).normal(size=(sum(counts), 5)).astype("float32")
    parts = np.split(rows, np.cumsum(counts)[:-1])
    assert write_npy_rows(tmp_path / "a.npy", iter(parts)) == rows.shape
    np.save(tmp_path / "b.npy", rows)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


def scene(height, width):
    """Pictures of a bright square that moves over a slope of grey."""

    def picture(number):
        slope = np.linspace(40, 90, width)[None, :] + np.linspace(0, 60, height)[:, None]
        found = np.repeat(slope[..., None], 3, axis=2).astype(np.uint8)
        top, left = height // 4, width * (2 + number % 8) // 16
        found[top : top + height // 4, left : left + width // 4] = (220, 120, 40)
        return found

    return picture


def features(path):
    encoder = MotionEncoder()
    sidecar = sidecar_of(probe(path), encoder, check_sampling(encoder, Sampling(8, 4, 2)))
    return np.concatenate(list(extract_steps(path, encoder, sidecar)))


def test_the_same_scene_has_the_same_features(tmp_path):
    """In any size, depth and position: what is left is what the coding loses."""
    plain = features(write_video(tmp_path / "plain.mp4", 16, 8, picture=scene(144, 256)))
    large = write_video(
        tmp_path / "4k.mp4", 16, 8, picture=scene(2160, 3840), options={"preset": "ultrafast"}
    )
    assert (probe(large).height, probe(large).width) == (2160, 3840)
    deep = write_video(
        tmp_path / "ten.mp4", 16, 8, picture=scene(144, 256), codec="libx265",
        pixels="yuv420p10le", options={"x265-params": "log-level=none"},
    )  # fmt: skip
    on_end = lambda n: np.rot90(scene(144, 256)(n))  # noqa: E731
    turned = turn(write_video(tmp_path / "turned.mp4", 16, 8, picture=on_end), 90)
    other = features(write_video(tmp_path / "end.mp4", 16, 8, picture=on_end))
    far = np.abs(other - plain).mean()
    for path in (large, deep, turned):
        assert np.abs(features(path) - plain).mean() < far / 4, path.name


def test_each_has_its_features_or_its_sentence(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    write_video(folder / "on_end.mp4", 16, 8, picture=scene(256, 144))
    write_sound(folder / "sound.mp4", 0.5)
    write_video(folder / "none.mp4", 0)
    (folder / "empty.mp4").write_bytes(b"")
    whole = write_video(folder / "cut.mkv", 250, picture=lambda n: scene(96, 160)(n * n % 7))
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    done = run_here(tmp_path, "extract", "--videos=videos", "--encoder=motion", "--output=feats")
    assert done.returncode == 1
    for text in (
        "'videos/sound.mp4' holds no video, only audio",
        "none.mp4'",
        "empty.mp4' cannot be read",
        "cut.mkv' ends after",
    ):
        assert sum(text in line for line in done.stderr.splitlines()) == 1, done.stderr
    assert len(done.stderr.splitlines()) == 4
    assert sorted(path.name for path in (tmp_path / "feats").iterdir()) == [
        "on_end.json", "on_end.npy",
    ]  # fmt: skip
    assert read_sidecar(tmp_path / "feats" / "on_end.npy").num_frames == 16
