"""All settings of a run, with their defaults: data, model, post-processing, training.

A configuration file (see `configs/`) is Python with a function `get_config()` that starts from
`default_config()` and changes what its data set needs; `--config.section.field=value` on the
command line changes it further. Names and types are checked.
"""

import dataclasses
import json
import os
import pathlib
from typing import Any

import ml_collections
from ml_collections import config_dict

from keras_actionformer.checks import check_class_weights, number, shown, whole
from keras_actionformer.data.arrays import FEATS_DTYPES
from keras_actionformer.data.batches import check_seed
from keras_actionformer.data.features import UNEQUAL_STREAMS
from keras_actionformer.data.table_times import PLAIN_UNITS
from keras_actionformer.data.windows import Lengths
from keras_actionformer.detection.postprocess import PostProcess
from keras_actionformer.errors import UserError, said_of, suggest
from keras_actionformer.evaluation.average_precision import TIOU_THRESHOLDS
from keras_actionformer.network.architecture import Architecture
from keras_actionformer.presets.builtin import ARCHITECTURES
from keras_actionformer.presets.runs import CONFIG, read_config
from keras_actionformer.remote import is_address
from keras_actionformer.training.epochs import num_epochs
from keras_actionformer.training.freezing import check_freeze

_TEXTS = ("data.feats", "data.train_subset")  # fields that take anything, for the sake of lists


def default_config(architecture: str | None = None) -> Any:  # no checker knows its fields
    """Returns the settings of a run as a locked `ConfigDict`; each field is explained here.

    Args:
      architecture: str, a built-in architecture (`list_presets` names them) whose model,
        post-processing and timing to start from; or None.

    Raises:
      UserError: there is no such architecture.
    """
    config = ml_collections.ConfigDict()
    config.seed = 0  # initial weights, order of the data, truncation, stochastic depth

    data = config.data = ml_collections.ConfigDict()
    data.annotations = ""  # JSON, a table, or what a labelling tool has exported; or their folder
    # Folder with one feature file a video, or a .h5 file; a tuple of them: one a stream.
    data.feats = config_dict.FieldReference("", field_type=object)
    data.prefix = ""  # a feature file is <prefix><video id><suffix>
    # .npy, .npz (key "feats"), .pt, .pth, .csv or .pkl; "/NAME": a data set in groups of a .h5
    data.suffix = ".npy"
    # Streams of a video that have other numbers of steps: "error"; or they are interpolated,
    # "to_first" stream's length or "to_longest" (as OpenTAD), whose timing the settings tell then.
    data.unequal_streams = "error"
    data.any_encoder = False  # lets features be of several encoders, or of another than a preset's
    data.missing_features = "error"  # or "skip": leave out videos without features
    data.split = ""  # CSV file of video,subset, for subsets other than those of the annotations
    # As the annotations call it; a tuple of them: all of these.
    data.train_subset = config_dict.FieldReference("training", field_type=object)
    data.val_subset = ""  # scored in the midst of a training, to keep its best epoch; "": none
    data.eval_subset = "test"  # "": none, a training then ends without scores
    data.blocked_videos = ""  # JSON file of the ids of videos that scores leave out (ActivityNet)
    data.default_subset = ""  # of videos for which the annotations name none; "": an error
    data.outside = "error"  # segments beyond their video: "error", or "keep" as the reference
    data.time_unit = ""  # of plain numbers where a file says none: "seconds", "frames" and so on
    data.drop_duplicates = False  # leaves out annotations that repeat one or last no 1 ms
    data.class_agnostic = False  # all labels are one class, "action": model.num_classes is 1
    data.fps = config_dict.placeholder(float)  # frames per second; None: each video's own
    # Frames from one feature to the next; "auto": as the features tell, or 1; None: see `Timing`.
    data.stride_frames = config_dict.FieldReference("auto", field_type=object)
    # Frames that one feature sees; "auto": as the features tell, or 1.
    data.window_frames = config_dict.FieldReference("auto", field_type=object)
    data.downsample_rate = 1  # keeps every n-th feature
    data.whole_frames = False  # actions are learned from whole frames to whole frames (OpenTAD)
    data.min_action_share = 0.0  # of its video that an action must last more than, to be learned
    data.drop_repeated_actions = False  # those of one time and class are learned once (OpenTAD)
    data.drop_without_actions = False  # leaves out training videos that have none (OpenTAD)
    data.trunc_thresh = 0.5  # share of an action that must stay in a random window
    # What a random window keeps, or is drawn again: "an_action", "whole_actions" (it cuts none), or
    # "anything".
    data.cut_keeps = "an_action"
    # A window keeps of an action what lies half a feature window beyond its ends, too; or (False,
    # as OpenTAD) it cuts at its ends.
    data.cut_beyond_ends = True
    data.repeats = 1  # times that an epoch sees each training video: more where they are few
    data.crop_ratio = config_dict.placeholder(tuple)  # (0.9, 1.0): short videos are cropped too
    data.window_steps = 0  # cuts every sequence to sliding windows of so many features; 0: none
    data.window_overlap = 0.5  # part of a sliding window that the next one repeats
    data.check_durations = True  # feature lengths must fit the videos' durations
    data.cache_gb = 4.0  # features stay in memory when they fit into this
    data.feats_dtype = "float32"  # "float16": training keeps and hands them on in half the bytes

    model = config.model = ml_collections.ConfigDict()  # see `Architecture`
    model.input_dim = config_dict.placeholder(object)  # required: int, or one int a stream
    model.num_classes = config_dict.placeholder(int)  # required
    model.update(_architecture_defaults())

    # Fields of `PostProcess`, which explains them.
    config.postprocess = ml_collections.ConfigDict(dataclasses.asdict(PostProcess()))

    fusion = config.fusion = ml_collections.ConfigDict()  # for the evaluation, see `fuse_scores`
    fusion.video_scores = ""  # file of the class scores of whole videos; "": no fusion
    fusion.num_pred = 200  # most segments of a video
    fusion.topk = 2  # classes that each is repeated for
    fusion.rule = "sqrt"  # of both scores: "sqrt" of the product, "product", "twice_product"

    train = config.train = ml_collections.ConfigDict()
    train.batch_size = 2  # sequences
    train.accumulate_batches = 1  # whose mean gradient makes a step of the optimizer
    train.epochs = 30  # after the warm-up
    train.warmup_epochs = 5  # in which the learning rate rises from 0
    # Its last step has the full rate already, as the one after it; False: that has it first, as in
    # OpenTAD's multistep.
    train.warmup_holds = True
    train.stop_after = 0  # ends the schedule after so many epochs, warm-up included; 0: never
    train.optimizer = "AdamW"  # or "SGD"
    train.learning_rate = 1e-4  # reached at the end of the warm-up
    train.momentum = 0.9  # SGD only
    train.weight_decay = 0.05  # of kernels alone
    train.schedule = "cosine"  # or "multistep"
    train.milestones = ()  # epochs after the warm-up at which the rate drops (multistep)
    train.gamma = 0.1  # factor of a drop
    # Factors of the classification loss: None, one a class, or "balanced": by their actions.
    train.class_weights = config_dict.placeholder(object)
    train.clip_norm = 1.0  # global norm of the gradients; 0 or less: no clipping
    # Momentum of the weights' average, which is what is evaluated and saved; "auto": it rises with
    # the steps, (1 + t) / (10 + t) at step t, to 0.999.
    train.ema = config_dict.FieldReference("auto", field_type=object)
    train.val_every = 0  # epochs from one validation to the next; 0: by the number of videos
    train.val_from = 0  # the first epoch that is validated; 0: as `val_every` says
    train.best_by = "mAP"  # the best validation is that of the highest "mAP", or lowest "loss"
    train.patience = 0  # epochs without a better validation that end the training; 0: no number
    train.keep_epochs = ()  # whose models are kept, as model_epoch_10.keras
    # Preset, run or checkpoint whose weights to start from, see `ActionFormer.from_preset`.
    train.preset = ""
    train.freeze = ()  # parts that stay as they are in the preset, e.g. ("backbone", "neck")
    train.jit_compile = "auto"  # XLA: "on", "off", "auto" (on a GPU, off on a CPU)
    train.mixed_precision = False  # bfloat16 arithmetic, float32 weights
    train.recompute = False  # less memory for more time, see `ActionFormer.recompute`

    config.tiou_thresholds = TIOU_THRESHOLDS  # for the evaluation
    config.lock()
    if architecture is not None:
        if architecture not in ARCHITECTURES:
            raise UserError(
                f"There is no architecture {architecture!r}"
                f"{suggest(architecture, ARCHITECTURES) or '; list_presets() names them.'}"
            )
        built_in = ARCHITECTURES[architecture]
        config.model.update(built_in.model)
        config.postprocess.update(built_in.postprocess)
        data.update(built_in.grid or {})
    return config


def _architecture_defaults():
    """The fields of `Architecture` that have a default, as a `ConfigDict` checks their types."""
    defaults = {}
    for field in dataclasses.fields(Architecture):
        if field.default is dataclasses.MISSING:
            continue
        if field.default is None:
            defaults[field.name] = config_dict.placeholder(object)
        elif isinstance(field.default, int) and field.name in ("embd_dim", "n_mha_win_size"):
            # These take a list of ints, too.
            defaults[field.name] = config_dict.FieldReference(field.default, field_type=object)
        else:
            defaults[field.name] = field.default
    return defaults


def check_sections(config):
    """Raises UserError for a configuration that does not come from `default_config`."""
    if list(config) != list(default_config()):
        raise UserError(
            "get_config() of the configuration file must start with config = default_config(), "
            "change its settings and return it."
        )


def check_config(config):
    """Raises UserError for settings that are missing, out of their range or contradictory.

    Nothing is read: what only the data can tell is checked later.
    """
    _check_kinds(config, default_config())
    _check_paths(config)
    _check_values(config)


def _check_paths(config):
    """Raises UserError for data that is not named, or not there."""
    for name in ("annotations", "feats"):
        if not config.data[name]:
            raise UserError(f"The configuration must set data.{name}: it is empty.")
        paths = config.data[name]
        for path in [paths] if isinstance(paths, str) else paths:
            if not is_address(path) and not os.path.exists(path):
                raise UserError(
                    f"data.{name} is '{path}', which does not exist here: the first lines of the "
                    "configuration file say how to get the data (`keras-actionformer help train` "
                    "tells where the built-in ones lie), or set "
                    f"--config.data.{name}=PATH."
                )
    data = config.data
    if data.split and not os.path.exists(data.split):
        raise UserError(f"data.split is '{data.split}', which does not exist; `init` writes it.")
    if data.blocked_videos and not os.path.exists(data.blocked_videos):
        raise UserError(
            f"data.blocked_videos is '{data.blocked_videos}', which does not exist: the first "
            "lines of the configuration file say where to get it, or score all videos with "
            "--config.data.blocked_videos=''."
        )


def _check_values(config):
    """Raises UserError for settings that no data could be right for."""
    for name in ("input_dim", "num_classes"):
        if not config.model[name]:
            raise UserError(f"The configuration must set model.{name}: it is {config.model[name]}.")
    choices = {
        ("train", "optimizer"): ("AdamW", "SGD"),
        ("train", "schedule"): ("cosine", "multistep"),
        ("train", "best_by"): ("mAP", "loss"),
        ("train", "jit_compile"): ("auto", "on", "off"),
        ("data", "outside"): ("error", "keep"),
        ("data", "time_unit"): ("", *PLAIN_UNITS),
        ("data", "missing_features"): ("error", "skip"),
        ("data", "feats_dtype"): FEATS_DTYPES,
        ("data", "unequal_streams"): UNEQUAL_STREAMS,
    }
    for (section, name), known in choices.items():
        value = config[section][name]
        if value not in known:
            raise UserError(
                f"{section}.{name} must be one of {', '.join(known)}, but is {value!r}"
                f"{suggest(value, known)}."
            )
    for section, name in (
        ("data", "downsample_rate"),
        ("train", "batch_size"),
        ("train", "accumulate_batches"),
        ("train", "epochs"),
    ):
        value = config[section][name]
        if value < 1:
            raise UserError(f"{section}.{name} must be at least 1, but is {value}.")
    for name in (
        "learning_rate", "weight_decay", "warmup_epochs", "stop_after", "val_every", "val_from",
        "patience",
    ):  # fmt: skip
        if not config.train[name] >= 0:
            raise UserError(f"train.{name} must be 0 or more, but is {config.train[name]}.")
    _check_epochs(config.data, config.train)
    weights = config.train.class_weights
    if weights is not None and weights != "balanced":
        check_class_weights("train.class_weights", weights, config.model.num_classes)
    if not 0 <= config.data.min_action_share < 1:
        raise UserError(
            f"data.min_action_share must lie in [0, 1), but is {config.data.min_action_share}."
        )
    ema = config.train.ema
    if ema != "auto" and not 0 <= number("train.ema", ema) < 1:
        raise UserError(f'train.ema must be in [0, 1) or "auto", but is {ema}.')
    if config.train.recompute and config.model.dropout:
        raise UserError(
            f"train.recompute needs model.dropout=0, but it is {config.model.dropout}: what is "
            "computed again would drop something else."
        )
    check_freeze(config.train.freeze)
    data = config.data
    for name in ("stride_frames", "window_frames"):  # whose fields take anything
        value = data[name]
        if value != "auto" and not (name == "stride_frames" and value is None):
            number(f"data.{name}", value)
    check_seed(config.seed)
    lengths_of(config)
    postprocess_of(config)
    architecture_of(config)


def _check_epochs(data, train):
    """Raises UserError for epochs that the schedule does not have, or waiting for nothing."""
    for epoch in train.keep_epochs:
        if not 1 <= whole("An entry of train.keep_epochs", epoch) <= num_epochs(train):
            raise UserError(
                f"train.keep_epochs names epoch {epoch}, but there are 1 to {num_epochs(train)}."
            )
    if train.patience and not data.val_subset:
        raise UserError(
            f"train.patience is {train.patience}, but there is nothing to wait for: set "
            "data.val_subset, or train.patience to 0."
        )


def _check_kinds(config, default, section=""):
    """Raises UserError for what a `ConfigDict` takes for a number: None, and endless ones."""
    for name, value in config.items():
        if isinstance(value, ml_collections.ConfigDict):
            if not isinstance(default[name], ml_collections.ConfigDict):
                raise UserError(f"{section}{name} cannot be {shown(value.to_dict())}.")
            _check_kinds(value, default[name], f"{name}.")
            continue
        takes_none = default[name] is None or default.get_type(name) is object
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if (value is None and not takes_none) or (is_number and not abs(value) < 2**63):
            raise UserError(f"{section}{name} cannot be {shown(value)}.")
        if f"{section}{name}" in _TEXTS:
            values = [value] if isinstance(value, str) else value
            if not isinstance(values, list | tuple) or not all(isinstance(v, str) for v in values):
                raise UserError(f"{section}{name} must be a text or several, not {shown(value)}.")


def lengths_of(config):
    """The `Lengths` of its training sequences."""
    data, max_seq_len = config.data, config.model.max_seq_len
    return Lengths(
        max_seq_len=max_seq_len,
        trunc_thresh=data.trunc_thresh,
        crop_ratio=data.crop_ratio,
        cut_keeps=data.cut_keeps,
        cut_beyond_ends=data.cut_beyond_ends,
        resize_to=max_seq_len if config.model.force_upsampling else None,
        resize_method=config.model.resize_method,
        spread_duration=config.postprocess.spread_duration,
        window_steps=data.window_steps or None,
        window_overlap=data.window_overlap,
        repeats=data.repeats,
    )


def postprocess_of(config):
    """The `PostProcess` of its model."""
    return PostProcess(**config.postprocess.to_dict())


def architecture_of(config):
    """The `Architecture` of its model."""
    return Architecture(**config.model.to_dict())


def to_plain(config):
    """The settings as nested dicts of JSON's types (tuples become lists)."""
    return json.loads(config.to_json_best_effort())


def run_config(workdir):
    """The settings of a training folder as nested dicts, those of today where it lacks some.

    Raises:
      UserError: the folder holds none, the file is damaged, or a setting is unknown or wrong.
    """
    config = default_config()
    saved = read_config(workdir, defaults=to_plain(config))
    with said_of(pathlib.Path(workdir) / CONFIG):
        _take_plain(config, saved)
        _check_kinds(config, default_config())
        _check_values(config)
    return saved


def _take_plain(config, plain, section=""):
    """Gives a configuration the values of plain dicts; raises UserError where they do not fit."""
    for name, value in plain.items():
        if name not in config:
            raise UserError(
                f"There is no setting {section + name[:80]!r}{suggest(name, config) or '.'} Was it "
                "written by another version?"
            )
        if isinstance(config[name], ml_collections.ConfigDict):
            _take_plain(config[name], value, f"{name}.")
            continue
        try:
            config[name] = tuple(value) if isinstance(config[name], tuple) else value
        except (TypeError, ValueError, OverflowError):
            raise UserError(f"{section}{name} cannot be {shown(value)}.") from None


def first_difference(ours, theirs, path=""):
    """The first field in which two plain configurations differ, with both values, or None."""
    for key in {**ours, **theirs}:
        a, b = ours.get(key), theirs.get(key)
        name = f"{path}{key}"
        if isinstance(a, dict) and isinstance(b, dict):
            found = first_difference(a, b, f"{name}.")
            if found:
                return found
        elif a != b:
            return name, a, b
    return None
