"""The models and the open libraries of each thread: neither may be used by two threads at once."""

from __future__ import annotations

import threading
from collections import OrderedDict

from diarize.errors import LibraryError
from diarize.library.store import Library
from diarize.models.store import Store
from pipelines.people.scoring import Scoring
from pipelines.people.utterance import UtteranceEmbedder, load_embedder
from pipelines.people.verify import Verifier, load_verifier
from pipelines.service.work.settings import ServiceSettings

MOST_OPEN = 32  # libraries that a thread keeps open


class VoiceModels:
    """The detector, the embedder and the way of comparing, loaded once in each thread that asks."""

    def __init__(self, settings: ServiceSettings, store: Store) -> None:
        self._settings, self._store = settings, store
        self._local = threading.local()
        self.ready = 0  # threads that have theirs
        self.name = ""  # identity of the embedding model; "" until it is loaded
        self.failure = ""  # why a thread could not load them

    def load(self) -> None:
        """Load them into this thread. What fails is kept in `failure`, and tried again with the next request."""
        try:
            self.of_thread()
        except Exception as error:  # a thread that raises before its first work would end all others
            self.failure = str(error)

    def of_thread(self) -> tuple[UtteranceEmbedder, Verifier]:
        """Those of this thread. Raises ConfigError, BackendError, ModelError, CalibrationError."""
        if not hasattr(self._local, "models"):
            config = self._settings.config
            embedder = load_embedder(config, self._store)
            scoring = Scoring(prior=config.identify.prior, calibration=self._settings.calibration)
            self._local.models = embedder, load_verifier(embedder, scoring)
            self.name = embedder.model
            self.ready += 1
            self.failure = ""
        models: tuple[UtteranceEmbedder, Verifier] = self._local.models
        return models


class OpenLibraries:
    """The libraries of tenants, each opened once in a thread; the one that was used longest ago is closed first."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._tenants = settings.tenants
        self._local = threading.local()

    def of(self, tenant: str) -> Library:
        """The library of a tenant, for this thread. Raises LibraryError."""
        libraries: OrderedDict[str, Library] = self._local.__dict__.setdefault("libraries", OrderedDict())
        if tenant not in libraries:
            libraries[tenant] = self._tenants.open(tenant)
        libraries.move_to_end(tenant)
        while len(libraries) > MOST_OPEN:
            libraries.popitem(last=False)[1].close()
        return libraries[tenant]

    def forget(self, tenant: str) -> None:
        """Close the library of a tenant in this thread: its connection may be broken."""
        libraries: OrderedDict[str, Library] = self._local.__dict__.setdefault("libraries", OrderedDict())
        if tenant in libraries:
            try:
                libraries.pop(tenant).close()
            except LibraryError:
                return
