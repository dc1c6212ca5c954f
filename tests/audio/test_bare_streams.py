"""Bare streams of frames: samples are counted, whatever stamps FFmpeg makes up for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from diarize.audio import reading
from diarize.audio.packets import frame_seconds
from tests import media
from tests.media import Track

PLAIN = {"write_xing": "0", "id3v2_version": "0"}
KINDS = {
    "aac": ("adts", "aac", {}),
    "mp3": ("mp3", "libmp3lame", PLAIN),
    "mp3 with tags": ("mp3", "libmp3lame", {}),
    "ac3": ("ac3", "ac3", {}),
}


def part(folder: Path, kind: str, rate: int, channels: int) -> bytes:
    """Six seconds with a tone from 4 to 5 s."""
    container, codec, options = KINDS[kind]
    wave = media.tone(media.noise(6, rate, channels), rate, 4, 5)
    return media.write(folder / "part", container, Track(wave, rate, codec, 64_000), options=options).read_bytes()


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("aac", [(44_100, 1), (22_050, 1)]),
        ("aac", [(44_100, 1), (48_000, 1)]),
        ("aac", [(22_050, 1), (44_100, 2)]),
        ("aac", [(44_100, 2), (44_100, 1)]),
        ("aac", [(16_000, 1), (48_000, 2), (16_000, 1)]),
        ("mp3", [(44_100, 1), (22_050, 1)]),
        ("mp3", [(22_050, 1), (44_100, 2)]),
        ("mp3", [(48_000, 2), (44_100, 1)]),
        ("mp3 with tags", [(44_100, 1), (48_000, 2)]),
        ("ac3", [(48_000, 2), (44_100, 1)]),
        ("ac3", [(44_100, 1), (48_000, 2)]),
    ],
)
def test_fault_15_rates_and_channels_that_change_in_a_bare_stream(
    kind: str, parts: list[tuple[int, int]], tmp_path: Path
) -> None:
    path = tmp_path / "joined"
    path.write_bytes(b"".join(part(tmp_path, kind, rate, channels) for rate, channels in parts))
    recording = reading.read(path, id="r")
    (audio,) = recording.audios
    assert audio.duration == pytest.approx(6 * len(parts), abs=0.09 * len(parts))
    assert audio.lost == ()
    for i in range(len(parts)):
        own = type(audio)("part", audio.samples[i * 6 * 16_000 : (i + 1) * 6 * 16_000].copy())
        assert media.tone_span(own) == pytest.approx((4, 5), abs=0.06 * (i + 1) + 0.01)
    assert not any("stamps" in note for note in recording.source.notes)


def test_frames_that_cannot_be_decoded_have_the_time_that_their_headers_say(tmp_path: Path) -> None:
    """The sizes of frames vary widely here, so that bytes say little about time."""
    wave = media.tone(media.noise(12, 48_000, level=0.0), 48_000, 9, 10)
    wave[:, : 3 * 48_000] += media.noise(3, 48_000, level=0.2)
    path = media.write(tmp_path / "a.aac", "adts", Track(wave, 48_000, "aac", 96_000))
    content, at, number = bytearray(path.read_bytes()), 0, 0
    while at + 7 <= len(content):
        size = (content[at + 3] & 3) << 11 | content[at + 4] << 3 | content[at + 5] >> 5
        if 30 <= number < 200:  # within the loud part, and far into the quiet one
            content[at + 7 : at + size] = b"\xff" * (size - 7)
        at, number = at + size, number + 1
    path.write_bytes(content)
    recording = reading.read(path, id="r")
    (audio,) = recording.audios
    assert media.tone_span(audio) == pytest.approx((9, 10), abs=0.06)
    assert sum(span.duration for span in audio.lost) == pytest.approx(170 * 1024 / 48_000, abs=0.05)
    assert not any("estimated" in note for note in recording.source.notes)


def test_headers_of_frames(tmp_path: Path) -> None:
    for kind, codec, length in (("aac", "aac", 1024 / 44_100), ("mp3", "mp3float", 1152 / 44_100)):
        content = part(tmp_path, kind, 44_100, 1)
        size = len(content[: content.index(content[:2], 20)])
        assert frame_seconds(codec, content[:64], size, content[:64]) == pytest.approx(length)
        assert frame_seconds(codec, content[:64], size + 1, content[:64]) is None
        assert frame_seconds(codec, content[7:71], size, content[:64]) is None
        assert frame_seconds("ac3", content[:64], size, content[:64]) is None
        assert frame_seconds(codec, b"", 0, b"") is None
