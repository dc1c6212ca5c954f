"""Where the samples of a WAV, RF64, Wave64, AIFF or CAF file begin and end, also where its sizes are wrong.

A recorder that stops early leaves a size of 0 or 0xFFFFFFFF, and a program that adds a chunk may leave wrong sizes. The
chunks behind the samples (LIST, iXML, bext, ID3, ...) are no sound, whatever the header says: they are searched in the
last part of the file.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from diarize.audio.containers import FileBytes

WRAP = 1 << 32  # bytes; the 32-bit length of a WAV overflows here
_MOST = 1000  # chunks before the samples; more are damage
_TAIL = 16 << 20  # bytes at the end of a file in which chunks are searched: pictures are the largest ones
_TAIL_USABLE = 1 << 20  # the same, where the header has a usable length
_MOST_CANDIDATES = 10_000  # names that are tried; samples hold half as many by chance
_LONGEST_CHAIN = 30  # chunks behind the samples
_PROBED, _MOST_PROBED = 2, 32  # packets; FFmpeg's own limit is 32
_ABSURD = 1 << 62  # bytes; such a length of 64 bits stands for "unknown"
_NAME = re.compile(rb"[A-Za-z0-9 _.\-]{3}[A-Za-z0-9 _.\-\0]")


@dataclass(frozen=True, slots=True)
class ChunkFormat:
    """How a kind of file writes chunks: a name, a length, the content, and filling up to a multiple of `align`."""

    name: str
    data: bytes  # name of the chunk with the samples
    length: struct.Struct  # of a chunk
    header: int  # bytes of name and length
    inclusive: bool  # the length counts the header
    align: int
    first: int  # byte where the chunks begin
    others: re.Pattern[bytes]  # names of chunks that may stand behind the samples
    unknown: int  # length that says "to the end of the file"
    prefix: int = 0  # bytes in the chunk before the samples

    def size(self, head: bytes) -> int:
        """Bytes of the content of the chunk that begins with `head`; negative where it does not say."""
        (length,) = self.length.unpack_from(head, self.header - self.length.size)
        return int(length) - (self.header if self.inclusive else 0)

    def padded(self, size: int) -> int:
        return size + -size % self.align

    def is_name(self, name: bytes) -> bool:
        return self.align == 8 or _NAME.fullmatch(name) is not None


# Names that programs write behind samples. Microsoft, "Multimedia Programming Interface and Data Specifications 1.0";
# EBU Tech 3285 (bext and its supplements), 3293; Adobe XMP (_PMX); the rest by their makers. Every name begins with one
# literal byte, not with a class such as [iI]: then `re` skips to bytes that begin a name, seven times as fast.
_RIFF_NAMES = re.compile(
    rb"LIST|iXML|bext|ID3 |id3 |Id3 |iD3 |cue |fact|_PMX|JUNK|junk|PAD |FLLR|smpl|inst|axml|aXML|chna|cart|link|levl"
    rb"|acid|umid|SNDM|minf|elm1|regn|ovwf|DGDA|Cr8r|PrmL|DISP|afsp|plst|labl|note|strc|PEAK|cset|SAUR|ResU|iXml|tlst"
    rb"|mext|qlty|MD5 "
)
_AIFF_NAMES = re.compile(
    rb"NAME|AUTH|\(c\) |ANNO|COMT|MARK|INST|MIDI|AESD|APPL|ID3 |FVER|COMM|FLLR|PEAK|CHAN|basc|trns|cate|SAXL|iXML|bext"
)
_CAF_NAMES = re.compile(rb"info|strg|mark|regn|inst|midi|ovvw|peak|edct|free|umid|uuid|UCMT|kuki|chan|pakt")
_GUID = b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"  # end of Wave64's names; RIFF's name is before it
_W64_NAMES = re.compile(
    rb"[a-zA-Z][a-zA-Z0-9_ ]{3}" + re.escape(_GUID)
    + rb"|list" + re.escape(b"\x2f\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00")
    + rb"|" + re.escape(b"\x56\x62\xf7\xab\x2d\x39\xd2\x11\x86\xc7\x00\xc0\x4f\x8e\xdb\x8a")  # markers
    + rb"|" + re.escape(b"\xbc\x94\x5f\x92\x5a\x52\xd2\x11\x86\xdc\x00\xc0\x4f\x8e\xdb\x8a"),  # summary
    re.DOTALL,
)  # fmt: skip

RIFF = ChunkFormat("wav", b"data", struct.Struct("<I"), 8, False, 2, 12, _RIFF_NAMES, 0xFFFFFFFF)
AIFF = ChunkFormat("aiff", b"SSND", struct.Struct(">I"), 8, False, 2, 12, _AIFF_NAMES, 0xFFFFFFFF, 8)
CAF = ChunkFormat("caf", b"data", struct.Struct(">q"), 12, False, 1, 8, _CAF_NAMES, -1, 4)
W64 = ChunkFormat("w64", b"data" + _GUID, struct.Struct("<Q"), 24, True, 8, 40, _W64_NAMES, (1 << 64) - 1)


def recognize(head: bytes) -> ChunkFormat | None:
    """The kind of a file by its first bytes; None if it has no chunks of these kinds."""
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return RIFF
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return AIFF
    if head[:4] == b"caff":
        return CAF
    if head[:4] == b"riff" and head[24:40] == b"wave" + _GUID:
        return W64
    return None


@dataclass(frozen=True, slots=True)
class SampleBytes:
    """Where the samples of a file are, by its header and on the disk. All in bytes."""

    format: ChunkFormat
    start: int
    declared: int
    actual: int  # from `start` to the end of the file, or to the first chunk behind the samples
    chunks: bool = False  # that is where the samples end: chunks stand behind them, whatever is declared

    @property
    def unusable(self) -> bool:
        """True if the header does not have the length: 0, a length that stands for "unknown", or a 32-bit overflow."""
        if self.declared <= 0 or self.declared == self.format.unknown or self.chunks:
            return True
        if self.format is RIFF and self.actual - self.declared >= WRAP:
            return True
        # Programs that write to a pipe declare about 2 or 4 GiB.
        return self.declared > self.actual and any(abs(self.declared - large) <= 4096 for large in (WRAP // 2, WRAP))


def find_samples(file: FileBytes, format: ChunkFormat, size: int) -> SampleBytes | None:
    """The samples of a file of `size` bytes; None if it has no chunk of them.

    Source: Microsoft, as above; RF64: EBU Tech 3306; Wave64: Sonic Foundry; AIFF: Apple, "Audio Interchange File Format
    1.3"; CAF: Apple, "Core Audio Format Specification 1.0".
    """
    at, wide = format.first, None
    for _ in range(_MOST):
        chunk = file.peek(at, 40)
        if len(chunk) < format.header:
            break
        length = format.size(chunk)
        if chunk.startswith(b"ds64") and len(chunk) >= 24 and format is RIFF:
            wide = struct.unpack_from("<Q", chunk, 16)[0]
        if chunk.startswith(format.data):
            declared = wide if wide is not None and length == 0xFFFFFFFF else length
            declared = 0 if declared >= _ABSURD else declared
            start = at + format.header
            samples = SampleBytes(format, start, declared, size - start)
            end = _chunks_behind(file, samples, size)
            return samples if end is None else SampleBytes(format, start, declared, end - start, chunks=True)
        if length < 0:
            break
        at += format.header + format.padded(length)
    return None


def present(file: FileBytes, samples: SampleBytes) -> None:
    """Change what the decoder sees of a file, so that it finds the end of the samples.

    FFmpeg searches for chunks after the declared samples, eight bytes at a time, through gigabytes if a file was
    allocated in advance or its length overflowed. So a file ends with its samples here. Where the header does not have
    their length, it gets it; a WAV gets 0xFFFFFFFF, which FFmpeg reads as "to the end of the file".
    """
    format, end = samples.format, samples.start + samples.actual
    if format is RIFF:
        file.end = end if samples.unusable else min(samples.start + samples.declared, end)
        if samples.unusable:
            file.patches = ((0, b"RIFF"), (samples.start - 4, b"\xff" * 4))
    elif samples.unusable:  # what describes the samples of an AIFF may stand behind them
        length = samples.actual + (format.header if format.inclusive else 0)
        most = (1 << 8 * format.length.size - (format is CAF)) - 1
        file.patches = ((samples.start - format.length.size, format.length.pack(min(length, most))),)


def packets_to_probe(file: FileBytes, samples: SampleBytes, size: int) -> int:
    """How many packets of `size` bytes FFmpeg looks through for compressed sound in a WAV.

    DTS, AC-3 or MP3 may be stored as if it were 16-bit samples. FFmpeg searches up to 32 packets for it, which takes as
    long as everything else does for 10 s of sound. Such sound is recognised by a few packets from its beginning, before
    which there may be silence: `_PROBED` packets from the first one that is not silent. A tag (ID3v2) at the beginning
    may hold a long picture: all packets are searched then.
    """
    if file.peek(samples.start, 3) == b"ID3":
        return _MOST_PROBED
    for number in range(_MOST_PROBED):
        content = file.peek(samples.start + number * size, size)
        if len(content) < size or content.strip(b"\0"):
            return min(number + _PROBED, _MOST_PROBED)
    return _MOST_PROBED


def _chunks_behind(file: FileBytes, samples: SampleBytes, size: int) -> int | None:
    """The byte where chunks begin that stand behind the samples; None if there are none before the declared end.

    A chunk counts if it and those behind it end with the file, or if its content is of the kind that its name says.
    """
    if not samples.unusable and samples.declared <= samples.actual:
        first = max(samples.start, min(samples.start + samples.declared, size) - _TAIL_USABLE)
        last = samples.start + samples.declared
    else:
        first, last = max(samples.start, size - _TAIL), size
    tail = file.peek(first, size - first)
    for at in _matches(tail, samples.format.others):
        if first + at >= last:
            return None
        if _reaches_end(tail, at, samples.format) or _is_signed(tail[at : at + 64]):
            return first + at
    if samples.unusable and samples.format.align != 8:  # chunks that nobody knows must reach the end of the file
        near = tail[-_TAIL_USABLE:]
        for at in _matches(near, _NAME):
            if _reaches_end(near, at, samples.format):
                return size - len(near) + at
    return None


def _matches(tail: bytes, names: re.Pattern[bytes]) -> Iterator[int]:
    at = 0
    for _ in range(_MOST_CANDIDATES):
        match = names.search(tail, at)
        if match is None:
            return
        yield match.start()
        at = match.start() + 1


def _reaches_end(tail: bytes, at: int, format: ChunkFormat) -> bool:
    """True if the chunks from `at` on are the rest of the file, but for filling."""
    width = format.header - format.length.size
    for _ in range(_LONGEST_CHAIN):
        if at + format.header > len(tail):
            return False
        if not format.is_name(tail[at : at + width]):
            return False
        length = format.size(tail[at : at + format.header])
        if length < 0:
            return False
        end = at + format.header + length
        if -1 <= len(tail) - end < format.align:  # the filling may be missing, or be counted
            return True
        at = at + format.header + format.padded(length)
    return False


def _is_signed(chunk: bytes) -> bool:
    """True if the content of a RIFF chunk is of the kind that its name says, whatever its length is."""
    name, content = chunk[:4], chunk[8:]
    return (
        (name == b"LIST" and content[:4] in (b"INFO", b"adtl"))
        or (name.lower() == b"id3 " and content[:3] == b"ID3")
        or (name in (b"iXML", b"axml", b"aXML") and content.startswith((b"<?xml", b"<BWFXML", b"<ebu")))
        or (name == b"_PMX" and content.startswith((b"<?xpacket", b"<x:xmpmeta")))
    )
