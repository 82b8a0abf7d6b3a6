"""The shards of an archive, done by Apache Beam on whatever machines its runner has.

This module imports Beam: it is imported where a pipeline is run, and by the workers.
"""

import contextlib
import io

import apache_beam as beam
from absl import logging
from apache_beam.options.pipeline_options import PipelineOptions

from keras_actionformer.archive.shards import ShardDetector
from keras_actionformer.errors import UserError


class DetectShards(beam.DoFn):
    """Does shards by the one `ShardDetector` of a process.

    Args:
      job: `Job`.
      shared: Beam's handle of what a process has once.
    """

    def __init__(self, job, shared):
        self._job, self._shared, self._detector = job, shared, None

    def process(self, shard):
        if self._detector is None:  # not in `setup`, whose errors would end the whole job
            self._detector = detector_of(self._job, self._shared)
        self._detector.do(shard)
        yield shard.number


def detector_of(job, shared):
    """The `ShardDetector` of this process, made where there is none yet."""
    return shared.acquire(lambda: ShardDetector(job))


def pipeline_of(options):
    """Makes a pipeline of Beam that has nothing to do yet.

    Args:
      options: list of str, Beam's own, such as `--runner=FlinkRunner`.

    Raises:
      UserError: Beam does not take them.
    """
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):  # the usage of Beam's whole options
            parsed = PipelineOptions(options)
            parsed.get_all_options()  # or they would be looked at when the pipeline runs
            return beam.Pipeline(options=parsed)
    except (Exception, SystemExit) as error:
        lines = told.getvalue().split("error: ") if isinstance(error, SystemExit) else [str(error)]
        raise UserError(
            f"Beam does not take the options {' '.join(options)}: {' '.join(lines[-1].split())}"
        ) from None


def run_pipeline(job, shards, pipeline, shared):
    """Does shards, and returns when all are done or given up.

    A shard that raises (a full disk, say) is given up and told by Beam's log; the others go on.

    Args:
      job: `Job`.
      shards: list of `Shard`.
      pipeline: of `pipeline_of`.
      shared: Beam's handle, which the caller may have acquired the detector by.
    """
    with pipeline:
        _, failed = (
            pipeline
            | "shards" >> beam.Create(shards)
            | "spread" >> beam.Reshuffle()
            | "detect" >> beam.ParDo(DetectShards(job, shared)).with_exception_handling()
        )
        _ = failed | "tell" >> beam.Map(_tell)


def _tell(failed):
    shard, (_, reason, _) = failed
    logging.error("Shard %d is given up: %s", shard.number, reason)
