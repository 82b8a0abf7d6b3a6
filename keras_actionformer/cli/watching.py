"""`detect --watch`: detections in a video that goes on, each written when it is settled."""

import contextlib
import json
import math
import pathlib

from keras_actionformer.cli.stopping import Stopped, StopSignals
from keras_actionformer.data.grid import FeatureGrid
from keras_actionformer.detection.live import LiveDetector
from keras_actionformer.errors import counted
from keras_actionformer.terminal import RunningLine, clock
from keras_actionformer.video.extraction import encode_steps
from keras_actionformer.video.live import open_live
from keras_actionformer.video.reading import sample_live


def watch(source, model, encoder, sampling, times, threshold, output):
    """Detects in a video that goes on, until it ends or Ctrl-C.

    Args:
      source: str, see `open_live`.
      model: `ActionFormer`.
      encoder, sampling: what `encoder_of` returned.
      times: dict with `longest_sec`, `delay_sec` (floats or None), `every_sec` and `quiet_sec`.
      threshold: see `Detections.filter`.
      output: str, a file of JSON lines, or None.

    Raises:
      UserError: the source cannot be read, or the model is none for it.
    """
    with contextlib.ExitStack() as stack:
        raise_if_stopped = stack.enter_context(_deferred())
        opened = open_live(source, times["quiet_sec"], lambda: _is_stopped(raise_if_stopped))
        container, stream = stack.enter_context(opened)
        fps = sampling.fps or float(stream.average_rate or stream.guessed_rate)
        grid = FeatureGrid(fps, sampling.stride_frames, sampling.window_frames)
        detector = LiveDetector(
            model,
            grid,
            *(
                value and max(math.ceil(value / grid.step_sec), 1)
                for value in (times["longest_sec"], times["delay_sec"])
            ),
            threshold,
        )
        every = max(round(times["every_sec"] / grid.step_sec), 1)
        delay_sec = (detector.delay + every) * grid.step_sec + grid.window_frames / fps
        print(
            f"What has ended is told {delay_sec:.1f} s later, actions being "
            f"{detector.longest * grid.step_sec:.1f} s long at most. Ctrl-C ends.",
            flush=True,
        )
        file = stack.enter_context(open(output, "w", encoding="utf-8")) if output else None
        frames = sample_live(container, stream, source, fps, encoder.framing)
        frames_seen = _Counted(frames)
        steps = encode_steps(
            frames_seen, encoder, sampling.window_frames, sampling.stride_frames, every
        )
        writer, waiting = _Writer(pathlib.PurePath(source).stem or source, file), []
        for rows in steps:
            waiting += list(rows)
            if len(waiting) >= every:
                writer.write(detector.add(waiting))
                waiting = []
                writer.show(frames_seen.count / fps)
            if _is_stopped(raise_if_stopped):
                break
        if waiting:
            writer.write(detector.add(waiting))
        writer.write(detector.finish(frames_seen.count / fps))
        writer.end(output)


class _Counted:
    """An iterator that knows how much it has given."""

    def __init__(self, items):
        self._items, self.count = items, 0

    def __iter__(self):
        return self

    def __next__(self):
        item = next(self._items)
        self.count += 1
        return item


class _Writer:
    """Writes detections as lines, for people and, in a file, for programs."""

    def __init__(self, name, file):
        self._name, self._file, self._line, self._count = name, file, RunningLine(), 0

    def write(self, detections):
        self._line.clear()
        for row in detections.to_dicts():
            start, end = row["segment"]
            print(f"{start:10.2f} {end:10.2f}  {row['score']:.4f}  {row['label']}", flush=True)
            if self._file is not None:
                print(
                    json.dumps({"video": self._name, **row}, ensure_ascii=False),
                    file=self._file,
                    flush=True,
                )
        self._count += len(detections)

    def show(self, seen_sec):
        self._line.show(f"{clock(seen_sec)} watched")

    def end(self, output):
        self._line.clear()
        print(f"{counted(self._count, 'detection')}.{f' Wrote {output}.' if output else ''}")


@contextlib.contextmanager
def _deferred():
    """Yields what raises `Stopped` after Ctrl-C; leaving does not raise it: that is the way out."""
    with StopSignals() as signals, contextlib.suppress(Stopped), signals.deferred() as raise_if_any:
        yield raise_if_any


def _is_stopped(raise_if_any):
    try:
        raise_if_any()
    except Stopped:
        return True
    return False
