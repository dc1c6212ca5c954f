"""The models and the open libraries of each thread: neither may be used by two threads at once.

Models are used once as they are loaded: networks then have their memory, code that is imported when it is first used is
there, and the process that decodes has started. Without that, the first request would wait for seconds.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

from diarize.errors import LibraryError, printable
from diarize.guard import fingerprints
from diarize.library.scoring import enrolment
from diarize.library.search import compact
from diarize.library.search.live import LiveSearch
from diarize.library.store import Library
from diarize.models.store import Store
from diarize.types import Audio, Segment
from pipelines.people.scoring import Scoring
from pipelines.people.utterance import UtteranceEmbedder, load_embedder, note_second_voice
from pipelines.people.verify import Verifier, load_verifier
from pipelines.service.access.tenants import Tenants
from pipelines.service.work.refusals import Refusal
from pipelines.service.work.settings import ServiceSettings
from pipelines.service.work.uploads import UploadDecoder

MOST_OPEN = 32  # libraries that a thread keeps open, and searches that stay in memory
AGAIN = 600.0  # s after which a search that could not be made is tried again


class VoiceModels:
    """The detector, the embedder and the way of comparing, loaded once in each thread that asks."""

    def __init__(self, settings: ServiceSettings, store: Store, decoder: UploadDecoder) -> None:
        self._settings, self._store, self._decoder = settings, store, decoder
        self._local, self._lock = threading.local(), threading.Lock()
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
            verifier = load_verifier(embedder, scoring)
            warm_up(embedder, verifier, self._decoder.warm_up())
            self._local.models = embedder, verifier
            with self._lock:
                self.name, self.failure = embedder.model, ""
                self.ready += 1
        models: tuple[UtteranceEmbedder, Verifier] = self._local.models
        return models


def warm_up(embedder: UtteranceEmbedder, verifier: Verifier, audio: Audio) -> None:
    """Use the models once, on sound that is nobody's, as an enrolment and a verification do."""
    embedder.detector(audio)
    whole = (Segment(0.0, audio.duration),)
    embedded = embedder.embed_speech(audio, whole, whole)
    verifier.verify(embedded.voice, embedded.voice)
    note_second_voice(embedded, embedder.model)
    embedder.score_spoofing(audio)
    enrolment.snr(audio, whole)
    fingerprints.fingerprint(audio)


class VoiceSearches:
    """Searches that stay in memory, of tenants with very many voices; made one by one, in the background."""

    def __init__(self, tenants: Tenants, log: Callable[[str], None]) -> None:
        self._tenants, self._log = tenants, log
        self._searches: OrderedDict[tuple[str, str], LiveSearch] = OrderedDict()  # of (tenant, model)
        self._to_make: dict[tuple[str, str], None] = {}  # in order; a thread makes them while there are any
        self._failed: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()

    @property
    def preparing(self) -> bool:
        """Whether a search is being made for the first time."""
        with self._lock:
            return any(key not in self._searches for key in self._to_make)

    def prepare(self, tenants: Iterable[str], model: str) -> None:
        """Make the searches of these tenants, where their libraries are large."""
        for tenant in tenants:
            self._make((tenant, model))

    def ready(self, tenant: str, model: str) -> LiveSearch | None:
        """The search of a tenant, where it is made."""
        with self._lock:
            search = self._searches.get((tenant, model))
            if search is not None:
                self._searches.move_to_end((tenant, model))
            return search

    def of(self, tenant: str, model: str, library: Library) -> LiveSearch | None:
        """The search in a `library` of this thread. None: it has few voices, or there is no faiss, so that all are
        compared. Raises Refusal while it is being made, LibraryError.
        """
        key = tenant, model
        search = self.ready(*key)
        if search is not None:
            if search.is_outdated:
                self._make(key)
            return search
        if not compact.available() or not library.is_large(model):
            return None
        with self._lock:
            failed = time.monotonic() - self._failed.get(key, -AGAIN) < AGAIN
        if failed:
            return None
        self._make(key)
        raise Refusal("unavailable", "the search in very many voices is being prepared", retry=5)

    def purge(self, tenant: str, library: Library) -> None:
        """Forget who was removed from the library of a tenant. Raises LibraryError."""
        with self._lock:
            searches = [search for (name, _), search in self._searches.items() if name == tenant]
        for search in searches:
            library.purge_search(search)

    def _make(self, key: tuple[str, str]) -> None:
        with self._lock:
            if key in self._to_make:
                return
            self._to_make[key] = None
            if len(self._to_make) > 1:  # the thread is at work
                return
        threading.Thread(target=self._build_all, args=(key,), name="search", daemon=True).start()

    def _build_all(self, key: tuple[str, str] | None) -> None:
        while key is not None:
            try:
                self._build(key)
            finally:
                with self._lock:
                    del self._to_make[key]
                    key = next(iter(self._to_make), None)

    def _build(self, key: tuple[str, str]) -> None:
        tenant, model = key
        try:
            with self._tenants.open(tenant) as library:
                started = time.monotonic()
                search = library.live_search(model)
                if search is None:
                    with self._lock:
                        self._searches.pop(key, None)  # the library was large before
                    if library.is_large(model):
                        self._log("search: all voices are compared, as the extra `faiss` is not installed")
                    return
            with self._lock:
                self._failed.pop(key, None)
                self._searches[key] = search
                self._searches.move_to_end(key)
                while len(self._searches) > MOST_OPEN:
                    self._searches.popitem(last=False)
            self._log(f"search: {len(search)} voices of a tenant in {time.monotonic() - started:.1f} s")
        except Exception as error:  # searches compare all voices until it is tried again
            self._log(f"search: {type(error).__name__}: {printable(str(error))}")
            with self._lock:
                self._failed[key] = time.monotonic()
                self._searches.pop(key, None)  # out of date: it may be of another library


class OpenLibraries:
    """The libraries of tenants, each opened once in a thread; the one that was used longest ago is closed first."""

    def __init__(self, settings: ServiceSettings, models: VoiceModels, log: Callable[[str], None]) -> None:
        self._tenants, self._models = settings.tenants, models
        self.searches = VoiceSearches(settings.tenants, log)
        self._local = threading.local()

    def of(self, tenant: str) -> Library:
        """The library of a tenant, for this thread. Raises LibraryError."""
        libraries: OrderedDict[str, Library] = self._local.__dict__.setdefault("libraries", OrderedDict())
        if tenant not in libraries:
            libraries[tenant] = self._tenants.open(tenant)
        libraries.move_to_end(tenant)
        while len(libraries) > MOST_OPEN:
            libraries.popitem(last=False)[1].close()
        library = libraries[tenant]
        library.live = self.searches.ready(tenant, self._models.name)
        return library

    def forget(self, tenant: str) -> None:
        """Close the library of a tenant in this thread: its connection may be broken."""
        libraries: OrderedDict[str, Library] = self._local.__dict__.setdefault("libraries", OrderedDict())
        if tenant in libraries:
            try:
                libraries.pop(tenant).close()
            except LibraryError:
                return
