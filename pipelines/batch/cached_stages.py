"""Stages that look into the cache first. The key of a result is everything that decides it: the decoded samples, the
stage, the backend's identity, its other arguments, and the code that it runs (docs/method/cache.md).

A backend of this project is loaded when it is first needed: its last identity is cached too. A user's own backend is
loaded at once, to get its `name`.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from diarize import backends, files
from diarize.activity import NO_ACTIVITY, LocalActivity
from diarize.audio.bandwidth import bandwidth
from diarize.cache import code, codecs
from diarize.cache.codecs import (
    ACTIVITY,
    ARRAYS,
    EMBEDDINGS,
    IDENTITY,
    NUMBER,
    SEGMENTS,
    TURNS,
    WORDS,
    BackendIdentity,
    Codec,
    RecognizedWords,
)
from diarize.cache.store import Cache, cache_folder
from diarize.config import ClusterConfig, RunConfig, Section
from diarize.stages import Diarizer
from diarize.types import Audio, Embeddings, Segment, Turn
from pipelines.plan import Choice, Plan
from pipelines.recording import Stages

Value = TypeVar("Value")

GIGABYTE = 10**9
_CUDA = ("/dev/nvidiactl", "/dev/dxg")  # devices of a system that has CUDA; whether it works, only loading tells
_VISIBLE = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")


def open_cache(config: RunConfig) -> Cache | None:
    """The cache that the settings name; None where none is wanted."""
    folder = cache_folder(config.cache)
    return None if folder is None else Cache(folder, round(config.cache_size * GIGABYTE))


def build(plan: Plan, threads: int, cache: StageCache | None) -> Stages:
    """The stages of a plan, as `Plan.build` makes them; with a cache, each looks there first."""
    if cache is None:
        return plan.build(threads)
    return replace(plan.build(threads, cache.stage), bandwidth=cache.bandwidth)


def cache_problem(config: RunConfig) -> str:
    """Why the cache of the settings cannot be written; "" where it can. A run works without it."""
    if config.cache == "none":
        return ""
    cache = open_cache(config)
    return "there is no home folder for it" if cache is None else cache.probe()


class StageCache:
    """A cache, with counts of the results that were read from it or computed."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self._used: dict[str, dict[str, int]] = {}

    def take_usage(self) -> dict[str, Any]:
        """Stage -> how many results were read and computed since the last call; and what is wrong with the cache."""
        used, self._used = self._used, {}
        return {"stages": used, "problem": self.cache.problem}

    def stage(self, choice: Choice, threads: int) -> Any:
        """The cached stage of a choice. Raises as `Choice.load` where the backend has to be loaded."""
        return CACHED[choice.stage](self, LazyBackend(choice, threads, self.cache))

    def bandwidth(self, audio: Audio, speech: Sequence[Segment]) -> float:
        """As `diarize.audio.bandwidth.bandwidth`."""
        key = ["bandwidth", code.digest("diarize.audio.bandwidth"), _audio_key(audio), _segments_key(speech)]
        cached = self.lookup("bandwidth", key, NUMBER)
        return cached if cached is not None else self.store("bandwidth", key, NUMBER, bandwidth(audio, speech))

    def memo(
        self, what: str, source: NDArray[Any], count: int, compute: Callable[[], tuple[NDArray[Any], ...]]
    ) -> tuple[NDArray[Any], ...]:
        """A `diarize.clustering.spectral.Memo`: what clustering needs whatever the number of speakers."""
        content = hashlib.sha256(np.ascontiguousarray(source).data).hexdigest()
        key = [what, code.digest("diarize.clustering.clusterer"), content, source.shape, str(source.dtype), count]
        cached = self.lookup(what, key, ARRAYS)
        return cached if cached is not None else self.store(what, key, ARRAYS, compute())

    def lookup(self, stage: str, key: Any, codec: Codec[Value]) -> Value | None:
        """The result under `key` (anything that JSON can say); None where there is none."""
        value = read_cached(self.cache, key, codec)
        if value is not None:
            self._count(stage, "found")
        return value

    def store(self, stage: str, key: Any, codec: Codec[Value], value: Value) -> Value:
        """`value`, stored under `key`, as every later run will read it."""
        self._count(stage, "made")
        try:
            data = codec.encode(value)
            decoded = codec.decode(data)
        except (ValueError, TypeError, AttributeError):  # a result of a user's own backend that cannot be encoded
            return value
        self.cache.put(_as_text(key), data)
        return decoded

    def _count(self, stage: str, what: str) -> None:
        counts = self._used.setdefault(stage, {"found": 0, "made": 0})
        counts[what] += 1


class LazyBackend:
    """A backend that is loaded at its first call; until then its identity is that of the last time it was loaded."""

    def __init__(self, choice: Choice, threads: int, cache: Cache) -> None:
        """Raises as `Choice.load` where the backend has to be loaded to get its name."""
        self._choice, self._threads = choice, threads
        self._loaded: Any = None
        self.code = ""  # of a user's own backend the name alone counts
        key = _choice_key(choice)
        if key is None:
            self.identity = _identity(self.load())
            return
        self.code = code.digest(backends.BACKENDS[choice.stage][choice.name][0].partition(":")[0])
        identity = read_cached(cache, [*key, self.code], IDENTITY)
        if identity is None:
            identity = _identity(self.load())
            cache.put(_as_text([*key, self.code]), IDENTITY.encode(identity))
        self.identity = identity

    def load(self) -> Any:
        """The backend itself; from now on the identity is its own."""
        if self._loaded is None:
            self._loaded = self._choice.load(self._threads)
            self.identity = _identity(self._loaded)
        return self._loaded


class CachedStage:
    """What all stages have in common: an identity, and results that are looked up."""

    def __init__(self, cache: StageCache, backend: LazyBackend) -> None:
        self._cache, self._backend = cache, backend

    @property
    def name(self) -> str:
        return self._backend.identity.name

    @property
    def notes(self) -> tuple[str, ...]:
        return self._backend.identity.notes

    @property
    def seed(self) -> int | None:
        return self._backend.identity.seed

    def _result(
        self, stage: str, audio: Audio, arguments: Any, codec: Codec[Value], compute: Callable[[Any], Value]
    ) -> Value:
        """The result for `arguments` (as JSON), read from the cache or else computed by the backend."""
        name = self.name
        result = self._cache.lookup(stage, self._key(stage, audio, arguments), codec)
        if result is not None:
            return result
        backend = self._backend.load()
        if self.name != name:  # loading tells the real identity, which may differ from the last one: another device
            result = self._cache.lookup(stage, self._key(stage, audio, arguments), codec)
            if result is not None:
                return result
        value = compute(backend)
        self._backend.identity = _identity(backend)  # it may have moved to another device for want of memory
        return self._cache.store(stage, self._key(stage, audio, arguments), codec, value)

    def _key(self, stage: str, audio: Audio, arguments: Any) -> list[Any]:
        return [stage, self.name, self._backend.code, _audio_key(audio), arguments]


class CachedDetector(CachedStage):
    def __call__(self, audio: Audio, activity: LocalActivity = NO_ACTIVITY) -> tuple[Segment, ...]:
        key = _activity_key(activity)
        return self._result("detect", audio, key, SEGMENTS, lambda backend: backend(audio, activity=activity))


class CachedSegmenter(CachedStage):
    def __call__(self, audio: Audio) -> LocalActivity:
        return self._result("segment", audio, None, ACTIVITY, lambda backend: backend(audio))


class CachedEmbedder(CachedStage):
    def __call__(self, audio: Audio, segments: Sequence[Segment], activity: LocalActivity = NO_ACTIVITY) -> Embeddings:
        key = [_segments_key(segments), _activity_key(activity)]
        return self._result(
            "embed", audio, key, EMBEDDINGS, lambda backend: backend(audio, segments, activity=activity)
        )


class CachedRecognizer(CachedStage):
    def __call__(self, audio: Audio, speech: Sequence[Segment]) -> RecognizedWords:
        return self._result("recognize", audio, _segments_key(speech), WORDS, lambda backend: backend(audio, speech))


class CachedCountermeasure(CachedStage):
    @property
    def seconds(self) -> float:
        return float(self._backend.load().seconds)

    @property
    def error(self) -> str:
        return str(self._backend.load().error)

    def __call__(self, audio: Audio, segments: Sequence[Segment]) -> NDArray[np.float32]:
        def compute(backend: Any) -> tuple[NDArray[Any], ...]:
            return (backend(audio, segments),)

        return self._result("spoof", audio, _segments_key(segments), ARRAYS, compute)[0]


class CachedDiarizer(CachedStage):
    """Its bounds are part of its name. It is always loaded: its result depends on more files than its options name."""

    def __call__(self, audio: Audio) -> tuple[Turn, ...]:
        return self._result("diarize", audio, None, TURNS, lambda backend: backend(audio))

    def bounded(self, cluster: ClusterConfig) -> Diarizer:
        return CachedDiarizer(self._cache, _LoadedBackend(self._backend.load().bounded(cluster), self._backend.code))


class _LoadedBackend(LazyBackend):
    """A backend that is loaded already."""

    def __init__(self, backend: Diarizer, code: str) -> None:
        self._loaded, self.code, self.identity = backend, code, _identity(backend)


CACHED: dict[str, type[CachedStage]] = {
    "vad": CachedDetector,
    "segmentation": CachedSegmenter,
    "embedder": CachedEmbedder,
    "asr": CachedRecognizer,
    "countermeasure": CachedCountermeasure,
    "diarizer": CachedDiarizer,
}


def read_cached(cache: Cache, key: Any, codec: Codec[Value]) -> Value | None:
    """The result under `key`; None where there is none, or none that can be decoded."""
    data = cache.get(_as_text(key))
    try:
        return None if data is None else codec.decode(data)
    except (ValueError, KeyError, TypeError):  # undamaged, but written by other code
        return None


def _as_text(key: Any) -> str:
    return json.dumps([codecs.SCHEMA, key])


def _audio_key(audio: Audio) -> list[Any]:
    """What of a recording decides the result of a stage."""
    if not audio.pcm:
        raise ValueError(f"{audio.id}: samples without a digest cannot be looked up")
    return [audio.pcm, audio.rate, _segments_key(audio.lost)]


def _segments_key(segments: Sequence[Segment]) -> str:
    """A digest of segments; a long recording has tens of thousands."""
    times = ",".join(f"{float(s.start)!r}-{float(s.end)!r}" for s in segments)
    return hashlib.sha256(times.encode()).hexdigest()


def _activity_key(activity: LocalActivity) -> list[Any]:
    """A digest of local activity, with the times of its frames."""
    posteriors = np.ascontiguousarray(activity.posteriors)
    return [hashlib.sha256(posteriors.data).hexdigest(), activity.hop, activity.step, activity.lag]


def _identity(backend: Any) -> BackendIdentity:
    return BackendIdentity(str(backend.name), tuple(getattr(backend, "notes", ())), getattr(backend, "seed", None))


def _choice_key(choice: Choice) -> list[Any] | None:
    """What decides the identity of a backend of this project; None where only the backend itself can tell."""
    if choice.name not in backends.BACKENDS[choice.stage] or choice.stage == "diarizer":
        return None
    hashed = bool(choice.options.get("digest"))  # by the model store, whose digest is an option
    try:
        options = {key: _option_key(value, hashed) for key, value in choice.options.items()}
    except OSError:  # loading tells what is wrong with the file
        return None
    machine = [platform.node(), [Path(path).exists() for path in _CUDA], [os.environ.get(name) for name in _VISIBLE]]
    return ["identity", choice.stage, choice.name, options, machine]


def _option_key(value: Any, hashed: bool) -> Any:
    """An option as JSON: files and folders by their names, and by their contents where that is not `hashed` already."""
    if isinstance(value, Section):
        return value.model_dump(mode="json")
    if isinstance(value, Path) and hashed:
        return value.name
    if isinstance(value, Path):
        if value.is_file():
            return [value.name, [[value.name, files.sha256(value)]]]
        return [value.name, [[f"{value.name}/{name}", digest] for name, digest in files.digests(value).items()]]
    return value
