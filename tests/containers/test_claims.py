"""What a file says of its own size is believed only where it can be true."""

import os

import pytest

from keras_actionformer.containers.claims import brief_bytes, check_claim, check_is_file


def test_a_claim_may_be_two_hundred_times_what_is_stored():
    check_claim(2**26, 0)  # so little is no harm
    check_claim(200 * 10**6, 10**6)
    with pytest.raises(ValueError, match="claims 200 MB of numbers but stores 1 MB for them"):
        check_claim(200 * 10**6 + 1, 10**6)
    with pytest.raises(ValueError, match="claims millions of TB of numbers"):
        check_claim(10**5000, 10**6)


@pytest.mark.parametrize(
    "count,text",
    [(999, "999 bytes"), (1500, "1.5 kB"), (29 * 10**12, "29 TB"), (10**30, "millions of TB")],
)
def test_bytes_are_told_briefly(count, text):
    assert brief_bytes(count) == text


def test_what_could_block_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", "/dev/null"):
        with pytest.raises(ValueError, match="it is no file, but a folder, a pipe or a device"):
            check_is_file(path)
    with pytest.raises(FileNotFoundError):
        check_is_file(tmp_path / "nothing")
