"""Published data sets brought into our form, from made-up folders and archives of their layouts."""

import dataclasses
import functools
import hashlib
import io
import json
import tarfile
import zipfile

import numpy as np
import pytest

from helpers.archives import needs_safe_unpacking
from helpers.programs import run_program
from helpers.torch_writer import write_checkpoint
from keras_actionformer.data.annotation_files import load_annotations
from keras_actionformer.data.features import FeatureFiles
from keras_actionformer.datasets import prepare
from keras_actionformer.datasets.formats import THUMOS14_CLASSES
from keras_actionformer.datasets.prepare import prepare_dataset
from keras_actionformer.datasets.published import PUBLISHED
from keras_actionformer.errors import UserError
from keras_actionformer.evaluation.blocked_videos import load_blocked_videos
from keras_actionformer.evaluation.video_scores import load_video_scores


def action(label, start, end, **fields):
    return {"label": label, "segment": [start, end], **fields}


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_database(path, videos, train="training", test="validation"):
    """Writes an annotation file: `{video id: actions}`, the last video is for the test."""
    entries = {
        video_id: {"subset": train, "duration": 20.0, "fps": 30.0, "annotations": actions}
        for video_id, actions in videos.items()
    }
    entries[list(entries)[-1]]["subset"] = test
    write_json(path, {"database": entries})


def write_feats(folder, names, channels):
    folder.mkdir(parents=True)
    for i, name in enumerate(names):
        feats = np.full((5, channels), i, np.float32)
        with open(folder / name, "wb") as file:
            np.savez(file, feats=feats) if name.endswith(".npz") else np.save(file, feats)


@pytest.fixture
def thumos(tmp_path):
    """What the reference's thumos.tar.gz unpacks to."""
    folder = tmp_path / "source" / "thumos"
    videos = {
        "video_validation_1": [
            action("Diving", 1.0, 2.0, label_id=7),
            action("Diving", 1.0, 2.0, label_id=7),
            action("Ambiguous", 3.0, 4.0, label_id=20),
        ],
        "video_test_1": [action("Billiards", 15.0, 20.5, label_id=2)],
    }
    write_database(folder / "annotations" / "thumos14.json", videos, "Validation", "Test")
    write_feats(folder / "i3d_features", [f"{video_id}.npy" for video_id in videos], 2048)
    return folder


def test_thumos14(thumos, tmp_path):
    lines = []
    annotations = prepare_dataset("thumos14", thumos.parent, tmp_path / "out", lines.append)
    (video,) = annotations["annotations.json"].subset("validation")
    assert len(video.labels) == 1  # the repeated and the ambiguous one are left out
    written = load_annotations(tmp_path / "out" / "annotations.json", outside="keep")
    assert written.class_names[7] == "Diving" and written.class_names[2] == "Billiards"
    (video,) = written.subset("test")
    np.testing.assert_array_equal(video.segments_sec, [[15.0, 20.5]])  # stays beyond its video
    feats = tmp_path / "out" / "feats"
    assert feats.is_symlink() and feats.samefile(thumos / "i3d_features")
    assert FeatureFiles(feats, 2048).load("video_test_1").shape == (5, 2048)
    assert "2 of 2 videos have features" in lines[0]
    assert "1 Validation video with 1 action, 1 Test video with 1" in lines[-1]
    # Again, and the same comes out.
    prepare_dataset("thumos14", thumos.parent, tmp_path / "out", lines.append)
    assert "is there already" in lines[2]


def archive_of(folder, path):
    with tarfile.open(path, "w:gz") as file:
        file.add(folder, folder.name)
    return hashlib.md5(path.read_bytes()).hexdigest()


def as_fips_has_it(md5, *data, usedforsecurity=True):
    if usedforsecurity:
        raise ValueError("disabled for FIPS")
    return md5(*data, usedforsecurity=False)


def with_md5(monkeypatch, name, archives):
    changed = dataclasses.replace(PUBLISHED[name], archives=archives)
    monkeypatch.setitem(prepare.PUBLISHED, name, changed)


@needs_safe_unpacking
def test_archive_is_checked_and_unpacked_once(thumos, tmp_path, monkeypatch):
    archive, lines = tmp_path / "thumos.tar.gz", []
    md5 = archive_of(thumos, archive)
    with_md5(monkeypatch, "thumos14", {"thumos.tar.gz": md5})
    monkeypatch.setattr(hashlib, "md5", functools.partial(as_fips_has_it, hashlib.md5))
    prepare_dataset("thumos14", archive, tmp_path / "out", lines.append)
    assert lines[0] == "Checking 'thumos.tar.gz': 100 %" and "Unpacking" in lines[1]
    assert "Moved" in lines[2]
    feats = tmp_path / "out" / "feats"
    assert not feats.is_symlink() and (feats / "video_test_1.npy").is_file()
    before = (tmp_path / "out" / "annotations.json").read_bytes()
    prepare_dataset("thumos14", archive, tmp_path / "out", lines.append)
    assert "unpacked/thumos' is there already" in lines[4] and "feats' is there" in lines[5]
    assert (tmp_path / "out" / "annotations.json").read_bytes() == before


def test_a_python_that_unpacks_unsafely_does_not(tmp_path, monkeypatch):
    (tmp_path / "thumos.tar.gz").write_bytes(b"x")
    monkeypatch.delattr(tarfile, "data_filter", raising=False)
    with pytest.raises(
        UserError, match="would unpack '.*thumos.tar.gz' wherever .* 3.11.4 or newer"
    ):
        prepare_dataset("thumos14", tmp_path / "thumos.tar.gz", tmp_path / "out", print)


@needs_safe_unpacking
def test_damaged_archive(thumos, tmp_path):
    archive = tmp_path / "thumos.tar.gz"
    archive_of(thumos, archive)
    with pytest.raises(UserError, match="375f76ffbf7447af1035e694971ec9b2: the download is damag"):
        prepare_dataset("thumos14", archive, tmp_path / "out", lambda line: None)
    assert not (tmp_path / "out").exists()
    # Of another name nothing is known: it is unpacked as far as it goes, and nothing is left.
    cut = tmp_path / "mine.tar.gz"
    cut.write_bytes(archive.read_bytes()[:-40])
    lines = []
    with pytest.raises(UserError, match="cannot be unpacked .* must be a tar file"):
        prepare_dataset("thumos14", cut, tmp_path / "out", lines.append)
    assert "No MD5 is known for 'mine.tar.gz'" in lines[0]
    assert not list((tmp_path / "out").rglob("*.part"))


@needs_safe_unpacking
def test_archive_that_would_write_elsewhere(tmp_path):
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as file:
        info = tarfile.TarInfo("../evil.txt")
        info.size = 1
        file.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(UserError, match="its entry '../evil.txt' leads out of the folder"):
        prepare_dataset("thumos14", archive, tmp_path / "out", lambda line: None)
    assert not list(tmp_path.rglob("evil.txt"))


@needs_safe_unpacking
def test_a_zip_file_is_no_archive(tmp_path):
    archive = tmp_path / "thumos.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("thumos14.json", "{}")
    with pytest.raises(UserError, match="is a zip file, no tar file; unpack it"):
        prepare_dataset("thumos14", archive, tmp_path / "out", lambda line: None)


@needs_safe_unpacking
def test_an_archive_of_another_layout_is_not_kept(thumos, tmp_path):
    archive, lines = tmp_path / "mine.tar.gz", []
    (thumos / "annotations" / "thumos14.json").rename(thumos / "actions.json")
    archive_of(thumos, archive)
    with pytest.raises(UserError, match="has no annotation file of THUMOS14"):
        prepare_dataset("thumos14", archive, tmp_path / "out", lines.append)
    (thumos / "actions.json").rename(thumos / "thumos14.json")
    archive_of(thumos, archive)
    prepare_dataset("thumos14", archive, tmp_path / "out", lines.append)
    # What is complete stays, though the next call is wrong.
    with pytest.raises(UserError, match="--durations=a.csv is only for annotations that do not"):
        prepare_dataset("thumos14", archive, tmp_path / "out", lines.append, "a.csv")
    assert (tmp_path / "out" / "unpacked" / "mine").is_dir()


def test_official_text_files_need_frame_rates(tmp_path):
    source = tmp_path / "source"
    for subset, short in (("validation", "val"), ("test", "test")):
        folder = source / f"TH14_{subset}" / "annotation"
        folder.mkdir(parents=True)
        for name in THUMOS14_CLASSES:
            (folder / f"{name}_{short}.txt").write_text(f"video_{subset}_1  1.0 2.5\n")
    write_feats(source / "i3d_features", ["video_validation_1.npy", "video_test_1.npy"], 2048)
    with pytest.raises(UserError, match="--durations=FILE.csv with the columns"):
        prepare_dataset("thumos14", source, tmp_path / "out", lambda line: None)
    table = tmp_path / "durations.csv"
    table.write_text("video,duration,fps\nvideo_validation_1,20,30\nvideo_test_1,20,25\n")
    found = prepare_dataset("thumos14", source, tmp_path / "out", lambda line: None, table)
    (video,) = found["annotations.json"].subset("test")
    assert (video.fps, len(video.labels)) == (25.0, 20)
    # What lies beside the given folder counts for nothing.
    beside = tmp_path / "BaseballPitch_val.txt"
    beside.write_text("video_validation_1  1.0 2.5\n")
    flat = tmp_path / "flat"
    write_feats(flat / "i3d_features", ["video_validation_1.npy"], 2048)
    for path in (source / "TH14_validation" / "annotation").iterdir():
        path.rename(flat / path.name)
    found = prepare_dataset("thumos14", flat, tmp_path / "out2", lambda line: None, table)
    assert len(found["annotations.json"].videos) == 1


def test_activitynet_has_two_kinds_of_features_and_video_scores(tmp_path):
    source, lines = tmp_path / "anet_1.3", []
    videos = {"a": [action("jump", 1, 2)], "b": [action("run", 3, 4)]}
    for kind, channels in (("tsp", 512), ("i3d", 2048)):
        write_database(source / "annotations" / f"anet1.3_{kind}_filtered.json", videos)
        write_feats(source / f"{kind}_features", ["v_a.npy", "v_b.npy"], channels)
    scores = {"results": {"a": [0.2, 0.8], "b": [1, 0]}, "class": ["run", "jump"]}
    write_json(source / "annotations" / "cuhk_val_simp_share.json", scores)
    write_json(source / "blocked.json", ["b"])
    prepare_dataset("activitynet", source, tmp_path / "out", lines.append)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        "annotations_tsp.json", "annotations_i3d.json", "feats_tsp", "feats_i3d",
        "video_scores.json", "blocked.json",
    }  # fmt: skip
    assert load_blocked_videos(tmp_path / "out" / "blocked.json", videos) == {"b"}
    found = load_video_scores(tmp_path / "out" / "video_scores.json", ("jump", "run"))
    assert found["a"].tolist() == [0.8, 0.2]
    write_json(source / "blocked.json", {"b": True})
    with pytest.raises(UserError, match="anet_1.3/blocked.json' must be a list of ids"):
        prepare_dataset("activitynet", source, tmp_path / "out", lines.append)


def test_only_some_of_it(tmp_path, caplog):
    """One kind of features, no video scores, and a video without features."""
    source, lines = tmp_path / "anet_1.3", []
    write_database(source / "anet1.3_i3d_filtered.json", {"a": [action("x", 1, 2)], "b": []})
    write_feats(source / "i3d_features", ["v_a.npy"], 2048)
    prepare_dataset("activitynet", source, tmp_path / "out", lines.append)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"annotations_i3d.json", "feats_i3d"}
    assert "1 of 2 videos have features" in lines[0] and "left out" not in caplog.text
    assert "There is no cuhk_val_simp_share.json: without video scores, no fusion." == lines[1]
    assert "There is no blocked.json: all videos are scored." == lines[2]


EPIC_HEAD = "narration_id,video_id,start_timestamp,stop_timestamp,verb,verb_class,noun,noun_class\n"


def test_epic_from_csv_files(tmp_path):
    source = tmp_path / "epic"
    write_feats(source / "features", ["P01_01.npz", "P01_02.npz"], 2304)
    for subset, row in (
        ("train", "n,P01_01,00:00:01.00,00:00:02.50,take,0,tap,3\n"),
        ("validation", "n,P01_02,00:01:00.00,00:01:01.00,open,3,tap,3\n"),
    ):
        (source / f"EPIC_100_{subset}.csv").write_text(EPIC_HEAD + row)
    info = "video_id,duration,fps,resolution\nP01_01,652.8,60,a\nP01_02,100,50,a\n"
    (source / "EPIC_100_video_info.csv").write_text(info)
    found = prepare_dataset("epic100", source, tmp_path / "out", lambda line: None)
    assert len(found["annotations_verb.json"].class_names) == 97
    assert len(found["annotations_noun.json"].class_names) == 300
    (video,) = found["annotations_noun.json"].subset("validation")
    assert (video.duration_sec, video.labels.tolist()) == (100.0, [3])
    assert found["annotations_action.json"].class_names == ("0,3", "3,3")
    assert FeatureFiles(tmp_path / "out" / "feats", 2304, suffix=".npz").has("P01_01")


def test_ego4d_streams_and_the_times_of_clips(tmp_path):
    source = tmp_path / "ego4d"
    write_database(source / "ego4d.json", {"c1": [action("x", 1, 2)], "c2": []})
    for name, channels in (("slowfast", 2304), ("egovlp", 256)):
        write_feats(source / f"{name}_features", ["c1.npy", "c2.npy"], channels)
    internvideo = "videomae_large_internvideo_img256_stride8_len16_interval1_ego4d"
    write_feats(source / internvideo, ["c1.npy", "c2.npy"], 1024)
    entry = {"duration": 20.0, "frame": 600, "annotations": [action("x", 1, 2)]}
    database = {"c1": {"subset": "train", **entry}, "c2": {"subset": "val", **entry}}
    write_json(source / "ego4d_v2_220429.json", {"database": database})
    found = prepare_dataset("ego4d", source, tmp_path / "out", lambda line: None)
    (video,) = found["annotations_clips.json"].subset("validation")
    assert video.fps == 30.0  # of 600 frames in 20 s
    folders = [tmp_path / "out" / f"feats_{name}" for name in ("slowfast", "egovlp")]
    assert FeatureFiles(folders, (2304, 256)).load("c1").shape == (5, 2560)
    assert (tmp_path / "out" / "feats_internvideo" / "c2.npy").exists()
    assert not (tmp_path / "out" / "feats_omnivore").exists()


def moments(split, *clips):
    """A moments file of one video; clips are (id, first frame, frames, label)."""
    contents = []
    for clip_id, first, count, name in clips:
        start_sec = first / 30
        moment = {"label": name, "primary": True, "video_start_time": start_sec + 1.0}
        moment |= {"video_end_time": start_sec + 3.0, "start_time": 1.0, "end_time": 3.0}
        content = {"clip_uid": clip_id, "annotations": [{"labels": [moment]}]}
        content |= {"video_start_sec": start_sec, "video_end_sec": (first + count) / 30}
        content |= {"video_start_frame": first, "video_end_frame": first + count}
        contents.append(content)
    return {"videos": [{"video_uid": f"video_{split}", "split": split, "clips": contents}]}


@pytest.fixture
def official_ego4d(tmp_path):
    """Ego4D's annotations and features as its authors offer them, with EgoVLP's of clips."""
    source = tmp_path / "ego4d"
    train = moments("train", ("c1", 0, 480, "b"), ("c2", 100, 320, "a"))
    write_json(source / "annotations" / "moments_train.json", train)
    write_json(source / "annotations" / "moments_val.json", moments("val", ("c3", 40, 300, "b")))
    rng = np.random.default_rng(0)
    for name, channels in (("slowfast8x8_r101_k400", 2304), ("omnivore_video_swinl", 1536)):
        (source / name).mkdir()
        for split, steps in (("train", 30), ("val", 20)):
            feats = rng.normal(size=(steps, channels)).astype(np.float16)
            write_checkpoint(source / name / f"video_{split}.pt", feats)
    (source / "egovlp_features").mkdir()
    for clip_id in ("c1", "c2"):
        feats = rng.normal(size=(20, 256)).astype(np.float32)
        write_checkpoint(source / "egovlp_features" / f"{clip_id}.pt", feats)
    return source


def test_ego4d_clips_are_cut_out_of_whole_videos(official_ego4d, tmp_path):
    lines = []
    found = prepare_dataset("ego4d", official_ego4d, tmp_path / "out", lines.append)
    assert list(found) == ["annotations.json"]  # times in the clips fit none of these features
    for video, times in zip(found["annotations.json"].videos, ((1, 3), (1.13, 3.13), (1.27, 3.27))):
        np.testing.assert_allclose(video.segments_sec, [times])
    # c1: frames 0 to 480, so the windows from 0 to 432; c2: from 96; c3: from 32.
    cut = {"c1": ("train", 0, 28), "c2": ("train", 6, 25), "c3": ("val", 2, 20)}
    for name, folder, channels in (
        ("slowfast", "slowfast8x8_r101_k400", 2304),
        ("omnivore", "omnivore_video_swinl", 1536),
    ):
        whole = FeatureFiles(official_ego4d / folder, channels, suffix=".pt")
        for clip_id, (split, start, stop) in cut.items():
            feats = np.load(tmp_path / "out" / f"feats_{name}" / f"{clip_id}.npy")
            assert feats.dtype == np.float32
            np.testing.assert_array_equal(feats, whole.load(f"video_{split}")[start:stop])
    assert "Wrote the clips cut out of" in lines[0] and "3 of 3 videos" in lines[0]
    assert "Wrote all of" in lines[2] and "2 of 3 videos have features" in lines[2]
    # EgoVLP's are of the clips themselves, and as long as these are.
    folders = [tmp_path / "out" / f"feats_{name}" for name in ("slowfast", "egovlp")]
    features = FeatureFiles(folders, (2304, 256), unequal_streams="to_first")
    assert features.load("c1").shape == (28, 2560) and features.load("c2").shape == (19, 2560)
    # Again, with the test's clips, and what the reference has made, which goes first.
    write_json(
        official_ego4d / "annotations" / "moments_test_unannotated.json",
        moments("test", ("c4", 0, 100, "b")),
    )
    write_feats(official_ego4d / "omnivore_features", ["c1.npy"], 1536)
    with pytest.raises(UserError, match="feats_omnivore' is there already and holds other"):
        prepare_dataset("ego4d", official_ego4d, tmp_path / "out", lines.append)
    found = prepare_dataset("ego4d", official_ego4d, tmp_path / "out2", lines.append)
    assert found["annotations.json"].subset("test")[0].video_id == "c4"
    assert (tmp_path / "out2" / "feats_omnivore").samefile(official_ego4d / "omnivore_features")
    # Then without: what was linked is left alone.
    (official_ego4d / "omnivore_features").rename(tmp_path / "elsewhere")
    (tmp_path / "out2" / "feats_omnivore").unlink()
    (tmp_path / "out2" / "feats_omnivore").symlink_to(tmp_path / "elsewhere")
    prepare_dataset("ego4d", official_ego4d, tmp_path / "out2", lines.append)
    assert np.load(tmp_path / "elsewhere" / "c1.npy").shape == (5, 1536)
    assert np.load(tmp_path / "out2" / "feats_omnivore" / "c1.npy").shape == (28, 1536)


@pytest.mark.parametrize(
    "feats, message",
    [
        (np.zeros((24, 2304), np.float32), "has 24 steps, but the clip 'c1' needs those up to 28"),
        (np.full((30, 2304), np.nan, np.float32), "NaN or infinite value at step 0"),
        (np.zeros((30, 7), np.float32), "must have 2304 channels"),
        (["text"], "expected one tensor"),
    ],
)
def test_ego4d_features_that_do_not_fit(official_ego4d, tmp_path, feats, message):
    path = official_ego4d / "slowfast8x8_r101_k400" / "video_train.pt"
    write_checkpoint(path, feats)
    with pytest.raises(UserError, match=f"video_train.pt'?:? .*{message}"):
        prepare_dataset("ego4d", official_ego4d, tmp_path / "out", lambda line: None)
    assert not (tmp_path / "out" / "annotations.json").exists()


@pytest.mark.parametrize("num_bytes", [0, 5000])
def test_ego4d_features_of_a_late_video_are_told_before_any_clip_is_written(
    official_ego4d, tmp_path, num_bytes
):
    path = official_ego4d / "slowfast8x8_r101_k400" / "video_val.pt"
    path.write_bytes(path.read_bytes()[:num_bytes])
    with pytest.raises(UserError, match="video_val.pt: it is (not a file|damaged or cut short)"):
        prepare_dataset("ego4d", official_ego4d, tmp_path / "out", lambda line: None)
    write_checkpoint(path, np.zeros((19, 2304), np.float16))
    with pytest.raises(UserError, match="video_val.pt' has 19 steps, but the clip 'c3' needs"):
        prepare_dataset("ego4d", official_ego4d, tmp_path / "out", lambda line: None)
    assert not (tmp_path / "out").exists()


def test_annotations_of_two_versions_are_not_chosen_from(official_ego4d, tmp_path):
    write_json(official_ego4d / "v2" / "moments_train.json", moments("train", ("c1", 0, 480, "a")))
    with pytest.raises(UserError, match="v2/moments_train.json' differ, as versions of a data set"):
        prepare_dataset("ego4d", official_ego4d, tmp_path / "out", lambda line: None)
    path = official_ego4d / "annotations" / "moments_train.json"
    (official_ego4d / "v2" / "moments_train.json").write_bytes(path.read_bytes())
    found = prepare_dataset("ego4d", official_ego4d, tmp_path / "out", lambda line: None)
    assert found["annotations.json"].class_names == ("a", "b")


def test_hacs_scores_are_logits(tmp_path):
    source = tmp_path / "hacs"
    write_database(source / "HACS_segments_v1.1.1.json", {"a": [action("x", 1, 2)], "b": []})
    write_feats(source / "slowfast101_15fps_stride8_len32_hacs", ["a.npy", "b.npy"], 2304)
    logits = {"a": [[np.log(3.0), 0.0]], "b": [[0.0, 800.0]]}
    write_json(source / "validation94.32.json", {"results": logits, "class": ["x", "y"]})
    prepare_dataset("hacs", source, tmp_path / "out", lambda line: None)
    found = load_video_scores(tmp_path / "out" / "video_scores.json")
    np.testing.assert_allclose(found["a"], [0.75, 0.25])
    np.testing.assert_allclose(found["b"], [0.0, 1.0])


def test_the_rgb_half_is_copied(thumos, tmp_path):
    write_database(thumos / "multithumos_anno.json", {"video_test_1": [action("x", 1, 2)]})
    prepare_dataset("multithumos_rgb", thumos, tmp_path / "out", lambda line: None)
    feats = np.load(tmp_path / "out" / "feats" / "video_test_1.npy")
    assert feats.shape == (5, 1024) and (feats == 1).all()


@pytest.mark.parametrize(
    "break_it, message",
    [
        (
            lambda folder: (folder / "annotations" / "thumos14.json").unlink(),
            r"has no annotation file of THUMOS14: expected thumos14.json or BaseballPitch_val.txt "
            r"in it, found annotations, i3d_features\. The README of github.com/happyharrycn",
        ),
        (
            lambda folder: (folder / "i3d_features").rename(folder / "feats"),
            r"has no folder with features of its videos of THUMOS14: expected i3d_features or .* "
            r"found annotations, feats\.",
        ),
        (
            lambda folder: np.save(folder / "i3d_features" / "video_validation_1.npy", [[1.0]]),
            "must have 2048 channels, but its shape is",
        ),
        (
            lambda folder: write_feats(folder / "b" / "i3d_features", ["video_test_1.npy"], 2048),
            "both have features of THUMOS14",
        ),
    ],
)
def test_unknown_layouts(thumos, tmp_path, break_it, message):
    break_it(thumos)
    with pytest.raises(UserError, match=message):
        prepare_dataset("thumos14", thumos, tmp_path / "out", lambda line: None)
    assert not (tmp_path / "out" / "annotations.json").exists()


def test_folder_in_the_way(thumos, tmp_path):
    (tmp_path / "out" / "feats").mkdir(parents=True)
    with pytest.raises(UserError, match="feats' is there already and holds other features"):
        prepare_dataset("thumos14", thumos, tmp_path / "out", lambda line: None)


def test_scores_of_another_form(tmp_path):
    source = tmp_path / "hacs"
    write_database(source / "HACS_segments_v1.1.1.json", {"a": [action("x", 1, 2)], "b": []})
    write_feats(source / "slowfast101_15fps_stride8_len32_hacs", ["a.npy"], 2304)
    write_json(source / "validation94.32.json", {"results": {"a": 3}, "class": ["x"]})
    with pytest.raises(UserError, match="validation94.32.json' must hold"):
        prepare_dataset("hacs", source, tmp_path / "out", lambda line: None)


def test_program(thumos, tmp_path):
    def run(*arguments):
        return run_program(tmp_path, "prepare", "--dataset=thumos14", "--to=out", *arguments)

    done = run(f"--from={thumos}")
    assert done.returncode == 0 and "Linked" in done.stdout, done.stderr
    done = run("--from=thumos.tar.gz")
    assert done.returncode == 2 and "README of github.com/happyharrycn" in done.stderr
    done = run(f"--from={thumos}", "--stride_frames=3")
    assert done.returncode == 2
    assert "--stride_frames means nothing for --dataset=thumos14" in done.stderr
