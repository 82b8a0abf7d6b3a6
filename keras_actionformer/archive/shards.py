"""One shard of an archive: its files read, detected in batches of like length, and written."""

import contextlib
import dataclasses
import pathlib
import tempfile
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_actionformer import remote
from keras_actionformer.archive.output import Outcome, OutputFolder
from keras_actionformer.data.features import FeatureFiles, features_of_file
from keras_actionformer.data.sidecars import check_as_trained
from keras_actionformer.errors import UserError
from keras_actionformer.files import reason_of
from keras_actionformer.video.feature_folder import extract_videos
from keras_actionformer.video.model_encoder import encoder_of

_HELD_BYTES = 2**28  # of features that are in memory before they are detected in
_ALWAYS_TRACED = 2**31  # batches: what an untraced one computes differs in the last digits


@dataclasses.dataclass(frozen=True)
class Job:
    """What is to be done with every file; it can be sent to other machines.

    Args:
      open_model: function without arguments that returns a `DetectingModel`.
      output: `OutputFolder`.
      fps: float, frames a second of every video whose table or features say none; or None.
      encoder: str, for videos: see `encoder_of`; or None.
      any_encoder: bool, whether features of another encoder than the model's are taken.
      are_videos: bool, whether the files are videos, or else features.
      batch_size: int, as for `ActionFormer.detect`.
      score_threshold: float, drops detections below; or None.
      top_k: int, keeps the best of each file; or None.
    """

    open_model: Callable[[], Any]
    output: OutputFolder
    fps: float | None = None
    encoder: str | None = None
    any_encoder: bool = False
    are_videos: bool = False
    batch_size: int = 8
    score_threshold: float | None = None
    top_k: int | None = None


@dataclasses.dataclass(frozen=True)
class _Opened:
    """A file that is ready to be detected in."""

    input: Any
    feats: Any
    fps: float | None
    duration_sec: float | None


class ShardDetector:
    """Does the shards of a job, one at a time; a process has one, as it holds the model.

    Args:
      job: `Job`.

    Raises:
      UserError: the model or the encoder cannot be opened, or do not fit each other.
    """

    def __init__(self, job):
        self._job, self._lock = job, threading.Lock()
        self.model = job.open_model()
        if self.model.num_streams > 1:
            raise UserError(
                f"The model takes features of {self.model.num_streams} streams: join the streams "
                "of each video on the channels, in one file, or use detect."
            )
        self._encoder = None
        if job.are_videos:
            self._encoder = encoder_of(self.model, job.encoder, job.any_encoder)
        self.model.network.detector().expect(_ALWAYS_TRACED)

    def do(self, shard):
        """Detects in the files of a `Shard` and writes the result; returns its `Outcome`s."""
        with self._lock:
            inputs = self._job.output.inputs(shard)
            found, failed, steps = {}, {}, {}
            for handful in self._handfuls(inputs, failed):
                steps |= {item.input.video: len(item.feats) for item in handful}
                self._detect(handful, found, failed)
            found = {item.video: found[item.video] for item in inputs if item.video in found}
            outcomes = [
                Outcome(
                    item.video,
                    item.path,
                    steps.get(item.video),
                    len(found[item.video]) if item.video in found else None,
                    failed.get(item.video, ""),
                )
                for item in inputs
            ]
            self._job.output.write_shard(shard, found, outcomes)
            return outcomes

    def _handfuls(self, inputs, failed):
        """Yields lists of `_Opened` that memory holds; why others failed goes into `failed`."""
        with contextlib.ExitStack() as stack:
            folder, handful, held = stack.enter_context(_temporary()), [], 0
            for number, item in enumerate(inputs):
                try:
                    handful.append(self._open(item, folder / f"{number}"))
                except Exception as error:  # of many libraries: a file costs itself
                    failed[item.video] = _told(error)
                    continue
                feats = handful[-1].feats
                held += feats.nbytes if type(feats) is np.ndarray else 0  # else it is on a disk
                if held > _HELD_BYTES:
                    yield handful
                    handful, held = [], 0
            yield handful

    def _open(self, item, folder):
        """The `_Opened` of an `Input`; `folder` is for the features of a video."""
        if self._encoder is not None:
            features, name = self._extracted(item, folder), "feats"
        else:
            features, name = features_of_file(item.path, self.model.channels)
        feats = features.open(name)
        if not features.is_remote:  # which is looked through when it is read
            features.check(name)  # before it spoils a batch
        fps, duration_sec = self._times(item, features, name)
        rate = self.model.data["downsample_rate"]
        return _Opened(item, feats[::rate] if rate > 1 else feats, fps, duration_sec)

    def _extracted(self, item, folder):
        encoder, sampling = self._encoder
        is_remote = remote.is_address(item.path)
        here = remote.local_copy(item.path) if is_remote else contextlib.nullcontext(item.path)
        with here as path:
            done = extract_videos({"feats": path}, encoder, folder, sampling)
            for error in done.failed.values():
                raise error
        return FeatureFiles(folder, self.model.channels)

    def _times(self, item, features, name):
        """Frames a second and seconds of a file; or None, where only the model tells."""
        fps, duration_sec = item.fps or self._job.fps, item.duration_sec
        sidecar = features.sidecar(name)
        if sidecar is not None:
            where = features.describe(name)
            source = "the table's" if item.fps else "--fps"
            sidecar.check(where, fps, source=source, fix="leave it out or correct it")
            encoder = None if self._job.any_encoder else self.model.encoder
            rate = self.model.data["downsample_rate"]
            check_as_trained([(where, sidecar)], self.model.grid, encoder, rate)
            fps, duration_sec = sidecar.fps, duration_sec or sidecar.duration_sec
        if self.model.needs_duration and not duration_sec:
            raise UserError(
                "The model has no timing of its own, and a video's duration must be shared out "
                "over its features: name the files in a table with a column `duration`."
            )
        return fps, duration_sec

    def _detect(self, handful, found, failed):
        """Adds the detections of a handful to `found`, one file by one where not all go well."""
        try:
            results = self._run(handful)
        except Exception as error:
            if len(handful) == 1:
                failed[handful[0].input.video] = _told(error)
                return
            for item in handful:
                self._detect([item], found, failed)
            return
        for item, detections in zip(handful, results, strict=True):
            detections = detections.filter(min_score=self._job.score_threshold)
            if self._job.top_k is not None:
                detections = detections.top_k(self._job.top_k)
            found[item.input.video] = detections

    def _run(self, handful):
        return self.model.detect_many(
            [item.input.video for item in handful],
            [item.feats for item in handful],
            [item.fps for item in handful],
            [item.duration_sec for item in handful],
            self._job.batch_size,
        )


@contextlib.contextmanager
def _temporary():
    with tempfile.TemporaryDirectory(prefix="keras_actionformer_") as folder:
        yield pathlib.Path(folder)


def _told(error):
    """Why a file failed, in one line."""
    text = (
        str(error)
        if isinstance(error, UserError)
        else f"{type(error).__name__}: {reason_of(error)}"
    )
    return " ".join(text.split())
