"""Numbers and times of a table in seconds: what they are, and where they may be two things."""

import pytest

from keras_actionformer.data.table_times import Cell, Times
from keras_actionformer.errors import UserError


def seconds(texts, unit=None, fps=None, time_unit=None):
    cells = [Cell(f"line {i}", "Start", text, unit) for i, text in enumerate(texts, start=2)]
    times = Times(cells, time_unit)
    return [times.seconds(cell, fps) for cell in cells]


@pytest.mark.parametrize(
    "texts,expected",
    [
        (["1.5", "2", ".5", "5.", "1e1", "-3", "+4"], [1.5, 2, 0.5, 5, 10, -3, 4]),
        (["0.123", "12.345"], [0.123, 12.345]),  # a point alone is a decimal point
        (["1,5", "2", "12,345"], [1.5, 2, 12.345]),  # which 1,5 settles
        (["0,250", "1,500"], [0.25, 1.5]),  # thousands never begin with 0
        (["1.234,5"], [1234.5]),
        (["1,234.5"], [1234.5]),
        (["1.234.567", "1,5"], [1234567, 1.5]),
        (["1,234,567", "0.5"], [1234567, 0.5]),
        (["1:02.5", "0:00:03", "1:00:01,25", "100:00.0"], [62.5, 3, 3601.25, 6000]),
        (["1:02.5", "01:03"], [62.5, 63]),  # seconds are shown, so 01:03 has them, too
        (["75.5", "1:15.5"], [75.5, 75.5]),
        (["00:11:11.27"], [671.27]),  # 11 * 60 + 11.27 is 671.2700000000001 in floats
    ],
)
def test_what_can_be_one_thing_only(texts, expected):
    assert seconds(texts) == expected


@pytest.mark.parametrize(
    "unit,texts,expected",
    [
        ("seconds", ["1.5", "0:01:02"], [1.5, 62]),
        ("milliseconds", ["1234", "1,5"], [1.234, 0.0015]),
        ("minutes", ["1.5"], [90]),
        ("hours", ["0.5"], [1800]),
        ("frames", ["50", "75"], [2, 3]),
        ("mm:ss", ["01:02", "61:00", "1:00:00"], [62, 3660, 3600]),
        ("h:mm", ["01:02", "25:00"], [3720, 90000]),
        ("h:mm:ss", ["1:00:02"], [3602]),
    ],
)
def test_what_the_header_says(unit, texts, expected):
    assert seconds(texts, unit, fps=25.0) == pytest.approx(expected, rel=1e-15)


def test_what_the_caller_says_where_the_header_says_nothing():
    assert seconds(["1500"], time_unit="milliseconds") == [1.5]
    assert seconds(["1500"], "seconds", time_unit="milliseconds") == [1500]


@pytest.mark.parametrize(
    "texts,text",
    [
        (
            ["2", "1,500"],
            "line 3: 'Start' is '1,500', which may be 1.5 with a decimal comma or 1500",
        ),
        (["0.5", "1,500"], "'1,500', which may be 1.5 with a decimal comma or 1500 with a comma"),
        (["0,5", "1.500"], "'1.500', which may be 1.5 with a decimal point or 1500 with a point"),
        (["0,5", "0.5"], "'0,5', with a decimal comma, but .* decimal point .line 3.* is '0.5'"),
        (["01:02", "1:00:00"], "'01:02', which may be 1 min 2 s or 1 h 2 min; write 01:02.0 or 01"),
    ],
)
def test_what_can_be_two_things(texts, text):
    with pytest.raises(UserError, match=text):
        seconds(texts)


@pytest.mark.parametrize("text", ["", "one", "nan", "inf", "1..5", "1,2,3", ".", "1_0", "9" * 400])
def test_what_is_no_number(text):
    with pytest.raises(UserError, match="line 2: 'Start' must be a number, but it is '"):
        seconds([text])


@pytest.mark.parametrize(
    "text", ["1:60.0", "1:61:00", "1:2", ":30", "1:00:00:00", "-1:00.0", "1:0x"]
)
def test_what_is_no_time(text):
    with pytest.raises(UserError, match="must be a time such as 1:02.5 or 0:01:02.5, but it is"):
        seconds([text])


def test_what_contradicts_the_header():
    with pytest.raises(UserError, match="must be a number of frames, as its header says.*'1:02.5'"):
        seconds(["1:02.5"], "frames", fps=25.0)
    with pytest.raises(UserError, match="must be a time like mm:ss, as its header says.*'62'"):
        seconds(["62"], "mm:ss")


@pytest.mark.parametrize("fps", [None, 0.0, -25.0])
def test_frames_of_an_unknown_rate(fps):
    with pytest.raises(UserError, match="line 2: 'Start' counts frames, but .* add a column fps"):
        seconds(["50"], "frames", fps=fps)
