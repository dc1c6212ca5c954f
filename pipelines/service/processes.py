"""Several processes of the service behind one port: each serves requests, and shares the database with the others.

They take connections from one listening socket. Nothing is shared in memory: challenges, keys, answers to repeated
requests, quotas and jobs lie in the databases and folders of the service, so whichever process gets a request can
answer it. A process that ends unexpectedly is started again.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import threading
import time
from dataclasses import dataclass, field, replace
from multiprocessing import connection
from types import FrameType
from typing import Any

from diarize.errors import BackendError, ConfigError, DiarizeError, printable
from diarize.models.store import Store
from pipelines.processes import lifetime
from pipelines.service import server
from pipelines.service.access.keys import Keys
from pipelines.service.work.settings import Log, ServiceSettings
from pipelines.service.work.voice_service import open_ledger

MOST = 64  # processes
SOON, LATE = 1.0, 60.0  # s until a process that ended is started again, first and at most
STEADY = 60.0  # s after which a process counts as one that works
GRACE = server.GRACE + 10  # s until processes that do not end are killed


def run(settings: ServiceSettings, store: Store, log: Log, on_ready: server.OnReady, count: int) -> None:
    """Serve with `count` processes until a signal stops them; `log` is called in each of them.

    Raises ConfigError for a number or an address that cannot be, and what `server.make` raises in a process.
    """
    if not 1 <= count <= MOST:
        raise ConfigError("--processes", str(count), f"must be 1 to {MOST}")
    if os.name != "posix":
        raise ConfigError(
            "--processes", str(count), "several processes are not possible on this system", "Leave it out."
        )
    ledger = open_ledger(settings)  # made before several processes want it
    try:
        settings.binding.check(Keys(ledger).exist())
    finally:
        ledger.close()
    with _listening(settings.binding.host, settings.binding.port) as listener:
        group = _Group(settings, store, log, listener, count)
        group.run(on_ready)


@contextlib.contextmanager
def _listening(host: str, port: int) -> Any:
    """The socket of all processes. Raises ConfigError."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError("--host", host, f"it is no address of this machine ({error})") from error
    with listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(server.BACKLOG)
        except OSError as error:
            raise ConfigError("--port", str(port), f"it cannot be listened on ({error.strerror})") from error
        yield listener


@dataclass(slots=True)
class _Member:
    """A process of the group."""

    number: int
    process: Any
    messages: Any  # a connection: True when it listens, or the error that ended it
    started: float = field(default_factory=time.monotonic)

    def why_ended(self) -> str:
        """The status of a process that ended, and the error that it sent."""
        reason = f"the status {self.process.exitcode}"
        with contextlib.suppress(EOFError, OSError):
            while self.messages.poll():
                message = self.messages.recv()
                if isinstance(message, BaseException):
                    reason += f" ({printable(str(message))})"
        return reason


class _Group:
    def __init__(self, settings: ServiceSettings, store: Store, log: Log, listener: socket.socket, count: int) -> None:
        self._settings, self._store, self._log, self._listener = settings, store, log, listener
        self._context: Any = multiprocessing.get_context("spawn")
        self._stopping = threading.Event()
        self._numbers = range(count)
        self._members: dict[int, _Member] = {}
        self._waits: dict[int, float] = dict.fromkeys(self._numbers, SOON)

    def run(self, on_ready: server.OnReady) -> None:
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            for number in self._numbers:
                self._start(number)
            for member in list(self._members.values()):
                self._await(member)
            if not self._stopping.is_set():
                on_ready(self._listener.getsockname()[1])
            self._supervise()
        finally:
            self._end()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping.set()

    def _start(self, number: int) -> None:
        theirs, ours = self._context.Pipe()
        # Recordings are processed by the first one, so that --jobs holds for all together.
        settings = self._settings if number == 0 else replace(self._settings, jobs=0)
        arguments = settings, self._store, self._log, self._listener, theirs
        process = self._context.Process(target=_serve, args=arguments, name=f"diarize-serve-{number}")
        process.start()
        theirs.close()
        self._members[number] = _Member(number, process, ours)

    def _await(self, member: _Member) -> None:
        """Until a process listens. Raises what ended it."""
        while not self._stopping.is_set():
            if not member.messages.poll(0.2):
                continue
            try:
                message = member.messages.recv()
            except EOFError as error:
                member.process.join(GRACE)
                problem = f"a process of it ended with the status {member.process.exitcode}"
                raise BackendError("diarize serve", problem) from error
            if isinstance(message, BaseException):
                raise message
            return

    def _supervise(self) -> None:
        """Start again what ends, until a signal stops all."""
        due: dict[int, float] = {}
        while not self._stopping.is_set():
            connection.wait([member.process.sentinel for member in self._members.values()], timeout=0.5)
            for number, member in list(self._members.items()):
                if member.process.is_alive() or self._stopping.is_set():
                    continue
                lived = time.monotonic() - member.started
                self._waits[number] = SOON if lived > STEADY else min(LATE, 2 * self._waits[number])
                self._log(f"process {member.process.pid} ended with {member.why_ended()}; "
                          f"another one starts in {self._waits[number]:g} s")  # fmt: skip
                member.messages.close()
                member.process.close()
                del self._members[number]
                due[number] = time.monotonic() + self._waits[number]
            for number in [number for number, at in due.items() if at <= time.monotonic()]:
                del due[number]
                self._start(number)
            if not self._members:
                self._stopping.wait(0.2)

    def _end(self) -> None:
        """Ask all to finish what runs, then wait; kill what does not end."""
        for member in self._members.values():
            if member.process.is_alive():
                member.process.terminate()
        deadline = time.monotonic() + GRACE
        for member in self._members.values():
            member.process.join(max(0.0, deadline - time.monotonic()))
            if member.process.is_alive():
                member.process.kill()
                member.process.join()
            member.messages.close()
        self._members.clear()


def _serve(settings: ServiceSettings, store: Store, log: Log, listener: socket.socket, messages: Any) -> None:
    """A process of the group. An error is sent, and ends it with the status 1."""
    lifetime.die_with_parent()
    try:
        server.run(settings, store, log, lambda port: messages.send(True), [listener])
    except DiarizeError as error:
        with contextlib.suppress(OSError):
            messages.send(error)
        raise SystemExit(1) from error
