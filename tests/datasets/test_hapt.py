"""The reader of UCI's HAPT recordings, on a small folder made up in the same form."""

import numpy as np
import pytest

from helpers.programs import run_program
from keras_actionformer.data.annotation_files import load_annotations
from keras_actionformer.datasets.hapt import STRIDE_FRAMES, WINDOW_FRAMES, prepare_hapt
from keras_actionformer.datasets.sensor_windows import cut_windows
from keras_actionformer.errors import UserError

ROWS = [[1, 1, 2, 1, 60], [1, 1, 1, 61, 175], [3, 2, 1, 10, 99], [4, 2, 2, 51, 100]]
LENGTHS = {"exp01_user01": 175, "exp03_user02": 99, "exp04_user02": 100}


@pytest.fixture
def raw(tmp_path):
    """UCI's folder with two recordings of a test user and one of a training user."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "uci" / "RawData"
    folder.mkdir(parents=True)
    for name, length in LENGTHS.items():
        for sensor in ("acc", "gyro"):
            samples = rng.integers(-900, 900, (length, 3)) / 720
            np.savetxt(folder / f"{sensor}_{name}.txt", samples, fmt="%.15g")
    np.savetxt(folder / "labels.txt", ROWS, fmt="%d")
    (tmp_path / "uci" / "activity_labels.txt").write_text("1 WALKING  \n2 SITTING\n\n")
    return folder


def test_windows_by_hand():
    samples = np.arange(6 * 124).reshape(124, 6)  # Sample s of channel c is 6 s + c.
    feats = cut_windows(samples, WINDOW_FRAMES, STRIDE_FRAMES)
    assert feats.shape == (3, 300) and feats.dtype == np.float32  # 50, 75 and 100 of 124 samples.
    np.testing.assert_array_equal(feats[0, :50], 6 * np.arange(50))
    np.testing.assert_array_equal(feats[2, 250:], 6 * np.arange(50, 100) + 5)


@pytest.mark.parametrize("start", ["folder", "RawData"])
def test_files(raw, tmp_path, start):
    lines = []
    prepare_hapt(raw if start == "RawData" else raw.parent, tmp_path / "out", lines.append)
    assert len(lines) == 4 and "exp03_user02" in lines[1]
    assert "1 training recordings with 2 segments and 2 test recordings with 2" in lines[-1]
    annotations = load_annotations(tmp_path / "out" / "annotations.json")
    assert annotations.class_names == ("WALKING", "SITTING")
    assert [v.video_id for v in annotations.subset("test")] == ["exp03_user02", "exp04_user02"]
    (video,) = annotations.subset("training")
    assert (video.duration_sec, video.fps) == (3.5, 50.0)
    # Samples 1 to 60 are the time from 0 to 60 / 50 seconds.
    np.testing.assert_allclose(video.segments_sec, [[0, 1.2], [1.2, 3.5]])
    np.testing.assert_array_equal(video.labels, [1, 0])

    feats = np.load(tmp_path / "out" / "feats" / "exp01_user01.npy")
    acc, gyro = (np.loadtxt(raw / f"{kind}_exp01_user01.txt") for kind in ("acc", "gyro"))
    assert feats.shape == (6, 300)
    np.testing.assert_allclose(feats[1, :50], acc[25:75, 0], rtol=1e-6)
    np.testing.assert_allclose(feats[5, 250:], gyro[125:175, 2], rtol=1e-6)


def test_again_gives_the_same_files(raw, tmp_path):
    contents = []
    for _ in range(2):
        prepare_hapt(raw, tmp_path / "out", lambda line: None)
        paths = sorted(p for p in (tmp_path / "out").rglob("*") if p.is_file())
        contents.append([(path, path.read_bytes()) for path in paths])
    assert len(contents[0]) == 4 and contents[0] == contents[1]


def test_archive_equals_the_text_files(raw, tmp_path):
    arrays = {"labels": np.array(ROWS), "acc_scale_g": 1 / 720, "gyro_scale_rad_s": 1 / 720}
    for name in LENGTHS:
        sensors = [np.loadtxt(raw / f"{sensor}_{name}.txt") for sensor in ("acc", "gyro")]
        arrays[name] = np.round(np.concatenate(sensors, 1) * 720).astype(np.int16)
    np.savez(raw.parent / "hapt.npz", **arrays)
    prepare_hapt(raw, tmp_path / "text", lambda line: None)
    prepare_hapt(raw.parent / "hapt.npz", tmp_path / "archive", lambda line: None)
    text, archive = (tmp_path / name / "annotations.json" for name in ("text", "archive"))
    assert text.read_text() == archive.read_text()
    for name in LENGTHS:
        folders = (tmp_path / "text", tmp_path / "archive")
        text, archive = (np.load(folder / "feats" / f"{name}.npy") for folder in folders)
        np.testing.assert_allclose(text, archive, rtol=1e-6)


@pytest.mark.parametrize(
    "name,content,text",
    [
        ("gyro_exp01_user01.txt", None, "gyro_exp01_user01.txt' does not exist"),
        ("gyro_exp01_user01.txt", "1 2 3\n", "175 samples of acceleration but 1 of angular"),
        ("acc_exp01_user01.txt", "1 2\n", "must hold rows of 3 finite numbers"),
        ("acc_exp01_user01.txt", "1 2 nan\n", "must hold rows of 3 finite numbers"),
        ("acc_exp01_user01.txt", "1 2 x\n", "is not a table of numbers"),
        ("labels.txt", None, "labels.txt' does not exist"),
        ("labels.txt", "1 1 3 1 5\n", r"Label row \[1, 1, 3, 1, 5\] does not fit .* 2 activities"),
        ("labels.txt", "1 1 1 1 176\n", "does not fit recording exp01_user01 with 175 samples"),
        ("labels.txt", "1 1 1 0 17\n", "does not fit"),
        ("../activity_labels.txt", None, "activity_labels.txt' cannot be read"),
        ("../activity_labels.txt", "2 SITTING\n1 WALKING\n", "must hold lines '1 NAME'"),
    ],
)
def test_wrong_data(raw, tmp_path, name, content, text):
    (raw / name).unlink()
    if content is not None:
        (raw / name).write_text(content)
    with pytest.raises(UserError, match=text):
        prepare_hapt(raw, tmp_path / "out", lambda line: None)
    assert not (tmp_path / "out" / "annotations.json").exists()


def test_wrong_places(tmp_path):
    with pytest.raises(UserError, match="none' does not exist"):
        prepare_hapt(tmp_path / "none", tmp_path / "out")
    with pytest.raises(UserError, match="holds no recordings"):
        prepare_hapt(tmp_path, tmp_path / "out")
    np.savez(tmp_path / "hapt.npz", labels=np.array(ROWS))
    with pytest.raises(UserError, match="lacks the array 'acc_scale_g'"):
        prepare_hapt(tmp_path, tmp_path / "out")
    (tmp_path / "hapt.npz").write_bytes(b"no archive")
    with pytest.raises(UserError, match="cannot be read as a NumPy archive"):
        prepare_hapt(tmp_path, tmp_path / "out")


def test_program(raw, tmp_path):
    def run(source):
        return run_program(tmp_path, "prepare", "--dataset=hapt", f"--from={source}", "--to=out")

    done = run(raw)
    assert done.returncode == 0 and "Wrote 1 training recordings" in done.stdout
    wrong = run(tmp_path / "none")
    assert wrong.returncode == 2 and wrong.stderr.startswith("prepare: '") and not wrong.stdout
