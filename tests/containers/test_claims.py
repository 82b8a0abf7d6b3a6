"""What a file says of its own size is believed only where it can be true."""

import pytest

from keras_actionformer.containers.claims import brief_bytes, check_claim


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
