"""Videos that a score leaves out: those that ActivityNet's server no longer offers.

Its own evaluation asks that server which they are; OpenTAD has the answer as a file, blocked.json,
a list of ids. Neither what was annotated in these videos counts nor what was detected in them.
"""

from absl import logging

from keras_actionformer.checks import shown
from keras_actionformer.datasets.blocked_videos import read_blocked_videos
from keras_actionformer.errors import UserError
from keras_actionformer.evaluation.near_names import video_twin


def load_blocked_videos(path, video_ids):
    """Reads a JSON file of a list of video ids.

    Args:
      path: str or `os.PathLike`.
      video_ids: iterable of str, the videos of the annotations. The file may name others, too, but
        not the same ones in another way.

    Returns:
      frozenset of str. Where none of them is a video of the annotations, that is logged.

    Raises:
      UserError: the file holds something else, or writes the ids in another way.
    """
    content = read_blocked_videos(path)
    blocked, known = frozenset(content), set(video_ids)
    twins = {video_twin(id_): id_ for id_ in known}
    if not blocked & known:
        for id_ in content:
            if video_twin(id_) in twins:
                raise UserError(
                    f"File of blocked videos '{path}' writes {shown(id_)} for "
                    f"{shown(twins[video_twin(id_)])} of the annotations: write ids alike."
                )
        if blocked:
            logging.warning(
                "File of blocked videos '%s' names none of the %d videos: all are scored.",
                path,
                len(known),
            )
    return blocked
