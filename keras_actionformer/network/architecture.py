"""The network's settings: what each means, its default, its limits, and what follows from them."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

from keras_actionformer.checks import choice, entries, flag, ints, number, shown, whole
from keras_actionformer.errors import UserError

# Upper bounds, far above what any network of this kind has, so that a file from elsewhere cannot
# ask for all memory, or for a network that takes days to build.
_MAX_WIDTH = 65536
_MAX_STREAMS = 64
_MAX_CLASSES = 100_000
_MAX_BLOCKS = 64
_MAX_STRIDED = 12  # at a stride of 2 the last level of points is 4096 steps apart
_MAX_STRIDE = 65536  # every sequence is padded to a multiple of it
_MAX_KERNEL = 255
_MAX_WINDOW = 4096  # attention hides steps by a table of 2 * window^2 numbers
_MAX_STEPS = 2**24
_MAX_NUMBERS = 2**30  # parameters and one training sequence: 4 GiB; the largest preset has 0.13e9

# Of label assignment: actions as short as the shortest one at a point, up to this many steps,
# share the point.
TIE_STEPS = 1e-3


# === Checks of a single setting ===


def _whole_from(name, value, low, high):
    value = whole(name, value)
    if value < low:
        raise UserError(f"{name} must be a whole number of at least {low}, but is {shown(value)}.")
    if value > high:
        raise UserError(f"{name} must be at most {high}, but is {shown(value)}.")
    return value


def _odd(name, value):
    value = _whole_from(name, value, 1, _MAX_KERNEL)
    if value % 2 == 0:
        raise UserError(f"{name} must be odd, but is {value}.")
    return value


def _number_from(name, value, low, high):
    value = number(name, value)
    if not low <= value <= high:
        raise UserError(f"{name} must be a number from {low:g} to {high:g}, but is {shown(value)}.")
    return value


def _widths(name, value):
    value = ints(name, value)
    streams = _each(value)
    if not 1 <= len(streams) <= _MAX_STREAMS or not 1 <= min(streams) <= max(streams) <= _MAX_WIDTH:
        raise UserError(
            f"{name} must be 1 or more and at most {_MAX_WIDTH}, one int or one for each of up to "
            f"{_MAX_STREAMS} streams, but is {shown(_to_lists(value))}."
        )
    return value


def _arch(name, value):
    value = ints(name, value)
    limits = (1, _MAX_BLOCKS), (0, _MAX_BLOCKS), (0, _MAX_STRIDED)
    if (
        not isinstance(value, tuple)
        or len(value) != 3
        or any(not low <= v <= high for v, (low, high) in zip(value, limits, strict=True))
    ):
        raise UserError(
            f"{name} must be three ints: embedding convolutions (1 to {_MAX_BLOCKS}), stem blocks "
            f"(0 to {_MAX_BLOCKS}), strided blocks (0 to {_MAX_STRIDED}), but is "
            f"{shown(_to_lists(value))}."
        )
    return value


def _windows(name, value):
    value = ints(name, value)
    for window in _each(value):
        if window != -1 and not 1 <= window <= _MAX_WINDOW:
            raise UserError(
                f"{name} must be -1 (attention over all steps) or from 1 to {_MAX_WINDOW} steps, "
                f"but is {shown(window)}."
            )
    return value


def _class_ids(name, value):
    ids = entries(value)
    if ids is None:
        raise UserError(f"{name} must be a list of class ids, but is {shown(value)}.")
    return tuple(_whole_from(f"A class id of {name}", i, 0, _MAX_CLASSES) for i in ids)


def _ranges(name, value):
    """Pairs (min, max) of numbers with 0 <= min < max, or None."""
    if value is None:
        return None
    pairs = entries(value)
    if pairs is None:
        raise UserError(f"{name} must be a list of pairs, but is {shown(value)}.")
    checked = []
    for pair in pairs:
        ends = entries(pair) or [pair]
        checked.append(tuple(number(f"A limit of {name}", end) for end in ends[:3]))
        if len(ends) != 2 or not 0 <= ends[0] < ends[1]:
            raise UserError(
                f"{name} must be pairs (min, max) with 0 <= min < max, but has {shown(ends)}."
            )
    return tuple(checked)


def adjoining_ranges(num_levels):
    """Regression ranges (0, 4), (4, 8), (8, 16), ..., the last without an upper limit (10000)."""
    edges = [0, *(4 * 2**level for level in range(num_levels - 1)), 10000]
    return tuple(zip(edges[:-1], edges[1:], strict=True))


def _each(value):
    """The ints of an int or a tuple of ints."""
    return value if isinstance(value, tuple) else (value,)


def _setting(*check, default=dataclasses.MISSING):
    """A field with its check: a function of name and value, and what else it takes."""
    return dataclasses.field(default=default, metadata={"check": check})


# === All settings ===


@dataclasses.dataclass(frozen=True)
class Block:
    """A block of the backbone.

    Attributes:
      stride_in, stride_out: ints, strides before and after it, in steps of the features.
      window: int, steps that its attention sees at `stride_out` (-1: all); None for a
        convolutional block.
    """

    stride_in: int
    stride_out: int
    window: int | None


@dataclasses.dataclass(frozen=True)
class Architecture:
    """The network's settings, under the names of the reference's configuration files.

    Values may be NumPy's and lists, as a file has them; they become Python's numbers and tuples.
    Ranges that were None are those of this number of levels: `dataclasses.replace` with another
    number needs `regression_range=None`, too.

    Example:

    ```python
    Architecture(input_dim=300, num_classes=12, backbone_arch=(2, 2, 5)).strides  # (1, 2, ..., 32)
    ```

    Args:
      input_dim: int, channels of a feature, or one int a stream.
      num_classes: int, how many classes there are, K.
      backbone_type: `"convTransformer"`, or `"conv"`, the paper's convolutional baseline.
      backbone_arch: three ints: embedding convolutions, stem blocks, downsampling blocks; of
        these 0 makes a pyramid of one level (the paper's table 3c).
      scale_factor: int, stride between levels, 2 or 4.
      embd_dim: int, width D; one int a stream when there are several, D being their sum.
      embd_kernel_size: odd int, of the embedding convolutions.
      embd_with_ln: bool, layer normalization after each embedding convolution (which then has no
        bias).
      n_head: int, attention heads.
      n_mha_win_size: int, attention window in steps (-1: global), or one int a level.
      use_abs_pe: bool, sinusoidal position embedding.
      use_rel_pe: bool, relative position bias (local windows).
      fpn_type: `"identity"`; or, between backbone and heads, a feature pyramid network: `"fpn"`
        of depthwise convolutions, or `"full_fpn"` of full ones, each with a normalization of its
        own (OpenTAD's).
      fpn_dim: int, width of the heads' input; must equal D for `"identity"`.
      fpn_with_ln: bool, layer normalization of each level before the heads; in `"full_fpn"` after
        each convolution.
      fpn_start_level: int, first level that has points.
      head_dim: int, width of the heads' hidden layers.
      head_kernel_size: odd int, of the heads' convolutions.
      head_num_layers: int, convolutions in each head, the last one included.
      head_with_ln: bool, layer normalization in the heads' hidden layers.
      conv_ln_epsilon: float, epsilon of the layer normalizations outside of the transformer
        blocks: in embedding, neck and heads (OpenTAD: 1e-6). Inside of them it is 1e-5.
      mask_after_relu: bool, embedding, heads and `"full_fpn"` zero invalid steps once more after
        normalization and ReLU, so that their convolutions never meet padding (OpenTAD).
      points_at_centers: bool, a point lies in the middle of its level's stride, not at its start
        (OpenTAD's `use_offset`).
      regression_range: one (min, max) pair in steps for each level that has points; None gives
        (0, 4), (4, 8), ..., (2^L, 10000).
      max_seq_len: int, training length in steps.
      force_upsampling: bool, every sequence is resized to `max_seq_len` steps, in training and by
        `detect` (ActivityNet's fixed length).
      resize_method: `"linear"`, or `"roi_align"` (OpenTAD), how `detect` resizes to it.
      resize_longer: bool, `detect` resizes sequences that are longer than `max_seq_len` to it,
        others not (OpenTAD's `Padding`).
      input_dropout: float, probability that a training step zeroes an input channel (of several
        streams: a channel of their projections) in all of a sequence; the others are divided by
        the probability of being kept (OpenTAD's `input_pdrop`).
      dropout: float, of the attention's weights and the blocks' MLPs.
      droppath: float, stochastic depth: share of a block's branches that a training step skips.
      cls_prior_prob: float, probability every class starts from (Lin et al. 2017, section 3.3).
      head_empty_cls: ids of classes without training instances; they start from 1e-6.
      center_sample: `"radius"`: of the points inside an action, those near its middle learn it; or
        `"none"`: all of them.
      center_sample_radius: float, how near, in strides.
      point_classes: `"shortest"`: a point that several actions claim learns the classes of the
        shortest, and of others as short; or `"all"`: those of all of them (OpenTAD's
        `filter_similar_gt=False`). It regresses the shortest in any case.
      loss_weight: float, weight of the regression loss; 0 or less balances the two losses.
      label_smoothing: float, share s: class targets t become `t * (1 - s) + s / (K + 1)`.
      init_loss_norm: float, positive points of a batch, by whose running average losses are
        divided: where it starts.

    Raises:
      UserError: a value is wrong or contradicts another, or the network would be too large for
        any machine; the message says which.
    """

    input_dim: int | Sequence[int] = _setting(_widths)
    num_classes: int = _setting(_whole_from, 1, _MAX_CLASSES)
    _: dataclasses.KW_ONLY
    backbone_type: Literal["convTransformer", "conv"] = _setting(
        choice, "convTransformer", "conv", default="convTransformer"
    )
    backbone_arch: Sequence[int] = _setting(_arch, default=(2, 2, 5))
    scale_factor: int = _setting(choice, 2, 4, default=2)
    embd_dim: int | Sequence[int] = _setting(_widths, default=512)
    embd_kernel_size: int = _setting(_odd, default=3)
    embd_with_ln: bool = _setting(flag, default=True)
    n_head: int = _setting(_whole_from, 1, _MAX_WIDTH, default=4)
    n_mha_win_size: int | Sequence[int] = _setting(_windows, default=19)
    use_abs_pe: bool = _setting(flag, default=False)
    use_rel_pe: bool = _setting(flag, default=False)
    fpn_type: Literal["identity", "fpn", "full_fpn"] = _setting(
        choice, "identity", "fpn", "full_fpn", default="identity"
    )
    fpn_dim: int = _setting(_whole_from, 1, _MAX_WIDTH, default=512)
    fpn_with_ln: bool = _setting(flag, default=True)
    fpn_start_level: int = _setting(_whole_from, 0, _MAX_STRIDED, default=0)
    head_dim: int = _setting(_whole_from, 1, _MAX_WIDTH, default=512)
    head_kernel_size: int = _setting(_odd, default=3)
    head_num_layers: int = _setting(_whole_from, 1, _MAX_BLOCKS, default=3)
    head_with_ln: bool = _setting(flag, default=True)
    conv_ln_epsilon: float = _setting(_number_from, 1e-9, 1, default=1e-5)
    mask_after_relu: bool = _setting(flag, default=False)
    points_at_centers: bool = _setting(flag, default=False)
    regression_range: Sequence[Sequence[float]] | None = _setting(_ranges, default=None)
    max_seq_len: int = _setting(_whole_from, 1, _MAX_STEPS, default=2304)
    force_upsampling: bool = _setting(flag, default=False)
    resize_method: Literal["linear", "roi_align"] = _setting(
        choice, "linear", "roi_align", default="linear"
    )
    resize_longer: bool = _setting(flag, default=False)
    input_dropout: float = _setting(_number_from, 0, 0.99, default=0.0)
    dropout: float = _setting(_number_from, 0, 0.99, default=0.0)
    droppath: float = _setting(_number_from, 0, 0.99, default=0.1)
    cls_prior_prob: float = _setting(_number_from, 1e-6, 1 - 1e-6, default=0.01)
    head_empty_cls: Sequence[int] = _setting(_class_ids, default=())
    center_sample: Literal["radius", "none"] = _setting(choice, "radius", "none", default="radius")
    center_sample_radius: float = _setting(_number_from, 1e-6, 1e6, default=1.5)
    point_classes: Literal["shortest", "all"] = _setting(
        choice, "shortest", "all", default="shortest"
    )
    loss_weight: float = _setting(_number_from, -1e6, 1e6, default=1.0)
    label_smoothing: float = _setting(_number_from, 0, 1, default=0.0)
    init_loss_norm: float = _setting(_number_from, 1e-6, 1e9, default=2000.0)

    def __post_init__(self):
        for field in dataclasses.fields(self):
            check, *limits = field.metadata["check"]
            self._set(field.name, check(field.name, getattr(self, field.name), *limits))
        if self.regression_range is None:
            self._set("regression_range", adjoining_ranges(len(self.strides)))
        self._check_pyramid()
        self._check_widths()
        self._check_size()

    def _set(self, name, value):
        object.__setattr__(self, name, value)  # the way round `frozen`

    # ---- what follows from the settings ---------------------------------------------------

    @property
    def num_levels(self) -> int:
        """int, levels of the backbone."""
        return self.backbone_arch[2] + 1

    @property
    def level_strides(self) -> tuple[int, ...]:
        """Strides of all levels of the backbone, in steps: 1, s, s^2, ..."""
        return tuple(self.scale_factor**level for level in range(self.num_levels))

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of the levels that have points, in steps."""
        return self.level_strides[self.fpn_start_level :]

    @property
    def point_offset(self) -> float:
        """float, how far a point lies behind the start of its stride, in strides."""
        return 0.5 if self.points_at_centers else 0.0

    @property
    def coarsest_stride(self) -> int:
        """int, steps between the points of the last level; sequences are a multiple of it."""
        return self.level_strides[-1]

    @property
    def windows(self) -> tuple[int, ...]:
        """Attention windows of all levels of the backbone, in steps of the level."""
        windows = self.n_mha_win_size
        return windows if isinstance(windows, tuple) else (windows,) * self.num_levels

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Blocks of the backbone: the stem's, all at stride 1, then a strided one a level."""
        windows, strides = self.windows, self.level_strides
        if self.backbone_type == "conv":
            windows = (None,) * self.num_levels
        stem = (Block(1, 1, windows[0]),) * self.backbone_arch[1]
        return (*stem, *map(Block, strides[:-1], strides[1:], windows[1:]))

    @property
    def has_streams(self) -> bool:
        """bool, the features are several streams, each with a projection of its own."""
        return isinstance(self.input_dim, tuple)

    @property
    def num_streams(self) -> int:
        """int, streams of features with a projection each."""
        return len(_each(self.input_dim))

    @property
    def channels(self) -> int:
        """int, C: channels of a feature, of all streams together."""
        return sum(_each(self.input_dim))

    @property
    def width(self) -> int:
        """int, D: width of the backbone."""
        return sum(_each(self.embd_dim))

    @property
    def resize_to(self) -> int | None:
        """int, steps that every sequence is resized to, or None."""
        return self.max_seq_len if self.force_upsampling else None

    @property
    def size_bound(self) -> int:
        """A bound, not far above, of the parameters plus the numbers of one training sequence."""
        convolutions, *blocks = self.backbone_arch
        hidden = max(self.fpn_dim, self.head_dim)
        embedding = self.embd_kernel_size * (self.channels + convolutions * self.width) * self.width
        backbone = 13 * sum(blocks) * self.width**2  # 4 of the attention, 8 of the MLP, small ones
        neck = self.num_levels * self.width * self.fpn_dim
        if self.fpn_type == "full_fpn":
            neck += self.num_levels * 3 * self.fpn_dim**2
        heads = hidden * (2 * self.head_num_layers * hidden + self.num_classes)
        sequence = self.max_seq_len * (self.channels + self.width)
        return embedding + backbone + neck + self.head_kernel_size * heads + sequence

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON has them: numbers, strings and lists."""
        return {name: _to_lists(value) for name, value in dataclasses.asdict(self).items()}

    # ---- what settings must agree on ------------------------------------------------------

    def _check_pyramid(self):
        if self.fpn_start_level >= self.num_levels:
            raise UserError(
                f"fpn_start_level is {self.fpn_start_level}, but the last level is "
                f"{self.num_levels - 1}."
            )
        if self.coarsest_stride > _MAX_STRIDE:
            raise UserError(
                f"scale_factor {self.scale_factor} and {self.num_levels - 1} strided blocks "
                f"(backbone_arch[2]) make a stride of {self.coarsest_stride} steps, more than "
                f"{_MAX_STRIDE}."
            )
        if len(self.regression_range) != len(self.strides):
            raise UserError(
                f"regression_range has {len(self.regression_range)} pairs, but the model has "
                f"points on {len(self.strides)} levels (backbone_arch[2] + 1 - fpn_start_level)."
            )
        if len(self.windows) != self.num_levels:
            raise UserError(
                f"n_mha_win_size has {len(self.windows)} windows, but the backbone has "
                f"{self.num_levels} levels (backbone_arch[2] + 1)."
            )

    def _check_widths(self):
        if self.has_streams != isinstance(self.embd_dim, tuple) or (
            self.has_streams and len(self.input_dim) != len(self.embd_dim)
        ):
            raise UserError(
                "input_dim and embd_dim must both be ints or have one int a stream each, but are "
                f"{shown(_to_lists(self.input_dim))} and {shown(_to_lists(self.embd_dim))}."
            )
        if self.backbone_type == "convTransformer" and self.width % self.n_head:
            raise UserError(
                f"embd_dim ({self.width}) must be a multiple of n_head ({self.n_head})."
            )
        if self.fpn_type == "identity" and self.fpn_dim != self.width:
            raise UserError(
                f"fpn_dim must equal the width of the backbone ({self.width}) when fpn_type is "
                f"'identity', but is {self.fpn_dim}."
            )
        if self.use_rel_pe and any(w > 1 and w % 2 == 0 for w in self.windows):
            raise UserError(
                "use_rel_pe needs odd windows, but n_mha_win_size is "
                f"{shown(_to_lists(self.n_mha_win_size))}."
            )
        for label_id in self.head_empty_cls:
            if label_id >= self.num_classes:
                raise UserError(
                    f"head_empty_cls names class {label_id}, outside 0..{self.num_classes - 1}."
                )

    def _check_size(self):
        if self.size_bound > _MAX_NUMBERS:
            raise UserError(
                f"The model and a sequence of max_seq_len={self.max_seq_len} steps would hold "
                f"about {self.size_bound:.1e} numbers, more than {_MAX_NUMBERS:.1e}: make "
                "embd_dim, head_dim, backbone_arch or max_seq_len smaller."
            )


def _to_lists(value):
    return [_to_lists(x) for x in value] if isinstance(value, tuple) else value
