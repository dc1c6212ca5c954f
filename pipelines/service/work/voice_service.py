"""All parts of the service, put together; what HTTP and WebSocket call."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from diarize.errors import BackendError, DiarizeError, LibraryError, ModelError, printable
from diarize.library.database.address import ServerAddress
from diarize.models.store import Store
from pipelines.service.access.keys import SCOPES, Keys, Scope
from pipelines.service.access.ledger import Ledger
from pipelines.service.access.limits import Buckets, Quotas, until_midnight
from pipelines.service.work.answers import Answers, Repeatable
from pipelines.service.work.decisions import Decider
from pipelines.service.work.people import SpeakerRoom
from pipelines.service.work.phrases import PhraseDesk, PhraseListener
from pipelines.service.work.pools import BoundedPool
from pipelines.service.work.recordings import RecordingJobs
from pipelines.service.work.refusals import Refusal
from pipelines.service.work.retention import retain, tenants_of
from pipelines.service.work.settings import Log, ServiceSettings
from pipelines.service.work.uploads import UploadDecoder, UploadFolder
from pipelines.service.work.voices import OpenLibraries, VoiceModels

GUESSES = 1 / 6  # failed keys a second that an address may send, on average
GUESS_BURST = 20.0
DESK = 4  # threads for what needs no model

Work = Callable[[], tuple[int, dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request: a key, or a program of this machine where there are no keys."""

    tenant: str
    id: str  # of the key
    scopes: frozenset[Scope]
    request: str  # id of the request

    def may(self, scope: Scope) -> bool:
        """Whether the caller has a scope; `admin` has them all."""
        return scope in self.scopes or "admin" in self.scopes


@dataclass(frozen=True, slots=True)
class Completed:
    """What a request gets."""

    status: int
    body: dict[str, Any]
    replayed: bool = False  # it is the answer to an earlier request of the same name


def open_ledger(settings: ServiceSettings) -> Ledger:
    """The service's own tables: beside the libraries, in the data folder or on the server. Raises LibraryError."""
    server = settings.tenants.server
    return Ledger(server if isinstance(server, ServerAddress) else settings.data / "service.db")


class VoiceService:
    """The parts. `start` and `stop` are called in the event loop."""

    def __init__(self, settings: ServiceSettings, store: Store, log: Log = lambda line: None) -> None:
        self.settings, self.log = settings, log
        self.ledger = open_ledger(settings)
        self.keys = Keys(self.ledger)
        self.quotas = Quotas(self.ledger, settings.quota_people, settings.quota_hours)
        self.answers = Answers(self.ledger)
        limits = settings.limits
        self.rates = Buckets(limits.rate, limits.burst)
        self.guesses = Buckets(GUESSES, GUESS_BURST)
        self.decoder = UploadDecoder(limits, settings.config.audio)
        self.models = VoiceModels(settings, store, self.decoder)
        self.libraries = OpenLibraries(settings, self.models, log)
        self.room = SpeakerRoom(settings, self.ledger, self.quotas, self.models, self.libraries, self.decoder)
        self.phrases = PhraseDesk(self.room, PhraseListener(settings, store))
        self.decider = Decider(self.room, self.quotas, self.phrases)
        self.jobs = RecordingJobs(settings)
        self.desk = BoundedPool("desk", DESK, 4 * limits.queue)
        self.bench = BoundedPool("bench", settings.threads, limits.queue, self.models.load)
        self.stopping = False
        self._folder = UploadFolder(settings.data)
        self.uploads = self._folder.path
        self._keyed = False

    async def start(self) -> None:
        """Load and warm up the models of all threads, so that the first request finds them."""
        await self.bench.start()
        if self.models.failure:
            self.log(f"models: {self.models.failure}")
        tenants = await self.desk.run(tenants_of, self.room, self.ledger)
        self.libraries.searches.prepare(tenants, self.models.name)

    def announce_stop(self) -> None:
        """No longer ready, and streams of events end."""
        self.stopping = self.jobs.stopping = True

    def stop(self) -> None:
        """Finish what runs, and close everything."""
        self.announce_stop()
        self.bench.close()
        self.desk.close()
        self.decoder.close()
        self.ledger.close()
        self._folder.remove()

    def needs_key(self) -> bool:
        """Whether callers need a key: since the first one was made."""
        self._keyed = self._keyed or self.keys.exist()
        return self._keyed

    def local_caller(self, request: str) -> Caller:
        """A program of this machine, of the tenant `default`."""
        return Caller("default", "local", frozenset(SCOPES), request)

    def clean_up(self) -> dict[str, int]:
        """Delete what has lain long enough (retention.py)."""
        return retain(self.room, self.jobs, self.ledger, self.log)

    def check_quota(self, caller: Caller) -> None:
        """Raises Refusal where a tenant has used the sound of today up."""
        if self.quotas.exhausted(caller.tenant):
            problem = f"{self.quotas.hours:g} hours of sound a day are the limit"
            raise Refusal("quota_exceeded", problem, retry=until_midnight())

    async def perform(
        self,
        pool: BoundedPool,
        caller: Caller,
        action: str,
        work: Work,
        person: str = "",
        repeatable: Repeatable | None = None,
    ) -> Completed:
        """Do the work of a request in a thread, once, and record it. Raises Refusal."""
        return await pool.run(partial(self._perform, caller, action, work, person, repeatable))

    def _perform(
        self, caller: Caller, action: str, work: Work, person: str, repeatable: Repeatable | None
    ) -> Completed:
        try:
            stored = self.answers.find(caller.tenant, caller.id, repeatable) if repeatable is not None else None
            if stored is not None:
                return Completed(*stored, replayed=True)
            status, body = work()
            if repeatable is not None:
                self.answers.store(caller.tenant, caller.id, repeatable, status, body)
            self.record(caller, action, person or str(body.get("id", "")), str(body.get("decision", "done")))
            return Completed(status, body)
        except Refusal as refusal:
            with contextlib.suppress(LibraryError):
                self.record(caller, action, person, refusal.code)
            raise
        except LibraryError as error:
            self.libraries.forget(caller.tenant)
            self.log(f"{caller.request}: library: {printable(error.problem)}")
            raise Refusal("unavailable", "the library cannot be used now", retry=1) from error
        except (BackendError, ModelError) as error:
            self.log(f"{caller.request}: {printable(str(error))}")
            raise Refusal("unavailable", "the models cannot be used now", retry=10) from error
        except DiarizeError as error:
            self.log(f"{caller.request}: {printable(str(error))}")
            raise Refusal("internal", "see the log of the service") from error

    def record(self, caller: Caller, action: str, person: str, outcome: str) -> None:
        """Add an event to the log of who did what: ids, no names, no sound."""
        self.ledger.execute(
            "INSERT INTO events (time, tenant, caller, request, action, person, outcome) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (_now(), caller.tenant, caller.id, caller.request, action, person, outcome),
        )

    def events(self, tenant: str, after: int, limit: int) -> list[dict[str, Any]]:
        """The next events of a tenant."""
        names = ("number", "time", "caller", "request", "action", "person", "outcome")
        sql = f"SELECT {', '.join(names)} FROM events WHERE tenant = ? AND number > ? ORDER BY number LIMIT ?"
        return [dict(zip(names, row, strict=True)) for row in self.ledger.execute(sql, (tenant, after, limit))]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
