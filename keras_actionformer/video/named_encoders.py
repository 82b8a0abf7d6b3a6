"""Which encoder a name stands for. Each is imported when it is asked for."""

from keras_actionformer.errors import UserError, suggest

_NAMES = ("motion",)


def open_encoder(name):
    """Opens an encoder.

    Args:
      name: str, see docs/video.md.

    Returns:
      `Encoder`.

    Raises:
      UserError: there is none of this name, or a package that it needs is not installed.
    """
    if name == "motion":
        from keras_actionformer.video.motion import MotionEncoder

        return MotionEncoder()
    near = suggest(name, _NAMES) or f"; there are {', '.join(_NAMES)}."
    raise UserError(f"There is no encoder {name!r}{near}")
