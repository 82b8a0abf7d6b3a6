"""Projects of the VGG Image Annotator 3 (VIA), JSON with temporal segments: read and written."""

import functools
import mimetypes

from keras_actionformer.checks import number, shown
from keras_actionformer.data.drafts import address_of
from keras_actionformer.data.entries import (
    add_action,
    file_name,
    json_field,
    media_entry,
    with_spans,
)
from keras_actionformer.errors import UserError

_PARTS = ("project", "attribute", "file", "view", "metadata")
# Types of attributes; of a checkbox several options may be chosen.
_TEXT, _CHECKBOX, _SELECT = 1, 2, 4
_VIDEO, _AUDIO = 4, 8  # types of files
_HTTP, _DISK = "2", "3"  # where a file is
_OF_SEGMENTS = "FILE1_Z2_XY0"  # where an attribute is anchored: one file, two times, no region
_USUAL_NAME = "TEMPORAL-SEGMENTS"  # what VIA calls the one that every project begins with


# Of an object: (where, item, name, kind).
_field = functools.partial(json_field, writer="VIA writes it")


def is_via(content):
    """Whether the content of a JSON file is a project of VIA 3."""
    return isinstance(content, dict) and all(isinstance(content.get(p), dict) for p in _PARTS)


def via_entries(source, content, reading):
    """Makes entries of a project's temporal segments, seconds in its files.

    Args:
      source: str, the file as errors name it.
      content: dict, see `is_via`.
      reading: `Reading`.

    Returns:
      dict, the entries that `build_annotations` takes.

    Raises:
      UserError: something is wrong, or it is not clear what the labels are.
    """
    segments = {}
    for key, item in content["metadata"].items():
        where = f"{source}, metadata {key!r:.40}"
        times = _field(where, item, "z", list)
        # A region of a picture has one time, and a region may have two.
        if len(times) == 2 and not item.get("xy"):
            segments[key] = where, item, [number(f"{where}: 'z'", time) for time in times]
    attribute_id = _attribute(source, content["attribute"], segments)
    entries = {}
    for view_id in content["view"]:
        media_entry(entries, f"{source}, view {view_id!r:.40}", _file(source, content, view_id))
    for where, item, times in segments.values():
        entry = media_entry(entries, where, _file(where, content, _key(where, item, "vid")))
        values = _field(where, item, "av", dict)
        for label in _labels(where, values.get(attribute_id), content["attribute"][attribute_id]):
            add_action(entry, where, label, *times)
    return with_spans(entries, source, reading.tell)


def _attribute(source, attributes, segments):
    """Returns the id of the attribute that holds the labels."""
    used = {}
    for where, item, _ in segments.values():
        for key in _field(where, item, "av", dict):
            if key not in attributes:
                raise UserError(f"{where}: 'av' has {key!r:.40}, which is no attribute.")
            used[key] = _field(f"{source}, attribute {key!r:.40}", attributes[key], "aname", str)
    for condition in (
        lambda key: attributes[key].get("anchor_id") == _OF_SEGMENTS,
        lambda key: used[key] == _USUAL_NAME,
    ):
        if len(used) > 1:
            used = {key: name for key, name in used.items() if condition(key)} or used
    if not used:
        raise UserError(f"{source} has no temporal segment with a value.")
    if len(used) > 1:
        names = " or ".join(map(repr, used.values()))
        raise UserError(
            f"{source}: the label of a segment may be its {names}; keep one of these attributes in "
            f"VIA, or call it {_USUAL_NAME}."
        )
    return next(iter(used))


def _file(where, content, view_id):
    """Returns the name of the one file that a view shows."""
    view = content["view"].get(view_id)
    ids = _field(f"{where}, view {view_id!r:.40}", view, "fid_list", list)
    if len(ids) != 1:
        raise UserError(
            f"{where}: the view {view_id!r:.40} shows {len(ids)} files, and which of them is meant "
            "is not clear; a view must show one."
        )
    # The list may hold numbers, while keys are texts.
    file = content["file"].get(ids[0] if isinstance(ids[0], str) else f"{ids[0]!r:.40}")
    return file_name(_field(f"{where}, file {ids[0]!r:.40}", file, "fname", str))


def _labels(where, value, attribute):
    """Returns the labels that the value of an attribute stands for."""
    options = attribute.get("options") or {}
    if not isinstance(value, str) or not value.strip() or not isinstance(options, dict):
        raise UserError(f"{where} must have a label in 'av', but it is {shown(value)}.")
    keys = [value]
    if attribute.get("type") == _CHECKBOX and options:
        keys = [key for key in value.split(",") if key.strip()]
    labels = [options.get(key, key) for key in keys]
    if not all(isinstance(label, str) and label.strip() for label in labels):
        raise UserError(f"{where} must have a label in 'av', but it is {shown(labels)}.")
    return [label.strip() for label in labels]


def _key(where, item, name):
    value = item.get(name)
    if not isinstance(value, str | int):
        raise UserError(f"{where} must have {name!r}, the id of a view, but it is {shown(value)}.")
    return str(value)


# === Writing ===


def via_project(drafts):
    """Returns a project of `Draft`s that have media files, as JSON holds it.

    Scores are an attribute of their own.
    """
    options = dict.fromkeys(name for draft in drafts for name in draft.class_names)
    files, views, metadata = {}, {}, {}
    # VIA takes the id of a file for that of its view when a segment is changed.
    for id_, draft in enumerate(drafts, start=1):
        is_sound = (mimetypes.guess_type(draft.media)[0] or "").startswith("audio")
        address = address_of(draft.media)
        files[str(id_)] = {
            "fid": str(id_),
            "fname": file_name(draft.media),
            "type": _AUDIO if is_sound else _VIDEO,
            "loc": int(_DISK if address.startswith("file:") else _HTTP),
            "src": address,
        }
        views[str(id_)] = {"fid_list": [str(id_)]}
        for number_, span in enumerate(draft.spans, start=1):
            metadata[f"{id_}_{number_}"] = {
                "vid": str(id_),
                "flg": 0,
                "z": span.times_sec,
                "xy": [],
                "av": {"1": span.label, "2": f"{span.score:.4f}"},
            }
    return {
        "project": {
            # Of a project that no server of VIA shares.
            "pid": "__VIA_PROJECT_ID__",
            "rev": "__VIA_PROJECT_REV_ID__",
            "rev_timestamp": "__VIA_PROJECT_REV_TIMESTAMP__",
            "pname": "Drafts of keras-actionformer",
            "creator": "keras-actionformer",
            "created": 0,
            "data_format_version": "3.1.1",
            "vid_list": list(views),
        },
        "config": {
            "file": {"loc_prefix": {"1": "", _HTTP: "", _DISK: "", "4": ""}},
            "ui": {"file_content_align": "center"},
        },
        "attribute": {
            "1": _attribute_of_segments(_USUAL_NAME, _SELECT, {name: name for name in options}),
            "2": _attribute_of_segments("score", _TEXT, {}),
        },
        "file": files,
        "view": views,
        "metadata": metadata,
    }


def _attribute_of_segments(name, kind, options):
    return {
        "aname": name,
        "anchor_id": _OF_SEGMENTS,
        "type": kind,
        "desc": "",
        "options": options,
        "default_option_id": "",
    }
