"""Requests to the service and their answers.

Requests that a broken connection may have interrupted are sent again, to the next of several addresses where there are
some, with an Idempotency-Key, so that they have their effect once. Answers 429 and 503 are waited for. A stream goes
to the next address where no connection can be opened; once sound is sent, it is not sent again.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from diarize.client import streaming
from diarize.client.errors import ServiceError, ServiceUnreachable
from diarize.client.streaming import Progress
from diarize.errors import MissingExtra

if TYPE_CHECKING:
    import httpx

Sound = str | os.PathLike[str] | bytes  # the path of a file, or its bytes

ATTEMPTS = 5
LONGEST_WAIT = 30.0  # s that a Retry-After is obeyed


@dataclass(frozen=True, slots=True)
class RemoteSpeaker:
    """A speaker as the service shows them; `seconds` of speech are enrolled, `required` are needed."""

    id: str
    name: str
    state: str  # enrolling, enrolled, expired, opted_out
    seconds: float
    required: float
    complete: bool
    utterances: int

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> RemoteSpeaker:
        """From the service's answer."""
        progress = body["enrolment"]
        numbers = float(progress["seconds"]), float(progress["required"]), bool(progress["complete"])
        return cls(body["id"], body["name"], body["state"], *numbers, int(body["utterances"]))


@dataclass(frozen=True, slots=True)
class RemoteChallenge:
    """A phrase for a speaker to say, valid once, until `expires` (UTC)."""

    id: str
    speaker: str
    phrase: str
    language: str
    expires: datetime

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> RemoteChallenge:
        """From the service's answer."""
        expires = datetime.fromisoformat(body["expires"])
        return cls(body["id"], body["speaker_id"], body["phrase"], body["language"], expires)


@dataclass(frozen=True, slots=True)
class RemoteDecision:
    """The answer to `verify` or `identify`: accept, reject, inconclusive, not_enrolled, opted_out, refused."""

    decision: str
    speaker: str | None
    llr: float | None
    reasons: tuple[str, ...]  # codes
    body: Mapping[str, Any] = field(repr=False)  # the whole answer

    @property
    def accepted(self) -> bool:
        return self.decision == "accept"

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> RemoteDecision:
        """From the service's answer."""
        reasons = tuple(str(reason["code"]) for reason in body["reasons"])
        return cls(body["decision"], body["speaker_id"], body.get("llr"), reasons, body)


class Client:
    """A connection to the service. Close it, or use it in a `with`. One object belongs to one thread."""

    def __init__(self, address: str | Sequence[str], key: str | None = None, timeout: float = 60.0) -> None:
        """`address`: of the service, or of several processes that share a library. Raises MissingExtra."""
        try:
            import httpx
        except ImportError as error:
            raise MissingExtra("diarize.client", "client") from error
        self._httpx, self._key, self._timeout = httpx, key, timeout
        self.addresses = (address,) if isinstance(address, str) else tuple(address)
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._client = httpx.Client(headers=headers, timeout=timeout)
        self._place = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    # speakers ---------------------------------------------------------------------------------------------------------

    def create(self, name: str, consent: str | None = None, expires: str | None = None) -> RemoteSpeaker:
        """A new speaker without utterances. Raises ServiceError, ServiceUnreachable, as all methods do."""
        body = {"name": name, "consent": consent, "expires": expires}
        return RemoteSpeaker.of(self._ask("POST", "/v1/speakers", json=body).json())

    def add_utterance(self, speaker: str, sound: Sound, accept: Sequence[str] = ()) -> RemoteSpeaker:
        """Add an utterance; the speaker as they are then. `accept`: checks to ignore."""
        path, query = f"/v1/speakers/{speaker}/utterances", {"accept": list(accept)}
        return RemoteSpeaker.of(self._ask("POST", path, params=query, content=_bytes(sound)).json()["speaker"])

    def speaker(self, id: str) -> RemoteSpeaker:
        """One speaker."""
        return RemoteSpeaker.of(self._ask("GET", f"/v1/speakers/{id}").json())

    def speakers(self) -> Iterator[RemoteSpeaker]:
        """All speakers, in order of id."""
        after: str | None = ""
        while after is not None:
            page = self._ask("GET", "/v1/speakers", params={"after": after}).json()
            yield from map(RemoteSpeaker.of, page["speakers"])
            after = page["next"]

    def delete(self, speaker: str) -> None:
        """Delete a speaker and all their data."""
        self._ask("DELETE", f"/v1/speakers/{speaker}")

    def export(self, speaker: str, vectors: bool = False) -> dict[str, Any]:
        """All that is stored of a person."""
        return dict(self._ask("GET", f"/v1/speakers/{speaker}/export", params={"vectors": vectors}).json())

    # decisions --------------------------------------------------------------------------------------------------------

    def challenge(self, speaker: str, language: str = "en", seconds: float = 120.0) -> RemoteChallenge:
        """A phrase for the speaker to say within `seconds`; `verify` takes it with what they said."""
        body = {"speaker": speaker, "language": language, "seconds": seconds}
        return RemoteChallenge.of(self._ask("POST", "/v1/challenges", json=body).json())

    def verify(self, speaker: str, sound: Sound, challenge: RemoteChallenge | str | None = None) -> RemoteDecision:
        """Is the voice in the sound that of the speaker? `challenge`: does it say the phrase, too (or its id)?"""
        query = {"speaker": speaker}
        if challenge is not None:
            query["challenge"] = challenge if isinstance(challenge, str) else challenge.id
        return RemoteDecision.of(self._ask("POST", "/v1/verify", params=query, content=_bytes(sound)).json())

    def identify(self, sound: Sound, top: int = 5) -> RemoteDecision:
        """Which speaker is in the sound, or nobody?"""
        return RemoteDecision.of(self._ask("POST", "/v1/identify", params={"top": top}, content=_bytes(sound)).json())

    # sound as it is spoken --------------------------------------------------------------------------------------------

    def stream_utterance(
        self,
        speaker: str,
        pieces: Iterable[bytes],
        rate: int = 16_000,
        codec: str = "pcm",
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> RemoteSpeaker:
        """Add an utterance while it is spoken; the speaker as they are then.

        `pieces`: with the codec "pcm" 16-bit samples (little-endian, mono) at `rate`; with "opus" Opus packets, or an
        Ogg stream of them in pieces of any size. `on_progress` gets how much speech there is, about once a second.
        """
        body = self._stream("enrol", {"speaker": speaker}, pieces, rate, codec, on_progress)
        return RemoteSpeaker.of(body["speaker"])

    def stream_verify(
        self,
        speaker: str,
        pieces: Iterable[bytes],
        rate: int = 16_000,
        codec: str = "pcm",
        challenge: RemoteChallenge | str | None = None,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> RemoteDecision:
        """As `verify`, while the sound is spoken; `pieces` as for `stream_utterance`."""
        query = {"speaker": speaker}
        if challenge is not None:
            query["challenge"] = challenge if isinstance(challenge, str) else challenge.id
        return RemoteDecision.of(self._stream("verify", query, pieces, rate, codec, on_progress))

    def _stream(
        self,
        action: str,
        query: Mapping[str, str],
        pieces: Iterable[bytes],
        rate: int,
        codec: str,
        on_progress: Callable[[Progress], None],
    ) -> dict[str, Any]:
        opening = {"codec": codec} if codec != "pcm" else {"rate": rate}
        problem = ""
        for _ in self.addresses:  # until a connection is open: pieces are read once
            address = self.addresses[self._place]
            try:
                socket = streaming.connection(address, self._key, action, query, self._timeout)
            except ServiceUnreachable as error:
                problem = error.problem
                self._place = (self._place + 1) % len(self.addresses)
                continue
            return streaming.converse(socket, address, pieces, opening, on_progress, self._timeout)
        raise ServiceUnreachable(self.addresses, problem)

    # recordings -------------------------------------------------------------------------------------------------------

    def submit(self, sound: Sound, **options: Any) -> str:
        """Diarize and transcribe a recording; the id of the job. `options`: num_speakers, language, ..."""
        return str(self._ask("POST", "/v1/recordings", params=options, content=_bytes(sound)).json()["id"])

    def recording(self, id: str) -> dict[str, Any]:
        """State and progress of a recording."""
        return dict(self._ask("GET", f"/v1/recordings/{id}").json())

    def events(self, id: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """(name, data) of each event of a recording, until it is finished."""
        url = f"{self.addresses[self._place]}/v1/recordings/{id}/events"
        with self._client.stream("GET", url, timeout=None) as answer:
            if answer.status_code != 200:
                answer.read()
                raise _error(answer)
            name = ""
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    yield name, json.loads(line.removeprefix("data: "))

    def wait(self, id: str) -> dict[str, Any]:
        """The recording when it is finished."""
        for _ in self.events(id):
            pass
        return self.recording(id)

    def transcript(self, id: str, format: str = "json") -> str:
        """The result of a finished recording in one of the formats."""
        return self._ask("GET", f"/v1/recordings/{id}/transcript", params={"format": format}).text

    # ------------------------------------------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Idempotency-Key": uuid.uuid4().hex} if method == "POST" else {}
        problem = ""
        for attempt in range(ATTEMPTS):
            try:
                url = self.addresses[self._place] + path
                answer = self._client.request(method, url, headers=headers, **options)
            except self._httpx.TransportError as error:
                problem = str(error) or type(error).__name__
                self._place = (self._place + 1) % len(self.addresses)
                time.sleep(0.05 * 2**attempt)
                continue
            if answer.status_code in (429, 503) and attempt + 1 < ATTEMPTS:
                wait = float(answer.headers.get("Retry-After", "1"))
                if wait <= LONGEST_WAIT:
                    time.sleep(wait)
                    continue
            if answer.status_code >= 400:
                raise _error(answer)
            return answer
        raise ServiceUnreachable(self.addresses, problem)


def _bytes(sound: Sound) -> bytes:
    return sound if isinstance(sound, bytes) else Path(sound).read_bytes()


def _error(answer: httpx.Response) -> ServiceError:
    try:
        body = answer.json()
        return ServiceError(answer.status_code, str(body["code"]), str(body["detail"]), body)
    except (ValueError, KeyError, TypeError):
        return ServiceError(answer.status_code, "unknown", answer.text[:200], {})
