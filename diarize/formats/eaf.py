"""ELAN Annotation Format 3.0 (schema EAFv3.0.xsd): times in milliseconds.

For each speaker a tier with the turns and their text, and one with the words; both have the speaker as PARTICIPANT.
Each annotation has time slots of its own, in the order of time.
"""

from __future__ import annotations

import mimetypes
from itertools import pairwise
from pathlib import PurePosixPath
from urllib.parse import quote
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from diarize.errors import FormatError
from diarize.formats.tiers import LATEST, SPEAKER, WORDS, Tier, TierFile, for_xml, from_tiers, parse_xml, tiers_of
from diarize.text import counted
from diarize.types import Transcript

_SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
# The format requires a date. The same transcript gives the same bytes, so it is always this one.
_DATE = "1970-01-01T00:00:00+00:00"
_TYPES = ("turns", "words")


def dumps(transcript: Transcript) -> str:
    """A document with the media of the transcript; without tiers if nobody speaks."""
    root = Element("ANNOTATION_DOCUMENT", {"AUTHOR": for_xml(transcript.provenance.product), "DATE": _DATE})
    root.attrib |= {"FORMAT": "3.0", "VERSION": "3.0", "xmlns:xsi": _INSTANCE}
    root.set("xsi:noNamespaceSchemaLocation", _SCHEMA)
    header = SubElement(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    source = transcript.provenance.source
    if source is not None:
        name = quote(PurePosixPath(source.path).name, errors="replace")
        kind = mimetypes.guess_type(name)[0] or "audio/x-wav"
        media = {"MEDIA_URL": f"./{name}", "MIME_TYPE": kind, "RELATIVE_MEDIA_URL": f"./{name}"}
        SubElement(header, "MEDIA_DESCRIPTOR", media)

    tiers = tiers_of(transcript)
    times = sorted(
        (time, (i, j, k))
        for i, tier in enumerate(tiers)
        for j, (start, end, _) in enumerate(tier.labels)
        for k, time in enumerate((start, end))
    )
    slots = {place: f"ts{number}" for number, (_, place) in enumerate(times, 1)}
    annotations = sum(len(tier.labels) for tier in tiers)
    SubElement(header, "PROPERTY", NAME="lastUsedAnnotationId").text = str(annotations)
    order = SubElement(root, "TIME_ORDER")
    for number, (time, _) in enumerate(times, 1):
        SubElement(order, "TIME_SLOT", TIME_SLOT_ID=f"ts{number}", TIME_VALUE=str(time))
    number = 0
    for i, tier in enumerate(tiers):
        kind = _TYPES[tier.name != tier.speaker]
        names = {"LINGUISTIC_TYPE_REF": kind, "PARTICIPANT": for_xml(tier.speaker), "TIER_ID": for_xml(tier.name)}
        element = SubElement(root, "TIER", names)
        for j, (_, _, text) in enumerate(tier.labels):
            number += 1
            slots_of = {"TIME_SLOT_REF1": slots[i, j, 0], "TIME_SLOT_REF2": slots[i, j, 1]}
            parent = SubElement(element, "ANNOTATION")
            annotation = SubElement(parent, "ALIGNABLE_ANNOTATION", {"ANNOTATION_ID": f"a{number}", **slots_of})
            SubElement(annotation, "ANNOTATION_VALUE").text = for_xml(text)
    for kind in _TYPES:
        flags = {"GRAPHIC_REFERENCES": "false", "LINGUISTIC_TYPE_ID": kind, "TIME_ALIGNABLE": "true"}
        SubElement(root, "LINGUISTIC_TYPE", flags)
    ElementTree.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def loads(text: str, where: str) -> TierFile:
    """The tiers whose annotations have times, as ELAN, pympi and this project write them. Raises FormatError.

    The participant of a tier is its speaker; a tier without one is named after its speaker.
    """
    root = parse_xml(text.lstrip("\ufeff"), where)
    if root.tag != "ANNOTATION_DOCUMENT":
        raise FormatError(where, "not an ELAN document")
    header = root.find("HEADER")
    if header is not None and header.get("TIME_UNITS", "milliseconds") != "milliseconds":
        raise FormatError(where, f"times in {header.get('TIME_UNITS', '')[:40]!r}, not in milliseconds")
    times = _read_times(root, where)
    tiers, notes = [], []
    for element in root.iter("TIER"):
        name = element.get("TIER_ID", "")
        labels = []
        for annotation in element.iter("ALIGNABLE_ANNOTATION"):
            ends = [times.get(annotation.get(f"TIME_SLOT_REF{k}", "")) for k in (1, 2)]
            start, end = ends
            if start is None or end is None or not start < end:
                raise FormatError(where, f"an annotation without a valid time in the tier {name[:40]!r}")
            labels.append((start, end, " ".join((annotation.findtext("ANNOTATION_VALUE") or "").split())))
        if references := sum(1 for _ in element.iter("REF_ANNOTATION")):
            notes.append(f"{counted(references, 'annotation')} without times in the tier {name[:40]!r} not read")
            if not labels:
                continue
        speaker = element.get("PARTICIPANT") or name.removesuffix(WORDS).removesuffix(SPEAKER)
        tiers.append(Tier(name, speaker, tuple(sorted(labels))))
    return from_tiers(tiers, notes)


def _read_times(root: Element, where: str) -> dict[str, int]:
    """Time slot -> ms. One without a time lies evenly between its neighbours (ELAN manual, "unaligned slots")."""
    slots: list[tuple[str, int | None]] = []
    for element in root.iter("TIME_SLOT"):
        value = element.get("TIME_VALUE")
        if value is not None and not (value.isascii() and value.isdigit() and len(value) < 12 and int(value) < LATEST):
            raise FormatError(where, f"{value[:40]!r} is no time in milliseconds")
        slots.append((element.get("TIME_SLOT_ID", ""), None if value is None else int(value)))
    times: dict[str, int] = {}
    known = [i for i, (_, time) in enumerate(slots) if time is not None]
    for i in known:
        times[slots[i][0]] = slots[i][1] or 0
    for before, after in pairwise(known):
        first, last = slots[before][1] or 0, slots[after][1] or 0
        for i in range(before + 1, after):
            times[slots[i][0]] = first + (last - first) * (i - before) // (after - before)
    return times
