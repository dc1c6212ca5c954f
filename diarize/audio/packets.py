"""A container's packets, decoded one by one: what can be decoded comes out with its time, what cannot is counted.

Bare streams of frames (MP3, AAC in ADTS) carry no times. FFmpeg counts frames instead, and what damage swallowed is not
counted: everything after it would come too early. There the bytes that were passed over tell the time that was lost.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from io import FileIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize.audio.timestamps import DecodedBlock

_BARREN = 50  # errors in a row without a packet, after which a container is at its end
_STRAY = 5  # frames of another rate or layout right after damage that are taken for random bytes
_RECENT = 256  # packets over which the bit rate of a bare stream is averaged: about 6 s
_TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICS")  # what stands between or behind frames and is no sound
_NEEDLE = 64  # bytes of a packet that identify its place in the file
_STRIDE = 1 << 20  # bytes read at a time while looking for it
_MISLED = (
    "aac",
)  # decoders that a damaged packet can set to another layout of channels for good: then silence follows
MOST_PLANES = 8  # PyAV loses its way with planar sound of this many channels
_NATIVE = ("u8", "s16", "s32", "flt", "dbl")  # sample formats that become arrays as they are


class FileBytes:
    """One open file for the decoder: no name, nothing else to reach, and the first error of the disk is kept.

    The decoder calls `read` and `seek` from C, where an exception would be printed and forgotten: it is told that the
    file ends, or that there is no such place, and `check` raises afterwards.
    """

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self.failure: OSError | None = None
        self.end: int | None = None  # where the file ends for the decoder, if earlier than in truth
        self.patches: tuple[tuple[int, bytes], ...] = ()  # (place, bytes) that the decoder sees instead

    def read(self, size: int) -> bytes:
        here = self.tell()
        try:
            content = self._file.read(size if self.end is None else max(0, min(size, self.end - here)))
        except OSError as error:
            self.failure = self.failure or error
            return b""
        for at, new in self.patches:
            first, last = max(at, here), min(at + len(new), here + len(content))
            if first < last:
                content = content[: first - here] + new[first - at : last - at] + content[last - here :]
        return content

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            if whence == os.SEEK_END and self.end is not None:
                offset, whence = self.end + offset, os.SEEK_SET
            return self._file.seek(offset, whence)
        except (OSError, OverflowError, ValueError):  # damaged headers ask for places before the start of the file
            return -1

    def tell(self) -> int:
        return self._file.tell()

    def check(self) -> None:
        """Raises the first error of the disk, which decoders tell as something else."""
        if self.failure is not None:
            raise self.failure

    def peek(self, at: int, size: int) -> bytes:
        """Up to `size` bytes at `at`; the reading position stays."""
        here = self.tell()
        self.seek(at)
        try:
            return self.read(size)
        finally:
            self.seek(here)

    def find(self, needle: bytes, start: int) -> int | None:
        """Where `needle` first stands at or after `start`; the reading position stays."""
        here, at, kept = self.tell(), start, b""
        self.seek(start)
        try:
            while block := self.read(_STRIDE):
                window = kept + block
                if (found := window.find(needle)) >= 0:
                    return at - len(kept) + found
                at += len(block)
                kept = window[-len(needle) + 1 :]
            return None
        finally:
            self.seek(here)


class Packets:
    """Iterates over the pieces of one audio stream. Afterwards: how many packets there were, and what failed."""

    def __init__(self, container: Any, stream: Any, source: FileBytes, bare: bool) -> None:
        self.packets = 0
        self.failed = 0  # packets, or reads of the container, that gave an error
        self.encrypted = False
        self.estimated = 0.0  # s of loss that were told from bytes alone
        self.trailing = 0.0  # s that failed after the last piece
        self._container, self._stream, self._source = container, stream, source
        self._decoder = stream.codec_context
        self._decoder.thread_count = 1  # threads delay errors past the packet that they belong to
        self._clock = _ByteClock(source) if bare else None
        self._converters: dict[tuple[str, str, int], Any] = {}

    def __iter__(self) -> Iterator[DecodedBlock]:
        damaged, shape, strays = False, None, 0
        for packet in self._demux():
            if packet is None:
                damaged = True
                continue
            if packet.size and packet.has_sidedata("encryption_info"):  # now and then such a packet decodes, to noise
                self.encrypted = True
                return
            try:
                frames = self._decoder.decode(packet if packet.size else None)
                pieces = [(frame.time, self._samples(frame), frame.sample_rate) for frame in frames]
            except Exception as error:  # PyAV raises many kinds; a packet either decodes or is lost
                self._source.check()
                _exhausted(error)
                self._renew()
                if packet.size:  # the last, empty packet only drains the decoder
                    self.failed, damaged = self.failed + 1, True
                    self.trailing += float(packet.duration * packet.time_base) if packet.duration else 0.0
                    if self._clock is not None:
                        self._clock.lose(packet)
                continue
            if not pieces:
                continue
            found = (pieces[0][2], pieces[0][1].shape[1])
            if self._clock is not None and damaged and shape not in (None, found) and strays < _STRAY:
                strays += 1
                self._clock.lose(packet)
                continue
            shape, strays, self.trailing = found, 0, 0.0
            ahead = 0.0
            if self._clock is not None:
                before = self._clock.lost
                ahead = self._clock.keep(packet, pieces[0][0], sum(len(s) / rate for _, s, rate in pieces))
                self.estimated += self._clock.lost - before
            for time, samples, rate in pieces:
                yield DecodedBlock(None if time is None else time + ahead, samples, rate, damaged)
                damaged = False
        if self._clock is not None:
            self.trailing = self._clock.pending(self.trailing)

    def _demux(self) -> Iterator[Any]:
        """Packets of the stream; None where the container gave an error and went on."""
        barren = 0
        while barren < _BARREN:
            barren += 1
            try:
                for packet in self._container.demux(self._stream):
                    barren = 0
                    self.packets += packet.size > 0
                    yield packet
                self._source.check()
                return
            except Exception as error:  # as above: whatever it is, the rest of the file may be sound
                self._source.check()
                _exhausted(error)
                self.failed += 1
            yield None

    def _renew(self) -> None:
        """Put a fresh decoder in the place of one that damage may have misled."""
        name = self._decoder.name
        if name in _MISLED:
            import av

            fresh = av.CodecContext.create(name, "r")
            fresh.extradata, fresh.thread_count = self._stream.codec_context.extradata, 1
            self._decoder = fresh

    def _samples(self, frame: Any) -> NDArray[Any]:
        """(n, channels) of a frame."""
        channels = frame.layout.nb_channels
        if frame.format.name in _NATIVE:
            packed: NDArray[Any] = frame.to_ndarray()
            return packed.reshape(-1, channels)
        if frame.format.name.removesuffix("p") in _NATIVE and channels < MOST_PLANES:
            planar: NDArray[Any] = frame.to_ndarray()
            return planar.T
        # PyAV maps neither that many planes nor 64-bit integers: FFmpeg converts those first.
        import av

        key = (frame.format.name, frame.layout.name, frame.sample_rate)
        if key not in self._converters:
            self._converters[key] = av.AudioResampler(format="flt", layout=frame.layout, rate=frame.sample_rate)
        parts = [part.to_ndarray().reshape(-1, channels) for part in self._converters[key].resample(frame)]
        return np.concatenate(parts) if parts else np.zeros((0, channels), np.float32)


def _exhausted(error: Exception) -> None:
    """Raises MemoryError where this process has no memory left; FFmpeg also refuses absurd lengths by that name."""
    import av

    if isinstance(error, MemoryError) and not isinstance(error, av.FFmpegError):
        raise error


class _ByteClock:
    """Seconds that FFmpeg's count of frames is behind in a bare stream, told from the bytes between good packets."""

    def __init__(self, source: FileBytes) -> None:
        self.lost = 0.0  # s, estimated so far
        self._source = source
        self._recent: deque[tuple[int, float]] = deque(maxlen=_RECENT)  # bytes, seconds of good packets
        self._end: int | None = None  # byte after the last good packet
        self._time = 0.0  # s, FFmpeg's own, at that byte
        self._ahead = 0.0  # s to add to FFmpeg's times
        self._failed: list[bytes] = []  # starts of the packets since then
        self._bytes = 0  # in those packets

    def lose(self, packet: Any) -> None:
        self._failed.append(bytes(packet)[:_NEEDLE])
        self._bytes += packet.size

    def keep(self, packet: Any, time: float | None, seconds: float) -> float:
        """Take in a good packet; returns the seconds to add to its time."""
        position = packet.pos
        if self._failed and self._end is not None and time is not None:
            # FFmpeg's positions forget bytes that it skipped, so the packet is looked up in the file.
            position = self._source.find(bytes(packet)[:_NEEDLE], self._end)
            if position is not None:
                lost = self._seconds(position - self._end)
                self._ahead += lost - (time - self._time)
                self.lost += lost
        if position is not None:
            self._end = position + packet.size
        elif self._end is not None:
            self._end += packet.size
        if time is not None:
            self._time = time + seconds
        self._recent.append((packet.size, seconds))
        self._failed, self._bytes = [], 0
        return self._ahead

    def pending(self, counted: float) -> float:
        """Seconds lost after the last good packet, of which FFmpeg counted `counted`."""
        return self._seconds(self._bytes) if self._failed and self._end is not None else counted

    def _seconds(self, size: int) -> float:
        """What `size` bytes of damage held, in whole frames; tags hold nothing."""
        if not self._recent or any(tag in self._failed[0] for tag in _TAGS):
            return 0.0
        sizes, seconds = zip(*self._recent, strict=True)
        frame = float(np.median(seconds))
        return round(size * sum(seconds) / sum(sizes) / frame) * frame if frame > 0 else 0.0
