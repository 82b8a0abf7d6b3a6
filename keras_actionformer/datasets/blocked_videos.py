"""ActivityNet's blocked.json: a list of the ids of videos that its server no longer offers."""

from keras_actionformer.checks import shown
from keras_actionformer.errors import UserError
from keras_actionformer.files import read_json


def read_blocked_videos(path):
    """Reads a JSON file of a list of video ids.

    Args:
      path: str or `os.PathLike`.

    Returns:
      list of str.

    Raises:
      UserError: the file is unreadable or holds something else.
    """
    content = read_json(path, "File of blocked videos")
    if not isinstance(content, list) or not all(isinstance(id_, str) for id_ in content):
        raise UserError(
            f"File of blocked videos '{path}' must be a list of ids, as [\"sJ-5vGfrHn4\"], but it "
            f"is {shown(content)}."
        )
    return content
