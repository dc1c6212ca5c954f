"""One change of a state by a person: (state, operation) -> state.

An operation is plain data: `{"op": NAME, ...}` with the fields that `FIELDS` lists. Times are whole milliseconds. The
same operations are written for the browser in `web/src/operations.ts`; both are tested with the same examples
(tests/data/corrections). An operation that cannot be applied raises `DoesNotFit`, and nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from diarize.corrections.state import EditedSpeaker, EditedTurn, EditedWord, Note, State

Operation = Mapping[str, Any]

BLANKS = " \t\r\n"

# name -> its fields: text; text or null; int (ms) or null; bool
FIELDS: dict[str, dict[str, tuple[type, ...]]] = {
    "name_speaker": {"speaker": (str,), "name": (str, type(None))},
    "add_speaker": {"speaker": (str,), "name": (str, type(None))},
    "merge_speakers": {"from": (str,), "into": (str,)},
    "assign": {"start": (int,), "end": (int,), "from": (str, type(None)), "to": (str, type(None))},
    "insert_turn": {"start": (int,), "end": (int,), "speaker": (str,)},
    "set_turn": {"turn": (str,), "start": (int,), "end": (int,)},
    "delete_turn": {"turn": (str,), "words": (str,)},
    "check_turn": {"turn": (str,), "checked": (bool,)},
    "edit_word": {"word": (str,), "text": (str,)},
    "time_word": {"word": (str,), "start": (int,), "end": (int,)},
    "insert_word": {"start": (int,), "end": (int,), "text": (str,), "speaker": (str, type(None))},
    "delete_word": {"word": (str,)},
    "note": {"text": (str,), "start": (int, type(None)), "end": (int, type(None))},
    "group": {"operations": (list,)},
}


class DoesNotFit(Exception):
    """An operation cannot be applied to this state; the message says why."""


def check(operation: object) -> Operation:
    """The operation, if it has the fields of its kind and no others. Raises DoesNotFit."""
    if not isinstance(operation, Mapping) or operation.get("op") not in FIELDS:
        raise DoesNotFit(f"not an operation: {str(operation)[:80]}")
    fields = FIELDS[operation["op"]]
    for key, kinds in fields.items():
        if key not in operation:
            raise DoesNotFit(f"{operation['op']} lacks {key!r}")
        value = operation[key]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise DoesNotFit(f"{operation['op']}: {key} is {str(value)[:40]!r}")
    if unknown := sorted(set(operation) - {"op", *fields}):
        raise DoesNotFit(f"{operation['op']} has no field {unknown[0]!r}")
    if operation["op"] == "group":
        if not operation["operations"]:
            raise DoesNotFit("a group without operations")
        for part in operation["operations"]:
            if check(part)["op"] == "group":
                raise DoesNotFit("a group inside a group")
    return operation


def apply(state: State, operation: Operation, number: int) -> State:
    """The state after operation `number`, which is part of the ids of what it adds. Raises DoesNotFit."""
    draft = Draft(state)
    draft.apply(operation, number)
    return draft.freeze()


@dataclass(frozen=True, slots=True)
class Change:
    """What an operation changed: turns and words as they were and as they are, speakers likewise, new notes."""

    before: tuple[EditedTurn | EditedWord, ...] = ()
    after: tuple[EditedTurn | EditedWord, ...] = ()
    speakers_before: tuple[EditedSpeaker, ...] = ()
    speakers_after: tuple[EditedSpeaker, ...] = ()
    notes: tuple[Note, ...] = ()


class Draft:
    """A state that is being changed. Many operations on one draft are faster than as many states."""

    def __init__(self, state: State) -> None:
        self._duration = state.duration
        self._speakers = {speaker.id: speaker for speaker in state.speakers}
        self._turns = {turn.id: turn for turn in state.turns}
        self._words = {word.id: word for word in state.words}
        self._notes = list(state.notes)
        self._number = self._added = 0
        self._before: dict[str, EditedTurn | EditedWord | None] = {}  # id -> what it was; None: nothing

    def freeze(self) -> State:
        """The state now: turns by start and end, words by start and end."""
        return State(
            self._duration,
            tuple(self._speakers.values()),
            tuple(sorted(self._turns.values(), key=_order)),
            tuple(sorted(self._words.values(), key=_order)),
            tuple(self._notes),
        )

    def apply(self, operation: Operation, number: int) -> Change:
        """Change the draft; what was changed. Raises DoesNotFit, and then the draft is as before."""
        operation = check(operation)
        self._number, self._added, self._before = number, 0, {}
        speakers, notes = dict(self._speakers), len(self._notes)
        try:
            for part in operation["operations"] if operation["op"] == "group" else [operation]:
                _APPLY[part["op"]](self, part)
        except DoesNotFit:
            self._speakers = speakers
            del self._notes[notes:]
            for id, item in self._before.items():
                self._set(id, item)
            raise
        items = {id: self._turns.get(id) or self._words.get(id) for id in self._before}
        change = Change(
            tuple(item for id, item in self._before.items() if item is not None and item != items[id]),
            tuple(item for id, item in items.items() if item is not None and item != self._before[id]),
            tuple(one for one in speakers.values() if self._speakers.get(one.id) != one),
            tuple(one for one in self._speakers.values() if speakers.get(one.id) != one),
            tuple(self._notes[notes:]),
        )
        if change == Change():
            raise DoesNotFit("nothing would change")
        return change

    def _set(self, id: str, item: EditedTurn | EditedWord | None) -> None:
        """Give a turn or word another value, or none, and remember the one before the operation."""
        self._before.setdefault(id, self._turns.get(id) or self._words.get(id))
        if item is None:
            self._turns.pop(id, None)
            self._words.pop(id, None)
        elif isinstance(item, EditedTurn):
            self._turns[id] = item
        else:
            self._words[id] = item

    # Speakers

    def _name_speaker(self, operation: Operation) -> None:
        speaker, name = self._speaker(operation["speaker"]), operation["name"]
        if name is not None and not name.strip(BLANKS):
            raise DoesNotFit("a name has at least one letter")
        if name == speaker.name:
            raise DoesNotFit(f"{speaker.id} is called {name!r} already")
        self._speakers[speaker.id] = replace(speaker, name=name, human=True)

    def _add_speaker(self, operation: Operation) -> None:
        id, name = operation["speaker"], operation["name"]
        if id in self._speakers or not id.strip(BLANKS):
            raise DoesNotFit(f"there is a speaker {id!r} already" if id.strip(BLANKS) else "a speaker's id is empty")
        self._speakers[id] = EditedSpeaker(id, name, human=True)

    def _merge_speakers(self, operation: Operation) -> None:
        gone, remaining = self._speaker(operation["from"]), self._speaker(operation["into"])
        if gone.id == remaining.id:
            raise DoesNotFit("a speaker cannot be merged with itself")
        for turn in sorted((turn for turn in self._turns.values() if turn.speaker == gone.id), key=_order):
            self._set(turn.id, None)
            self._add_turn(replace(turn, speaker=remaining.id, human=True))
        for word in [word for word in self._words.values() if word.speaker == gone.id]:
            self._set(word.id, _decided(replace(word, speaker=remaining.id), "speaker"))
        del self._speakers[gone.id]

    # Turns

    def _assign(self, operation: Operation) -> None:
        start, end = self._span(operation)
        source, target = operation["from"], operation["to"]
        for speaker in (source, target):
            if speaker is not None:
                self._speaker(speaker)
        if source == target:
            raise DoesNotFit("it is that speaker's already")
        pieces = [(start, end)] if source is None else self._cut(source, start, end)
        words = [
            word
            for word in self._words.values()
            if word.speaker == source and 2 * start <= word.start + word.end < 2 * end
        ]
        if not pieces and not words:
            raise DoesNotFit(f"{source} does not speak there")
        if target is not None:
            for a, b in pieces:
                self._add_turn(EditedTurn(self._new_id("t"), a, b, target, human=True))
        for word in words:
            self._set(word.id, _decided(replace(word, speaker=target), "speaker"))

    def _insert_turn(self, operation: Operation) -> None:
        start, end = self._span(operation)
        speaker = self._speaker(operation["speaker"]).id
        self._add_turn(EditedTurn(self._new_id("t"), start, end, speaker, human=True))
        for word in list(self._words.values()):
            if word.speaker is None and 2 * start <= word.start + word.end < 2 * end:
                self._set(word.id, _decided(replace(word, speaker=speaker), "speaker"))

    def _set_turn(self, operation: Operation) -> None:
        turn = self._turn(operation["turn"])
        start, end = self._span(operation)
        if (start, end) == (turn.start, turn.end):
            raise DoesNotFit("the turn has these ends already")
        self._set(turn.id, None)
        self._add_turn(replace(turn, start=start, end=end, human=True))

    def _delete_turn(self, operation: Operation) -> None:
        turn = self._turn(operation["turn"])
        if operation["words"] not in ("keep", "delete"):
            raise DoesNotFit(f"words of a deleted turn are kept or deleted, not {operation['words']!r}")
        self._set(turn.id, None)
        for word in list(self._words.values()):
            if word.speaker == turn.speaker and 2 * turn.start <= word.start + word.end < 2 * turn.end:
                if operation["words"] == "delete":
                    self._set(word.id, None)
                else:
                    self._set(word.id, _decided(replace(word, speaker=None), "speaker"))

    def _check_turn(self, operation: Operation) -> None:
        turn = self._turn(operation["turn"])
        if turn.checked == operation["checked"]:
            raise DoesNotFit("the turn is marked so already")
        self._set(turn.id, replace(turn, checked=operation["checked"]))

    # Words

    def _edit_word(self, operation: Operation) -> None:
        word, text = self._word(operation["word"]), _text(operation["text"])
        if text == word.text:
            raise DoesNotFit("the word is written so already")
        self._set(word.id, _decided(replace(word, text=text, probability=None), "text"))

    def _time_word(self, operation: Operation) -> None:
        word = self._word(operation["word"])
        start, end = self._span(operation, empty=True)
        if (start, end) == (word.start, word.end):
            raise DoesNotFit("the word has these times already")
        self._set(word.id, _decided(replace(word, start=start, end=end), "time"))

    def _insert_word(self, operation: Operation) -> None:
        start, end = self._span(operation, empty=True)
        speaker = operation["speaker"]
        if speaker is not None:
            self._speaker(speaker)
        word = EditedWord(self._new_id("w"), start, end, _text(operation["text"]), speaker, None, ("new",))
        self._set(word.id, word)

    def _delete_word(self, operation: Operation) -> None:
        self._set(self._word(operation["word"]).id, None)

    def _note(self, operation: Operation) -> None:
        start, end = operation["start"], operation["end"]
        if start is not None:
            start, end = self._span({"start": start, "end": start if end is None else end}, empty=True)
        self._notes.append(Note(self._new_id("n"), _text(operation["text"]), start, end))

    # What operations share

    def _speaker(self, id: str) -> EditedSpeaker:
        if id not in self._speakers:
            raise DoesNotFit(f"there is no speaker {id!r}")
        return self._speakers[id]

    def _turn(self, id: str) -> EditedTurn:
        if id not in self._turns:
            raise DoesNotFit(f"there is no turn {id!r}")
        return self._turns[id]

    def _word(self, id: str) -> EditedWord:
        if id not in self._words:
            raise DoesNotFit(f"there is no word {id!r}")
        return self._words[id]

    def _span(self, operation: Operation, empty: bool = False) -> tuple[int, int]:
        start, end = operation["start"], operation["end"]
        if not 0 <= start <= end <= self._duration or (start == end and not empty):
            raise DoesNotFit(f"no time of the recording: {start} to {end} ms of {self._duration} ms")
        return start, end

    def _new_id(self, prefix: str) -> str:
        self._added += 1
        return f"{prefix}@{self._number}" if self._added == 1 else f"{prefix}@{self._number}.{self._added}"

    def _cut(self, speaker: str, start: int, end: int) -> list[tuple[int, int]]:
        """Take start .. end out of the speaker's turns; the parts that were taken out."""
        own = sorted((turn for turn in self._turns.values() if turn.speaker == speaker), key=_order)
        pieces = []
        for turn in own:
            if turn.end <= start or end <= turn.start:
                continue
            pieces.append((max(start, turn.start), min(end, turn.end)))
            self._set(turn.id, None)
            if turn.start < start:
                self._set(turn.id, replace(turn, end=start, human=True))
            if end < turn.end:
                id = self._new_id("t") if turn.start < start else turn.id
                self._set(id, replace(turn, id=id, start=end, human=True))
        return pieces

    def _add_turn(self, turn: EditedTurn) -> None:
        """Add a turn, together with those of its speaker that it overlaps or touches: under the id of the earliest."""
        own = [other for other in self._turns.values() if other.speaker == turn.speaker]
        joined = sorted((o for o in own if o.start <= turn.end and turn.start <= o.end), key=_order)
        for other in joined:
            self._set(other.id, None)
        first = min([turn, *joined], key=lambda one: (one.start, one is turn))
        start, end = min(one.start for one in [turn, *joined]), max(one.end for one in [turn, *joined])
        checked = turn.checked and all(other.checked for other in joined)
        self._set(first.id, replace(turn, id=first.id, start=start, end=end, checked=checked))


_APPLY: dict[str, Callable[[Draft, Operation], None]] = {
    name: getattr(Draft, f"_{name}") for name in FIELDS if name != "group"
}


def _order(item: EditedTurn | EditedWord) -> tuple[int, int, int, str]:
    """Turns and words by start, end and id: what an operation does never depends on what was taken back before it."""
    return item.start, item.end, len(item.id), item.id


def _decided(word: EditedWord, what: str) -> EditedWord:
    """The word, with `what` among a person's decisions. All of a new word is a person's already."""
    if what in word.human or "new" in word.human:
        return word
    return replace(word, human=tuple(sorted((*word.human, what))))


def _text(text: str) -> str:
    """The text of a word or note. Raises DoesNotFit where nothing of it is to be seen."""
    text = text.strip(BLANKS)
    if not text:
        raise DoesNotFit("a text has at least one letter")
    return text
