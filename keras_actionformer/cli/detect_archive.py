"""Detects actions in very many files, on one machine or on a cluster, by Apache Beam.

  detect-archive --preset=presets/thumos14 --feats=archive --output=found
  detect-archive --workdir=runs/mice --videos='films/2026/**/*.mp4' --output=found
  detect-archive --workdir=s3://bucket/run --feats=s3://bucket/feats --output=s3://bucket/found
  detect-archive --preset=thumos14 --feats=list.csv --fps=25 --format=parquet --output=found
  detect-archive --preset=thumos14 --feats=archive --output=found -- --direct_num_workers=2 \\
      --direct_running_mode=multi_processing

It needs the extra `beam`, and `remote` for addresses such as s3://. --feats and --videos name
files, folders with all below them, patterns, and tables with a column `video` of files (and perhaps
`fps` and `duration`); each here or at an address. A video is called by its path below the folder,
or below what of a pattern has no wildcard: 2026/may/cam1. Features of videos are computed by the
encoder of the model, and not kept.

--output gets detections-00000.jsonl and so on, a line a detection and a file for --shard_files
videos, or .parquet with --format; files.csv, a table of all videos with what became of each; and
failed.csv, those that could not be read or detected in, with the reason. Such a file costs itself
alone; the exit status is then 1.

The same command again does what is left, also after the process was killed, and what has come to
the archive since; it ends with the same files as if it had not been stopped. Files that failed are
tried again with --retry_failed. Another model or other options need another --output.

What stands behind -- is Beam's: --runner=FlinkRunner and its address, for example. Without a
runner it runs here, in this process. Each process of a worker opens the model once.
"""

import functools
import hashlib
import json
import logging

from absl import flags

from keras_actionformer.archive.inputs import find_inputs
from keras_actionformer.archive.output import FAILED, FORMATS, TABLE, OutputFolder
from keras_actionformer.cli.detecting_models import local_model
from keras_actionformer.cli.frame_rate import FrameRate
from keras_actionformer.cli.settings import define_settings, given_settings
from keras_actionformer.data.feature_files import ARRAY_SUFFIXES
from keras_actionformer.errors import UserError, counted
from keras_actionformer.extras import import_extra
from keras_actionformer.quiet import without_warnings
from keras_actionformer.video.finding import SUFFIXES

MAX_ARGUMENTS = 1000  # Beam's, behind --

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a training run, or its address.")
_PRESET = flags.DEFINE_string(
    "preset", None, "Instead: a preset (name, folder, address or hf://...), or a checkpoint."
)
_FEATS = flags.DEFINE_list("feats", None, "Feature files: folders, patterns or tables of them.")
_VIDEOS = flags.DEFINE_list("videos", None, "Instead: videos, named likewise.")
_ENCODER = flags.DEFINE_string(
    "encoder", None, "For --videos: what computes features, as extract has it."
)
_FPS = flags.DEFINE(FrameRate(), "fps", None, "Frames a second, where it is not the model's.")
_ANY_ENCODER = flags.DEFINE_bool(
    "any_encoder", False, "Takes features of another encoder than the model was trained on."
)
_SETTINGS = define_settings()
_OUTPUT = flags.DEFINE_string("output", None, "Folder or address for all results.", required=True)
_FORMAT = flags.DEFINE_enum("format", FORMATS[0], FORMATS, "Of the detections.")
_SCORE_THRESHOLD = flags.DEFINE_float(
    "score_threshold", None, "Drops detections with a lower score."
)
_TOP_K = flags.DEFINE_integer(
    "top_k", None, "Keeps so many of the best detections of each file.", lower_bound=1
)
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 8, "Most files that run at once, of like length.", lower_bound=1
)
_TILE_STEPS = flags.DEFINE_integer(
    "tile_steps", None, "Longer features run in tiles of so many steps; 16384 by default."
)
_SHARD_FILES = flags.DEFINE_integer(
    "shard_files", 100, "Files that are done, and written, together.", lower_bound=1
)
_RETRY_FAILED = flags.DEFINE_bool("retry_failed", False, "Tries files again that failed before.")


def main(*beam_options):
    _check_options(beam_options)
    with without_warnings():  # of parts of Beam for Google's cloud that are not installed
        shared = import_extra("apache_beam.utils.shared", "apache-beam", "beam", "detect-archive")
        # Which imports Beam, as the next does Keras.
        from keras_actionformer.archive.pipeline import detector_of, pipeline_of
    logging.getLogger("apache_beam").setLevel(logging.WARNING)
    from keras_actionformer.archive.shards import Job

    output = OutputFolder(_OUTPUT.value.rstrip("/"), _FORMAT.value)
    names = _VIDEOS.value or _FEATS.value
    suffixes = ARRAY_SUFFIXES
    if _VIDEOS.value:
        suffixes = (*SUFFIXES, *map(str.upper, SUFFIXES))  # as cameras write them
    inputs = find_inputs(names, suffixes, print)
    given = given_settings(_SETTINGS)
    job = Job(
        functools.partial(
            local_model, _WORKDIR.value, _PRESET.value, None, given, False, _TILE_STEPS.value
        ),
        output,
        _FPS.value,
        _ENCODER.value,
        _ANY_ENCODER.value,
        bool(_VIDEOS.value),
        _BATCH_SIZE.value,
        _SCORE_THRESHOLD.value,
        _TOP_K.value,
    )
    with without_warnings():
        pipeline = pipeline_of(_runner_options(beam_options))
    handle = shared.Shared()
    detector = detector_of(job, handle)  # what is wrong with the model is told here
    with output.alone():
        return _detect(job, inputs, pipeline, handle, detector)


def _detect(job, inputs, pipeline, handle, detector):
    """Does what is left, and tells of all; returns the exit status."""
    from keras_actionformer.archive.pipeline import run_pipeline

    output = job.output
    output.check_settings(_settings(detector.model.network, job))
    shards = output.plan(inputs, _SHARD_FILES.value, _RETRY_FAILED.value)
    done = output.done()
    left = [shard for shard in shards if shard.number not in done]
    print(
        f"{counted(len(inputs), 'file')} in {counted(len(shards), 'shard')}, of which "
        f"{len(shards) - len(left)} are done.",
        flush=True,
    )
    try:
        if left:
            run_pipeline(job, left, pipeline, handle)
    except KeyboardInterrupt as stop:
        stop.add_note("call the same command again, which does what is left")
        raise
    return _tell(output, shards)


def _check_options(beam_options):
    if bool(_WORKDIR.value) == bool(_PRESET.value):
        raise UserError("Give either --workdir=DIR or --preset=NAME.")
    if bool(_FEATS.value) == bool(_VIDEOS.value):
        raise UserError("Give either --feats=FILES of features, or --videos=FILES.")
    if _ENCODER.value and not _VIDEOS.value:
        raise UserError("--encoder is for --videos: features are there already.")
    if _FPS.value is not None and _VIDEOS.value:
        raise UserError("--fps is for --feats: videos tell their times themselves.")
    wrong = [option for option in beam_options if not option.startswith("--")]
    if wrong:
        raise UserError(f"Behind -- stand Beam's options, --name=value, but one is {wrong[0]!r}.")


def _runner_options(beam_options):
    if any(option.startswith("--runner=") for option in beam_options):
        return [*beam_options]
    # Each process of this machine would tell 20 lines of itself; of two values Beam takes the last.
    return ["--runner=DirectRunner", "--default_sdk_harness_log_level=ERROR", *beam_options]


def _settings(model, job):
    """What the detections depend on besides the files: a dict of what JSON holds."""
    import numpy as np

    arguments = {**model.get_config(), "name": None}  # of which each model of a process has another
    digest = hashlib.sha256(json.dumps(arguments, sort_keys=True).encode())
    for variable in model.network_weights:
        digest.update(np.ascontiguousarray(variable).tobytes())
    return {
        "model": digest.hexdigest(),
        "format": job.output.format,
        "videos": job.are_videos,
        "encoder": job.encoder,
        "fps": job.fps,
        "batch_size": job.batch_size,
        "tile_steps": _TILE_STEPS.value,
        "score_threshold": job.score_threshold,
        "top_k": job.top_k,
    }


def _tell(output, shards):
    """Writes the tables, and prints what has become of the files; returns the exit status."""
    outcomes = output.outcomes()
    output.write_tables(outcomes)
    failed = [row for row in outcomes if row.reason]
    for row in failed[:5]:
        print(f"{row.video}: {row.reason}")
    if len(failed) > 5:
        print(f"... and {len(failed) - 5} more")
    total = sum(row.detections or 0 for row in outcomes)
    place = output.place
    print(
        f"{counted(total, 'detection')} in {counted(len(outcomes) - len(failed), 'file')}, in "
        f"{place}/detections-*.{output.format}; {len(failed)} failed.\n"
        f"Wrote {place}/{TABLE} and {place}/{FAILED}."
    )
    left = len(shards) - len(output.done())
    if left:
        raise UserError(
            f"{counted(left, 'shard')} could not be done, for the reasons above or in the log of "
            "the runner: call the same command again, which does what is left."
        )
    return 1 if failed else 0
