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
from diarize.types import Audio, Identity, Segment, Speaker, SpeechTrack, Turn, Vectors, speakers_of
from diarize.units import round_time

Bandwidth = Callable[[Audio, Sequence[Segment]], float]  # (sound, its speech) -> Hz
UNHEARD = "no window of speech holds enough of them"


@dataclass(frozen=True, slots=True, eq=False)
class Voices:
    """The voices of the speakers of a recording, without those who speak in no window."""

    speakers: tuple[str, ...]
    vectors: Vectors = field(repr=False)  # (k, d)
    bandwidth: float  # Hz


@dataclass(frozen=True, slots=True)
class NamedSpeakers:
    speakers: tuple[Speaker, ...]
    turns: tuple[Turn, ...]
    same: Mapping[str, str]  # id of a speaker -> that of the one who is the same person, and now has their turns
    strangers: Strangers | None  # None: everybody was recognised, or nobody has a voice


def voices_of(turns: Sequence[Turn], tracks: Sequence[SpeechTrack], bandwidth: Bandwidth = bandwidth) -> Voices:
    """The voices of the speakers of `turns`, from tracks that have embeddings: the recording, or its channels.

    The voices of channels are the means of their windows; of a whole recording they are pooled by the turns.
    """
    embedded = [(track, track.voices) for track in tracks if track.voices is not None]
    track, windows = embedded[0]
    if track.speaker is None:
        index = SpanIndex(windows.segments)
        present = {turn.speaker for turn in turns if any(True for _ in index.overlapping(turn))}
        own = [turn for turn in turns if turn.speaker in present]
        speakers = speakers_of(own)
        vectors = pool(speakers, own, windows)
        return Voices(tuple(speaker.id for speaker in speakers), vectors, bandwidth(track.audio, track.speech))
    spoken = [(track, windows.vectors) for track, windows in embedded if len(windows.vectors)]
    means = np.array([vectors.astype(np.float64).mean(axis=0) for _, vectors in spoken])
    vectors = (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)
    reach = min(bandwidth(track.audio, track.speech) for track, _ in spoken)
    return Voices(tuple(track.speaker or "" for track, _ in spoken), vectors, reach)


def name_speakers(turns: Sequence[Turn], voices: Voices, identify: Identifier, gap: float) -> NamedSpeakers:
    """Who the speakers of `turns` are. Speakers who are one person become one; `gap` (s) parts their turns then."""
    speakers = speakers_of(turns)
    seconds = [round_time(timeline.total(t for t in turns if t.speaker == id)) for id in voices.speakers]
    identities = dict(zip(voices.speakers, identify(voices.vectors, seconds, voices.bandwidth), strict=True))
    same = {id: voices.speakers[identity.same] for id, identity in identities.items() if identity.same is not None}
    people = tuple(
        _identified(speaker, identities.get(speaker.id), same) for speaker in speakers if speaker.id not in same
    )
    unknown = {speaker.id for speaker in people if speaker.voice is None}
    rows = [k for k, id in enumerate(voices.speakers) if id in unknown]
    strangers = Strangers(
        speakers=tuple(voices.speakers[k] for k in rows),
        vectors=voices.vectors[rows],
        seconds=tuple(seconds[k] for k in rows),
        bandwidth=voices.bandwidth,
        mean=voices.vectors.astype(np.float64).mean(axis=0),
    )
    return NamedSpeakers(people, joined(turns, same, gap), same, strangers if rows else None)


def joined(turns: Sequence[Turn], same: Mapping[str, str], gap: float) -> tuple[Turn, ...]:
    """The turns, each key of `same` replaced by its value; what is then at most `gap` (s) apart becomes one turn."""
    if not same:
        return tuple(turns)
    changed = {*same, *same.values()}
    result = [turn for turn in turns if turn.speaker not in changed]
    for id in dict.fromkeys(same.values()):
        own = [turn for turn in turns if same.get(turn.speaker, turn.speaker) == id]
        result += [Turn(s.start, s.end, id) for s in timeline.union(own, gap)]
    return tuple(sorted(result, key=lambda turn: (turn.start, turn.end, turn.speaker)))


def _identified(speaker: Speaker, identity: Identity | None, same: Mapping[str, str]) -> Speaker:
    """The speaker with the decision; `same` as in `Recognised`."""
    if identity is None:
        return replace(speaker, reason=UNHEARD)
    person = identity.person
    return replace(
        speaker,
        name=person.name if person is not None else None,
        candidates=identity.candidates,
        voice=person.voice if person is not None else None,
        reason=identity.reason,
        merged=tuple(id for id, head in same.items() if head == speaker.id),
    )
