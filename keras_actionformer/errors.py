"""The one exception of this library that is meant for its user."""

import difflib


class UserError(ValueError):
    """Bad input, told in one sentence: what it is about, what was expected, what came, the fix.

    The command-line programs print it without a traceback and exit with status 2.
    """


def suggest(name, known):
    """Returns `"; did you mean 'x'?"` for the entry of `known` nearest to `name`, or `""`."""
    matches = difflib.get_close_matches(str(name), [str(k) for k in known], n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""
