"""The form in which the architecture of a benchmark is stated."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class BuiltIn:
    """An architecture with the timing, classes and published scores of its benchmark.

    Attributes:
      description: str, one sentence.
      num_parameters: int, trainable numbers.
      model: dict of arguments of `ActionFormer`.
      grid: dict of arguments of `FeatureGrid`; None where a duration is shared out.
      postprocess: dict of arguments of `PostProcess`.
      scores: dict, published mAP in percent by tIoU, and `"average"`.
      feature_encoder: str, the network that computed the features.
      archive: str, what the authors' file with the weights unpacks to; `""` where it is none of the
        reference's.
      class_names: tuple of str, where they are known.
    """

    description: str
    num_parameters: int
    model: dict
    grid: dict | None
    postprocess: dict
    scores: dict
    feature_encoder: str
    archive: str = ""
    class_names: tuple = ()

    @property
    def is_opentad(self) -> bool:
        """bool, it is a network of OpenTAD, and not of the reference."""
        return self.model.get("mask_after_relu", False)


def scores_of(thresholds, *percent):
    """Published mAP by threshold; the last number is their average."""
    return dict(zip([*map(str, thresholds), "average"], percent, strict=True))


def overlapping_ranges(num_levels):
    """Ranges that overlap by half: (0, 4), (2, 8), (4, 16), ... and no upper limit at the end."""
    pairs = [(2**level if level else 0, 2 ** (level + 2)) for level in range(num_levels)]
    return [*pairs[:-1], (pairs[-1][0], 10000)]
