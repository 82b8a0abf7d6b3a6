"""False positives: of which kinds they are, and what the mAP would be without each kind.

The method is that of DETAD (Alwassel et al., ECCV 2018), as the ActionFormer paper (appendix B)
uses it. Of a class with G instances the 10G detections of highest score are looked at. What has
found an instance, as for the mAP, is right. Of every other detection the instance of any class
decides that it overlaps the most with:

| tIoU with that instance | of the detection's class | of another class |
|---|---|---|
| the threshold or more | double detection | wrong label |
| 0.1 or more | localization | confusion |
| less | background | background |

Where instances of its own and of another class overlap as much with it (a dive from a cliff is also
a dive), its own counts; DETAD takes the one that the file names first.

A kind is removed by leaving out its detections. Normalized AP (Hoiem et al., ECCV 2012) counts a
hit as if every class had as many instances as the classes have on average.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_actionformer.detection.text_table import table
from keras_actionformer.evaluation.shares import percent, plain, quotient
from keras_actionformer.extras import import_extra

if TYPE_CHECKING:
    import pandas

KINDS = (
    "true positive",
    "double detection",
    "wrong label",
    "localization",
    "confusion",
    "background",
)
# Detections looked at, as multiples of the instances of a class.
MULTIPLES = 10
# Below, a detection and an instance have nothing to do with each other.
BACKGROUND_TIOU = 0.1


@dataclasses.dataclass(frozen=True, eq=False)
class Gains:
    """What removing kinds of false positives gains, of the 10G best detections of each class.

    Attributes:
      mean_ap: float in 0..1, before.
      mean_ap_normalized: float in 0..1, the same with normalized AP.
      gains: float (5,), what removing each of `KINDS[1:]` adds to `mean_ap`.
      gains_normalized: float (5,), and to `mean_ap_normalized`.
    """

    mean_ap: float
    mean_ap_normalized: float
    gains: np.ndarray
    gains_normalized: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as plain numbers and lists, ready for `json.dump`."""
        return {
            "mean_ap": self.mean_ap,
            "mean_ap_normalized": self.mean_ap_normalized,
            "gains": dict(zip(KINDS[1:], self.gains.tolist())),
            "gains_normalized": dict(zip(KINDS[1:], self.gains_normalized.tolist())),
        }


# eq=False: comparing arrays gives an array, so a generated `==` would raise.
@dataclasses.dataclass(frozen=True, eq=False)
class FalsePositives:
    """Kinds of detections, by how good their scores are. `print(profile)` shows the shares.

    Attributes:
      tiou: float, from which overlap on an instance is found.
      class_ids: int (classes,), the label ids of the ground truth, rising.
      class_names: tuple of str (classes,).
      ground_truth_per_class: int (classes,), the G of each class.
      counts: int (classes, 10, 6), detections of each of `KINDS` among those of the places 0 to G-1
        of its class by score, G to 2G-1, and so on; fewer where there are no more detections.
      at_tiou: `Gains`, at `tiou`.
      tiou_thresholds: float (thresholds,).
      average: `Gains`, on average over `tiou_thresholds`, kinds being decided at each.
    """

    tiou: float
    class_ids: np.ndarray
    class_names: tuple[str, ...]
    ground_truth_per_class: np.ndarray
    counts: np.ndarray
    at_tiou: Gains
    tiou_thresholds: np.ndarray
    average: Gains

    @property
    def shares(self) -> np.ndarray:
        """float (10, 6): of the k-th G detections of all classes, the share of each kind.

        NaN where no class has so many detections.
        """
        return _shares(self.counts.sum(axis=0))

    @property
    def cumulative_shares(self) -> np.ndarray:
        """float (10, 6): the same of the best kG detections together."""
        return _shares(self.counts.sum(axis=0).cumsum(axis=0))

    def __str__(self) -> str:
        counts = self.counts.sum(axis=0)
        slices = [f"{k}G" for k in range(1, MULTIPLES + 1)]
        rows = [("detections", *slices, f"1-{MULTIPLES}G")]
        columns = [*self.shares, self.cumulative_shares[-1]]
        for kind, name in enumerate(KINDS):
            rows.append((name, *(percent(column[kind], 1) for column in columns)))
        rows.append(("number", *map(str, counts.sum(axis=1)), str(counts.sum())))
        low, high = self.tiou_thresholds.min(), self.tiou_thresholds.max()
        at, average = self.at_tiou, self.average
        gains = [
            ("without", "mAP_N", "mAP", "average mAP_N", "average mAP"),
            (
                "nothing",
                percent(at.mean_ap_normalized),
                percent(at.mean_ap),
                percent(average.mean_ap_normalized),
                percent(average.mean_ap),
            ),
        ]
        columns = (at.gains_normalized, at.gains, average.gains_normalized, average.gains)
        for kind, name in enumerate(KINDS[1:]):
            gains.append((name, *(f"{100 * column[kind]:+.2f}" for column in columns)))
        return (
            f"Kinds of detections at tIoU {self.tiou:.2f}, by score: of each class the first, "
            "second ... G,\nas many as it has instances (percent)\n"
            f"{table(rows, ('<', '>5'), gap=' ')}\n\n"
            f"mAP at tIoU {self.tiou:.2f}, and averaged over {low:.2f} to {high:.2f}, when a kind "
            f"is removed (percent)\n{table(gains, ('<', '>7'))}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as plain numbers, lists and strings, ready for `json.dump`."""
        return {
            "tiou": self.tiou,
            "kinds": list(KINDS),
            "shares": plain(self.shares),
            "cumulative_shares": plain(self.cumulative_shares),
            "at_tiou": self.at_tiou.to_dict(),
            "tiou_thresholds": self.tiou_thresholds.tolist(),
            "average": self.average.to_dict(),
            "classes": [
                {
                    "label_id": int(self.class_ids[place]),
                    "label": name,
                    "num_ground_truth": int(self.ground_truth_per_class[place]),
                    "counts": self.counts[place].tolist(),
                }
                for place, name in enumerate(self.class_names)
            ],
        }

    def to_pandas(self) -> pandas.DataFrame:
        """Returns a `pandas.DataFrame` with columns label, multiple (1 to 10), kind, count.

        Raises:
          UserError: pandas is not installed.
        """
        pandas = import_extra("pandas", "pandas", "pandas", "FalsePositives.to_pandas")
        places = np.indices(self.counts.shape).reshape(3, -1)
        return pandas.DataFrame(
            {
                "label": np.array(self.class_names, object)[places[0]],
                "multiple": places[1] + 1,
                "kind": np.array(KINDS, object)[places[2]],
                "count": self.counts.ravel(),
            }
        )


def false_positives(columns, tiou, tiou_thresholds):
    """Counts the kinds of detections.

    Args:
      columns: `Columns`.
      tiou: float in (0, 1].
      tiou_thresholds: float (thresholds,), for the average mAP.

    Returns:
      `FalsePositives`.
    """
    overlaps = _largest_overlaps(columns)
    instances = columns.ground_truth_per_class
    annotated = np.flatnonzero(instances)
    slices = columns.places_in_class() // np.maximum(instances[columns.classes], 1)
    looked_at = (instances[columns.classes] > 0) & (slices < MULTIPLES)
    counts = np.zeros((len(instances), MULTIPLES, len(KINDS)), np.int64)
    kinds = detection_kinds(columns, tiou, overlaps)
    np.add.at(counts, (columns.classes[looked_at], slices[looked_at], kinds[looked_at]), 1)
    return FalsePositives(
        tiou=float(tiou),
        class_ids=columns.class_ids[annotated],
        class_names=tuple(columns.class_names[place] for place in annotated),
        ground_truth_per_class=instances[annotated],
        counts=counts[annotated],
        at_tiou=_gains(columns, looked_at, [kinds]),
        tiou_thresholds=tiou_thresholds,
        average=_gains(
            columns,
            looked_at,
            [detection_kinds(columns, threshold, overlaps) for threshold in tiou_thresholds],
        ),
    )


def detection_kinds(columns, tiou, overlaps=None):
    """The kind of each detection: int (M,), a place in `KINDS`.

    Args:
      columns: `Columns`.
      tiou: float in (0, 1].
      overlaps: what `_largest_overlaps` has returned, where it is known.
    """
    largest, is_own = _largest_overlaps(columns) if overlaps is None else overlaps
    kinds = np.select(
        [columns.ranked.hits(tiou), largest < BACKGROUND_TIOU, largest >= tiou],
        [0, 5, np.where(is_own, 1, 2)],
        np.where(is_own, 3, 4),
    )
    return kinds


def _largest_overlaps(columns):
    """The tIoU with the instance of any class that each detection overlaps the most with.

    Args:
      columns: `Columns`.

    Returns:
      (float (M,), 0 where less than `BACKGROUND_TIOU`; bool (M,), it is of the detection's class).
    """
    pair_det, pair_gt, tiou = columns.pairs_of_any_class(
        np.arange(len(columns.scores)), np.arange(len(columns.gt_classes)), BACKGROUND_TIOU
    )
    largest, own = np.zeros((2, len(columns.scores)))
    np.maximum.at(largest, pair_det, tiou)
    same = columns.gt_classes[pair_gt] == columns.classes[pair_det]
    np.maximum.at(own, pair_det[same], tiou[same])
    return largest, own == largest


def _gains(columns, looked_at, kinds_by_threshold):
    """`Gains` on average over thresholds.

    Args:
      columns: `Columns`.
      looked_at: bool (M,).
      kinds_by_threshold: list of int (M,), for each threshold.
    """
    means = []
    for kinds in kinds_by_threshold:
        for removed in range(len(KINDS)):  # 0 stands for none
            kept = looked_at & (kinds != removed) if removed else looked_at
            for normalized in (False, True):
                means.append(columns.mean_ap(kinds == 0, kept, normalized=normalized))
    raw, normalized = np.reshape(means, (-1, len(KINDS), 2)).mean(axis=0).T
    return Gains(
        mean_ap=float(raw[0]),
        mean_ap_normalized=float(normalized[0]),
        gains=raw[1:] - raw[0],
        gains_normalized=normalized[1:] - normalized[0],
    )


def _shares(counts):
    """Each row of counts as shares of it, NaN where it is empty."""
    return quotient(counts, counts.sum(axis=-1, keepdims=True))
