"""The rows of the paper's ablation tables, each a variation of one model, on UCI HAPT.

    keras-actionformer train --config=ablations --workdir=runs/ablations/best
    keras-actionformer train --config=ablations:levels_1 --workdir=runs/ablations/levels_1
    python configs/ablations.py runs/ablations

The last line trains all variations, some minutes each, scores them, and prints one table; it goes
on where it was stopped, and `python configs/ablations.py runs/ablations levels_1 best` trains these
alone. Data and base are those of `configs/hapt.py`, but for the paper's best design: attention in
windows of 19 steps, and ranges of regression that adjoin.

Zhang, Wu, Li (ECCV 2022), tables 3a to 3c and A to C; their scores, of THUMOS14, are what the last
column repeats. Rows with score fusion are left out, for HAPT has no scores of whole recordings;
training lengths (table B) and feature strides (table C) are the same parts of what `hapt` has. Rows
of two tables with the same settings are one variation.

Published score: none on HAPT. Measured here, shortened: docs/data-sets.md.
"""

import argparse
import dataclasses
import json
import pathlib
import subprocess
import sys

from keras_actionformer import load_config


@dataclasses.dataclass(frozen=True)
class Variation:
    """A row of the paper: its table, what it changes of the best design, and its average mAP."""

    table: str
    average: float
    model: dict = dataclasses.field(default_factory=dict)
    data: dict = dataclasses.field(default_factory=dict)


def levels(num_levels, first_range=4):
    """A pyramid whose first level regresses up to `first_range` steps, each next one twice."""
    edges = [0, *(first_range * 2**level for level in range(num_levels - 1)), 10000]
    ranges = tuple(zip(edges[:-1], edges[1:], strict=True))
    return dict(backbone_arch=(2, 2, num_levels - 1), regression_range=ranges)


_NO_CENTERS = dict(center_sample="none")
_PLAIN = dict(head_with_ln=False, **_NO_CENTERS)
_FULL = dict(n_mha_win_size=-1)

VARIATIONS = {
    "best": Variation("3a to C", 66.8),
    # Model design
    "conv": Variation("3a", 46.6, dict(backbone_type="conv", **_PLAIN)),
    "transformer": Variation("3a", 62.7, _FULL | _PLAIN),
    "layer_norm": Variation("3a", 65.4, _FULL | _NO_CENTERS),
    "position_encoding": Variation("3a", 66.7, _FULL | dict(use_abs_pe=True)),
    "window_full": Variation("3a, 3b", 66.8, _FULL),
    # Local window size
    "window_9": Variation("3b", 66.5, dict(n_mha_win_size=9)),
    "window_25": Variation("3b", 66.4, dict(n_mha_win_size=25)),
    "window_37": Variation("3b", 66.7, dict(n_mha_win_size=37)),
    # Feature pyramid
    "levels_1": Variation("3c", 47.6, levels(1)),
    "levels_3": Variation("3c", 60.1, levels(3)),
    "levels_3_range_8": Variation("3c", 57.6, levels(3, first_range=8)),
    "levels_3_range_16": Variation("3c", 50.2, levels(3, first_range=16)),
    "levels_4": Variation("3c", 63.7, levels(4)),
    "levels_5": Variation("3c", 65.5, levels(5)),
    "levels_7": Variation("3c", 66.2, levels(7)),
    # Loss weight
    "loss_weight_0.2": Variation("A", 65.6, dict(loss_weight=0.2)),
    "loss_weight_0.5": Variation("A", 66.7, dict(loss_weight=0.5)),
    "loss_weight_2": Variation("A", 66.2, dict(loss_weight=2.0)),
    "loss_weight_5": Variation("A", 65.4, dict(loss_weight=5.0)),
    # Length of the training sequences: a quarter (576 of 2304 there) and a half
    "length_quarter": Variation("B", 65.7, dict(max_seq_len=320)),
    "length_half": Variation("B", 66.3, dict(max_seq_len=640)),
    # Stride of the features: 8 and 16 instead of 4 there
    "stride_2": Variation("C", 66.3, data=dict(downsample_rate=2)),
    "stride_4": Variation("C", 61.9, data=dict(downsample_rate=4)),
}


def get_config(variation="best"):
    row = VARIATIONS[variation or "best"]
    config = load_config(pathlib.Path(__file__).with_name("hapt.py"))
    config.model.n_mha_win_size = 19
    config.model.update(levels(6) | row.model)
    config.data.update(row.data)
    return config


def main(workdir, names, options=()):
    """Trains and scores what has no scores yet, each in a folder and a process of its own."""
    for name in names:
        folder = pathlib.Path(workdir) / name
        if not (folder / "evaluation.json").exists():
            command = [sys.executable, "-m", "keras_actionformer", "train", "--resume"]
            config = f"--config={__file__}:{name}"
            subprocess.run([*command, config, f"--workdir={folder}", *options], check=True)
    print(f"{'variation':<20}{'table':>9}{'0.5':>8}{'0.7':>8}{'average':>9}{'paper':>8}")
    for name in names:
        scores = json.loads((pathlib.Path(workdir) / name / "evaluation.json").read_text())
        row, mean_ap = VARIATIONS[name], scores["mean_ap"]
        at_half, at_seven = (mean_ap[scores["tiou_thresholds"].index(t)] for t in (0.5, 0.7))
        ours = f"{100 * at_half:>8.2f}{100 * at_seven:>8.2f}{100 * scores['average_mean_ap']:>9.2f}"
        print(f"{name:<20}{row.table:>9}{ours}{row.average:>8.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Options of `train` may follow.")
    parser.add_argument("workdir", help="folder, in which each variation has one")
    parser.add_argument("names", nargs="*", metavar="variation", help=", ".join(VARIATIONS))
    known, options = parser.parse_known_intermixed_args()
    unknown = [name for name in known.names if name not in VARIATIONS]
    if unknown:
        parser.error(f"there is no variation {unknown[0]!r}, but {', '.join(VARIATIONS)}")
    main(known.workdir, known.names or VARIATIONS, options)
