"""A container's packets, decoded one by one: decoded sound gets its time, packets that fail are counted.

Bare streams of frames (MP3, AAC in ADTS) carry no times. FFmpeg makes some up: it counts frames at the rate of the
first one, and does not count those that are damaged. So here the decoded samples are counted. Of a frame that cannot be
decoded, its header says how long it is; where there is no header either, the bytes of the damage tell the time that was
lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize.audio import amr
from diarize.audio.containers import FileBytes, check_memory
from diarize.audio.timestamps import DecodedBlock, as_float

_MOST_ERRORS = 50  # in a row without a packet; then the container counts as ended
_STRAYS = 5  # frames of another rate or layout right after damage; fewer in a row count as random bytes
_RECENT = 256  # packets over which the bit rate of a bare stream is averaged: about 6 s
_TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICS")  # data between or behind frames that is not sound
_NEEDLE = 64  # bytes of a packet that identify its place in the file
_RENEWED = ("aac",)  # decoders that a damaged packet can set to another channel layout: then only silence follows
MOST_PLANES = 8  # PyAV cannot map planar sound of this many channels
_NATIVE = ("u8", "s16", "s32", "flt", "dbl")  # sample formats that become arrays as they are
PAUSING = ("opus", "speex")  # codecs whose encoders may leave out packets while nobody speaks (DTX)
_DTX = 2  # bytes; an Opus packet of no more describes no sound, and those behind it may be left out (RFC 6716, 3.1)
_QUIET = 0.01  # root mean square (-40 dB of full scale) below which an encoder with DTX may have paused

# Bits that all frames of a stream share: a header of random bytes does not have them by chance.
_ADTS_FIXED = 0xFFFFFFC0  # ISO/IEC 13818-7, table 8: syncword to channel configuration, as far as they are in 4 bytes
_MPEG_FIXED = 0xFFFE0CC0  # ISO/IEC 11172-3, 2.4.2.3: syncword, version, layer, rate, mode
_MPEG_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}  # Hz, by version
_SAMPLES = 1024  # of a block of AAC
_ADTS_RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)

_Decoded = tuple[float | None, NDArray[Any], int]  # (time in s, (n, channels) samples, rate) of a frame


class Packets:
    """Iterates over the decoded blocks of one audio stream; afterwards it has the number of packets and what failed.

    `counted`: the container has no time stamps, so that samples are counted.
    """

    def __init__(self, container: Any, stream: Any, source: FileBytes, counted: bool) -> None:
        self.packets = 0
        self.failed = 0  # packets, or reads of the container, that gave an error
        self.encrypted = False
        self.estimated = 0.0  # s of loss that were estimated from bytes
        self.trailing = 0.0  # s that failed after the last block
        self.silent = False  # silence may have been left out after the last block
        self._container, self._stream, self._source = container, stream, source
        self._decoder = stream.codec_context
        self._codec = self._decoder.name
        self._decoder.thread_count = 1  # with threads an error comes after the packet that caused it
        self._amr = amr.FrameDecoder(self._codec) if self._codec in amr.SIZES else None
        start = 0.0 if stream.start_time is None else float(stream.start_time * stream.time_base)
        self._clock = _Clock(source, self._codec, start) if counted else None
        self._converters: dict[tuple[str, str, int], Any] = {}

    def __iter__(self) -> Iterator[DecodedBlock]:
        damaged, shape, stray_shape = False, None, None
        strays: list[tuple[Any, list[_Decoded]]] = []  # packets right after damage that may be random bytes
        for packet in self._demux():
            if packet is None:
                damaged = True
                continue
            if packet.size and packet.has_sidedata("encryption_info"):  # some of these packets decode, to noise
                self.encrypted = True
                return
            try:
                decoded = self._decode(packet)
            except Exception as error:  # PyAV raises many kinds; a packet either decodes or is lost
                self._source.check()
                check_memory(error)
                self._renew()
                if packet.size:  # the last, empty packet only drains the decoder
                    self.failed, damaged, self.silent = self.failed + 1, True, False
                    self.trailing += float(packet.duration * packet.time_base) if packet.duration else 0.0
                    if self._clock is not None:
                        self._clock.add_failed(packet)
                continue
            if not decoded:
                continue

            # Right after damage, random bytes may decode as a frame of another rate or layout: several must agree.
            _, first_samples, first_rate = decoded[0]
            new_shape = (first_rate, first_samples.shape[1])
            if self._clock is not None and damaged and shape not in (None, new_shape):
                if strays and stray_shape != new_shape:
                    self._drop(strays)
                strays.append((packet, decoded))
                stray_shape = new_shape
                if len(strays) < _STRAYS:
                    continue
                accepted, strays = strays, []
            else:
                self._drop(strays)
                accepted = [(packet, decoded)]
            shape, self.trailing = new_shape, 0.0
            for good, blocks in accepted:
                yield from self._timed(good, blocks, damaged)
                damaged = False
        self._drop(strays)
        if self._clock is not None:
            self.trailing = self._clock.pending(self.trailing)
            self.estimated = self._clock.estimated

    def _drop(self, strays: list[tuple[Any, list[_Decoded]]]) -> None:
        """Count packets as damage that turned out to be none of the stream's."""
        for packet, _ in strays:
            if self._clock is not None:
                self._clock.add_failed(packet)
        strays.clear()

    def _timed(self, packet: Any, decoded: list[_Decoded], damaged: bool) -> Iterator[DecodedBlock]:
        """The blocks of a packet, at their times."""
        counted = None
        if self._clock is not None:
            counted = self._clock.add_decoded(packet, sum(len(samples) / rate for _, samples, rate in decoded))
            self.estimated = self._clock.estimated
        for time, samples, rate in decoded:
            yield DecodedBlock(time if counted is None else counted, samples, rate, damaged, self.silent)
            counted = None if counted is None else counted + len(samples) / rate
            damaged = self.silent = False
        self.silent = self._pauses(packet, decoded[-1][1])

    def _decode(self, packet: Any) -> list[_Decoded]:
        """(time in s, (n, channels) samples, rate) of the frames of a packet. Raises what PyAV raises."""
        if self._amr is None:
            frames = self._decoder.decode(packet if packet.size else None)
            return [(frame.time, self._samples(frame), frame.sample_rate) for frame in frames]
        decoded: list[_Decoded] = []
        start = None if packet.pts is None else float(packet.pts * packet.time_base)
        for i, frame in enumerate(amr.split(self._codec, bytes(packet)) if packet.size else ()):
            samples = self._amr.decode(frame)
            if samples is not None:
                time = None if start is None else start + i * amr.FRAME
                decoded.append((time, samples[:, np.newaxis], self._amr.rate))
        if packet.size and not decoded:
            raise ValueError("no frame of it can be decoded")
        return decoded

    def _pauses(self, packet: Any, samples: NDArray[Any]) -> bool:
        """True if the encoder may have left out silence after this packet, of which `samples` are the last."""
        if self._amr is not None:
            frames = amr.split(self._codec, bytes(packet))
            return bool(frames) and amr.is_silence(self._codec, frames[-1])
        if self._codec not in PAUSING:
            return False
        loud = as_float(samples)
        return packet.size <= _DTX or float(np.square(loud).sum()) < _QUIET**2 * loud.size

    def _demux(self) -> Iterator[Any]:
        """Packets of the stream, the last one empty; None where the container raised an error and continued."""
        errors, last = 0, None
        while errors < _MOST_ERRORS:
            errors += 1
            try:
                for packet in self._container.demux(self._stream):
                    errors = 0
                    if packet.size:
                        self.packets += 1
                        yield packet
                    else:  # an empty packet drains the decoder, which must not happen before the end
                        last = packet
                self._source.check()
                break
            except Exception as error:  # PyAV raises many kinds; the rest of the file may decode
                self._source.check()
                check_memory(error)
                self.failed += 1
            yield None
        if last is not None:
            yield last

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


class _Clock:
    """Counts the seconds of a bare stream: decoded samples, lost frames, and damage by its bytes."""

    def __init__(self, source: FileBytes, codec: str, start: float) -> None:
        self.estimated = 0.0  # s of loss, estimated from bytes so far
        self._source, self._codec = source, codec
        self._time = start  # s, at the end of the last good packet
        self._recent: deque[tuple[int, float]] = deque(maxlen=_RECENT)  # bytes, seconds of good packets
        self._end: int | None = None  # byte after the last good packet
        self._header = b""  # of the last good packet
        self._failed: list[tuple[bytes, int]] = []  # starts and sizes of the packets since then

    def add_failed(self, packet: Any) -> None:
        self._failed.append((bytes(packet)[:_NEEDLE], packet.size))

    def add_decoded(self, packet: Any, seconds: float) -> float:
        """Add a good packet of `seconds`; returns its time."""
        position, start = packet.pos, bytes(packet)[:_NEEDLE]
        if self._failed:
            size = sum(size for _, size in self._failed)
            if self._end is not None:
                # FFmpeg's positions do not count bytes that it skipped, so the packet is searched in the file.
                position = self._source.find(start, self._end)
                size = size if position is None else position - self._end
            self._time += self._lost(size, self._header or start)
        if position is not None:
            self._end = position + packet.size
        elif self._end is not None:
            self._end += packet.size
        self._recent.append((packet.size, seconds))
        self._header, self._failed = start, []
        time = self._time
        self._time += seconds
        return time

    def pending(self, counted: float) -> float:
        """Seconds lost after the last good packet, of which FFmpeg counted `counted`."""
        if not self._failed or self._end is None:
            return counted
        return self._lost(sum(size for _, size in self._failed), self._header)

    def _lost(self, size: int, header: bytes) -> float:
        """The sound that `size` bytes of damage held: whole frames by their headers, the rest by its bytes."""
        lost = 0.0
        for start, length in self._failed:
            seconds = frame_seconds(self._codec, start, length, header)
            if seconds is not None:
                lost, size = lost + seconds, size - length
        by_bytes = self._seconds(size)
        self.estimated += by_bytes
        return lost + by_bytes

    def _seconds(self, size: int) -> float:
        """The sound that `size` bytes of damage held, in whole frames; 0 for tags."""
        if size <= 0 or not self._recent or any(tag in self._failed[0][0] for tag in _TAGS):
            return 0.0
        sizes, seconds = zip(*self._recent, strict=True)
        frame = float(np.median(seconds))
        return round(size * sum(seconds) / sum(sizes) / frame) * frame if frame > 0 else 0.0


def frame_seconds(codec: str, start: bytes, size: int, good: bytes) -> float | None:
    """Seconds of a frame of `size` bytes that begins with `start`, by its header.

    None unless that is the header of a frame of this size, in a stream of frames like `good`; and of other codecs.
    """
    if len(start) < 7 or len(good) < 7:
        return None
    ours, theirs = int.from_bytes(start[:4], "big"), int.from_bytes(good[:4], "big")
    if codec == "aac":
        same = ours & _ADTS_FIXED == theirs & _ADTS_FIXED and ours >> 20 == 0xFFF
        index, length = ours >> 10 & 15, (start[3] & 3) << 11 | start[4] << 3 | start[5] >> 5
        if not same or length != size or index >= len(_ADTS_RATES):
            return None
        return (1 + (start[6] & 3)) * _SAMPLES / _ADTS_RATES[index]
    if codec.startswith(("mp3", "mp2")):
        rates = _MPEG_RATES.get(ours >> 19 & 3)
        layer, index = ours >> 17 & 3, ours >> 10 & 3
        if ours & _MPEG_FIXED != theirs & _MPEG_FIXED or rates is None or index == 3 or layer not in (1, 2):
            return None
        samples = 576 if layer == 1 and rates is not _MPEG_RATES[3] else 1152
        return samples / rates[index] if size == _mpeg_size(ours, rates, index, samples) else None
    return None


def _mpeg_size(header: int, rates: tuple[int, int, int], index: int, samples: int) -> int:
    """Bytes of an MPEG audio frame of layer II or III; 0 where its header does not say."""
    layer, bits = header >> 17 & 3, header >> 12 & 15
    if rates is not _MPEG_RATES[3]:
        table = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
    elif layer == 1:
        table = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
    else:
        table = (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384)
    if not 1 <= bits <= len(table):
        return 0
    return samples * 125 * table[bits - 1] // rates[index] + (header >> 9 & 1)
