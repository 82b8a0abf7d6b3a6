"""What the rows of a run's log say: which epoch was the best, and whether the training is over.

Nothing else is kept of either, so that a resumed run cannot remember them otherwise.
"""

import dataclasses

# Whose validation mAP, or loss, a column of the log has.
MEAN_AP_OF = {"average": "val_mAP", "last": "val_mAP_last"}
LOSS_OF = {"average": "val_loss_average", "last": "val_loss"}


@dataclasses.dataclass(frozen=True)
class Best:
    """The best of a run's validations.

    Attributes:
      score: float, by what it is the best: mAP in 0..1, on average over the tIoU thresholds, or the
        loss.
      epoch: int, the first is 1.
      weights: str, `"average"` or `"last"`: which of that epoch's.
    """

    score: float
    epoch: int
    weights: str


def num_epochs(train):
    """Epochs of a training, warm-up included.

    Args:
      train: section `train` of a configuration.
    """
    in_schedule = train.warmup_epochs + train.epochs
    return min(train.stop_after or in_schedule, in_schedule)


def check_rows(rows):
    """Returns the rows of a log that a file has, or raises ValueError."""
    numbered = enumerate(rows, start=1) if isinstance(rows, list) and rows else [(1, None)]
    for epoch, row in numbered:
        if not isinstance(row, dict) or row.get("epoch") != epoch:
            raise ValueError(f"its log has no row of epoch {epoch}")
        for name, value in row.items():
            if not isinstance(value, int | float) or isinstance(value, bool):
                raise ValueError(f"its log has something else than a number as {name[:80]!r}")
    return rows


def best_of(rows, best_by="mAP"):
    """The `Best` of a log, the first of equal ones; None where nothing was validated.

    Args:
      rows: list of dicts, one an epoch, from the first.
      best_by: `"mAP"`, the highest, or `"loss"`, the lowest.
    """
    columns, first = (LOSS_OF, min) if best_by == "loss" else (MEAN_AP_OF, max)
    found = [
        Best(row[column], row["epoch"], weights)
        for row in rows
        for weights, column in columns.items()
        if column in row
    ]
    return first(found, key=lambda best: best.score, default=None)


def is_over(rows, train):
    """Whether a training has had all its epochs, or none was better for `train.patience`.

    Patience begins with the end of the warm-up: until then there may be nothing to score.

    Args:
      rows: as for `best_of`.
      train: as for `num_epochs`.
    """
    if len(rows) >= num_epochs(train):
        return True
    best = best_of(rows, train.best_by)
    if not train.patience or best is None or MEAN_AP_OF["average"] not in rows[-1]:
        return False
    return len(rows) - max(best.epoch, train.warmup_epochs) >= train.patience
