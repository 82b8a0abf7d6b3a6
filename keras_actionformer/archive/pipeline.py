"""The shards of an archive, done by Apache Beam on whatever machines its runner has.

This module imports Beam: it is imported where a pipeline is run, and by the workers.
"""

import apache_beam as beam
from absl import logging
from apache_beam.options.pipeline_options import PipelineOptions

from keras_actionformer.archive.shards import ShardDetector


class DetectShards(beam.DoFn):
    """Does shards by the one `ShardDetector` of a process.

    Args:
      job: `Job`.
      shared: Beam's handle of what a process has once.
    """

    def __init__(self, job, shared):
        self._job, self._shared, self._detector = job, shared, None

    def setup(self):
        self._detector = detector_of(self._job, self._shared)

    def process(self, shard):
        self._detector.do(shard)
        yield shard.number


def detector_of(job, shared):
    """The `ShardDetector` of this process, made where there is none yet."""
    return shared.acquire(lambda: ShardDetector(job))


def run_pipeline(job, shards, options, shared):
    """Does shards, and returns when all are done or given up.

    A shard that raises (a full disk, say) is given up and told by Beam's log; the others go on.

    Args:
      job: `Job`.
      shards: list of `Shard`.
      options: list of str, Beam's own, such as `--runner=FlinkRunner`.
      shared: Beam's handle, which the caller may have acquired the detector by.
    """
    with beam.Pipeline(options=PipelineOptions(options)) as pipeline:
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
