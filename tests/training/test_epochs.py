"""What the rows of a log say, on rows written by hand."""

import ml_collections
import pytest

from keras_actionformer.training.epochs import Best, best_of, is_over, num_epochs


def rows_of(*scores):
    """Rows with these pairs of validation mAPs (average, last); None: no validation."""
    rows = [{"epoch": epoch} for epoch in range(1, len(scores) + 1)]
    for row, pair in zip(rows, scores, strict=True):
        if pair is not None:
            row["val_mAP"], row["val_mAP_last"] = pair
    return rows


def settings(**changes):
    return ml_collections.ConfigDict(
        dict(warmup_epochs=0, epochs=10, stop_after=0, patience=0, best_by="mAP") | changes
    )


@pytest.mark.parametrize(
    "scores, best",
    [
        ([], None),
        ([None, None], None),
        ([(0.2, 0.1), None, (0.3, 0.1)], Best(0.3, 3, "average")),
        ([(0.0, 0.4), (0.3, 0.2)], Best(0.4, 1, "last")),
        ([(0.5, 0.5), (0.5, 0.5)], Best(0.5, 1, "average")),  # the first of equal ones
        ([(0.0, 0.0)], Best(0.0, 1, "average")),  # as good as any
    ],
)
def test_the_best_epoch(scores, best):
    assert best_of(rows_of(*scores)) == best


def test_the_best_epoch_by_the_loss_is_that_of_the_lowest():
    rows = rows_of((0.9, 0.9), (0.1, 0.1), (0.2, 0.2))
    for row, average, last in zip(rows, (0.7, 0.5, 0.4), (0.6, 0.3, 0.8), strict=True):
        row["val_loss_average"], row["val_loss"] = average, last
    assert best_of(rows, "loss") == Best(0.3, 2, "last")
    assert is_over(rows, settings(best_by="loss", patience=1))
    # That of the averaged weights is computed for this alone.
    assert best_of([{"epoch": 1, "val_loss": 0.5}], "loss") == Best(0.5, 1, "last")


def test_a_schedule_may_end_before_its_last_epoch():
    assert num_epochs(settings(warmup_epochs=5)) == 15
    assert num_epochs(settings(warmup_epochs=5, stop_after=10)) == 10
    assert num_epochs(settings(stop_after=20)) == 10  # which then ends by itself
    rows = rows_of(*[None] * 10)
    assert is_over(rows, settings(warmup_epochs=5, stop_after=10))
    assert not is_over(rows, settings(warmup_epochs=5))


@pytest.mark.parametrize(
    "scores, changes, ends",
    [
        ([(0.5, 0), (0.4, 0), (0.4, 0)], dict(patience=2), [False, False, True]),
        # A better one, of either weights, begins the waiting anew.
        ([(0.5, 0), (0.4, 0.6), (0.4, 0), (0.5, 0)], dict(patience=2), [False] * 3 + [True]),
        # Equal is not better.
        ([(0.5, 0), (0.5, 0.5)], dict(patience=1), [False, True]),
        # Epochs are counted, validated or not, but an end comes with a validation.
        ([(0.5, 0), None, None, (0.4, 0)], dict(patience=2), [False, False, False, True]),
        # From the end of the warm-up on.
        ([(0.5, 0)] + [(0, 0)] * 3, dict(patience=2, warmup_epochs=2), [False] * 3 + [True]),
        ([(0.5, 0)] + [(0, 0)] * 3, dict(), [False] * 4),
    ],
)  # fmt: skip
def test_patience(scores, changes, ends):
    rows, train = rows_of(*scores), settings(**changes)
    assert [is_over(rows[: i + 1], train) for i in range(len(rows))] == ends
