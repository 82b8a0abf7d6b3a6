"""ELAN files of the format 3.0: written by pympi, and by hand as ELAN 6 writes them."""

import time

import pytest
from pympi.Elan import Eaf

from helpers.annotation_files import load_rows, rows_of
from keras_actionformer.data.annotation_files import load_annotations
from keras_actionformer.errors import UserError


def written_by_pympi(path, tiers, media=()):
    """Writes a file with tiers of (start, end in ms, value)."""
    eaf = Eaf(author="test")
    eaf.remove_tier("default")
    for name, annotations in tiers.items():
        eaf.add_tier(name)
        for annotation in annotations:
            eaf.add_annotation(name, *annotation)
    for url in media:
        eaf.add_linked_file(url, mimetype="video/mp4")
    eaf.to_file(str(path))


def load(path, **arguments):
    notes = []
    annotations = load_annotations(
        path, default_subset="training", on_note=notes.append, **arguments
    )
    return rows_of(annotations), notes


def test_a_file_of_another_writer(tmp_path):
    tiers = {"hen": [(1500, 2250, "eat"), (3000, 4001, "sleep  well")]}
    written_by_pympi(tmp_path / "coder 1.eaf", tiers, ["file:///C:/films/v%201.mp4"])
    rows, notes = load(tmp_path / "coder 1.eaf")
    assert rows == [("v 1", 1.5, 2.25, "eat"), ("v 1", 3.0, 4.001, "sleep well")]
    assert notes == []


def test_tiers_as_labels_where_annotations_have_no_value(tmp_path):
    tiers = {"eat": [(1500, 2250, ""), (9000, 9500, "")], "sleep": [(3000, 4000, " ")]}
    written_by_pympi(tmp_path / "v.eaf", tiers)
    rows, (note,) = load(tmp_path / "v.eaf")  # with no media file, the video is called as the file
    assert rows == [("v", 1.5, 2.25, "eat"), ("v", 9.0, 9.5, "eat"), ("v", 3.0, 4.0, "sleep")]
    assert "v.eaf': labels are the names of the tiers 'eat', 'sleep'." in note


def test_values_of_several_tiers(tmp_path):
    written_by_pympi(tmp_path / "v.eaf", {"hen": [(0, 9, "eat")], "cock": [(5, 8, "eat")]})
    rows, (note,) = load(tmp_path / "v.eaf")
    assert rows == [("v", 0.0, 0.009, "eat"), ("v", 0.005, 0.008, "eat")]
    assert "labels are the values of the tiers 'cock', 'hen'." in note


def test_some_annotations_without_value(tmp_path):
    written_by_pympi(tmp_path / "v.eaf", {"hen": [(0, 9, "eat"), (10, 20, "")]})
    with pytest.raises(UserError, match="line .*: this annotation of the tier 'hen' has no value"):
        load(tmp_path / "v.eaf")


# ELAN 6.8: two views of one event, of which the second began 1.2 s later; a tier that depends on
# another, and one that only describes annotations of another; a point; what is not read.
BY_ELAN = """\
<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="" DATE="2024-05-01T10:00:00+01:00" FORMAT="3.0" VERSION="3.0"
    xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
    xsi:noNamespaceSchemaLocation="http://www.mpi.nl/tools/elan/EAFv3.0.xsd">
    <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
        <MEDIA_DESCRIPTOR MEDIA_URL="file:///films/front.mp4" MIME_TYPE="video/mp4"/>
        <MEDIA_DESCRIPTOR MEDIA_URL="file:///films/side.mp4" MIME_TYPE="video/mp4"
            RELATIVE_MEDIA_URL="./side.mp4" TIME_ORIGIN="1200"/>
        <PROPERTY NAME="lastUsedAnnotationId">4</PROPERTY>
    </HEADER>
    <TIME_ORDER>
        <TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="1000"/>
        <TIME_SLOT TIME_SLOT_ID="ts2"/>
        <TIME_SLOT TIME_SLOT_ID="ts3" TIME_VALUE="2500"/>
    </TIME_ORDER>
    <TIER LINGUISTIC_TYPE_REF="behaviour" TIER_ID="behaviour">
        <ANNOTATION>
            <ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts3">
                <ANNOTATION_VALUE>f&#252;ttern &amp; fressen</ANNOTATION_VALUE>
            </ALIGNABLE_ANNOTATION>
        </ANNOTATION>
    </TIER>
    <TIER LINGUISTIC_TYPE_REF="parts" PARENT_REF="behaviour" TIER_ID="phase">
        <ANNOTATION>
            <ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
                <ANNOTATION_VALUE>first</ANNOTATION_VALUE>
            </ALIGNABLE_ANNOTATION>
        </ANNOTATION>
    </TIER>
    <TIER LINGUISTIC_TYPE_REF="note" PARENT_REF="behaviour" TIER_ID="note">
        <ANNOTATION>
            <REF_ANNOTATION ANNOTATION_ID="a3" ANNOTATION_REF="a1">
                <ANNOTATION_VALUE>in the shade</ANNOTATION_VALUE>
            </REF_ANNOTATION>
        </ANNOTATION>
    </TIER>
    <LINGUISTIC_TYPE GRAPHIC_REFERENCES="false" LINGUISTIC_TYPE_ID="behaviour"
        TIME_ALIGNABLE="true"/>
</ANNOTATION_DOCUMENT>
"""


def test_a_file_of_elan(tmp_path):
    # It is called as the one of its two media files that it is about.
    rows, (note,) = load_rows(tmp_path, "front.eaf", BY_ELAN)
    assert rows == [("front", 1.0, 2.5, "füttern & fressen")]
    assert "tiers 'note', 'phase' depend on others and are left out; labels are those of" in note
    rows, _ = load_rows(tmp_path, "side.eaf", BY_ELAN)
    assert rows == [("side", 2.2, 3.7, "füttern & fressen")]  # time 0 is at 1.2 s of that video


def test_a_folder_of_files(tmp_path):
    written_by_pympi(tmp_path / "a.eaf", {"t": [(0, 1000, "eat")]}, ["file:///v1.mp4"])
    written_by_pympi(tmp_path / "b.eaf", {"t": [(0, 2000, "sleep")]}, ["file:///v2.mp4"])
    (tmp_path / "a.pfsx").write_text("<preferences/>")  # ELAN keeps its own things beside them
    rows, _ = load(tmp_path)
    assert rows == [("v1", 0.0, 1.0, "eat"), ("v2", 0.0, 2.0, "sleep")]
    written_by_pympi(tmp_path / "c.eaf", {"t": [(0, 3000, "eat")]}, ["file:///v2.mp4"])
    with pytest.raises(UserError, match="the video 'v2' stands in 'b.eaf' and in 'c.eaf'"):
        load(tmp_path)


def test_points_and_files_without_annotations(tmp_path):
    written_by_pympi(tmp_path / "a.eaf", {"t": [(0, 1000, "eat")]})
    written_by_pympi(tmp_path / "b.eaf", {"t": []})
    content = BY_ELAN.replace('TIME_VALUE="2500"', 'TIME_VALUE="1000"')
    (tmp_path / "front.eaf").write_text(content)
    rows, notes = load(tmp_path)
    assert rows == [("a", 0.0, 1.0, "eat")]
    assert any("b.eaf': videos without any action are left out: 1, first 'b'." in n for n in notes)
    assert any("front.eaf': point events are left out" in note for note in notes)


@pytest.mark.parametrize(
    "old,new,text",
    [
        ("</ANNOTATION_DOCUMENT>", "", "is no valid XML .no element found: line 40, column 0"),
        ("ANNOTATION_DOCUMENT", "DOCUMENT", "line 2: 'DOCUMENT' begins no file of ELAN"),
        ('TIME_VALUE="1000"', 'TIME_VALUE="1s"', "line 12: TIME_VALUE must be milliseconds"),
        (
            'TIME_UNITS="mill',
            'TIME_UNITS="nano mill',
            "line 5: times must be milliseconds, but TIME_U",
        ),
        ('TIME_ORIGIN="1200"', 'TIME_ORIGIN="late"', "TIME_ORIGIN must be milliseconds.*'late'"),
        (' TIME_VALUE="1000"', "", "line 18: the time slot 'ts1' has no time; align the ann"),
        (' TIME_SLOT_REF1="ts1"', "", "line 18: ALIGNABLE_ANNOTATION lacks TIME_SLOT_REF1"),
        ('encoding="UTF-8"', 'encoding="morse"', "is no valid XML .*unknown encoding"),
    ],
)
def test_wrong_files(tmp_path, old, new, text):
    with pytest.raises(UserError, match=f"Annotation file '.*front.eaf'.*{text}"):
        load_rows(tmp_path, "front.eaf", BY_ELAN.replace(old, new))


def test_two_videos_of_which_either_may_be_meant(tmp_path):
    with pytest.raises(UserError, match="is about 'front.mp4' and 'side.mp4', and which of them"):
        load_rows(tmp_path, "coder1.eaf", BY_ELAN)


def test_a_sound_track_that_begins_at_another_time(tmp_path):
    content = BY_ELAN.replace("side.mp4", "front.wav")
    with pytest.raises(UserError, match="'front.mp4' and 'front.wav' begin at different times"):
        load_rows(tmp_path, "front.eaf", content)
    rows, _ = load_rows(tmp_path, "front.eaf", content.replace(' TIME_ORIGIN="1200"', ""))
    assert rows == [("front", 1.0, 2.5, "füttern & fressen")]


@pytest.mark.parametrize(
    "declaration",
    [
        '<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>',
        '<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">',
        '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>',
    ],
)
def test_a_document_type_is_refused(tmp_path, declaration):
    content = BY_ELAN.replace("?>\n", f"?>\n{declaration}\n")
    start = time.monotonic()
    with pytest.raises(UserError, match="line 2 has a document type, and ELAN writes none"):
        load_rows(tmp_path, "front.eaf", content)
    assert time.monotonic() - start < 5
