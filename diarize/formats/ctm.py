"""CTM, one line a word (NIST SCTK, "sclite input formats"): `<file> <channel> <start> <duration> <word> <confidence>`.

Sorted by start, channel 1. CTM has no speakers: STM and SegLST do. White space cannot stand inside a word, so that one
which has some (`New York`) becomes several, its time parted by characters.
"""

from __future__ import annotations

from operator import itemgetter

from diarize.errors import FormatError
from diarize.formats.entries import Entry, probability, seconds
from diarize.formats.naming import NOBODY, plain, token
from diarize.formats.repair import fill
from diarize.formats.rows import number
from diarize.formats.sclite import escape, unescape
from diarize.formats.times import rounded
from diarize.text import join
from diarize.types import Transcript, Word
from diarize.units import round_time


def dumps(transcript: Transcript) -> str:
    """One line a word; "" when there are none. Words without a visible character are no words."""
    transcript = rounded(transcript)
    file = token(transcript.recording)
    lines: list[tuple[float, str]] = []
    for word in sorted(transcript.words, key=lambda w: (w.start, w.end)):
        parts = join([word.text]).split()
        for part, start, end in _timed(parts, word):
            line = f"{file} 1 {start:.3f} {end - start:.3f} {escape(part)} {word.probability:.3f}\n"
            lines.append((start, line))
    return "".join(line for _, line in sorted(lines, key=itemgetter(0)))


def _timed(parts: list[str], word: Word) -> list[tuple[str, float, float]]:
    """The parts of a word that has spaces in it, its time divided among them by characters."""
    if not parts:
        return []
    inner: list[float | None] = [None] * (2 * len(parts) - 2)
    times = [round_time(time) for time in fill([word.start, *inner, word.end], [len(part) for part in parts])]
    return list(zip(parts, times[::2], times[1::2], strict=True))


def loads(text: str, where: str) -> dict[str, tuple[Word, ...]]:
    """Recording -> its words. Raises FormatError, with the line, for what is no word with a time."""
    found: dict[str, list[Word]] = {}
    for place, fields in _lines(text, where):
        start, duration = number(fields[2], place), number(fields[3], place)
        try:
            word = Word(start, round_time(start + duration), unescape(fields[4]), *_rest(fields))
        except (ValueError, OverflowError) as error:
            raise FormatError(place, str(error)) from None
        found.setdefault(plain(fields[0]), []).append(word)
    return {file: tuple(words) for file, words in found.items()}


def entries(text: str, where: str) -> dict[str, list[Entry]]:
    """Recording -> its words as they stand there, with times that may be none. Raises FormatError for a short line."""
    found: dict[str, list[Entry]] = {}
    for _, fields in _lines(text, where):
        start, duration = seconds(fields[2]), seconds(fields[3])
        end = None if start is None or duration is None else start + duration
        confidence, speaker = _rest(fields)
        found.setdefault(plain(fields[0]), []).append(
            Entry(unescape(fields[4]), start, end, speaker, confidence, word=True)
        )
    return found


def _lines(text: str, where: str) -> list[tuple[str, list[str]]]:
    found = []
    for at, line in enumerate(text.lstrip("\ufeff").splitlines(), 1):
        fields = line.split()
        if not fields or fields[0].startswith(";;"):
            continue
        if not 5 <= len(fields) <= 8:
            raise FormatError(f"{where}:{at}", f"a CTM line has 5 to 8 fields, not {len(fields)}: {line[:80]!r}")
        found.append((f"{where}:{at}", fields))
    return found


def _rest(fields: list[str]) -> tuple[float, str | None]:
    """Confidence, and the speaker that RT-09's CTM has as its eighth field."""
    confidence = 1.0 if len(fields) < 6 or fields[5] == NOBODY else probability(fields[5])
    speaker = plain(fields[7]) if len(fields) == 8 and fields[7] != NOBODY else None
    return confidence, speaker
