"""The files that keep detections: what is written is read again, what is wrong is told."""

import json
import time

import numpy as np
import pytest

from keras_actionformer.detection.detections import Detections, load_detections, save_detections
from keras_actionformer.errors import UserError

NAMES = ("run", "jump", "swim")


def three():
    return Detections([[1.0, 4.5], [2.0, 2.5], [0.1, 9.0]], [0.25, 0.9, 0.5], [0, 1, 0], NAMES)


def assert_same(found, expected):
    np.testing.assert_array_equal(found.segments_sec, expected.segments_sec)
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_array_equal(found.labels, expected.labels)
    assert found.names == expected.names


@pytest.mark.parametrize("suffix", [".json", ".csv"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("names", [(), ("run, fast", 'the "long" jump', "schwimmen üben")])
def test_round_trip(tmp_path, suffix, dtype, names):
    rng = np.random.default_rng(0)
    detections = {
        f"video {i}": Detections(
            np.sort(rng.uniform(0, 100, (5, 2)), axis=1).astype(dtype),
            rng.random(5).astype(dtype),
            rng.integers(0, 3, 5),
            names,
        )
        for i in range(3)
    }
    path = tmp_path / "folder" / f"found{suffix}"
    save_detections(path, detections)
    loaded = load_detections(path, class_names=names or None)
    assert list(loaded) == list(detections)
    for video_id, expected in detections.items():
        assert_same(loaded[video_id], expected)  # to the last bit
        assert loaded[video_id].class_names == names
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_json_keeps_a_video_without_detections(tmp_path):
    save_detections(tmp_path / "found.json", {"a": Detections([], [], []), "b": three()})
    loaded = load_detections(tmp_path / "found.json")
    assert [len(found) for found in loaded.values()] == [0, 3]


def test_save_of_one_video(tmp_path):
    three().save(tmp_path / "found.json", video_id="v")
    content = json.loads((tmp_path / "found.json").read_text())
    assert content["results"]["v"][0] == {"label": "run", "score": 0.25, "segment": [1.0, 4.5]}
    three().save(tmp_path / "found.csv")
    lines = (tmp_path / "found.csv").read_text().splitlines()
    assert lines[:2] == ["video,start_sec,end_sec,label,score", "video,1.0,4.5,run,0.25"]


def write(tmp_path, *labels):
    rows = [{"label": label, "score": 0.5, "segment": [0, 1]} for label in labels]
    path = tmp_path / "found.json"
    path.write_text(json.dumps({"results": {"v": rows}}))
    return path


def test_names_become_ids(tmp_path):
    path = write(tmp_path, "swim", "fly", "run")
    by_alphabet = load_detections(path)["v"]
    assert by_alphabet.class_names == ("fly", "run", "swim")
    assert by_alphabet.labels.tolist() == [2, 0, 1]
    # An unknown name gets an id after the known ones.
    by_names = load_detections(path, class_names=NAMES)["v"]
    assert by_names.class_names == (*NAMES, "fly")
    assert by_names.labels.tolist() == [2, 3, 0]


def test_integers_are_ids(tmp_path):
    path = write(tmp_path, 1, 2)
    assert load_detections(path)["v"].class_names == ()
    assert load_detections(path, class_names=NAMES)["v"].names == ["jump", "swim"]
    # An id without a name is kept, so that an evaluation can count it.
    beyond = load_detections(write(tmp_path, 1, 7), class_names=NAMES)["v"]
    assert beyond.labels.tolist() == [1, 7]
    assert beyond.names == ["class_1", "class_7"]


def test_labels_of_csv(tmp_path):
    path = tmp_path / "found.csv"
    path.write_text("video,start_sec,end_sec,label,score\nv,0,1,10,0.5\nv,0,1,2,0.5\n")
    assert load_detections(path)["v"].labels.tolist() == [10, 2]
    # Names that look like numbers are names when they are known as such.
    found = load_detections(path, class_names=("2", "10"))["v"]
    assert found.labels.tolist() == [1, 0]


def test_columns_as_the_evaluation_of_activitynet_names_them(tmp_path):
    (tmp_path / "a.csv").write_text("video-id,t-start,t-end,label,score\nv,0.5,1.25,run,0.75\n")
    found = load_detections(tmp_path / "a.csv")["v"]
    assert found.segments_sec.tolist() == [[0.5, 1.25]]
    assert found.scores.tolist() == [0.75] and found.names == ["run"]


@pytest.mark.parametrize("row", ["v;0,5;1,25;a, b;0,75", "v;0.5;1.25;a, b;0.75"])
def test_csv_of_a_spreadsheet_with_semicolons(tmp_path, row):
    """Where a comma stands in numbers, such programs write semicolons between cells."""
    (tmp_path / "a.csv").write_text(f"\ufeffvideo;start_sec;end_sec;label;score\r\n{row}\r\n")
    found = load_detections(tmp_path / "a.csv")["v"]
    assert_same(found, Detections([[0.5, 1.25]], [0.75], [0], ("a, b",)))


ROW = {"label": "run", "score": 0.5, "segment": [0, 1]}


@pytest.mark.parametrize(
    "content, text",
    [
        ('{"results": ', "not a JSON file"),
        ('{"results": {"v": [], "v": []}}', "'v' stands twice"),
        ("[]", 'there is no "results"'),
        ({"database": {}}, 'there is no "results" object. These are annotations: are two files sw'),
        ({"results": {"v": {}}}, "video 'v': expected a list of detections, got dict"),
        ({"results": {"v": None}}, "video 'v': expected a list of detections, got NoneType"),
        ({"results": {"v": [ROW, 3]}}, "video 'v': detection 1 must be an object, got 3"),
        ({"results": {"v": [{"label": "run", "score": 1}]}}, 'detection 0 has no "segment"'),
        ({"results": {"v": [{**ROW, "segment": [1]}]}}, r"must be \[start, end\].*got \[1\]"),
        ({"results": {"v": [{**ROW, "segment": ["0", 1]}]}}, r"must be \[start, end\]"),
        ({"results": {"v": [{**ROW, "segment": "01"}]}}, r"must be \[start, end\]"),
        ({"results": {"v": [{**ROW, "segment": [True, 1]}]}}, r"must be \[start, end\]"),
        ({"results": {"v": [{**ROW, "score": "0.5"}]}}, "\"score\" must be a number, got '0.5'"),
        ({"results": {"v": [{**ROW, "score": None}]}}, '"score" must be a number, got None'),
        ({"results": {"v": [{**ROW, "score": float("nan")}]}}, "video 'v'.*scores must be finite"),
        ({"results": {"v": [{**ROW, "segment": [2, 1]}]}}, "video 'v'.*ends before it starts"),
        ({"results": {"v": [{**ROW, "label": None}]}}, "video 'v': a label must be a class name"),
        ({"results": {"v": [{**ROW, "label": -1}]}}, "video 'v': .*labels must be 0 or larger"),
        ({"results": {"v": [ROW, {**ROW, "label": 1}]}}, "use one kind in the whole file"),
    ],
)
def test_broken_json_is_told(tmp_path, content, text):
    path = tmp_path / "found.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(UserError, match=text) as error:
        load_detections(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    "lines, text",
    [
        ("", "first line must be video,start_sec,end_sec,label,score, got an empty file"),
        ("video-id,t-start", "first line must be .* got video-id,t-start"),
        ("video,start_sec,end_sec,label,score\nv,0,1,run", r"line 2 \(video 'v'\)"),
        ("video,start_sec,end_sec,label,score\n\nv,zero,1,run,0.5", "line 3.*got 'v,zero,1,"),
        ("video,start_sec,end_sec,label,score\nv,0,inf,run,0.5", "video 'v'.*must be finite"),
    ],
)
def test_broken_csv_is_told(tmp_path, lines, text):
    path = tmp_path / "found.csv"
    path.write_text(lines)
    with pytest.raises(UserError, match=text) as error:
        load_detections(path)
    assert str(path) in str(error.value)


def test_files_that_cannot_be_used_are_told(tmp_path):
    with pytest.raises(UserError, match="absent.json' does not exist"):
        load_detections(tmp_path / "absent.json")
    with pytest.raises(UserError, match="must end in .json or .csv"):
        load_detections(tmp_path / "found.pkl")
    with pytest.raises(UserError, match="must end in .json or .csv"):
        save_detections(tmp_path / "found.txt", {})
    (tmp_path / "latin.json").write_bytes(b'{"results": {"\xfc": []}}')
    with pytest.raises(UserError, match="latin.json.* is not UTF-8 text in line 1"):
        load_detections(tmp_path / "latin.json")
    unnamed = Detections([[0, 1]], [0.5], [0])
    with pytest.raises(UserError, match="some videos have class names and some only ids"):
        save_detections(tmp_path / "found.json", {"a": three(), "b": unnamed})


def test_loading_is_fast(tmp_path):
    # As many detections as a THUMOS14 test run has; 0.12 s where this was written.
    rng = np.random.default_rng(0)
    detections = {
        f"video_{i}": Detections(
            np.sort(rng.uniform(0, 100, (200, 2))), rng.random(200), rng.integers(0, 3, 200), NAMES
        )
        for i in range(212)
    }
    save_detections(tmp_path / "found.json", detections)
    start = time.perf_counter()
    load_detections(tmp_path / "found.json", class_names=NAMES)
    assert time.perf_counter() - start < 1.5


@pytest.mark.parametrize("suffix", [".json", ".csv"])
def test_videos_of_any_name_that_the_system_has(tmp_path, suffix):
    name = "T\udcfcr, new\n\u00e9"  # Latin-1 in a name that is read as UTF-8
    save_detections(tmp_path / f"a{suffix}", {name: three()})
    assert_same(load_detections(tmp_path / f"a{suffix}", NAMES)[name], three())


def test_a_label_of_thousands_of_digits_is_a_name(tmp_path):
    digits = "9" * 5000
    (tmp_path / "a.csv").write_text(f"video,start_sec,end_sec,label,score\nv,1,2,{digits},0.5\n")
    assert load_detections(tmp_path / "a.csv")["v"].names == [digits]
