"""The sound of a recording for a page: its file, its waveform, and Opus where browsers cannot play the file.

The recording is decoded once, in the confined process that decodes for all commands, to 16 kHz mono: what the machine
heard. Waveform and Opus are stored in the cache of stages (docs/cache.md), and never beside the results.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from diarize import files
from diarize.audio import excerpts
from diarize.cache.store import Cache
from diarize.errors import AudioError
from diarize.types import Audio, Source, Transcript
from diarize.units import RATE
from pipelines.processes import decoding
from pipelines.results.fingerprint import file_state
from pipelines.review.spectrogram import compute_spectrogram

BINS = 100  # of the waveform, a second
OPUS = "audio/ogg"
BIT_RATE = 24_000  # bit/s of Opus: speech at 16 kHz is transparent for listeners
_BLOCK = 60 * RATE  # samples at a time
# Complexity 3 of 10: a third of the time of 10, and no difference that listeners of speech notice at this bit rate.
_OPUS_OPTIONS = {"frame_duration": "60", "application": "voip", "compression_level": "3"}
_FRAME = RATE * 60 // 1000  # samples of an Opus packet: 60 ms, the longest one
_SHORTFALL = 0.25  # s by which the declared and the decoded length may differ
_HEAD = 64 << 10  # bytes of an MP3 in which the header of a variable bit rate stands
# Container and codec as FFmpeg calls them -> type that browsers play; the position after a seek is exact.
_PLAYED: tuple[tuple[str, tuple[str, ...], str, str], ...] = (
    ("wav", (".wav", ".wave"), "pcm_s16le pcm_u8 pcm_s24le pcm_f32le", "audio/wav"),
    ("flac", (".flac",), "flac", "audio/flac"),
    ("mp3", (".mp3",), "mp3 mp3float", "audio/mpeg"),
    ("ogg", (".ogg", ".opus", ".oga"), "opus libopus vorbis", "audio/ogg"),
    ("mov,mp4,m4a,3gp,3g2,mj2", (".mp4", ".m4a", ".m4v"), "aac", "audio/mp4"),
    ("matroska,webm", (".webm",), "opus libopus vorbis", "audio/webm"),
)


@dataclass(frozen=True, slots=True)
class Playable:
    """A file that browsers play, and its media type."""

    path: Path
    type: str


class Sound:
    """The sound of one recording. Safe for several threads: what one computes, the others wait for."""

    def __init__(self, transcript: Transcript, path: Path, cache: Cache | None, scratch: Path) -> None:
        """`path` is the recording's file, `scratch` a folder for Opus, which the caller removes."""
        source = transcript.provenance.source
        if source is None:
            raise AudioError(str(path), "the transcript does not say of which recording it is")
        self.path, self.source = path, source
        settings = transcript.provenance.settings.get("audio", {})
        self._channel, self._track = str(settings.get("channel", "auto")), settings.get("track")
        self._cache, self._scratch = cache, scratch
        self._lock = threading.RLock()
        self._file_lock = threading.Lock()  # of the check of the file, which does not wait until it is decoded
        self._decoded: tuple[Audio, ...] = ()
        self._checked: dict[str, int] | None = None  # state of the file whose digest was compared
        self._opus: Path | None = None

    @property
    def type(self) -> str:
        """The media type of what is played."""
        return played_type(self.source, self.path) or OPUS

    def playable(self) -> Playable:
        """The file that is played. Raises AudioError where the recording is another one now, or cannot be decoded."""
        as_it_is = played_type(self.source, self.path)
        if not as_it_is:
            return Playable(self.opus(), OPUS)
        with self._file_lock:
            self._check_file()
        return Playable(self.path, as_it_is)

    def opus(self) -> Path:
        """The sound as Ogg/Opus, mono: the same bytes for the same recording. Raises AudioError and OutputError."""
        with self._lock:
            if self._opus is None:
                key = self._key("opus", BIT_RATE)
                data = None if self._cache is None else self._cache.get(key)
                path = self._scratch / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.opus"
                if data is None:
                    with path.open("wb") as file:
                        encode_opus([audio.samples for audio in self.decoded()], file)
                    if self._cache is not None:
                        self._cache.put(key, path.read_bytes())
                else:
                    path.write_bytes(data)
                self._opus = path
            return self._opus

    def peaks(self) -> bytes:
        """The waveform: int8 pairs (lowest, highest) of each bin. Raises AudioError and OutputError."""
        with self._lock:
            key = self._key("peaks", BINS)
            data = None if self._cache is None else self._cache.get(key)
            if data is None:
                data = waveform([audio.samples for audio in self.decoded()])
                if self._cache is not None:
                    self._cache.put(key, data)
            return data

    def spectrogram(self, start: int, end: int, width: int) -> bytes:
        """The spectrogram of start .. end (ms), uint8 (BANDS, width): see `compute_spectrogram`. Raises AudioError."""
        return compute_spectrogram([audio.samples for audio in self.decoded()], start, end, width)

    def decoded(self) -> tuple[Audio, ...]:
        """The decoded recording; one Audio a channel where each channel is a speaker. Raises AudioError."""
        with self._lock:
            if not self._decoded:
                recording = decoding.read(self.path, id=self.path.name, channel=self._channel, track=self._track)
                self._compare(recording.source.digest)
                self._decoded = recording.audios
            return self._decoded

    def forget(self) -> None:
        """Release the decoded samples, unless they are used at this moment: long ones take space on the disk."""
        if self._lock.acquire(blocking=False):
            self._decoded = ()
            self._lock.release()

    def _key(self, what: str, detail: int) -> str:
        return f"review {what} 1 {detail} {self.source.digest} {self._channel} {self._track}"

    def _check_file(self) -> None:
        """Raises AudioError where the file is not the recording. It is hashed again only if it was changed."""
        state = file_state(self.path)
        if state is None or state != self._checked:
            try:
                self._compare(files.sha256(self.path))
            except OSError as error:
                raise AudioError(str(self.path), f"cannot be read: {error.strerror or error}") from error
            self._checked = state

    def _compare(self, digest: str) -> None:
        if digest != self.source.digest:
            problem = f"not the recording of this transcript (sha256 {digest[:16]}, not {self.source.digest[:16]})"
            raise AudioError(str(self.path), problem, "Name the folder of the right file: --audio FOLDER.")


def played_type(source: Source, path: Path) -> str:
    """The media type of a file that browsers play as it is, with the times of the transcript; "" of any other.

    A file with several tracks, more than two channels or damage is not: browsers choose another track, and close gaps.
    Nor is an MP3 of variable bit rate, in which browsers seek inexactly.
    """
    whole = source.declared is not None and abs(source.declared - source.decoded) <= _SHORTFALL
    if source.streams != 1 or not 1 <= source.channels <= 2 or not whole or any("gap" in note for note in source.notes):
        return ""
    for container, suffixes, codecs, kind in _PLAYED:
        if source.container == container and path.suffix.lower() in suffixes and source.codec in codecs.split():
            return "" if kind == "audio/mpeg" and _is_variable(path) else kind
    return ""


def _is_variable(path: Path) -> bool:
    """Whether an MP3 says that its bit rate varies, in a header of Xing or Fraunhofer.

    Encoders write "Info" instead of "Xing" where it does not vary.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
            if head[:3] == b"ID3" and len(head) >= 10:  # ID3v2: four bytes of seven bits
                size = sum((head[6 + i] & 0x7F) << 7 * (3 - i) for i in range(4))
                file.seek(10 + size)
                head = file.read(4096)
    except OSError:
        return False
    return b"Xing" in head[:4096] or b"VBRI" in head[:4096]


def waveform(channels: Sequence[NDArray[np.float32]]) -> bytes:
    """int8 pairs (lowest, highest) of `BINS` bins a second, of samples (n,) at 16 kHz; of several channels together.

    127 is full scale. The last bin may be shorter. A minute is in memory at a time.
    """
    size = RATE // BINS
    length = max((len(samples) for samples in channels), default=0)
    pairs = np.zeros((-(-length // size), 2), np.int8)
    for at in range(0, length, _BLOCK):
        for samples in channels:
            block = np.asarray(samples[at : at + _BLOCK])
            padded = np.zeros(-(-len(block) // size) * size, np.float32)
            padded[: len(block)] = block
            bins = padded.reshape(-1, size)
            first = at // size
            own = np.stack([bins.min(axis=1), bins.max(axis=1)], axis=1)
            own = np.clip(np.round(own * 127), -127, 127).astype(np.int8)
            rows = pairs[first : first + len(own)]
            rows[:, 0] = np.minimum(rows[:, 0], own[:, 0])
            rows[:, 1] = np.maximum(rows[:, 1], own[:, 1])
            excerpts.release(samples)
    return pairs.tobytes()


def encode_opus(
    channels: Sequence[NDArray[np.float32]], file: IO[bytes], alive: Callable[[], None] = lambda: None
) -> None:
    """Write samples (n,) at 16 kHz as Ogg/Opus (RFC 7845), mono; several channels are averaged.

    The same samples give the same bytes. `alive` is called once a minute of sound.
    """
    import av

    length = max(len(samples) for samples in channels)
    with av.open(file, "w", format="ogg", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libopus", rate=RATE, options=_OPUS_OPTIONS)
        stream.codec_context.layout = "mono"
        stream.codec_context.format = "s16"
        stream.codec_context.bit_rate = BIT_RATE
        stream.codec_context.time_base = Fraction(1, RATE)
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        for at in range(0, length, _BLOCK):
            block = _mean([samples[at : at + _BLOCK] for samples in channels])
            pcm = np.clip(np.round(block * 32767), -32768, 32767).astype(np.int16)
            for first in range(0, len(pcm), _FRAME):
                frame = av.AudioFrame.from_ndarray(pcm[np.newaxis, first : first + _FRAME], format="s16", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = RATE, at + first, Fraction(1, RATE)
                container.mux(stream.encode(frame))
            for samples in channels:
                excerpts.release(samples)
            alive()
        container.mux(stream.encode(None))


def _mean(channels: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
    blocks = list(channels)
    if len(blocks) == 1:
        return blocks[0]
    mixed = np.zeros(max(map(len, blocks)), np.float32)
    for block in blocks:
        mixed[: len(block)] += block / len(blocks)
    return mixed
