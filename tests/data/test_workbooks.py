"""Excel workbooks, as openpyxl (of the version that is installed) and a hostile hand write them."""

import datetime
import io
import subprocess
import sys
import zipfile

import openpyxl
import pytest

from helpers.annotation_files import load_rows
from keras_actionformer.data import workbooks
from keras_actionformer.errors import UserError

HEADER = ["Video", "Behaviour", "Start", "End"]


def workbook(*sheets, formats=()):
    """The bytes of a workbook of lists of rows; `formats` of cells of the first."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for i, rows in enumerate(sheets):
        sheet = book.create_sheet(f"Table {i}")
        for row in rows:
            sheet.append(row)
    for cell, form in dict(formats).items():
        book.worksheets[0][cell].number_format = form
    return as_bytes(book)


def as_bytes(book):
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def test_numbers_and_texts(tmp_path):
    rows = [HEADER, ["v1.mp4", "eat", 1.5, 2], [], [7, "sleep", "62.5", 63.25, "a remark"]]
    loaded, notes = load_rows(tmp_path, "t.xlsx", workbook(rows))
    assert loaded == [("v1", 1.5, 2.0, "eat"), ("7", 62.5, 63.25, "sleep")]
    assert notes == []


def test_times_are_read_as_their_format_shows_them(tmp_path):
    start, end = datetime.time(0, 1, 2, 500_000), datetime.timedelta(hours=25, seconds=3)
    content = workbook(
        [HEADER, ["v", "eat", start, end]], formats={"C2": "mm:ss.0", "D2": "[h]:mm:ss"}
    )
    assert load_rows(tmp_path, "t.xlsx", content)[0] == [("v", 62.5, 90003.0, "eat")]
    # Typed as 1:02, it is hours and minutes to Excel, whatever was meant.
    content = workbook([HEADER, ["v", "eat", datetime.time(1, 2), 99999]], formats={"C2": "h:mm"})
    with pytest.raises(UserError, match="sheet 'Table 0', line 2: 'Start' is '1:02', which may be"):
        load_rows(tmp_path, "t.xlsx", content)
    content = workbook([HEADER, ["v", "eat", datetime.date(2024, 5, 1), 3]])
    with pytest.raises(UserError, match="'Start' must be a number, but it is '2024-05-01'"):
        load_rows(tmp_path, "t.xlsx", content)


def test_the_sheet_that_has_a_table(tmp_path):
    table = [["Bouts of May"], [], HEADER, ["v", "eat", 1, 2]]
    content = workbook([["Notes"], ["none"]], table)
    assert load_rows(tmp_path, "t.xlsx", content)[0] == [("v", 1.0, 2.0, "eat")]
    with pytest.raises(
        UserError, match="several tables, the sheet 'Table 0' and the sheet 'Table 1'"
    ):
        load_rows(tmp_path, "t.xlsx", workbook(table, table))
    book = openpyxl.load_workbook(io.BytesIO(workbook(table, table)))
    book.worksheets[0].sheet_state = "hidden"
    assert load_rows(tmp_path, "t.xlsx", as_bytes(book))[0] == [("v", 1.0, 2.0, "eat")]


@pytest.mark.parametrize(
    "content,text",
    [
        (b"", "is no Excel workbook"),
        (b"PK\x03\x04 and so on", "is no Excel workbook"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
            "of an old form or with a password; save it as .xlsx",
        ),
        (workbook([]), "is empty; its first line must be video,start,end,label"),
        (workbook([HEADER]), "has a header but no line below it"),
        (workbook([["Video", "End"]]), "sheet 'Table 0', line 1 must be .* and lacks start, label"),
    ],
)
def test_wrong_workbooks(tmp_path, content, text):
    with pytest.raises(UserError, match=f"Annotation file '.*t.xlsx'.*{text}"):
        load_rows(tmp_path, "t.xlsx", content)


def with_sheet(xml):
    """A workbook whose one sheet is replaced by other XML."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(workbook([HEADER]))) as old,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, xml if name == "xl/worksheets/sheet1.xml" else old.read(name))
    return file.getvalue()


SHEET = (
    '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">{}</worksheet>'
)


@pytest.mark.parametrize(
    "xml,text",
    [
        # A row far below, of which every empty one above it would be counted.
        (
            SHEET.format('<sheetData><row r="999999999"><c r="A1"/></row></sheetData>'),
            "goes on too far",
        ),
        (
            '<!DOCTYPE w [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
            + SHEET.format("<sheetData><row><c t='str'><v>&b;</v></c></row></sheetData>"),
            "cannot be read as a workbook",
        ),
        ("<worksheet", "cannot be read as a workbook"),
    ],
)
def test_workbooks_of_strangers(tmp_path, xml, text):
    content = with_sheet(xml)
    assert len(content) < 2**20
    with pytest.raises(UserError, match=text):
        load_rows(tmp_path, "t.xlsx", content)


def test_a_workbook_that_unpacks_to_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr(workbooks, "_MOST_BYTES", 2**20)
    content = with_sheet(SHEET.format(" " * 2**22))
    assert len(content) < 20_000
    with pytest.raises(UserError, match="t.xlsx' unpacks to 4 MB, too much for a table"):
        load_rows(tmp_path, "t.xlsx", content)


def test_what_is_missing_without_the_extra(tmp_path):
    (tmp_path / "t.xlsx").write_bytes(workbook([HEADER]))
    program = (
        "import sys; sys.modules['openpyxl'] = None\n"
        "from keras_actionformer import UserError, load_annotations\n"
        f"try: load_annotations({str(tmp_path / 't.xlsx')!r})\n"
        "except UserError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "needs openpyxl: pip install 'keras-actionformer[excel]'" in done.stdout, done.stderr
