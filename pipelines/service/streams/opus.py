"""Opus as a client sends it: packets by themselves, or Ogg pages. Nothing is decoded here.

Of a packet, its first two bytes are read, which say how long it is, and whether it is stereo (RFC 6716, section 3.1).
Packets are put into an Ogg stream (RFC 3533, RFC 7845), so that they are decoded as every upload is. Of Ogg pages, the
positions are read.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from pipelines.service.work.refusals import Refusal

MOST_BYTES = 4 << 20  # of a stream: a minute at 510 kbit/s, the highest rate of Opus, has 3.8 MB
LONGEST_PACKET = 0.120  # s (RFC 6716, section 2.1.4)
_FRAME = 1277  # bytes that a frame takes at most, with its length (RFC 6716, section 3.2)
_CLOCK = 48_000  # positions a second, whatever the rate of the encoder (RFC 7845, section 4)
_DELAY = 312  # positions that a decoder drops at the start: what encoders usually need
_NONE = 2**64 - 1  # position of a page on which no packet ends (RFC 3533, section 6)
_HEADER = struct.Struct(
    "<4sBBQIIIB"
)  # of a page: pattern, version, flags, position, stream, number, checksum, segments
_STEREO = 0x04  # bit of a packet's first byte
_FIRST, _NEXT = 0x02, 0x00  # flags
_PATTERN, _HEAD = b"OggS", b"OpusHead"


def _checksums() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)
        table.append(value & 0xFFFFFFFF)
    return tuple(table)


_TABLE = _checksums()


def duration(packet: bytes) -> float:
    """The s of sound in an Opus packet, by its first bytes. Raises ValueError for what is no packet."""
    if not packet:
        raise ValueError("it is empty")
    configuration, code = packet[0] >> 3, packet[0] & 3
    if configuration < 12:  # SILK
        frame = (0.010, 0.020, 0.040, 0.060)[configuration % 4]
    elif configuration < 16:  # both
        frame = (0.010, 0.020)[configuration % 2]
    else:  # CELT
        frame = (0.0025, 0.005, 0.010, 0.020)[configuration % 4]
    if code == 3 and len(packet) < 2:
        raise ValueError("the number of its frames is missing")
    frames = packet[1] & 0x3F if code == 3 else (1, 2, 2)[code]
    if not frames or frames * frame > LONGEST_PACKET + 1e-9:
        raise ValueError(f"it would hold {1000 * frames * frame:g} ms")
    if len(packet) > 2 + frames * _FRAME and code != 3:  # of code 3, the rest may be padding
        raise ValueError(f"it has {len(packet)} bytes for {frames} frames")
    return frames * frame


def page(packet: bytes, position: int, number: int, flags: int = _NEXT) -> bytes:
    """An Ogg page with one packet. Raises ValueError for a packet that does not fit into a page."""
    lengths = bytes([255] * (len(packet) // 255) + [len(packet) % 255])
    if len(lengths) > 255:
        raise ValueError(f"it has {len(packet)} bytes")
    header = _HEADER.pack(_PATTERN, 0, flags, position, 1, number, 0, len(lengths))
    whole = bytearray(header + lengths + packet)
    checksum = 0
    for byte in whole:
        checksum = (checksum << 8 & 0xFFFFFFFF) ^ _TABLE[(checksum >> 24) ^ byte]
    struct.pack_into("<I", whole, 22, checksum)
    return bytes(whole)


@dataclass(slots=True)
class OpusSound:
    """What has arrived of a stream; the first message decides whether messages are packets or parts of an Ogg stream.

    No packet begins as an Ogg page does: it would be longer than a packet may be. Nor are the first letters of a page a
    packet, so the first piece may be shorter than the pattern.

    Packets are decoded with two channels where one of them is stereo, so that the channel is chosen as for a file. An
    encoder may begin with mono packets; a decoder gives their sound to both channels (RFC 6716, section 4.5).
    """

    seconds: float = 0.0
    _pages: bool | None = None
    _beginning: bytes = b""  # first bytes, too few to tell a page from a packet
    _stereo: bool = False  # of any packet
    _data: bytearray = field(default_factory=bytearray)
    _number: int = 0  # of the packet, or of the page
    _scanned: int = 0  # bytes in which all pages are known

    def add(self, data: bytes) -> None:
        """Add a message. Raises Refusal: not_audio, too_large."""
        if self._pages is None:
            beginning = self._beginning + data
            if 0 < len(beginning) < len(_PATTERN) and _PATTERN.startswith(beginning):
                self._beginning = beginning
                return
            self._pages = beginning.startswith(_PATTERN)
            if self._pages:
                data = beginning
            elif self._beginning:
                self._add_packet(self._beginning)  # refused
        if self._pages:
            self._add_pages(data)
        else:
            self._add_packet(data)
        if len(self._data) > MOST_BYTES:
            raise Refusal("too_large", f"{MOST_BYTES} bytes are the limit of a stream", {"limit": MOST_BYTES})

    def content(self) -> bytes:
        """The stream as an Ogg file; empty where nothing has arrived."""
        if self._pages is None:
            return self._beginning
        if self._pages:
            return bytes(self._data)
        head = struct.pack("<8sBBHIhB", _HEAD, 1, 2 if self._stereo else 1, _DELAY, _CLOCK, 0, 0)
        return page(head, 0, 0, _FIRST) + page(b"OpusTags" + bytes(8), 0, 1) + bytes(self._data)

    def _add_packet(self, packet: bytes) -> None:
        self._number += 1
        try:
            self.seconds += duration(packet)
            position = _DELAY + round(self.seconds * _CLOCK)
            self._data += page(packet, position, self._number + 1)
            self._stereo = self._stereo or bool(packet[0] & _STEREO)
        except ValueError as error:
            problem = f"message {self._number} is no Opus packet: {error}"
            raise Refusal("not_audio", problem, {"message": self._number}) from error

    def _add_pages(self, data: bytes) -> None:
        self._data += data
        while len(self._data) >= self._scanned + _HEADER.size:
            pattern, version, _, position, _, _, _, count = _HEADER.unpack_from(self._data, self._scanned)
            if pattern != _PATTERN or version:
                raise Refusal("not_audio", f"there is no Ogg page at byte {self._scanned} of the stream")
            start = self._scanned + _HEADER.size + count
            end = start + sum(self._data[self._scanned + _HEADER.size : start])
            if len(self._data) < max(start, end):
                return
            if not self._number and not self._data.startswith(_HEAD, start):
                raise Refusal("not_audio", "the first Ogg page does not begin a stream of Opus")
            if position != _NONE:
                self.seconds = max(self.seconds, position / _CLOCK)
            self._number += 1
            self._scanned = end
