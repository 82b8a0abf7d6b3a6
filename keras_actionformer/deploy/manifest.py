"""What an export says of its model: the part of its manifest that those need who detect with it."""

from collections.abc import Sequence
from typing import NamedTuple

from keras_actionformer.checks import check_class_names, from_fields, positive_whole
from keras_actionformer.data.encoder_records import check_record
from keras_actionformer.data.grid import FeatureGrid
from keras_actionformer.detection.thresholds import Thresholds, check_thresholds
from keras_actionformer.errors import said_of


class Exported(NamedTuple):
    """What is known of a model that was exported.

    Attributes:
      class_names: sequence of str.
      thresholds: `Thresholds` that it recommends, or None.
      grid: `FeatureGrid` of the features it was trained on, or None.
      encoder: dict, the record of what computed those, or None.
      num_streams: int, of how many streams they are joined.
    """

    class_names: Sequence[str] = ()
    thresholds: Thresholds | None = None
    grid: FeatureGrid | None = None
    encoder: dict | None = None
    num_streams: int = 1


def told_by(manifest, source):
    """Checks what a manifest tells of its model.

    Args:
      manifest: dict.
      source: str, what messages call it.

    Returns:
      `Exported`.

    Raises:
      UserError: something in it cannot be.
    """
    with said_of(f"{source} cannot be used"):
        names = check_class_names(manifest.get("class_names"))
        thresholds = from_fields("thresholds", manifest.get("thresholds"), Thresholds)
        return Exported(
            names,
            check_thresholds(thresholds, len(names)) if names else thresholds,
            from_fields("grid", manifest.get("grid"), FeatureGrid),
            check_record(manifest.get("encoder")),
            positive_whole("num_streams", manifest.get("num_streams", 1)),  # older ones tell none
        )
