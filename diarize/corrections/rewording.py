"""Words that somebody changed in an exported file, as operations: `diarize.corrections.difference` says how.

Words with times of their own are matched by speaker, time and text; texts of turns or subtitles word by word, by the
longest common subsequences (Ratcliff and Metzener 1988, "Pattern matching: the Gestalt approach", as in difflib).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

from diarize.corrections.difference import Revision, without
from diarize.corrections.state import EditedWord
from diarize.formats.naming import encodable, visible
from diarize.formats.tiers import Label, for_xml

NEAR = 2000  # ms between the starts of a word as it was and as it is
_SIMILAR = str.maketrans({"‹": "<", "›": ">", "{": "("})  # what SubRip has for brackets that players hide


@dataclass(frozen=True, slots=True)
class Placed:
    """A word of a file with the id of the word of the state that it is."""

    label: Label
    id: str


def fold(text: str) -> str:
    """The same value for a text as it is in all formats: without spaces, invisible and impossible characters."""
    return "".join(for_xml(encodable(visible(text))).split()).translate(_SIMILAR)


def place(words: Sequence[EditedWord], labels: Sequence[Label]) -> list[Placed]:
    """The words of an export in the state from which it was made. Formats move words a little, or leave some out."""
    own: dict[str | None, list[EditedWord]] = defaultdict(list)
    for word in words:
        own[word.speaker].append(word)
    position: dict[str | None, int] = defaultdict(int)
    placed = []
    for label in labels:
        candidates, i, text = own[label.speaker], position[label.speaker], fold(label.text)
        while i < len(candidates) and fold(candidates[i].text) != text:
            i += 1
        if i < len(candidates):
            placed.append(Placed(label, candidates[i].id))
            position[label.speaker] = i + 1
    return placed


def split_labels(labels: Iterable[Label], known: Iterable[Label]) -> list[Label]:
    """Labels of one word each: one that somebody wrote with spaces divides its time, unless the export has it so."""
    exported = set(known)
    result = []
    for label in labels:
        texts = label.text.split()
        if len(texts) < 2 or label in exported:
            result.append(label)
            continue
        edges = [label.start + (label.end - label.start) * i // len(texts) for i in range(len(texts) + 1)]
        result += [Label(edges[i], edges[i + 1], label.speaker, text) for i, text in enumerate(texts)]
    return result


def word_operations(before: Sequence[Placed], after: Sequence[Label], turns: Sequence[Label], result: Revision) -> None:
    """Operations for words with times. `turns`: those of the file, which must not be changed for a word's speaker."""
    ids: dict[Label, list[str]] = defaultdict(list)
    for one in before:
        ids[one.label].append(one.id)
    gone = [Placed(label, ids[label].pop()) for label in without((one.label for one in before), after)]
    new = without(after, (one.label for one in before))
    now = {word.id: word for word in result.state.words}

    # What stays the same, from the most to the least; the rest is removed or added.
    keys: tuple[Callable[[Label], Hashable], ...] = (
        lambda label: (label.start, label.end, label.text),
        lambda label: (label.start, label.end, label.speaker),
        lambda label: (label.text, label.speaker),
        lambda label: label.speaker,
    )
    for key in keys:
        by_key: dict[Hashable, list[Placed]] = defaultdict(list)
        for one in gone:
            by_key[key(one.label)].append(one)
        rest = []
        for label in new:
            old = _nearest(by_key[key(label)], label)
            if old is None:
                rest.append(label)
            else:
                by_key[key(label)].remove(old)
                _change_word(now[old.id], old.label, label, turns, result)
        gone = sorted((one for group in by_key.values() for one in group), key=lambda one: (one.label, one.id))
        new = rest
    for old in gone:
        result.add({"op": "delete_word", "word": old.id})
    for label in new:
        _insert(label.start, label.end, label.text, label.speaker, result)


def _nearest(candidates: Sequence[Placed], label: Label) -> Placed | None:
    """The word with the start nearest to that of `label`, at most `NEAR` away. They are sorted by start."""
    at = bisect_left(candidates, label.start, key=lambda one: one.label.start)
    near = [one for one in candidates[max(0, at - 1) : at + 1] if abs(one.label.start - label.start) < NEAR]
    return min(near, key=lambda one: (abs(one.label.start - label.start), one.id), default=None)


def _change_word(word: EditedWord, old: Label, label: Label, turns: Sequence[Label], result: Revision) -> None:
    if label.speaker not in (old.speaker, word.speaker):
        start, end = word.start, max(word.end, word.start + 1)
        mine = any(t.speaker == word.speaker and t.start < end and start < t.end for t in turns)
        theirs = any(t.speaker == label.speaker and t.start <= start and end <= t.end for t in turns)
        if (word.speaker is not None and mine) or (label.speaker is not None and not theirs):
            # A turn of either speaker would be changed with the word, and the file has it as it is.
            result.add({"op": "delete_word", "word": word.id})
            _insert(label.start, label.end, label.text, label.speaker, result)
            return
        result.add({"op": "assign", "start": start, "end": end, "from": word.speaker, "to": label.speaker})
    if label.text != old.text:
        result.add({"op": "edit_word", "word": word.id, "text": label.text})
    if (label.start, label.end) != (old.start, old.end):
        end = min(label.end, result.state.duration)
        result.add({"op": "time_word", "word": word.id, "start": min(label.start, end), "end": end})


def _insert(start: int, end: int, text: str, speaker: str | None, result: Revision) -> None:
    end = min(end, result.state.duration)
    result.add({"op": "insert_word", "start": min(start, end), "end": end, "text": text, "speaker": speaker})
