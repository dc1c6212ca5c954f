"""Recognises files by their content, and opens containers of a fixed list (docs/method/decoding.md).

A text file called `meeting.wav` can hold a playlist that makes a decoder open other files. So the first bytes are
checked before any decoder reads them, only demuxers of `DEMUXERS` are allowed, and the decoder gets one open file
object: it has no name to resolve, and no protocol with which to open a second one.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

from diarize.errors import AudioError

HEAD = 64 << 10  # bytes at the start of a file that are checked
_STRIDE = 1 << 20  # bytes read at a time while something is looked for
_BUFFER = 256 << 10  # bytes per read of the decoder

# FFmpeg's names of containers that hold recorded sound. Left out on purpose: playlists and lists of files (concat,
# hls, dash, sdp, imf), networks and capture devices, pictures, subtitles, formats of games, and bare PCM, which any
# bytes could be.
DEMUXERS: tuple[str, ...] = (
    "aac", "ac3", "aiff", "amr", "ape", "asf", "au", "avi", "caf", "dsf", "dss", "dts", "dtshd", "dv", "eac3", "flac",
    "flv", "gsm", "iff", "ircam", "live_flv", "loas", "matroska", "webm", "mov", "mp4", "m4a", "3gp", "3g2", "mj2",
    "mp3", "mpc", "mpc8", "mpeg", "mpegts", "mxf", "nistsphere", "nut", "ogg", "oma", "qcp", "rm", "shn", "sox", "tak",
    "truehd", "tta", "voc", "w64", "wav", "wtv", "wv", "xwma",
)  # fmt: skip

# Streams of bare frames: no times of their own, and a duration that FFmpeg can only guess from the bit rate.
BARE = frozenset(("aac", "ac3", "amr", "dts", "eac3", "gsm", "loas", "mp3", "truehd"))

# Text before the first element of an XML file. A comment must end at its first "-->": otherwise a series of comments
# could be read in exponentially many ways, and the match would not end.
_MARKUP = rb"(?:<\?xml[^>]*>\s*)?(?:<!--(?:(?!-->).)*-->\s*)*"

_PLAYLISTS: tuple[tuple[bytes, str], ...] = (
    (rb"ffconcat version", "ffconcat"),
    (rb"#EXTM3U", "m3u8"),
    (rb"v=0\r?\n(?:[a-z]=[^\n]*\n)*m=", "sdp"),
    (rb"v=0\r?\no=", "sdp"),
    (rb"\[playlist\]", "pls"),
    (_MARKUP + rb"<MPD[\s>]", "dash"),
    (_MARKUP + rb"<playlist[\s>]", "xspf"),
    (rb"(?:<\?xml[^>]*>\s*)?<(?:asx|smil|SmoothStreamingMedia)[\s>]", "xml"),
    (rb"\[Reference\]|file '[^\n]*'\s*\n", "list of files"),
)
_PROTECTED: tuple[tuple[bytes, str], ...] = (
    (rb"\x03ds2", "a DS2 dictation file (DSS Pro), which no free decoder reads"),
    (rb"\x03enc", "an encrypted DS2 dictation file"),
    (rb"....ftyp(?:aax|aaxc)", "an Audible file protected by DRM"),
    (rb"....\x57\x90\x75\x36", "an Audible file protected by DRM"),
    # ASF (Microsoft, "Advanced Systems Format Specification", 10.1): content encryption objects, plain and extended
    (rb"\x30\x26\xb2\x75.*\xfb\xb3\x11\x22\x23\xbd\xd2\x11", "a Windows Media file protected by DRM"),
    (rb"\x30\x26\xb2\x75.*\x14\xe6\x8a\x29\x22\x26\x17\x4c", "a Windows Media file protected by DRM"),
)
_OTHERS: tuple[tuple[bytes, str], ...] = (
    (rb"%PDF-", "a PDF document"),
    (rb"PK\x03\x04", "a ZIP archive or an office document"),
    (rb"\x1f\x8b", "a gzip archive"),
    (rb"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (rb"Rar!\x1a\x07", "a RAR archive"),
    (rb"\x89PNG\r\n", "a PNG picture"),
    (rb"\xff\xd8\xff", "a JPEG picture"),
    (rb"GIF8[79]a", "a GIF picture"),
    (rb"\x7fELF|MZ", "a program"),
    (rb"SQLite format 3", "a database"),
    (rb"\xd0\xcf\x11\xe0", "an old office document"),
    (rb"MThd", "a MIDI file, which holds notes and no sound"),
)
_TEXT: tuple[tuple[str, str], ...] = (
    (r"\s*(?:<!doctype html|<html)", "an HTML page"),
    (r"\s*<\?xml|\s*<[a-zA-Z]", "an XML text"),
    (r"\s*[\[{]", "a JSON text"),
)
_TEXT_HEADERS = (b"NIST_1A", b"#!AMR", b"#!SILK")  # sound whose header is readable text


def refuse(path: str, head: bytes) -> None:
    """Raises AudioError, with the kind of the file, if its first bytes show that it is not a recording."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    for pattern, kind in _PLAYLISTS:
        if re.match(pattern, start, re.DOTALL):
            raise AudioError(path, f"is a playlist ({kind}), not a recording", "Pass the recordings that it names.")
    for pattern, kind in _PROTECTED:
        if re.match(pattern, head, re.DOTALL):
            raise AudioError(path, f"is {kind}", "Export it as WAV or MP3 with the program that made it.")
    other = next((kind for pattern, kind in _OTHERS if re.match(pattern, head)), None) or _text(head)
    if other is not None:
        raise AudioError(path, f"is {other}, not a recording")


def _text(head: bytes) -> str | None:
    """The kind of text that `head` is; None if it is not text."""
    head = head[:4096]
    if not head or head.startswith(_TEXT_HEADERS):
        return None
    encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    # The last character may be incomplete.
    text = head[: len(head) & ~1].decode(encoding, "replace").rstrip("\ufffd")
    if "\ufffd" in text or any(c < " " and c not in "\t\r\n\f\x1b" for c in text):
        return None
    return next((kind for pattern, kind in _TEXT if re.match(pattern, text, re.IGNORECASE)), "a text file")


def unreadable(head: bytes) -> tuple[str, str]:
    """(problem, cure) of a file that no allowed demuxer could open."""
    if head[4:8] == b"ftyp":
        return "has no index (moov): the recording was cut off or never closed", "Repair it where it was recorded."
    return "is damaged, or of a kind that is not supported", ""


def mp3_seconds(head: bytes, rate: int) -> float | None:
    """Seconds that the Xing, Info or VBRI header of an MP3 declares; None without such a header.

    Source: G. Bouvigne, "MP3 Tech: VBR headers". The count of frames follows the flags (bit 0: it is there).
    """
    samples = 1152 if rate >= 32_000 else 576  # MPEG-1; MPEG-2 and 2.5 halve it (ISO/IEC 13818-3)
    for name in (b"Xing", b"Info"):
        at = head.find(name)
        if 0 <= at <= len(head) - 12 and head[at + 7] & 1:
            return float(struct.unpack_from(">I", head, at + 8)[0]) * samples / rate
    at = head.find(b"VBRI")
    if 0 <= at <= len(head) - 18:
        return float(struct.unpack_from(">I", head, at + 14)[0]) * samples / rate
    return None


def id3_length(head: bytes) -> int:
    """Bytes of an ID3v2 tag at the start of a file, 0 without one (id3.org, ID3v2.4 structure, section 3.1)."""
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    return 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))


def ogg_ends(tail: bytes) -> bool:
    """True if the last Ogg page in `tail` is marked as the end of its stream (RFC 3533, section 6: flag 0x04)."""
    at = tail.rfind(b"OggS")
    return 0 <= at < len(tail) - 5 and bool(tail[at + 5] & 0x04)


def ogg_is_whole(file: FileBytes, size: int) -> bool:
    """True if an Ogg file of `size` bytes has all its pages, one behind the other, from the first to the last."""
    at, numbers = 0, dict[bytes, int]()
    while at < size:
        page = file.peek(at, 27 + 255)  # RFC 3533, section 6: 27 bytes, then the lengths of up to 255 segments
        if len(page) < 27 or page[:4] != b"OggS":
            return False
        serial, number = page[14:18], int.from_bytes(page[18:22], "little")
        if numbers.get(serial, number - 1) + 1 != number:
            return False
        numbers[serial] = number
        at += 27 + page[26] + sum(page[27 : 27 + page[26]])
    return at == size


def open_container(file: FileBytes, options: Mapping[str, str]) -> Any:
    """A PyAV container that reads from `file` alone. Raises what PyAV raises if the bytes are of no known kind."""
    import av

    return av.open(
        file,
        mode="r",
        options={"format_whitelist": ",".join(DEMUXERS), "protocol_whitelist": "none", **options},
        metadata_errors="replace",  # titles and comments are hostile data, and are not used
        buffer_size=_BUFFER,
    )


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


def check_memory(error: Exception) -> None:
    """Raises MemoryError if this process has no memory left. FFmpeg uses that name for absurd lengths as well."""
    import av

    if isinstance(error, MemoryError) and not isinstance(error, av.FFmpegError):
        raise error


@contextmanager
def open_regular(path: Path) -> Iterator[FileIO]:
    """A regular file, open for reading; anything that could block or never end is refused before it is opened."""
    try:
        mode = path.stat().st_mode
    except ValueError as error:  # a null byte in the name
        raise AudioError(str(path), "is not a possible file name") from error
    if not stat.S_ISREG(mode):
        raise AudioError(str(path), f"is {_kind(mode)}, not a file")
    # The file may be swapped for a FIFO in this moment: do not wait for its writer.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    with FileIO(os.open(path, flags)) as file:
        if not stat.S_ISREG(mode := os.fstat(file.fileno()).st_mode):
            raise AudioError(str(path), f"is {_kind(mode)}, not a file")
        yield file


def _kind(mode: int) -> str:
    return {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }.get(stat.S_IFMT(mode), "something special")
