"""What a model is made of: how large it is, what it computes, how far it sees, and for how long."""

from __future__ import annotations

import collections
import dataclasses
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_actionformer.benchmark.flops import paper_multiply_adds
from keras_actionformer.checks import positive_whole
from keras_actionformer.data.encoder_records import describe_record
from keras_actionformer.detection.text_table import table
from keras_actionformer.detection.tiles import receptive_fields, why_not_tiles

if TYPE_CHECKING:
    from keras_actionformer.benchmark.measurements import Measurement
    from keras_actionformer.model import ActionFormer

# Of the path of a variable, the first that fits: which part it belongs to.
_PARTS = {
    "attention": r"backbone/(stem|branch)_\d+/(attn|ln1|drop_path_attn)",
    "MLP": r"backbone/(stem|branch)_\d+/",
    "embedding": r"backbone/",
    "neck": r"neck/",
    "classification head": r"heads/cls_head/",
    "regression head": r"heads/",
}
_ORDER = ("embedding", "attention", "MLP", "neck", "classification head", "regression head")
_UNLIMITED = 10_000  # steps that a last level's range ends with stand for any length
_NUM_RUNS = 5


@dataclasses.dataclass(frozen=True)
class Level:
    """A level of the pyramid.

    Attributes:
      stride: int, steps from one of its points to the next.
      window: int, points of the level that its attention sees, -1 for all; None where there is no
        attention.
      sees_before, sees_after: ints, steps around a point that matter to it; None for all.
      shortest, longest: floats, steps of the actions that it is trained on: a point in the middle
        of such an action has its farther end within the level's `regression_range`. The longest is
        None where the range has no end.
    """

    stride: int
    window: int | None
    sees_before: int | None
    sees_after: int | None
    shortest: float
    longest: float | None


@dataclasses.dataclass(frozen=True)
class ModelSummary:
    """What `summarize` tells of a model. `print(summary)` shows it.

    Attributes:
      parameters: dict of int, numbers of each part.
      num_steps: int, the length that the next is for.
      multiply_adds: dict of int, of each part, for one sequence, counted as in the paper's
        table 3: with normalizations, and with what the reference's windows compute and hide.
      step_sec: float, seconds from one step to the next; None where nobody knows.
      levels: tuple of `Level`, the finest first.
      encoder: dict, what computed the features it was trained on; None where nobody knows.
      measured: `Measurement` of `detect` on one sequence of so many steps, in milliseconds, with
        the most memory that the process has held; None where it was not asked for.
    """

    parameters: dict[str, int]
    num_steps: int
    multiply_adds: dict[str, int]
    step_sec: float | None
    levels: tuple[Level, ...]
    encoder: dict[str, Any] | None = None
    measured: Measurement | None = None

    @property
    def num_parameters(self) -> int:
        """int, of all parts."""
        return sum(self.parameters.values())

    @property
    def num_multiply_adds(self) -> int:
        """int, of all parts."""
        return sum(self.multiply_adds.values())

    def __str__(self) -> str:
        parts = [("part", "parameters", "share", "multiply-adds", "share")]
        for part in (*_ORDER, "all"):
            numbers, products = (
                sum(counts.values()) if part == "all" else counts[part]
                for counts in (self.parameters, self.multiply_adds)
            )
            parts.append(
                (
                    part,
                    f"{numbers:,}",
                    f"{numbers / self.num_parameters:.0%}",
                    f"{products / 1e9:.2f} G",
                    f"{products / self.num_multiply_adds:.0%}",
                )
            )
        levels = [("level", "stride", "window", "a point sees", "for actions of")]
        for place, level in enumerate(self.levels):
            window = {None: "-", -1: "all"}.get(level.window, str(level.window))
            levels.append(
                (
                    str(place),
                    self._told(level.stride),
                    window,
                    self._told_field(level),
                    self._told_range(level),
                )
            )
        length = self._told(self.num_steps)
        texts = [
            f"{self.num_parameters:,} parameters; {self.num_multiply_adds / 1e9:.1f} billion "
            f"multiply-adds for {length}",
            table(parts, ("<", ">")),
            table(levels, ("<", ">", ">", ">", ">")),
        ]
        if self.encoder is not None:
            texts.append(f"Trained on features of {describe_record(self.encoder)}")
        if self.measured is not None:
            memory = self.measured.peak_mb
            texts.append(
                f"detect on {length} took {self.measured.median:.0f} ms here (median of "
                f"{len(self.measured.values)}, {min(self.measured.values):.0f} to "
                f"{max(self.measured.values):.0f})"
                + ("" if memory is None else f"; the process has held up to {memory:.0f} MB")
            )
        return "\n\n".join(texts)

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as plain numbers, lists and strings, ready for `json.dump`."""
        return {
            **dataclasses.asdict(self),
            "num_parameters": self.num_parameters,
            "num_multiply_adds": self.num_multiply_adds,
            "levels": [dataclasses.asdict(level) for level in self.levels],
            "measured": None if self.measured is None else self.measured.to_dict(),
        }

    def _told(self, steps):
        """A number of steps, in seconds, too, where a step is known."""
        seconds = "" if self.step_sec is None else f" ({steps * self.step_sec:.3g} s)"
        return f"{steps:g} step{'' if steps == 1 else 's'}{seconds}"

    def _told_field(self, level):
        if level.sees_before is None:
            return "all steps"
        return self._told(level.sees_before + 1 + level.sees_after)

    def _told_range(self, level):
        unit, factor = ("steps", 1) if self.step_sec is None else ("s", self.step_sec)
        shortest = f"{level.shortest * factor:.3g}"
        if level.longest is None:
            return f"{shortest} {unit} and more"
        return f"{shortest} to {level.longest * factor:.3g} {unit}"


def summarize(
    model: ActionFormer, num_steps: int | None = None, measure: bool = False
) -> ModelSummary:
    """Tells how large a model is, what it computes for a length, and how far each level sees.

    Example:

    ```python
    print(summarize(ActionFormer.from_preset("simulated")))
    ```

    Args:
      model: `ActionFormer`.
      num_steps: int, length of the sequence; None for the training length.
      measure: bool, run `detect` on such a sequence, made up, for its time and memory on this
        machine: seven calls.

    Returns:
      `ModelSummary`.

    Raises:
      UserError: `num_steps` is no whole number of at least 1.
    """
    architecture = model.architecture
    num_steps = positive_whole("num_steps", num_steps or architecture.max_seq_len)
    computed = architecture.resize_to or num_steps
    products = paper_multiply_adds(architecture, computed)
    measured = None
    if measure:
        from keras_actionformer.benchmark.cases import measure_detection  # which imports Keras

        measured = measure_detection(model, num_steps, _NUM_RUNS)
    has_time = model.grid is not None and model.grid.fps is not None
    return ModelSummary(
        parameters=_count_parameters(model),
        num_steps=num_steps,
        multiply_adds={part: products[part] for part in _ORDER},
        step_sec=model.grid.step_sec if has_time else None,
        levels=_levels(architecture),
        encoder=model.encoder,
        measured=measured,
    )


def _count_parameters(model):
    counts = collections.Counter(dict.fromkeys(_ORDER, 0))
    for variable in model.network_weights:
        part = next(part for part, path in _PARTS.items() if re.search(path, variable.path))
        counts[part] += int(np.prod(variable.shape))
    return dict(counts)


def _levels(architecture):
    fields = [(None, None)] * len(architecture.strides)
    if why_not_tiles(architecture) is None:
        fields = receptive_fields(architecture)
    windows = {block.stride_out: block.window for block in architecture.blocks}
    return tuple(
        Level(
            stride,
            windows.get(stride),
            *field,
            shortest=2.0 * low,
            longest=None if high >= _UNLIMITED else 2.0 * high,
        )
        for stride, field, (low, high) in zip(
            architecture.strides, fields, architecture.regression_range, strict=True
        )
    )
