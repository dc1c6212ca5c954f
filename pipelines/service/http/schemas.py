"""What requests and answers hold, with an example each: the source of /openapi.json."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from fastapi import Header, Path, Query
from pydantic import BaseModel, ConfigDict, Field

_ID = "5f0c9f0f3f5d4c0e8a1f6f6b0f0e2a11"

SpeakerId = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,64}$", description="id of a speaker", examples=[_ID])]
RecordingId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="id of a recording", examples=[_ID])]
After = Annotated[str, Query(max_length=64, pattern=r"^[A-Za-z0-9._-]*$", description="the last id of the page before")]
Limit = Annotated[int, Query(ge=1, le=500, description="most entries of a page")]
IdempotencyKey = Annotated[
    str | None,
    Header(
        pattern=r"^[!-~]{1,200}$", description="your name for this request: sent again, it has the same effect once"
    ),
]
Challenged = Annotated[
    str | None,
    Query(pattern=r"^[A-Za-z0-9._-]{1,64}$", description="id of the challenge that the audio answers", examples=[_ID]),
]
IfMatch = Annotated[str | None, Header(max_length=200, description="ETag of the speaker as you know it")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewSpeaker(_Model):
    """A person to be enrolled."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "Anna Maria", "consent": "by letter, 2031-05-02"}]},
    )
    name: str = Field(min_length=1, max_length=200)
    consent: str | None = Field(None, max_length=2000, description="what the person agreed to, in words")
    expires: date | None = Field(None, description="the last day on which the voice may be used")


class SpeakerChange(_Model):
    """What is to be replaced; what is left out stays."""

    name: str = Field("", min_length=1, max_length=200)
    consent: str | None = Field(None, max_length=2000)
    expires: date | None = None


class EnrolmentProgress(_Model):
    """How far an enrolment is."""

    seconds: float = Field(description="s of speech that count", examples=[8.4])
    required: float = Field(description="s of speech that an enrolment needs", examples=[12.0])
    share: float = Field(description="0 to 1", examples=[0.7])
    complete: bool


class ShownSpeaker(_Model):
    """A speaker, without vectors."""

    id: str = Field(examples=[_ID])
    name: str
    state: Literal["enrolling", "enrolled", "expired", "opted_out"]
    created: str | None
    consent: str | None
    expires: str | None
    utterances: int
    enrolment: EnrolmentProgress
    models: list[str]
    since: str | None = Field(description="since when the person has opted out")


class SpeakerPage(_Model):
    """A page of speakers, in order of id."""

    speakers: list[ShownSpeaker]
    next: str | None = Field(description="`after` of the next page; null: this is the last one")


class AddedUtterance(_Model):
    """What became of an utterance."""

    speaker: ShownSpeaker
    outcome: Literal["counted", "known"] = Field(description="known: it was enrolled before, and counts once")
    seconds: float = Field(description="s of speech in it", examples=[4.2])
    quality: dict[str, float] = Field(examples=[{"snr": 31.5, "clipped": 0.0, "bandwidth": 7800.0}])
    notes: list[str]


class NewChallenge(_Model):
    """For whom a phrase is to be drawn."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"speaker": _ID, "language": "de", "seconds": 60}]}
    )
    speaker: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$", description="id of the speaker who is to say it")
    language: str = Field("en", pattern=r"^[a-z]{2,8}$", description="of the words: en, de, fr, es, it")
    seconds: float = Field(120.0, ge=5, le=600, description="until it expires")


class DrawnChallenge(_Model):
    """A phrase to say, valid once."""

    id: str = Field(examples=[_ID], description="`challenge` of /v1/verify")
    speaker_id: str = Field(examples=[_ID])
    phrase: str = Field(examples=["Koffer Wiese Donner Birne Hafen Lampe"])
    language: str = Field(examples=["de"])
    issued: str
    expires: str = Field(examples=["2031-05-02T10:01:00.000+00:00"])


class GivenReason(_Model):
    """Why a decision is as it is."""

    code: str = Field(examples=["phrase_mismatch"])
    detail: str


class HeardWord(_Model):
    """A word of a phrase; null: it is missing, or there is one too many."""

    expected: str | None
    recognized: str | None
    is_right: bool


class GuardFigures(_Model):
    """What the guards rest on."""

    challenge: Literal["none", "valid", "expired"]
    phrase: str | None
    recognized: str | None = Field(description="null: no phrase was checked")
    words: list[HeardWord]
    replay: bool = Field(description="the same sound was accepted before")
    signs: list[str] = Field(description="of a file that came from no microphone; they decide nothing")
    spoofing: dict[str, Any] | None = Field(description="score of the countermeasure; null: there is none")


Decision = Literal["accept", "reject", "inconclusive", "not_enrolled", "opted_out", "refused"]


class VerificationAnswer(_Model):
    """Is this the speaker?"""

    decision: Decision
    speaker_id: str | None
    reasons: list[GivenReason]
    score: float | None = Field(None, description="of the model; higher, or for distances lower, speaks for one person")
    score_threshold: float | None = Field(None, description="the score at which the decision changes")
    llr: float | None = Field(None, description="natural log-likelihood ratio; null: there is no calibration for it")
    threshold: float | None = Field(None, description="of `llr`, from the prior; without an llr of `score`")
    posterior: float | None = Field(None, description="probability of one person, from `llr` and `prior`")
    prior: float | None = None
    model: str | None = None
    seconds: float | None = Field(None, description="s of speech that were compared")
    received: dict[str, Any] | None = None
    enrolment: EnrolmentProgress | None = None
    guard: GuardFigures | None = Field(None, description="with a challenge, or where the service always checks")


class Match(_Model):
    """An enrolled speaker, by similarity."""

    speaker_id: str
    name: str
    score: float
    llr: float | None
    rank: int


class IdentificationAnswer(_Model):
    """Which speaker is this?"""

    decision: Decision
    speaker_id: str | None = Field(description="null: nobody is named")
    reasons: list[GivenReason]
    matches: list[Match]
    model: str
    seconds: float
    received: dict[str, Any]


class RecordingJob(_Model):
    """A recording at work, or done."""

    id: str = Field(examples=[_ID])
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    created: str
    finished: str | None
    bytes: int
    options: dict[str, Any]
    reason: str | None = Field(description="why it failed")
    webhook: Literal["waiting", "delivered", "failed"] | None
    progress: dict[str, Any] | None = None


class RecordingPage(_Model):
    """A page of recordings, in order of id."""

    recordings: list[RecordingJob]
    next: str | None


class Problem(BaseModel):
    """An error, after RFC 9457; further members by `code`."""

    type: str = Field(examples=["urn:diarize:problem:audio_too_short"])
    title: str
    status: int
    detail: str
    code: str = Field(examples=["audio_too_short"])
    hint: str
    request_id: str


PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "refused", "content": {"application/problem+json": {"schema": Problem.model_json_schema()}}}
}
AUDIO_BODY = {  # of the requests that bring audio
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["audio"],
                    "properties": {"audio": {"type": "string", "format": "binary"}},
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
