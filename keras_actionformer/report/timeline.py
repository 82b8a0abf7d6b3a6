"""Timelines: what happened in a video and what was detected, a lane a class."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_actionformer.data.annotations import Video
from keras_actionformer.data.rows import free_rows
from keras_actionformer.detection.detections import Detections
from keras_actionformer.detection.raw_outputs import RawOutputs
from keras_actionformer.errors import UserError, counted
from keras_actionformer.report.figures import (
    drawing,
    inches,
    lane_text_size,
    longest_name,
    shortened,
    wrapped,
    written,
)
from keras_actionformer.report.palette import class_colour
from keras_actionformer.report.time_axis import set_time_axis

if TYPE_CHECKING:
    import matplotlib.figure

    from keras_actionformer.detection.thresholds import ScoreThreshold

# More would be a picture of meters.
MAX_LANES = 200
_VIDEO_LANES = 3  # lanes as which the title and the axis of a video count
# Rows of a lane for detections that overlap; what finds no place is told in a note.
_MAX_ROWS = 4
_GAP = 0.5  # rows between two lanes
_THICKNESS = 0.76  # of a bar, in rows
_FAINTEST = 0.2  # how strong the bar of a detection is that scores nothing; seen on dark, too
_LEGEND_SCORES = (0.3, 0.5, 0.7)
_LEGEND_COLOURS = 5
_THINNEST = 1 / 800  # of the whole time: shorter ones would not be seen


def plot_timeline(
    detections: Detections | Mapping[str, Detections],
    ground_truth: Video | Sequence[Video] | None = None,
    path: str | os.PathLike[str] | None = None,
    *,
    raw_outputs: RawOutputs | Mapping[str, RawOutputs] | None = None,
    min_score: ScoreThreshold | None = None,
    all_classes: bool = False,
    width: float = 10.0,
    dark: bool = False,
) -> matplotlib.figure.Figure:
    """Draws what happened in videos, and what was detected: stronger bars are surer.

    A class has a lane in which true actions stand above detections; detections that overlap have
    rows of their own, the surest ones first.

    Example:

    ```python
    plot_timeline(model.detect(feats), video, "timeline.png", min_score=model.thresholds)
    ```

    Args:
      detections: `Detections` of a video, or a dict of video ids to them.
      ground_truth: `Video` whose actions are the truth, or a sequence of them, one for each video
        that has some; None where nobody knows.
      path: str or path of a `.png`, `.svg` or `.pdf` file to write; None writes none.
      raw_outputs: `RawOutputs` of the video, or a dict: each lane then shows the score of its class
        over time.
      min_score: draws no detections below it, see `Detections.filter`.
      all_classes: bool, gives a lane to classes of which there is nothing, too.
      width: float, inches.
      dark: bool, light on dark.

    Returns:
      `matplotlib.figure.Figure`, of more or less height.

    Raises:
      UserError: matplotlib is missing (extra `plot`), the file has another suffix, there is no
        video, or true actions of some are given that have no detections to compare.
    """
    panels = _panels(detections, ground_truth, raw_outputs, min_score, all_classes)
    shown, num_lanes = [], 0
    for panel in panels:
        num_lanes += len(panel.lanes) + _VIDEO_LANES
        if shown and num_lanes > MAX_LANES:
            break
        shown.append(panel)
    layout = _Layout(shown, width, sum(len(panel.lanes) for panel in shown))
    with drawing(width, layout.height, dark) as (figure, theme):
        grid = figure.subplots(
            len(shown), 1, squeeze=False, height_ratios=[panel.rows + 1 for panel in shown]
        )
        for panel, axes in zip(shown, grid[:, 0], strict=True):
            panel.draw(axes, theme, layout)
        if len({panel.unit for panel in shown}) > 1:
            for panel, axes in zip(shown, grid[:, 0], strict=True):
                axes.set_xlabel(panel.unit, fontsize=layout.size)
        notes = [shown[-1].unit]
        notes += [
            f"{counted(count, 'detection')} with lower scores, where {_MAX_ROWS} surer ones overlap"
            f", {'is' if count == 1 else 'are'} not drawn."
            for count in [sum(panel.num_hidden for panel in shown)]
            if count
        ]
        if len(shown) < len(panels):
            notes.append(f"{counted(len(panels) - len(shown), 'more video')} did not fit.")
        notes = [wrapped(note, width - 1, layout.size) for note in notes]
        grid[-1, 0].set_xlabel("\n".join(notes), fontsize=layout.size)
        _draw_legend(figure, shown, theme, layout)
    return written(figure, path)


# === What is drawn ===


@dataclasses.dataclass
class _Lane:
    """What a class has in a video.

    Attributes:
      label: int, class id.
      name: str.
      truth: float (N, 2), seconds.
      truth_rows: list of N ints, counted from the top of the lane.
      found: `Detections` that have a row.
      found_rows: list of int.
      curve: (times (T,), scores (T,)), or None.
    """

    label: int
    name: str
    truth: np.ndarray
    truth_rows: list
    found: Detections
    found_rows: list
    curve: tuple | None

    @property
    def rows(self):
        """int, how many the lane has."""
        return 1 + max([0, *self.truth_rows, *self.found_rows]) + (self.curve is not None)


class _Panel:
    """The lanes of a video.

    Attributes:
      lanes: list of `_Lane`.
      num_hidden: int, detections without a row.
      rows: float, height in rows.
      unit: str, what the axis of time is called, once it is drawn.
    """

    def __init__(self, title, found, video, raw, all_classes, with_truth):
        self._title = title
        self.unit = ""
        self.num_hidden = 0
        truth, true_labels = np.zeros((0, 2)), np.zeros(0, np.int64)
        if video is not None:
            truth, true_labels = video.segments_sec, video.labels
        names = found.class_names or (raw.class_names if raw is not None else ())
        self._duration_sec = _duration_sec(found, video, raw)
        labels = sorted({*true_labels.tolist(), *found.labels.tolist()})
        if all_classes:
            labels = range(max([len(names), *(label + 1 for label in labels)]))
        self.lanes = []
        for label in labels:
            mine = truth[true_labels == label]
            ours = found[found.labels == label].top_k(len(found))
            truth_rows = free_rows(mine.tolist())
            first = 1 + max(truth_rows, default=0) if with_truth else 0
            found_rows = free_rows(ours.segments_sec.tolist(), _MAX_ROWS)
            has_row = np.array(found_rows, int) < _MAX_ROWS
            self.num_hidden += int((~has_row).sum())
            self.lanes.append(
                _Lane(
                    label,
                    names[label] if label < len(names) else f"class_{label}",
                    mine,
                    truth_rows,
                    ours[has_row],
                    [first + row for row in found_rows if row < _MAX_ROWS],
                    None if raw is None else raw.score_curve(label),
                )
            )
        self.rows = sum(lane.rows + _GAP for lane in self.lanes) or 1 + _GAP

    def draw(self, axes, theme, layout):
        top, centres = 0.0, []  # of the next lane; in rows, downwards
        for place, lane in enumerate(self.lanes):
            bottom = top + lane.rows
            if place % 2 == 0:
                axes.axhspan(
                    top - _GAP / 2, bottom + _GAP / 2, color=theme.band, linewidth=0, zorder=0
                )
            colour = class_colour(lane.label)
            if lane.curve is not None:
                times, scores = lane.curve
                axes.fill_between(
                    times, bottom, bottom - np.minimum(scores, 1), color=colour, linewidth=0
                )
            _add_bars(axes, lane.truth, lane.truth_rows, top, self._duration_sec, theme.truth)
            _add_bars(
                axes,
                lane.found.segments_sec,
                lane.found_rows,
                top,
                self._duration_sec,
                colour,
                _strengths(lane.found.scores),
            )
            centres.append((top + bottom) / 2)
            top = bottom + _GAP
        if not self.lanes:
            axes.text(
                0.5, 0.5, "nothing", transform=axes.transAxes, ha="center", va="center",
                color=theme.faint, fontsize=layout.size,
            )  # fmt: skip
        axes.set_ylim(max(top, 1) - _GAP / 2, -_GAP / 2)
        names = [shortened(lane.name, longest_name(layout.width)) for lane in self.lanes]
        axes.set_yticks(centres, names, fontsize=layout.size)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        if self._title:
            longest = int(layout.width / inches(layout.size, 0.7))
            axes.set_title(shortened(self._title, longest), fontsize=layout.size + 1)
        num_ticks = max(3, int(layout.width))
        self.unit = set_time_axis(axes, self._duration_sec, num_ticks, layout.size)


class _Layout:
    """Sizes of a figure with many lanes.

    Attributes:
      width, height: floats, inches.
      size: float, points of the font.
    """

    def __init__(self, panels, width, num_lanes):
        self.width = width
        self.size = lane_text_size(num_lanes)
        rows = sum(panel.rows for panel in panels)
        least = min(lane.rows + _GAP for panel in panels for lane in panel.lanes or [_EMPTY])
        self.row = max(0.26 if num_lanes <= 12 else 0.1, inches(self.size) / least)
        # Around the lanes of each video: its title, its ticks and some space.
        around = len(panels) * (inches(self.size, 5.5) + 0.12)
        self.height = rows * self.row + around + inches(self.size, 5)


_EMPTY = _Lane(0, "", np.zeros((0, 2)), [], Detections([], [], []), [], None)


def _panels(detections, ground_truth, raw_outputs, min_score, all_classes):
    """A `_Panel` a video, in the order of the detections."""
    single = isinstance(detections, Detections)
    truths = [ground_truth] if isinstance(ground_truth, Video) else list(ground_truth or ())
    if single:
        if len(truths) > 1 or isinstance(raw_outputs, Mapping):
            raise UserError(
                "plot_timeline: detections are those of one video, but ground_truth or raw_outputs "
                "of several; give a dict of video ids to Detections."
            )
        video_id = truths[0].video_id if truths else ""
        detections = {video_id: detections}
        raw_outputs = {video_id: raw_outputs}
    if not detections:
        raise UserError("plot_timeline: there is no video to draw.")
    videos = {video.video_id: video for video in truths}
    others = sorted(videos.keys() - detections.keys())
    if others:
        raise UserError(
            f"plot_timeline: ground_truth has the video {others[0]!r}, but detections have not; "
            "give those of the same videos."
        )
    return [
        _Panel(
            "" if single else video_id,
            found.filter(min_score=min_score),
            videos.get(video_id),
            (raw_outputs or {}).get(video_id),
            all_classes,
            bool(truths),
        )
        for video_id, found in detections.items()
    ]


def _duration_sec(found, video, raw):
    if video is not None and video.duration_sec:
        # To the last action where annotations reach further, as on the page.
        return float(np.max(video.segments_sec, initial=video.duration_sec))
    ends = [found.segments_sec, *([] if video is None else [video.segments_sec])]
    times = np.concatenate([np.ravel(x) for x in ends])
    if raw is not None:
        times = np.append(times, raw.points_sec)
    return float(np.max(times, initial=0.0)) or 1.0


# === Drawing ===


def _add_bars(axes, segments_sec, rows, top, duration_sec, colour, strengths=None):
    """Draws segments in their rows of the lane that begins at `top`."""
    if not len(segments_sec):
        return
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgba

    lengths = np.maximum(np.diff(segments_sec)[:, 0], duration_sec * _THINNEST)
    middles = segments_sec.mean(axis=1)
    left, right = middles - lengths / 2, middles + lengths / 2
    upper = top + np.array(rows) + (1 - _THICKNESS) / 2
    lower = upper + _THICKNESS
    corners = [(left, upper), (right, upper), (right, lower), (left, lower)]
    colours = np.tile(to_rgba(colour), (len(segments_sec), 1))
    if strengths is not None:
        colours[:, 3] = strengths
    axes.add_collection(
        PolyCollection(
            np.stack([np.stack(corner, axis=1) for corner in corners], axis=1),
            facecolors=colours,
            linewidths=0,
        ),
        autolim=False,
    )


def _strengths(scores):
    """How strong, in 0..1, bars of detections with these scores are."""
    return _FAINTEST + (1 - _FAINTEST) * np.clip(scores, 0, 1)


def _draw_legend(figure, panels, theme, layout):
    from matplotlib.legend_handler import HandlerTuple
    from matplotlib.patches import Patch

    lanes = [lane for panel in panels for lane in panel.lanes]
    labels = sorted({lane.label for lane in lanes if len(lane.found)})[:_LEGEND_COLOURS]
    colours = [class_colour(label) for label in labels]
    handles, names = [], []
    if any(len(lane.truth) for lane in lanes):
        handles, names = [Patch(color=theme.truth)], ["what happened"]
    for score in _LEGEND_SCORES if colours else ():
        handles.append(tuple(Patch(color=c, alpha=_strengths(score), linewidth=0) for c in colours))
        names.append(f"detected, score {score}")
    if any(lane.curve is not None for lane in lanes):
        shown = [class_colour(lane.label) for lane in lanes[:_LEGEND_COLOURS]]
        handles.append(tuple(Patch(color=colour, linewidth=0) for colour in shown))
        names.append("score over time")
    if not handles:
        return
    size = min(layout.size + 1, 10)
    figure.legend(
        handles,
        names,
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0)},  # side by side
        loc="outside upper center",
        ncols=len(names) if layout.width >= inches(size, 14) * len(names) else 2,
        fontsize=size,
        handlelength=1.9,
    )
