"""The structure of subtitle files: timing lines, cue numbers, and the lines that belong to no cue.

Editors, converters and translators damage files: spaces inside times, arrows of other dashes, marks of writing
direction, byte order marks in the middle, digits of other scripts, doubled line breaks. What looks like a timing line
is never text: where its times cannot be read, they are unknown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from unicodedata import category, normalize

from diarize.errors import FormatError
from diarize.formats.timed_text import TimedText, parse_time
from diarize.text import counted, split_fields, split_lines

Times = tuple[float | None, float | None]

_LONGEST = 200  # characters of a line that are examined: the times of a timing line come first
_MINUS = dict.fromkeys(map(ord, "−─━¬"), "-")  # lines that are no dashes for Unicode
_NO_MARKS = dict.fromkeys((0x200B, 0x200E, 0x200F, 0x061C, 0xFEFF, *range(0x202A, 0x202F), *range(0x2066, 0x206A)))

_SIDE = r"[\d:.,;\s+-]{0,40}?"
_ARROW = r"(?P<arrow>(?:-\s{0,2}){1,4}>{1,2}|=+>|-+&gt;|[→⇒⟶⟹➔➜➝➞⇨])"
_STRONG = re.compile(rf"\s*(?P<start>{_SIDE})\s*{_ARROW}\s*(?P<end>[+-]?[\d:.,;\s]{{0,40}})(?P<rest>.*)", re.DOTALL)
_FULL = r"\d{1,3}:\d{2}:\d{2}(?:[.,]\d{1,3})?|\d{1,3}:\d{2}[.,]\d{2,3}"
_TWO_TIMES = re.compile(rf"\s*(?P<start>{_FULL})\s*(?:-{{1,3}}|[,;~|/]|\s)\s*(?P<end>{_FULL})(?P<rest>)\s*")  # also SBV
_INSIDE = re.compile(r"\d{1,3}:\d{2}(?::\d{2})?[.,]\d{3}\s{0,3}-{1,3}>\s{0,3}\d{1,3}:\d{2}(?::\d{2})?[.,]\d{3}")
_CLOCK = re.compile(r"([+-]?)(?:(\d{1,6}):)?(\d{1,3}):(\d{1,2})(?:[.,;](\d{1,9})|:(\d{3}))?")
_NUMBER = re.compile(r"#?(\d{1,9})[.:]?")
_SETTING = re.compile(r"[A-Za-z]\w*:\S+")  # of WebVTT (`align:start`), and coordinates of SubRip (`X1:0`)


@dataclass(frozen=True, slots=True)
class SourceCue:
    """A cue of a file: the number of its timing line, its times (None where unknown), and its text with its markup.

    `parts` are its texts without markup, lines and all: one for each voice and time stamp in it.
    """

    line: int
    start: float | None
    end: float | None
    content: str
    identifier: str = ""
    parts: tuple[TimedText, ...] = ()


def plain(line: str) -> str:
    """A line in the characters of the formats: without marks of direction, with ASCII digits, dashes and spaces."""
    if line.isascii():
        return line
    line = normalize("NFKC", line).translate(_MINUS)
    kinds = ((c, category(c)) for c in line)
    return "".join(
        "-" if kind == "Pd" else str(int(c)) if kind == "Nd" else " " if kind == "Zs" else c
        for c, kind in kinds
        if kind != "Cf"
    )


def is_blank(line: str) -> bool:
    """Whether nothing in a line is visible."""
    return not without_marks(line).strip()


def without_marks(text: str) -> str:
    """Text without byte order marks and marks of the writing direction, which say nothing."""
    return text if text.isascii() else text.translate(_NO_MARKS)


def parse_timing(line: str) -> Times | None:
    """Start and end of a timing line (`00:00:01,000 --> 00:00:02,500`, hours optional); None for another line.

    An invalid time (too many minutes, missing digits) is None itself.
    """
    match = _match_timing(line)
    return None if match is None else (_parse_side(match["start"], last=True), _parse_side(match["end"], last=False))


def looks_like_times(line: str) -> bool:
    """Whether a line may be a timing line that is too damaged to be read: digits and colons, and no letters."""
    line = plain(line[:_LONGEST])
    return sum(map(str.isdigit, line)) >= 6 and not any(map(str.isalpha, line)) and not set(":.,").isdisjoint(line)


def has_text_behind(line: str) -> bool:
    """Whether a timing line has more behind its times than settings."""
    match = _match_timing(line)
    return match is not None and any(_SETTING.fullmatch(field) is None for field in split_fields(match["rest"]))


def _match_timing(line: str) -> re.Match[str] | None:
    line = line[:_LONGEST]
    if not any(map(str.isdigit, line)):
        return None
    line = plain(line)
    match = _STRONG.match(line)
    if match is None:
        return _TWO_TIMES.fullmatch(line)
    start, end = ("".join(match[side].split()) for side in ("start", "end"))
    clocks = [bool(re.search(r"\d:\d", side)) for side in (start, end)]
    if match["arrow"].endswith("-->"):
        return match if any(clocks) or (start[-1:].isdigit() and end[:1].isdigit()) else None
    return match if all(clocks) else None


def _parse_side(side: str, last: bool) -> float | None:
    """One time, in seconds. `last`: a cue number may stand before it."""
    fields = split_fields(re.sub(r"\s*([:.,;])\s*", r"\1", re.sub(r"([+-])\s+", r"\1", side)))
    if last and len(fields) > 1 and fields[0].isdigit():
        fields = fields[1:]
    if not fields or len(fields) > 2:
        return None
    if len(fields) == 2 and re.fullmatch(r"\d{3}", fields[1]) and re.search(r":\d\d$", fields[0]):
        fields = [f"{fields[0]}.{fields[1]}"]  # a space instead of the comma
    clock = _CLOCK.fullmatch(fields[0])
    if clock is None:
        return parse_time(fields[0])
    sign, hours, minutes, seconds, fraction, thousandths = clock.groups()
    if thousandths is not None and hours is None:
        return None
    time = int(hours or 0) * 3600 + int(minutes) * 60 + float(f"{seconds}.{fraction or thousandths or 0}")
    return parse_time(-time if sign == "-" else time)


def numbered_lines(text: str) -> list[tuple[int, str]]:
    """(number, line) of each line of a file. Where all line breaks are doubled, every second line is left out."""
    lines = list(enumerate(split_lines(text), 1))
    for first in (0, 1):
        others = lines[1 - first :: 2]
        if len(lines) >= 4 and not any(line.strip() for _, line in others):
            return lines[first::2]
    return lines


def cue_number(line: str) -> int | None:
    """The number in a line that has nothing else."""
    match = _NUMBER.fullmatch(plain(line[:20]).strip()) if line.strip() and len(line) <= 20 else None
    return None if match is None else int(match[1])


def refuse_inner_timing(number: int, line: str, where: str) -> None:
    """Raises FormatError for a line of text with a timing line in it, as where line breaks were lost."""
    if "-->" in plain(line[:2000]) and _INSIDE.search(plain(line)):
        raise FormatError(f"{where}:{number}", "a timing line inside a line of text", "Put it on a line of its own.")


class Remarks:
    """What a reader met and did not take for speech: each kind with its count and its first lines."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], list[int]] = {}

    def add(self, noun: str, problem: str, line: int) -> None:
        """`2 cues` `have no valid time` (`noun` in the singular)."""
        self._lines.setdefault((noun, problem), []).append(line)

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(
            f"{counted(len(lines), noun)} {problem} ({_list_lines(lines)})"
            for (noun, problem), lines in self._lines.items()
        )


def _list_lines(lines: list[int]) -> str:
    shown = ", ".join(map(str, lines[:5]))
    return f"line {shown}" if len(lines) == 1 else f"lines {shown}{', ...' if len(lines) > 5 else ''}"


def note_timing(cue: SourceCue, line: str, remarks: Remarks, where: str) -> None:
    """Remarks on a timing line that is not as it should be. Raises FormatError for a line of several cues."""
    if len(_INSIDE.findall(plain(line))) > 1:
        raise FormatError(f"{where}:{cue.line}", "several timing lines in one line", "Put each on a line of its own.")
    if cue.start is None or cue.end is None:
        remarks.add("cue", "without a valid time: the words have times from their neighbours", cue.line)
    if has_text_behind(line):
        remarks.add("timing line", "with other text behind the times, which was not read", cue.line)
