"""Which encoder a name stands for. Each is imported when it is asked for."""

from keras_actionformer.errors import UserError, suggest

DEFAULT = "efficientnet_lite0"
_NAMES = (DEFAULT, "motion")


def open_encoder(name):
    """Opens an encoder.

    Args:
      name: str, see docs/video.md.

    Returns:
      `Encoder`.

    Raises:
      UserError: there is none of this name, or a package that it needs is not installed.
    """
    match name:
        case "efficientnet_lite0":
            from keras_actionformer.video.efficientnet import open_efficientnet_lite0

            return open_efficientnet_lite0()
        case "motion":
            from keras_actionformer.video.motion import MotionEncoder

            return MotionEncoder()
    near = suggest(name, _NAMES) or f"; there are {', '.join(_NAMES)}."
    raise UserError(f"There is no encoder {name!r}{near}")
