"""A container's packets, decoded one by one: decoded sound gets its time, packets that fail are counted.

Bare streams of frames (MP3, AAC in ADTS) carry no times. FFmpeg counts frames instead, and does not count those that
are damaged, so that everything after them would come too early. The bytes of the damage tell the time that was lost.
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

_MOST_ERRORS = 50  # in a row without a packet; then the container counts as ended
_MOST_STRAYS = 5  # frames of another rate or layout right after damage that count as random bytes
_RECENT = 256  # packets over which the bit rate of a bare stream is averaged: about 6 s
_TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICS")  # data between or behind frames that is not sound
_NEEDLE = 64  # bytes of a packet that identify its place in the file
_STRIDE = 1 << 20  # bytes read at a time while looking for it
_RENEWED = ("aac",)  # decoders that a damaged packet can set to another channel layout: then only silence follows
MOST_PLANES = 8  # PyAV cannot map planar sound of this many channels
_NATIVE = ("u8", "s16", "s32", "flt", "dbl")  # sample formats that become arrays as they are


class FileBytes:
    """One open file for the decoder: without a name and without access to other files. Keeps the first disk error.

    The decoder calls `read` and `seek` from C, where an exception would be printed and dropped. So they report the end
    of the file, or an impossible position, and `check` raises the error afterwards.
    """

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self.failure: OSError | None = None
        self.end: int | None = None  # where the file ends for the decoder, if earlier than on the disk
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
        """Raises the first error of the disk, which decoders report as something else."""
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
        here, at, carry = self.tell(), start, b""
        self.seek(start)
        try:
            while block := self.read(_STRIDE):
                window = carry + block
                if (place := window.find(needle)) >= 0:
                    return at - len(carry) + place
                at += len(block)
                carry = window[-len(needle) + 1 :]  # the needle may lie across two blocks
            return None
        finally:
            self.seek(here)


class Packets:
    """Iterates over the decoded blocks of one audio stream; afterwards it has the number of packets and what failed."""

    def __init__(self, container: Any, stream: Any, source: FileBytes, bare: bool) -> None:
        self.packets = 0
        self.failed = 0  # packets, or reads of the container, that gave an error
        self.encrypted = False
        self.estimated = 0.0  # s of loss that were estimated from bytes
        self.trailing = 0.0  # s that failed after the last block
        self._container, self._stream, self._source = container, stream, source
        self._decoder = stream.codec_context
        self._decoder.thread_count = 1  # with threads an error comes after the packet that caused it
        self._clock = _ByteClock(source) if bare else None
        self._converters: dict[tuple[str, str, int], Any] = {}

    def __iter__(self) -> Iterator[DecodedBlock]:
        damaged, shape, strays = False, None, 0
        for packet in self._demux():
            if packet is None:
                damaged = True
                continue
            if packet.size and packet.has_sidedata("encryption_info"):  # some of these packets decode, to noise
                self.encrypted = True
                return
            try:
                frames = self._decoder.decode(packet if packet.size else None)
                decoded = [(frame.time, self._samples(frame), frame.sample_rate) for frame in frames]
            except Exception as error:  # PyAV raises many kinds; a packet either decodes or is lost
                self._source.check()
                _check_memory(error)
                self._renew()
                if packet.size:  # the last, empty packet only drains the decoder
                    self.failed, damaged = self.failed + 1, True
                    self.trailing += float(packet.duration * packet.time_base) if packet.duration else 0.0
                    if self._clock is not None:
                        self._clock.add_failed(packet)
                continue
            if not decoded:
                continue

            # Right after damage, random bytes may decode as a frame of another rate or layout.
            first_time, first_samples, first_rate = decoded[0]
            new_shape = (first_rate, first_samples.shape[1])
            if self._clock is not None and damaged and shape not in (None, new_shape) and strays < _MOST_STRAYS:
                strays += 1
                self._clock.add_failed(packet)
                continue
            shape, strays, self.trailing = new_shape, 0, 0.0

            correction = 0.0
            if self._clock is not None:
                before = self._clock.lost
                seconds = sum(len(samples) / rate for _, samples, rate in decoded)
                correction = self._clock.add_decoded(packet, first_time, seconds)
                self.estimated += self._clock.lost - before
            for time, samples, rate in decoded:
                yield DecodedBlock(None if time is None else time + correction, samples, rate, damaged)
                damaged = False
        if self._clock is not None:
            self.trailing = self._clock.pending(self.trailing)

    def _demux(self) -> Iterator[Any]:
        """Packets of the stream; None where the container raised an error and continued."""
        errors = 0
        while errors < _MOST_ERRORS:
            errors += 1
            try:
                for packet in self._container.demux(self._stream):
                    errors = 0
                    self.packets += packet.size > 0
                    yield packet
                self._source.check()
                return
            except Exception as error:  # PyAV raises many kinds; the rest of the file may decode
                self._source.check()
                _check_memory(error)
                self.failed += 1
            yield None

    def _renew(self) -> None:
        """Replace a decoder whose state damage may have changed."""
        name = self._decoder.name
        if name in _RENEWED:
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


def _check_memory(error: Exception) -> None:
    """Raises MemoryError if this process has no memory left. FFmpeg uses that name for absurd lengths as well."""
    import av

    if isinstance(error, MemoryError) and not isinstance(error, av.FFmpegError):
        raise error


class _ByteClock:
    """Estimates, from the bytes between good packets, how far FFmpeg's frame count is behind in a bare stream."""

    def __init__(self, source: FileBytes) -> None:
        self.lost = 0.0  # s, estimated so far
        self._source = source
        self._recent: deque[tuple[int, float]] = deque(maxlen=_RECENT)  # bytes, seconds of good packets
        self._end: int | None = None  # byte after the last good packet
        self._time = 0.0  # s, FFmpeg's own, at that byte
        self._correction = 0.0  # s to add to FFmpeg's times
        self._failed: list[bytes] = []  # starts of the packets since then
        self._bytes = 0  # in those packets

    def add_failed(self, packet: Any) -> None:
        self._failed.append(bytes(packet)[:_NEEDLE])
        self._bytes += packet.size

    def add_decoded(self, packet: Any, time: float | None, seconds: float) -> float:
        """Add a good packet of `seconds`; returns the seconds to add to its `time`."""
        position = packet.pos
        if self._failed and self._end is not None and time is not None:
            # FFmpeg's positions do not count bytes that it skipped, so the packet is searched in the file.
            position = self._source.find(bytes(packet)[:_NEEDLE], self._end)
            if position is not None:
                lost = self._seconds(position - self._end)
                self._correction += lost - (time - self._time)
                self.lost += lost
        if position is not None:
            self._end = position + packet.size
        elif self._end is not None:
            self._end += packet.size
        if time is not None:
            self._time = time + seconds
        self._recent.append((packet.size, seconds))
        self._failed, self._bytes = [], 0
        return self._correction

    def pending(self, counted: float) -> float:
        """Seconds lost after the last good packet, of which FFmpeg counted `counted`."""
        return self._seconds(self._bytes) if self._failed and self._end is not None else counted

    def _seconds(self, size: int) -> float:
        """The sound that `size` bytes of damage held, in whole frames; 0 for tags."""
        if not self._recent or any(tag in self._failed[0] for tag in _TAGS):
            return 0.0
        sizes, seconds = zip(*self._recent, strict=True)
        frame = float(np.median(seconds))
        return round(size * sum(seconds) / sum(sizes) / frame) * frame if frame > 0 else 0.0
