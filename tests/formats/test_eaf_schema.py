"""EAF against its schema: what EAFv3.0.xsd (Max Planck Institute for Psycholinguistics, "ELAN Annotation Format", 2017)
demands of the elements that this project writes, as a table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from urllib.parse import urlparse
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest
from hypothesis import given, settings

from diarize.formats import eaf
from diarize.types import Speaker, Transcript, Turn, Word
from tests.formats.samples import EMPTY, HOSTILE, MEETING, WORDLESS, golden, transcripts

XSI = "{http://www.w3.org/2001/XMLSchema-instance}noNamespaceSchemaLocation"
NAME = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)  # an NCName, as far as ids go: xsd:ID

Check = Callable[[str], object]


def is_any(value: str) -> bool:
    return True


def is_id(value: str) -> bool:
    return NAME.fullmatch(value) is not None


def is_boolean(value: str) -> bool:
    return value in ("true", "false", "0", "1")


def is_unsigned(value: str) -> bool:
    return value.isascii() and value.isdigit() and int(value) < 2**32


def is_uri(value: str) -> bool:
    return urlparse(value).geturl() == value and " " not in value and value.isascii()


def is_time(value: str) -> bool:
    return datetime.fromisoformat(value).tzinfo is not None


def is_unit(value: str) -> bool:
    return value in ("NTSC-frames", "PAL-frames", "PAL-50-frames", "milliseconds")


# element -> (attributes that it must have, that it may have), children in their order with the least and most of each
MANY = 10**9
SCHEMA: dict[str, tuple[dict[str, Check], dict[str, Check], list[tuple[str, int, int]]]] = {
    "ANNOTATION_DOCUMENT": (
        {"DATE": is_time, "AUTHOR": is_any, "VERSION": lambda value: value == "3.0"},
        {"FORMAT": lambda value: value == "3.0", XSI: is_any},
        [("LICENSE", 0, MANY), ("HEADER", 1, 1), ("TIME_ORDER", 1, 1), ("TIER", 0, MANY), ("LINGUISTIC_TYPE", 0, MANY)],
    ),
    "HEADER": (
        {},
        {"MEDIA_FILE": is_any, "TIME_UNITS": is_unit},
        [("MEDIA_DESCRIPTOR", 0, MANY), ("LINKED_FILE_DESCRIPTOR", 0, MANY), ("PROPERTY", 0, MANY)],
    ),
    "MEDIA_DESCRIPTOR": ({"MEDIA_URL": is_uri, "MIME_TYPE": is_any}, {"RELATIVE_MEDIA_URL": is_uri}, []),
    "PROPERTY": ({}, {"NAME": is_any}, []),
    "TIME_ORDER": ({}, {}, [("TIME_SLOT", 0, MANY)]),
    "TIME_SLOT": ({"TIME_SLOT_ID": is_id}, {"TIME_VALUE": is_unsigned}, []),
    "TIER": (
        {"TIER_ID": is_any, "LINGUISTIC_TYPE_REF": is_any},
        {"PARTICIPANT": is_any, "ANNOTATOR": is_any},
        [("ANNOTATION", 0, MANY)],
    ),
    "ANNOTATION": ({}, {}, [("ALIGNABLE_ANNOTATION", 1, 1)]),
    "ALIGNABLE_ANNOTATION": (
        {"ANNOTATION_ID": is_id, "TIME_SLOT_REF1": is_id, "TIME_SLOT_REF2": is_id},
        {},
        [("ANNOTATION_VALUE", 1, 1)],
    ),
    "ANNOTATION_VALUE": ({}, {}, []),
    "LINGUISTIC_TYPE": (
        {"LINGUISTIC_TYPE_ID": is_any},
        {"TIME_ALIGNABLE": is_boolean, "GRAPHIC_REFERENCES": is_boolean},
        [],
    ),
}
WITH_TEXT = ("PROPERTY", "ANNOTATION_VALUE")


def problems(text: str) -> list[str]:
    """What the schema does not allow in a document."""
    root = ElementTree.fromstring(text)
    found = [] if root.tag == "ANNOTATION_DOCUMENT" else [f"the root is {root.tag}"]
    found += _structure(root)
    ids = [value for e in root.iter() for name, value in e.attrib.items() if name in ("TIME_SLOT_ID", "ANNOTATION_ID")]
    slots = {e.get("TIME_SLOT_ID") for e in root.iter("TIME_SLOT")}
    references = [e.get(f"TIME_SLOT_REF{k}") for e in root.iter("ALIGNABLE_ANNOTATION") for k in (1, 2)]
    tiers = [e.get("TIER_ID") for e in root.iter("TIER")]
    types = [e.get("LINGUISTIC_TYPE_ID") for e in root.iter("LINGUISTIC_TYPE")]
    used = {e.get("LINGUISTIC_TYPE_REF") for e in root.iter("TIER")}
    rules = {
        "an id (xsd:ID) twice": len(set(ids)) < len(ids),
        "a reference to no time slot": not set(references) <= slots,
        "a tier (tierNameKey) twice": len(set(tiers)) < len(tiers),
        "a type (linguisticTypeNameKey) twice": len(set(types)) < len(types),
        "a tier of no type": not used <= set(types),
    }
    return found + [rule for rule, is_broken in rules.items() if is_broken]


def _structure(element: Element) -> Iterator[str]:
    if element.tag not in SCHEMA:
        yield f"{element.tag} is not known"
        return
    needed, allowed, children = SCHEMA[element.tag]
    yield from (f"{element.tag} lacks {name}" for name in needed if name not in element.attrib)
    for name, value in element.attrib.items():
        check = {**needed, **allowed}.get(name)
        if check is None or not check(value):
            yield f"{element.tag}: {name}={value!r}"
    if element.tag not in WITH_TEXT and (element.text or "").strip():
        yield f"{element.tag} has text"
    at = 0
    tags = [child.tag for child in element]
    for tag, least, most in children:
        count = 0
        while at < len(tags) and tags[at] == tag:
            count, at = count + 1, at + 1
        if not least <= count <= most:
            yield f"{element.tag} has {count} {tag}"
    if at < len(tags):
        yield f"{element.tag}: {tags[at]} is out of place"
    for child in element:
        yield from _structure(child)


@pytest.mark.parametrize("transcript", [MEETING, EMPTY, WORDLESS], ids=["meeting", "empty", "wordless"])
def test_documents_are_valid(transcript: Transcript) -> None:
    assert problems(eaf.dumps(transcript)) == []


@settings(deadline=None)
@given(transcripts())
def test_every_document_is_valid(transcript: Transcript) -> None:
    assert problems(eaf.dumps(transcript)) == []


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_hostile_name_gives_a_valid_document(name: str) -> None:
    source = MEETING.provenance.source
    assert source is not None
    provenance = replace(MEETING.provenance, product=name, source=replace(source, path=name))
    words = (Word(0, 1, name, 1.0, name),)
    talk = Transcript(name, 9.0, None, (Speaker(name, name),), (Turn(0, 9, name),), words, provenance=provenance)
    assert problems(eaf.dumps(talk)) == []


def test_names_that_xml_cannot_tell_apart_are_two_tiers() -> None:
    """Both are `x` and a replacement character in XML."""
    speakers = (Speaker("1", "x\ufffe"), Speaker("2", "x\uffff"), Speaker("3", "x\udcff"))
    turns = tuple(Turn(i, i + 1, str(i + 1)) for i in range(3))
    assert problems(eaf.dumps(Transcript("r", 9.0, None, speakers, turns))) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('TIME_SLOT_ID="ts2"', 'TIME_SLOT_ID="ts1"', "an id (xsd:ID) twice"),
        ('TIME_SLOT_REF1="ts1"', 'TIME_SLOT_REF1="ts999"', "a reference to no time slot"),
        ('TIME_VALUE="500"', 'TIME_VALUE="0.5"', "TIME_SLOT: TIME_VALUE='0.5'"),
        ('DATE="1970-01-01T00:00:00+00:00" ', "", "ANNOTATION_DOCUMENT lacks DATE"),
        (
            "<TIME_ORDER>",
            "<TIER TIER_ID='x' LINGUISTIC_TYPE_REF='turns'/><TIME_ORDER>",
            "ANNOTATION_DOCUMENT has 0 TIME_ORDER",
        ),
        ('LINGUISTIC_TYPE_REF="turns"', 'LINGUISTIC_TYPE_REF="other"', "a tier of no type"),
    ],
)
def test_the_table_finds_mistakes(old: str, new: str, problem: str) -> None:
    text = golden("eaf").read_text(encoding="utf-8")
    assert old in text
    assert any(problem in each for each in problems(text.replace(old, new, 1)))
