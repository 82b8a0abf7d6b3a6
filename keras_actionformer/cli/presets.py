"""Lists the built-in presets: what each is for, its size, its scores, whether its weights are here.

  presets
  presets ego4d
  presets "*i3d" --json=-

A pattern has the wildcards * and ?; a word without any may stand anywhere in the name. Scores are
mAP in percent: of weights that come with this package as measured, else as published.

`detect --preset=NAME` and `ActionFormer.from_preset` take these names; where the weights are not
part of the package, they say where to get them.
"""

import json

from absl import flags

from keras_actionformer.errors import UserError, suggest
from keras_actionformer.files import write_json
from keras_actionformer.presets.builtin import list_presets

_JSON = flags.DEFINE_string("json", None, "JSON file for the list; - prints it as JSON.")

MAX_ARGUMENTS = 1


def main(pattern="*"):
    has_wildcards = any(wildcard in pattern for wildcard in "*?[")
    presets = list_presets(pattern if has_wildcards else f"*{pattern}*")
    if not presets:
        names = list_presets()
        hint = suggest(pattern, names) or f"; there are {', '.join(names)}."
        raise UserError(f"No preset's name matches {pattern!r}{hint}")
    if _JSON.value == "-":
        print(json.dumps(presets, indent=1))
        return
    print("\n\n".join(_told(name, preset) for name, preset in presets.items()))
    if _JSON.value:
        write_json(_JSON.value, presets, indent=1)


def _told(name, preset):
    """One preset in three lines.

    Args:
      name: str.
      preset: dict, an entry of `list_presets`.
    """
    weights = "with weights" if preset["has_weights"] else "architecture without weights"
    scores = dict(preset["scores"])
    average = scores.pop("average")
    by_tiou = ", ".join(f"{value:.2f} at {tiou}" for tiou, value in scores.items())
    return (
        f"{name}  {preset['num_parameters']:,} parameters, {weights}\n"
        f"  {preset['description']}.\n"
        f"  mAP {average:.2f} on average over tIoU: {by_tiou}."
    )
