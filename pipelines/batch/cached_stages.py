"""Stages that look into the cache first. A result is kept under everything that decided it: the decoded samples, the
stage, the backend's identity, what else it was given, and the code that it runs (docs/method/cache.md).

A backend of this project is loaded when it is first needed: what it called itself when it was loaded last is kept as
well. Anybody's own backend is loaded to be asked its `name`.
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
from diarize.activity import LocalActivity
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


def opened(config: RunConfig) -> Cache | None:
    """The cache that the settings name; None where none is wanted."""
    folder = cache_folder(config.cache)
    return None if folder is None else Cache(folder, round(config.cache_size * GIGABYTE))


def build(plan: Plan, threads: int, kept: Kept | None) -> Stages:
    """The stages of a plan, as `Plan.build` makes them; where a cache is there, each looks into it first."""
    if kept is None:
        return plan.build(threads)
    return replace(plan.build(threads, kept.stage), bandwidth=kept.bandwidth)


def trouble(config: RunConfig) -> str:
    """Why a cache that is wanted cannot be written, to be said once a run; "" where it can. A run does without."""
    if config.cache == "none":
        return ""
    cache = opened(config)
    return "there is no home folder to keep it in" if cache is None else cache.probe()


class Kept:
    """A cache, and how often something was found in it, or had to be made, since that was told last."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self._used: dict[str, dict[str, int]] = {}

    def told(self) -> dict[str, Any]:
        """Stage -> how many results were found and made since the last call; and what is wrong with the cache."""
        used, self._used = self._used, {}
        return {"stages": used, "problem": self.cache.problem}

    def stage(self, choice: Choice, threads: int) -> Any:
        """The stage of a choice, looking into the cache first. Raises as `Choice.load` where it has to be loaded."""
        return CACHED[choice.stage](self, Backend(choice, threads, self.cache))

    def bandwidth(self, audio: Audio, speech: Sequence[Segment]) -> float:
        """As `diarize.audio.bandwidth.bandwidth`."""
        asked = ["bandwidth", code.digest("diarize.audio.bandwidth"), _heard(audio), _spans(speech)]
        found = self.found("bandwidth", asked, NUMBER)
        return found if found is not None else self.made("bandwidth", asked, NUMBER, bandwidth(audio, speech))

    def memo(
        self, what: str, given: NDArray[Any], count: int, make: Callable[[], tuple[NDArray[Any], ...]]
    ) -> tuple[NDArray[Any], ...]:
        """A `diarize.clustering.spectral.Memo`: what clustering needs whatever the number of speakers."""
        content = hashlib.sha256(np.ascontiguousarray(given).data).hexdigest()
        asked = [what, code.digest("diarize.clustering.spectral"), content, given.shape, str(given.dtype), count]
        found = self.found(what, asked, ARRAYS)
        return found if found is not None else self.made(what, asked, ARRAYS, make())

    def found(self, stage: str, asked: Any, codec: Codec[Value]) -> Value | None:
        """What is kept under `asked` (whatever JSON can say); None where nothing is."""
        value = recall(self.cache, asked, codec)
        if value is not None:
            self._count(stage, "found")
        return value

    def made(self, stage: str, asked: Any, codec: Codec[Value], value: Value) -> Value:
        """The value, which is kept under `asked`, as every later run will see it."""
        self._count(stage, "made")
        try:
            data = codec.encode(value)
            seen = codec.decode(data)
        except (ValueError, TypeError, AttributeError):  # somebody's own backend gives what cannot be kept
            return value
        self.cache.put(_key(asked), data)
        return seen

    def _count(self, stage: str, what: str) -> None:
        counts = self._used.setdefault(stage, {"found": 0, "made": 0})
        counts[what] += 1


class Backend:
    """A backend that is loaded when somebody calls it, with the identity that it has or had."""

    def __init__(self, choice: Choice, threads: int, cache: Cache) -> None:
        """Raises as `Choice.load` where the backend has to be loaded to be asked its name."""
        self._choice, self._threads = choice, threads
        self._loaded: Any = None
        self.code = ""  # of somebody's own backend the name alone counts
        asked = _asked(choice)
        if asked is None:
            self.identity = _identity(self.load())
            return
        self.code = code.digest(backends.BACKENDS[choice.stage][choice.name][0].partition(":")[0])
        known = recall(cache, [*asked, self.code], IDENTITY)
        if known is None:
            known = _identity(self.load())
            cache.put(_key([*asked, self.code]), IDENTITY.encode(known))
        self.identity = known

    def load(self) -> Any:
        """The backend itself; from now on it says itself who it is."""
        if self._loaded is None:
            self._loaded = self._choice.load(self._threads)
            self.identity = _identity(self._loaded)
        return self._loaded


class CachedStage:
    """What all stages have in common: an identity, and results that are looked up."""

    def __init__(self, kept: Kept, backend: Backend) -> None:
        self._kept, self._backend = kept, backend

    @property
    def name(self) -> str:
        return self._backend.identity.name

    @property
    def notes(self) -> tuple[str, ...]:
        return self._backend.identity.notes

    @property
    def seed(self) -> int | None:
        return self._backend.identity.seed

    def _result(self, stage: str, audio: Audio, given: Any, codec: Codec[Value], make: Callable[[Any], Value]) -> Value:
        before = self.name
        found = self._kept.found(stage, self._asked(stage, audio, given), codec)
        if found is not None:
            return found
        backend = self._backend.load()
        asked = self._asked(stage, audio, given)
        if self.name != before:  # it is another one than the last time, on another device say
            found = self._kept.found(stage, asked, codec)
        if found is not None:
            return found
        value = make(backend)
        self._backend.identity = _identity(backend)  # it may have gone on on another device, for want of memory
        return self._kept.made(stage, self._asked(stage, audio, given), codec, value)

    def _asked(self, stage: str, audio: Audio, given: Any) -> list[Any]:
        return [stage, self.name, self._backend.code, _heard(audio), given]


class CachedDetector(CachedStage):
    def __call__(self, audio: Audio, likely: Sequence[Segment] = ()) -> tuple[Segment, ...]:
        return self._result("detect", audio, _spans(likely), SEGMENTS, lambda backend: backend(audio, likely=likely))


class CachedSegmenter(CachedStage):
    def __call__(self, audio: Audio) -> LocalActivity:
        return self._result("segment", audio, None, ACTIVITY, lambda backend: backend(audio))


class CachedEmbedder(CachedStage):
    def __call__(self, audio: Audio, segments: Sequence[Segment]) -> Embeddings:
        given = _spans(segments)
        return self._result("embed", audio, given, EMBEDDINGS, lambda backend: backend(audio, segments))


class CachedRecognizer(CachedStage):
    def __call__(self, audio: Audio, speech: Sequence[Segment]) -> RecognizedWords:
        return self._result("recognize", audio, _spans(speech), WORDS, lambda backend: backend(audio, speech))


class CachedDiarizer(CachedStage):
    """Its bounds are part of its name. It is always loaded: what it finds depends on more files than it is given."""

    def __call__(self, audio: Audio) -> tuple[Turn, ...]:
        return self._result("diarize", audio, None, TURNS, lambda backend: backend(audio))

    def bounded(self, cluster: ClusterConfig) -> Diarizer:
        return CachedDiarizer(self._kept, _Loaded(self._backend.load().bounded(cluster), self._backend.code))


class _Loaded(Backend):
    """A backend that is there."""

    def __init__(self, backend: Diarizer, code: str) -> None:
        self._loaded, self.code, self.identity = backend, code, _identity(backend)


CACHED: dict[str, type[CachedStage]] = {
    "vad": CachedDetector,
    "segmentation": CachedSegmenter,
    "embedder": CachedEmbedder,
    "asr": CachedRecognizer,
    "diarizer": CachedDiarizer,
}


def recall(cache: Cache, asked: Any, codec: Codec[Value]) -> Value | None:
    """What is kept under `asked`; None where nothing is, or nothing that can be read."""
    data = cache.get(_key(asked))
    try:
        return None if data is None else codec.decode(data)
    except (ValueError, KeyError, TypeError):  # whole, and made by somebody else
        return None


def _key(asked: Any) -> str:
    return json.dumps([codecs.SCHEMA, asked])


def _heard(audio: Audio) -> list[Any]:
    """What of a recording decides what a stage hears."""
    if not audio.pcm:
        raise ValueError(f"{audio.id}: samples without a digest cannot be looked up")
    return [audio.pcm, audio.rate, _spans(audio.lost)]


def _spans(segments: Sequence[Segment]) -> str:
    """A digest of segments; a long recording has tens of thousands."""
    times = ",".join(f"{float(s.start)!r}-{float(s.end)!r}" for s in segments)
    return hashlib.sha256(times.encode()).hexdigest()


def _identity(backend: Any) -> BackendIdentity:
    return BackendIdentity(str(backend.name), tuple(getattr(backend, "notes", ())), getattr(backend, "seed", None))


def _asked(choice: Choice) -> list[Any] | None:
    """What decides the identity of a backend of this project; None where only the backend itself can tell."""
    if choice.name not in backends.BACKENDS[choice.stage] or choice.stage == "diarizer":
        return None
    hashed = bool(choice.options.get("digest"))  # by the model store, whose digest is an option
    try:
        options = {key: _plain(value, hashed) for key, value in choice.options.items()}
    except OSError:  # loading tells what is wrong with the file
        return None
    machine = [platform.node(), [Path(path).exists() for path in _CUDA], [os.environ.get(name) for name in _VISIBLE]]
    return ["identity", choice.stage, choice.name, options, machine]


def _plain(value: Any, hashed: bool) -> Any:
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
