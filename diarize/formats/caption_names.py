"""Names in the text of captions: `Anna: text`, `[Anna]: text`, `>> ANNA: text`, `(speaker 1) text`.

A colon stands behind other words too (`Note: ...`), so the whole file decides which of them are names.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from diarize.formats.repair import fill_between
from diarize.formats.timed_text import TimedText
from diarize.text import counted, split_fields

_SHOWN = 5  # names that a note lists
_ALWAYS = 0.8  # part of the cues that begin with a name, where nearly all do
_OFTEN = 0.5
_CONTINUED = 1 / 3  # part of the cues with a name from which on a cue without one continues the speaker before it

_LABEL = (
    r"(?:speaker|spk|sprecher(?:in)?|locuteur|intervenant|hablante|orador|spreker|"
    r"话者|話者|说话人|發言人|发言人|спикер)"
)
_DIARIZED = re.compile(rf"{_LABEL}[ _-]?(?:\d{{1,3}}|[A-Z?])", re.IGNORECASE)
_IN_BRACKETS = re.compile(rf"[(\[]\s*({_DIARIZED.pattern})\s*[)\]]:?\s*", re.IGNORECASE)
_BRACKETS = re.compile(r"\[([^\[\]\n]{1,60})\]:(?:\s+|$)")
_LEAD = re.compile(r"(?:>{2,3}|[-–—‐‑])\s+|>{2,3}(?=\w)")  # a change of speakers
_BEFORE_COLON = re.compile(r"([^\s:：\[\](){}<>\"“”][^:：\n\[\]{}<>\"“”]{0,59}?)\s{0,2}(?:：\s*|:(?:\s+|$))")
_GLUED = re.compile(rf"({_DIARIZED.pattern})\s*[:：]\s*", re.IGNORECASE)
_PARTICLES = frozenset(
    ("al", "ap", "bin", "binti", "da", "das", "de", "del", "della", "den", "der", "di", "do", "dos", "du", "e", "el",
     "et", "la", "le", "of", "ter", "van", "von", "y")
)  # fmt: skip
_NOT_NAMES = frozenset(
    ("a", "answer", "but", "caution", "chapter", "conclusion", "example", "fact", "first", "hint", "important",
     "means", "no", "note", "okay", "ok", "one", "part", "problem", "question", "quote", "reason", "remember",
     "reminder", "result", "second", "so", "solution", "step", "summary", "third", "tip", "title", "today", "topic",
     "update", "warning", "well", "yes")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Line:
    text: str  # without the lead and the name
    name: str | None
    surely: bool  # in brackets: a name without doubt
    original: str


def name_speakers(cues: Sequence[Sequence[TimedText]], names_in_text: bool, notes: list[str]) -> list[list[TimedText]]:
    """The cues with the names before a colon as speakers, of a file where these are names.

    `[Anna]: ` and `(speaker 1) ` are always names.
    """
    parsed = [[[_parse_line(line) for line in part.text.split("\n")] for part in cue] for cue in cues]
    unnamed = [
        [lines for part, lines in zip(cue, all_lines, strict=True) if part.speaker is None and not part.words]
        for cue, all_lines in zip(cues, parsed, strict=True)
    ]
    names: set[str] = _accept(unnamed) if names_in_text else set()
    with_name = sum(any(line.name in names for lines in cue for line in lines) for cue in unnamed)
    continues = with_name >= _CONTINUED * len(cues) > 0
    used: Counter[str] = Counter()
    result: list[list[TimedText]] = []
    current: str | None = None  # the speaker whom a cue without a name continues
    for cue, all_lines in zip(cues, parsed, strict=True):
        texts: list[TimedText] = []
        for part, lines in zip(cue, all_lines, strict=True):
            if part.words:
                texts.append(part)
                continue
            if part.speaker is not None or not continues:
                current = None
            blocks: list[tuple[str | None, list[str]]] = [(part.speaker or current, [])]
            for line in lines:
                is_name = line.surely or (line.name in names and part.speaker is None)
                if is_name:
                    current = None if line.surely else line.name
                    blocks.append((line.name, []))
                if is_name and not line.surely and line.name is not None:
                    used[line.name] += 1
                blocks[-1][1].append(line.text if is_name else line.original)
            texts += _divide(part, blocks)
        result.append(texts)
    if used:
        listed = ", ".join(repr(name) for name in list(used)[:_SHOWN]) + (", ..." if len(used) > _SHOWN else "")
        notes.append(
            f"{counted(len(used), 'name')} before a colon read as speakers of the words, and not as words: {listed}; "
            "--names-in-text off leaves them in the text"
        )
    return result


def _divide(part: TimedText, blocks: Sequence[tuple[str | None, list[str]]]) -> list[TimedText]:
    """A text as the texts of its speakers, its time divided by characters."""
    spoken = [(name, text) for name, lines in blocks if (text := "\n".join(lines).strip())]
    if len(spoken) == 1:
        return [replace(part, text=spoken[0][1], speaker=spoken[0][0])]
    divided = [replace(part, text=text, speaker=name, start=None, end=None) for name, text in spoken]
    return fill_between(divided, part.start, part.end)


def _parse_line(line: str) -> _Line:
    lead = _LEAD.match(line)
    rest = line if lead is None else line[lead.end() :]
    if match := _BRACKETS.match(rest) or _IN_BRACKETS.match(rest):
        return _Line(rest[match.end() :], None if match[1].endswith("?") else match[1], True, rest)
    if match := _GLUED.match(rest):
        return _Line(rest[match.end() :], match[1], False, rest)
    match = _BEFORE_COLON.match(rest)
    name = None if match is None else match[1].strip()
    if match is None or name is None or not _may_be_name(name):
        return _Line(rest, None, False, rest)
    return _Line(rest[match.end() :], name, False, rest)


def _may_be_name(name: str) -> bool:
    return (
        any(map(str.isalpha, name))
        and len(split_fields(name)) <= 6
        and not set(";!?…♪") & set(name)
        and name.casefold() not in _NOT_NAMES
        and not any(word.endswith(".") and len(word) > 4 for word in split_fields(name))
    )


def _is_capitalised(name: str) -> bool:
    """Whether all words begin with a capital letter or have none, apart from particles and a part in brackets."""
    words = split_fields(re.sub(r"\([^()]*\)?$", "", name))
    return bool(words) and all(word in _PARTICLES or not word.lstrip("’'")[:1].islower() for word in words)


def _accept(cues: Sequence[Sequence[Sequence[_Line]]]) -> set[str]:
    """The texts before a colon that are names, by their look and by how many cues begin with one.

    Labels of diarizers (`Speaker 1`) always are. Where most cues begin so, all are that look like names; else those
    that come again.
    """
    begun = [line for cue in cues if (line := next((own[0] for own in cue if own), None)) is not None]
    counts = Counter(line.name for cue in cues for own in cue for line in own if line.name and not line.surely)
    named = [line.name for line in begun if line.name and not line.surely]
    if len(named) >= max(2, _ALWAYS * len(begun)):
        return {name for name, count in counts.items() if count > 1 or _is_capitalised(name) or _is_user_name(name)}
    if sum(map(_is_capitalised, named)) >= max(1, _OFTEN * len(begun)):
        return set(filter(_is_capitalised, counts))
    again = {name for name, count in counts.items() if count >= (2 if name.isupper() else 3) and _is_capitalised(name)}
    return again | {name for name in counts if _DIARIZED.fullmatch(name)}


def _is_user_name(name: str) -> bool:
    """Whether it may be a name without a capital letter: one word, or `iPhone (2)`."""
    first = name.split(" ", 1)[0]
    return first == name or first != first.lower()
