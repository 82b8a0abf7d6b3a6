"""Messages stay sentences, whatever they quote."""

import time

import pytest

from keras_actionformer.errors import UserError, counted, said_of, suggest


def test_the_middle_of_a_long_message_is_left_out():
    text = str(UserError(f"File 'a' has {'x' * 200_000!r}; correct it."))
    assert len(text) == 2007 and text.startswith("File 'a' has 'xxx")
    assert " [...] " in text and text.endswith("xxx'; correct it.")
    assert str(UserError("short")) == "short" and UserError("short").args == ("short",)


@pytest.mark.parametrize("text", ["it is too short.", "File 'a': it is too short."])
def test_what_an_error_is_about_is_said_once(text):
    with pytest.raises(UserError) as raised, said_of("File 'a'"):
        raise UserError(text)
    assert str(raised.value) == "File 'a': it is too short."


def test_the_nearest_name_is_soon_found():
    assert suggest("jmp", ["run", "jump"]) == "; did you mean 'jump'?"
    start = time.process_time()
    assert suggest("x" * 10**6, ["x" * 10**6]) == ""
    assert suggest("run", ["x" * 10**6, "ran"]) == "; did you mean 'ran'?"
    assert time.process_time() - start < 1


def test_counted():
    assert [counted(n, "class") for n in (0, 1, 2)] == ["0 classes", "1 class", "2 classes"]
    assert counted(1, "video") == "1 video" and counted(1200, "video") == "1200 videos"
