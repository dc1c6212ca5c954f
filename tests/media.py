"""Recordings for tests, made with numpy and PyAV: sound whose places are known, in any container, whole or damaged."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from diarize.types import Audio, Samples

Wave = NDArray[np.float64]  # (channels, n)

TONE = 1000.0  # Hz


def noise(seconds: float, rate: int, channels: int = 1, level: float = 0.05, seed: int = 0) -> Wave:
    """White noise of standard deviation `level`."""
    return level * np.random.default_rng(seed).standard_normal((channels, round(seconds * rate)))


def tone(wave: Wave, rate: int, start: float, end: float, level: float = 0.5) -> Wave:
    """`wave` with a tone of 1 kHz from `start` to `end` seconds in every channel."""
    first, last = round(start * rate), round(end * rate)
    wave = wave.copy()
    wave[:, first:last] += level * np.sin(2 * np.pi * TONE * np.arange(last - first) / rate)
    return wave


def tone_span(audio: Audio) -> tuple[float, float] | None:
    """(first, last) second at which the tone is heard, to 5 ms; None where it is not heard."""
    step = 80
    n = len(audio.samples) // step
    table = np.exp(-2j * np.pi * TONE * np.arange(step) / audio.rate)
    heard = np.flatnonzero(np.abs(audio.samples[: n * step].reshape(n, step) @ table) > 0.15 * step)
    return (heard[0] * step / audio.rate, (heard[-1] + 1) * step / audio.rate) if len(heard) else None


@dataclass(frozen=True)
class Track:
    """One audio stream of a file to write. `shift` moves its time stamps by so many seconds."""

    wave: Wave
    rate: int
    codec: str
    bit_rate: int | None = None
    shift: float = 0.0
    default: bool | None = None
    holes: Sequence[tuple[float, float]] = ()  # spans (s) whose packets are left out
    jitter: float = 0.0  # s; each packet's stamp is moved by up to so much
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def layout(self) -> str:
        return {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}[len(self.wave)]


@dataclass(frozen=True)
class Film:
    """A black moving picture, 10 frames a second."""

    seconds: float
    shift: float = 0.0


def write(
    path: Path,
    container: str,
    *tracks: Track | Film,
    metadata: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
) -> Path:
    """A file with these streams."""
    with av.open(str(path), "w", format=container, options=dict(options or {})) as file:
        file.metadata.update(metadata or {})
        streams = [_film(file) if isinstance(t, Film) else _stream(file, t) for t in tracks]
        packets = [
            packet
            for stream, track in zip(streams, tracks, strict=True)
            for packet in (_pictures(stream, track) if isinstance(track, Film) else _sound(stream, track))
        ]
        packets.sort(key=lambda packet: float(packet.dts * packet.time_base))
        for packet in packets:
            file.mux(packet)
    return path


def _stream(file: Any, track: Track) -> Any:
    stream = file.add_stream(track.codec, rate=track.rate, layout=track.layout, options=dict(track.options))
    if track.bit_rate:
        stream.bit_rate = track.bit_rate
    if track.default is not None:
        stream.disposition = av.stream.Disposition.default if track.default else av.stream.Disposition(0)
    return stream


def _film(file: Any) -> Any:
    stream = file.add_stream("mpeg4", rate=10)
    stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
    return stream


def _pictures(stream: Any, film: Film) -> list[Any]:
    packets = []
    for i in range(round(film.seconds * 10)):
        frame = av.VideoFrame.from_ndarray(np.zeros((48, 32), np.uint8), format="yuv420p")
        frame.pts, frame.time_base = i, Fraction(1, 10)
        packets += stream.encode(frame)
    return _moved([*packets, *stream.encode(None)], film.shift)


def _sound(stream: Any, track: Track) -> list[Any]:
    context = stream.codec_context
    resampler = av.AudioResampler(
        format=context.format.name,
        layout=track.layout,
        rate=track.rate,
        frame_size=context.frame_size or 1024,
    )
    wave = np.ascontiguousarray(track.wave.T.reshape(1, -1), dtype=np.float32)
    frame = av.AudioFrame.from_ndarray(wave, format="flt", layout=track.layout)
    frame.sample_rate, frame.pts, frame.time_base = track.rate, 0, Fraction(1, track.rate)
    packets = []
    for given in (frame, None):
        for piece in resampler.resample(given):
            packets += stream.encode(piece)
    packets += stream.encode(None)
    kept = [
        packet
        for packet in packets
        if not any(start <= float(packet.pts * packet.time_base) < end for start, end in track.holes)
    ]
    random = np.random.default_rng(0)
    return _moved(kept, track.shift, [random.uniform(-track.jitter, track.jitter) for _ in kept])


def _moved(packets: list[Any], shift: float, jitter: Sequence[float] | None = None) -> list[Any]:
    for i, packet in enumerate(packets):
        step = round((shift + (jitter[i] if jitter else 0)) / packet.time_base)
        packet.pts += step
        packet.dts += step
    return packets


def damage(path: Path, start: float, end: float, seed: int = 0) -> Path:
    """Overwrite the bytes from `start` to `end` (shares of the file) with random ones."""
    content = bytearray(path.read_bytes())
    first, last = round(len(content) * start), round(len(content) * end)
    content[first:last] = np.random.default_rng(seed).bytes(last - first)
    path.write_bytes(content)
    return path


def cut(path: Path, share: float) -> Path:
    """Keep only the first `share` of the bytes."""
    content = path.read_bytes()
    path.write_bytes(content[: round(len(content) * share)])
    return path


def wav(
    path: Path,
    samples: NDArray[Any],
    rate: int,
    *,
    format: int = 1,
    bits: int | None = None,
    declared: int | None = None,
    trailer: bytes = b"",
) -> Path:
    """A RIFF/WAVE file around (n, channels) or (n,) samples as they lie in memory; `declared` overrides the data size.

    `format`: 1 PCM, 3 float, 6 A-law, 7 mu-law.
    """
    data = samples.tobytes()
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    bits = bits or samples.dtype.itemsize * 8
    block = channels * bits // 8
    size = len(data) if declared is None else declared
    header = struct.pack("<HHIIHH", format, channels, rate, rate * block, block, bits)
    riff = min(36 + size, 0xFFFFFFFF)
    path.write_bytes(
        b"RIFF" + struct.pack("<I", riff) + b"WAVEfmt " + struct.pack("<I", len(header)) + header
        + b"data" + struct.pack("<I", size) + data + trailer
    )  # fmt: skip
    return path


def pcm16(wave: Wave) -> NDArray[np.int16]:
    """(n, channels) 16-bit samples."""
    return np.round(np.clip(wave.T, -1, 1) * 32767).astype("<i2")


def level(samples: Samples) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
