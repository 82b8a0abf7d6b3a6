"""ELAN's annotation files (.eaf): XML of the formats 2.7 to 3.0, read; 3.0, written.

The standard library reads them: what is needed is few elements, of which errors can name the line,
and a document type, with which a small file can grow without end, is refused before it is read.
"""

import dataclasses
import datetime
import mimetypes
import pathlib
import re
import urllib.parse
from xml.etree import ElementTree
from xml.parsers import expat

from keras_actionformer.checks import shown
from keras_actionformer.data.drafts import address_of, without_overlap
from keras_actionformer.data.entries import (
    add_action,
    file_name,
    media_entry,
    with_spans,
)
from keras_actionformer.data.table_files import MOST_BYTES
from keras_actionformer.errors import UserError
from keras_actionformer.files import read_bytes

_SCORES = "scores of a draft"  # a type of tiers, which nobody needs to be told of


def elan_entries(path, reading):
    """Reads an ELAN file: the annotations of all tiers that depend on no other.

    A label is the value of an annotation, or the name of its tier where no annotation has a value.

    Args:
      path: str or `os.PathLike`.
      reading: `Reading`.

    Returns:
      dict, the entries that `build_annotations` takes.

    Raises:
      UserError: the file is unreadable, or it is not clear what its labels or its video are.
    """
    source = f"Annotation file '{path}'"
    document = _Document(source, read_bytes(path, "Annotation file", MOST_BYTES))
    name, offset_sec = _video(source, document.media, pathlib.Path(path).stem)
    spans = [span for span in document.spans if not document.tiers[span.tier]]
    with_value = [span for span in spans if span.value]
    without = next((span for span in spans if not span.value), None)
    if with_value and without:
        raise UserError(
            f"{without.where}: this annotation of the tier {without.tier!r} has no value, and "
            "others have one, so that a label may be the value or the name of the tier; give all "
            "of them a value, or none."
        )
    _tell_tiers(source, document, spans, reading.tell)
    entries = {}
    entry = media_entry(entries, source, name)
    for span in spans:
        times = [document.seconds(span, slot) + offset_sec for slot in span.slots]
        add_action(entry, span.where, span.value or span.tier, *(round(t, 6) for t in times))
    return with_spans(entries, source, reading.tell)


def _video(source, media, stem):
    """Returns (the file that the annotations are about, where their time 0 is in it, in s)."""
    origins = {}
    for attributes in media:
        name = file_name(urllib.parse.unquote(attributes.get("MEDIA_URL", "")))
        origin = attributes.get("TIME_ORIGIN", "0")
        if not re.fullmatch("-?[0-9]{1,12}", origin):
            raise UserError(f"{source}: TIME_ORIGIN must be milliseconds, but is {shown(origin)}.")
        if name:
            # A sound track beside the video is called as it is.
            known = origins.setdefault(pathlib.PurePosixPath(name).stem, (name, int(origin) / 1000))
            if known[1] != int(origin) / 1000:
                raise UserError(
                    f"{source}: {known[0]!r} and {name!r} begin at different times, and which of "
                    "them the features are of is not clear; link one of them in ELAN."
                )
    if len(origins) > 1 and stem not in origins:
        names = " and ".join(repr(name) for name, _ in origins.values())
        raise UserError(
            f"{source} is about {names}, and which of them the features are of is not clear; "
            "give this file the name of that one."
        )
    if len(origins) == 1:
        return next(iter(origins.values()))
    return origins.get(stem, (stem, 0.0))


def _tell_tiers(source, document, spans, tell):
    """Says what was decided where a file has several tiers."""
    used = {span.tier for span in spans}
    passed = {span.tier for span in document.spans} - used
    passed |= {tier for tier in document.referring if document.tiers[tier]}
    if passed:
        tell(
            f"{source}: the tiers {_names(passed)} depend on others and are left out; labels are "
            f"those of {_names(used)}."
        )
    elif len(used) > 1 and not all(span.value == span.tier for span in spans):
        what = "the values" if any(span.value for span in spans) else "the names"
        tell(f"{source}: labels are {what} of the tiers {_names(used)}.")


def _names(tiers):
    return ", ".join(map(repr, sorted(tiers))) or "none"


@dataclasses.dataclass(frozen=True)
class _Span:
    """An annotation with times of its own.

    Args:
      where: str, its place as errors name it.
      tier, value: str.
      slots: list of str, the ids of its start and its end.
    """

    where: str
    tier: str
    value: str
    slots: list


class _Document:
    """What stands in an ELAN file.

    Attributes:
      media: list of dict, the attributes of its media files.
      tiers: dict, name of a tier -> whether it depends on another.
      spans: list of `_Span`.
      referring: set of str, tiers of annotations that have the time of another.
    """

    def __init__(self, source, content):
        self.media, self.tiers, self.spans, self.referring = [], {}, [], set()
        self._source, self._slots, self._path = source, {}, []
        self._tier = self._span = None
        parser = self._parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._refuse
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.CharacterDataHandler = self._characters
        try:
            parser.Parse(content, True)
        except UserError:
            raise
        # An unknown encoding is a LookupError or, of several bytes a letter, a ValueError.
        except (expat.ExpatError, LookupError, ValueError) as error:
            raise UserError(f"{source} is no valid XML ({error}); save it anew in ELAN.") from None
        del self._parser

    def seconds(self, span, slot):
        """The time of one of a span's slots."""
        if self._slots.get(slot) is None:
            raise UserError(
                f"{span.where}: the time slot {shown(slot)} has no time; align the annotations of "
                f"the tier {span.tier!r} in ELAN."
            )
        return self._slots[slot] / 1000

    def _place(self):
        return f"{self._source}, line {self._parser.CurrentLineNumber}"

    def _refuse(self, *_):
        raise UserError(
            f"{self._place()} has a document type, and ELAN writes none; save it anew in ELAN."
        )

    def _start(self, tag, attributes):
        if not self._path and tag != "ANNOTATION_DOCUMENT":
            raise UserError(f"{self._place()}: {shown(tag)} begins no file of ELAN.")
        self._path.append(tag)
        if tag == "HEADER" and attributes.get("TIME_UNITS", "milliseconds") != "milliseconds":
            raise UserError(
                f"{self._place()}: times must be milliseconds, but TIME_UNITS is "
                f"{shown(attributes['TIME_UNITS'])}."
            )
        if tag == "MEDIA_DESCRIPTOR":
            self.media.append(attributes)
        elif tag == "TIME_SLOT":
            value = attributes.get("TIME_VALUE")
            if value is not None and not re.fullmatch("[0-9]{1,12}", value):
                raise UserError(
                    f"{self._place()}: TIME_VALUE must be milliseconds, but is {shown(value)}."
                )
            slot = self._need(attributes, "TIME_SLOT_ID")
            self._slots[slot] = None if value is None else int(value)
        elif tag == "TIER" and attributes.get("LINGUISTIC_TYPE_REF") != _SCORES:
            self._tier = self._need(attributes, "TIER_ID")
            self.tiers[self._tier] = "PARENT_REF" in attributes
        elif tag == "ALIGNABLE_ANNOTATION":
            slots = [self._need(attributes, f"TIME_SLOT_REF{i}") for i in (1, 2)]
            self._span = self._place(), slots, []
        elif tag == "REF_ANNOTATION" and self._tier is not None:
            self.referring.add(self._tier)

    def _need(self, attributes, name):
        if name not in attributes:
            raise UserError(f"{self._place()}: {self._path[-1]} lacks {name}.")
        return attributes[name]

    def _characters(self, text):
        if self._span and self._path[-1] == "ANNOTATION_VALUE":
            self._span[2].append(text)

    def _end(self, tag):
        self._path.pop()
        if tag == "ALIGNABLE_ANNOTATION" and self._span:
            where, slots, texts = self._span
            if self._tier is None:
                raise UserError(f"{where}: this annotation is in no tier.")
            self.spans.append(_Span(where, self._tier, " ".join("".join(texts).split()), slots))
            self._span = None
        elif tag == "TIER":
            self._tier = None


# === Writing ===

_CLASSES, _NO_LANGUAGE = "classes", "und"


def elan_text(draft):
    """Returns a `Draft` as a file of ELAN.

    Annotations of a class are in a tier of its name, and those that overlap in one more, as a tier
    cannot hold them. A tier that depends on it has the scores. Labels are chosen from a list.
    """
    root = ElementTree.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "keras-actionformer",
            "DATE": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "FORMAT": "3.0",
            "VERSION": "3.0",
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsi:noNamespaceSchemaLocation": "http://www.mpi.nl/tools/elan/EAFv3.0.xsd",
        },
    )
    header = _add(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    if draft.media is not None:
        mime_type = mimetypes.guess_type(draft.media)[0] or "unknown"
        _add(header, "MEDIA_DESCRIPTOR", MEDIA_URL=address_of(draft.media), MIME_TYPE=mime_type)
    last = _add(header, "PROPERTY", NAME="lastUsedAnnotationId")
    last.text = str(2 * len(draft.spans))
    # Each annotation has a slot for its start and one for its end, and slots are in order.
    times = sorted(
        (time_ms, place, side)
        for place, span in enumerate(draft.spans)
        for side, time_ms in enumerate((span.start_ms, span.end_ms))
    )
    order, slots = _add(root, "TIME_ORDER"), {}
    for number, (time_ms, *key) in enumerate(times, start=1):
        slots[tuple(key)] = f"ts{number}"
        _add(order, "TIME_SLOT", TIME_SLOT_ID=f"ts{number}", TIME_VALUE=str(time_ms))
    _add_tiers(root, draft, slots)
    _add_types(root, draft.class_names)
    ElementTree.indent(root)
    return ElementTree.tostring(root, "unicode", xml_declaration=False).join(
        ('<?xml version="1.0" encoding="UTF-8"?>\n', "\n")
    )


def _add(parent, tag, **attributes):
    return ElementTree.SubElement(parent, tag, attributes)


def _add_tiers(root, draft, slots):
    """Adds the tiers of the classes that were found, or one to begin with."""
    places = {id(span): place for place, span in enumerate(draft.spans)}
    labels = sorted({span.label for span in draft.spans})
    names = set()
    for label in labels:
        for spans in without_overlap([span for span in draft.spans if span.label == label]):
            tier = _add(root, "TIER", LINGUISTIC_TYPE_REF=_CLASSES, TIER_ID=_unused(label, names))
            scores = _add(
                root,
                "TIER",
                LINGUISTIC_TYPE_REF=_SCORES,
                PARENT_REF=tier.get("TIER_ID"),
                TIER_ID=_unused(f"{tier.get('TIER_ID')}: score", names),
            )
            for span in spans:
                place = places[id(span)]
                annotation_id, score_id = f"a{2 * place + 1}", f"a{2 * place + 2}"
                annotation = _add(
                    _add(tier, "ANNOTATION"),
                    "ALIGNABLE_ANNOTATION",
                    ANNOTATION_ID=annotation_id,
                    TIME_SLOT_REF1=slots[place, 0],
                    TIME_SLOT_REF2=slots[place, 1],
                )
                _add(annotation, "ANNOTATION_VALUE").text = label
                score = _add(
                    _add(scores, "ANNOTATION"),
                    "REF_ANNOTATION",
                    ANNOTATION_ID=score_id,
                    ANNOTATION_REF=annotation_id,
                )
                _add(score, "ANNOTATION_VALUE").text = f"{span.score:.4f}"
    if not labels:
        _add(root, "TIER", LINGUISTIC_TYPE_REF=_CLASSES, TIER_ID=_CLASSES)


def _unused(name, names):
    """The name, with a number where another tier has it."""
    found, number = name, 1
    while found in names:
        number += 1
        found = f"{name} {number}"
    names.add(found)
    return found


def _add_types(root, class_names):
    """Adds what kinds of tiers there are, and the list that labels are chosen from."""
    _add(
        root,
        "LINGUISTIC_TYPE",
        CONTROLLED_VOCABULARY_REF=_CLASSES,
        GRAPHIC_REFERENCES="false",
        LINGUISTIC_TYPE_ID=_CLASSES,
        TIME_ALIGNABLE="true",
    )
    _add(
        root,
        "LINGUISTIC_TYPE",
        CONSTRAINTS="Symbolic_Association",
        GRAPHIC_REFERENCES="false",
        LINGUISTIC_TYPE_ID=_SCORES,
        TIME_ALIGNABLE="false",
    )
    _add(
        root,
        "LANGUAGE",
        LANG_DEF="http://cdb.iso.org/lg/CDB-00130975-001",
        LANG_ID=_NO_LANGUAGE,
        LANG_LABEL="undetermined (und)",
    )
    _add(
        root,
        "CONSTRAINT",
        DESCRIPTION="1-1 association with a parent annotation",
        STEREOTYPE="Symbolic_Association",
    )
    vocabulary = _add(root, "CONTROLLED_VOCABULARY", CV_ID=_CLASSES)
    _add(vocabulary, "DESCRIPTION", LANG_REF=_NO_LANGUAGE)
    for number, name in enumerate(class_names, start=1):
        entry = _add(vocabulary, "CV_ENTRY_ML", CVE_ID=f"cve{number}")
        _add(entry, "CVE_VALUE", DESCRIPTION="", LANG_REF=_NO_LANGUAGE).text = name
