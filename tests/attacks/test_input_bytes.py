"""Hostile and broken files: each is read, in part at least, or refused with a reason; none hangs or opens another."""

from __future__ import annotations

import errno
import os
import socket
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from diarize.audio import chunks, containers, reading
from diarize.errors import AudioError
from tests import media
from tests.media import Film, Track

RATE = 16_000


def sound(seconds: float = 2.0, channels: int = 1, rate: int = RATE) -> media.Wave:
    return media.tone(media.noise(seconds, rate, channels), rate, 0.5, 1)


def good(path: Path) -> Path:
    return media.wav(path, media.pcm16(sound()), RATE)


def problem(path: Path) -> str:
    with pytest.raises(AudioError) as caught:
        reading.read(path, id="r")
    assert caught.value.path == str(path)
    return caught.value.problem


def test_fault_01_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.touch()
    assert problem(path) == "is empty (0 bytes)"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
def test_fault_04_a_file_of_the_system_that_calls_itself_empty_is_not_read() -> None:
    assert problem(Path("/proc/self/status")) == "is empty (0 bytes)"


def test_fault_11_a_row_of_comments_is_looked_through_once(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"<!---->" * 5000 + b"x")
    assert "is a text file" in problem(path)
    path.write_bytes(b"<!-- > -- -->" * 5000 + b"<MPD>")
    assert "playlist (dash)" in problem(path)


def test_fault_02_headers_without_sound(tmp_path: Path) -> None:
    assert "holds no sound" in problem(media.wav(tmp_path / "a.wav", np.zeros(0, np.int16), RATE))
    flac = media.write(tmp_path / "a.flac", "flac", Track(sound(), RATE, "flac"))
    content = flac.read_bytes()
    flac.write_bytes(content[: content.index(b"\xff\xf8")])  # everything before the first frame
    assert "holds no sound" in problem(flac)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"Minutes of the meeting\n" * 50, "a text file"),
        ("\ufeffProtokoll: Grüße\r\n".encode() * 50, "a text file"),
        ("\ufeffProtokoll".encode("utf-16-le") * 50, "a text file"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "an HTML page"),
        (b'{"error": "not found"}', "a JSON text"),
        (b"%PDF-1.7\n" + bytes(500), "a PDF document"),
        (b"PK\x03\x04" + bytes(500), "a ZIP archive"),
        (b"\x89PNG\r\n\x1a\n" + bytes(500), "a PNG picture"),
        (b"\xff\xd8\xff\xe0" + bytes(500), "a JPEG picture"),
        (b"\x7fELF" + bytes(500), "a program"),
        (b"MThd" + bytes(500), "a MIDI file"),
        (bytes(5000), "of a kind that is not supported"),
        (np.random.default_rng(0).bytes(5000), "of a kind that is not supported"),
    ],
)
def test_fault_03_other_things_called_wav(content: bytes, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "meeting.wav"
    path.write_bytes(content)
    assert kind in problem(path)


def test_fault_04_things_that_are_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert problem(tmp_path) == "is a folder, not a file"
    os.mkfifo(tmp_path / "pipe.wav")
    assert problem(tmp_path / "pipe.wav") == "is a named pipe, not a file"
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(tmp_path)  # the address of a socket may have 108 bytes
        listener.bind("socket.wav")
        assert problem(tmp_path / "socket.wav") == "is a socket, not a file"
    assert problem(Path("/dev/zero")) == "is a device, not a file"
    (tmp_path / "link.wav").symlink_to("/dev/zero")
    assert problem(tmp_path / "link.wav") == "is a device, not a file"


def test_fault_05_links(tmp_path: Path) -> None:
    (tmp_path / "dangling.wav").symlink_to(tmp_path / "gone.wav")
    assert "does not exist" in problem(tmp_path / "dangling.wav")
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    assert "leads back to itself" in problem(tmp_path / "loop.wav")
    good(tmp_path / "real.wav")
    (tmp_path / "fine.wav").symlink_to(tmp_path / "real.wav")
    assert reading.read(tmp_path / "fine.wav", id="r").audios[0].duration == 2
    assert "not a possible file name" in problem(Path("a\0b.wav"))
    assert "name too long" in problem(tmp_path / ("a" * 300)).lower()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = good(tmp_path / "a.wav")
    path.chmod(0)
    assert problem(path) == "may not be read"


@pytest.mark.parametrize("declared", [0xFFFFFFFF, 0])
def test_fault_08_a_header_that_does_not_know_the_length(declared: int, tmp_path: Path) -> None:
    path = media.wav(tmp_path / "a.wav", media.pcm16(sound()), RATE, declared=declared)
    recording = reading.read(path, id="r")
    assert recording.audios[0].duration == 2
    assert recording.audios[0].lost == ()
    assert any("read to the end of the file" in note for note in recording.source.notes)


def test_chunks_behind_the_samples_are_no_sound(tmp_path: Path) -> None:
    trailer = b"LIST" + struct.pack("<I", 4000) + b"\x7f" * 4000
    path = media.wav(tmp_path / "a.wav", media.pcm16(sound()), RATE, trailer=trailer)
    assert reading.read(path, id="r").audios[0].duration == 2


def test_fault_09_rf64_and_w64(tmp_path: Path) -> None:
    track = Track(sound(), RATE, "pcm_s16le")
    rf64 = media.write(tmp_path / "a.wav", "wav", track, options={"rf64": "always"})
    assert rf64.read_bytes()[:4] == b"RF64"
    for path in (rf64, media.write(tmp_path / "a.w64", "w64", track)):
        recording = reading.read(path, id="r")
        assert recording.audios[0].duration == 2
        assert recording.source.notes == ()


def test_fault_09_a_length_of_32_bits_that_wrapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a WAV of more than 4 GiB, with a limit of 32 KiB: the header keeps what is left after the last wrap."""
    monkeypatch.setattr(chunks, "WRAP", 1 << 15)
    samples = media.pcm16(sound())
    path = media.wav(tmp_path / "a.wav", samples, RATE, declared=samples.nbytes % (1 << 15))
    recording = reading.read(path, id="r")
    assert recording.audios[0].duration == 2
    assert media.tone_span(recording.audios[0]) == pytest.approx((0.5, 1), abs=0.006)
    assert any("read to the end of the file" in note for note in recording.source.notes)


def test_fault_09_only_a_whole_wrap_is_one() -> None:
    assert chunks.SampleBytes(chunks.RIFF, start=44, declared=1000, actual=1000 + (1 << 32)).unusable
    assert not chunks.SampleBytes(chunks.RIFF, start=44, declared=1000, actual=1 << 32).unusable


@pytest.mark.parametrize("where", ["behind the samples", "instead of them"])
def test_gigabytes_of_zeros_in_a_wav_cost_nothing(where: str, tmp_path: Path) -> None:
    """Recorders allocate in advance; FFmpeg alone would look for chunks in there, eight bytes at a time."""
    path = good(tmp_path / "a.wav")
    if where == "instead of them":
        path.write_bytes(path.read_bytes()[:36] + bytes(100))
    with path.open("r+b") as file:
        file.truncate(200 << 20)
    if where == "instead of them":
        assert "holds no sound" in problem(path)
    else:
        assert reading.read(path, id="r").audios[0].duration == 2


def test_fault_10_a_wrong_extension(tmp_path: Path) -> None:
    path = media.write(tmp_path / "a.mp3", "mp3", Track(sound(), RATE, "libmp3lame", bit_rate=64_000))
    wrong = path.rename(tmp_path / "a.wav")
    assert reading.read(wrong, id="r").source.container == "mp3"


@pytest.mark.parametrize("suffix", ["wav", "mp3", "m3u8", "txt"])
@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ("ffconcat version 1.0\nfile '{}'\n", "ffconcat"),
        ("# a comment\nfile '{}'\n", "text"),
        ("file '{}'\n", "list of files"),
        ("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n", "m3u8"),
        ("\ufeff\n#EXTM3U\n{}\n", "m3u8"),
        ("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=audio 5004 RTP/AVP 0\r\na=x:{}\r\n", "sdp"),
        ('<?xml version="1.0"?>\n<MPD type="static"><BaseURL>{}</BaseURL></MPD>', "dash"),
        ('<?xml version="1.0"?><!-- x --><playlist><location>{}</location></playlist>', "xspf"),
        ("[playlist]\nFile1={}\n", "pls"),
    ],
)
def test_fault_11_playlists_open_nothing(content: str, kind: str, suffix: str, tmp_path: Path) -> None:
    target = good(tmp_path / "secret.wav")
    path = tmp_path / f"meeting.{suffix}"
    path.write_text(content.format(target), encoding="utf-8")
    said = problem(path)
    assert kind in said
    assert kind == "text" or "is a playlist" in said


def test_fault_11_no_demuxer_of_playlists_or_devices_is_allowed() -> None:
    forbidden = {"concat", "hls", "dash", "sdp", "rtsp", "rtp", "sap", "imf", "lavfi", "alsa", "fbdev", "tedcaptions"}
    forbidden |= {"image2", "webm_dash_manifest", "ffmetadata", "mpegvideo", "rawvideo", "data", "s16le", "applehttp"}
    assert not forbidden & set(containers.DEMUXERS)


def test_fault_11_a_list_behind_a_healthy_beginning_reaches_no_demuxer(tmp_path: Path) -> None:
    """What the first look does not know is still kept out by FFmpeg's own list of allowed demuxers."""
    path = tmp_path / "a.wav"
    path.write_bytes(b"\0ffconcat version 1.0\n")
    for demuxer in ("concat", "hls", "lavfi", "image2"):
        with pytest.raises((av.FFmpegError, ValueError)), path.open("rb", buffering=0) as file:
            bytes_ = containers.FileBytes(file)
            av.open(bytes_, format=demuxer, options={"format_whitelist": ",".join(containers.DEMUXERS)})


def test_fault_12_films(tmp_path: Path) -> None:
    film = media.write(tmp_path / "a.mkv", "matroska", Film(2), Track(sound(), RATE, "aac", bit_rate=64_000))
    recording = reading.read(film, id="r")
    assert media.tone_span(recording.audios[0]) == pytest.approx((0.5, 1), abs=0.03)
    assert recording.source.stream == 1
    assert problem(media.write(tmp_path / "b.mkv", "matroska", Film(2))) == "has a picture but no sound"


def test_a_track_is_chosen_by_its_number(tmp_path: Path) -> None:
    first = Track(np.zeros((1, 2 * RATE)), RATE, "flac", default=True)
    tones = [Track(sound(), RATE, "flac", default=False), Track(media.noise(2, RATE), RATE, "flac", default=False)]
    path = media.write(tmp_path / "a.mkv", "matroska", Film(2), first, *tones)
    silent = reading.read(path, id="r")
    assert not silent.audios[0].samples.any()
    note = "track 0 is silent; the recording has other tracks (1, 2): choose one with --track"
    assert note in silent.source.notes
    second = reading.read(path, id="r", track=1)
    assert media.tone_span(second.audios[0]) == pytest.approx((0.5, 1), abs=0.03)
    assert second.source.notes == () and second.source.stream == 2
    assert media.tone_span(reading.read(path, id="r", track=2).audios[0]) is None
    lines = [reading.read(path, id="r", track=track).audios[0].line for track in (None, 0, 1, 2)]
    assert lines == ["", "", "track 1", "track 2"]
    with pytest.raises(AudioError, match="has no audio track 3: it has 3 audio tracks, numbered from 0"):
        reading.read(path, id="r", track=3)
    assert reading.read(good(tmp_path / "a.wav"), id="r", track=0).source.notes == ()


def test_fault_13_the_stream_is_chosen_by_rule(tmp_path: Path) -> None:
    def track(level: float, channels: int, default: bool) -> Track:
        return Track(media.noise(1, RATE, channels, level=level), RATE, "flac", default=default)

    marked = media.write(tmp_path / "a.mkv", "matroska", track(0.1, 2, False), track(0.2, 1, True))
    recording = reading.read(marked, id="r")
    assert (recording.source.stream, recording.source.streams) == (1, 2)
    assert media.level(recording.audios[0].samples) == pytest.approx(0.2, rel=0.05)
    assert any("2 audio tracks: track 1" in note for note in recording.source.notes)
    unmarked = media.write(
        tmp_path / "b.mkv", "matroska", track(0.1, 1, False), track(0.2, 2, False), track(0.3, 2, False)
    )
    assert reading.read(unmarked, id="r").source.stream == 1


def test_fault_16_protected_recordings(tmp_path: Path) -> None:
    rate = 44_100
    key = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb"}
    key["encryption_kid"] = "a7e61c373e219033c21091fa607bf3b8"
    track = Track(sound(rate=rate), rate, "aac", bit_rate=96_000)
    assert "encrypted (DRM)" in problem(media.write(tmp_path / "a.mp4", "mp4", track, options=key))
    shop = media.write(tmp_path / "b.m4a", "ipod", track)
    content = shop.read_bytes()
    at = content.index(b"mp4a", content.index(b"stsd"))
    shop.write_bytes(content[:at] + b"drms" + content[at + 4 :])
    assert "protected by DRM" in problem(shop)
    for magic, kind in ((b"\x03ds2", "DS2"), (b"\x03enc", "encrypted DS2"), (b"\0\0\0\x18ftypaax ", "Audible")):
        (tmp_path / "c").write_bytes(magic + bytes(2000))
        assert kind in problem(tmp_path / "c")


def test_fault_17_pictures_chapters_and_hostile_titles(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    nasty = "\x1b[2J=cmd()<script>\u202e" + "x" * 10_000
    path = media.write(
        tmp_path / "a.mp3",
        "mp3",
        Track(sound(), RATE, "libmp3lame", bit_rate=64_000),
        metadata={
            "title": nasty,
            "artist": "../../etc/passwd",
            "comment": "\udcff".encode("utf-8", "replace").decode(),
        },
    )
    content = path.read_bytes()
    assert content[:3] == b"ID3"
    # A cover, as ID3v2.4 holds it, and a title that is no UTF-8.
    png = b"\x89PNG\r\n\x1a\n" + bytes(2000)
    frames = b"".join(
        name + struct.pack(">BBBBH", 0, 0, len(body) >> 7, len(body) & 127, 0) + body
        for name, body in ((b"APIC", b"\0image/png\0\x03\0" + png), (b"TIT2", b"\x03\xff\xfe\xfd"))
    )
    size = len(frames)
    tag = b"ID3\x04\0\0" + bytes([0, 0, size >> 7, size & 127])
    path.write_bytes(tag + frames + content[containers.id3_length(content) :])
    recording = reading.read(path, id="r")
    assert media.tone_span(recording.audios[0]) == pytest.approx((0.5, 1), abs=0.02)
    assert "x" * 100 not in repr(recording.source)
    assert capfd.readouterr() == ("", "")


class Restless(containers.FileBytes):
    """Does something to the file when a fair part of it has been read."""

    act: Callable[[], None]

    def read(self, size: int) -> bytes:
        if self.tell() > 100_000:
            type(self).act()
        return super().read(size)


@pytest.mark.parametrize("how", ["grows", "replaced", "rewritten", "deleted"])
def test_fault_18_a_file_that_changes_while_it_is_read(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = media.wav(tmp_path / "a.wav", media.pcm16(sound(30)), RATE)
    other = media.wav(tmp_path / "other", media.pcm16(sound(29)), RATE)

    def act() -> None:
        if how == "grows":
            with path.open("ab") as file:
                file.write(b"more")
        elif how == "replaced" and other.exists():
            other.replace(path)
        elif how == "rewritten":
            with path.open("r+b") as file:
                file.seek(500_000)
                file.write(b"other")
        elif how == "deleted":
            path.unlink(missing_ok=True)

    monkeypatch.setattr(Restless, "act", staticmethod(act), raising=False)
    monkeypatch.setattr(reading, "FileBytes", Restless)
    assert problem(path) == "changed while it was read"


def test_fault_18_touching_a_file_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = media.wav(tmp_path / "a.wav", media.pcm16(sound(30)), RATE)
    monkeypatch.setattr(Restless, "act", staticmethod(lambda: os.utime(path, (1, 1))), raising=False)
    monkeypatch.setattr(reading, "FileBytes", Restless)
    assert reading.read(path, id="r").audios[0].duration == 30


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3"])
def test_fault_19_a_disk_that_fails_midway(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    codec = {"wav": "pcm_s16le", "flac": "flac", "mp3": "libmp3lame"}[suffix]
    path = media.write(tmp_path / f"a.{suffix}", suffix, Track(sound(60), RATE, codec, bit_rate=64_000))

    def fail() -> None:
        raise OSError(errno.EIO, "Input/output error")

    class Failing:
        """A file on a dying disk, as the reader of bytes sees it."""

        def __init__(self, file: object) -> None:
            self._file = file

        def read(self, size: int = -1) -> bytes:
            if self.tell() > 100_000:
                fail()
            return self._file.read(size)  # type: ignore[attr-defined,no-any-return]

        def seek(self, offset: int, whence: int = 0) -> int:
            return self._file.seek(offset, whence)  # type: ignore[attr-defined,no-any-return]

        def tell(self) -> int:
            return self._file.tell()  # type: ignore[attr-defined,no-any-return]

    monkeypatch.setattr(reading, "FileBytes", lambda file: containers.FileBytes(Failing(file)))  # type: ignore[arg-type]
    with pytest.raises(AudioError, match=r"Input/output error.*disk or the network failed"):
        reading.read(path, id="r")
    assert capfd.readouterr() == ("", "")


def test_a_small_file_cannot_ask_for_much(tmp_path: Path) -> None:
    """Headers that promise years of sound, absurd rates or thousands of channels cost neither memory nor time."""
    flac = media.write(tmp_path / "a.flac", "flac", Track(sound(), RATE, "flac"))
    content = bytearray(flac.read_bytes())
    content[21] |= 0x0F  # STREAMINFO: 2**36 samples, 50 days at 16 kHz
    content[22:26] = b"\xff" * 4
    flac.write_bytes(content)
    tracemalloc.start()
    recording = reading.read(flac, id="r")
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
    assert recording.audios[0].duration == 2
    fast = media.wav(tmp_path / "b.wav", np.zeros(1000, np.int16), 2**31 - 1)
    assert "sample rate" in problem(fast)
    wide = media.wav(tmp_path / "c.wav", np.zeros((100, 300), np.int16), RATE)
    assert "300 channels" in problem(wide)
