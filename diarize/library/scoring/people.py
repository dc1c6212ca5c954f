"""Speakers of a recording -> enrolled people: their voices, who they are, and turns in which each is one speaker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from diarize import timeline
from diarize.audio.bandwidth import bandwidth
from diarize.intervals import SpanIndex
from diarize.library.scoring.linking import Strangers
from diarize.stages import Identifier
from diarize.turns.voices import pool
from diarize.types import Audio, Embeddings, Identity, Segment, Speaker, Turn, Vectors, speakers_of
from diarize.units import round_time

Reach = Callable[[Audio, Sequence[Segment]], float]  # (sound, its speech) -> Hz
UNHEARD = "no window of speech holds enough of them"


@dataclass(frozen=True, slots=True, eq=False)
class Voices:
    """What was heard of the speakers of a recording; those of whom no window holds anything are not among them."""

    speakers: tuple[str, ...]
    vectors: Vectors = field(repr=False)  # (k, d)
    bandwidth: float  # Hz


@dataclass(frozen=True, slots=True)
class Recognised:
    speakers: tuple[Speaker, ...]
    turns: tuple[Turn, ...]
    same: Mapping[str, str]  # id of a speaker -> that of the one who is the same person, and now has their turns
    strangers: Strangers | None  # None: everybody was recognised, or nobody was heard


def heard(
    audio: Audio,
    speech: Sequence[Segment],
    turns: Sequence[Turn],
    windows: Embeddings,
    reach: Reach = bandwidth,
) -> Voices:
    """The voices of the speakers of `turns`, from embeddings of windows of the recording, sorted by start.

    `reach` tells the bandwidth of the speech.
    """
    index = SpanIndex(windows.segments)
    there = {turn.speaker for turn in turns if any(True for _ in index.overlapping(turn))}
    kept = [turn for turn in turns if turn.speaker in there]
    speakers = speakers_of(kept)
    return Voices(tuple(s.id for s in speakers), pool(speakers, kept, windows), reach(audio, speech))


def heard_alone(
    channels: Sequence[tuple[str, Audio, Sequence[Segment], Embeddings]], reach: Reach = bandwidth
) -> Voices:
    """The voices of speakers who each have a channel (id, its sound, its speech, its windows) of their own."""
    found = [(id, audio, speech, windows) for id, audio, speech, windows in channels if len(windows.vectors)]
    means = np.array([windows.vectors.astype(np.float64).mean(axis=0) for *_, windows in found])
    vectors: Vectors = (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)
    return Voices(tuple(id for id, *_ in found), vectors, min(reach(a, s) for _, a, s, _ in found))


def recognise(turns: Sequence[Turn], voices: Voices, identify: Identifier, gap: float) -> Recognised:
    """Who the speakers of `turns` are. Speakers who are one person become one; `gap` (s) parts their turns then."""
    speakers = speakers_of(turns)
    seconds = [round_time(timeline.total(t for t in turns if t.speaker == id)) for id in voices.speakers]
    found = identify(voices.vectors, seconds, voices.bandwidth)
    same = {
        id: voices.speakers[one.same] for id, one in zip(voices.speakers, found, strict=True) if one.same is not None
    }
    known = dict(zip(voices.speakers, found, strict=True))
    told = tuple(_told(speaker, known.get(speaker.id), same) for speaker in speakers if speaker.id not in same)
    unknown = {speaker.id for speaker in told if speaker.voice is None}
    rows = [k for k, id in enumerate(voices.speakers) if id in unknown]
    strangers = Strangers(
        speakers=tuple(voices.speakers[k] for k in rows),
        vectors=voices.vectors[rows],
        seconds=tuple(seconds[k] for k in rows),
        bandwidth=voices.bandwidth,
        mean=voices.vectors.astype(np.float64).mean(axis=0),
    )
    return Recognised(told, joined(turns, same, gap), same, strangers if rows else None)


def joined(turns: Sequence[Turn], same: Mapping[str, str], gap: float) -> tuple[Turn, ...]:
    """The turns, each key of `same` replaced by its value; what is then at most `gap` (s) apart becomes one turn."""
    if not same:
        return tuple(turns)
    changed = {*same, *same.values()}
    kept = [turn for turn in turns if turn.speaker not in changed]
    for id in dict.fromkeys(same.values()):
        own = [turn for turn in turns if same.get(turn.speaker, turn.speaker) == id]
        kept += [Turn(s.start, s.end, id) for s in timeline.union(own, gap)]
    return tuple(sorted(kept, key=lambda turn: (turn.start, turn.end, turn.speaker)))


def _told(speaker: Speaker, found: Identity | None, same: Mapping[str, str]) -> Speaker:
    """The speaker with what was decided."""
    if found is None:
        return replace(speaker, reason=UNHEARD)
    person = found.person
    return replace(
        speaker,
        name=person.name if person is not None else None,
        candidates=found.candidates,
        voice=person.voice if person is not None else None,
        reason=found.reason,
        merged=tuple(id for id, head in same.items() if head == speaker.id),
    )
