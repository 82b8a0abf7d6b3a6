"""Which instances are missed, and found worse: by coverage, length and number of instances.

The method is that of DETAD (Alwassel et al., ECCV 2018), as the ActionFormer paper (appendix B)
uses it:

* *Coverage* is the length of an instance as a part of its video, *length* is in seconds, and
  *instances* are those of the same class in the same video. Each is cut into bins, from XS to XL.
* An instance is missed (a false negative) where no detection finds it, or where normalized
  precision is 0.05 or less when one does: nobody would look at so many detections.
* The mAP of a bin is that of its instances alone, with normalized AP, so that bins with few and
  with many instances can be compared. What finds an instance of another bin is left out; all false
  positives stay. Sensitivity is how much the mAP of the bins of a characteristic varies.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_actionformer.checks import choice
from keras_actionformer.detection.text_table import table
from keras_actionformer.evaluation.shares import percent, plain, quotient
from keras_actionformer.extras import import_extra

if TYPE_CHECKING:
    import pandas

BINS = ("XS", "S", "M", "L", "XL")
# Of DETAD, for the data sets it was made for; a bin (a, b] has its upper edge in it.
EDGES = {
    "thumos14": {
        "coverage": (0, 0.02, 0.04, 0.06, 0.08, 1),
        "length": (0, 3, 6, 12, 18, np.inf),
        "instances": (0, 1, 40, 80, np.inf),
    },
    "activitynet": {
        "coverage": (0, 0.2, 0.4, 0.6, 0.8, 1),
        "length": (0, 30, 60, 120, 180, np.inf),
        "instances": (0, 1, 4, 8, np.inf),
    },
}
# What an analysis is asked for: those, or bins of as many instances each.
EDGE_NAMES = (*EDGES, "data")
# Normalized precision at which a detection no longer finds what it overlaps with.
MIN_PRECISION = 0.05


@dataclasses.dataclass(frozen=True, eq=False)
class Characteristic:
    """Instances in bins of one characteristic.

    Attributes:
      name: "coverage", "length" or "instances".
      bins: tuple of str (bins,), "XS" and so on.
      edges: float (bins + 1,), bin `i` is above `edges[i]` and at most `edges[i + 1]`.
      num_instances: int (bins,).
      num_missed: int (bins,), false negatives.
      mean_ap_normalized: float (bins,) in 0..1, NaN where a bin has no instance.
    """

    name: str
    bins: tuple[str, ...]
    edges: np.ndarray
    num_instances: np.ndarray
    num_missed: np.ndarray
    mean_ap_normalized: np.ndarray

    @property
    def miss_rate(self) -> np.ndarray:
        """float (bins,): false negatives a true instance, NaN where a bin has no instance."""
        return quotient(self.num_missed, self.num_instances)


# eq=False: comparing arrays gives an array, so a generated `==` would raise.
@dataclasses.dataclass(frozen=True, eq=False)
class Sensitivity:
    """False negatives and normalized mAP by characteristics of the instances. It prints itself.

    Attributes:
      tiou: float, from which overlap on an instance is found.
      num_instances: int, all that count.
      num_missed: int, false negatives among them.
      mean_ap_normalized: float in 0..1, of all instances.
      characteristics: tuple of `Characteristic`; coverage only where durations are known.
    """

    tiou: float
    num_instances: int
    num_missed: int
    mean_ap_normalized: float
    characteristics: tuple[Characteristic, ...]

    @property
    def miss_rate(self) -> float:
        """float: false negatives a true instance."""
        return self.num_missed / self.num_instances

    def relative(self, characteristic: Characteristic) -> np.ndarray:
        """float (bins,): normalized mAP of the bins, divided by that of all; 1 is no difference.

        NaN where a bin has no instance, or nothing at all is found.
        """
        return quotient(characteristic.mean_ap_normalized, self.mean_ap_normalized)

    def __str__(self) -> str:
        rows = [("", "bin", "above", "to", "instances", "missed %", "mAP_N", "relative")]
        for one in self.characteristics:
            for place, name in enumerate(one.bins):
                rows.append(
                    (
                        "" if place else one.name,
                        name,
                        f"{one.edges[place]:.4g}",
                        f"{one.edges[place + 1]:.4g}",
                        str(one.num_instances[place]),
                        percent(one.miss_rate[place], 1),
                        percent(one.mean_ap_normalized[place]),
                        _relative(self.relative(one)[place]),
                    )
                )
        total = str(self.num_instances), percent(self.miss_rate, 1)
        rows.append(("all", "", "", "", *total, percent(self.mean_ap_normalized), "1.00"))
        return (
            f"Missed instances and normalized mAP at tIoU {self.tiou:.2f}, by coverage of the "
            "video, length in seconds\nand instances of the class in the video\n"
            f"{table(rows, ('<', '<', '>5'))}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as plain numbers, lists and strings, ready for `json.dump`.

        None stands for an infinite edge, and for the mAP of a bin without instances.
        """
        return {
            "tiou": self.tiou,
            "num_ground_truth": self.num_instances,
            "num_missed": self.num_missed,
            "mean_ap_normalized": self.mean_ap_normalized,
            "characteristics": {
                one.name: {
                    "bins": list(one.bins),
                    "edges": plain(one.edges),
                    "num_ground_truth": one.num_instances.tolist(),
                    "num_missed": one.num_missed.tolist(),
                    "miss_rate": plain(one.miss_rate),
                    "mean_ap_normalized": plain(one.mean_ap_normalized),
                    "relative": plain(self.relative(one)),
                }
                for one in self.characteristics
            },
        }

    def to_pandas(self) -> pandas.DataFrame:
        """Returns a `pandas.DataFrame`, a bin a row: characteristic, bin, above, to, num_instances,
        num_missed, miss_rate, mean_ap_normalized, relative.

        Raises:
          UserError: pandas is not installed.
        """
        pandas = import_extra("pandas", "pandas", "pandas", "Sensitivity.to_pandas")
        parts = [
            pandas.DataFrame(
                {
                    "characteristic": one.name,
                    "bin": one.bins,
                    "above": one.edges[:-1],
                    "to": one.edges[1:],
                    "num_instances": one.num_instances,
                    "num_missed": one.num_missed,
                    "miss_rate": one.miss_rate,
                    "mean_ap_normalized": one.mean_ap_normalized,
                    "relative": self.relative(one),
                }
            )
            for one in self.characteristics
        ]
        return pandas.concat(parts, ignore_index=True)


def sensitivity(columns, tiou, edges):
    """Counts false negatives and scores the bins of each characteristic.

    Args:
      columns: `Columns`.
      tiou: float in (0, 1].
      edges: "thumos14" or "activitynet", those of DETAD; or "data", bins of as many instances.

    Returns:
      `Sensitivity`.

    Raises:
      UserError: `edges` is something else.
    """
    edges = choice("edges", edges, *EDGE_NAMES)
    matches = columns.ranked.matches(tiou)
    missed = np.ones(len(columns.gt_classes), bool)
    missed[matches[(matches >= 0) & (_normalized_precision(columns, matches) > MIN_PRECISION)]] = 0
    characteristics = []
    for name, values in _values(columns).items():
        known = ~np.isnan(values)
        if not known.any():
            continue
        limits = _data_edges(values[known]) if edges == "data" else np.array(EDGES[edges][name])
        bins = BINS[: len(limits) - 1]
        # What reaches beyond its video covers more than all of it.
        places = np.minimum(np.searchsorted(limits, values, side="left") - 1, len(bins) - 1)
        inside = [known & (places == place) for place in range(len(bins))]
        characteristics.append(
            Characteristic(
                name=name,
                bins=bins,
                edges=limits.astype(np.float64),
                num_instances=np.array([mask.sum() for mask in inside]),
                num_missed=np.array([(mask & missed).sum() for mask in inside]),
                mean_ap_normalized=np.array(
                    [_mean_ap_normalized(columns, matches, mask) for mask in inside]
                ),
            )
        )
    return Sensitivity(
        tiou=float(tiou),
        num_instances=len(missed),
        num_missed=int(missed.sum()),
        mean_ap_normalized=_mean_ap_normalized(columns, matches, np.ones(len(missed), bool)),
        characteristics=tuple(characteristics),
    )


def _values(columns):
    """Each characteristic of the instances: {name: float (N,)}, NaN where it is not known."""
    lengths_sec = columns.gt_segments_sec[:, 1] - columns.gt_segments_sec[:, 0]
    group = columns.gt_videos * len(columns.class_ids) + columns.gt_classes
    _, group, instances = np.unique(group, return_inverse=True, return_counts=True)
    return {
        "coverage": quotient(lengths_sec, columns.durations_sec[columns.gt_videos]),
        "length": lengths_sec,
        "instances": instances[group].astype(np.float64),
    }


def _data_edges(values):
    """Edges between which as many values lie, as far as equal ones let them; at most five bins."""
    inner = np.quantile(values, np.arange(1, len(BINS)) / len(BINS), method="inverted_cdf")
    return np.unique([0, *inner, values.max()])


def _normalized_precision(columns, matches):
    """float (M,): normalized precision of each detection and those before it in its class."""
    instances = np.maximum(columns.ground_truth_per_class, 1)[columns.classes]
    counted = np.append(0, np.cumsum(matches >= 0))
    places = columns.places_in_class()
    rows = np.arange(len(matches))
    found = counted[rows + 1] - counted[rows - places]
    right = found * columns.norm / instances
    return right / (right + (places + 1 - found))


def _mean_ap_normalized(columns, matches, inside):
    """Normalized mAP of the instances that are `inside`, bool (N,); NaN of none.

    `matches` is int (M,), the instance that each detection finds, or -1.
    """
    hits = matches >= 0
    instances = np.bincount(columns.gt_classes[inside], minlength=len(columns.class_ids))
    return columns.mean_ap(hits, ~hits | inside[matches], instances)


def _relative(value):
    return "-" if np.isnan(value) else f"{value:.2f}"
