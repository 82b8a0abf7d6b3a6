"""Colours of pictures and pages: one for each class, the same everywhere, and those around them.

The colours of classes begin with Okabe and Ito's. Each later one is that of a grid of RGB which is
farthest from all before it, in OKLab and in the worst of four cases: as everybody sees it, and as
people with no red, green or blue cones do (Machado, Oliveira and Fernandes 2009). So a class keeps
its colour when others are added after it, and few classes are as far apart as can be. None is as
light as paper or as dark as a dark page: bars can be told from either.

Nobody tells 97 colours apart. Wherever a class is shown, its place or a name says which one it is,
and the colour only helps.
"""

import dataclasses

# fmt: off
CLASS_COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#A54BFF", "#874B69",
    "#96C387", "#C3000F", "#8787F0", "#C31E96", "#782DE1", "#3C692D", "#F0A5C3", "#F01ED2",
    "#FF78D2", "#B4964B", "#A5694B", "#FF2D78", "#69D25A", "#F0780F", "#8778B4", "#2D78E1",
    "#D29696", "#785A96", "#A54B4B", "#5A4BC3", "#C35A96", "#A54BB4", "#3C3CFF", "#E196FF",
    "#96875A", "#E15AFF", "#E10F2D", "#2DA5B4", "#C30069", "#F05AD2", "#00D2B4", "#FF5A78",
    "#69B4A5", "#96B45A", "#C3B4E1", "#4B871E", "#006969", "#E1B400", "#69A52D", "#D20FE1",
    "#C396D2", "#785A0F", "#9669C3", "#FFA587", "#B487E1", "#B47896", "#C3A578", "#D22D78",
    "#7869D2", "#C38796", "#00D22D", "#7887D2", "#F078FF", "#873CA5", "#A52D87", "#960FD2",
    "#B4783C", "#B44B87", "#0F782D", "#963CD2", "#E15A87", "#3C875A", "#D24B4B", "#0F87A5",
    "#D23CA5", "#B42D78", "#9669F0", "#E13CE1", "#2D5AF0", "#B40FB4", "#785AC3", "#E187C3",
    "#E17887", "#5A87FF", "#FF964B", "#B41E5A", "#96965A", "#0F87E1", "#FF8778", "#B496FF",
    "#D2B478", "#A578C3", "#5A5A87", "#2DB4B4", "#69C3A5", "#A59600", "#D20FA5", "#7896F0",
    "#2D5AB4", "#A500C3", "#B487C3", "#E196E1", "#78783C", "#E11E69", "#4BC3F0", "#D21E0F",
    "#FF96D2", "#D25AA5", "#87A55A", "#6969A5", "#FF00B4", "#7887B4", "#B43CC3", "#87C35A",
    "#4BA569", "#F096F0", "#A5B400", "#B45A87", "#E187E1", "#FF9696", "#E18787", "#78692D",
    "#C34BC3", "#4B5A96", "#2D7869", "#C34B3C", "#E196C3", "#D21E5A", "#D2694B", "#5AA5F0",
)
# fmt: on

# Of each of `evaluation.false_positives.KINDS`, for `Theme.colour`: what is right is green.
KIND_COLOURS = (2, 5, 3, 4, 1, "faint")
# Of a cell that has all of something; others are shades between it and the background.
HEAT = CLASS_COLOURS[0]


def class_colour(label):
    """The colour of a class id: `"#RRGGBB"`."""
    return CLASS_COLOURS[label % len(CLASS_COLOURS)]


def class_colours(num_classes: int) -> tuple[str, ...]:
    """Colours of classes 0, 1, ... in this library's pictures and pages; after 128 they repeat.

    Example:

    >>> class_colours(3)
    ('#0072B2', '#D55E00', '#009E73')

    Args:
      num_classes: int, K.

    Returns:
      tuple of K str, `"#RRGGBB"`.
    """
    return tuple(map(class_colour, range(num_classes)))


@dataclasses.dataclass(frozen=True)
class Theme:
    """Colours of what is drawn besides classes, each `"#RRGGBB"`.

    Attributes:
      background: of the figure.
      text: of words, axes and lines that stand for all classes.
      faint: of words and lines that matter less.
      grid: of grid lines.
      band: behind every second lane, a little off the background.
      truth: of what has happened, whatever its class.
    """

    background: str
    text: str
    faint: str
    grid: str
    band: str
    truth: str

    def colour(self, place):
        """`"#RRGGBB"` of a class id, or of one of the attributes, given its name."""
        return getattr(self, place) if isinstance(place, str) else class_colour(place)


LIGHT = Theme("#FFFFFF", "#222222", "#6B6B6B", "#E2E2E2", "#F4F4F4", "#333333")
DARK = Theme("#14171A", "#E8E8E8", "#A3A3A3", "#363B40", "#1E2226", "#D0D0D0")
