"""uvicorn around the application: sockets, TLS, proxies, graceful stop."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Callable

import uvicorn

from diarize.errors import ConfigError
from diarize.models.store import Store
from pipelines.service.application import application
from pipelines.service.http.connections import guarded
from pipelines.service.work.settings import Log, ServiceSettings
from pipelines.service.work.voice_service import VoiceService

GRACE = 30  # s in which running requests are finished when the service is stopped
BACKLOG = 512
OTHER_FILES = 600  # that a process opens beside its connections: models, libraries, uploads, connections to be closed

OnReady = Callable[[int], None]  # called with the port that is listened on


class VoiceServer(uvicorn.Server):
    """A server that tells when it listens, and when it begins to stop."""

    def __init__(self, config: uvicorn.Config, on_ready: OnReady, on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready, self._on_stop = on_ready, on_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Load, listen, and tell."""
        await super().startup(sockets)
        if not self.should_exit and self.servers:
            self._on_ready(self.servers[0].sockets[0].getsockname()[1])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End streams of events, which would go on for as long as their recordings; finish all other requests."""
        self._on_stop()
        await super().shutdown(sockets)


def make(settings: ServiceSettings, store: Store, log: Log, on_ready: OnReady = lambda port: None) -> VoiceServer:
    """The server. Raises ConfigError for an address that is not safe, and LibraryError."""
    service = VoiceService(settings, store, log)
    binding, limits = settings.binding, settings.limits
    try:
        binding.check(service.keys.exist())
    except BaseException:
        service.stop()
        raise
    config = uvicorn.Config(
        application(service),
        host=binding.host,
        port=binding.port,
        http=guarded(limits.connections, limits.header_seconds),
        ws="websockets-sansio",
        ws_max_size=1 << 20,
        ssl_certfile=str(binding.certificate) if binding.certificate else None,
        ssl_keyfile=str(binding.private_key) if binding.private_key else None,
        proxy_headers=bool(binding.proxies),
        forwarded_allow_ips=list(binding.proxies) or "127.0.0.1",
        server_header=False,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=GRACE,
        h11_max_incomplete_event_size=32 << 10,
        backlog=BACKLOG,
    )
    return VoiceServer(config, on_ready, service.announce_stop)


def allow_files(connections: int) -> None:
    """Let this process open as many files as its connections need. Raises ConfigError where it may not."""
    if sys.platform == "win32":
        return
    import resource

    needed = 2 * connections + OTHER_FILES  # a connection, and the upload that comes over it
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        problem = f"a process may open {hard} files here, and {needed} are needed"
        raise ConfigError(
            "--connections", str(connections), problem, "Raise the limit (ulimit -n), or lower --connections."
        )
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def run(
    settings: ServiceSettings,
    store: Store,
    log: Log,
    on_ready: OnReady,
    listeners: list[socket.socket] | None = None,
) -> None:
    """Serve until a signal stops it; running requests are finished, running recordings are resumed next time.

    `listeners`: sockets that listen already, instead of one at the address of the settings.

    Raises as `make`.
    """
    allow_files(settings.limits.connections)
    server = make(settings, store, log, on_ready)
    with contextlib.suppress(KeyboardInterrupt):  # the signal that stopped it, raised again when all is done
        server.run(listeners)
