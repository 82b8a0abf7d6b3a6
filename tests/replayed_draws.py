"""Random numbers that are known beforehand, for the truncation rule."""


class ReplayedDraws:
    """Gives the random numbers the reference has drawn, and checks that it was asked the same."""

    def __init__(self, calls):
        self.calls = list(calls)

    def integers(self, low, high, endpoint):
        expected_low, expected_high, value = self.calls.pop(0)
        assert endpoint and (low, high) == (expected_low, expected_high)
        return value
