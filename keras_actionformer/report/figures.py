"""What all pictures share: a figure in the colours of its theme, its words, and its file."""

import contextlib
import pathlib
import unicodedata

from keras_actionformer.checks import number
from keras_actionformer.errors import UserError
from keras_actionformer.extras import import_extra
from keras_actionformer.files import atomic_path
from keras_actionformer.report.palette import DARK, LIGHT

SUFFIXES = (".png", ".svg", ".pdf")
_DPI = 160
_POINTS = 72  # in an inch
_NARROWEST, _WIDEST = 5, 400  # inches; matplotlib draws no more than 65,536 pixels
_LONGEST_NAME = 32  # characters that are drawn of a name, where there is room
# Widths of a character of the font, on average over English words, and the space between lines.
_CHARACTER_EM, _LINE_EM = 0.6, 1.35


def check_picture(path, name="path"):
    """Raises UserError where no picture can be written to a path.

    Args:
      path: str or `os.PathLike`.
      name: str, the argument or option that has given it.
    """
    if pathlib.Path(path).suffix.lower() not in SUFFIXES:
        raise UserError(f"{name} must end in {', '.join(SUFFIXES)}, but is {str(path)!r}.")
    load_matplotlib()


def load_matplotlib():
    """Imports matplotlib, or raises UserError."""
    return import_extra("matplotlib.figure", "matplotlib", "plot", "Drawing a picture")


@contextlib.contextmanager
def drawing(width, height, dark=False):
    """Yields an empty figure and its `Theme`; what is drawn in the block has these colours.

    No part of `pyplot` is used: no window opens, and a program's own figures stay as they are.

    Args:
      width, height: floats, inches.
      dark: bool.
    """
    figure_class = load_matplotlib().Figure
    import matplotlib

    if not _NARROWEST <= number("width", width) <= _WIDEST:
        raise UserError(
            f"width must be {_NARROWEST} to {_WIDEST} inches, but is {width:g}: narrower pictures "
            "have no room for words, and wider ones cannot be written."
        )
    theme = DARK if dark else LIGHT
    with matplotlib.rc_context(_settings(theme)):
        yield figure_class(figsize=(width, height), layout="constrained"), theme


def _settings(theme):
    words = ("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor")
    return {
        "font.family": "DejaVu Sans",  # which matplotlib brings
        "font.size": 10,
        "text.parse_math": False,  # a class may be called "$5"
        "figure.facecolor": theme.background,
        "axes.facecolor": theme.background,
        "savefig.facecolor": "auto",
        "axes.edgecolor": theme.faint,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlelocation": "left",
        "axes.titlesize": 11,
        "axes.axisbelow": True,
        "grid.color": theme.grid,
        "legend.frameon": False,
        "hatch.color": theme.background,
        "xtick.color": theme.faint,
        "ytick.color": theme.faint,
        **dict.fromkeys(words, theme.text),
    }


def written(figure, path):
    """Writes a figure, where there is a path (None: nowhere), and returns it."""
    if path is None:
        return figure
    check_picture(path)
    import matplotlib

    # The same picture is the same file: it has no date and no names by chance.
    kinds = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    with (
        matplotlib.rc_context({"svg.hashsalt": "keras_actionformer"}),
        atomic_path(path) as temporary,
    ):
        metadata = kinds.get(pathlib.Path(path).suffix.lower())
        figure.savefig(temporary, dpi=_DPI, metadata=metadata)
    return figure


# === Words ===


def shortened(name, longest=_LONGEST_NAME):
    """A name as a picture has room for it: on one line, without the middle where it is long."""
    # What of a file's name is no UTF-8, and what files cannot hold, stands as \\udcff or \\x00.
    name = str(name).encode("utf-8", "backslashreplace").decode("utf-8")
    name = "".join(
        repr(sign)[1:-1] if unicodedata.category(sign) == "Cc" else sign
        for sign in " ".join(name.split())
    )
    if len(name) <= longest:
        return name
    half = (longest - 1) // 2
    return f"{name[:half]}…{name[-half:]}"


def longest_name(width):
    """Characters of the names beside axes in a figure of a width in inches: a third of it."""
    return min(_LONGEST_NAME, int(3.2 * width))


def wrapped(text, width, size):
    """Breaks a text into lines that fit into a width.

    Args:
      text: str.
      width: float, inches.
      size: float, of the font in points.
    """
    import textwrap

    return "\n".join(textwrap.wrap(text, max(20, int(width / inches(size, _CHARACTER_EM)))))


def inches(size, ems=_LINE_EM):
    """The height of a line (or another number of ems) of a font of so many points."""
    return size * ems / _POINTS


def lane_text_size(num_lanes):
    """Points of the names beside so many lanes, one below the other."""
    return 11 if num_lanes <= 12 else 9 if num_lanes <= 40 else 7.5


class Legend:
    """A legend below or above a figure, in as many columns as the width holds.

    Args:
      looks: list of (colour, `"area"` or `"line"`).
      names: sequence of str, one each.
      width: float, inches of the figure.

    Attributes:
      height: float, inches that it takes.
    """

    def __init__(self, looks, names, width):
        self._size = 10 if len(names) <= 12 else 8
        self._looks, self._names = looks, [shortened(name, 24) for name in names]
        longest = max(map(len, self._names), default=0)
        column = inches(self._size, _CHARACTER_EM * longest + 4)
        room = max(1, int((width - 0.2) / column))
        rows = -(-len(names) // room)
        self._num_columns = -(-len(names) // max(rows, 1))  # all rows about as long
        self.height = inches(self._size, 1.6) * rows + 0.15 if names else 0.0

    def draw(self, figure, side="lower"):
        if self._names:
            from matplotlib.lines import Line2D
            from matplotlib.patches import Patch

            kinds = {
                "area": lambda colour: Patch(color=colour),
                "line": lambda colour: Line2D([], [], color=colour, linewidth=2),
            }
            figure.legend(
                [kinds[kind](colour) for colour, kind in self._looks],
                self._names,
                loc=f"outside {side} center",
                ncols=self._num_columns,
                fontsize=self._size,
                handlelength=1.6,
                columnspacing=1.2,
            )
