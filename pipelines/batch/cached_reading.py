"""A recording whose facts are known from before: its file is hashed, and decoded only when a stage asks for samples."""

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
from diarize.errors import AudioError, DiarizeError, OutputError, StageError
from diarize.types import Audio, Samples
from pipelines.batch.cached_stages import Kept
from pipelines.inputs.recordings import Input
from pipelines.versions import LIBRARIES, versions

Decode = Callable[[], Recording]


class Later(Audio):
    """An `Audio` whose samples are decoded when they are first asked for; everything else is known."""

    __slots__ = ("_length", "_open")

    def __init__(self, id: str, digest: str, channel: CachedChannel, open: Callable[[], Samples]) -> None:
        facts = {"id": id, "rate": channel.rate, "digest": digest, "lost": channel.lost, "pcm": channel.pcm}
        for name, value in {**facts, "_length": channel.length, "_open": open}.items():
            object.__setattr__(self, name, value)

    @property
    def samples(self) -> Samples:
        return self._open()  # type: ignore[attr-defined, no-any-return]

    @property
    def duration(self) -> float:
        return self._length / self.rate  # type: ignore[attr-defined, no-any-return]


class _Opening:
    """Decodes once, for all channels, and sees to it that what is heard is what was known."""

    def __init__(self, id: str, path: Path, facts: CachedRecording, decode: Decode) -> None:
        self._id, self._path, self._facts, self._decode = id, path, facts, decode
        self._decoded: Sequence[Audio] = ()

    def channel(self, i: int) -> Samples:
        """Raises StageError, OutputError where the scratch folder is full."""
        if not self._decoded:
            try:
                found = self._decode()
                if found.source.digest != self._facts.source.digest:
                    raise AudioError(str(self._path), "changed while it was read", "Try again when it is finished.")
                if found.source.pcm != self._facts.source.pcm:
                    cure = "Empty the cache (diarize cache clear) and run the same command again."
                    raise AudioError(str(self._path), "is decoded otherwise than the cache says", cure)
            except OutputError:
                raise
            except AudioError as error:
                raise StageError(self._id, "read", error.reason) from error
            except DiarizeError as error:
                raise StageError(self._id, "read", str(error)) from error
            self._decoded = found.audios
        return self._decoded[i].samples


def read(item: Input, channel: str, kept: Kept | None, decode: Decode, installed: Mapping[str, str]) -> Recording:
    """The recording, by `decode`, or from what the cache knows of a file of the same bytes.

    `installed`: library -> version, of those that would decode it, as the run's plan tells. What is decoded here is
    kept under those of this process. Raises as `diarize.audio.read`. Of a known recording the file is hashed; its
    samples may raise StageError later.
    """
    if kept is None:
        return decode()
    with ThreadPoolExecutor(1, "hash") as aside:
        hashing = aside.submit(reading.hash_recording, item.path)
        how = [channel, code.digest("diarize.audio.reading")]
        code.digest(
            "diarize.clustering.spectral"
        )  # to be asked for soon: while the file is hashed there is time for it
        digest = hashing.result()
    known = kept.found("read", ["read", digest, *how, *(installed[name] for name in LIBRARIES)], RECORDING)
    if known is None:
        recording = decode()
        channels = tuple(CachedChannel(len(a.samples), a.rate, a.pcm, a.lost) for a in recording.audios)
        asked = ["read", recording.source.digest, *how, *(versions()[name] for name in LIBRARIES)]
        kept.made("read", asked, RECORDING, CachedRecording(recording.source, channels))
        return recording
    source = replace(known.source, path=item.name)
    opening = _Opening(item.id, item.path, known, decode)
    audios = (Later(item.id, source.digest, one, partial(opening.channel, i)) for i, one in enumerate(known.channels))
    return Recording(tuple(audios), source)
