"""Speakers of a tenant: enrolment that grows, listing, export, deletion, opting out."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Any

from diarize.errors import LibraryError, UnknownPerson
from diarize.library.database.records import Person
from diarize.library.store import Library
from pipelines.people import speakers
from pipelines.people.enroll import EnrolmentRequest, add_utterances
from pipelines.people.enrolment_audio import EnrolmentAudio
from pipelines.people.enrolment_checks import LEAST_SPEECH, Check, UtteranceResult
from pipelines.service.access.ledger import Ledger
from pipelines.service.access.limits import Quotas
from pipelines.service.work.refusals import OF_CHECK, Refusal
from pipelines.service.work.settings import ServiceSettings
from pipelines.service.work.uploads import Upload, UploadDecoder
from pipelines.service.work.voices import OpenLibraries, VoiceModels


@dataclass(frozen=True, slots=True)
class EnrolledUtterance:
    """What became of one utterance, and how far the enrolment is."""

    speaker: dict[str, Any]
    outcome: str  # counted, or known: it was there already
    seconds: float  # of speech
    quality: dict[str, float]
    notes: tuple[str, ...]


class SpeakerRoom:
    """The speakers of all tenants. Every method runs in a thread of a pool, and names its tenant."""

    def __init__(
        self,
        settings: ServiceSettings,
        ledger: Ledger,
        quotas: Quotas,
        models: VoiceModels,
        libraries: OpenLibraries,
        decoder: UploadDecoder,
    ) -> None:
        self.settings, self._ledger, self._quotas = settings, ledger, quotas
        self.models, self.libraries, self.decoder = models, libraries, decoder

    # reading ----------------------------------------------------------------------------------------------------------

    def find(self, tenant: str, id: str) -> Person:
        """The person with this id. Raises Refusal: speaker_not_found, also for people of other tenants."""
        try:
            return self.libraries.of(tenant).person(id)
        except UnknownPerson as error:
            raise Refusal("speaker_not_found", "nobody has this id") from error

    def show(self, tenant: str, id: str) -> dict[str, Any]:
        """A speaker as the service shows them. Raises Refusal."""
        if since := self.opted_out(tenant, id):
            return {**_NO_VOICE, "id": id, "state": "opted_out", "since": since}
        return self._described(self.find(tenant, id))

    def page(self, tenant: str, after: str, limit: int, name: str | None) -> list[dict[str, Any]]:
        """The next speakers in order of id, or those called `name`."""
        library = self.libraries.of(tenant)
        people = library.page(after, limit) if name is None else library.named(name)[:limit]
        return [self._described(person) for person in people]

    def export(self, tenant: str, id: str, vectors: bool) -> dict[str, Any]:
        """Everything that is stored of a person; `vectors`: their voiceprints too."""
        person, library = self.find(tenant, id), self.libraries.of(tenant)
        utterances = library.utterances(person.id)
        sql = "SELECT time, action, outcome FROM events WHERE tenant = ? AND person = ? ORDER BY number"
        return {
            "speaker": speakers.person_as_dict(person),
            "utterances": [
                {
                    **speakers.utterance_as_dict(u),
                    **({"vectors": {m: v.tolist() for m, v in u.vectors.items()}} if vectors else {}),
                }
                for u in utterances
            ],
            "events": [
                {"time": time, "action": action, "outcome": outcome}
                for time, action, outcome in self._ledger.execute(sql, (tenant, id))
            ],
        }

    def opted_out(self, tenant: str, id: str) -> str:
        """Since when a person has opted out; "": they have not."""
        sql = "SELECT since FROM opted_out WHERE tenant = ? AND person = ?"
        rows = self._ledger.execute(sql, (tenant, id))
        return str(rows[0][0]) if rows else ""

    # changes ----------------------------------------------------------------------------------------------------------

    def create(
        self, tenant: str, name: str, consent: str | None, expires: date | None, id: str | None = None
    ) -> dict[str, Any]:
        """A new speaker without utterances. `id`: of a repeated request, which finds the speaker that it made.

        Raises Refusal.
        """
        if self.settings.require_consent and not (consent or "").strip():
            raise Refusal("consent_missing", "this service records what each person agreed to")
        if expires is not None and expires < datetime.now(UTC).date():
            raise Refusal("invalid_request", f"the consent would have ended on {expires}")
        if not name.strip():
            raise Refusal("invalid_request", "a speaker needs a name")
        library = self.libraries.of(tenant)
        if id is not None:
            with contextlib.suppress(UnknownPerson):
                return self._described(library.person(id))
        if self._quotas.people and library.counts()[0] >= self._quotas.people:
            raise Refusal("quota_exceeded", f"{self._quotas.people} speakers are the limit of this tenant")
        created = datetime.now(UTC) if id is not None else None
        return self._described(library.enrol(name, [], consent, expires, person=id, created=created))

    def change(self, tenant: str, id: str, changes: dict[str, Any], match: str | None) -> dict[str, Any]:
        """Rename a speaker, or replace their consent. Raises Refusal."""
        person, library = self.find(tenant, id), self.libraries.of(tenant)
        self._check(person, match)
        if "name" in changes:
            if not changes["name"].strip():
                raise Refusal("invalid_request", "a speaker needs a name")
            person = library.rename(person.id, changes["name"])
        if {"consent", "expires"} & set(changes):
            consent, expires = changes.get("consent", person.consent), changes.get("expires", person.expires)
            if self.settings.require_consent and not (consent or "").strip():
                raise Refusal("consent_missing", "this service records what each person agreed to")
            person = library.consent(person.id, consent, expires)
        return self._described(person)

    def remove(self, tenant: str, id: str, match: str | None) -> None:
        """Delete a speaker and all their data. Raises Refusal."""
        person = self.find(tenant, id)
        self._check(person, match)
        self._delete(self.libraries.of(tenant), person.id)

    def opt_out(self, tenant: str, id: str) -> dict[str, Any]:
        """Delete the data of a person, and remember their id, so that they are not enrolled again under it."""
        if not self.opted_out(tenant, id):
            person = self.find(tenant, id)
            since = datetime.now(UTC).isoformat(timespec="seconds")
            sql = "INSERT INTO opted_out (tenant, person, since) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
            self._ledger.execute(sql, (tenant, person.id, since))
            self._delete(self.libraries.of(tenant), person.id)
        return self.show(tenant, id)

    def opt_in(self, tenant: str, id: str) -> None:
        """Forget that a person has opted out. Raises Refusal."""
        if not self.opted_out(tenant, id):
            raise Refusal("speaker_not_found", "nobody of this id has opted out")
        self._ledger.execute("DELETE FROM opted_out WHERE tenant = ? AND person = ?", (tenant, id))

    def add_utterance(
        self, tenant: str, id: str, upload: Upload, accept: frozenset[Check], match: str | None
    ) -> EnrolledUtterance:
        """Add one utterance to a speaker, where it passes the checks. Raises Refusal, with what was received."""
        if self.opted_out(tenant, id):
            raise Refusal("opted_out", "this person does not want to be enrolled")
        person = self.find(tenant, id)
        self._check(person, match)
        if person.expired:
            raise Refusal("consent_expired", f"it ended on {person.expires}")
        name = f"upload {upload.digest[:12]}"
        recording = self.decoder.decode(upload, name)
        audio = recording.audios[0]
        self._quotas.count(tenant, audio.duration)
        excerpt = EnrolmentAudio(name, audio, 0.0, round(audio.duration, 3), recording.source.notes)
        embedder, verifier = self.models.of_thread()
        library = self.libraries.of(tenant)
        request = EnrolmentRequest(person.id, keep_audio=self.settings.keep_audio, accept=accept)
        result = add_utterances(library, request, person, [excerpt], embedder, verifier)
        row = result.rows[0]
        if row.outcome == "refused":
            raise _refused(row, upload)
        current = self._described(library.person(person.id))
        return EnrolledUtterance(current, row.outcome, row.seconds, dict(row.quality), (*row.notes, *result.notes))

    # ------------------------------------------------------------------------------------------------------------------

    def progress(self, person: Person) -> dict[str, Any]:
        """How far an enrolment is, in s of speech of the service's model."""
        seconds = round(person.seconds.get(self.models.name, 0.0), 3)
        required = self.settings.enrolment_seconds
        share = min(1.0, round(seconds / required, 4)) if required else 1.0
        return {"seconds": seconds, "required": required, "share": share, "complete": seconds >= required}

    def _described(self, person: Person) -> dict[str, Any]:
        progress = self.progress(person)
        state = "expired" if person.expired else "enrolled" if progress["complete"] else "enrolling"
        return {
            "id": person.id,
            "name": person.name,
            "state": state,
            "created": person.created.isoformat(),
            "consent": person.consent,
            "expires": person.expires.isoformat() if person.expires else None,
            "utterances": person.utterances,
            "enrolment": progress,
            "models": sorted(person.seconds),
            "since": None,
        }

    def _check(self, person: Person, match: str | None) -> None:
        """Raises Refusal where the caller knows another state of the speaker."""
        if match is not None and match.strip() not in ("*", etag(self._described(person))):
            raise Refusal("precondition_failed", "it was changed since its ETag was read")

    def _delete(self, library: Library, id: str) -> None:
        try:
            library.remove(id)
        except LibraryError:
            with contextlib.suppress(UnknownPerson):
                library.person(id)
                raise
            # The person is deleted. Freed space is overwritten when nobody reads; `retention` sees to it.


_NO_VOICE: dict[str, Any] = {
    "name": "", "created": None, "consent": None, "expires": None, "utterances": 0, "models": [],
    "enrolment": {"seconds": 0.0, "required": 0.0, "share": 0.0, "complete": False},
}  # fmt: skip


def etag(speaker: dict[str, Any]) -> str:
    """The strong entity tag of a speaker's state."""
    return f'"{hashlib.sha256(json.dumps(speaker, sort_keys=True).encode()).hexdigest()[:32]}"'


def _refused(row: UtteranceResult, upload: Upload) -> Refusal:
    code = OF_CHECK.get(row.check, "not_audio")
    facts: dict[str, Any] = {"check": row.check, "received": upload.received(), "quality": dict(row.quality)}
    if code == "audio_too_short":
        if not row.seconds:
            code = "no_speech"
        facts |= {"need": LEAST_SPEECH, "got": row.seconds}
    if code == "duplicate":  # the reason names the other recording or person
        return Refusal(code, "this recording, a copy of it or a part of it was accepted before", facts)
    return Refusal(code, row.reason, facts)


def as_response(added: EnrolledUtterance) -> dict[str, Any]:
    """Plain data, ready for JSON."""
    return {**asdict(added), "notes": list(added.notes)}
