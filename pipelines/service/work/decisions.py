"""Verification and identification of an upload.

A verification collects its reasons in one place, `collect`: each examiner looks at the sound, its embedding, the
comparison and the guards, and may add a reason. A reason that refuses makes the decision `refused`; one that rejects
makes it `reject`; one that doubts makes an `accept` `inconclusive`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np

from diarize.config import IdentifyConfig
from diarize.errors import AudioError
from diarize.guard import decision as guarding
from diarize.guard import fingerprints, spoofing
from diarize.library.database.records import Person
from diarize.library.enrolled import EnrolledPeople, MappedVoices, calibration_of, enrolled_people, nearest_people
from diarize.library.scoring.calibration import Calibration
from diarize.library.scoring.identification import OpenSet
from diarize.library.store import Library
from diarize.types import Audio
from pipelines.guard.attempt import AttemptChecker, CheckedAttempt
from pipelines.people.enrolment_checks import LEAST_SPEECH
from pipelines.people.utterance import EmbeddedSpeech, UtteranceEmbedder, note_second_voice
from pipelines.people.verify import Verification, Verifier, narrowest
from pipelines.service.access.limits import Quotas
from pipelines.service.work.people import SpeakerRoom
from pipelines.service.work.phrases import PhraseDesk
from pipelines.service.work.refusals import Refusal
from pipelines.service.work.uploads import Upload
from pipelines.service.work.voices import MOST_OPEN

Effect = Literal["refuses", "rejects", "doubts", "informs"]


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
    embedder: UtteranceEmbedder
    embedded: EmbeddedSpeech | None  # None: there is no speech
    comparison: Verification | None
    attempt: CheckedAttempt | None = None  # None: no guard was asked for


Examiner = Callable[[Examined], Iterable[Reason]]


def second_voice(examined: Examined) -> Iterable[Reason]:
    """Two people in one recording: the comparison is of a mixture."""
    if examined.embedded is None:
        return
    for note in note_second_voice(examined.embedded, examined.embedder.model):
        yield Reason("two_speakers", note, "doubts")


def no_likelihood(examined: Examined) -> Iterable[Reason]:
    """Why there is no likelihood ratio, where there is none."""
    comparison = examined.comparison
    if comparison is not None and comparison.llr is None and comparison.reason:
        yield Reason("not_calibrated", comparison.reason)


GUARD_EFFECTS: Mapping[guarding.Reason, Effect] = {
    "expired": "doubts",
    "poor_quality": "doubts",
    "spoofing_suspected": "rejects",
    "phrase_mismatch": "rejects",
}


def guards(examined: Examined) -> Iterable[Reason]:
    """What the guards say against the attempt: challenge, quality, sound that was accepted before, phrase."""
    if examined.attempt is None:
        return
    evidence = examined.attempt.evidence
    for code, details in guarding.objections(evidence).items():
        if code in GUARD_EFFECTS:  # the comparison of voices has its own reasons
            is_silent = code == "phrase_mismatch" and evidence.phrase is None
            yield Reason(code, "; ".join(details), "doubts" if is_silent else GUARD_EFFECTS[code])


EXAMINERS: tuple[Examiner, ...] = (guards, second_voice, no_likelihood)


def collect(examined: Examined, examiners: Iterable[Examiner]) -> tuple[str, tuple[Reason, ...]]:
    """(decision, reasons) of a verification: the comparison's decision, as the reasons leave it."""
    reasons = tuple(reason for examiner in examiners for reason in examiner(examined))
    compared = "undecided" if examined.comparison is None else examined.comparison.decision
    decision = {"same": "accept", "different": "reject"}.get(compared, "inconclusive")
    if decision == "reject":
        reasons = (Reason("speaker_mismatch", "the voice is not that of the speaker"), *reasons)
    effects = {reason.effect for reason in reasons}
    if "refuses" in effects:
        decision = "refused"
    elif "rejects" in effects:
        decision = "reject"
    elif "doubts" in effects and decision == "accept":
        decision = "inconclusive"
    order: Mapping[str, int] = {code: place for place, code in enumerate(guarding.ORDER)}
    return decision, tuple(sorted(reasons, key=lambda reason: order.get(reason.code, len(order))))


class Decider:
    """Answers `verify` and `identify`, in a thread of a pool."""

    def __init__(
        self, room: SpeakerRoom, quotas: Quotas, phrases: PhraseDesk, examiners: tuple[Examiner, ...] = EXAMINERS
    ) -> None:
        self._room, self._quotas, self._phrases, self._examiners = room, quotas, phrases, examiners
        self._local = threading.local()

    def verify(
        self,
        tenant: str,
        id: str,
        upload: Upload,
        complete: bool = True,
        challenge: str | None = None,
        arrived: datetime | None = None,
    ) -> dict[str, Any]:
        """Is this the speaker `id`? `complete`: only where the enrolment is. Raises Refusal.

        `challenge`: id of the challenge that the sound answers, and `arrived`, when it was there (now).
        """
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
        audio = self._decode(tenant, upload)
        if challenge is None and not room.settings.guard:
            embedded = embed(audio, embedder, upload.received())
            comparison = verifier.verify(voice, embedded.voice, narrowest(library, person.id))
            examined = Examined(tenant, person.id, audio, embedder, embedded, comparison)
            decision, reasons = collect(examined, self._examiners)
            body = _decided(decision, person.id, *reasons)
            return {**body, **_figures(comparison, verifier), "received": upload.received()}
        attempt = self._attempt(tenant, person, audio, upload, challenge, arrived or datetime.now(UTC))
        examined = Examined(tenant, person.id, audio, embedder, attempt.embedded, attempt.verification, attempt)
        decision, reasons = collect(examined, self._examiners)
        if decision == "accept":
            decision, reasons = _keep(library, person, upload, attempt, reasons, room.settings.most_fingerprints)
        return {
            **_decided(decision, person.id, *reasons),
            **({} if attempt.verification is None else _figures(attempt.verification, verifier)),
            "received": upload.received(),
            "guard": _shown(attempt),
        }

    def _attempt(
        self, tenant: str, person: Person, audio: Audio, upload: Upload, challenge: str | None, arrived: datetime
    ) -> CheckedAttempt:
        """What the guards say. Raises Refusal for too little speech, where no challenge is used up by the answer."""
        embedder, verifier = self._room.models.of_thread()
        checker = AttemptChecker(embedder, verifier, self._phrases.listener)
        library = self._room.libraries.of(tenant)
        if challenge is None:
            attempt = checker.check(audio, library, person)
            require_speech(attempt.embedded, upload.received())
            return attempt
        self._phrases.listener.load()  # where that fails, the challenge is not used up
        answered = self._phrases.take(tenant, person.id, challenge, arrived)
        return checker.check(audio, library, person, answered, "expired" if answered is None else "valid")

    def identify(self, tenant: str, upload: Upload, top: int) -> dict[str, Any]:
        """Which enrolled speaker is this, or nobody? Raises Refusal."""
        room = self._room
        embedder, _ = room.models.of_thread()
        config = room.settings.config
        changes: dict[str, Any] = {"top": top}
        if room.settings.calibration is not None:
            changes["calibration"] = str(room.settings.calibration)
        wanted = config.model_copy(update={"identify": config.identify.model_copy(update=changes)})
        library, model = room.libraries.of(tenant), embedder.model
        search = None if wanted.identify.exact else room.libraries.searches.of(tenant, model, library)
        voice = embed(self._decode(tenant, upload), embedder, upload.received()).voice
        vectors = np.asarray(voice.vector, dtype=np.float32)[None]
        if search is None:
            people = self._open_set(tenant, enrolled_people(library, model, wanted))
        else:
            calibration = self._calibration(model, wanted.identify)
            people = nearest_people(library, search, calibration, wanted.identify, vectors)
        (identity,) = people(vectors, [voice.seconds], voice.bandwidth)
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

    def _calibration(self, model: str, config: IdentifyConfig) -> Calibration | None:
        """That of the settings, read once in each thread."""
        loaded: dict[str, Calibration | None] = self._local.__dict__.setdefault("calibrations", {})
        if model not in loaded:
            loaded[model] = calibration_of(model, config)
        return loaded[model]

    def _decode(self, tenant: str, upload: Upload) -> Audio:
        audio = self._room.decoder.decode(upload, f"upload {upload.digest[:12]}").audios[0]
        self._quotas.count(tenant, audio.duration)
        return audio


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
        embedded: EmbeddedSpeech | None = embedder.embed_windows(audio)
    except AudioError:
        embedded = None
    return require_speech(embedded, received)


def require_speech(embedded: EmbeddedSpeech | None, received: dict[str, Any]) -> EmbeddedSpeech:
    """The embedded speech, where there is enough of it. Raises Refusal."""
    if embedded is None:
        raise Refusal("no_speech", "no speech was detected", {"received": received})
    if embedded.voice.seconds < LEAST_SPEECH:
        facts = {"need": LEAST_SPEECH, "got": embedded.voice.seconds, "received": received}
        raise Refusal("audio_too_short", f"{embedded.voice.seconds:.1f} s of speech", facts)
    return embedded


def _keep(
    library: Library, person: Person, upload: Upload, attempt: CheckedAttempt, reasons: tuple[Reason, ...], most: int
) -> tuple[str, tuple[Reason, ...]]:
    """(decision, reasons) of an attempt that would be accepted, whose fingerprint is stored; `most`: as many are kept.

    It is compared once more, with nobody else writing: of two requests with the same sound at once, one is accepted.
    """
    with library.batch():
        stored = ((each.origin, fingerprints.decode(each.print)) for each in library.guard.prints(person.id))
        if (replay := fingerprints.find_same(attempt.print, stored)) is None:
            origin = f"upload {upload.digest[:12]}"
            library.keep_print(person.id, origin, fingerprints.encode(attempt.print), most)
            return "accept", (*reasons, Reason("verified", "no guard speaks against it"))
    details = guarding.objections(replace(attempt.evidence, replay=replay[1]))["spoofing_suspected"]
    return "reject", (Reason("spoofing_suspected", "; ".join(details), "rejects"), *reasons)


def _figures(comparison: Verification, verifier: Verifier) -> dict[str, Any]:
    return {
        "score": comparison.score,
        "score_threshold": score_threshold(verifier, comparison),
        "llr": comparison.llr,
        "threshold": comparison.threshold if comparison.llr is not None else comparison.score_threshold,
        "posterior": comparison.posterior,
        "prior": comparison.prior,
        "model": comparison.model,
        "seconds": comparison.b.seconds,
    }


def _shown(attempt: CheckedAttempt) -> dict[str, Any]:
    """What the guards rest on, ready for JSON."""
    spoof = attempt.evidence.spoof
    scores = {} if spoof is None else spoofing.as_dict(spoof)
    return {
        "challenge": attempt.evidence.challenge,
        "phrase": attempt.phrase,
        "recognized": attempt.recognized,
        "words": [dict(word) for word in attempt.decision.words],
        "replay": attempt.evidence.replay is not None and attempt.evidence.replay.is_same,
        "signs": [sign.kind for sign in attempt.signs],
        "spoofing": {name: scores[name] for name in _OF_SPOOFING} if scores else None,
    }


_OF_SPOOFING = ("model", "error", "threshold", "score", "suspected")


def _decided(decision: str, speaker: str | None, *reasons: Reason) -> dict[str, Any]:
    return {"decision": decision, "speaker_id": speaker, "reasons": [reason.as_dict() for reason in reasons]}
