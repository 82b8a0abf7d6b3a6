"""Drafts: each format, read back by our reader and by others, equals what was found to 1 ms."""

import html
import json
import os
import urllib.parse

import numpy as np
import pytest
import webvtt
from pympi.Elan import Eaf
from pysubs2 import SSAFile

from helpers.annotation_files import rows_of
from keras_actionformer.data.annotation_files import load_annotations
from keras_actionformer.detection.detections import Detections
from keras_actionformer.detection.drafts import FORMATS, save_drafts
from keras_actionformer.errors import UserError

NAMES = ('eat, "quickly"; slowly', "<b>sleep</b> & co", "run 🐔 {x}", "rear\tup\n --> left", "x")
MEDIA = "films & more/{}.mp4"

# Two of a class that overlap, two that touch, half a millisecond, and hours.
FOUND = {
    "cage 1": Detections(
        [[1.0004, 2.5], [2, 3.1236], [3.1236, 4], [0.5, 2.25], [7.0, 7.0002], [36000.25, 36061.0]],
        [0.9, 0.8, 0.7123456, 0.25, 0.6, 1.0],
        [0, 0, 0, 1, 2, 3],
        NAMES,
    ),
    "é#2 50%.a": Detections(np.float32([[59.999, 60.0004]]), np.float32([0.5]), [3], NAMES),
    "nothing": Detections([], [], [], NAMES),
}
ROWS = [
    ("cage 1", 500, 2250, "<b>sleep</b> & co", 0.25),
    ("cage 1", 1000, 2500, 'eat, "quickly"; slowly', 0.9),
    ("cage 1", 2000, 3124, 'eat, "quickly"; slowly', 0.8),
    ("cage 1", 3124, 4000, 'eat, "quickly"; slowly', 0.7123),
    ("cage 1", 7000, 7001, "run 🐔 {x}", 0.6),
    ("cage 1", 36000250, 36061000, "rear up --> left", 1.0),
    ("é#2 50%.a", 59999, 60000, "rear up --> left", 0.5),
]
TIMES = [row[:4] for row in ROWS]


def written(folder, name, found=FOUND):
    """The file or folder of a format."""
    path = folder / ("drafts" if FORMATS[name].is_folder else f"drafts{FORMATS[name].suffix}")
    save_drafts(path, name, found, None if FORMATS[name].media is False else MEDIA)
    return path


def read_back(path):
    """Rows of (video, start and end in ms, label), and notes, of our own reader."""
    notes = []
    annotations = load_annotations(path, default_subset="training", on_note=notes.append)
    rows = [
        (video, round(start_sec * 1000, 6), round(end_sec * 1000, 6), label)
        for video, start_sec, end_sec, label in rows_of(annotations)
    ]
    return sorted(rows), notes


def labelled(path):
    """Makes annotations of Label Studio's predictions, as somebody does who submits them."""
    tasks = json.loads(path.read_text(encoding="utf-8"))
    for task in tasks:
        task["annotations"] = [{"result": task["predictions"][0]["result"]}]
    path.write_text(json.dumps(tasks))


@pytest.mark.parametrize("name", FORMATS)
def test_our_reader(tmp_path, name):
    path = written(tmp_path, name)
    if name == "label_studio":
        with pytest.raises(UserError, match="task number 0 has predictions alone; correct and"):
            read_back(path)
        labelled(path)
    rows, notes = read_back(path)
    assert rows == TIMES
    if name != "label_studio":
        assert "videos without any action are left out: 1, first 'nothing'" in "".join(notes)


@pytest.mark.parametrize("name", FORMATS)
def test_bouts_of_random_detections(tmp_path, name):
    random = np.random.default_rng(7)
    starts = random.uniform(0, 500, 300)
    found = Detections(
        np.stack([starts, starts + random.exponential(5, 300) + 0.001], 1),
        random.uniform(size=300),
        random.integers(0, 3, 300),
        ("a", "b", "c"),
    )
    for video_id, kept in (("raw", found), ("bouts", found.bouts(0.2))):
        path = written(tmp_path / video_id, name, {video_id: kept})
        if name == "label_studio":
            labelled(path)
        rows, notes = read_back(path)
        assert notes == [] or video_id == "raw"
        wanted = sorted(
            (video_id, round(start * 1000), round(end * 1000), label)
            for (start, end), label in zip(kept.segments_sec.tolist(), kept.names, strict=True)
        )
        assert len(rows) == len(wanted) > 30 and rows == wanted


def test_elan_by_pympi(tmp_path):
    folder = written(tmp_path, "elan")
    assert sorted(os.listdir(folder)) == ["cage 1.eaf", "nothing.eaf", "é#2 50%.a.eaf"]
    eaf = Eaf(str(folder / "cage 1.eaf"))
    rows = []
    for tier in eaf.get_tier_names():
        if tier.endswith(": score"):
            continue
        for start_ms, end_ms, label in eaf.get_annotation_data_for_tier(tier):
            scores = eaf.get_ref_annotation_at_time(f"{tier}: score", start_ms)
            rows.append(("cage 1", start_ms, end_ms, label, float(scores[0][2])))
    assert sorted(rows) == ROWS[:-1]
    assert eaf.get_tier_ids_for_linguistic_type("classes") == [
        "<b>sleep</b> & co", 'eat, "quickly"; slowly', 'eat, "quickly"; slowly 2',
        "rear up --> left", "run 🐔 {x}",
    ]  # fmt: skip
    # What a label may be is chosen from a list of all classes.
    _, entries, _ = eaf.controlled_vocabularies["classes"]
    assert [values[0][0] for values, _ in entries.values()] == [
        'eat, "quickly"; slowly', "<b>sleep</b> & co", "run 🐔 {x}", "rear up --> left", "x",
    ]  # fmt: skip
    (media,) = Eaf(str(folder / "é#2 50%.a.eaf")).get_linked_files()
    path = urllib.parse.unquote(urllib.parse.urlsplit(media["MEDIA_URL"]).path)
    assert path == os.path.abspath("films & more/é#2 50%.a.mp4")
    assert media["MIME_TYPE"] == "video/mp4"
    nothing = Eaf(str(folder / "nothing.eaf"))
    assert nothing.get_tier_names() and not nothing.annotations


def test_paths_of_videos(tmp_path):
    """Of each its own, as `detect --videos` knows them."""
    media = {
        "cage 1": tmp_path / "a b.MKV",
        "é#2 50%.a": "films/é#2 50%.a.webm",
        "nothing": "n.avi",
    }
    paths = [os.path.abspath(path) for path in media.values()]
    save_drafts(tmp_path / "a.boris", "boris", FOUND, media)
    boris = json.loads((tmp_path / "a.boris").read_text())
    assert [one["file"]["1"] for one in boris["observations"].values()] == [[p] for p in paths]
    save_drafts(tmp_path / "elan", "elan", FOUND, media)
    for video_id, path in zip(media, paths, strict=True):
        (linked,) = Eaf(str(tmp_path / "elan" / f"{video_id}.eaf")).get_linked_files()
        assert urllib.parse.unquote(urllib.parse.urlsplit(linked["MEDIA_URL"]).path) == path
    for name, given, text in (
        ("label_studio", media, "needs the address of videos in media, not their paths"),
        ("via", {"cage 1": "a.mp4"}, "media lacks the path of the video 'é#2 50%.a'"),
        ("vtt", media, "does not name its video: leave out media"),
    ):
        with pytest.raises(UserError, match=text):
            save_drafts(tmp_path / f"new{'' if name == 'vtt' else '.json'}", name, FOUND, given)


def test_elan_tiers_hold_no_overlap_and_have_names_of_their_own(tmp_path):
    names = ("a", "a 2", "a: score")
    found = Detections([[0, 2], [1, 3], [0, 1], [0, 1]], [1] * 4, [0, 0, 1, 2], names)
    eaf = Eaf(str(written(tmp_path, "elan", {"v": found}) / "v.eaf"))
    tiers = eaf.get_tier_ids_for_linguistic_type("classes")
    assert tiers == ["a", "a 2", "a 2 2", "a: score 2"]
    labels = [[row[2] for row in eaf.get_annotation_data_for_tier(tier)] for tier in tiers]
    assert labels == [["a"], ["a"], ["a 2"], ["a: score"]]


def test_subtitles_by_pysubs2(tmp_path):
    cues = SSAFile.load(str(written(tmp_path, "srt") / "cage 1.srt"), keep_unknown_html_tags=True)
    assert [(cue.start, cue.end) for cue in cues] == [row[1:3] for row in TIMES[:-1]]
    # It takes <b> and {x} for markup, which SubRip cannot tell from text.
    assert [cue.plaintext for cue in cues][1:] == [
        'eat, "quickly"; slowly', 'eat, "quickly"; slowly', 'eat, "quickly"; slowly',
        "run 🐔 ", "rear up --> left",
    ]  # fmt: skip


def test_subtitles_by_webvtt(tmp_path):
    folder = written(tmp_path, "vtt")
    cues = webvtt.read(str(folder / "cage 1.vtt"))
    assert [
        (
            _milliseconds(cue.start),
            _milliseconds(cue.end),
            html.unescape(cue.raw_text),
            float(cue.identifier.partition("score ")[2]),
        )
        for cue in cues
    ] == [row[1:] for row in ROWS[:-1]]
    assert cues[0].raw_text == "&lt;b&gt;sleep&lt;/b&gt; &amp; co"
    assert len(webvtt.read(str(folder / "nothing.vtt"))) == 0


def _milliseconds(clock):
    hours, minutes, seconds = clock.split(":")
    return round((int(hours) * 60 + int(minutes)) * 60_000 + float(seconds) * 1000)


def test_audacity_by_numpy(tmp_path):
    path = written(tmp_path, "audacity") / "cage 1.txt"
    rows = np.loadtxt(path, delimiter="\t", dtype=str, comments=None, encoding="utf-8")
    assert [(round(float(a) * 1000, 6), round(float(b) * 1000, 6), c) for a, b, c in rows] == [
        row[1:] for row in TIMES[:-1]
    ]


def test_scores_of_the_others(tmp_path):
    scores = [row[4] for row in ROWS]
    via = json.loads(written(tmp_path, "via").read_text())
    assert [float(item["av"]["2"]) for item in via["metadata"].values()] == scores
    assert list(via["attribute"]["1"]["options"]) == [" ".join(name.split()) for name in NAMES]
    assert [file["type"] for file in via["file"].values()] == [4, 4, 4]
    boris = json.loads(written(tmp_path, "boris").read_text())
    comments = [
        event[4]
        for observation in boris["observations"].values()
        for event in observation["events"]
    ]
    assert [float(text.removeprefix("score ")) for text in comments if text] == scores
    tasks = json.loads(written(tmp_path / "studio", "label_studio").read_text())
    predictions = [task["predictions"][0] for task in tasks]
    assert [region["score"] for one in predictions for region in one["result"]] == scores
    means = [np.mean(scores[:-1]), scores[-1], 0.0]
    np.testing.assert_allclose([one["score"] for one in predictions], means, atol=1e-4)
    assert tasks[1]["data"]["video"] == "films & more/%C3%A9%232%2050%25.a.mp4"


def test_without_class_names(tmp_path):
    found = {"v": Detections([[0, 1], [2, 3]], [1, 1], [7, 0])}
    assert read_back(written(tmp_path, "srt", found))[0] == [
        ("v", 0, 1000, "class_7"), ("v", 2000, 3000, "class_0"),
    ]  # fmt: skip


def test_what_lies_before_the_video_is_left_out(tmp_path):
    found = {"v": Detections([[-2, -1], [-0.5, 1]], [1, 1], [0, 0], ("a",))}
    assert read_back(written(tmp_path, "audacity", found))[0] == [("v", 0, 1000, "a")]


@pytest.mark.parametrize(
    "video_id", ["../up", "/etc/x", "a/b", "a\\b", "..", ".hidden", "~x", "", "a\0b"]
)
@pytest.mark.parametrize("name", ["elan", "boris"])
def test_ids_that_are_no_names_of_files(tmp_path, name, video_id):
    found = {"good": FOUND["nothing"], video_id: FOUND["nothing"]}
    with pytest.raises(UserError, match="rename it"):
        written(tmp_path / "in", name, found)
    assert not list(tmp_path.rglob("*"))


@pytest.mark.parametrize(
    "names,text",
    [
        (("a\nb", "a b"), r"'a\\nb' and 'a b' are both 'a b' in a line of text"),
        (("\x00 ",), r"'\\x00 ' is no text"),
    ],
)
def test_class_names_that_no_line_tells_apart(tmp_path, names, text):
    with pytest.raises(UserError, match=text):
        written(tmp_path, "srt", {"v": Detections([], [], [], names)})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name,path,media,text",
    [
        ("elna", "d", None, "format must be 'elan', .*did you mean 'elan'"),
        (
            "elan",
            "d.eaf",
            None,
            "must be a new folder, as the format elan has a file for each video",
        ),
        ("srt", "taken.txt", None, "taken.txt' must be a new folder"),
        ("srt", ".", None, "is there already, and somebody may have corrected it"),
        ("via", "d.boris", MEDIA, r"must end in .json, as the format via has one file for all"),
        ("via", "taken.json", MEDIA, "is there already"),
        ("boris", "d.boris", None, "boris needs media: where .* videos, .* as films/{}.mp4"),
        ("label_studio", "d.json", None, "needs media: where .* as https://host/films/{}.mp4"),
        ("vtt", "d", MEDIA, "does not name its video: leave out media"),
        ("elan", "d", "films/v.mp4", r"media must have {} for the id of a video, but it is 'films"),
    ],
)
def test_places_that_do_not_fit(tmp_path, name, path, media, text):
    for taken in ("taken.txt", "taken.json"):
        (tmp_path / taken).write_text("corrected")
    with pytest.raises(UserError, match=text):
        save_drafts(tmp_path / path, name, FOUND, media)
    assert sorted(os.listdir(tmp_path)) == ["taken.json", "taken.txt"]
    assert (tmp_path / "taken.txt").read_text() == "corrected"


def test_an_empty_folder_is_taken(tmp_path):
    save_drafts(tmp_path, "srt", FOUND)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_fault_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.setitem(FORMATS, "srt", FORMATS["srt"]._replace(write=_failing()))
    with pytest.raises(ZeroDivisionError):
        written(tmp_path, "srt")
    assert not list(tmp_path.iterdir())


def _failing():
    """Writes one draft, and no second one."""
    calls = iter([1, 0])
    return lambda draft: f"{1 / next(calls)}"
