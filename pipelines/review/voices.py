"""Who the speakers of a recording may be: candidates from the library, and speakers who may be one person.

Each speaker's voice is embedded from their clearest speech (diarize/corrections/clearest.py), as an utterance is for
verification, so that its scores mean the same. Corrected turns count: a voice is embedded again when its turns change.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from diarize.config import Config
from diarize.corrections.clearest import Span, clearest, speaking_time
from diarize.corrections.state import EditedSpeaker, State
from diarize.errors import ConfigError
from diarize.library.enrolled import enrolled_people
from diarize.library.scoring.identification import OpenSet
from diarize.library.store import Library
from diarize.models.store import Store
from diarize.types import Audio, Candidate, Segment, Transcript
from pipelines.people import wording
from pipelines.people.enroll import EnrolmentRequest, EnrolmentResult, enroll_from_transcript
from pipelines.people.scoring import Scoring
from pipelines.people.utterance import UtteranceEmbedder, UtteranceEmbedding, load_embedder
from pipelines.people.verify import Verifier, load_verifier

EMBEDDED = 30_000  # ms of clear speech of each speaker: more gains little (docs/method/enrolment.md)
LEAST = 1_600  # ms: a window of the embedder
MOST_SPEAKERS = 40  # whose voices are embedded, those who speak most
MOST_PAIRS = 20
AGAIN = 5.0  # s after which the library is read again, to see whether it has changed

OpenLibrary = Callable[[], AbstractContextManager[Library | None]]  # to read; None: it does not exist yet
ChangeLibrary = Callable[[], AbstractContextManager[Library]]
Decoded = Callable[[], Sequence[Audio]]


@dataclass(frozen=True, slots=True)
class Models:
    """What voices are embedded and compared with."""

    embedder: UtteranceEmbedder
    verifier: Verifier


class SpeakerVoices:
    """The voices of the speakers of recordings. Models are loaded when they are first needed; safe for threads."""

    def __init__(self, config: Config, store: Store, library: OpenLibrary | None = None) -> None:
        """`library` opens the enrolled people who are candidates; None: nobody is."""
        self._config, self._store, self._library = config, store, library
        self._models: Models | None = None
        self._people: tuple[tuple[str, ...], OpenSet] | None = None  # (digests of the library, who is in it)
        self._digests: tuple[float, tuple[str, ...]] | None = None  # (when they were read, digests of the library)
        self._embedded: dict[tuple[str, tuple[Span, ...]], UtteranceEmbedding] = {}
        self._lock = threading.RLock()
        self._reading = threading.Lock()  # `_lock` may be held for minutes

    def library_digests(self) -> tuple[str, ...]:
        """Changes whenever the candidates may be other people: after an enrolment, a removal, the end of a consent.

        At most `AGAIN` seconds old. Raises LibraryError where the library cannot be read.
        """
        with self._reading:
            if self._library is None:
                return ()
            if self._digests is None or time.monotonic() - self._digests[0] >= AGAIN:
                with self._library() as library:
                    self._digests = time.monotonic(), _digests(library)
            return self._digests[1]

    def enrol(
        self, library: Library, folder: Path, speaker: str, name: str, consent: str, recording: Path | None
    ) -> EnrolmentResult:
        """Enrol a speaker of the results in `folder`, as `diarize enroll --from` does. Raises DiarizeError.

        Raises ConfigError without a consent: a voice is stored only with it.
        """
        if not consent.strip():
            raise ConfigError("consent", "", "is missing", "Write who agreed, and when.")
        request = EnrolmentRequest(name.strip(), consent=consent.strip())
        result = enroll_from_transcript(
            library, request, folder, speaker, self._config, self._store, recording=recording
        )
        with self._reading:
            self._digests = None  # the library has changed
        return result

    def describe(self, transcript: Transcript, state: State, decoded: Decoded, blind: bool = False) -> dict[str, Any]:
        """As `describe_speakers`, with candidates of now and pairs who may be one person, from the `decoded` sound.

        Raises DiarizeError where models are missing, the recording is another one, or the library cannot be read.
        """
        described = describe_speakers(transcript, state, blind)
        shown = [one.id for one in _shown(state, blind)]
        with self._lock:
            voices = self._voices(transcript, state, shown, decoded)
            for id, candidates in self._identify(voices).items():
                described["speakers"][id]["candidates"] = _listed(candidates)
            described["pairs"] = self._pairs(voices)
        return described

    def _voices(
        self, transcript: Transcript, state: State, speakers: Sequence[str], decoded: Decoded
    ) -> dict[str, UtteranceEmbedding]:
        """Speaker -> voice, of those who speak alone for long enough. Raises as loading of models does."""
        times = speaking_time(state)
        source = transcript.provenance.source
        digest = source.digest if source is not None else ""
        voices = {}
        for id in sorted(speakers, key=lambda each: -times[each])[:MOST_SPEAKERS]:
            spans = clearest(state, id, EMBEDDED)
            if sum(end - start for start, end in spans) < LEAST:
                continue
            key = (f"{digest} {id}", spans)
            if key not in self._embedded:
                self._embedded[key] = self._embed(_channel(decoded(), id), id, spans)
            voices[id] = self._embedded[key]
        return voices

    def _embed(self, audio: Audio, id: str, spans: Sequence[Span]) -> UtteranceEmbedding:
        speech = tuple(
            Segment(start / 1000, min(end / 1000, audio.duration))
            for start, end in spans
            if start / 1000 < audio.duration
        )
        embedded = self._load().embedder.embed_speech(audio, speech, speech).voice
        return UtteranceEmbedding(
            id, "", embedded.vector, self._load().embedder.model, embedded.seconds, embedded.bandwidth
        )

    def _identify(self, voices: Mapping[str, UtteranceEmbedding]) -> dict[str, tuple[Candidate, ...]]:
        if not voices or self._library is None:
            return {}
        model = self._load().embedder.model
        with self._library() as library:
            digests = _digests(library)
            if self._people is None or self._people[0] != digests:
                self._people = digests, enrolled_people(library, model, self._config).load()
        rows = list(voices.values())
        bandwidth = min(voice.bandwidth for voice in rows)
        identities = self._people[1](np.stack([row.vector for row in rows]), [row.seconds for row in rows], bandwidth)
        return {
            id: identities[identity.same if identity.same is not None else k].candidates
            for k, (id, identity) in enumerate(zip(voices, identities, strict=True))
        }

    def _pairs(self, voices: Mapping[str, UtteranceEmbedding]) -> list[dict[str, Any]]:
        """Pairs of speakers, the most similar first.

        With a calibration, or a threshold by the model's authors, only those who are `likely` one person; without, the
        most similar ones.
        """
        if len(voices) < 2:
            return []
        verifier = self._load().verifier
        pairs: list[tuple[Any, dict[str, Any]]] = []
        for a, b in combinations(voices, 2):
            compared = verifier.verify(voices[a], voices[b])
            likely = compared.decision == "same" if compared.llr is None else compared.llr > 0
            if likely or (compared.llr is None and compared.score_threshold is None):
                score = compared.similarity if compared.llr is None else compared.llr
                measure = "distance" if compared.is_distance else "similarity"
                words = _score_in_words(compared.llr, measure, compared.score)
                pair = {"a": a, "b": b, "score": round(score, 3), "llr": compared.llr, "likely": likely, **words}
                pairs.append(((compared.llr is None, -score, a, b), pair))
        return [pair for _, pair in sorted(pairs, key=lambda each: each[0])][:MOST_PAIRS]

    def _load(self) -> Models:
        if self._models is None:
            embedder = load_embedder(self._config, self._store)
            self._models = Models(embedder, load_verifier(embedder, Scoring()))
        return self._models


def describe_speakers(transcript: Transcript, state: State, blind: bool = False) -> dict[str, Any]:
    """`speakers.json` without comparing voices: of each speaker the clearest speech, seconds and candidates of the run.

    `blind`: candidates only of speakers whom a person has named. Times are whole milliseconds.
    """
    times = speaking_time(state)
    shown = {one.id for one in _shown(state, blind)}
    candidates = {one.id: one.candidates for one in transcript.speakers if one.id in shown}
    speakers = {
        one.id: {
            "seconds": times.get(one.id, 0),
            "clearest": [{"start": start, "end": end} for start, end in clearest(state, one.id)],
            "candidates": _listed(candidates.get(one.id, ())),
        }
        for one in state.speakers
    }
    return {"speakers": speakers, "pairs": [], "problem": "", "pending": False}


def _digests(library: Library | None) -> tuple[str, ...]:
    """Of the voices of each model; one library has others than another one. Raises LibraryError."""
    return () if library is None else tuple(map(library.digest, library.models()))


def _shown(state: State, blind: bool) -> tuple[EditedSpeaker, ...]:
    """The speakers of whom the machine's opinion may be shown."""
    return tuple(one for one in state.speakers if not blind or (one.human and one.name is not None))


def _listed(candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
    """Candidates for the page; `runner_up` is the lead of the best one over the next."""
    listed = []
    for i, one in enumerate(candidates):
        lead = None
        if i == 0 and len(candidates) > 1:
            after = candidates[1]
            both = one.llr is not None and after.llr is not None
            lead = round(one.llr - after.llr, 4) if both else round(one.score - after.score, 6)  # type: ignore[operator]
        words = _score_in_words(one.llr, "similarity", one.score)
        listed.append(
            {"id": one.voice, "name": one.name, "score": one.score, "llr": one.llr, "runner_up": lead, **words}
        )
    return listed


def _score_in_words(llr: float | None, measure: str, value: float) -> dict[str, str]:
    """`text`: the likelihood ratio where there is one, else the score and its measure; `meaning`: a sentence."""
    if llr is not None:
        return {"text": wording.ratio(llr).partition(" (")[0], "meaning": wording.sentence(llr)}
    higher = "two people" if measure == "distance" else "one person"
    meaning = f"{measure} of the voices, without a calibration: higher speaks for {higher}"
    return {"text": f"{measure} {value:.2f}", "meaning": meaning}


def _channel(audios: Sequence[Audio], speaker: str) -> Audio:
    """The sound of a speaker: that of their channel, where each channel is a speaker."""
    number = speaker.removeprefix("CHANNEL_")
    return audios[int(number)] if len(audios) > 1 and number.isdecimal() and int(number) < len(audios) else audios[0]
