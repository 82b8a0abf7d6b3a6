"""Features of many videos, several at once, written so that a stopped call can be made again."""

import concurrent.futures
import contextlib
import dataclasses
import os
import pathlib
import threading
import time
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from keras_actionformer.containers.numpy_files import write_npy_rows
from keras_actionformer.data.arrays import in_dtype
from keras_actionformer.data.sidecars import read_sidecar, sidecar_path
from keras_actionformer.errors import UserError
from keras_actionformer.files import atomic_path, path_inside
from keras_actionformer.video.encoder import Encoder, Sampling
from keras_actionformer.video.extraction import check_sampling, extract_steps, sidecar_of
from keras_actionformer.video.reading import probe, sample_frames

OWN_SAMPLING = Sampling()  # the encoder's
_EVERY_SEC = 0.2  # from one look at what is done to the next


@dataclasses.dataclass(frozen=True)
class Extracted:
    """What became of the videos.

    Args:
      shapes: dict of video id to (T, C), of those whose features were computed.
      skipped: list of video ids whose features were there already.
      failed: dict of video id to `UserError`.
    """

    shapes: dict[str, tuple[int, int]]
    skipped: list[str]
    failed: dict[str, UserError]


def extract_videos(
    videos: Mapping[str, str | os.PathLike[str]],
    encoder: Encoder,
    output_dir: str | os.PathLike[str],
    sampling: Sampling = OWN_SAMPLING,
    workers: int = 1,
    progress: Callable[[float, float, float | None], None] | None = None,
    tell: Callable[[str, tuple[int, int] | UserError], None] | None = None,
    warn: Callable[[int, float], None] | None = None,
    feats_dtype: Literal["float32", "float16"] = "float32",
) -> Extracted:
    """Writes `ID.npy` and `ID.json` of each video; those that are there already stay.

    A video that cannot be read costs its own features and no others. A process that is killed
    leaves whole files alone.

    Args:
      videos: dict of video id to path.
      encoder: `Encoder`, see `open_encoder`.
      output_dir: str or `os.PathLike`, a folder, created when missing.
      sampling: `Sampling`; what is None in it is the encoder's.
      workers: int, videos to work on at once.
      progress: function of (seconds of video that are done, their number, seconds that the rest
        will take or None), called several times a second, or None.
      tell: function of (video id, (T, C) or `UserError`), called when a video is done, or None.
      warn: function of (frames, seconds that they will take beside the network), called before the
        work begins where an encoder takes long for that; or None.
      feats_dtype: str, `"float32"`, or `"float16"`, which takes half of the disk.

    Returns:
      `Extracted`.

    Raises:
      UserError: a setting does not fit, `output_dir` is a file, or features of other settings are
        in it.
    """
    sampling = check_sampling(encoder, sampling)
    tell = tell or (lambda video_id, result: None)
    output_dir = pathlib.Path(output_dir)
    if output_dir.is_file():
        raise UserError(f"'{output_dir}' is a file, but features are a folder's: name one.")
    result, sidecars, conflicts = Extracted({}, [], {}), {}, []
    for video_id, path in videos.items():
        feats_path = path_inside(output_dir, f"{video_id}.npy")
        try:
            sidecar = sidecar_of(probe(path), encoder, sampling)
        except UserError as error:
            result.failed[video_id] = error
            tell(video_id, error)
            continue
        if not feats_path.exists():
            sidecars[video_id] = sidecar
        elif read_sidecar(feats_path) == sidecar:
            result.skipped.append(video_id)
        else:
            conflicts.append(feats_path)
    if conflicts:
        raise UserError(
            f"'{conflicts[0]}' is there already, but not of this video and these settings (its "
            f"'{sidecar_path(conflicts[0]).name}' tells which, if there is one): remove it, or "
            "choose another folder."
        )
    if warn is not None and getattr(encoder, "seconds_a_frame", None) is not None:
        _foresee(videos, encoder, sidecars, warn)
    work = _Work(videos, encoder, sidecars, output_dir, feats_dtype, result, progress, tell)
    work.run(workers)
    return result


def _foresee(videos, encoder, sidecars, warn):
    """Tells how long the work ahead will take, measured on the first video that can be read."""
    num_frames = sum(sidecar.num_frames for sidecar in sidecars.values())
    for video_id, sidecar in sidecars.items():
        frames = sample_frames(videos[video_id], sidecar.fps, sidecar.duration_sec, encoder.framing)
        with contextlib.suppress(UserError), contextlib.closing(frames):
            warn(num_frames, num_frames * encoder.seconds_a_frame(frames))
            return


class _Work:
    """The videos that are left to do."""

    def __init__(self, videos, encoder, sidecars, output_dir, feats_dtype, result, progress, tell):
        self._videos, self._encoder, self._sidecars = videos, encoder, sidecars
        self._output_dir, self._feats_dtype, self._result = output_dir, feats_dtype, result
        self._progress, self._tell = progress, tell
        self._done_sec = dict.fromkeys(sidecars, 0.0)
        self._is_stopped = threading.Event()

    def run(self, workers):
        start_sec = time.monotonic()
        executor = concurrent.futures.ThreadPoolExecutor(workers)
        futures = {executor.submit(self._one, video_id): video_id for video_id in self._sidecars}
        left = set(futures)
        try:
            while left:
                self._show(time.monotonic() - start_sec)
                done, left = concurrent.futures.wait(
                    left, _EVERY_SEC, concurrent.futures.FIRST_COMPLETED
                )
                for future in sorted(done, key=list(futures).index):
                    self._note(futures[future], future)
        finally:  # also where the user has stopped it, or the disk is full
            self._is_stopped.set()
            executor.shutdown(cancel_futures=True)

    def _one(self, video_id):
        """Runs in a thread: decoding and encoding leave Python to the others."""
        sidecar, path = self._sidecars[video_id], self._videos[video_id]
        steps = extract_steps(path, self._encoder, sidecar, lambda sec: self._reach(video_id, sec))
        feats_path = path_inside(self._output_dir, f"{video_id}.npy")
        with atomic_path(feats_path) as temporary:
            where = f"A feature of '{path}'"
            rows = (in_dtype(part, self._feats_dtype, where) for part in steps)
            shape = write_npy_rows(temporary, rows)
            # First: features that have no word of their timing could be used with another one.
            sidecar.save(feats_path)
        if read_sidecar(feats_path) != sidecar:
            feats_path.unlink(missing_ok=True)  # whoever has lost them is to know
            raise UserError(
                f"'{feats_path}' was written by another program at the same time, with other "
                "settings, and is removed: extract to another folder."
            )
        return shape

    def _reach(self, video_id, done_sec):
        if self._is_stopped.is_set():
            raise concurrent.futures.CancelledError
        self._done_sec[video_id] = done_sec

    def _note(self, video_id, future):
        try:
            shape = self._result.shapes[video_id] = future.result()
            self._tell(video_id, shape)
        except UserError as error:
            self._result.failed[video_id] = error
            self._tell(video_id, error)
        self._done_sec[video_id] = self._sidecars[video_id].duration_sec

    def _show(self, spent_sec):
        if self._progress is None:
            return
        total_sec = sum(sidecar.duration_sec for sidecar in self._sidecars.values())
        done_sec = float(np.sum(list(self._done_sec.values())))
        left_sec = spent_sec * (total_sec / done_sec - 1) if done_sec else None
        self._progress(done_sec, total_sec, left_sec)
