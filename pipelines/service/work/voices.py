"""The models and the open libraries of each thread: neither may be used by two threads at once.

Models are used once as they are loaded: networks then have their memory, code that is imported when it is first used is
there, and the process that decodes has started. Without that, the first request would wait for seconds.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from diarize.errors import LibraryError
from diarize.guard import fingerprints
from diarize.library.scoring import enrolment
from diarize.library.store import Library
from diarize.models.store import Store
from diarize.types import Audio, Segment
from pipelines.people.scoring import Scoring
from pipelines.people.utterance import UtteranceEmbedder, load_embedder, note_second_voice
from pipelines.people.verify import Verifier, load_verifier
from pipelines.service.work.settings import ServiceSettings
from pipelines.service.work.uploads import UploadDecoder

MOST_OPEN = 32  # libraries that a thread keeps open


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
