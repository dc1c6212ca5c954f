"""Challenges of a tenant: a phrase for a speaker to say, drawn, kept in the tenant's library, and used once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from diarize.guard import challenge as challenges
from diarize.guard.challenge import Challenge
from diarize.models.store import Store
from diarize.stages import Recognizer
from diarize.types import Audio, Segment, Word
from pipelines.guard.attempt import load_recognizer
from pipelines.guard.challenges import LibraryChallenges
from pipelines.service.work.people import SpeakerRoom
from pipelines.service.work.refusals import Refusal
from pipelines.service.work.settings import ServiceSettings


class PhraseListener:
    """The recognizer of all threads, which is loaded with the first challenge; one thread at a time uses it."""

    def __init__(self, settings: ServiceSettings, store: Store) -> None:
        self._settings, self._store = settings, store
        self._lock = threading.Lock()
        self._recognizer: Recognizer | None = None

    def load(self) -> None:
        """Load it, if it is not. Raises Refusal where the service has none, BackendError, ModelError."""
        with self._lock:
            if self._recognizer is None:
                self._recognizer = load_recognizer(self._settings.config, self._store)
            if self._recognizer is None:
                raise Refusal("phrases_not_checked", "this service runs without a recognizer (--asr none)")

    @property
    def name(self) -> str:
        """Identity of the recognizer."""
        self.load()
        assert self._recognizer is not None
        return self._recognizer.name

    def __call__(self, audio: Audio, speech: Sequence[Segment]) -> tuple[tuple[Word, ...], str | None]:
        """As `Recognizer`. Raises as `load`."""
        self.load()
        assert self._recognizer is not None
        with self._lock:
            return self._recognizer(audio, speech)


@dataclass(frozen=True, slots=True)
class PhraseDesk:
    """Draws challenges and takes the answered ones. Every method runs in a thread of a pool, and names its tenant."""

    room: SpeakerRoom
    listener: PhraseListener

    def draw(self, tenant: str, speaker: str, language: str, seconds: float) -> dict[str, Any]:
        """A new challenge for a speaker. Raises Refusal, also for a language without words."""
        if self.room.opted_out(tenant, speaker):
            raise Refusal("opted_out", "this person does not want to be recognised")
        person = self.room.find(tenant, speaker)
        if person.expired:
            raise Refusal("consent_expired", f"it ended on {person.expires}")
        if language not in challenges.languages():
            known = list(challenges.languages())
            raise Refusal("invalid_request", f"there are words of {', '.join(known)}", {"known": known})
        self.listener.load()  # while the speaker reads, not while they wait for the decision
        drawn = challenges.draw(datetime.now(UTC), language, person.id, seconds=seconds)
        LibraryChallenges(self.room.libraries.of(tenant)).put(drawn)
        return {
            "id": drawn.id,
            "speaker_id": person.id,
            "phrase": drawn.phrase,
            "language": drawn.language,
            "issued": drawn.issued.isoformat(timespec="milliseconds"),
            "expires": drawn.expires.isoformat(timespec="milliseconds"),
        }

    def take(self, tenant: str, person: str, id: str, now: datetime) -> Challenge | None:
        """The challenge, which is used up; None where it holds no longer, is not for this person, or is unknown.

        Those of other tenants lie in other libraries, so that they are unknown here.
        """
        challenge = LibraryChallenges(self.room.libraries.of(tenant)).take(id, now)
        if challenge is None or challenge.is_expired(now) or challenge.person != person:
            return None
        return challenge
