"""CTM, one line a word (NIST SCTK, "sclite input formats"): `<file> <channel> <start> <duration> <word> <confidence>`.

Sorted by start, channel 1. This CTM has no speakers; that of RT-09 has (`rt_ctm`). A word cannot contain white space,
so that such a word (`New York`) becomes several, its time divided by characters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import itemgetter

from diarize.errors import FormatError
from diarize.formats.naming import NOBODY, from_token, to_token
from diarize.formats.nist import escape, read_lines, unescape
from diarize.formats.repair import fill_times
from diarize.formats.segments import parse_seconds
from diarize.formats.timed_text import TimedText, parse_probability, parse_time
from diarize.formats.times import round_transcript
from diarize.text import join, split_fields
from diarize.types import Transcript, Word
from diarize.units import round_time


def dumps(transcript: Transcript) -> str:
    """One line for each word; "" without words. Words without a visible character are left out."""
    return write_lines(transcript, lambda word: "" if word.probability is None else f" {word.probability:.3f}")


def write_lines(transcript: Transcript, tail: Callable[[Word], str]) -> str:
    """Lines of words by start, each ending with what `tail` gives for its word."""
    transcript = round_transcript(transcript)
    file = to_token(transcript.recording)
    lines: list[tuple[float, str]] = []
    for word in sorted(transcript.words, key=lambda w: (w.start, w.end)):
        parts = split_fields(join([word.text]))
        end_of_line = tail(word)
        for part, start, end in _divide(parts, word):
            line = f"{file} 1 {start:.3f} {end - start:.3f} {escape(part)}{end_of_line}\n"
            lines.append((start, line))
    return "".join(line for _, line in sorted(lines, key=itemgetter(0)))


def _divide(parts: list[str], word: Word) -> list[tuple[str, float, float]]:
    """The parts of a word with spaces, its time divided among them by characters."""
    if not parts:
        return []
    inner: list[float | None] = [None] * (2 * len(parts) - 2)
    times = [round_time(time) for time in fill_times([word.start, *inner, word.end], [len(part) for part in parts])]
    return list(zip(parts, times[::2], times[1::2], strict=True))


def loads(text: str, where: str) -> dict[str, tuple[Word, ...]]:
    """Recording -> its words. Raises FormatError, with the line, for anything that is not a word with a time."""
    words: dict[str, list[Word]] = {}
    for place, fields in _read_words(text, where):
        start, duration = parse_seconds(fields[2], place), parse_seconds(fields[3], place)
        try:
            word = Word(start, round_time(start + duration), unescape(fields[4]), *_confidence_and_speaker(fields))
        except (ValueError, OverflowError) as error:
            raise FormatError(place, str(error)) from None
        words.setdefault(from_token(fields[0]), []).append(word)
    return {file: tuple(own) for file, own in words.items()}


def parse(text: str, where: str) -> dict[str, list[TimedText]]:
    """Recording -> its words as written, also without valid times. Raises FormatError for a short line."""
    words: dict[str, list[TimedText]] = {}
    for _, fields in _read_words(text, where):
        start, duration = parse_time(fields[2]), parse_time(fields[3])
        end = None if start is None or duration is None else start + duration
        confidence, speaker = _confidence_and_speaker(fields)
        words.setdefault(from_token(fields[0]), []).append(
            TimedText(unescape(fields[4]), start, end, speaker, confidence, word=True)
        )
    return words


def _read_words(text: str, where: str) -> Iterator[tuple[str, list[str]]]:
    """(place in messages, fields) of each word."""
    for place, fields, line in read_lines(text, where):
        if not 5 <= len(fields) <= 8:
            raise FormatError(place, f"a CTM line has 5 to 8 fields, not {len(fields)}: {line[:80]!r}")
        yield place, fields


def _confidence_and_speaker(fields: list[str]) -> tuple[float | None, str | None]:
    """Confidence, and the speaker, the eighth field in RT-09's CTM."""
    confidence = None if len(fields) < 6 or fields[5] == NOBODY else parse_probability(fields[5])
    speaker = from_token(fields[7]) if len(fields) == 8 and fields[7] != NOBODY else None
    return confidence, speaker
