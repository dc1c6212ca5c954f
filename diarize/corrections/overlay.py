"""The corrected transcript: the machine's transcript with the state of its corrections."""

from __future__ import annotations

from dataclasses import replace

from diarize import types
from diarize.corrections.state import State
from diarize.types import Transcript


def corrected(transcript: Transcript, state: State) -> Transcript:
    """What every exporter takes. What a person decided is marked `human`, and has no confidence of the machine.

    Speakers without turns and words are left out.
    """
    known = {speaker.id: speaker for speaker in transcript.speakers}
    used = {turn.speaker for turn in state.turns} | {word.speaker for word in state.words}
    speakers = []
    for speaker in state.speakers:
        machine = known.get(speaker.id, types.Speaker(speaker.id))
        if speaker.id not in used:
            continue
        if speaker.human:
            machine = replace(machine, name=speaker.name, voice=None, link=None, human=True)
        speakers.append(machine)
    turns = tuple(
        types.Turn(
            turn.start / 1000,
            turn.end / 1000,
            turn.speaker,
            None if turn.human else turn.confidence,
            human=turn.human or turn.checked,
        )
        for turn in state.turns
    )
    words = tuple(
        types.Word(
            word.start / 1000, word.end / 1000, word.text, word.probability, word.speaker, human=bool(word.human)
        )
        for word in state.words
    )
    return replace(transcript, speakers=tuple(speakers), turns=turns, words=words)
