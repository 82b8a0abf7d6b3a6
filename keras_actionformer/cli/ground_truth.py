"""Options that say what detections of files are scored against: --ground_truth and its like."""

from absl import flags

from keras_actionformer.cli.frame_rate import FrameRate
from keras_actionformer.data.annotation_files import load_annotations
from keras_actionformer.data.table_times import PLAIN_UNITS

flags.disclaim_key_flags()  # they are those of the verb that defines them, and in its help


def define_ground_truth():
    """Defines them.

    Returns:
      dict of absl's holders by name.
    """
    return {
        "ground_truth": flags.DEFINE_string(
            "ground_truth", None, "JSON, table or file of a labelling tool, or a folder of them."
        ),
        "fps": flags.DEFINE(
            FrameRate(),
            "fps",
            None,
            "Frames a second of videos for which --ground_truth counts frames and says none.",
        ),
        "time_unit": flags.DEFINE_enum(
            "time_unit",
            None,
            list(PLAIN_UNITS),
            "What plain numbers of --ground_truth are if it says none.",
        ),
        "default_subset": flags.DEFINE_string(
            "default_subset", None, "Subset of the videos for which --ground_truth names none."
        ),
    }


def read_ground_truth(holders):
    """The `Annotations` that the command line names.

    Args:
      holders: dict, see `define_ground_truth`.
    """
    given = {name: flag.value for name, flag in holders.items()}
    # Published scores count annotations that reach beyond their video, so they stay as they are.
    return load_annotations(given.pop("ground_truth"), outside="keep", **given)
