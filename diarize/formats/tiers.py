"""What editors for annotation show: a tier of turns for each speaker, with their text, and a tier of words.

Praat TextGrid and ELAN EAF are written from `tiers_of`. All files that people bring back from an editor are read as a
`TierFile`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast
from xml.etree import ElementTree

from diarize.errors import FormatError
from diarize.formats.naming import make_labels, visible
from diarize.formats.segments import text_segments
from diarize.formats.times import round_transcript
from diarize.types import Transcript
from diarize.units import to_milliseconds

WORDS = " - words"  # at the end of the name of a tier of words, behind that of its speaker
SPEAKER = " (speaker)"  # behind the name of a speaker that ends like that of a tier
MOST_CHARACTERS = 100_000_000  # of a file; ten hours of speech are less than a third of it
MOST_DEPTH = 100  # elements inside each other; EAF has 5
LATEST = 10_000_000_000  # ms

# What XML 1.0 cannot hold (section 2.2, Char), not even escaped.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True, order=True)
class Label:
    """A text at a time, whole milliseconds, of the speaker with this name in the file; None: of nobody."""

    start: int
    end: int
    speaker: str | None
    text: str


@dataclass(frozen=True, slots=True)
class TierFile:
    """The content of a file: turns and their text, and words with their own times.

    `words` is None in formats without them, `has_text` False where turns have no text; `has_turns` False where the
    spans are those of subtitles, which end where a line is full and not where a turn ends.
    """

    turns: tuple[Label, ...]
    words: tuple[Label, ...] | None = None
    has_text: bool = True
    has_turns: bool = True
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tier:
    """Labels of one speaker that follow each other: each begins where the one before ends, or later."""

    name: str
    speaker: str  # label for readers
    labels: tuple[tuple[int, int, str], ...]  # ms, ms, text


def tiers_of(transcript: Transcript) -> list[Tier]:
    """For each speaker a tier of turns, and one of words if there are words; nobody's last.

    Labels of a tier cannot overlap in these formats: one that begins before the end of the one before begins later.
    """
    transcript = round_transcript(transcript)
    labels = make_labels(transcript)
    turns: dict[str | None, list[tuple[int, int, str]]] = {speaker.id: [] for speaker in transcript.speakers}
    words: dict[str | None, list[tuple[int, int, str]]] = {}
    for row in text_segments(transcript):
        span = to_milliseconds(row.start), to_milliseconds(row.end)
        turns.setdefault(row.speaker, []).append((*span, visible(row.text)))
    for word in sorted(transcript.words, key=lambda word: (word.start, word.end)):
        if text := visible(word.text):
            span = to_milliseconds(word.start), to_milliseconds(word.end)
            words.setdefault(word.speaker, []).append((*span, text))
    tiers = []
    for speaker in sorted(turns | words, key=lambda speaker: speaker is None):
        label = labels[speaker]
        name = label + SPEAKER if label.endswith((WORDS, SPEAKER)) else label
        tiers.append(Tier(name, label, in_sequence(turns.get(speaker, ()))))
        if speaker in words:
            tiers.append(Tier(name + WORDS, label, in_sequence(words[speaker])))
    return tiers


def in_sequence(labels: Iterable[tuple[int, int, str]]) -> tuple[tuple[int, int, str], ...]:
    """Labels without overlap, each at least a millisecond long; none is left out."""
    sequence = []
    latest = 0
    for start, end, text in labels:
        start = max(start, latest)
        latest = max(end, start + 1)
        sequence.append((start, latest, text))
    return tuple(sequence)


def from_tiers(tiers: Sequence[Tier], notes: Sequence[str] = ()) -> TierFile:
    """The labels of tiers by start. A tier `Anna - words` beside a tier `Anna` has the words of Anna.

    Turns without text remain, words without text do not. `?` is nobody.
    """
    turns: list[Label] = []
    words: list[Label] = []
    without_words: dict[str, str] = {}  # name of a tier of turns -> its speaker
    for tier in tiers:
        owner = tier.name.removesuffix(WORDS)
        if owner != tier.name and owner in without_words:
            speaker = without_words.pop(owner)
            words += [Label(start, end, _somebody(speaker), text) for start, end, text in tier.labels if text]
        else:
            without_words[tier.name] = tier.speaker
            turns += [Label(start, end, _somebody(tier.speaker), text) for start, end, text in tier.labels]
    return TierFile(_sorted(turns), _sorted(words), notes=tuple(notes))


def _somebody(speaker: str) -> str | None:
    return None if speaker == "?" else speaker


def _sorted(labels: list[Label]) -> tuple[Label, ...]:
    return tuple(sorted(labels, key=lambda label: (label.start, label.end, label.speaker or "", label.text)))


def milliseconds(seconds: float, where: str) -> int:
    """A time of a file in whole milliseconds. Raises FormatError for what is no time."""
    if not 0 <= seconds * 1000 <= LATEST:  # also NaN
        raise FormatError(where, f"{seconds} s is no time of a recording")
    return to_milliseconds(seconds)


def for_xml(text: str) -> str:
    """The text without characters that XML cannot hold: each becomes U+FFFD."""
    return _NOT_XML.sub("\ufffd", text)


def parse_xml(text: str, where: str) -> ElementTree.Element:
    """The root of an XML text without a document type: no entity is ever expanded. Raises FormatError."""
    if len(text) > MOST_CHARACTERS:
        raise FormatError(where, f"has more than {MOST_CHARACTERS} characters")
    if re.search(r"<!(?:DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise FormatError(where, "has a document type, which is not read", "Remove the DOCTYPE.")
    parser: ElementTree.XMLPullParser[ElementTree.Element] = ElementTree.XMLPullParser(("start", "end"))
    depth = 0
    root: ElementTree.Element | None = None
    try:
        for at in range(0, len(text), 1_000_000):
            parser.feed(text[at : at + 1_000_000])
            for event in parser.read_events():
                kind, element = cast(tuple[str, ElementTree.Element], event)
                depth += 1 if kind == "start" else -1
                root = element if root is None else root
                if depth > MOST_DEPTH:
                    raise FormatError(where, f"has more than {MOST_DEPTH} elements inside each other")
        parser.close()
    except (ElementTree.ParseError, UnicodeError) as error:
        raise FormatError(where, f"not XML: {error}") from None
    if root is None:
        raise FormatError(where, "not XML: it is empty")
    return root
