"""What minutes and pages have a paragraph for: what one speaker says, or a turn where there are no words."""

from __future__ import annotations

from dataclasses import dataclass

from diarize.intervals import SpanIndex
from diarize.types import Segment, Transcript, Word


@dataclass(frozen=True, slots=True)
class MinutesEntry(Segment):
    """`human`: a person decided a turn of the speaker in this time, or says that it is right."""

    speaker: str | None
    words: tuple[Word, ...] = ()
    human: bool = False


def entries(transcript: Transcript) -> list[MinutesEntry]:
    """The utterances of a transcript, by start; its turns where it has no words."""
    if not transcript.words:
        return [MinutesEntry(turn.start, turn.end, turn.speaker, (), turn.human) for turn in transcript.turns]
    decided = {
        speaker.id: SpanIndex([turn for turn in transcript.turns if turn.speaker == speaker.id and turn.human])
        for speaker in transcript.speakers
    }
    result = []
    for utterance in transcript.utterances():
        index = None if utterance.speaker is None else decided[utterance.speaker]
        human = index is not None and next(index.overlapping(utterance), None) is not None
        result.append(MinutesEntry(utterance.start, utterance.end, utterance.speaker, utterance.words, human))
    return result


def speaking_times(transcript: Transcript) -> dict[str, float]:
    """Speaker id -> seconds of speech, in the order of the speakers; overlapping turns of one speaker count once."""
    seconds = dict.fromkeys((speaker.id for speaker in transcript.speakers), 0.0)
    latest = dict.fromkeys(seconds, 0.0)  # end of the speaker's turns so far
    for turn in transcript.turns:
        seconds[turn.speaker] += max(0.0, turn.end - max(turn.start, latest[turn.speaker]))
        latest[turn.speaker] = max(turn.end, latest[turn.speaker])
    return seconds
