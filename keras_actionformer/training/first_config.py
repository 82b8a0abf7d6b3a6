"""The configuration that `init` writes: Python with a comment at what one may want to change."""

import json

from keras_actionformer.errors import counted

_TEMPLATE = '''"""{title}

    keras-actionformer inspect --config={file}
    keras-actionformer train --config={file} --workdir=runs/{name}
    keras-actionformer detect --workdir=runs/{name} --feats=NEW.npy --output=found.json

What is not set here keeps its default (`docs/settings.md` of the project explains every setting);
`--config.section.name=value` changes one without changing this file.
"""

from keras_actionformer import default_config


def get_config():
    config = default_config()

    # === Data ===
    config.data.annotations = {annotations}
{time_unit}    config.data.feats = {feats}
{names}{split}    config.data.train_subset = {train_subset}
{evaluation}    # Feature i is centred on frame i * stride_frames + window_frames / 2.{samples}
    config.data.fps = {fps!r}{fps_comment}
    config.data.stride_frames = {stride_frames!r}
    config.data.window_frames = {window_frames!r}
    config.data.crop_ratio = (0.9, 1.0)  # trains on 90 to 100 % of a short video, as augmentation
    config.data.repeats = {s.repeats}  # an epoch sees every training video so often

    # === Model ===
    config.model.input_dim = {input_dim}  # channels of a feature
    config.model.num_classes = {num_classes}
    # {lengths}
    config.model.max_seq_len = {s.max_seq_len}
    config.model.backbone_arch = (2, 2, {strided})  # {levels} levels, each of half the length
    config.model.regression_range = {ranges}
    # For {num_actions}. More data carries a wider network: 128, 256, 512.
    config.model.embd_dim = config.model.fpn_dim = config.model.head_dim = {s.width}
    config.model.n_mha_win_size = 9  # steps that attention sees
    config.model.init_loss_norm = {s.init_loss_norm}  # points of a batch that learn an action
    config.model.droppath = {s.droppath}  # against overfitting

    # === Training: {steps} ===
    config.train.batch_size = {s.batch_size}
    config.train.learning_rate = {s.learning_rate!r}
    config.train.warmup_epochs = {s.warmup_epochs}
    config.train.epochs = {s.epochs}  # after the warm-up
    return config
'''


def config_text(path, annotations, data, settings, input_dim, is_sensor=False):
    """The text of a configuration.

    Args:
      path: `pathlib.Path`, where it is to be written.
      annotations: `Annotations`, with their split.
      data: dict of settings of the section `data`: "annotations", "time_unit", "feats", "prefix",
        "suffix", "unequal_streams", "split", "default_subset", "train_subset", "val_subset",
        "eval_subset", "fps", "stride_frames" and "window_frames"; what is "" is left out.
      settings: `FirstSettings`.
      input_dim: int, or ints of several streams.
      is_sensor: bool, whether frames are samples.

    Returns:
      str.
    """
    videos = annotations.subset(data["train_subset"])
    num_actions = sum(len(video.labels) for video in videos)
    num_levels = len(settings.regression_range)
    steps = (settings.warmup_epochs + settings.epochs) * (
        len(videos) * settings.repeats // settings.batch_size
    )
    return _TEMPLATE.format(
        title=f"{counted(len(annotations.class_names), 'class')} in "
        f"{counted(len(annotations.videos), 'video')}, "
        f"{len(videos)} of them to train on.",
        file=path,
        name=path.stem,
        annotations=_quoted(data["annotations"]),
        time_unit=_lines(data, time_unit="of its plain numbers"),
        feats=_quoted(data["feats"]),
        names=_lines(
            data,
            prefix="of the names of feature files",
            suffix="and their ends",
            unequal_streams="are streams of other lengths resized",
        ),
        split=_lines(
            data,
            split="which video is in which subset",
            default_subset="as the annotations name none",
        ),
        train_subset=_quoted(data["train_subset"]),
        evaluation=_evaluation_lines(data),
        samples=" A frame is a sample." if is_sensor else "",
        fps=data["fps"],
        fps_comment="" if data["fps"] else "  # each video's own",
        stride_frames=data["stride_frames"],
        window_frames=data["window_frames"],
        input_dim=input_dim,
        num_classes=len(annotations.class_names),
        lengths=f"A training window holds {settings.max_seq_len} steps.",
        strided=num_levels - 1,
        levels=num_levels,
        ranges=_ranges(settings.regression_range),
        num_actions=counted(num_actions, "action"),
        steps=counted(steps, "step"),
        s=settings,
    )


def _lines(data, **comments):
    """A line for each setting with a comment that is not ""."""
    return "".join(
        f"    config.data.{name} = {_quoted(data[name])}  # {comment}\n"
        for name, comment in comments.items()
        if data.get(name)
    )


def _quoted(value):
    """A text as Python has it, in the quotes that the rest of the file has; or a tuple of texts."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return f"({', '.join(map(_quoted, value))})"


def _evaluation_lines(data):
    lines = _lines(data, val_subset="scored while training")
    if data["eval_subset"] == data["train_subset"]:
        lines += "    # Scores on these say whether it learns, not how well it finds new actions.\n"
    return lines + _lines(data, eval_subset="scored at the end")


def _ranges(ranges):
    """Pairs of whole numbers as text, in lines of a width to read."""
    pairs = ", ".join(f"({low:g}, {high:g})" for low, high in ranges)
    return f"({pairs})" if len(pairs) < 50 else f"(\n        {pairs},\n    )  # fmt: skip"
