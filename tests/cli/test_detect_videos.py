"""From videos to detections in one call."""

import json

import keras
import numpy as np
import pytest

from helpers.programs import run_here
from helpers.videos import write_sound, write_video
from keras_actionformer import ActionFormer, load_annotations, load_detections
from keras_actionformer.data.encoder_records import SAMPLING
from keras_actionformer.video.extraction import record_of
from keras_actionformer.video.motion import MotionEncoder

pytest.importorskip("av")

GRID = {"fps": 8, "stride_frames": 2, "window_frames": 4}


@pytest.fixture(scope="module")
def presets(tmp_path_factory):
    """Presets of a small network with random weights: one that knows its encoder, and others."""
    folder = tmp_path_factory.mktemp("presets")
    keras.utils.set_random_seed(0)
    record = {**record_of(MotionEncoder()), SAMPLING: GRID}
    model = ActionFormer(
        input_dim=MotionEncoder.width, num_classes=2, class_names=["go", "stay"], grid=GRID,
        backbone_arch=(1, 0, 1), embd_dim=8, fpn_dim=8, head_dim=8, n_head=2, n_mha_win_size=5,
        cls_prior_prob=0.3, encoder=record,
    )  # fmt: skip
    for name, encoder in {
        "known": record,
        "unknown": None,
        "older": {**record, "version": 0},
        "streams": {"name": "a + b", "streams": [{"name": "a"}, {"name": "b"}]},
        "file": {"name": "onnx:net.onnx", "net_sha256": "aa"},
        "gone": {"name": "motions"},
    }.items():
        model.encoder = encoder
        model.save_to_preset(folder / name)
    return folder


@pytest.fixture
def videos(tmp_path):
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "a.mp4", 150)
    write_video(tmp_path / "videos" / "b.mkv", 60, 12)
    return tmp_path


def detect(folder, presets, name, *options, videos="videos"):
    return run_here(
        folder, "detect", f"--preset={presets / name}", f"--videos={videos}", "--top_k=5", *options
    )


def test_as_extract_and_then_detect(videos, presets):
    done = detect(videos, presets, "known", "--output=found.json")
    assert done.returncode == 0, done.stderr
    assert "videos/a.mp4: 5 detections" in done.stdout
    feats = run_here(videos, "extract", "--videos=videos", "--encoder=motion", "--output=feats")
    assert feats.returncode == 0, feats.stderr
    for name in ("a.npy", "b.npy"):
        ours, theirs = (np.load(videos / folder / name) for folder in ("found_feats", "feats"))
        np.testing.assert_array_equal(ours, theirs)
    again = run_here(
        videos, "detect", f"--preset={presets / 'known'}", "--feats=feats", "--top_k=5",
        "--output=again.json",
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert (videos / "found.json").read_text() == (videos / "again.json").read_text()
    assert max(row["segment"][1] for row in json.loads((videos / "found.json").read_text())[
        "results"]["a"]) <= 6.0  # fmt: skip
    # Nothing is computed again, and a video that is damaged costs itself.
    before = {path: path.stat().st_mtime_ns for path in (videos / "found_feats").iterdir()}
    (videos / "videos" / "c.mp4").write_bytes(b"no video")
    write_sound(videos / "videos" / "d.mp4", 1.0)
    done = detect(videos, presets, "known", "--output=found.json")
    assert done.returncode == 1
    assert "c.mp4' cannot be read" in done.stderr and "d.mp4' holds no video, only" in done.stderr
    assert "0 videos written to 'found_feats'; 2 there already; 2 without" in done.stdout
    assert {p: p.stat().st_mtime_ns for p in (videos / "found_feats").iterdir()} == before
    assert load_detections(videos / "found.json").keys() == {"a", "b"}
    done = detect(videos, presets, "known", videos="videos/c.mp4")
    assert done.returncode == 2 and "No video is left to detect in, for" in done.stderr


def test_with_the_other_options(videos, presets):
    done = detect(
        videos, presets, "known", "--feats=kept", "--format=elan", "--output=drafts",
        "--figure=found.svg", videos="videos/a.mp4",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (videos / "kept").iterdir()) == ["a.json", "a.npy"]
    assert (videos / "found.svg").exists() and not (videos / "drafts_feats").exists()
    drafts = load_annotations(videos / "drafts", default_subset="all")
    assert len(drafts.videos[0].labels) == 5
    assert (videos / "videos" / "a.mp4").as_uri() in (videos / "drafts" / "a.eaf").read_text()


@pytest.mark.parametrize(
    ("preset", "options", "texts"),
    [
        ("unknown", [], ["does not tell what computed the features", "name that encoder in --enc"]),
        ("older", [], ["'motion' has encoder.version=1, but", "trained on is 0; name that one in"]),
        ("streams", [], ["features of a + b", "extract a folder of features with each"]),
        ("file", [], ["onnx:net.onnx (net_sha256=aa): open that by naming it in --encoder"]),
        ("gone", [], ["no encoder 'motions'", "with what it needs, in --encoder"]),
        ("known", ["--fps=8"], ["--fps is for --feats: videos tell their times themselves"]),
        ("known", ["--feats=a,b"], ["--feats names one folder, which keeps"]),
    ],
)
def test_what_does_not_go(videos, presets, preset, options, texts):
    done = detect(videos, presets, preset, *options)
    assert done.returncode == 2
    assert all(text in done.stderr for text in texts), done.stderr


def test_another_encoder_when_told(videos, presets):
    done = detect(videos, presets, "older", "--any_encoder", videos="videos/a.mp4")
    assert done.returncode == 0, done.stderr
    # Its features say what they are, and a model that does not know asks for nothing.
    done = detect(videos, presets, "unknown", "--encoder=motion", videos="videos/a.mp4")
    assert done.returncode == 0 and "; 1 there already." in done.stdout
