"""What somebody changed in an exported file, as operations.

The file as it was exported and as it came back are compared (both as `diarize.formats.tiers.TierFile`), not the file
and the transcript: so what a format leaves out or rounds is no change. In order: speakers and turns, here; words with
times (`diarize.corrections.rewording`); texts (`diarize.corrections.blocks`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from diarize.corrections.operations import DoesNotFit, Draft, Operation
from diarize.corrections.state import State
from diarize.formats.tiers import Label
from diarize.intervals import SpanIndex

NUMBER = 1 << 30  # of the operation while it is tried; ids of what it adds are never used


class Revision:
    """Operations that are tried one after the other, and the state after those that fit."""

    def __init__(self, state: State) -> None:
        self._draft = Draft(state)
        self._state: State | None = state
        self.operations: list[Operation] = []
        self.problems: list[str] = []

    @property
    def state(self) -> State:
        if self._state is None:
            self._state = self._draft.freeze()
        return self._state

    def add(self, operation: Operation) -> bool:
        """Whether it fits; one that does not is left out, and its reason is in `problems`."""
        try:
            self._draft.apply(operation, NUMBER + len(self.operations))
        except DoesNotFit as error:
            self.problems.append(str(error))
            return False
        self.operations.append(operation)
        self._state = None
        return True


class SpeakerNames:
    """Names in a file -> ids of speakers: those of the export, those renamed in the file, and new ones."""

    def __init__(self, known: dict[str, str], state: State) -> None:
        """`known`: label of the export -> id."""
        self._ids = dict(known)
        for speaker in state.speakers:
            self._ids.setdefault(speaker.id, speaker.id)
        self._state = state

    def id_of(self, name: str | None) -> str | None:
        return None if name is None else self._ids.get(name, name)

    def resolve(self, before: Sequence[Label], after: Sequence[Label], result: Revision) -> None:
        """Give every name in `after` an id: a new name for most of the time of a name that is gone is that speaker's.

        All other new names are new speakers.
        """
        names = dict.fromkeys(label.speaker for label in after if label.speaker is not None)
        new = [name for name in names if name not in self._ids]
        gone = {label.speaker for label in before if label.speaker is not None} - set(names)
        shared = Counter[tuple[str, str]]()
        was = {(label.start, label.end): label.speaker for label in before if label.speaker in gone}
        for label in after:
            old = was.get((label.start, label.end))
            if old is not None and label.speaker in new:
                shared[old, label.speaker or ""] += label.end - label.start
        totals = Counter[str]()
        for label in before:
            totals[label.speaker or ""] += label.end - label.start
        for (old, name), time in sorted(shared.items(), key=lambda item: (-item[1], item[0])):
            if name not in self._ids and old in gone and 2 * time > totals[old]:
                self._ids[name] = self._ids[old]
                gone.discard(old)
                result.add({"op": "name_speaker", "speaker": self._ids[old], "name": name})
        for name in new:
            if name not in self._ids:
                ids = {speaker.id for speaker in result.state.speakers}
                number = next(n for n in range(1, len(ids) + 2) if f"SPEAKER_{n:02d}" not in ids)
                self._ids[name] = f"SPEAKER_{number:02d}"
                result.add({"op": "add_speaker", "speaker": self._ids[name], "name": name})


def without(labels: Iterable[Label], others: Iterable[Label]) -> list[Label]:
    """Those of `labels` that are not in `others`, each as often as it is there more often."""
    count = Counter(others)
    rest = []
    for label in labels:
        if count[label]:
            count[label] -= 1
        else:
            rest.append(label)
    return rest


def joined(labels: Iterable[Label]) -> list[Label]:
    """Turns without texts; those of a speaker that overlap or touch as one, as no state distinguishes them."""
    latest: dict[str | None, Label] = {}
    result = []
    for label in sorted(labels, key=lambda label: (label.start, label.end)):
        label = replace(label, text="")
        last = latest.get(label.speaker)
        if last is not None and label.start <= last.end:
            latest[label.speaker] = replace(last, end=max(last.end, label.end))
        else:
            if last is not None:
                result.append(last)
            latest[label.speaker] = label
    return sorted([*result, *latest.values()], key=lambda label: (label.start, label.end, label.speaker or ""))


def turn_operations(before: Sequence[Label], after: Sequence[Label], result: Revision) -> None:
    """Turns whose speaker or ends were changed, which were added or removed. Speakers are ids here.

    Words of a turn with another speaker become that speaker's, words of a removed turn become nobody's.
    """
    before, after = joined(before), joined(after)
    gone = [label for label in without(before, after) if label.speaker is not None]
    new = [label for label in without(after, before) if label.speaker is not None]

    # The same time, another speaker; also where nobody's words are somebody's now.
    unchanged = set(after)
    at = {(label.start, label.end): label.speaker for label in before if label not in unchanged}
    for label in new:
        if (label.start, label.end) in at:
            source = at.pop((label.start, label.end))
            result.add({"op": "assign", "start": label.start, "end": label.end, "from": source, "to": label.speaker})
    # A part of a turn is another speaker's now: its words go there, too.
    spans = SpanIndex(before)
    for label in _missing(new, result):
        for old in [before[i] for i in spans.overlapping(label)]:
            start, end = max(old.start, label.start), min(old.end, label.end)
            if old.speaker not in (label.speaker, None) and not _speaks(old.speaker, start, end, after):
                result.add({"op": "assign", "start": start, "end": end, "from": old.speaker, "to": label.speaker})
    # The same speaker, other ends: the pairs that share the most time first.
    gone = [label for label in gone if _turn_of(result, label) is not None]
    new = _missing(new, result)
    index = SpanIndex(new)
    pairs = [
        (min(old.end, new[i].end) - max(old.start, new[i].start), old, new[i])
        for old in gone
        for i in index.overlapping(old)
        if old.speaker == new[i].speaker
    ]
    for _, old, label in sorted(pairs, key=lambda pair: (-pair[0], *pair[1:])):
        if old in gone and label in new:
            result.add({"op": "set_turn", "turn": _turn_of(result, old) or "", "start": label.start, "end": label.end})
            gone.remove(old)
            new.remove(label)
    for label in _missing(new, result):
        result.add({"op": "insert_turn", "start": label.start, "end": label.end, "speaker": label.speaker})
    for old in gone:
        turn = _turn_of(result, old)
        if turn is not None:
            result.add({"op": "delete_turn", "turn": turn, "words": "keep"})
    for old in without(before, after):
        if old.speaker is not None:
            _trim(old, after, result)


def _trim(old: Label, after: Sequence[Label], result: Revision) -> None:
    """Take time away from a speaker where the file has no turn of that speaker any more."""
    start = old.start
    own = [label for label in after if label.speaker == old.speaker and label.start < old.end and old.start < label.end]
    for a, b in [*((label.start, label.end) for label in own), (old.end, old.end)]:
        if start < a and any(t.speaker == old.speaker and t.start < a and start < t.end for t in result.state.turns):
            result.add({"op": "assign", "start": start, "end": a, "from": old.speaker, "to": None})
        start = max(start, b)


def _missing(labels: Sequence[Label], result: Revision) -> list[Label]:
    """Those that are not turns of the state yet."""
    return [
        label
        for label in labels
        if not any(
            t.speaker == label.speaker and t.start == label.start and t.end == label.end for t in result.state.turns
        )
    ]


def _speaks(speaker: str | None, start: int, end: int, labels: Sequence[Label]) -> bool:
    return any(one.speaker == speaker and one.start < end and start < one.end for one in labels)


def _turn_of(result: Revision, label: Label) -> str | None:
    """The id of the turn of a speaker with these ends."""
    span = (label.start, label.end, label.speaker)
    return next((t.id for t in result.state.turns if (t.start, t.end, t.speaker) == span), None)
