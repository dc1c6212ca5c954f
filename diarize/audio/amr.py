"""AMR speech, narrow and wide: each frame says by its first byte how many bytes it has, and lasts 20 ms.

So time is counted in frames and bytes are never asked, except where a file is damaged. Silence is encoded too: a frame
that describes the noise (SID) or holds nothing (NO_DATA) lasts as long as one with speech, and FFmpeg's own decoders
reject both. OpenCORE's make the comfort noise that the standard wants (3GPP TS 26.092 and 26.192).

Source: RFC 4867, section 5 (storage format) and 4.3 (frames); 3GPP TS 26.101, table 1a, and 26.201, table 1a.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize.audio.containers import FileBytes, check_memory
from diarize.audio.timestamps import DecodedBlock

FRAME = 0.02  # s
# codec -> bytes of a frame with its header, by its type; 0 for types that are not defined
SIZES = {
    "amrnb": (13, 14, 16, 18, 20, 21, 27, 32, 6, 0, 0, 0, 0, 0, 0, 1),
    "amrwb": (18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 0, 0, 0, 0, 1, 1),
}
RATES = {"amrnb": 8_000, "amrwb": 16_000}  # Hz
_SILENCE = {"amrnb": (8, 15), "amrwb": (9, 14, 15)}  # types without speech: SID, SPEECH_LOST, NO_DATA
_DECODERS = {"amrnb": "libopencore_amrnb", "amrwb": "libopencore_amrwb"}
_MAGIC = {
    b"#!AMR\n": ("amrnb", 0),
    b"#!AMR-WB\n": ("amrwb", 0),
    b"#!AMR_MC1.0\n": ("amrnb", 4),
    b"#!AMR-WB_MC1.0\n": ("amrwb", 4),
}  # start of a file -> its codec, and the bytes of the number of channels behind it
_LONGEST_MAGIC = max(map(len, _MAGIC)) + 4
_RESERVED = 0x83  # bits of a frame's first byte that are 0
_CHAIN = 6  # frames that must follow each other where sound begins again after damage
_RECENT = 256  # frames over which the bytes of a frame are averaged: 5 s
_READ = 256 << 10  # bytes read at a time


def frame_type(frame: bytes) -> int:
    return frame[0] >> 3 & 15


def is_silence(codec: str, frame: bytes) -> bool:
    """True for a frame without speech: noise is described in it, or nothing is."""
    return frame_type(frame) in _SILENCE[codec]


def split(codec: str, data: bytes) -> list[bytes]:
    """The frames of one packet; a container may put several into one. What no frame begins with is left out."""
    frames, at = [], 0
    while size := _size(codec, data, at):
        if at + size > len(data):
            break
        frames.append(data[at : at + size])
        at += size
    return frames


def _size(codec: str, data: bytes | bytearray, at: int) -> int:
    """Bytes of the frame at `at`; 0 where none begins."""
    if at >= len(data) or data[at] & _RESERVED:
        return 0
    return SIZES[codec][data[at] >> 3 & 15]


class FrameDecoder:
    """Decodes frames of one channel, one by one."""

    def __init__(self, codec: str) -> None:
        import av

        self.codec, self.rate = codec, RATES[codec]
        try:
            self._decoder = av.CodecContext.create(_DECODERS[codec], "r")
        except ValueError:  # an FFmpeg without OpenCORE: its own decoder reads speech
            self._decoder = av.CodecContext.create(codec, "r")
        self._decoder.sample_rate, self._decoder.layout, self._decoder.thread_count = self.rate, "mono", 1

    def decode(self, frame: bytes) -> NDArray[Any] | None:
        """(n,) samples of 20 ms; None of a frame that cannot be decoded. Encoded silence never is one of those."""
        import av

        try:
            parts = [part.to_ndarray().reshape(-1) for part in self._decoder.decode(av.Packet(frame))]
        except Exception as error:  # PyAV raises many kinds
            check_memory(error)
            parts = []
        if parts:
            return np.concatenate(parts)
        return np.zeros(round(FRAME * self.rate), np.int16) if is_silence(self.codec, frame) else None


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of a file, and how many bytes before it are not frames."""

    data: bytes
    codec: str
    channels: int
    skipped: int = 0
    opens: bool = False  # the first one behind the start of a file: others may have been joined to it


class FrameReader:
    """Iterates over the frames of a file in storage format; afterwards `skipped` has the bytes behind the last one."""

    def __init__(self, source: FileBytes) -> None:
        self.skipped = 0
        self._source = source
        self._buffer = bytearray()
        self._at = 0  # in the buffer
        self._codec, self._channels = "amrnb", 1

    def __iter__(self) -> Iterator[Frame]:
        self._source.seek(0)
        chain, opens = 1, False  # frames that must follow before one is believed
        while self._fill():
            if self._pass_magic():
                opens = True
                continue
            if self._follow(chain):
                size = _size(self._codec, self._buffer, self._at)
                data = bytes(self._buffer[self._at : self._at + size])
                self._at += size
                yield Frame(data, self._codec, self._channels, self.skipped, opens)
                self.skipped, chain, opens = 0, 1, False
            else:
                self._at += 1
                self.skipped, chain = self.skipped + 1, _CHAIN
        self._source.check()

    def _fill(self) -> bool:
        """Read on; False at the end of the file."""
        if len(self._buffer) - self._at < 64 * (_CHAIN + 1) and (block := self._source.read(_READ)):
            del self._buffer[: self._at]
            self._buffer += block
            self._at = 0
        return self._at < len(self._buffer)

    def _pass_magic(self) -> bool:
        """Pass the start of a file, which also stands in the middle where several were joined."""
        start = bytes(self._buffer[self._at : self._at + _LONGEST_MAGIC])
        for magic, (codec, extra) in _MAGIC.items():
            if start.startswith(magic) and len(start) >= len(magic) + extra:
                self._at += len(magic) + extra
                self._codec = codec
                self._channels = max(1, start[len(magic) + 3] & 15) if extra else 1  # RFC 4867, 5.1: CHAN, 4 bits
                return True
        return False

    def _follow(self, count: int) -> bool:
        """True if a whole frame is here, and `count` more begin behind it, or the file ends or another one starts."""
        at = self._at
        for _ in range(count + 1):
            if at == len(self._buffer) and at > self._at:
                return True
            if at > self._at and self._buffer[at : at + 5] == b"#!AMR":
                return True
            size = _size(self._codec, self._buffer, at)
            if not size or (at == self._at and at + size > len(self._buffer)):
                return False
            at += size
            if at > len(self._buffer):  # the last frame of a file that was cut off
                return True
        return True


class AmrPackets:
    """Iterates over the decoded blocks of an AMR file, as `packets.Packets` does of other containers."""

    def __init__(self, source: FileBytes) -> None:
        self.packets = 0  # frames
        self.failed = 0  # of them
        self.encrypted = False
        self.estimated = 0.0  # s of loss that were estimated from bytes
        self.trailing = 0.0  # s that failed after the last block
        self.silent = False  # the last frame said that silence follows
        self._source = source
        self._recent: deque[int] = deque(maxlen=_RECENT)  # bytes of frames

    def __iter__(self) -> Iterator[DecodedBlock]:
        frames = FrameReader(self._source)
        decoders: list[FrameDecoder] = []
        time, damaged = 0.0, False
        parts: list[NDArray[Any] | None] = []
        for frame in frames:
            self.packets += 1
            if frame.opens or not decoders:
                decoders, parts = [FrameDecoder(frame.codec) for _ in range(frame.channels)], []
            if frame.skipped:
                lost = self._estimate(frame.skipped, len(decoders))
                if lost:
                    self.failed += 1
                    time, damaged, parts = time + lost + self.trailing, True, []
                    self.estimated += lost
                    self.trailing = 0.0
            self._recent.append(len(frame.data))
            samples = decoders[len(parts)].decode(frame.data)
            self.failed += samples is None
            parts.append(samples)
            if len(parts) < len(decoders):
                continue
            present = [part for part in parts if part is not None]
            if present:
                # A channel without sound beside one that has some is silent for the frame.
                block = np.stack([np.zeros_like(present[0]) if part is None else part for part in parts], axis=1)
                time += self.trailing
                yield DecodedBlock(time, block, decoders[0].rate, damaged or self.trailing > 0)
                time += len(block) / decoders[0].rate
                damaged, self.trailing = False, 0.0
            else:
                self.trailing += FRAME
            parts = []
        if frames.skipped:
            lost = self._estimate(frames.skipped, max(1, len(decoders)))
            self.failed += lost > 0
            self.trailing += lost
            self.estimated += lost

    def _estimate(self, size: int, channels: int) -> float:
        """Seconds of sound that `size` bytes of damage held, in whole frames."""
        mean = sum(self._recent) / len(self._recent) if self._recent else 0
        return round(size / mean / channels) * FRAME if mean else 0.0
