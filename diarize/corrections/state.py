"""A transcript as people correct it: words, turns and speakers with ids, times in whole milliseconds.

Ids of machine output follow from times: `w83210` is the word that starts at 83.210 s, `t83210` the turn; the second one
with the same start is `w83210.2`. So they stay the same if a recording is processed again and the words do not change.
Ids of what people add follow from the number of the operation: `w@12`, `t@12`, `t@12.2`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from diarize.formats.times import round_transcript
from diarize.types import Transcript
from diarize.units import to_milliseconds


@dataclass(frozen=True, slots=True)
class EditedWord:
    """A word. `human` says what a person decided: text, time, speaker, or new (all of it)."""

    id: str
    start: int  # ms
    end: int  # ms
    text: str
    speaker: str | None
    probability: float | None = None
    human: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EditedTurn:
    """A turn. `human`: a person decided its speaker or an end of it; `checked`: a person says that it is right."""

    id: str
    start: int  # ms
    end: int  # ms
    speaker: str
    human: bool = False
    checked: bool = False
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class EditedSpeaker:
    """A speaker. `human`: a person gave the name, or added the speaker."""

    id: str
    name: str | None = None
    human: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """What a person remarks, about a time or about the whole recording."""

    id: str
    text: str
    start: int | None = None  # ms
    end: int | None = None  # ms


@dataclass(frozen=True, slots=True)
class State:
    """Speakers in order of appearance, turns and words by start, notes in the order in which they were written."""

    duration: int  # ms
    speakers: tuple[EditedSpeaker, ...] = ()
    turns: tuple[EditedTurn, ...] = ()
    words: tuple[EditedWord, ...] = ()
    notes: tuple[Note, ...] = ()

    @classmethod
    def of(cls, transcript: Transcript) -> State:
        """The state before any correction."""
        transcript = round_transcript(transcript)
        words = sorted(transcript.words, key=lambda word: (word.start, word.end))
        starts = [to_milliseconds(word.start) for word in words]
        turn_starts = [to_milliseconds(turn.start) for turn in transcript.turns]
        return cls(
            to_milliseconds(transcript.duration),
            tuple(EditedSpeaker(speaker.id, speaker.called) for speaker in transcript.speakers),
            tuple(
                EditedTurn(id, start, to_milliseconds(turn.end), turn.speaker, confidence=turn.confidence)
                for id, start, turn in zip(_ids("t", turn_starts), turn_starts, transcript.turns, strict=True)
            ),
            tuple(
                EditedWord(id, start, to_milliseconds(word.end), word.text, word.speaker, word.probability)
                for id, start, word in zip(_ids("w", starts), starts, words, strict=True)
            ),
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> State:
        """The state that `as_dict` wrote."""
        return cls(
            data["duration"],
            tuple(EditedSpeaker(**speaker) for speaker in data["speakers"]),
            tuple(EditedTurn(**turn) for turn in data["turns"]),
            tuple(EditedWord(**{**word, "human": tuple(word["human"])}) for word in data["words"]),
            tuple(Note(**note) for note in data["notes"]),
        )


def _ids(prefix: str, starts: list[int]) -> list[str]:
    counts: Counter[int] = Counter()
    ids = []
    for start in starts:
        counts[start] += 1
        ids.append(f"{prefix}{start}" if counts[start] == 1 else f"{prefix}{start}.{counts[start]}")
    return ids
