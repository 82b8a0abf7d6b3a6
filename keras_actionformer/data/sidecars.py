"""What features say of themselves: `NAME.json` beside `NAME.npy`, with their timing.

Whoever extracts features knows how they lie in time; told here, nobody has to type it again, and
what contradicts it is an error. Features without such a file are used as settings say.
"""

import dataclasses
import os
import pathlib
from typing import Any

from absl import logging

from keras_actionformer.checks import check_keywords, number, positive_whole, shown
from keras_actionformer.data.encoder_records import (
    ANY_ENCODER,
    OF_MODEL,
    check_record,
    check_same_encoder,
)
from keras_actionformer.data.grid import FeatureGrid
from keras_actionformer.errors import UserError, said_of
from keras_actionformer.files import read_json, told_if_unreadable, write_json
from keras_actionformer.remote import exists, is_address

_FORMAT = "keras_actionformer features"  # tells them from other JSON files beside features
_VERSION = 1
_KIND = "Description of features"
# Rates that differ by no more are one that was typed with fewer digits: 29.97 for 30000/1001.
_SAME_RATE = 1e-4
_NEAR_RATE = 0.1  # of one that differs by more, what a model was trained on looks slow or fast


@dataclasses.dataclass(frozen=True)
class Sidecar:
    """What is known of the features of one video.

    Args:
      fps: float, frames a second, of which strides and windows are counted.
      stride_frames, window_frames: floats, see `FeatureGrid`.
      duration_sec: float, of the video.
      num_frames: int, frames that were looked at, at `fps`.
      encoder: dict of what JSON can hold: what computed the features, see encoder_records.py.
      video: dict likewise: which file they are of.

    Raises:
      UserError: a value is not of its kind or out of its range.
    """

    fps: float
    stride_frames: float
    window_frames: float
    duration_sec: float
    num_frames: int
    encoder: dict[str, Any] = dataclasses.field(default_factory=dict)
    video: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        number("fps", self.fps)  # no text such as "30000/1001"
        FeatureGrid(self.fps, self.stride_frames, self.window_frames)
        if number("duration_sec", self.duration_sec) <= 0:
            raise UserError(f"duration_sec must be above 0, but it is {self.duration_sec}.")
        positive_whole("num_frames", self.num_frames)
        if isinstance(self.encoder, dict):
            check_record(self.encoder)
        for name in ("encoder", "video"):
            if not isinstance(getattr(self, name), dict):
                raise UserError(
                    f"{name} must be an object, but it is {shown(getattr(self, name))}."
                )

    @property
    def grid(self) -> FeatureGrid:
        """The timing of the steps of the features."""
        return FeatureGrid(self.fps, self.stride_frames, self.window_frames)

    def save(self, feats_path):
        """Writes it beside a feature file."""
        content = {"format": _FORMAT, "version": _VERSION, **dataclasses.asdict(self)}
        write_json(sidecar_path(feats_path), content)

    def check(self, where, fps=None, stride_frames=None, window_frames=None, source="", fix=""):
        """Raises UserError where what somebody else says of the features is something else.

        Args:
          where: str, what to call the features, see `FeatureFiles.describe`.
          fps, stride_frames, window_frames: floats that are said, or None.
          source: str, who says so, e.g. `"--fps"`, with {name} for the name of the value.
          fix: str, what to do about it.
        """
        said = {"fps": fps, "stride_frames": stride_frames, "window_frames": window_frames}
        for name, value in said.items():
            own = getattr(self, name)
            if value is not None and abs(value - own) > _SAME_RATE * own:
                raise UserError(
                    f"{where} has {name}={own:g}, as the .json file beside it says, but "
                    f"{source.format(name=name)} is {value:g}; {fix}."
                )


def sidecar_path(feats_path):
    """Where the `Sidecar` of a feature file lies: a path, or an address as a str."""
    if is_address(feats_path):
        return f"{feats_path.rpartition('.')[0]}.json"
    return pathlib.Path(feats_path).with_suffix(".json")


def read_sidecar(feats_path):
    """Reads what lies beside a feature file.

    Returns:
      `Sidecar`, or None where there is none (a JSON file of somebody else is none).

    Raises:
      UserError: it is damaged, or of a later version.
    """
    path = sidecar_path(feats_path)
    with told_if_unreadable(f"{_KIND} '{path}' cannot be looked for"):
        is_there = exists(path) if is_address(path) else os.path.isfile(path)
    if not is_there:
        return None
    content = read_json(path, _KIND)
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        return None
    if content.get("version") != _VERSION:
        raise UserError(
            f"{_KIND} '{path}' is of version {shown(content.get('version'))}, but version "
            f"{_VERSION} is read here: install a newer keras_actionformer."
        )
    fields = {key: value for key, value in content.items() if key not in ("format", "version")}
    check_keywords(Sidecar, fields, f"{_KIND} '{path}'")
    try:
        with said_of(f"{_KIND} '{path}'"):
            return Sidecar(**fields)
    except TypeError as error:  # a field lacks
        raise UserError(f"{_KIND} '{path}' is damaged: {error}; extract it again.") from None


def check_as_trained(told, grid, encoder, downsample_rate=1):
    """Checks that features are such as a model was trained on.

    Another frame rate is allowed, since seconds are right with it: if it is far from the model's, a
    warning tells.

    Args:
      told: list of (str, what to call the features; their `Sidecar`).
      grid: `FeatureGrid` of the model, or None where it has none.
      encoder: dict, the record of the model's; None: it may be any.
      downsample_rate: int, of the steps in a file the model gets every so many-th.

    Raises:
      UserError: their stride, their window or their encoder is another one.
    """
    far = []
    for where, sidecar in told:
        check_same_encoder(where, sidecar.encoder, encoder, OF_MODEL, ANY_ENCODER)
        if grid is None:
            continue
        sidecar.check(
            where,
            stride_frames=grid.stride_frames / downsample_rate,
            window_frames=grid.window_frames,
            source=OF_MODEL,
            fix="extract features as those were",
        )
        if grid.fps is not None and abs(sidecar.fps / grid.fps - 1) > _NEAR_RATE:
            far.append((where, sidecar.fps))
    if far:
        (where, fps), *others = far
        logging.warning(
            "%s has %g frames a second, but the model was trained on %g: actions look slower or "
            "faster to it. extract --fps=%g makes features as those were.%s",
            where,
            fps,
            grid.fps,
            grid.fps,
            f" (So it is with {len(others)} more.)" if others else "",
        )


def with_own_timing(videos, features, timing, source):
    """Gives videos the frame rate and the duration that their features tell.

    The frame rate of a video's annotations is that of the video; features may have been extracted
    at another. A duration in the annotations stays.

    Args:
      videos: sequence of `Video`.
      features: `FeatureFiles`.
      timing: `Timing`, which must not contradict them.
      source: str, what says the timing, as for `Sidecar.check`.

    Returns:
      tuple of `Video`.

    Raises:
      UserError: the features of a video and `timing` contradict each other; both values are named.
    """
    found = []
    for video in videos:
        sidecar = features.sidecar(video.video_id)
        if sidecar is not None:
            spread = timing.stride_frames is None
            sidecar.check(
                features.describe(video.video_id),
                timing.fps,
                timing.stride_frames,
                None if spread else timing.window_frames,
                source,
                "correct it or leave it out",
            )
            duration_sec = video.duration_sec or sidecar.duration_sec
            video = dataclasses.replace(video, fps=sidecar.fps, duration_sec=duration_sec)
        found.append(video)
    return tuple(found)
