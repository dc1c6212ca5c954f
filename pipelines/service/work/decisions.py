"""Verification and identification of an upload.

A verification collects its reasons in one place, `collect`: each examiner looks at the sound, its embedding and the
comparison, and may add a reason. A reason that refuses makes the decision `refused`; one that doubts makes an `accept`
`inconclusive`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from diarize.errors import AudioError
from diarize.library.enrolled import EnrolledPeople, MappedVoices, enrolled_people
from diarize.library.scoring.identification import OpenSet
from diarize.types import Audio
from pipelines.people.enrolment_checks import LEAST_SPEECH
from pipelines.people.utterance import EmbeddedSpeech, UtteranceEmbedder, note_second_voice
from pipelines.people.verify import Verification, Verifier, narrowest
from pipelines.service.access.limits import Quotas
from pipelines.service.work.people import SpeakerRoom
from pipelines.service.work.refusals import Refusal
from pipelines.service.work.uploads import Upload
from pipelines.service.work.voices import MOST_OPEN

Effect = Literal["refuses", "doubts", "informs"]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a decision is as it is: a stable code, a sentence, and what it does to the decision."""

    code: str
    detail: str
    effect: Effect = "informs"

    def as_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {"code": self.code, "detail": self.detail}


@dataclass(frozen=True, slots=True, eq=False)
class Examined:
    """What an examiner sees of a verification."""

    tenant: str
    speaker: str  # id
    audio: Audio
    embedded: EmbeddedSpeech
    embedder: UtteranceEmbedder
    comparison: Verification


Examiner = Callable[[Examined], Iterable[Reason]]


def second_voice(examined: Examined) -> Iterable[Reason]:
    """Two people in one recording: the comparison is of a mixture."""
    for note in note_second_voice(examined.embedded, examined.embedder.model):
        yield Reason("two_speakers", note, "doubts")


def no_likelihood(examined: Examined) -> Iterable[Reason]:
    """Why there is no likelihood ratio, where there is none."""
    if examined.comparison.llr is None and examined.comparison.reason:
        yield Reason("not_calibrated", examined.comparison.reason)


EXAMINERS: tuple[Examiner, ...] = (second_voice, no_likelihood)


def collect(examined: Examined, examiners: Iterable[Examiner]) -> tuple[str, tuple[Reason, ...]]:
    """(decision, reasons) of a verification: the comparison's decision, as the reasons leave it."""
    reasons = tuple(reason for examiner in examiners for reason in examiner(examined))
    decision = {"same": "accept", "different": "reject"}.get(examined.comparison.decision, "inconclusive")
    effects = {reason.effect for reason in reasons}
    if "refuses" in effects:
        return "refused", reasons
    if "doubts" in effects and decision == "accept":
        return "inconclusive", reasons
    if decision == "reject":
        reasons = (Reason("speaker_mismatch", "the voice is not that of the speaker"), *reasons)
    return decision, reasons


class Decider:
    """Answers `verify` and `identify`, in a thread of a pool."""

    def __init__(self, room: SpeakerRoom, quotas: Quotas, examiners: tuple[Examiner, ...] = EXAMINERS) -> None:
        self._room, self._quotas, self._examiners = room, quotas, examiners
        self._local = threading.local()

    def verify(self, tenant: str, id: str, upload: Upload, complete: bool = True) -> dict[str, Any]:
        """Is this the speaker `id`? `complete`: only where the enrolment is. Raises Refusal."""
        room = self._room
        if room.opted_out(tenant, id):
            return _decided("opted_out", id, Reason("opted_out", "this person has opted out"))
        person, library = room.find(tenant, id), room.libraries.of(tenant)
        embedder, verifier = room.models.of_thread()
        if person.expired:
            return _decided("refused", id, Reason("consent_expired", f"the consent ended on {person.expires}"))
        if person.seconds and embedder.model not in person.seconds:
            facts = {"model": embedder.model, "models": sorted(person.seconds)}
            raise Refusal("model_mismatch", "the speaker has voices of other models only", facts)
        progress = room.progress(person)
        voice = library.voice(person.id, embedder.model)
        if voice is None or (complete and not progress["complete"]):
            detail = f"{progress['seconds']} s of speech are enrolled, {progress['required']:g} s are needed"
            return {**_decided("not_enrolled", id, Reason("enrolment_incomplete", detail)), "enrolment": progress}
        audio, embedded = self._embed(tenant, upload, embedder)
        comparison = verifier.verify(voice, embedded.voice, narrowest(library, person.id))
        examined = Examined(tenant, person.id, audio, embedded, embedder, comparison)
        decision, reasons = collect(examined, self._examiners)
        return {
            **_decided(decision, person.id, *reasons),
            "score": comparison.score,
            "score_threshold": score_threshold(verifier, comparison),
            "llr": comparison.llr,
            "threshold": comparison.threshold if comparison.llr is not None else comparison.score_threshold,
            "posterior": comparison.posterior,
            "prior": comparison.prior,
            "model": comparison.model,
            "seconds": embedded.voice.seconds,
            "received": upload.received(),
        }

    def identify(self, tenant: str, upload: Upload, top: int) -> dict[str, Any]:
        """Which enrolled speaker is this, or nobody? Raises Refusal."""
        room = self._room
        embedder, _ = room.models.of_thread()
        config = room.settings.config
        changes: dict[str, Any] = {"top": top}
        if room.settings.calibration is not None:
            changes["calibration"] = str(room.settings.calibration)
        wanted = config.model_copy(update={"identify": config.identify.model_copy(update=changes)})
        people = enrolled_people(room.libraries.of(tenant), embedder.model, wanted)
        _, embedded = self._embed(tenant, upload, embedder)
        voice = embedded.voice
        vectors = np.asarray(voice.vector, dtype=np.float32)[None]
        (identity,) = self._open_set(tenant, people)(vectors, [voice.seconds], voice.bandwidth)
        person = identity.person
        decision = "accept" if person is not None else "inconclusive" if people.lacking else "reject"
        reason = Reason("nobody_named", identity.reason or people.lacking) if person is None else None
        return {
            **_decided(decision, person.voice if person is not None else None, *([reason] if reason else [])),
            "matches": [
                {"speaker_id": each.voice, "name": each.name, "score": each.score, "llr": each.llr, "rank": rank}
                for rank, each in enumerate(identity.candidates[:top], 1)
            ],
            "model": embedder.model,
            "seconds": voice.seconds,
            "received": upload.received(),
        }

    def _open_set(self, tenant: str, people: EnrolledPeople) -> OpenSet:
        """The identifier, which this thread keeps for as long as nobody is enrolled or changed."""
        voices = people.voices
        if isinstance(voices, MappedVoices):
            state = voices.files.total, voices.index.hash if voices.index is not None else ""
        else:
            state = voices.digest, ""
        loaded: dict[str, tuple[object, OpenSet]] = self._local.__dict__.setdefault("open_sets", {})
        key = (state, people.config, people.lacking)
        if tenant not in loaded or loaded[tenant][0] != key:
            if len(loaded) >= MOST_OPEN:
                loaded.clear()
            loaded[tenant] = key, people.load()
        return loaded[tenant][1]

    def _embed(self, tenant: str, upload: Upload, embedder: UtteranceEmbedder) -> tuple[Audio, EmbeddedSpeech]:
        recording = self._room.decoder.decode(upload, f"upload {upload.digest[:12]}")
        audio = recording.audios[0]
        self._quotas.count(tenant, audio.duration)
        return audio, embed(audio, embedder, upload.received())


def score_threshold(verifier: Verifier, comparison: Verification) -> float | None:
    """The score at which the decision changes: that of the model's authors, or, for so much speech on both sides, where
    the log-likelihood ratio w0 + w1 score + w2 q reaches its threshold.
    """
    calibration = verifier.calibration
    if calibration is None or comparison.llr is None or comparison.threshold is None or comparison.is_distance:
        return comparison.score_threshold
    ratio = float(calibration.unbounded(comparison.score, comparison.a.seconds, comparison.b.seconds))
    return round(comparison.score + (comparison.threshold - ratio) / calibration.weights[1], 6)


def embed(audio: Audio, embedder: UtteranceEmbedder, received: dict[str, Any]) -> EmbeddedSpeech:
    """The voice in decoded sound. Raises Refusal where there is too little speech."""
    try:
        embedded = embedder.embed_windows(audio)
    except AudioError as error:
        raise Refusal("no_speech", "no speech was detected", {"received": received}) from error
    if embedded.voice.seconds < LEAST_SPEECH:
        facts = {"need": LEAST_SPEECH, "got": embedded.voice.seconds, "received": received}
        raise Refusal("audio_too_short", f"{embedded.voice.seconds:.1f} s of speech", facts)
    return embedded


def _decided(decision: str, speaker: str | None, *reasons: Reason) -> dict[str, Any]:
    return {"decision": decision, "speaker_id": speaker, "reasons": [reason.as_dict() for reason in reasons]}
