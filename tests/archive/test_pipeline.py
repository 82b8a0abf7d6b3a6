"""The pipeline: what a worker cannot do costs the shard, and is told."""

import pytest

from keras_actionformer import UserError
from keras_actionformer.archive.output import OutputFolder, Shard
from keras_actionformer.archive.shards import Job


def no_model():
    raise UserError("There is no such model here.")


@pytest.mark.slow
def test_where_the_model_does_not_open_shards_are_given_up(tmp_path, caplog):
    shared = pytest.importorskip("apache_beam.utils.shared")
    from keras_actionformer.archive.pipeline import pipeline_of, run_pipeline

    job = Job(no_model, OutputFolder(str(tmp_path), "jsonl"))
    pipeline = pipeline_of(["--runner=DirectRunner"])
    run_pipeline(job, [Shard(number, 0, 1, 0) for number in range(2)], pipeline, shared.Shared())
    for number in range(2):
        assert (
            f"Shard {number} is given up: UserError('There is no such model here.')" in caplog.text
        )
