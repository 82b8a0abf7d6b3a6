"""The card of a preset: a README that says what it is, also on a hub."""

import html
import pathlib
import re
import urllib.parse

import yaml

from keras_actionformer.data.encoder_records import describe_record
from keras_actionformer.detection.text_table import table
from keras_actionformer.errors import UserError, counted

CARD, PICTURES = "README.md", "pictures"
# By which a card is known from a README that somebody has written.
_MARK = "<!-- Written by save_to_preset, which writes it anew. -->"
_PICTURE_SUFFIXES = (".png", ".svg", ".jpg", ".jpeg")
# What the Hugging Face hub calls licences; any other is told by its own name.
_LICENCES = (
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "gpl-3.0", "lgpl-3.0", "agpl-3.0"),
    *("cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "unlicense"),
)


def is_card(path):
    """Whether a file, which may be missing, is a card and no other README."""
    return path.is_file() and _MARK in path.read_text(encoding="utf-8", errors="replace")


def check_pictures(paths):
    """The pictures of a card as a list of `pathlib.Path`, or UserError.

    Args:
      paths: sequence of str or paths.
    """
    paths = [pathlib.Path(path) for path in paths]
    for path in paths:
        if path.suffix.lower() not in _PICTURE_SUFFIXES or not path.is_file():
            raise UserError(
                f"pictures must be files {', '.join(_PICTURE_SUFFIXES)}, but one is '{path}'."
            )
    if len({path.name for path in paths}) < len(paths):
        raise UserError("pictures must have names of their own, but two are called alike.")
    return paths


def card_text(name, architecture, metadata, pictures=()):
    """The card as Markdown, with the head that hubs read.

    Args:
      name: str, of the preset.
      architecture: `Architecture`.
      metadata: dict, what `metadata.json` holds.
      pictures: sequence of str, names of files in the folder `PICTURES`.
    """
    parts = [
        f"---\n{yaml.safe_dump(_head(metadata), sort_keys=False, allow_unicode=True)}---",
        _MARK,
        f"# {_plain(name)}",
        _sentence(metadata["description"]),
        f"A model that finds when actions of {counted(architecture.num_classes, 'class')} happen: "
        "features of a video or a sensor go in; start, end, class and score of each action come "
        f"out. It is an ActionFormer of {metadata['num_parameters']:,} parameters for "
        "[keras-actionformer](https://pypi.org/project/keras-actionformer/).",
        *(
            f"![{_plain(pathlib.Path(one).stem)}]({PICTURES}/{urllib.parse.quote(one)})"
            for one in pictures
        ),
        f"## Use\n\n{_use(architecture, metadata)}",
        f"## Features\n\n{_features(architecture, metadata)}",
        f"## Classes\n\n{_classes(architecture, metadata)}",
        metadata["scores"] and f"## Scores\n\n{_scores(metadata['scores'])}",
        f"## Origin and licence\n\n{_origin(metadata)}",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(metadata):
    licence = metadata["licence"]
    known = licence.lower() in _LICENCES
    told = {"license": licence.lower()} if known else {"license": "other", "license_name": licence}
    return {
        "library_name": "keras-actionformer",
        **(told if licence else {}),
        "tags": ["temporal-action-localization", "action-detection", "keras"],
    }


def _use(architecture, metadata):
    lines = [
        "```python",
        "from keras_actionformer import ActionFormer",
        "",
        'model = ActionFormer.from_preset("THIS_FOLDER")  # or "hf://ORGANIZATION/NAME"',
        f"found = model.detect(feats)  # (steps, {architecture.channels}) floats",
    ]
    if metadata["thresholds"]:
        lines.append("print(found.bouts(model.thresholds))  # with the scores of the table below")
    else:
        lines.append("print(found.top_k(10))")
    return "\n".join([*lines, "```"])


def _features(architecture, metadata):
    record = metadata["encoder"] and describe_record(metadata["encoder"])
    told = [text for text in (metadata["feature_encoder"], record) if text]
    lines = [f"- Computed by: {_plain(text)}." for text in told]
    lines = lines or ["- It is not told what computes them."]
    channels = architecture.input_dim
    if isinstance(channels, tuple):
        channels = f"{' + '.join(map(str, channels))} of {counted(len(channels), 'stream')}"
    lines.append(f"- Channels a step: {channels}.")
    grid = metadata["grid"]
    if grid is None:
        lines.append("- Timing: each sequence has its own.")
    else:
        rate = "of any frame rate" if grid["fps"] is None else f"of {grid['fps']:g} frames a second"
        lines.append(
            f"- Timing: {rate}, a step every {grid['stride_frames']:g} frames, of which each has "
            f"seen {grid['window_frames']:g}."
        )
    return "\n".join(lines)


def _classes(architecture, metadata):
    names = metadata["class_names"] or [f"class_{i}" for i in range(architecture.num_classes)]
    thresholds = metadata["thresholds"]
    if not thresholds:
        return f"{', '.join(map(_plain, names))}."
    own = thresholds["per_class"] or [None] * len(names)
    rows = [("| class", "| counts from a score of |"), ("|---", "|---|")]
    for name, threshold in zip(names, own, strict=True):
        score = thresholds["common"] if threshold is None else threshold
        rows.append((f"| {_plain(name)}", f"| {score:g} |"))
    return table(rows, ("<",), gap=" ")


def _scores(scores):
    rows = [("| tIoU", "| mAP (percent) |"), ("|---", "|---|")]
    rows += [(f"| {_plain(name)}", f"| {_number(score)} |") for name, score in scores.items()]
    return table(rows, ("<",), gap=" ")


def _number(score):
    return f"{score:.2f}" if isinstance(score, int | float) else _plain(score)


def _origin(metadata):
    lines = [f"- Weights: {_plain(metadata['source'])}."] if metadata["source"] else []
    licence = metadata["licence"]
    lines.append(
        f"- Licence: {_plain(licence)}."
        if licence
        else "- No licence is told: ask who has made it before you use it."
    )
    versions = ", ".join(f"{name} {number}" for name, number in metadata["versions"].items())
    return "\n".join([*lines, f"- Saved by {versions}."])


def _sentence(text):
    text = _plain(text)
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."


def _plain(text):
    """A text on one line that Markdown shows as it is: names are other people's."""
    text = html.escape(" ".join(str(text).split()), quote=False)
    text = re.sub(r"([\\`*_\[\]|#~$])", r"\\\1", text)
    return re.sub(r"^(\d*)([-+.)])(?=[ -]|$)", r"\1\\\2", text)  # no item of a list, no rule
