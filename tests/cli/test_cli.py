"""The programs: their help, what they write, and what they say when something is wrong."""

import csv
import dataclasses
import functools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest

import keras_actionformer
from helpers.golden_files import GOLDEN, load
from helpers.programs import ROOT, run_here, run_program
from helpers.small_run import eagerly
from keras_actionformer import Thresholds, count_bouts, list_presets
from keras_actionformer.cli import VERBS, explain
from keras_actionformer.data.annotation_files import load_annotations, save_annotations
from keras_actionformer.data.annotations import Annotations, Video
from keras_actionformer.data.sidecars import Sidecar
from keras_actionformer.detection.bouts import bout_table
from keras_actionformer.detection.detections import load_detections

CHANNELS = 6

CONFIG = """
from keras_actionformer.training.config import default_config

def get_config():
    config = default_config()
    config.data.annotations = "annotations.json"
    config.data.feats = "feats"
    config.data.suffix = "_f.npy"
    config.data.fps = 10.0
    config.data.stride_frames = 5.0
    config.data.window_frames = 5.0
    config.data.downsample_rate = 2
    config.model.input_dim = 6
    config.model.num_classes = 2
    config.model.backbone_arch = (1, 1, 1)
    config.model.embd_dim = config.model.fpn_dim = config.model.head_dim = 8
    config.model.n_head = 2
    config.model.n_mha_win_size = 3
    config.model.max_seq_len = 32
    config.postprocess.max_seg_num = 20
    config.train.warmup_epochs = 1
    config.train.epochs = 1
    return config
"""


def assert_told(done, *texts, status=2):
    """The program ended with one line that has all the texts."""
    assert done.returncode == status, done.stdout + done.stderr
    *warnings, line = done.stderr.splitlines()
    assert all(text in line for text in texts), done.stderr
    assert all(warning.startswith("W") for warning in warnings), done.stderr
    assert not done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a configuration, the data it names, and a model trained on it in `run`."""
    folder = tmp_path_factory.mktemp("cli")
    rng = np.random.default_rng(0)
    videos = []
    for i in range(5):
        segments = np.array([[2.0, 6.0], [10.0, 13.0]])
        video = Video(f"v{i}", "test" if i == 4 else "training", 20.0, None, segments,
                      np.array([0, 1]))  # fmt: skip
        videos.append(video)
        (folder / "feats").mkdir(exist_ok=True)
        np.save(folder / "feats" / f"v{i}_f.npy", rng.standard_normal((40, CHANNELS)))
    save_annotations(folder / "annotations.json", Annotations(tuple(videos), ("sit", "walk")))
    (folder / "config.py").write_text(CONFIG)
    with eagerly():
        (folder / "trained.txt").write_text(run_here(folder, *TRAIN).stdout)
    return folder


TRAIN = ("train", "--config=config.py", "--workdir=run")


# --- help and names ------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
def test_help(tmp_path, verb):
    program = ("-X", "importtime", "-m", "keras_actionformer.cli")
    done = run_program(tmp_path, verb, "--help", program=program)
    assert done.returncode == 0 and "\nOptions:\n  --" in done.stdout
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert imported.isdisjoint({"keras", "tensorflow"})  # it would take seconds


def test_list_of_verbs(tmp_path):
    done = run_program(tmp_path)
    assert done.returncode == 0 and all(f"\n  {verb} " in done.stdout for verb in VERBS)


def test_a_reader_of_the_output_that_ends_early_is_no_error(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    program = [sys.executable, "-m", "keras_actionformer", "simulate", "--output=data"]
    done = subprocess.run(
        program, cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_overview_and_version(tmp_path):
    program = ("-X", "importtime", "-m", "keras_actionformer.cli")  # the other way to call it
    outputs = [
        run_program(tmp_path, *words, program=program).stdout for words in ([], ["help"], ["-h"])
    ]
    assert outputs[0] == outputs[1] == outputs[2] == run_program(tmp_path).stdout
    done = run_program(tmp_path, "--version", program=program)
    assert done.stdout == f"keras-actionformer {keras_actionformer.__version__}\n"


def test_help_of_a_verb(tmp_path):
    told = run_program(tmp_path, "help", "train").stdout
    assert told == run_program(tmp_path, "train", "--help").stdout
    assert_told(run_program(tmp_path, "help", "tarin"), "no verb 'tarin'", "did you mean 'train'?")


def test_help_of_train_lists_the_configurations(tmp_path):
    told = run_program(tmp_path, "help", "train").stdout
    assert all(f"\n  {path.stem} " in told for path in (ROOT / "configs").glob("*.py"))


def test_presets(tmp_path):
    def told(*arguments):
        return run_here(tmp_path, "presets", *arguments).stdout

    everything = told()
    names = [line.split()[0] for line in everything.splitlines() if line and line[0] != " "]
    assert names == list(list_presets())
    assert told("*i3d").count("parameters") == 3
    assert told("simulat") == (
        "simulated  427,981 parameters, with weights\n"
        "  Made-up sequences of the simulate program (5 classes); small, for trying everything "
        "out.\n"
        "  mAP 87.76 on average over tIoU: 91.18 at 0.3, 90.85 at 0.4, 88.79 at 0.5, 85.94 at 0.6, "
        "82.03 at 0.7.\n"
    )
    assert json.loads(told("thumos*", "--json=-")) == list_presets("thumos*")
    wrong = run_here(tmp_path, "presets", "thumos15")
    assert_told(wrong, "'thumos15'; did you mean 'thumos14_i3d'")


def test_entry_point_names_the_same_function():
    setup = (ROOT / "setup.py").read_text()
    assert '"keras-actionformer = keras_actionformer.cli:main"' in setup


def test_programs_of_the_checkout(tmp_path):
    for verb in VERBS:
        assert os.access(ROOT / "bin" / verb, os.X_OK)
    done = run_program(tmp_path, "--help", program=(str(ROOT / "bin" / "simulate"),))
    assert done.returncode == 0 and "--output" in done.stdout


# --- wrong options -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, texts",
    [
        (["tarin"], ["no verb 'tarin'", "did you mean 'train'?"]),
        (["version"], ["no verb 'version'; did you mean '--version'?"]),
        (["-v"], ["no verb '-v'; did you mean '--version'?"]),
        (["simulate", "--outptu=x"], ["no option --outptu", "did you mean 'output'?"]),
        (["simulate", "--output=x", "y"], ["Unknown arguments ['y']"]),
        (["simulate", "--output=x", "--seed=a"], ["--seed=a: expected a non-negative integer."]),
        (["simulate"], ["--output is missing"]),
        (["prepare", "--dataset=hatp", "--from=x", "--to=y"], ["--dataset=hatp", "|hapt|"]),
        (["train", "--workdir=w"], ["--config is missing"]),
        (["train", "--config=no.py", "--workdir=w"], ["file 'no.py' does not exist"]),
        (["train", "--config=hapt", "--workdir=w", "--epochs=3"],
         ["no option --epochs; did you mean 'config.train.epochs'?"]),
        (["train", "--config=hpt", "--workdir=w"], ["'hpt'; did you mean 'hapt'?", "help train"]),
        (["presets", "a", "b"], ["Unknown arguments ['b']"]),
        (["train", "--config.seed=1", "--workdir=w"], ["config.seed", "--config=FILE.py"]),
        (["detect", "--workdir=w", "--feats=no.npy"], ["'no.npy' does not exist"]),
        (["detect", "--workdir=w", "--feats=no.npy", "--output=a.txt"], ["in .json or .csv"]),
        (["detect", "--preset=p", "--feats=a", "--format=csv", "--output=a.json"], ["in .csv;"]),
        (["detect", "--preset=p", "--feats=a", "--format=elna"], ["elan|boris|via"]),
        (["detect", "--preset=p", "--feats=a", "--format=elan"], ["say which in --output, too"]),
        (["detect", "--preset=p", "--feats=a", "--format=srt", "--output=a.srt"], ["a new folder"]),
        (["detect", "--preset=p", "--feats=a", "--format=via", "--output=a.json"], ["needs media"]),
        (["detect", "--preset=p", "--feats=a", "--media=a/{}.mp4"], ["--media is for a --format"]),
        (["detect", "--preset=simulated", "--feats="], ["--feats= must name", "but it is empty."]),
        (["detect", "--preset=p", "--feats=a.npy,"], ["--feats=a.npy, must", "one name is empty."]),
        (["detect", "--preset=p", "--feats=a.npy", "--timeout=5"], ["--timeout are for --server"]),
        (["detect", "--workdir=w", "--feats=a.npy", "--classes=c"], ["--classes and --timeout"]),
        (["detect", "--preset=p", "--feats=a", "--min_length_sec=1"], ["is for --bouts: give"]),
        (["detect", "--preset=p", "--feats=a", "--summary=a.json"], ["must end in .csv"]),
        (["detect", "--preset=p", "--feats=a", "--bouts", "--top_k=3"], ["not for --bouts"]),
        (["detect", "--preset=p", "--feats=a", "--table=t", "--fps=3"], ["either --table, or"]),
        (["detect", "--preset=p", "--config.postprocess.sigma=1", "--feats=a"],
         ["no option --config.postprocess.sigma", "did you mean 'config.postprocess.nms_sigma'"]),
    ],
)  # fmt: skip
def test_wrong_options(tmp_path, arguments, texts):
    assert_told(run_program(tmp_path, *arguments), *texts)


@pytest.mark.parametrize("words", [["--config=hapt:a:b"], ["--config", "hapt:a:b"]])
def test_a_configuration_by_name_becomes_its_file(words):
    options = {"config": types.SimpleNamespace(flag_type=lambda: "config object")}
    before, after = ["train", "--resume"], ["--config.seed=1"]
    argv = explain.find_config_file([*before, *words, *after], options)
    assert argv == [*before, f"--config={ROOT / 'configs' / 'hapt.py'}:a:b", *after]


@pytest.mark.parametrize(
    "content, texts",
    [
        ("x = 1", ["has no function get_config()"]),
        ("def get_config(:", ["line 1, is not Python"]),
        ("def get_config():\n    pass", ["returns nothing"]),
        ("\nimport absent", ["line 2: ModuleNotFoundError: No module named 'absent'."]),
    ],
)
def test_wrong_configuration_file(tmp_path, content, texts):
    (tmp_path / "config.py").write_text(content)
    done = run_program(tmp_path, "train", "--config=config.py", "--workdir=w")
    assert_told(done, "'config.py'", *texts)


# Settings without `default_config`, which takes Keras seconds to start.
SMALL_CONFIG = """
import ml_collections
def get_config():
    config = ml_collections.ConfigDict()
    config.epochs = 3
    config.lock()
    config.{0}
    return config
"""


@pytest.mark.parametrize(
    "line, option, texts",
    [
        ("epochs = 4", "--config.epochs=abc", ["--config.epochs=abc: expected an integer."]),
        ("epoch = 4", "--config.epochs=5", ["'config.py', line 7: ", "did you mean 'epochs'?"]),
        ("epochs = 'a'", "--config.epochs=5", ["'config.py', line 7: ", "'epochs'", "int"]),
    ],
)
def test_wrong_setting(tmp_path, line, option, texts):
    (tmp_path / "config.py").write_text(SMALL_CONFIG.format(line))
    done = run_program(tmp_path, "train", "--config=config.py", "--workdir=w", option)
    assert_told(done, *texts)


def test_unknown_setting(folder):
    done = run_program(folder, *TRAIN, "--config.train.epoch=3")
    assert_told(done, "no setting config.train.epoch;", "did you mean 'train.epochs'?")


# --- what stops a program ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raised, status, texts",
    [
        (
            "KeyboardInterrupt",
            130,
            ["Interrupted: go on with `train --config=config.py --resume`."],
        ),
        ("OSError(28, 'x', 'run/a.npz')", 2, ["no space", "'run/a.npz'", "intact", "--resume"]),
        ("PermissionError(13, 'Permission denied', 'run')", 2, ["'run': Permission denied."]),
        ("UserError('Bad data.')", 2, ["train: Bad data."]),
    ],
)
def test_what_stops_a_program(tmp_path, raised, status, texts):
    code = f"""
import sys
from keras_actionformer import cli
from keras_actionformer.errors import UserError
import keras_actionformer.cli.train as train
def stop():
    raise {raised}
train.main = stop
train.flags.FLAGS.set_default("workdir", "w")
train.flags.FLAGS["config"].allow_override = True
sys.argv = ["train", "--config=config.py"]
cli.run("train")
"""
    (tmp_path / "config.py").write_text("def get_config():\n    return 1")
    assert_told(run_program(tmp_path, program=("-c", code)), *texts, status=status)


def test_labels_that_the_terminal_cannot_show(tmp_path):
    """They are escaped, instead of stopping the program."""
    annotations = "video,start,end,label\nv,1,2,caf\u00e9\nv,5,9,caf\u00e9\n"
    detections = "video,start_sec,end_sec,label,score\nv,1,2,caf\u00e9,0.9\n"
    (tmp_path / "a.csv").write_text(annotations, encoding="utf-8")
    (tmp_path / "d.csv").write_text(detections, encoding="utf-8")
    done = run_program(
        tmp_path, "evaluate", "--ground_truth=a.csv", "--default_subset=val", "--detections=d.csv",
        "--per_class", PYTHONIOENCODING="ascii",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "caf\\xe9" in done.stdout
    wrong = run_program(
        tmp_path, "evaluate", "--ground_truth=caf\u00e9.csv", "--detections=d.csv",
        PYTHONIOENCODING="ascii",
    )  # fmt: skip
    assert_told(wrong, "'caf\\xe9.csv'")


# --- summary -------------------------------------------------------------------------------------


def test_summary(folder):
    told = run_here(folder, "summary", "--config=config.py", "--num_steps=20").stdout
    assert "multiply-adds for 20 steps (20 s)" in told  # every second of 5 samples, 10 a second
    assert told == run_here(folder, "summary", "--workdir=run", "--num_steps=20").stdout
    found = json.loads(run_here(folder, "summary", "--workdir=run", "--json=-").stdout)
    assert found["num_steps"] == 32 and len(found["levels"]) == 2
    done = run_here(folder, "summary", "--workdir=run", "--preset=simulated")
    assert_told(done, "Give either --config=FILE.py or --workdir=DIR or --preset=NAME.")


# --- train and detect ----------------------------------------------------------------------------


def test_train_scores_the_test_subset(folder):
    assert "mAP" in (folder / "trained.txt").read_text()
    assert json.loads((folder / "run" / "evaluation.json").read_text())["num_ground_truth"] == 2


def test_train_again(folder):
    assert_told(run_program(folder, *TRAIN), "already holds a training run", "--resume")


@pytest.fixture(scope="module")
def trained(folder):
    from keras_actionformer.model import ActionFormer
    from keras_actionformer.presets.runs import load_model

    return load_model(folder / "run", ActionFormer)


@pytest.fixture
def detect(folder, trained, monkeypatch):
    """Runs the verb `detect` in `folder`, for the trained run unless told otherwise.

    Its model is not opened again: to compile its detection takes seconds.
    """
    from keras_actionformer.presets import runs

    original = runs.load_model

    def load_model(workdir, model_class):
        paths = [pathlib.Path(run) / "model.keras" for run in (workdir, folder / "run")]
        is_trained = paths[0].read_bytes() == paths[1].read_bytes()
        return trained if is_trained else original(workdir, model_class)

    monkeypatch.setattr(runs, "load_model", load_model)
    return functools.partial(run_here, folder, "detect", "--workdir=run")


@pytest.fixture(scope="module")
def expected(folder, trained):
    """Detections of the trained model, by video."""
    feats = {f"v{i}": np.load(folder / "feats" / f"v{i}_f.npy")[::2] for i in range(5)}
    return {video_id: trained.detect(x) for video_id, x in feats.items()}


def assert_equal(found, expected):
    assert len(found) == len(expected) > 0
    np.testing.assert_allclose(found.segments_sec, expected.segments_sec, rtol=1e-6)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-6)
    assert found.names == expected.names


def test_detect_writes_json(tmp_path, detect, expected):
    done = detect("--feats=feats/v3_f.npy,feats/v0_f.npy", f"--output={tmp_path / 'd.json'}")
    found = load_detections(tmp_path / "d.json")
    assert list(found) == ["v3", "v0"]
    for video_id in found:
        assert_equal(found[video_id], expected[video_id])
    count = len(expected["v3"])
    assert f"v3_f.npy: {count} detections\n start_sec    end_sec   score  label\n" in done.stdout


def test_detect_writes_csv_of_a_folder(tmp_path, detect, expected):
    middle = float(np.median(expected["v1"].scores))
    detect(
        "--feats=feats", f"--output={tmp_path / 'd.csv'}", "--top_k=3",
        f"--score_threshold={middle}", "--fps=20",
    )  # fmt: skip
    found = load_detections(tmp_path / "d.csv")["v1"]
    best = expected["v1"].filter(min_score=middle).top_k(3)
    assert 0 < len(best) == len(found)
    np.testing.assert_allclose(2 * found.segments_sec, best.segments_sec, rtol=1e-5)


def test_detect_takes_the_timing_that_features_tell(folder, tmp_path, trained, detect):
    shutil.copy(folder / "feats" / "v1_f.npy", tmp_path / "v1.npy")
    num_steps = len(np.load(tmp_path / "v1.npy"))
    sidecar = Sidecar(20.0, 5, 5, num_steps / 4, 5 * num_steps)
    sidecar.save(tmp_path / "v1.npy")
    options = (f"--feats={tmp_path / 'v1.npy'}", f"--output={tmp_path / 'd.json'}")
    detect(*options)
    feats = np.load(tmp_path / "v1.npy")[::2]
    expected = trained.detect(feats, fps=20, duration_sec=num_steps / 4)
    assert_equal(load_detections(tmp_path / "d.json")["v1"], expected)
    told = detect(*options, "--fps=10").stderr
    assert "has fps=20, as the .json file beside it says, but --fps is 10; leave it out" in told
    dataclasses.replace(sidecar, stride_frames=8).save(tmp_path / "v1.npy")
    told = detect(*options).stderr
    assert "has stride_frames=8" in told
    assert "stride_frames of what the model was trained on is 5; extract features as" in told


@pytest.mark.parametrize(
    "feats, text",
    [
        (np.zeros((40, 5)), " must have 6 channels, but its shape is (40, 5); take "),
        (np.full((40, CHANNELS), np.nan), " has a NaN or infinite value at step 0"),
        (np.zeros((0, CHANNELS)), " is empty"),
        (np.full((40, CHANNELS), 3e38), ": The network computes NaN or infinite numbers of feats"),
    ],
)
def test_detect_checks_features(tmp_path, detect, feats, text):
    np.save(tmp_path / "v.npy", feats)
    done = detect(f"--feats={tmp_path / 'v.npy'}", f"--output={tmp_path / 'd.json'}")
    assert_told(done, f"v.npy'{text}")
    assert not (tmp_path / "d.json").exists()


def test_detect_reads_all_kinds_of_files(folder, tmp_path, detect, expected):
    h5py, torch = pytest.importorskip("h5py"), pytest.importorskip("torch")
    feats = [np.load(folder / "feats" / f"v{i}_f.npy") for i in range(4)]
    torch.save(torch.from_numpy(feats[0]), tmp_path / "v0.pt")
    torch.save(torch.from_numpy(feats[1]), tmp_path / "v1.pth")
    with h5py.File(tmp_path / "others.h5", "w") as file:
        file["v2"], file["v3"] = feats[2], feats[3]
    detect(f"--feats={tmp_path}", f"--output={tmp_path / 'd.json'}")
    found = load_detections(tmp_path / "d.json")
    assert sorted(found) == ["v0", "v1", "v2", "v3"]
    for video_id in found:
        assert_equal(found[video_id], expected[video_id])


def changed_run(folder, path, **data):
    """A copy of the trained run in `path` whose configuration has other settings of the data."""
    shutil.copytree(folder / "run", path)
    config = json.loads((path / "config.json").read_text())
    config["data"].update(data)
    (path / "config.json").write_text(json.dumps(config))
    return path


def test_detect_cuts_windows_as_the_evaluation(folder, tmp_path, detect, expected, monkeypatch):
    from keras_actionformer.training import run_scores

    run = changed_run(folder, tmp_path / "run", window_steps=8, window_overlap=0.25)
    monkeypatch.chdir(folder)
    run_scores.evaluate_workdir(run)
    detect(
        f"--workdir={run}", "--feats=feats/v4_f.npy", "--duration=20",
        f"--output={tmp_path / 'd.json'}",
    )  # fmt: skip
    found = load_detections(tmp_path / "d.json")["v4"]
    assert_equal(found, load_detections(run / "detections.json")["v4"])
    assert not np.allclose(found.scores, expected["v4"].scores)


def test_detect_joins_streams(folder, tmp_path, detect, expected):
    streams = [str(tmp_path / name) for name in ("rgb", "flow")]
    for path, channels in zip(streams, (slice(0, 2), slice(2, CHANNELS)), strict=True):
        os.mkdir(path)
        for i in (0, 3):
            feats = np.load(folder / "feats" / f"v{i}_f.npy")
            np.save(f"{path}/v{i}_f.npy", feats[:, channels])
    run = changed_run(folder, tmp_path / "run", feats=streams)
    detect(f"--workdir={run}", f"--feats={','.join(streams)}", f"--output={tmp_path / 'd.json'}")
    found = load_detections(tmp_path / "d.json")
    assert list(found) == ["v0", "v3"]
    for video_id in found:
        assert_equal(found[video_id], expected[video_id])
    done = detect(f"--workdir={run}", f"--feats={streams[0]}")
    assert_told(done, "must name 2 folders", "names 1")
    os.mkdir(tmp_path / "empty")
    done = detect(f"--workdir={run}", f"--feats={tmp_path / 'empty'},{streams[1]}")
    assert_told(done, "holds no features with a name <video id>_f.npy")


def test_detect_shares_out_the_duration(folder, tmp_path, trained, detect, monkeypatch):
    from keras_actionformer.model import ActionFormer
    from keras_actionformer.training import run_scores

    run = changed_run(folder, tmp_path / "run", stride_frames=None)
    model = ActionFormer.from_config({**trained.get_config(), "grid": None})
    model.set_weights(trained.get_weights())
    model.save(run / "model.keras")
    monkeypatch.chdir(folder)
    run_scores.evaluate_workdir(run)
    done = detect(f"--workdir={run}", "--feats=feats/v4_f.npy")
    assert_told(done, "its seconds in --duration")
    for fps in ((), ("--fps=7",)):  # seconds do not depend on it
        detect(
            f"--workdir={run}", "--feats=feats/v4_f.npy", "--duration=20", *fps,
            f"--output={tmp_path / 'd.json'}",
        )  # fmt: skip
        found = load_detections(tmp_path / "d.json")["v4"]
        assert_equal(found, load_detections(run / "detections.json")["v4"])
    table = tmp_path / "videos.csv"
    table.write_text("video,duration,fps\nv4,20,7\nv3,,7\n")
    options = (f"--workdir={run}", f"--table={table}", f"--output={tmp_path / 'd.json'}")
    detect(*options, "--feats=feats/v4_f.npy")
    assert_equal(load_detections(tmp_path / "d.json")["v4"], found)
    done = detect(*options, "--feats=feats/v4_f.npy,feats/v3_f.npy")
    assert_told(done, "--table with the duration of each ('v3' has none)")


def test_detect_finds_bouts(tmp_path, trained, detect, expected, monkeypatch):
    wanted = ("--feats=feats/v1_f.npy,feats/v3_f.npy", "--bouts")
    done = detect(*wanted)
    assert_told(done, "--bouts needs to know from which score on", "evaluate --tune_threshold")
    found = {video_id: expected[video_id] for video_id in ("v1", "v3")}
    middle = float(np.median(found["v1"].scores))
    by_hand = {video_id: one.bouts(middle, 0.5, 1.0) for video_id, one in found.items()}
    options = ("--merge_gaps_sec=0.5", "--min_length_sec=1")
    done = detect(
        *wanted, f"--score_threshold={middle}", *options, f"--output={tmp_path / 'bouts.csv'}",
        f"--summary={tmp_path / 'counts.csv'}",
    )  # fmt: skip
    counts = count_bouts(by_hand)
    total = sum(row["bouts"] for row in counts)
    assert 0 < total and f"\n{total} bouts in 2 files\n{bout_table(counts)}\n" in done.stdout
    assert f"{by_hand['v1'].describe('bout')}\n" in done.stdout and "detection" not in done.stdout
    written = load_detections(tmp_path / "bouts.csv", ("sit", "walk"))
    for video_id, bouts in by_hand.items():
        np.testing.assert_allclose(written[video_id].segments_sec, bouts.segments_sec, rtol=1e-6)
    with open(tmp_path / "counts.csv", newline="") as file:
        rows = [*csv.DictReader(file)]
    assert [int(row["bouts"]) for row in rows] == [row["bouts"] for row in counts]
    # Without a threshold, from the scores that the model recommends.
    monkeypatch.setattr(trained, "thresholds", Thresholds(0.9, (middle, middle)))
    again = detect(*wanted, *options)
    assert again.stdout.splitlines() == [x for x in done.stdout.splitlines() if "Wrote" not in x]


@pytest.mark.parametrize("name,output", [("elan", "drafts"), ("boris", "new/drafts.boris")])
def test_detect_writes_drafts_that_become_annotations(tmp_path, detect, expected, name, output):
    options = (f"--format={name}", f"--output={tmp_path / output}", "--media=films/{}.mp4")
    middle = float(np.median(expected["v1"].scores))
    done = detect("--feats=feats/v1_f.npy,feats/v3_f.npy", f"--score_threshold={middle}", *options)
    assert f"Wrote {tmp_path / output}." in done.stdout
    annotations = load_annotations(tmp_path / output, default_subset="t", on_note=lambda note: None)
    for video in annotations.videos:
        kept = expected[video.video_id].filter(min_score=middle)
        assert len(video.labels) == len(kept) > 0
        wanted = np.sort(kept.segments_sec, axis=0)
        np.testing.assert_allclose(np.sort(video.segments_sec, axis=0), wanted, atol=0.00051)
    assert [video.video_id for video in annotations.videos] == ["v1", "v3"]
    assert_told(detect("--feats=feats/v1_f.npy", *options), "somebody may have corrected it")


def test_detect_tells_what_the_model_recommends(trained, detect, expected, monkeypatch):
    count = len(expected["v1"])
    told = detect("--feats=feats/v1_f.npy").stdout.splitlines()[-1]
    assert told == f"{count} detections in 1 file."
    monkeypatch.setattr(trained, "thresholds", Thresholds(0.3, (0.25, 0.35)))
    told = detect("--feats=feats/v1_f.npy").stdout.splitlines()[-1]
    assert told == (
        f"{count} detections in 1 file; the model recommends those with a score from 0.3 (0.25 to "
        "0.35 by class) on: --score_threshold=0.3, or --bouts."
    )
    assert "recommends" not in detect("--feats=feats/v1_f.npy", "--score_threshold=0.2").stdout


def test_detect_draws(tmp_path, trained, detect, monkeypatch):
    pytest.importorskip("matplotlib")
    path = tmp_path / "new" / "found.svg"
    done = detect("--feats=feats/v1_f.npy,feats/v3_f.npy", f"--figure={path}")
    assert f"Wrote {path}." in done.stdout and path.read_bytes().startswith(b"<?xml")
    # Of what the model recommends there is nothing here, and the picture says so.
    monkeypatch.setattr(trained, "thresholds", Thresholds(0.9999))
    detect("--feats=feats/v1_f.npy,feats/v3_f.npy", f"--figure={tmp_path / 'none.svg'}")
    assert len((tmp_path / "none.svg").read_bytes()) < len(path.read_bytes())
    done = detect("--feats=feats", f"--figure={tmp_path / 'found.gif'}")
    assert_told(done, "--figure must end in .png, .svg, .pdf, but is", "found.gif")


def test_detect_with_other_settings(folder, tmp_path, trained, detect, expected, monkeypatch):
    monkeypatch.setattr(trained, "postprocess", trained.postprocess)  # to have it back
    before = (folder / "run" / "model.keras").read_bytes()
    done = detect(
        "--feats=feats/v1_f.npy", "--config.postprocess.max_seg_num=3",
        "--config.postprocess.nms_method=hard", f"--output={tmp_path / 'd.json'}",
    )  # fmt: skip
    changes = "postprocess.nms_method soft -> hard, postprocess.max_seg_num 20 -> 3"
    assert done.stdout.startswith(f"Changed: {changes}.\n")
    assert len(load_detections(tmp_path / "d.json")["v1"]) == 3
    assert (folder / "run" / "model.keras").read_bytes() == before
    done = detect("--feats=feats/v1_f.npy", "--config.fusion.topk=1")
    assert_told(done, "changes nothing without --video_scores")


def test_detect_takes_the_times_of_each_video_from_a_table(tmp_path, detect, expected):
    table = tmp_path / "videos.csv"
    table.write_text("video,fps,duration\nv1,20,\nv3,,7.5\nv9,1,1\n")
    wanted = ("--feats=feats/v1_f.npy,feats/v3_f.npy", f"--table={table}")
    detect(*wanted, f"--output={tmp_path / 'd.json'}")
    found = load_detections(tmp_path / "d.json")
    np.testing.assert_allclose(2 * found["v1"].segments_sec, expected["v1"].segments_sec, rtol=1e-5)
    clipped = np.minimum(expected["v3"].segments_sec, 7.5)
    has_length = clipped[:, 0] < clipped[:, 1]
    assert not has_length.all()
    np.testing.assert_allclose(found["v3"].segments_sec, clipped[has_length], rtol=1e-6)
    assert clipped.max() == 7.5
    table.write_text("video,fps,duration\nv1,20,\nv33,,7.5\n")
    assert_told(detect(*wanted), "lacks the video 'v3' of --feats; did you mean 'v33'?")
    table.write_text("video,fps,duration\nv1,20,\nv3,,\n")
    assert_told(detect(*wanted), "has neither fps nor duration of 'v3'")


def test_detect_checks_options(tmp_path, detect):
    assert_told(detect("--feats=feats", "--duration=3"), "names 5.")
    assert_told(detect(f"--feats={tmp_path}"), "holds no feature file")


def test_detect_loses_nothing_it_could_have_told_before(folder, tmp_path, detect):
    good = folder / "feats" / "v0_f.npy"
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        shutil.copy(good, tmp_path / name / "v0_f.npy")
    done = detect(f"--feats={tmp_path / 'a'},{tmp_path / 'b'}")
    assert_told(done, "an earlier file of --feats are both 'v0'")
    (tmp_path / "file").touch()
    done = detect(f"--feats={good}", f"--output={tmp_path / 'file' / 'd.json'}")
    assert_told(done, "is no folder")
    np.save(tmp_path / "a" / "z_f.npy", np.full((9, CHANNELS), np.inf))
    done = detect(f"--feats={tmp_path / 'a'}", f"--output={tmp_path / 'd.json'}")
    assert_told(done, "z_f.npy")


def test_detect_without_a_model(folder, tmp_path):
    done = run_here(tmp_path, "detect", f"--feats={folder / 'feats'}", "--workdir=absent")
    assert_told(done, "detect: absent/model.keras does not exist")


# === Presets and checkpoints ===

EXPERIMENT = GOLDEN / "j_checkpoint"
needs_experiment = pytest.mark.skipif(
    not (EXPERIMENT / "epoch_003.pth.tar").exists(), reason="no reference checkpoint here"
)


@needs_experiment
def test_a_reference_checkpoint_becomes_a_preset_that_detects(tmp_path):
    (tmp_path / "names.txt").write_text("run\njump\nfall\nsit\n")
    done = run_here(
        tmp_path, "convert", f"--checkpoint={EXPERIMENT}", "--output=preset",
        "--classes=names.txt", "--description=A small one.",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *lines, summary, written = done.stdout.splitlines()
    assert summary == (
        "All 142 parameters (19,242 numbers) of epoch_003.pth.tar, averaged weights, found their "
        "place."
    )
    assert written == "Wrote preset."
    assert len(lines) == 142
    assert lines[0].split() == [
        "backbone.embd.0.conv.weight", "(16,", "12,", "3)", "backbone/embd_0/kernel",
    ]  # fmt: skip
    metadata = json.loads((tmp_path / "preset" / "metadata.json").read_text())
    assert metadata["source"] == "epoch_003.pth.tar, averaged weights"
    assert metadata["class_names"] == ["run", "jump", "fall", "sit"]

    feats = EXPERIMENT / "data" / "feats" / "vid8.npy"
    done = run_here(
        tmp_path, "detect", "--preset=preset", f"--feats={feats}", "--fps=30",
        "--output=found.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = load_detections(tmp_path / "found.json")["vid8"]
    assert len(found) == 200
    assert set(found.names) == {"run", "jump", "fall", "sit"}

    without_fps = run_here(tmp_path, "detect", "--preset=preset", f"--feats={feats}")
    assert_told(without_fps, "several frame rates: pass fps")


@needs_experiment
def test_the_scores_of_a_checkpoint_are_those_of_the_references_log(tmp_path):
    done = run_here(
        tmp_path, "evaluate", f"--preset={EXPERIMENT}", "--output=scores.json",
        f"--ground_truth={EXPERIMENT / 'data' / 'anno.json'}",
        f"--feats={EXPERIMENT / 'data' / 'feats'}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "scores.json").read_text())
    expected = load(EXPERIMENT / "j_outputs.npz")
    np.testing.assert_allclose(scores["mean_ap"], expected["eval/mAP"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(scores["mean_recall"], expected["eval/mRecall"], rtol=0, atol=1e-9)


@needs_experiment
def test_wrong_ways_to_name_a_model(tmp_path):
    feats = f"--feats={EXPERIMENT / 'data' / 'feats' / 'vid8.npy'}"
    truth = f"--ground_truth={EXPERIMENT / 'data' / 'anno.json'}"
    for arguments, text in (
        (("detect", feats), "either --workdir=DIR, --preset=NAME, --export=DIR or --server=URL."),
        (("detect", feats, "--preset=a", "--workdir=b"), "Give either --workdir=DIR, --preset="),
        (("detect", feats, "--preset=simulate"), "did you mean 'simulated'"),
        (("evaluate", truth, "--preset=simulated"), "--preset needs --feats=DIR"),
        (("evaluate", "--preset=simulated"), "Give --workdir=DIR, or --ground_truth=FILE"),
        (("convert", "--checkpoint=none", "--output=x"), "Checkpoint 'none' does not exist"),
        (("convert", "--checkpoint=.", "--output=x"), "The folder '.' holds no checkpoint"),
        (
            ("convert", f"--checkpoint={EXPERIMENT}", "--output=x", "--config=thumos14_i3"),
            "Configuration file 'thumos14_i3' does not exist; did you mean 'thumos14_i3d'",
        ),
        (
            ("convert", f"--checkpoint={EXPERIMENT}", "--output=x", "--config=thumos14_i3d"),
            "embd.0.conv.weight has shape (16, 12, 3)",
        ),
        (("convert", f"--checkpoint={EXPERIMENT}", "--output=."), "is the current folder"),
        (("detect", feats, f"--preset={ROOT / 'README.md'}"), "not a file written by torch.save"),
        (
            ("convert", f"--checkpoint={EXPERIMENT}", "--output=x", "--classes=no.txt"),
            "--classes=no.txt cannot be read",
        ),
    ):
        assert_told(run_here(tmp_path, *arguments), text)
    assert not list(tmp_path.iterdir())
