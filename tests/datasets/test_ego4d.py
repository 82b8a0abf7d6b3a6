"""Ego4D's annotations, and clips cut out of features of whole videos as the reference cuts them."""

import json

import numpy as np
import pytest

from helpers.annotation_files import check_saved
from keras_actionformer.datasets.ego4d import cut_clips, read_ego4d, read_ego4d_grid
from keras_actionformer.errors import UserError


def label(name, start, end, primary=True):
    return {
        "label": name,
        "start_time": start,
        "end_time": end,
        "video_start_time": start + 1000.5,
        "video_end_time": end + 1000.5,
        "primary": primary,
    }


def clip(uid, *annotators, duration=480.0, frames=14400, **more):
    entry = {
        "clip_uid": uid,
        "video_start_sec": 1000.5,
        "video_end_sec": 1000.5 + duration,
        "video_start_frame": 30015,
        "video_end_frame": 30015 + frames,
    }
    if annotators:
        entry["annotations"] = [
            {"annotator_uid": str(i), "labels": list(labels)} for i, labels in enumerate(annotators)
        ]
    return {**entry, **more}


def write_ego4d(path, split, *clips):
    videos = [{"video_uid": f"video_{split}", "split": split, "clips": list(clips)}]
    path.write_text(json.dumps({"version": "1", "videos": videos}), encoding="utf-8")
    return path


def test_ego4d(tmp_path, caplog):
    quoted = '"cut_/_chop"'  # Some official labels are in quotes, which sort first.
    train = write_ego4d(
        tmp_path / "moments_train.json",
        "train",
        clip(
            "c1",
            [
                label("wash_hands", 5.0, 9.0),
                label("use_phone", 1.0, 2.0),
                label("use_phone", 6.0, 6.2),  # Too short.
                label("use_phone", 7.0, 7.0),
                label("rare", 1.0, 9.0, primary=False),
            ],
            # The second annotator: once the same, once the same time with another label.
            [
                label("wash_hands", 5.0005, 9.0),
                label(quoted, 1.0, 2.0),
                label(quoted, 470.0, 485.0),
            ],
        ),
        clip("c2", [], frames=0),
    )
    val = write_ego4d(tmp_path / "moments_val.json", "val", clip("c3", [label("a", 0, 480.03)]))
    test = write_ego4d(tmp_path / "moments_test_unannotated.json", "test", clip("c4"))
    with caplog.at_level("INFO", "absl"):
        annotations = read_ego4d([train, val, test])
    assert "2 moments under 0.25 s are left out" in caplog.text
    assert "there are 4 categories instead of 110" in caplog.text

    assert annotations.class_names == (quoted, "a", "use_phone", "wash_hands")
    assert [(v.video_id, v.subset) for v in annotations.videos] == [
        ("c1", "training"),
        ("c2", "training"),
        ("c3", "validation"),
        ("c4", "test"),
    ]
    c1, c2, c3, c4 = annotations.videos
    assert (c1.duration_sec, c1.fps) == (480.0, 30.0)
    np.testing.assert_array_equal(c1.segments_sec, [[5, 9], [1, 2], [1, 2], [470, 485]])
    np.testing.assert_array_equal(c1.labels, [3, 2, 0, 0])
    # The frame numbers of this clip make no sense.
    assert c2.fps is None and len(c2.labels) == 0
    np.testing.assert_array_equal(c3.segments_sec, [[0, 480]])
    assert len(c4.labels) == 0
    check_saved(annotations, tmp_path / "ego4d.json")


def test_ego4d_with_class_names(tmp_path, caplog):
    path = write_ego4d(tmp_path / "m.json", "val", clip("c", [label("n7", 1, 2)]))
    names = [f"n{i}" for i in range(110)]
    annotations = read_ego4d(path, names)
    assert annotations.class_names == tuple(names) and annotations.videos[0].labels == [7]
    assert "categories" not in caplog.text
    with pytest.raises(UserError, match="video 'video_val', clip 'c', label 0 .*'n7' is none of"):
        read_ego4d(path, names[:7])


GOOD = clip("c", [label("a", 1, 2)])


@pytest.mark.parametrize(
    "split,clips,text",
    [
        ("dev", [GOOD], "video 'video_dev': 'split' must be train, val or test, but it is 'dev'"),
        (3, [GOOD], "must have 'split' as Ego4D's moments files do, but it is 3"),
        ("val", [{**GOOD, "clip_uid": None}], "must have 'clip_uid'"),
        ("val", [GOOD, GOOD], "has clip 'c', which was there before"),
        ("val", [{**GOOD, "video_end_sec": "1"}], "clip 'c' must have 'video_end_sec'.*it is '1'"),
        ("val", [{**GOOD, "video_end_sec": 1}], "'duration' must be a number above 0"),
        ("val", [{**GOOD, "annotations": {}}], "clip 'c' must have 'annotations'"),
        ("val", [{**GOOD, "annotations": [{}]}], "clip 'c' must have 'labels'"),
        ("val", [clip("c", [{"label": "a"}])], "label 0 of annotator 0 must have 'primary'"),
        ("val", [clip("c", [{**label("a", 1, 2), "end_time": None}])], "must have 'end_time'"),
        ("val", [clip("c", [{**label("a", 1, 2), "label": 5}])], "must have 'label'.*it is 5"),
        ("val", [clip("c", [label("a", 1, float("nan"))])], "'end_time' must be a finite number"),
        (
            "val",
            [clip("c", [{**label("a", 0.5, 2), "end_time": 10**400}])],
            "'end_time' must be a finite number",
        ),
        ("val", [clip("c", [label("a", 2, 1)])], "label 0 .*must end after it starts"),
        ("val", [], "m.json holds no video"),
    ],
)
def test_wrong_ego4d_files(tmp_path, split, clips, text):
    path = write_ego4d(tmp_path / "m.json", split, *clips)
    with pytest.raises(UserError, match=text):
        read_ego4d(path)


def test_another_json_is_not_ego4d(tmp_path):
    path = tmp_path / "m.json"
    path.write_text('{"database": {}}')
    with pytest.raises(UserError, match="m.json' must have 'videos' as Ego4D's moments files do"):
        read_ego4d(path)
    path.write_text("{")
    with pytest.raises(UserError, match="is not valid JSON: .* in line 1"):
        read_ego4d(path)


# === On the grid of features ===

# (seconds of a clip, its frames), of which the reference's tools/convert_ego4d_trainval.py makes
# (steps, duration, frame rate, a moment from 5 to 7.5 s of the clip). The first by hand: of frame
# 303 the last multiple of 16 is 288, 15 frames or 0.5 s before. The 1215 frames from there are 16 *
# 74 - 1 more than a window, so one is added, and they end with frame 1504 = 32 + 16 * 92.
GRIDS = [
    ((10.1, 50.1), (303, 1503), (18, 92), 40.53, 30.0, [5.5, 8.0]),
    ((0.0, 480.0), (0, 14400), (0, 898), 480.0, 30.0, [5.0, 7.5]),
    ((20.02, 60.06), (600, 1800), (37, 111), 40.57, 29.97, [5.27, 7.77]),
    ((-0.1, 6.4), (-3, 192), (0, 10), 6.4, 30.0, [4.9, 7.4]),
    ((7.0, 20.005), (175, 500), (10, 30), 14.09, 24.99, [5.6, 8.1]),
]


def grid_clip(uid, seconds, frames, *labels):
    fields = {f"video_{side}_sec": x for side, x in zip(("start", "end"), seconds)}
    fields |= {f"video_{side}_frame": x for side, x in zip(("start", "end"), frames)}
    for moment in labels:
        for side in ("start", "end"):
            moment[f"video_{side}_time"] = moment[f"{side}_time"] + seconds[0]
    return clip(uid, list(labels), **fields)


@pytest.mark.parametrize("seconds,frames,steps,duration_sec,fps,segment_sec", GRIDS)
def test_clips_on_the_grid(tmp_path, seconds, frames, steps, duration_sec, fps, segment_sec):
    labels = [label("a", 5, 7.5), label("b", 5, 5.2), label("c", 5, 9, primary=False)]
    path = write_ego4d(tmp_path / "m.json", "val", grid_clip("c", seconds, frames, *labels))
    annotations = read_ego4d_grid([path])
    (video,) = annotations.videos
    assert (video.video_id, video.subset) == ("c", "validation")
    assert (video.duration_sec, video.fps) == (duration_sec, fps)
    np.testing.assert_array_equal(video.segments_sec, [segment_sec])
    assert annotations.class_names == ("a", "b") and video.labels == [0]  # ids stay as they are
    assert cut_clips([path]) == {"c": ("video_val", slice(*steps))}


def test_clips_that_have_no_place_on_the_grid(tmp_path, caplog):
    path = write_ego4d(
        tmp_path / "m.json",
        "train",
        grid_clip("good", (0, 10), (0, 300), label("a", 1, 2)),
        grid_clip("twice", (0, 10), (300, 300), label("b", 1, 2)),
        grid_clip("none", (0, 10), (None, 300)),
        grid_clip("huge", (0, 10), (0, 10**400)),
        grid_clip("short", (0, 1), (0, 30)),
        grid_clip("empty", (0, 10), (0, 300), label("c", 1, 1.1), label("d", 1, 9, primary=False)),
    )
    test = write_ego4d(tmp_path / "test.json", "test", grid_clip("t", (0, 10), (0, 300)))
    annotations = read_ego4d_grid([path, test])
    assert [video.video_id for video in annotations.videos] == ["good", "t"]
    assert list(cut_clips([path, test])) == ["good", "empty", "t"]
    assert annotations.class_names == ("a", "b", "c")
    assert "4 clips are too short, or have frame numbers that do not fit" in caplog.text
    for seconds, text in (((5, 5), "clip 'c' must end after it"), ((0, None), "'video_end_sec'")):
        write_ego4d(path, "val", grid_clip("c", seconds, (0, 300)))
        for read in (read_ego4d_grid, cut_clips):
            with pytest.raises(UserError, match=text):
                read([path])
    moment = {**label("a", 1, 2), "video_start_time": 10**400}
    write_ego4d(path, "val", clip("c", [moment]))
    with pytest.raises(
        UserError, match="0 of annotator 0: 'video_start_time' must be a finite num"
    ):
        read_ego4d_grid([path])
