"""Audacity's label files, as "File > Export Other > Export Labels" of version 3 writes them."""

import pytest

from helpers.annotation_files import load_rows, rows_of
from keras_actionformer.data.annotation_files import load_annotations
from keras_actionformer.errors import UserError

# The second line tells the frequencies of a label that was made in a spectrogram.
LABELS = "1.500000\t2.250000\tcall\n\\\t440.000000\t880.000000\n3.000000\t4.125000\tlong song\n"


def test_labels_of_the_recording_that_the_file_is_called_as(tmp_path):
    rows, notes = load_rows(tmp_path, "bird.01.txt", LABELS)
    assert rows == [("bird.01", 1.5, 2.25, "call"), ("bird.01", 3.0, 4.125, "long song")]
    assert notes == []


def test_a_folder_of_files(tmp_path):
    (tmp_path / "a.txt").write_text(LABELS)
    (tmp_path / "b.wav.txt").write_text("0.000000\t1.000000\tsong\n")
    (tmp_path / "empty.txt").write_text("2.000000\t2.000000\tmark\n")
    (tmp_path / "a.npy").write_bytes(b"")
    (tmp_path / ".hidden.txt").write_text("not a label")
    notes = []
    rows = rows_of(load_annotations(tmp_path, default_subset="t", on_note=notes.append))
    assert rows[2:] == [("b", 0.0, 1.0, "song")] and [row[0] for row in rows[:2]] == ["a", "a"]
    points, unlabelled = notes
    assert "empty.txt': point events are left out" in points
    assert "empty.txt': videos without any action are left out: 1, first 'empty'" in unlabelled


def test_decimal_commas(tmp_path):
    rows, _ = load_rows(tmp_path, "a.txt", "1,500000\t2,250000\tcall\n")
    assert rows == [("a", 1.5, 2.25, "call")]


@pytest.mark.parametrize(
    "line,text",
    [
        ("1.0\t2.0\t\n", "must be a start, an end and a label with tabs between them"),
        ("1.0\t2.0\n", "must be a start, an end and a label"),
        ("1.0\t2.0\ta\tb\n", "must be a start, an end and a label"),
        ("1.0\tend\ta\n", "'end' must be a number, but it is 'end'"),
        ("2.0\t1.0\ta\n", "must end after it starts"),
    ],
)
def test_wrong_lines(tmp_path, line, text):
    with pytest.raises(UserError, match=f"a.txt', line 4.*{text}"):
        load_rows(tmp_path, "a.txt", LABELS + line)
