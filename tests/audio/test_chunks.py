"""Chunks behind the samples are no sound, whatever the sizes in the header are."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diarize.audio import chunks, reading
from diarize.audio.containers import FileBytes
from diarize.errors import AudioError
from tests import media
from tests.media import Track

RATE = 16_000
SOUND = media.tone(media.noise(3, RATE), RATE, 1, 2)
PCM = media.pcm16(SOUND)
GUID = b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"


def riff(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


IXML = riff(b"iXML", b'<?xml version="1.0"?><BWFXML>' + b"x" * 60_001 + b"</BWFXML>")
LIST = riff(b"LIST", b"INFO" + riff(b"ISFT", b"recorder"))
BEXT = riff(b"bext", bytes(602))
PICTURE = riff(b"id3 ", b"ID3\4\0\0\0\0\7\x76" + np.random.default_rng(1).bytes(300_000))
OWN = riff(b"Qx7 ", b"\x7f" * 5000)


def read(path: Path) -> tuple[reading.Recording, Any]:
    recording = reading.read(path, id="r")
    return recording, recording.audios[0]


def check(path: Path) -> None:
    """Three seconds with the tone in its place, and a note on the header."""
    recording, audio = read(path)
    assert audio.duration == 3 and audio.lost == ()
    assert media.tone_span(audio) == pytest.approx((1, 2), abs=0.006)
    assert any("header does not" in note for note in recording.source.notes)


SIZES = {
    "0": 0, "unknown": 0xFFFFFFFF, "of a pipe": 0x80000000, "of another pipe": 0x7FFFFFFF, "much too large": 10**8,
    "a little too large": PCM.nbytes + 100,
}  # fmt: skip


@pytest.mark.parametrize("declared", SIZES)
@pytest.mark.parametrize("trailer", [IXML, LIST + IXML, BEXT + OWN, PICTURE, OWN], ids=range(5))
def test_chunks_behind_the_samples_of_a_wav(declared: str, trailer: bytes, tmp_path: Path) -> None:
    if declared in ("much too large", "a little too large") and trailer == OWN:
        return  # a chunk that nobody knows counts only where the header has no length
    check(media.wav(tmp_path / "a.wav", PCM, RATE, declared=SIZES[declared], trailer=trailer))


def test_a_length_that_includes_the_chunks(tmp_path: Path) -> None:
    check(media.wav(tmp_path / "a.wav", PCM, RATE, declared=PCM.nbytes + len(LIST + IXML), trailer=LIST + IXML))


@pytest.mark.parametrize("trailer", [IXML[:-1], LIST[:-1], IXML[:-500], b"LIST\0\0\0\0" + LIST[8:]], ids=range(4))
def test_chunks_that_are_cut_off_or_have_a_wrong_length_too(trailer: bytes, tmp_path: Path) -> None:
    check(media.wav(tmp_path / "a.wav", PCM, RATE, declared=0, trailer=trailer))


def test_samples_of_other_kinds(tmp_path: Path) -> None:
    check(media.wav(tmp_path / "a.wav", SOUND.T.astype("<f4"), RATE, format=3, declared=0, trailer=IXML))
    two = media.wav(tmp_path / "b.wav", np.repeat(PCM, 2, axis=1), RATE, declared=0, trailer=LIST)
    check(two)


def test_a_header_and_chunks_without_samples_hold_no_sound(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="holds no sound"):
        read(media.wav(tmp_path / "a.wav", PCM[:0], RATE, declared=0, trailer=LIST + IXML))


def test_a_length_that_is_right_stays(tmp_path: Path) -> None:
    recording, audio = read(media.wav(tmp_path / "a.wav", PCM, RATE, trailer=LIST + OWN + IXML))
    assert audio.duration == 3 and recording.source.notes == ()


def test_a_file_that_was_cut_off_is_still_said_to_be(tmp_path: Path) -> None:
    _, audio = read(media.wav(tmp_path / "a.wav", PCM, RATE, declared=2 * PCM.nbytes))
    assert [(span.start, span.end) for span in audio.lost] == [(3, 6)]


def patched(content: bytes, name: bytes, width: int, size: bytes, trailer: bytes) -> bytes:
    """A file with another size in the chunk `name`, and a trailer."""
    at = content.index(name) + width
    return content[:at] + size + content[at + len(size) :] + trailer


@pytest.mark.parametrize("declared", [0, (1 << 64) - 1, 1 << 40, PCM.nbytes + 400])
def test_rf64(declared: int, tmp_path: Path) -> None:
    path = media.write(tmp_path / "a.wav", "wav", Track(SOUND, RATE, "pcm_s16le"), options={"rf64": "always"})
    path.write_bytes(patched(path.read_bytes(), b"ds64", 16, struct.pack("<Q", declared), BEXT))
    check(path)


@pytest.mark.parametrize("declared", [0, 24, (1 << 64) - 1, 1 << 40, PCM.nbytes + 24 + 632])
def test_w64(declared: int, tmp_path: Path) -> None:
    path = media.write(tmp_path / "a.w64", "w64", Track(SOUND, RATE, "pcm_s16le"))
    trailer = b"bext" + GUID + struct.pack("<Q", 24 + 602) + bytes(608)
    path.write_bytes(patched(path.read_bytes(), b"data" + GUID, 16, struct.pack("<Q", declared), trailer))
    check(path)


@pytest.mark.parametrize("declared", [0, 0xFFFFFFFF, 0x7FFFFFFF, PCM.nbytes + 8 + 300])
def test_aiff(declared: int, tmp_path: Path) -> None:
    path = media.write(tmp_path / "a.aiff", "aiff", Track(SOUND, RATE, "pcm_s16be"))
    trailer = b"ANNO" + struct.pack(">I", 500) + b"a" * 500 + b"ID3 " + struct.pack(">I", 300) + b"ID3" + bytes(297)
    path.write_bytes(patched(path.read_bytes(), b"SSND", 4, struct.pack(">I", declared), trailer))
    check(path)


@pytest.mark.parametrize("declared", [0, -1, 1 << 40, PCM.nbytes + 4 + 100])
def test_caf(declared: int, tmp_path: Path) -> None:
    path = media.write(tmp_path / "a.caf", "caf", Track(SOUND, RATE, "pcm_s16le"))
    trailer = b"info" + struct.pack(">qI", 200, 1) + bytes(196)
    path.write_bytes(patched(path.read_bytes(), b"data", 4, struct.pack(">q", declared), trailer))
    check(path)


def seeds(folder: Path) -> list[bytes]:
    tracks: list[tuple[str, str, dict[str, str]]] = [
        ("wav", "pcm_s16le", {}), ("wav", "pcm_s16le", {"rf64": "always"}), ("w64", "pcm_s16le", {}),
        ("aiff", "pcm_s16be", {}), ("caf", "pcm_s16le", {}),
    ]  # fmt: skip
    wave = media.noise(0.1, 8_000)
    return [
        media.write(folder / f"seed.{container}", container, Track(wave, 8_000, codec), options=options).read_bytes()
        for container, codec, options in tracks
    ]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    return seeds(tmp_path_factory.mktemp("seeds"))


NUMBERS = st.sampled_from([0, 1, 7, 8, 24, 1 << 31, (1 << 32) - 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
PACKINGS: list[Callable[[int], bytes]] = [
    lambda n: struct.pack("<I", n & 0xFFFFFFFF),
    lambda n: struct.pack(">I", n & 0xFFFFFFFF),
    lambda n: struct.pack("<Q", n),
    lambda n: struct.pack(">Q", n),
]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    which=st.integers(0, 4),
    edits=st.lists(st.tuples(st.integers(0, 160), NUMBERS, st.sampled_from(PACKINGS)), max_size=4),
    trailer=st.sampled_from([b"", LIST, BEXT + LIST, b"data\0\0\0\0", b"LIST", b"bext" + GUID, OWN]),
    end=st.one_of(st.none(), st.integers(1, 400)),
)
def test_any_sizes_are_read_or_refused(
    healthy: list[bytes],
    which: int,
    edits: list[tuple[int, int, Callable[[int], bytes]]],
    trailer: bytes,
    end: int | None,
    tmp_path: Path,
) -> None:
    content = bytearray(healthy[which] + trailer)
    for at, number, pack in edits:
        new = pack(number)
        content[at : at + len(new)] = new
    path = tmp_path / "a"
    path.write_bytes(content if end is None else content[:end])
    try:
        _, audio = read(path)
    except AudioError as error:
        assert not error.problem.startswith("breaks the decoder"), error.problem
        return
    assert audio.duration > 0 and np.isfinite(audio.samples).all()


@pytest.mark.parametrize(("codec", "silence"), [("ac3", 0), ("mp2", 0), ("mp2", 30_000), ("mp2", 350_000)])
def test_compressed_sound_in_place_of_samples(codec: str, silence: int, tmp_path: Path) -> None:
    """As on a CD with AC-3, also where silence comes before it (bytes)."""
    sound = media.tone(media.noise(6, 48_000, 2), 48_000, 1, 2)
    stored = media.write(tmp_path / f"a.{codec}", codec, Track(sound, 48_000, codec, 256_000)).read_bytes()
    content = np.frombuffer(bytes(silence) + stored + bytes(-len(stored) % 4), "<i2").reshape(-1, 2)
    recording, audio = read(media.wav(tmp_path / "a.wav", content, 48_000))
    assert recording.source.codec == codec
    start, end = media.tone_span(audio) or (0, 0)
    assert end - start == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("codec", ["ac3", "mp2"])
def test_compressed_sound_behind_a_tag_with_a_picture(codec: str, tmp_path: Path) -> None:
    """As an MP3 with its cover, stored as the samples of a WAV."""
    sound = media.tone(media.noise(6, 48_000, 2), 48_000, 1, 2)
    stored = media.write(tmp_path / f"a.{codec}", codec, Track(sound, 48_000, codec, 256_000)).read_bytes()
    length = 200_000
    tag = b"ID3\4\0\0" + bytes(length >> shift & 0x7F for shift in (21, 14, 7, 0))
    stored = tag + np.random.default_rng(1).bytes(length) + stored
    content = np.frombuffer(stored + bytes(-len(stored) % 4), "<i2").reshape(-1, 2)
    recording, audio = read(media.wav(tmp_path / "a.wav", content, 48_000))
    assert recording.source.codec == codec
    start, end = media.tone_span(audio) or (0, 0)
    assert end - start == pytest.approx(1, abs=0.02)


def test_silence_is_not_searched_for_compressed_sound_for_ever(tmp_path: Path) -> None:
    counts = []
    for silent in (0, 1, 3, 100):
        path = tmp_path / f"{silent}.wav"
        media.wav(path, np.concatenate([np.zeros(silent * 16_384, np.int16), np.ones(40_000, np.int16)]), RATE)
        with path.open("rb", buffering=0) as file:
            bytes_ = FileBytes(file)
            samples = chunks.find_samples(bytes_, chunks.RIFF, path.stat().st_size)
            assert samples is not None
            counts.append(chunks.packets_to_probe(bytes_, samples, 32_768))
    assert counts == [2, 3, 5, 32]
