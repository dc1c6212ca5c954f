"""A recording of which the cache knows everything but the samples: it is decoded only when a stage asks for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from diarize.audio import reading
from diarize.audio.reading import Recording
from diarize.cache import code
from diarize.cache.codecs import RECORDING, CachedChannel, CachedRecording
from diarize.config import AudioConfig
from diarize.errors import AudioError, DiarizeError, OutputError, StageError
from diarize.types import Audio, Samples
from pipelines.batch.cached_stages import StageCache
from pipelines.inputs.recordings import Input
from pipelines.versions import LIBRARIES, versions

Decode = Callable[[], Recording]


class UndecodedAudio(Audio):
    """An `Audio` whose samples are decoded when they are first asked for; everything else is known."""

    __slots__ = ("_length", "_open")

    def __init__(self, id: str, digest: str, channel: CachedChannel, open: Callable[[], Samples]) -> None:
        fields = {
            "id": id,
            "rate": channel.rate,
            "digest": digest,
            "lost": channel.lost,
            "pcm": channel.pcm,
            "line": "",
        }
        for name, value in {**fields, "_length": channel.length, "_open": open}.items():
            object.__setattr__(self, name, value)

    @property
    def samples(self) -> Samples:
        return self._open()  # type: ignore[attr-defined, no-any-return]

    @property
    def duration(self) -> float:
        return self._length / self.rate  # type: ignore[attr-defined, no-any-return]


class _Decoding:
    """Decodes once, for all channels, and checks that the result is the one that the cache describes."""

    def __init__(self, id: str, path: Path, cached: CachedRecording, decode: Decode) -> None:
        self._id, self._path, self._cached, self._decode = id, path, cached, decode
        self._decoded: Sequence[Audio] = ()

    def channel(self, i: int) -> Samples:
        """Raises StageError, and OutputError where the scratch folder is full."""
        if not self._decoded:
            try:
                recording = self._decode()
                if recording.source.digest != self._cached.source.digest:
                    raise AudioError(str(self._path), "changed while it was read", "Try again when it is finished.")
                if recording.source.pcm != self._cached.source.pcm:
                    cure = "Empty the cache (diarize cache clear) and rerun the command."
                    raise AudioError(str(self._path), "decodes to other samples than the cache says", cure)
            except OutputError:
                raise
            except AudioError as error:
                raise StageError(self._id, "read", error.reason) from error
            except DiarizeError as error:
                raise StageError(self._id, "read", str(error)) from error
            self._decoded = recording.audios
        return self._decoded[i].samples


def read(
    item: Input, audio: AudioConfig, cache: StageCache | None, decode: Decode, installed: Mapping[str, str]
) -> Recording:
    """The recording, by `decode`, or from what the cache knows of a file of the same bytes.

    `installed`: library -> version of those that would decode it, by the run's plan. A recording that is decoded here
    is cached under the versions of this process. Raises as `diarize.audio.reading.read`. A cached recording's file is
    hashed; its samples may raise StageError later.
    """
    if cache is None:
        return decode()
    with ThreadPoolExecutor(1, "hash") as executor:
        hashing = executor.submit(reading.hash_recording, item.path)
        how = [audio.channel, audio.track, code.digest("diarize.audio.reading")]
        code.digest("diarize.clustering.clusterer")  # needed soon, and there is time for it while the file is hashed
        digest = hashing.result()
    cached = cache.lookup("read", ["read", digest, *how, *(installed[name] for name in LIBRARIES)], RECORDING)
    if cached is None:
        recording = decode()
        channels = tuple(CachedChannel(len(a.samples), a.rate, a.pcm, a.lost) for a in recording.audios)
        key = ["read", recording.source.digest, *how, *(versions()[name] for name in LIBRARIES)]
        cache.store("read", key, RECORDING, CachedRecording(recording.source, channels))
        return recording
    source = replace(cached.source, path=item.name)
    decoding = _Decoding(item.id, item.path, cached, decode)
    return Recording(
        tuple(
            UndecodedAudio(item.id, source.digest, each, partial(decoding.channel, i))
            for i, each in enumerate(cached.channels)
        ),
        source,
    )
