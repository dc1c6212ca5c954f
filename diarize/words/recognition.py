"""What recognizers share: chunks of speech, words from tokens, notes on the result (docs/method/words.md)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from unicodedata import category

import numpy as np
from numpy.typing import NDArray

from diarize import timeline
from diarize.intervals import SpanIndex
from diarize.text import counted, join, unspaced
from diarize.types import Samples, Segment, Word, least_probability
from diarize.units import to_samples

_QUIET = 0.2  # s; length of the parts whose energy is compared to find a cut: about a syllable
_HOP = 0.01  # s between two such parts

LONGEST_PHRASE = 40  # words (or characters, in scripts without spaces) of a phrase that is searched as a loop
LEAST_TIMES = 5  # repetitions in a row of a loop: more than a speaker makes
LEAST_WORDS = 10  # words of a loop in all: five times "no" is emphasis, ten times is not

WORDLESS = 5.0  # s; a shorter speech segment without a word is a cough or a laugh
# Mean probability of words below which most of them are doubtful, and the words that such a mean needs. Moonshine has
# 0.65 to 0.85 for English, also in lively meetings, and 0.5 for most speech that was reversed in time.
UNCERTAIN, ENOUGH = 0.6, 20
NEAR = 0.5  # s; a word of a file that is further from all speech is outside it
_LISTED = 5  # places in one note; more are counted


@dataclass(frozen=True, slots=True)
class Loop(Segment):
    """A phrase that was recognized many times in a row."""

    phrase: str
    times: int


def chunks(samples: Samples, rate: int, speech: Iterable[Segment], longest: float, pause: float) -> tuple[Segment, ...]:
    """Speech as chunks of at most `longest` seconds, each decoded at once; sorted, disjoint, no speech left out.

    `samples` is (n,) at `rate` Hz; speech beyond its end, or shorter than a sample, is left out. Segments at most
    `pause` seconds apart share a chunk if they fit. If they do not, the chunk ends at the longest pause in its second
    half. Speech is cut only if a segment is longer than a chunk, at its quietest fifth of a second between half and
    whole length.
    """
    if longest <= 2 * _QUIET:
        raise ValueError(f"chunks must be longer than {2 * _QUIET} s, got {longest}")
    duration = len(samples) / rate
    segments = [
        part
        for segment in timeline.union(speech)
        if to_samples(segment.start, rate) < min(to_samples(segment.end, rate), len(samples))
        for part in _cut(samples, rate, Segment(segment.start, min(segment.end, duration)), longest)
    ]
    return tuple(_join(segments, longest, pause))


def _cut(samples: Samples, rate: int, segment: Segment, longest: float) -> Iterator[Segment]:
    start = segment.start
    while segment.end - start > longest:
        cut = _quietest(samples, rate, Segment(start + longest / 2, start + longest))
        yield Segment(start, cut)
        start = cut
    yield Segment(start, segment.end)


def _quietest(samples: Samples, rate: int, within: Segment) -> float:
    """Middle of the part of least energy; the latest of equal ones, as the chunk is then longest."""
    first = to_samples(within.start, rate)
    hop, hops = max(1, to_samples(_HOP, rate)), round(_QUIET / _HOP)
    sound = samples[first : to_samples(within.end, rate)].astype(np.float64)
    blocks = len(sound) // hop
    energy = np.concatenate([[0.0], np.cumsum(np.square(sound[: blocks * hop]).reshape(blocks, hop).sum(axis=1))])
    parts = energy[hops:] - energy[:-hops]
    quietest = len(parts) - 1 - int(np.argmin(parts[::-1]))
    return (first + (quietest + hops / 2) * hop) / rate


def _join(segments: Sequence[Segment], longest: float, pause: float) -> Iterator[Segment]:
    first = 0
    while first < len(segments):
        start, last = segments[first].start, first
        while last + 1 < len(segments) and _gap(segments, last) <= pause and segments[last + 1].end - start <= longest:
            last += 1
        if last + 1 < len(segments) and _gap(segments, last) <= pause:  # the next one does not fit: choose the pause
            late = [i for i in range(first, last + 1) if segments[i].end - start >= longest / 2] or [last]
            last = max(late, key=lambda i: (_gap(segments, i), i))
        yield Segment(start, segments[last].end)
        first = last + 1


def _gap(segments: Sequence[Segment], i: int) -> float:
    return segments[i + 1].start - segments[i].end


def merge(tokens: Iterable[Word]) -> tuple[Word, ...]:
    """Tokens of Whisper, in which a leading space begins a word, as words without outer white space.

    A token without a leading space continues the word before it (" well", "-known"; " 3", ".5"), unless one of the two
    characters that meet belongs to a script without spaces; there each token stays a word (" 私", "は"), except vowel
    signs and other marks, which belong to the letter before them. A merged word has the smallest probability of its
    tokens. Empty tokens are dropped.
    """
    words: list[Word] = []
    for token in tokens:
        text = token.text.strip()
        if not text:
            continue
        if words and not token.text[0].isspace() and _continues(words[-1].text, text):
            before = words[-1]
            words[-1] = replace(
                before,
                end=max(before.end, token.end),
                text=before.text + text,
                probability=least_probability(before.probability, token.probability),
            )
        else:
            words.append(replace(token, text=text))
    return tuple(words)


def _continues(before: str, text: str) -> bool:
    return category(text[0]).startswith("M") or not (unspaced(before[-1]) or unspaced(text[0]))


def find_loops(words: Iterable[Word]) -> tuple[Loop, ...]:
    """Phrases of 1 to 40 words, repeated at least 5 times in a row, at least 10 words in all, by time.

    Recognizers produce such loops from silence, noise and music. Letter case and punctuation are ignored.
    """
    keyed = sorted(((w, key) for w in words if (key := _key(w.text))), key=lambda item: (item[0].start, item[0].end))
    numbers: dict[str, int] = {}
    ids = np.array([numbers.setdefault(key, len(numbers)) for _, key in keyed], dtype=np.int64)
    in_loop = np.zeros(len(ids), dtype=bool)
    loops: list[Loop] = []
    for length in range(1, min(LONGEST_PHRASE, len(ids) // LEAST_TIMES) + 1):
        for first, last in _runs((ids[length:] == ids[:-length]) & ~in_loop[length:] & ~in_loop[:-length]):
            times = (last - first) // length + 1
            if times < LEAST_TIMES or times * length < LEAST_WORDS:
                continue
            repeated = [word for word, _ in keyed[first : first + times * length]]
            in_loop[first : first + times * length] = True
            start, end = repeated[0].start, max(word.end for word in repeated)
            phrase = join(word.text for word in repeated[:length])
            loops.append(Loop(start, max(end, start + 0.001), phrase, times))
    return tuple(sorted(loops))


def _key(text: str) -> str:
    return "".join(c for c in text.casefold() if category(c)[0] in "LMN")


def _runs(mask: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """First and one-past-last position of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    yield from ((int(first), int(last)) for first, last in edges.reshape(-1, 2))


def find_wordless(words: Iterable[Word], speech: Iterable[Segment], least: float = WORDLESS) -> tuple[Segment, ...]:
    """Speech segments of at least `least` seconds in which no word was recognized."""
    middles = np.sort(np.array([word.middle for word in words], dtype=np.float64))
    return tuple(
        s
        for s in timeline.union(speech)
        if s.duration >= least and np.searchsorted(middles, s.start) == np.searchsorted(middles, s.end, side="right")
    )


def describe_doubts(words: Sequence[Word], speech: Sequence[Segment]) -> tuple[str, ...]:
    """Notes on doubtful words, for the reader of the transcript; no word is dropped."""
    doubts = [
        f"{loop.phrase!r} was recognized {loop.times} times in a row from {loop.start:.1f} s to {loop.end:.1f} s: "
        "recognizers repeat phrases in noise and silence, so check this part of the recording."
        for loop in find_loops(words)
    ]
    known = [word.probability for word in words if word.probability is not None]
    if len(known) >= ENOUGH and (mean := sum(known) / len(known)) < UNCERTAIN:
        doubts.append(
            f"Most words are uncertain (mean probability {mean:.2f}): the speech may be in a language that the "
            "recognizer does not know, or unclear. Check the words, or use another recognizer."
        )
    empty = find_wordless(words, speech)
    if not empty:
        return tuple(doubts)
    places = ", ".join(f"{s.start:.1f}-{s.end:.1f} s" for s in empty[:_LISTED])
    more = f" and {len(empty) - _LISTED} more places" if len(empty) > _LISTED else ""
    return (*doubts, f"No word was recognized in speech at {places}{more}.")


def describe_misplaced(words: Sequence[Word], speech: Sequence[Segment], duration: float) -> tuple[str, ...]:
    """Notes on words that may not belong to the recording of `duration` s: after its end, or mostly outside speech."""
    notes = []
    late = [word.start for word in words if word.start > duration]
    if late:
        notes.append(
            f"{counted(len(late), 'word')} of the file begin after the end of the recording ({duration:.1f} s), the "
            f"last one at {max(late):.1f} s: they may belong to another recording."
        )
    regions = timeline.union(speech)
    index = SpanIndex(regions)
    outside = sum(not regions or index.gap(index.closest(word), word) > NEAR for word in words)
    if len(words) >= LEAST_WORDS and outside > len(words) / 2:
        notes.append(
            f"{outside} of {counted(len(words), 'word')} of the file are where no speech was detected: they may belong "
            "to another recording, or to another version of it."
        )
    return tuple(notes)
