"""Files for challenges, read back by readers of their own that follow what the challenges say."""

import json

import numpy as np
import pytest

from keras_actionformer import Detections, UserError, load_detections, save_submission
from keras_actionformer.detection.submissions import check_classes

PAIRS = tuple(f"{verb},{noun}" for verb in range(2) for noun in (0, 21))


def read_epic(path):
    """As the challenge checks and reads a file (EvaluationCode/evaluate_detection_json_ek100.py).

    Returns:
      (levels of supervision, [(video, start, end, verb, noun, score)]).
    """
    submission = json.loads(path.read_text(encoding="utf-8"))
    assert submission["version"] == "0.2" and submission["challenge"] == "action_detection"
    levels = [submission[name] for name in ("sls_pt", "sls_tl", "sls_td")]
    assert all(0 <= level <= 5 for level in levels)
    rows = []
    for video_id, found in submission["results"].items():
        for row in found:
            assert row["verb"] in range(97) and row["noun"] in range(300)
            verb, noun = map(int, row["action"].split(","))
            assert (verb, noun) == (row["verb"], row["noun"])
            start, end = map(float, row["segment"])
            assert np.isfinite([start, end, row["score"]]).all()
            rows.append((video_id, start, end, verb, noun, float(row["score"])))
    return levels, rows


def read_ego4d(path):
    """As the baseline's scripts write and score a file (MQ of EGO4D/episodic-memory).

    Returns:
      For mAP and for recall: {clip: {label: [(start, end, score)]}}.
    """
    submission = json.loads(path.read_text(encoding="utf-8"))
    assert submission["version"] == "1.0" and submission["challenge"] == "ego4d_moment_queries"
    read = []
    for name in ("detect_results", "retrieve_results"):
        clips = {}
        for clip, found in submission[name].items():
            by_label = clips.setdefault(clip, {})
            for row in found:
                assert isinstance(row["label"], str)
                times = [row["segment"][0], row["segment"][1], row["score"]]
                by_label.setdefault(row["label"], []).append(tuple(times))
        read.append(clips)
    return read


@pytest.mark.parametrize(
    ("format_name", "class_names", "told"),
    [
        ("epic", ("0,1", "wash"), r"such as 'wash', but .* has actions, as '0,21'"),
        (
            "epic",
            ("0,1", "97,1"),
            "such as '97,1', but .* verb .to 96. and noun .to 299.",
        ),
        ("epic", (), "has no class names, but .*--verbs and --nouns"),
        ("ego4d", (), "no class names, which a submission to Ego4D needs"),
    ],
)
def test_classes_that_a_challenge_does_not_know_are_told_before(format_name, class_names, told):
    check_classes("epic", ("0,1", "12,3"))
    check_classes("ego4d", ("wash",))
    with pytest.raises(UserError, match=told):
        check_classes(format_name, class_names)


def test_epic(tmp_path):
    found = {
        "P01_11": Detections([[0.5, 2.25], [3, 4]], [0.75, 0.5], [1, 2], PAIRS),
        "P02_03": Detections(np.zeros((0, 2)), [], [], PAIRS),
    }
    save_submission(tmp_path / "test.json", "epic", found)
    assert read_epic(tmp_path / "test.json") == (
        [2, 3, 3],
        [("P01_11", 0.5, 2.25, 0, 21, 0.75), ("P01_11", 3.0, 4.0, 1, 0, 0.5)],
    )
    # A video in which nothing was found is there.
    assert json.loads((tmp_path / "test.json").read_text())["results"]["P02_03"] == []
    save_submission(tmp_path / "test.json", "epic", found, supervision=(1, 3, 4))
    assert read_epic(tmp_path / "test.json")[0] == [1, 3, 4]


def test_ego4d(tmp_path):
    names = ("clean_/_wipe_a_table_or_kitchen_counter", "use_phone")
    found = {"clip-a": Detections([[0.5, 2.25], [3, 4], [1, 2]], [0.9, 0.5, 0.1], [1, 0, 1], names)}
    save_submission(tmp_path / "moments.json", "ego4d", found)
    expected = {"clip-a": {names[1]: [(0.5, 2.25, 0.9), (1, 2, 0.1)], names[0]: [(3, 4, 0.5)]}}
    assert read_ego4d(tmp_path / "moments.json") == [expected, expected]


@pytest.mark.parametrize("format_name", ["epic", "ego4d"])
def test_submissions_are_read_as_detections(tmp_path, format_name):
    path = tmp_path / "test.json"
    found = {
        "P01_11": Detections([[0.5, 2.25], [3, 4]], [0.75, 0.5], [1, 2], PAIRS),
        "P02_03": Detections(np.zeros((0, 2)), [], [], PAIRS),
    }
    save_submission(path, format_name, found)
    read = load_detections(path, PAIRS)
    assert list(read) == ["P01_11", "P02_03"] and not len(read["P02_03"])
    assert read["P01_11"].to_dicts() == found["P01_11"].to_dicts()
    content = json.loads(path.read_text())
    del content["results" if format_name == "epic" else "detect_results"]["P01_11"][1][
        "action" if format_name == "epic" else "label"
    ]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match='P01_11.*detection 1 has no "(action|label)"'):
        load_detections(path)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"verb": 9}, """detection 0: "action" must be "9,21", its verb and noun, got '0,21'"""),
        ({"action": 3}, """"action" must be "0,21", its verb and noun, got 3"""),
        ({"noun": None}, 'must be "0,None"'),
    ],
)
def test_submissions_of_others_must_agree_with_themselves(tmp_path, changed, told):
    path = tmp_path / "test.json"
    save_submission(path, "epic", {"v": Detections([[0, 1]], [0.5], [1], PAIRS)})
    content = json.loads(path.read_text())
    content["results"]["v"][0].update(changed)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError) as raised:
        load_detections(path)
    assert told in str(raised.value)


@pytest.mark.parametrize(
    "name, format_name, names, levels, text",
    [
        ("a.json", "epics", PAIRS, (2, 3, 3), "'epics'.*'epic'"),
        ("a.csv", "epic", PAIRS, (2, 3, 3), "must end in .json"),
        ("a.json", "epic", ("take", "put", "cut", "mix"), (2, 3, 3), "class 'put'.*'0,21'"),
        ("a.json", "epic", (), (2, 3, 3), "class 'class_1'"),
        ("a.json", "ego4d", (), (2, 3, 3), "have no class names"),
        ("a.json", "epic", PAIRS, (2, 3, 6), "three whole numbers in 0..5"),
        ("a.json", "epic", PAIRS, 3, "three whole numbers in 0..5"),
    ],
)
def test_what_cannot_be_submitted(tmp_path, name, format_name, names, levels, text):
    found = {"v": Detections([[0, 1]], [0.5], [1], names)}
    with pytest.raises(UserError, match=text):
        save_submission(tmp_path / name, format_name, found, levels)
    assert not list(tmp_path.iterdir())
