"""The formats of published data sets, in small files made by hand."""

import numpy as np
import pytest

from helpers.annotation_files import check_saved
from keras_actionformer.datasets.formats import (
    THUMOS14_CLASSES,
    read_epic100,
    read_thumos14,
)
from keras_actionformer.errors import UserError


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


# THUMOS14 --------------------------------------------------------------


def write_thumos14(folder, subset="val", word="validation", **files):
    """Writes one subset: a far-away segment for every class that `files` does not give."""
    for name in THUMOS14_CLASSES:
        text = files.pop(name, f"video_{word}_0000999 100.0 101.0\n")
        write(folder / f"{name}_{subset}.txt", text)
    for name, text in files.items():
        write(folder / f"{name}_{subset}.txt", text)


def small_thumos14(folder):
    # Each subset unpacks to a folder of its own.
    write_thumos14(
        folder / "TH14_Temporal_annotations_validation" / "annotation",
        CliffDiving="video_validation_0000051  67.5 75.9\n",
        Diving="video_validation_0000051  67.5 75.9\r\nvideo_validation_0000051\t3.0   4.5 \n\n",
        CricketShot="video_validation_0000051 3.0 4.0",
        Ambiguous="video_validation_0000051 60.0 61.0\nvideo_validation_0000052 1.0 2.0\n",
    )
    test = folder / "TH14_Temporal_Annotations_Test" / "annotations" / "annotation"
    write_thumos14(test, "test", "test", VolleyballSpiking="video_test_0000004 1.2 3.4\n")
    # The leftovers of a Mac, and a text that is no annotation.
    write(test / "._Diving_test.txt", "\0\0")
    write(test / "read_me.txt", "Hello")
    return folder


def test_thumos14(tmp_path, caplog):
    with caplog.at_level("INFO", "absl"):
        annotations = read_thumos14(small_thumos14(tmp_path))
    assert "2 ambiguous segments are left out" in caplog.text
    # The reference's label ids.
    assert len(annotations.class_names) == 20
    for name, id_ in (("CricketBowling", 5), ("CricketShot", 6), ("VolleyballSpiking", 19)):
        assert annotations.class_names[id_] == name
    assert [(v.video_id, v.subset) for v in annotations.videos] == [
        ("video_test_0000004", "test"),
        ("video_test_0000999", "test"),
        ("video_validation_0000051", "validation"),
        ("video_validation_0000999", "validation"),
    ]  # Video 52 has but an ambiguous segment.
    video = annotations.videos[2]
    assert video.duration_sec is None and video.fps is None
    # In the order of time; CliffDiving (4) is Diving (7) as well.
    np.testing.assert_array_equal(
        video.segments_sec, [[3.0, 4.0], [3.0, 4.5], [67.5, 75.9], [67.5, 75.9]]
    )
    np.testing.assert_array_equal(video.labels, [6, 7, 4, 7])
    assert len(annotations.videos[1].labels) == 19
    check_saved(annotations, tmp_path / "thumos14.json")


def test_thumos14_of_one_subset(tmp_path):
    small_thumos14(tmp_path)
    annotations = read_thumos14(tmp_path / "TH14_Temporal_Annotations_Test")
    assert {video.subset for video in annotations.videos} == {"test"}


@pytest.mark.parametrize("form", ["dict", "csv"])
def test_thumos14_with_durations(tmp_path, form):
    small_thumos14(tmp_path)
    durations = {"video_validation_0000051": 70.0, "video_of_others": 1.0}
    if form == "csv":
        durations = write(
            tmp_path / "durations.csv",
            "video-id,label,fps,duration\nvideo_validation_0000051,x,25,70.0\n"
            "video_of_others,x,25,1\nvideo_validation_0000051,y,25,70.0\n",
        )
    annotations = read_thumos14(tmp_path, durations)
    video = annotations.videos[2]
    assert video.duration_sec == 70.0 and video.fps == (25.0 if form == "csv" else None)
    # Published segments stay where they are, even beyond the video's end.
    np.testing.assert_array_equal(video.segments_sec[-1], [67.5, 75.9])
    assert annotations.videos[0].duration_sec is None


@pytest.mark.parametrize(
    "files,text",
    [
        (
            {"Diving": "video_validation_1 3.0\n"},
            "line 1 must be a video, a start and an end in seconds",
        ),
        (
            {"Diving": "v 3 4\nv 3,5 4\n"},
            "Diving_val.txt', line 2: 'start' must be a number",
        ),
        ({"Diving": "v 3 inf\n"}, "Diving_val.txt', line 1: 'end' must be a number"),
        (
            {"Diving": "v 3 4\n\nv 4 3\n"},
            r"line 3: 'segment' \[4.0, 3.0\] must end after it starts",
        ),
        ({"Diving": "\n"}, "Diving_val.txt' is empty"),
        ({"Divng": "v 3 4\n"}, "'Divng' is none of the 20 classes.*did you mean 'Diving'"),
    ],
)
def test_wrong_thumos14_files(tmp_path, files, text):
    write_thumos14(tmp_path, **files)
    with pytest.raises(UserError, match=text):
        read_thumos14(tmp_path)


def test_wrong_thumos14_folders(tmp_path):
    with pytest.raises(UserError, match="has no file like BaseballPitch_val.txt"):
        read_thumos14(tmp_path)
    with pytest.raises(UserError, match="has no file like BaseballPitch_val.txt"):
        read_thumos14(tmp_path / "none")
    write_thumos14(tmp_path / "a")
    (tmp_path / "a" / "Shotput_val.txt").rename(tmp_path / "a" / "Shotput_test.txt")
    with pytest.raises(UserError, match="lacks 20 class files, .*BaseballPitch in the subset test"):
        read_thumos14(tmp_path / "a")
    (tmp_path / "a" / "Shotput_test.txt").rename(tmp_path / "a" / "Shotput_val.txt")
    write(tmp_path / "b" / "Diving_val.txt", "v 1 2\n")
    with pytest.raises(UserError, match="has Diving_val.txt twice, in '.*b' and '.*a'"):
        read_thumos14(tmp_path)
    (tmp_path / "b" / "Diving_val.txt").unlink()
    (tmp_path / "a" / "Diving_val.txt").write_bytes(b"v 1 2\nv\xff 1 2\n")
    with pytest.raises(UserError, match="Diving_val.txt' is not UTF-8 text in line 2"):
        read_thumos14(tmp_path)


def test_wrong_durations(tmp_path):
    write_thumos14(tmp_path / "a")
    path = write(tmp_path / "d.csv", "video,seconds\nv,1\n")
    with pytest.raises(UserError, match="d.csv', line 1 .* columns video,duration.*lacks duration"):
        read_thumos14(tmp_path / "a", path)
    path = write(tmp_path / "d.csv", "video,duration\nvideo_validation_0000999,long\n")
    with pytest.raises(UserError, match="d.csv', line 2: 'duration' must be a number"):
        read_thumos14(tmp_path / "a", path)
    with pytest.raises(UserError, match="'duration' must be a number above 0, but it is 0"):
        read_thumos14(tmp_path / "a", {"video_validation_0000999": 0})


# EPIC-KITCHENS-100 and EPIC-SOUNDS -------------------------------------

EPIC_HEADER = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,"
    "start_frame,stop_frame,narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes\n"
)
EPIC_TRAIN = EPIC_HEADER + (
    "P01_01_0,P01,P01_01,00:00:01.089,00:00:00.14,00:00:03.37,8,202,open door,open,3,door,3,"
    "['door'],[3]\n"
    "P01_01_1,P01,P01_01,00:11:10.100,00:11:11.27,01:00:18,33563,33939,pick up pan,pick-up,0,pan,"
    "5,['pan'],[5]\n"
    "P02_01_0,P02,P02_01,00:11:11.102,00:11:10.94,00:11:11.41,33547,33570,put pan into oven,"
    "put-into,5,pan,5,\"['pan', 'oven']\",\"[5, 42]\"\n"
    "P02_01_1,P02,P02_01,00:11:11.102,00:11:12.94,00:11:13.41,33547,33570,get lid,get,0,lid,11,"
    "['lid'],[11]\n"
)
EPIC_VALIDATION = EPIC_HEADER + (
    "P03_01_0,P03,P03_01,00:00:00.560,00:00:00.00,00:00:01.89,1,113,get plate,get,0,plate,2,"
    "['plate'],[2]\n"
)


def small_epic(folder):
    return [
        write(folder / "EPIC_100_train.csv", EPIC_TRAIN),
        write(folder / "EPIC_100_validation.csv", EPIC_VALIDATION),
    ]


def write_classes(path, count):
    rows = [f"{i},key{i},\"['key{i}', 'x']\",group\n" for i in range(count)]
    return write(path, "id,key,instances,category\n" + "".join(rows))


def test_epic_verbs(tmp_path):
    info = write(
        tmp_path / "EPIC_100_video_info.csv",
        "video_id,duration,fps,resolution\nP01_01,1652.152817,59.9400599400599,1920x1080\n"
        "P03_01,1.5,50.0,1920x1080\nP99_01,3,50,1x1\n",
    )
    annotations = read_epic100(small_epic(tmp_path), "verb", durations=info)
    assert [(v.video_id, v.subset) for v in annotations.videos] == [
        ("P01_01", "training"),
        ("P02_01", "training"),
        ("P03_01", "validation"),
    ]
    first, second, third = annotations.videos
    assert (first.duration_sec, first.fps) == (1652.152817, 59.9400599400599)
    assert second.duration_sec is None
    # 11 min 11.27 s = 671.27 s; an hour and 18 s = 3618 s, which may pass the video's end.
    np.testing.assert_array_equal(first.segments_sec, [[0.14, 3.37], [671.27, 3618.0]])
    np.testing.assert_array_equal(first.labels, [3, 0])
    np.testing.assert_array_equal(third.segments_sec, [[0.0, 1.89]])
    # Class 0 is "get" in two narrations and "pick-up" in one.
    assert len(annotations.class_names) == 97
    assert annotations.class_names[:6] == (
        "get",
        "class_1",
        "class_2",
        "open",
        "class_4",
        "put-into",
    )
    check_saved(annotations, tmp_path / "epic_verb.json")


def test_epic_nouns_with_class_names(tmp_path):
    classes = write_classes(tmp_path / "EPIC_100_noun_classes.csv", 300)
    train, validation = small_epic(tmp_path)
    annotations = read_epic100({"a": train, "b": validation}, "noun", class_file=classes)
    assert annotations.class_names == tuple(f"key{i}" for i in range(300))
    assert [v.subset for v in annotations.videos] == ["a", "a", "b"]
    np.testing.assert_array_equal(annotations.videos[1].labels, [5, 11])


def test_epic_actions_are_called_by_both_ids(tmp_path):
    paths = small_epic(tmp_path)
    verbs, nouns, actions = (read_epic100(paths, name) for name in ("verb", "noun", "action"))
    for verb, noun, action in zip(verbs.videos, nouns.videos, actions.videos, strict=True):
        assert (action.video_id, action.subset) == (verb.video_id, verb.subset)
        np.testing.assert_array_equal(action.segments_sec, verb.segments_sec)
        names = [f"{v},{n}" for v, n in zip(verb.labels, noun.labels, strict=True)]
        assert [actions.class_names[label] for label in action.labels] == names
    check_saved(actions, tmp_path / "epic_action.json")


def test_epic_names_of_equal_frequency_are_alphabetical(tmp_path):
    rows = EPIC_TRAIN.replace(",get,0,", ",collect,0,")
    path = write(tmp_path / "EPIC_100_train.csv", rows)
    assert read_epic100(path, "verb").class_names[0] == "collect"


def test_epic_sounds(tmp_path):
    # Commas and slashes in texts; one release has start_sample and stop_sample, another has not.
    path = write(
        tmp_path / "EPIC_Sounds_train.csv",
        "annotation_id,participant_id,video_id,start_timestamp,stop_timestamp,start_sample,"
        "stop_sample,description,class,class_id\n"
        'P01_11_0,P01,P01_11,00:00:02.069,00:00:02.993,49656,71832,"clang, clatter",'
        "ceramic / wood collision,34\n"
        "P01_11_1,P01,P01_11,00:00:03.065,00:00:14.447,73560,346728,paper rustle,rustle,4\n",
    )
    annotations = read_epic100([path], "sound")
    assert len(annotations.class_names) == 44
    assert annotations.class_names[34] == "ceramic / wood collision"
    np.testing.assert_array_equal(annotations.videos[0].labels, [34, 4])
    np.testing.assert_array_equal(
        annotations.videos[0].segments_sec, [[2.069, 2.993], [3.065, 14.447]]
    )


@pytest.mark.parametrize(
    "old,new,text",
    [
        ("verb_class", "verb_cls", "line 1 .* and lacks verb_class"),
        ("00:00:03.37", "3.37", "line 2: 'stop_timestamp' must be a time like 00:01:02.34.*'3.37'"),
        ("00:11:10.94", "00:61:10.94", "line 4: 'start_timestamp' must be a time"),
        (
            "00:00:03.37",
            "00:00:00.04",
            r"line 2: 'segment' \[0.14, 0.04\] must end after it starts",
        ),
        ("pick-up,0", "pick-up,97", "line 3: 'verb_class' 97 is outside 0..96"),
        ("pick-up,0", "pick-up,", "line 3: 'verb_class' must be a whole number, but it is ''"),
        ("P02,P02_01,", "P02,,", "line 4 names no video"),
        (
            "P01_01_0,P01,P01_01",
            "P01_01_0,P01,P03_01",
            "'subset' is 'validation', but .*'training'",
        ),
        (EPIC_TRAIN, "", "EPIC_100_train.csv' is empty"),
        (EPIC_TRAIN, EPIC_HEADER, "has a header but no line"),
        (",get,0", ",open,0", "Most narrations of class 0 and of class 3 say 'open'.*class_file"),
    ],
)
def test_wrong_epic_files(tmp_path, old, new, text):
    train, validation = small_epic(tmp_path)
    for path in (train, validation) if "Most" in text else (train,):
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError, match=text):
        read_epic100([train, validation], "verb")


def test_wrong_epic_arguments(tmp_path):
    paths = small_epic(tmp_path)
    with pytest.raises(UserError, match="target must be one of 'verb', .*did you mean 'verb'"):
        read_epic100(paths, "verbs")
    with pytest.raises(UserError, match="lacks class, class_id"):
        read_epic100(paths, "sound")
    with pytest.raises(UserError, match="does not exist"):
        read_epic100(tmp_path / "train.csv", "verb")
    other = paths[0].rename(tmp_path / "EPIC_100.csv")
    with pytest.raises(UserError, match="EPIC_100.csv' does not tell its subset"):
        read_epic100([other], "verb")


def test_wrong_epic_class_files(tmp_path):
    paths = small_epic(tmp_path)
    # The nouns in place of the verbs, too few, one twice, and no such file.
    classes = write_classes(tmp_path / "classes.csv", 300)
    with pytest.raises(UserError, match="classes.csv', line 99: 'id' 97 is outside 0..96"):
        read_epic100(paths, "verb", classes)
    write_classes(classes, 96)
    with pytest.raises(UserError, match="names 96 classes, but there are 97 verb classes"):
        read_epic100(paths, "verb", classes)
    write(classes, "id,key\n0,take\n0,put\n")
    with pytest.raises(UserError, match="classes.csv', line 3: class 0 must have one name"):
        read_epic100(paths, "verb", classes)
    with pytest.raises(UserError, match="none.csv' does not exist"):
        read_epic100(paths, "verb", tmp_path / "none.csv")
