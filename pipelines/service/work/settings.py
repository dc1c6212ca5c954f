"""What an operator sets; defaults are for one machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from diarize.config import Config
from diarize.guard.fingerprints import MOST_ACCEPTED
from pipelines.people.enrolment_audio import COMPLETE
from pipelines.service.access.binding import Binding
from pipelines.service.access.tenants import Tenants

MIB = 1 << 20

Log = Callable[[str], None]  # called with a line of the service's log


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What a request may cost."""

    utterance_bytes: int = 25 * MIB
    utterance_seconds: float = 120.0  # of sound
    recording_bytes: int = 2048 * MIB
    decoding: int = 20  # s of processor time of the confined child
    header_seconds: float = 10.0  # until the headers of a request are there
    body_seconds: float = 120.0  # until the whole of an utterance is there; a recording has as many for each 25 MiB
    connections: int = 1000
    queue: int = 64  # requests that wait for a model; more are answered 429
    recordings: int = 100  # jobs that are not finished, of all tenants; more are answered 429
    rate: float = 20.0  # requests a second of a key, on average
    burst: float = 40.0


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long things stay, in days; 0: for ever."""

    unfinished: int = 7  # an enrolment that is not complete
    expired: int = 30  # a person, after the last day of their consent
    recordings: int = 7  # results of finished jobs
    events: int = 365


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """All of it."""

    data: Path  # folder of the service: keys, libraries, jobs
    tenants: Tenants
    config: Config = field(default_factory=Config)
    binding: Binding = field(default_factory=Binding)
    limits: RequestLimits = field(default_factory=RequestLimits)
    keeping: Keeping = field(default_factory=Keeping)
    calibration: Path | None = None
    compat: bool = False
    guard: bool = False  # check every verification for replays and quality; with a challenge it is always done
    most_fingerprints: int = MOST_ACCEPTED  # of accepted sound of a speaker; the oldest are deleted; 0: all are kept
    require_consent: bool = False
    keep_audio: bool = False
    enrolment_seconds: float = COMPLETE  # of speech that an enrolment needs
    threads: int = 1  # that compute voices, each with models of its own
    jobs: int = 1  # recordings that are processed at the same time
    quota_people: int = 0
    quota_hours: float = 0.0  # of sound a day
    webhook_networks: tuple[str, ...] = ()  # private networks that webhooks may reach
    process_options: tuple[str, ...] = ()  # of `diarize process`, for recordings
