"""Why a request is not answered: codes that stay the same, each with its status and a cure."""

from __future__ import annotations

from typing import Any

CODES: dict[str, tuple[int, str, str]] = {
    # code -> HTTP status, title, cure
    "invalid_request": (422, "The request is not valid", "See /openapi.json."),
    "unauthenticated": (401, "A key is needed", "Send it as Authorization: Bearer dz_..."),
    "forbidden": (403, "This key may not do that", "Use a key with the scope that is named."),
    "not_local": (403, "Without keys, only programs of this machine are served", "Make a key."),
    "not_found": (404, "There is no such resource", "See /openapi.json."),
    "speaker_not_found": (404, "There is no such speaker", "List them: GET /v1/speakers."),
    "recording_not_found": (404, "There is no such recording", "It may have been deleted after its time."),
    "method_not_allowed": (405, "This method is not allowed here", "See the header Allow."),
    "speaker_exists": (409, "This speaker exists", "Add utterances to the one that is there."),
    "opted_out": (409, "This person has opted out", "Delete the mark first: DELETE /v1/speakers/{id}/opt-out."),
    "model_mismatch": (409, "The voice is of another embedding model", "Enrol again, or embed stored audio again."),
    "phrases_not_checked": (409, "This service checks no phrases", "Ask the operator for a recognizer: --asr."),
    "not_finished": (409, "The recording is not finished", "Wait for its state `done`."),
    "consent_expired": (409, "The consent of this person has ended", "Renew it: PATCH /v1/speakers/{id}."),
    "precondition_failed": (412, "The speaker has changed", "Read it again, and send its new ETag."),
    "too_large": (413, "The body is too large", "Send less; see `limit`."),
    "not_audio": (415, "This is not audio that can be read", "Send a file of a usual container, as WAV, FLAC, MP3."),
    "audio_missing": (422, "There is no audio in the request", "Send it as the body, or as multipart field `audio`."),
    "audio_empty": (422, "The audio is empty", "curl needs an @ before the name of a file: --data-binary @a.wav."),
    "audio_too_short": (422, "There is too little speech", "Send more speech; see `need` and `got`, in seconds."),
    "audio_too_long": (422, "The recording is too long", "Send a part of it; see `limit`, in seconds."),
    "audio_too_costly": (422, "The recording takes too long to decode", "Convert it to WAV or FLAC."),
    "no_speech": (422, "There is no speech in the audio", "Check the microphone."),
    "too_noisy": (422, "The recording is too noisy", "Record in a quieter place."),
    "clipped": (422, "The recording is clipped", "Lower the level of the microphone."),
    "two_speakers": (422, "A second voice was detected", "Record one person alone."),
    "speaker_mismatch": (422, "The voice is not that of the earlier utterances", "Check who speaks."),
    "spoofing_suspected": (422, "The recording may be of a machine or a loudspeaker", "Record a person who speaks."),
    "duplicate": (422, "This recording is enrolled already", "Record a new one."),
    "consent_missing": (422, "Consent is required", "Send `consent`: what the person agreed to."),
    "idempotency_mismatch": (422, "This Idempotency-Key was used for another request", "Use a new one."),
    "webhook_refused": (422, "This address cannot be a webhook", "Give a public https address."),
    "unknown_format": (422, "There is no such format", "See `known`."),
    "busy": (429, "Too many requests are waiting", "Try again after the seconds in Retry-After."),
    "rate_limited": (429, "This key sends too many requests", "Try again after the seconds in Retry-After."),
    "quota_exceeded": (429, "The quota of this tenant is used up", "Ask the operator."),
    "timeout": (408, "The request did not arrive in time", "Send it faster, or in smaller parts."),
    "unavailable": (503, "The service is not ready", "Try again later."),
    "internal": (500, "The service failed", "Tell the operator the request id."),
}
OF_CHECK = {  # check of enrolment that refused -> code
    "reading": "not_audio", "speech": "audio_too_short", "noise": "too_noisy", "clipping": "clipped",
    "voices": "two_speakers", "agreement": "speaker_mismatch", "duplicate": "duplicate", "replay": "duplicate",
    "spoofing": "spoofing_suspected",
}  # fmt: skip


class Refusal(Exception):
    """A request that is refused: a code of `CODES`, a sentence about this case, and facts."""

    def __init__(self, code: str, detail: str, facts: dict[str, Any] | None = None, retry: float = 0.0) -> None:
        super().__init__(code, detail, facts, retry)
        self.code, self.detail, self.facts, self.retry = code, detail, dict(facts or {}), retry

    @property
    def status(self) -> int:
        return CODES[self.code][0]

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"
