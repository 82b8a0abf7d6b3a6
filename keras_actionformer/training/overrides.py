"""Settings that a trained model is told to use instead of its own: post-processing and fusion."""

import dataclasses

from keras_actionformer.detection.postprocess import PostProcess
from keras_actionformer.errors import UserError
from keras_actionformer.training.config import default_config


def default_fusion():
    """What a fusion is told where there is no run: a dict that `override` may change."""
    fusion = default_config().fusion
    return {"num_pred": fusion.num_pred, "topk": fusion.topk}


def override(overrides, model=None, fusion=None):
    """Gives settings to a model and to a fusion, and prints what they were before.

    Args:
      overrides: dict `{"postprocess": {name: value}, "fusion": {name: value}}`, either may lack.
      model: `ActionFormer`, or None where none runs here.
      fusion: dict or `ConfigDict` of `num_pred` and `topk`, or None where nothing is fused.

    Returns:
      bool, whether anything is another than before.

    Raises:
      UserError: a setting is out of its range, or there is nothing that it could change.
    """
    targets = {"postprocess": model and dataclasses.asdict(model.postprocess), "fusion": fusion}
    lacking = {"postprocess": "a model of --workdir or --preset", "fusion": "--video_scores"}
    changes = []
    for section, values in overrides.items():
        settings = targets[section]
        for name, value in values.items():
            if settings is None:
                raise UserError(
                    f"--config.{section}.{name} changes nothing without {lacking[section]}: leave "
                    "it out."
                )
            if value != settings[name]:
                changes.append(f"{section}.{name} {settings[name]} -> {value}")
                settings[name] = value
    if model is not None:
        model.postprocess = PostProcess(**targets["postprocess"])
    if changes:
        print(f"Changed: {', '.join(changes)}.")
    return bool(changes)
