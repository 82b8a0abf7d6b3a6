"""Projects of VIA 3 as its versions 3.0.5 to 3.0.13 save them (data format 3.1)."""

import copy
import json

import pytest

from helpers.annotation_files import load_rows
from keras_actionformer.errors import UserError

# Attribute 2 is of regions in a picture, which are not read; of file 3, nothing is annotated.
PROJECT = {
    "project": {
        "pid": "__VIA_PROJECT_ID__",
        "rev": "__VIA_PROJECT_REV_ID__",
        "rev_timestamp": "__VIA_PROJECT_REV_TIMESTAMP__",
        "pname": "Cooking",
        "creator": "VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)",
        "created": 1573815248007,
        "data_format_version": "3.1.1",
        "vid_list": ["1", "2", "3"],
    },
    "config": {"file": {"loc_prefix": {"1": "", "2": "", "3": "", "4": ""}}},
    "attribute": {
        "1": {
            "aname": "TEMPORAL-SEGMENTS",
            "anchor_id": "FILE1_Z2_XY0",
            "type": 4,
            "desc": "Temporal segment attribute added by default",
            "options": {"default": "Default"},
            "default_option_id": "",
        },
        "2": {
            "aname": "Object",
            "anchor_id": "FILE1_Z1_XY1",
            "type": 4,
            "desc": "",
            "options": {"1": "Egg"},
            "default_option_id": "",
        },
    },
    "file": {
        "1": {"fid": "1", "fname": "alioli.ogv", "type": 4, "loc": 1, "src": ""},
        "2": {"fid": "2", "fname": "https://a.org/b/toast.webm", "type": 4, "loc": 2, "src": ""},
        "3": {"fid": "3", "fname": "soup.mp4", "type": 4, "loc": 1, "src": ""},
    },
    "view": {"1": {"fid_list": ["1"]}, "2": {"fid_list": [2]}, "3": {"fid_list": ["3"]}},
    "metadata": {
        "1_aX7": {"vid": "1", "flg": 0, "z": [2, 6.5], "xy": [], "av": {"1": "break egg"}},
        "1_bQ2": {"vid": "1", "flg": 0, "z": [0.917], "xy": [2, 3, 7, 6, 1], "av": {"2": "1"}},
        "1_cR9": {"vid": "1", "flg": 0, "z": [7.25, 7.25], "xy": [], "av": {"1": "taste"}},
        "2_dT4": {"vid": "2", "flg": 0, "z": [8.125, 23], "xy": [], "av": {"1": "default"}},
    },
}


def changed(path, value):
    """The project with another value at a path of keys, or without it (None)."""
    project = copy.deepcopy(PROJECT)
    *parents, last = path.split("/")
    item = project
    for key in parents:
        item = item[key]
    item[last] = value
    return project


def load(tmp_path, project):
    return load_rows(tmp_path, "via.json", json.dumps(project))


def test_temporal_segments(tmp_path):
    rows, notes = load(tmp_path, PROJECT)
    # The value of a list to choose from may be the id of one of its options.
    assert rows == [("alioli", 2.0, 6.5, "break egg"), ("toast", 8.125, 23.0, "Default")]
    points, unlabelled = notes
    assert "point events are left out, as an action has a start and an end: 1 of 'taste'" in points
    assert "videos without any action are left out: 1, first 'soup'" in unlabelled


def test_several_choices_are_several_actions(tmp_path):
    project = changed("attribute/1/type", 2)
    project["attribute"]["1"]["options"] = {"a": "stir", "b": "heat"}
    project["metadata"] = {"x": {"vid": "1", "flg": 0, "z": [1, 2], "xy": [], "av": {"1": "a,b"}}}
    assert load(tmp_path, project)[0] == [
        ("alioli", 1.0, 2.0, "stir"),
        ("alioli", 1.0, 2.0, "heat"),
    ]


def test_the_attribute_that_holds_the_labels(tmp_path):
    project = changed("attribute/3", {"aname": "Phase", "anchor_id": "FILE1_Z2_XY0", "type": 1})
    project["metadata"]["1_aX7"]["av"]["3"] = "start"
    assert load(tmp_path, project)[0][0] == ("alioli", 2.0, 6.5, "break egg")  # VIA's own is it
    project["attribute"]["1"]["aname"] = "Activity"
    with pytest.raises(
        UserError, match="label of a segment may be its 'Activity' or 'Phase'; keep"
    ):
        load(tmp_path, project)


@pytest.mark.parametrize(
    "path,value,text",
    [
        ("metadata/1_aX7/av", {}, "metadata '1_aX7' must have a label in 'av', but it is None"),
        ("metadata/1_aX7/av", {"1": " "}, "'1_aX7' must have a label in 'av', but it is ' '"),
        ("metadata/1_aX7/av", {"9": "x"}, "'1_aX7': 'av' has '9', which is no attribute"),
        ("metadata/1_aX7/z", [1, "2"], "'1_aX7': 'z' must be a finite number, but it is '2'"),
        ("metadata/1_aX7/z", [1, float("nan")], "'z' must be a finite number, but it is nan"),
        ("metadata/1_aX7/z", "1-2", "'1_aX7' must have 'z' as VIA writes it, but it is '1-2'"),
        ("metadata/1_aX7/z", [6.5, 2], r"'1_aX7': 'segment' \[6.5, 2\] must end after it starts"),
        ("metadata/1_aX7/vid", "9", "view '9' must have 'fid_list' as VIA writes it"),
        ("metadata/1_aX7/vid", None, "'1_aX7' must have 'vid', the id of a view"),
        ("view/1/fid_list", ["1", "2"], "the view '1' shows 2 files, and which of them is meant"),
        ("file/1", {"fid": "1"}, "file '1' must have 'fname' as VIA writes it"),
        ("file/3/fname", "alioli.mp4", "'alioli.mp4' and 'alioli.ogv' would both be the video"),
        ("metadata", {}, "has no temporal segment with a value"),
    ],
)
def test_wrong_projects(tmp_path, path, value, text):
    with pytest.raises(UserError, match=f"Annotation file '.*via.json'.*{text}"):
        load(tmp_path, changed(path, value))
