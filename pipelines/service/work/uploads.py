"""What a caller sent, in a folder of this process -> decoded sound.

It is decoded in a confined child, which may open and reach nothing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import wave
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from diarize.audio import reading
from diarize.audio.reading import Recording
from diarize.config import AudioConfig
from diarize.errors import AudioError
from diarize.types import Audio
from diarize.units import RATE
from pipelines.processes import decoding
from pipelines.processes.decoding import Decoder
from pipelines.service.work.refusals import Refusal
from pipelines.service.work.settings import RequestLimits

_PREFIX = "uploads-"
_NOISE, _NOISE_RATE = 3.0, 48_000  # s and Hz of the noise that is decoded at the start; its rate needs resampling
_KINDS = (  # first bytes -> what they are, for messages about what is not audio
    (b"RIFF", "RIFF (wav)"), (b"fLaC", "flac"), (b"ID3", "mp3"), (b"OggS", "ogg"), (b"\x1aE\xdf\xa3", "matroska"),
    (b"PK\x03\x04", "zip"), (b"\x1f\x8b", "gzip"), (b"%PDF", "pdf"), (b"\x89PNG", "png"), (b"\xff\xd8\xff", "jpeg"),
    (b"{", "json"), (b"[", "json"), (b"<", "html or xml"), (b"GIF8", "gif"),
)  # fmt: skip


@dataclass(slots=True)
class Upload:
    """A body on the disk, in the service's folder of uploads; deleted when its request ends."""

    path: Path
    size: int  # bytes
    digest: str  # sha256
    declared: str = ""  # content type that the caller named
    sniffed: str = ""
    seconds: float | None = None  # of sound; None: it could not be decoded

    def received(self) -> dict[str, Any]:
        """What a message says about it."""
        kind = self.sniffed or _sniff(self.path)
        return {"bytes": self.size, "type": kind, "declared_type": self.declared, "seconds": self.seconds}


class UploadFolder:
    """The folder of a process for uploads, new at its start; those of processes that were killed are removed then.

    A process holds a lock (flock) on its folder, which the system releases however the process ends. Starting processes
    take turns by a lock on `parent`, so that no folder is removed between its creation and its lock. Where the system
    or the file system has no such locks, nothing is removed.
    """

    def __init__(self, parent: Path) -> None:
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock: int | None = None
        turn = _locked(parent, wait=True)
        try:
            if turn is not None:
                _remove_left(parent)
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
            if turn is not None:
                self._lock = _locked(self.path)
        finally:
            if turn is not None:
                os.close(turn)

    def remove(self) -> None:
        """Remove it and all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class UploadDecoder:
    """Decodes uploads, with a confined child for each thread: a slow file delays its own thread alone."""

    def __init__(self, limits: RequestLimits, audio: AudioConfig) -> None:
        self._limits, self._audio = limits, audio
        self._local = threading.local()
        self._all: list[Decoder] = []

    def decode(self, upload: Upload, name: str) -> Recording:
        """The sound of an upload, which messages call `name`. Raises Refusal."""
        if not upload.size:
            raise Refusal("audio_empty", "0 bytes were received", {"received": upload.received()})
        channel = "auto" if self._audio.channel == "per-channel" else self._audio.channel
        own = self._confined()
        try:
            recording = reading.read(upload.path, id=name, channel=channel, track=self._audio.track, decode=own)
        except AudioError as error:
            raise self._refused(error, upload) from error
        upload.seconds = round(recording.audios[0].duration, 3)
        upload.sniffed = f"{recording.source.container} ({recording.source.codec})"
        if upload.seconds > self._limits.utterance_seconds:
            raise self._too_long(upload)
        return recording

    def warm_up(self) -> Audio:
        """Decode some noise, so that the child of this thread has started. Raises BackendError where it cannot."""
        count = round(min(_NOISE, self._limits.utterance_seconds) * _NOISE_RATE)
        noise = np.random.default_rng(0).normal(0, 0.1, (count, 2)).clip(-1, 1)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "noise.wav")
            with wave.open(str(path), "wb") as file:
                file.setnchannels(noise.shape[1])
                file.setsampwidth(2)
                file.setframerate(_NOISE_RATE)
                file.writeframes((noise * 32767).astype("<i2").tobytes())
            return reading.read(path, id="noise", decode=self._confined()).audios[0]

    def close(self) -> None:
        """End the children."""
        for decoder in self._all:
            decoder.close()

    def _confined(self) -> partial[Any] | None:
        """What decodes bytes in the child of this thread; None where this system cannot confine one."""
        return partial(self._decoder(), rate=RATE) if decoding.available() else None

    def _decoder(self) -> Decoder:
        decoder: Decoder | None = getattr(self._local, "decoder", None)
        if decoder is None:
            limits = self._limits
            decoder = self._local.decoder = Decoder(limits.decoding, limits.utterance_seconds, restarts=True)
            self._all.append(decoder)
        return decoder

    def _refused(self, error: AudioError, upload: Upload) -> Refusal:
        if error.problem.startswith("is longer than"):
            return self._too_long(upload)
        facts = {"received": upload.received()}
        if "processor time" in error.problem:
            return Refusal("audio_too_costly", f"{self._limits.decoding} s of processor time are not enough", facts)
        if error.problem.startswith("holds no sound"):
            return Refusal("audio_empty", f"the audio {error.problem}", facts)
        return Refusal("not_audio", f"the audio {error.problem}", facts)

    def _too_long(self, upload: Upload) -> Refusal:
        limit = self._limits.utterance_seconds
        return Refusal("audio_too_long", f"{limit:g} s are the limit", {"limit": limit, "received": upload.received()})


def _remove_left(parent: Path) -> None:
    for path in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # no folder
            lock = _locked(path)
            if lock is not None:
                shutil.rmtree(path, ignore_errors=True)
                os.close(lock)


def _locked(folder: Path, wait: bool = False) -> int | None:
    """The descriptor of a folder with a lock on it; None: another process has it, or there are no locks here."""
    if find_spec("fcntl") is None:  # Windows
        return None
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | (0 if wait else os.O_NOFOLLOW))
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _sniff(path: Path) -> str:
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError:
        return "unknown"
    kind = next((name for magic, name in _KINDS if head.lstrip().startswith(magic)), "")
    if kind or not head:
        return kind or "empty"
    return "text" if head.isascii() and head.decode("ascii").isprintable() else "unknown"
