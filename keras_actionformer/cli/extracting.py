"""Extracting features with a bar, as `extract` and `detect --videos` do."""

from absl import logging

from keras_actionformer.errors import UserError, counted
from keras_actionformer.terminal import RunningLine, clock
from keras_actionformer.video.feature_folder import extract_videos


def extract_and_tell(videos, encoder, sampling, folder, workers, feats_dtype="float32"):
    """Writes features of videos, and prints what becomes of each.

    Args:
      videos, encoder, sampling, folder, workers, feats_dtype: see `extract_videos`.

    Returns:
      `Extracted`.
    """
    line = RunningLine()

    def tell(video_id, result):
        line.clear()
        if isinstance(result, UserError):
            logging.error("%s", result)
        else:
            print(f"{video_id}: {counted(result[0], 'step')} of {result[1]} channels", flush=True)

    def progress(done_sec, total_sec, left_sec):
        line.count(round(done_sec), round(total_sec), "s of video", left_sec=left_sec)

    def warn(num_frames, sec):
        print(
            f"The optical flow of {counted(num_frames, 'frame')} will take about {clock(sec)}; "
            "without the weights of that stream there is none.",
            flush=True,
        )

    found = extract_videos(
        videos, encoder, folder, sampling, workers, progress, tell, warn, feats_dtype
    )
    line.clear()
    parts = [f"Features of {counted(len(found.shapes), 'video')} written to '{folder}'"]
    if found.skipped:
        parts.append(f"{len(found.skipped)} there already")
    if found.failed:
        parts.append(f"{len(found.failed)} without, for the reasons above")
    print(f"{'; '.join(parts)}.", flush=True)
    return found
