"""Draws detections back onto their videos: labels, and a timeline that runs below the picture.

  draw --videos=kitchen.mp4 --detections=bouts.csv --output=kitchen_drawn.mp4
  draw --videos=recordings --detections=bouts.csv --truth=annotations.csv --output=drawn
  draw --videos=kitchen.mp4 --detections=bouts.csv --only --output=kitchen_short.mp4
  draw --videos=recordings --detections=bouts.csv --clips=clips

--videos names video files, folders of them, or a table with a column `video`; a detection belongs
to the file of the video's name. Of one video --output names the file (.mp4, .mkv, .mov or .webm),
of several a folder. Sound stays, and every picture has the time that it had. Of several videos, one
that cannot be read is told, and costs itself alone; the exit status is then 1.

--only leaves out what is more than --pad_sec from every detection; --clips writes a file a
detection, in a folder. `detect --bouts` gives detections that are worth drawing; of raw ones
--score_threshold takes the sure ones.
"""

import pathlib

import numpy as np
from absl import flags, logging

from keras_actionformer.data.annotation_files import load_annotations
from keras_actionformer.detection.detections import Detections, load_detections
from keras_actionformer.errors import UserError, counted, suggest
from keras_actionformer.files import path_inside
from keras_actionformer.report.palette import class_colours
from keras_actionformer.terminal import RunningLine
from keras_actionformer.video.drawing import draw_video
from keras_actionformer.video.finding import find_video_files

_VIDEOS = flags.DEFINE_list(
    "videos", None, "Videos, folders of them or tables that name them.", required=True
)
_DETECTIONS = flags.DEFINE_string(
    "detections", None, "JSON or CSV file of detections.", required=True
)
_TRUTH = flags.DEFINE_string("truth", None, "Annotations, drawn above the detections.")
_SCORE_THRESHOLD = flags.DEFINE_float("score_threshold", None, "Leaves out lower scores.")
_OUTPUT = flags.DEFINE_string("output", None, "Video to write, or a folder for several.")
_ONLY = flags.DEFINE_bool("only", False, "Leaves out what is far from every detection.")
_CLIPS = flags.DEFINE_string("clips", None, "Folder for a clip of each detection.")
_PAD_SEC = flags.DEFINE_float(
    "pad_sec", 1.0, "For --only and --clips: seconds before and after.", lower_bound=0
)


def main():
    if not _OUTPUT.value and not _CLIPS.value:
        raise UserError("Give --output=FILE.mp4, or --clips=DIR, or both.")
    if _ONLY.value and not _OUTPUT.value:
        raise UserError("--only is for --output: give that, too.")
    videos = find_video_files(_VIDEOS.value, logging.warning)
    _check_output(len(videos))
    truth = _TRUTH.value and load_annotations(_TRUTH.value, default_subset="all", outside="keep")
    found = load_detections(_DETECTIONS.value, truth.class_names if truth else None)
    _check_names(videos, found)
    happened = {video.video_id: video for video in truth.videos} if truth else {}
    num_failed = 0
    for video_id, path in videos.items():
        detections = found.get(video_id, Detections(np.zeros((0, 2)), [], []))
        if _SCORE_THRESHOLD.value is not None:
            detections = detections.filter(min_score=_SCORE_THRESHOLD.value)
        actions = happened.get(video_id)
        named = actions and (
            actions.segments_sec,
            [truth.class_names[label] for label in actions.labels.tolist()],
        )
        output = _OUTPUT.value and pathlib.Path(_OUTPUT.value)
        if output and len(videos) > 1:
            output = path_inside(output, f"{video_id}.mp4")
        try:
            _draw(path, detections, named, output)
        except UserError as error:
            if len(videos) == 1:
                raise
            num_failed += 1
            logging.error("%s", error)
    return 1 if num_failed else 0


def _check_output(num_videos):
    """Raises UserError where --output is a file and several are to be written."""
    if _OUTPUT.value and num_videos > 1 and pathlib.Path(_OUTPUT.value).suffix:
        raise UserError(
            f"--videos names {num_videos} videos, but --output={_OUTPUT.value} is a file: name a "
            "folder for them."
        )


def _check_names(videos, found):
    """Raises UserError where no video has a detection: their names must be the same."""
    if not found:
        raise UserError(f"'{_DETECTIONS.value}' has no detection: there is nothing to draw.")
    if not videos.keys() & found.keys():
        one, other = next(iter(videos)), next(iter(found))
        raise UserError(
            f"'{_DETECTIONS.value}' has detections of {other!r}, but the videos are called as "
            f"{one!r}{suggest(one, found) or '.'} Rename the files or the detections."
        )
    without = sorted(videos.keys() - found.keys())
    if without:
        print(f"{counted(len(without), 'video')} without detections, such as {without[0]!r}.")


def _draw(path, detections, truth, output):
    line = RunningLine()
    colours = class_colours(len(detections.class_names) or 1 + max(detections.labels, default=0))

    def progress(done_sec, total_sec):
        line.count(int(done_sec), int(total_sec), "s", path.name)

    try:
        done = draw_video(
            path,
            detections,
            output,
            _CLIPS.value,
            colours=colours,
            truth=truth,
            only=_ONLY.value,
            pad_sec=_PAD_SEC.value,
            progress=progress,
        )
    finally:
        line.clear()
    if output:
        count = len(detections) - done.beyond
        print(f"Wrote '{output}' with {counted(count, 'detection')}.", flush=True)
        if done.left_out:
            print(
                f"Left out of the timeline, which has room for three at a time: {done.left_out} of "
                "them. --score_threshold drops the unsure ones, as detect --bouts does."
            )
    if _CLIPS.value:
        print(f"Wrote {counted(len(done.clips), 'clip')} to '{_CLIPS.value}'.", flush=True)
    if done.beyond:
        begin = "1 detection begins" if done.beyond == 1 else f"{done.beyond} detections begin"
        print(f"{begin} after the end of '{path}' and cannot be drawn: is it of this video?")
