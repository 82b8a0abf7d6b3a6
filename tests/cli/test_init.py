"""From a table and a folder to a configuration, and with it to a model."""

import csv
import json
import shutil

import numpy as np
import pytest

from helpers.programs import run_here
from helpers.recordings import Bouts, write_german_table, write_recordings
from keras_actionformer import load_config
from keras_actionformer.datasets.splits import load_split

SENSORS = ("--sensors=raw", "--rate_hz=50", "--output=mine.py")


@pytest.fixture
def recordings(tmp_path):
    """Six short recordings with bouts of two classes, and tables of these."""
    rows = write_recordings(tmp_path, Bouts(6, recording_sec=30, bouts_per_class=9))
    write_german_table(tmp_path / "bouts.csv", rows)
    with open(tmp_path / "users.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["video", "start", "end", "label", "user"])
        table.writerows([*row, f"user{int(row[0][-1]) // 2}"] for row in rows)
    return tmp_path


def test_from_raw_samples_and_a_table_of_excel(recordings):
    done = run_here(recordings, "init", "--annotations=bouts.csv", *SENSORS)
    assert done.returncode == 0, done.stderr
    # What was assumed is told, and the next command is there to copy.
    assert "Windows-1252" in done.stdout + done.stderr
    assert "train --config=mine.py --workdir=runs/mine" in done.stdout
    config = load_config(recordings / "mine.py")
    assert (config.data.fps, config.model.num_classes) == (50, 2)
    split = load_split(recordings / "mine_split.csv")
    assert sorted(split.values()) == ["training"] * 5 + ["validation"]
    assert config.data.val_subset == config.data.eval_subset == "validation"
    feats = np.load(recordings / "mine_feats" / "recording0.npy")
    window, stride = int(config.data.window_frames), int(config.data.stride_frames)
    assert feats.shape == ((1500 - window) // stride + 1, 6 * window)
    assert config.model.input_dim == 6 * window
    done = run_here(recordings, "inspect", "--config=mine.py")
    assert done.returncode == 0 and "1 warning:" in done.stdout, done.stdout  # of the encoding


def test_recordings_that_come_later_have_the_same_features(recordings):
    run_here(recordings, "init", "--annotations=bouts.csv", *SENSORS)
    (recordings / "new").mkdir()
    shutil.copy(recordings / "raw" / "recording3.csv", recordings / "new" / "later.csv")
    options = ("--dataset=sensors", "--from=new", "--to=new_feats")
    done = run_here(recordings, "prepare", *options, "--windows=mine_feats")
    assert done.returncode == 0 and "features of 1 recording " in done.stdout, done.stderr
    found = np.load(recordings / "new_feats" / "later.npy")
    np.testing.assert_array_equal(found, np.load(recordings / "mine_feats" / "recording3.npy"))
    done = run_here(recordings, "prepare", *options)
    assert done.returncode == 2 and "needs --windows=DIR" in done.stderr


def test_groups_stay_together(recordings):
    done = run_here(recordings, "init", "--annotations=users.csv", "--group=user", *SENSORS)
    assert done.returncode == 0, done.stderr
    split = load_split(recordings / "mine_split.csv")
    for first in (0, 2, 4):
        assert split[f"recording{first}"] == split[f"recording{first + 1}"]


def write_features(folder, subsets):
    """Features of ten channels and a table with, or without, a column of subsets."""
    (folder / "feats").mkdir()
    database = {}
    for i, subset in enumerate(subsets):
        feats = np.random.default_rng(i).standard_normal((60, 10), np.float32)
        np.save(folder / "feats" / f"v{i}.npy", feats)
        actions = [{"label": "ab"[j % 2], "segment": [3 * j, 3 * j + 2]} for j in range(8)]
        database[f"v{i}"] = {"duration": 30.0, "annotations": actions}
        if subset:
            database[f"v{i}"]["subset"] = subset
    (folder / "a.json").write_text(json.dumps({"database": database}))


FEATURES = ("--feats=feats", "--fps=30", "--stride_frames=15", "--window_frames=15")


@pytest.mark.parametrize(
    "subsets, expected, num_split",
    [
        ([None] * 3, ("training", "", "training"), 0),
        ([None] * 8, ("training", "validation", "validation"), 8),
        ([None] * 20, ("training", "validation", "test"), 20),
        (["train"] * 3 + ["val"] * 2, ("train", "val", "val"), 0),
        (["Training"] * 7 + ["test"] * 2, ("Training", "validation", "test"), 7),
        (["training"] * 2 + ["test"], ("training", "", "test"), 0),
    ],
)
def test_subsets(tmp_path, subsets, expected, num_split):
    write_features(tmp_path, subsets)
    before = (tmp_path / "a.json").read_bytes()
    done = run_here(tmp_path, "init", "--annotations=a.json", *FEATURES, "--output=mine.py")
    assert done.returncode == 0, done.stderr
    data = load_config(tmp_path / "mine.py").data
    assert (data.train_subset, data.val_subset, data.eval_subset) == expected
    assert (len(load_split(tmp_path / "mine_split.csv")) if data.split else 0) == num_split
    assert (tmp_path / "a.json").read_bytes() == before
    done = run_here(tmp_path, "inspect", "--config=mine.py")
    assert done.returncode == 0, done.stdout


def test_times_in_frames_and_other_names_of_files(tmp_path):
    """What it needs to read table and features stands in the configuration, too."""
    write_features(tmp_path, ["train"] * 3)
    for path in (tmp_path / "feats").iterdir():
        np.savez(path.with_name(f"cam_{path.stem}.npz"), feats=np.load(path))
        path.unlink()
    rows = [f"v{i},{30 * j},{30 * j + 15},{'ab'[j % 2]},train" for i in range(3) for j in range(9)]
    (tmp_path / "a.csv").write_text("\n".join(["video,start,end,label,subset", *rows]))
    options = ("--annotations=a.csv", *FEATURES, "--prefix=cam_", "--suffix=.npz")
    done = run_here(tmp_path, "init", *options, "--time_unit=frames", "--output=mine.py")
    assert done.returncode == 0, done.stderr
    config = load_config(tmp_path / "mine.py")
    assert (config.data.time_unit, config.data.fps) == ("frames", 30)
    assert (config.data.prefix, config.data.suffix) == ("cam_", ".npz")
    done = run_here(tmp_path, "inspect", "--config=mine.py")
    assert done.returncode == 0, done.stdout
    # Half a second each.
    assert [line.split()[-1] for line in done.stdout.splitlines() if line[:2] in ("a ", "b ")] == [
        "0.50",
        "0.50",
    ]


def test_of_recordings_a_frame_is_a_sample(recordings):
    rows = list(csv.reader((recordings / "users.csv").read_text().splitlines()))[1:]
    with open(recordings / "samples.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["video", "start frame", "end frame", "label"])
        table.writerows([name, round(50 * float(a)), round(50 * float(b)), label]
                        for name, a, b, label, _ in rows)  # fmt: skip
    done = run_here(recordings, "init", "--annotations=samples.csv", *SENSORS)
    assert done.returncode == 0, done.stderr
    done = run_here(recordings, "inspect", "--config=mine.py")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "options, message",
    [
        ((), "Give either --feats=DIR or --sensors=DIR"),
        (("--feats=feats",), "--feats needs --stride_frames and --window_frames"),
        (("--sensors=raw",), "--sensors needs --rate_hz"),
        (("--sensors=raw", "--rate_hz=-5"), "--sensors needs --rate_hz"),
        (("--sensors=raw", "--rate_hz=50", "--step_sec=nan"), "--step_sec=nan must be a finite"),
        (("--sensors=raw", "--rate_hz=inf"), "--rate_hz=inf must be a finite number"),
        (("--sensors=raw", "--rate_hz=50", "--fps=50"), "--fps is for --feats"),
        (("--sensors=none", "--rate_hz=50"), "'none' is no folder"),
        (("--feats=none", *FEATURES[1:]), "none"),
        ((*FEATURES, "--group=subject"), "is no table, which could have a column 'subject'"),
        ((*FEATURES, "--output=mine.txt"), "--output=mine.txt must end in .py"),
        ((*FEATURES, "--output=there.py"), "'there.py' exists"),
    ],
)
def test_what_cannot_be(tmp_path, options, message):
    write_features(tmp_path, [None] * 8)
    (tmp_path / "there.py").write_text("mine")
    output = () if any("--output" in option for option in options) else ("--output=mine.py",)
    done = run_here(tmp_path, "init", "--annotations=a.json", *options, *output)
    assert done.returncode == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "mine.py").exists()
    assert (tmp_path / "there.py").read_text() == "mine"


def test_an_annotated_recording_must_be_there(recordings):
    (recordings / "raw" / "recording2.csv").unlink()
    done = run_here(recordings, "init", "--annotations=users.csv", *SENSORS)
    assert done.returncode == 2 and "no recording of 'recording2'" in done.stderr


# Kinds of data: two classes, one, ten of four bouts each, short and long, few recordings and many.
KINDS = {
    "two classes": (Bouts(), 95),
    "one class": (Bouts(frequencies_hz=(4,), bouts_per_class=38), 85),
    "ten classes": (
        Bouts(frequencies_hz=(0.6, 0.8, 1.1, 1.5, 2, 2.8, 4, 5.5, 7.5, 10), bouts_per_class=4), 85
    ),
    "short actions": (Bouts(frequencies_hz=(10, 4), length_sec=(0.3, 0.3)), 85),
    "long actions": (Bouts(recording_sec=600, bouts_per_class=6, length_sec=(80, 100)), 85),
    "two recordings": (Bouts(num_recordings=2, bouts_per_class=13), 85),
    "sixty recordings": (Bouts(num_recordings=60, recording_sec=60, bouts_per_class=120), 85),
}  # fmt: skip


@pytest.mark.parametrize(
    "kind",
    [pytest.param("two classes", marks=pytest.mark.slow)]
    + [pytest.param(kind, marks=pytest.mark.training) for kind in KINDS if kind != "two classes"],
)
def test_nothing_edited(tmp_path, kind):
    """What `init` writes learns its training recordings, whatever they hold."""
    bouts, least = KINDS[kind]
    rows = write_recordings(tmp_path, bouts)
    write_german_table(tmp_path / "bouts.csv", rows)
    for arguments in (
        ("init", "--annotations=bouts.csv", *SENSORS),
        ("train", "--config=mine.py", "--workdir=run", "--noevaluate"),
        ("evaluate", "--workdir=run", "--subset=training", "--output=scores.json"),
    ):
        done = run_here(tmp_path, *arguments)
        assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert 100 * scores["average_mean_ap"] >= least, scores
