"""What was measured: a table, a file, a plot. Loads neither Keras nor a backend."""

import dataclasses
import statistics

from keras_actionformer.detection.text_table import table
from keras_actionformer.errors import UserError
from keras_actionformer.report.figures import drawing, written

_NOISY = 1.3  # times as long as the fastest run
# Widths that hold what is measured today: lines are printed as soon as they are known.
_COLUMNS = ("<52", ">9", ">9", ">9", "<10", ">8", ">6", ">7", "<")


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One quantity, measured several times.

    Attributes:
      case: str, what was measured.
      quantity: str, the unit of the values.
      values: tuple of float, one a run.
      num_steps: int, length of the sequence, where there is one.
      gflop: float, useful work of a run in billions of floating-point operations, for values in ms.
      primitive_gflops: tuple of float, what the machine reached beside each run, in GFLOP/s.
      peak_mb: float, most memory that the process had held when its warm-up was over.
    """

    case: str
    quantity: str
    values: tuple
    num_steps: int | None = None
    gflop: float | None = None
    primitive_gflops: tuple = ()
    peak_mb: float | None = None

    @property
    def median(self):
        """float."""
        return statistics.median(self.values)

    @property
    def is_noisy(self):
        """bool, the largest value is more than 1.3 times the smallest."""
        return max(self.values) > _NOISY * min(self.values)

    @property
    def useful_gflops(self):
        """float, useful work a second in GFLOP/s, or None."""
        return None if self.gflop is None else 1e3 * self.gflop / self.median

    @property
    def share(self):
        """float, median over the runs of useful GFLOP/s by what the machine reached, or None."""
        if not self.primitive_gflops:
            return None
        return statistics.median(
            1e3 * self.gflop / ms / rate
            for ms, rate in zip(self.values, self.primitive_gflops, strict=True)
        )

    def __str__(self):
        name = self.case if self.num_steps is None else f"{self.case}, {self.num_steps} steps"
        cells = [f"{value:.1f}" for value in (self.median, min(self.values), max(self.values))]
        cells.append(self.quantity)
        for value, form in (
            (self.useful_gflops, ".1f"),
            (self.share, ".0%"),
            (self.peak_mb, ".0f"),
        ):
            cells.append("" if value is None else format(value, form))
        return _line(name, *cells, "noisy" if self.is_noisy else "")

    def to_dict(self):
        """Returns the measurement, and what follows from it, as plain numbers and strings."""
        return {
            **dataclasses.asdict(self),
            "median": self.median,
            "min": min(self.values),
            "max": max(self.values),
            "useful_gflops": self.useful_gflops,
            "share": self.share,
            "is_noisy": self.is_noisy,
        }

    @classmethod
    def from_dict(cls, values):
        """Inverse of `to_dict`."""
        fields = {field.name: values[field.name] for field in dataclasses.fields(cls)}
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})


def _line(name, median, least, most, unit, *work_and_notes):
    cells = (name, median, least, most, f" {unit}", *work_and_notes)
    return table([cells], _COLUMNS, gap=" ").rstrip()


HEADER = _line("", "median", "min", "max", "unit", "GFLOP/s", "share", "MB", "")
NOTES = """\
GFLOP/s: useful work, of steps that no padding added. share: of what the faster of the machine's two
primitives reached beside each run, in the same type. MB: peak memory of a process that does nothing
else, with its libraries and what compiling took. noisy: the slowest run took over 1.3 times as long
as the fastest."""


def plot(measurements, path):
    """Draws milliseconds against steps, a line for each case with its range from min to max.

    Args:
      measurements: list of `Measurement`; those that have no length, or another unit, are left out.
      path: str or path, the image to write.

    Raises:
      UserError: none is left, or matplotlib is not installed.
    """
    lines = {}
    for one in measurements:
        if one.num_steps is not None and one.quantity == "ms":
            lines.setdefault(one.case, []).append(one)
    if not lines:
        raise UserError("--plot draws cost against length, but nothing of that was measured.")
    with drawing(8, 5) as (figure, _):
        _draw_lines(figure.add_subplot(), lines)
    written(figure, path)


def _draw_lines(axes, lines):
    """Draws the measurements of each case, a dict of lists."""
    for case, points in lines.items():
        points = sorted(points, key=lambda one: one.num_steps)
        below = [one.median - min(one.values) for one in points]
        above = [max(one.values) - one.median for one in points]
        axes.errorbar(
            [one.num_steps for one in points],
            [one.median for one in points],
            yerr=[below, above],
            marker="o",
            capsize=3,
            label=case,
        )
    axes.set(xlabel="steps of the sequence", ylabel="ms (median, min to max)")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
