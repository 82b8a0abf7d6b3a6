"""The one exception of this library that is meant for its user."""

import contextlib
import difflib

_LONGEST_MESSAGE = 2000  # characters
_LONGEST_NAME = 200


class UserError(ValueError):
    """Bad input, told in one sentence: what it is about, what was expected, what came, the fix.

    The command-line programs print it without a traceback and exit with status 2. It stays a
    sentence, whatever it quotes of a file: of a very long one the middle is left out.
    """

    def __init__(self, message: object) -> None:
        text = str(message)
        if len(text) > _LONGEST_MESSAGE:
            half = _LONGEST_MESSAGE // 2
            text = f"{text[:half]} [...] {text[-half:]}"
        super().__init__(text)


@contextlib.contextmanager
def said_of(what):
    """Has a `UserError` of the block begin with `what`, one of many that it may be about."""
    try:
        yield
    except UserError as error:
        if str(error).startswith(str(what)):  # as of a file that cannot be read to its end
            raise
        raise UserError(f"{what}: {error}") from error


def suggest(name, known):
    """Returns `"; did you mean 'x'?"` for the entry of `known` nearest to `name`, or `""`."""
    name, known = str(name), [str(entry) for entry in known]
    if len(name) > _LONGEST_NAME:  # comparing takes its square
        return ""
    near = [entry for entry in known if len(entry) <= _LONGEST_NAME]
    matches = difflib.get_close_matches(name, near, n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def counted(number, noun):
    """Returns a number with what it counts: `"1 class"`, `"2 classes"`."""
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number} {noun}{ending}"
