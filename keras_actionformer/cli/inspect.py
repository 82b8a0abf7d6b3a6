"""Reports what a data set holds and what is wrong with it, before a network is trained on it.

With the settings it is to be trained with:

  inspect --config=thumos14_i3d

or with the files alone, for which a pyramid of levels is then suggested:

  inspect --annotations=annotations.json --feats=feats --fps=30 --stride_frames=4 --window_frames=16

The exit status is 1 when there are errors, things that would make a training wrong and that `train`
refuses with the same sentences; it is 0 when there are at most warnings.
"""

import functools
import json

from absl import flags, logging
from ml_collections import config_flags

from keras_actionformer.cli.frame_rate import FrameRate
from keras_actionformer.data.features import UNEQUAL_STREAMS
from keras_actionformer.data.table_times import PLAIN_UNITS
from keras_actionformer.errors import UserError
from keras_actionformer.files import write_json
from keras_actionformer.quiet import import_keras
from keras_actionformer.terminal import RunningLine
from keras_actionformer.training.config import check_sections, default_config
from keras_actionformer.training.diagnosis import diagnose

_CONFIG = config_flags.DEFINE_config_file(
    "config",
    help_string="Configuration, file or built-in name; --config.section.name=value changes one of "
    "its settings.",
)
_ANNOTATIONS = flags.DEFINE_string(
    "annotations", None, "JSON, table or file of a labelling tool, or a folder of them."
)
_FEATS = flags.DEFINE_list("feats", None, "Folder of feature files, or one a stream.")
_PREFIX = flags.DEFINE_string("prefix", "", "What file names have before the video id.")
_SUFFIX = flags.DEFINE_string("suffix", ".npy", "What file names end with.")
_UNEQUAL_STREAMS = flags.DEFINE_enum(
    "unequal_streams", "error", UNEQUAL_STREAMS, "Streams of other lengths: an error, or resized."
)
_FPS = flags.DEFINE(FrameRate(), "fps", None, "Frames a second; without it, each video's own.")
_STRIDE_FRAMES = flags.DEFINE_float(
    "stride_frames", None, "Frames from one feature to the next; as the features tell, or 1."
)
_WINDOW_FRAMES = flags.DEFINE_float(
    "window_frames", None, "Frames that one feature sees; as the features tell, or 1."
)
_SUBSET = flags.DEFINE_string("subset", "training", "Subset to train on.")
_EVAL_SUBSET = flags.DEFINE_string("eval_subset", "", "Subset to evaluate on, if any.")
_DEFAULT_SUBSET = flags.DEFINE_string(
    "default_subset", "", "Subset of the videos for which the annotations name none."
)
_TIME_UNIT = flags.DEFINE_enum(
    "time_unit", None, list(PLAIN_UNITS), "What plain numbers are where the annotations say none."
)
_OUTSIDE = flags.DEFINE_enum(
    "outside", "error", ["error", "keep"], "What to do about actions that end after their video."
)
_JSON = flags.DEFINE_string("json", None, "JSON file for the numbers; - prints them as JSON.")


def main():
    files = (_ANNOTATIONS.value, _FEATS.value)
    if bool(_CONFIG.value) == any(files) or any(files) != all(files):
        raise UserError("Give either --config=FILE.py, or both --annotations=FILE and --feats=DIR.")
    if _CONFIG.value:
        import_keras()  # for what is about the model; files alone need none of it
    # What it would log is in the report.
    logging.set_verbosity(logging.ERROR)
    config = _CONFIG.value or _config_of_files()
    check_sections(config)
    progress = functools.partial(RunningLine().count, what="videos", task="Reading features")
    diagnosis = diagnose(config, data_only=not _CONFIG.value, progress=progress)
    if _JSON.value == "-":
        print(json.dumps(diagnosis.to_dict(), indent=1))
    else:
        print(diagnosis)
        if _JSON.value:
            write_json(_JSON.value, diagnosis.to_dict())
    return 1 if diagnosis.errors else 0


def _config_of_files():
    """A configuration whose section `data` has what the options say."""
    config = default_config()
    config.data.annotations = _ANNOTATIONS.value
    config.data.feats = tuple(_FEATS.value) if len(_FEATS.value) > 1 else _FEATS.value[0]
    config.data.prefix = _PREFIX.value
    config.data.suffix = _SUFFIX.value
    config.data.unequal_streams = _UNEQUAL_STREAMS.value
    config.data.fps = _FPS.value
    for flag in (_STRIDE_FRAMES, _WINDOW_FRAMES):
        if flag.value is not None:
            config.data[flag.name] = flag.value
    config.data.train_subset = _SUBSET.value
    config.data.eval_subset = _EVAL_SUBSET.value
    config.data.default_subset = _DEFAULT_SUBSET.value
    config.data.time_unit = _TIME_UNIT.value or ""
    config.data.outside = _OUTSIDE.value
    return config
