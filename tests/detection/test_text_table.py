"""Text tables: widths, sides and ends of lines."""

import doctest

from keras_actionformer.detection import text_table
from keras_actionformer.detection.text_table import table


def test_columns_are_as_wide_as_their_longest_cell_and_at_least_as_told():
    rows = [("name", "1", "ab"), ("b", "1000", "c")]
    assert table(rows).splitlines() == ["name     1  ab", "b     1000   c"]
    assert table(rows, ("<6", ">2", ">"), gap="|").splitlines() == [
        "name  |   1|ab",
        "b     |1000| c",
    ]


def test_nothing_fills_up_a_last_column_to_the_left():
    assert table([("a", "long"), ("b", "")], ("<", "<")).splitlines() == ["a  long", "b  "]


def test_an_empty_first_column_indents():
    assert table([("", "7", "x"), ("", "12", "y")], ("<", ">", "<")) == "   7  x\n  12  y"


def test_the_examples_run():
    ran = doctest.testmod(text_table)
    assert ran.attempted and not ran.failed
