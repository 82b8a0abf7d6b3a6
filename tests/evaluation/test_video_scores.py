"""Video scores: the files of them, and the order of their classes."""

import doctest
import json
import pickle

import numpy as np
import pytest

from keras_actionformer.errors import UserError
from keras_actionformer.evaluation import video_scores
from keras_actionformer.evaluation.video_scores import load_video_scores

NAMES = ("run", "jump", "swim")
SCORES = {"v1": [0.7, 0.2, 0.1], "v2": [0.0, 0.25, 0.75]}


def write_npz(path, **arrays):
    np.savez(path, **arrays)


def write_text(path, text):
    path.write_text(text, encoding="utf-8")


def assert_scores(found, expected):
    assert list(found) == list(expected)
    for video_id, scores in expected.items():
        np.testing.assert_array_equal(found[video_id], scores)
        assert found[video_id].dtype == np.float64


# --- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, write, names",
    [
        ("a.json", lambda path: write_text(path, json.dumps(SCORES)), ()),
        ("b.JSON", lambda path: write_text(path, "\ufeff" + json.dumps({"results": SCORES})), ()),
        (
            "c.json",
            lambda path: write_text(path, json.dumps({"class": NAMES, "results": SCORES})),
            NAMES,
        ),
        (
            "d.json",
            lambda path: write_text(path, json.dumps({"results": SCORES, "class_names": NAMES})),
            NAMES,
        ),
        (
            "d2.json",
            lambda path: write_text(path, json.dumps({"results": SCORES, "classes": NAMES})),
            NAMES,
        ),
        (
            "e2.csv",
            lambda path: write_text(
                path, "video_id, run, jump ,swim\nv1 , 0.7,0.2,0.1\n v2,0,0.25,0.75\n , ,\n"
            ),
            NAMES,
        ),
        (
            "e.csv",
            lambda path: write_text(
                path, "video,score_0,score_1,score_2\nv1,0.7,0.2,0.1\n\nv2,0,0.25,7.5e-1\n"
            ),
            (),
        ),
        (
            "f.csv",
            lambda path: write_text(
                path, "video,run,jump,swim\r\nv1,0.7,0.2,0.1\r\nv2,0,0.25,0.75\r\n"
            ),
            NAMES,
        ),
        (
            "semicolons.csv",
            lambda path: write_text(path, "video;run;jump;swim\nv1;0,7;0,2;0,1\nv2;0;0,25;0,75\n"),
            NAMES,
        ),
        ("g.npz", lambda path: write_npz(path, **SCORES), ()),
        ("h.npz", lambda path: write_npz(path, **SCORES, class_names=NAMES), NAMES),
        (
            "i.npz",
            lambda path: write_npz(
                path, video_ids=list(SCORES), scores=list(SCORES.values()), class_names=NAMES
            ),
            NAMES,
        ),
        ("j.pkl", lambda path: path.write_bytes(pickle.dumps(SCORES)), ()),
        (
            "k.pkl",
            lambda path: path.write_bytes(
                pickle.dumps({v: np.array(scores) for v, scores in SCORES.items()}, protocol=2)
            ),
            (),
        ),
    ],
)
def test_files_are_read(tmp_path, name, write, names):
    write(tmp_path / name)
    found = load_video_scores(tmp_path / name)
    assert_scores(found, SCORES)
    assert found.class_names == names


@pytest.mark.parametrize(
    "name, text, told",
    [
        ("a.txt", "", r"must end in \.json, \.csv, \.npz, \.pkl"),
        ("a.json", "{", "not valid JSON: Expecting .* line 1"),
        ("a.json", "[" * 100_000, "not valid JSON"),
        ("a.json", "[1]", 'must hold {"results": {video id: scores}, "class": .names.} or {video'),
        ("a.json", '{"results": [1]}', "must hold"),
        ("a.json", '{"results": {"v": [1]}, "class": "run"}', "must hold"),
        ("a.json", '{"results": {"v": [1]}, "labels": ["a"]}', "'class_names' beside .* 'labels'"),
        ("a.json", '{"results": {}, "class": [], "classes": []}', "one of .* 'class', 'classes';"),
        (
            "a.json",
            '{"results": {"v": [1]}, "class": [1]}',
            "class_names must be strings .* one is 1",
        ),
        ("a.json", '{"v": [1], "v": [0]}', "has 'v' twice"),
        ("a.json", "{}", "no scores of any video"),
        ("a.json", '{"v": [1, 0], "w": [1]}', "video 'v' has 2 scores and video 'w' has 1"),
        ("a.json", '{"v": [1, NaN]}', "scores of video 'v' must be finite"),
        ("a.json", '{"v": [1, null]}', "scores of video 'v' must be finite"),
        ("a.json", '{"v": {"run": 1}}', "scores of video 'v' must be a list of numbers"),
        ("a.json", '{"v": 1}', r"video 'v' must have the shape \(classes,\)"),
        (
            "a.json",
            '{"results": {"v": [1]}, "class": ["a", "b"]}',
            "class_names has 2 names, but num_classes=1",
        ),
        (
            "a.json",
            '{"results": {"v": [1, 0]}, "class": ["a", "a"]}',
            "class_names has 'a' 2 times",
        ),
        ("a.csv", "", "must begin with the line video"),
        ("a.csv", "id,run\nv,1\n", "must begin .* but it begins with 'id,run'"),
        ("a.csv", "video,run\n", "no scores of any video"),
        ("a.csv", "video,run\nv,1\nw,1,2\n", "line 3 must have 2 columns .* it has 3"),
        ("a.csv", "video,run\nv,1\nv,1\n", "has 'v' twice"),
        ("a.csv", "video,run\nv,much\n", "video 'v' must be a list of numbers: .*much"),
        ("a.npz", "no archive", "cannot be read as NumPy arrays"),
        ("a.pkl", "no pickle", "a.pkl"),
    ],
)
def test_bad_files_are_told(tmp_path, name, text, told):
    write_text(tmp_path / name, text)
    with pytest.raises(UserError, match=told) as error:
        load_video_scores(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)


def test_bad_archives_are_told(tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(UserError, match="a.npz' does not exist"):
        load_video_scores(path)
    write_npz(path, video_ids=["v", "w"], scores=[[0.5, 0.5]])
    with pytest.raises(UserError, match=r"their shapes are \(2,\) and \(1, 2\)"):
        load_video_scores(path)
    write_npz(path, video_ids=["v", "v"], scores=[[0.5], [0.5]])
    with pytest.raises(UserError, match="has 'v' twice"):
        load_video_scores(path)
    write_npz(path, video_ids=[1], scores=[[0.5]])
    with pytest.raises(UserError, match="video id must be a text, but one is 1"):
        load_video_scores(path)
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(UserError, match="cannot be read as NumPy arrays"):
        load_video_scores(path)


def test_an_archive_of_objects_is_refused(tmp_path):
    write_npz(tmp_path / "a.npz", v=np.array([0.5, None], dtype=object))
    with pytest.raises(UserError, match="cannot be read as NumPy arrays .*Python objects"):
        load_video_scores(tmp_path / "a.npz")


# --- class names ---------------------------------------------------------------------------------


def test_classes_follow_the_given_names(tmp_path):
    path = tmp_path / "scores.json"
    write_text(path, json.dumps({"results": SCORES, "class": NAMES}))
    found = load_video_scores(path, class_names=["swim", "run"])
    assert found.class_names == ("swim", "run", "jump")  # what was not asked for comes last
    assert_scores(found, {"v1": [0.1, 0.7, 0.2], "v2": [0.75, 0.0, 0.25]})


def test_given_names_are_those_of_a_file_without_any(tmp_path):
    path = tmp_path / "scores.json"
    write_text(path, json.dumps(SCORES))
    found = load_video_scores(path, class_names=NAMES)
    assert found.class_names == NAMES
    assert_scores(found, SCORES)
    with pytest.raises(UserError, match="scores.json.* class_names has 2 names, but num_classes=3"):
        load_video_scores(path, class_names=NAMES[:2])


def test_a_class_without_scores_is_told(tmp_path):
    path = tmp_path / "scores.json"
    write_text(path, json.dumps({"results": SCORES, "class": NAMES}))
    with pytest.raises(UserError, match="1 of 2 class names .* 'jumps'.*did you mean 'jump'"):
        load_video_scores(path, class_names=["run", "jumps"])


def test_the_examples_run():
    ran = doctest.testmod(video_scores)
    assert ran.attempted and not ran.failed
