"""Rows of CSV texts, whatever stands between their cells."""

import pytest

from keras_actionformer.containers.csv_files import read_rows
from keras_actionformer.errors import UserError


@pytest.mark.parametrize("separator, decimal", [(",", "."), (";", ","), ("\t", ".")])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_rows(separator, decimal, end):
    lines = ["video|label", 'v1|"a|b"', "|", '"w,1"|c', ""]
    text = end.join(lines).replace("|", separator)
    expected = [(1, ["video", "label"]), (2, ["v1", f"a{separator}b"]), (4, ["w,1", "c"])]
    assert read_rows("'a.csv'", text) == (expected, decimal)


@pytest.mark.parametrize("text", ['a,b\n"c,d\n', 'a,b\n"c"d,e\n', "a,b\n" + 200_000 * "c"])
def test_what_is_no_csv_is_told_with_its_line(text):
    with pytest.raises(UserError, match=r"'a.csv', line [12]: no valid CSV \(.*\); save it anew"):
        read_rows("'a.csv'", text)


def test_nothing_has_no_rows():
    assert read_rows("'a.csv'", "") == read_rows("'a.csv'", "\n ,\n") == ([], ".")
