"""Mutations of real containers: each is read or refused in words of this project, and the decoder outlives them all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diarize.audio import reading
from diarize.errors import AudioError
from pipelines.processes import decoding
from pipelines.processes.decoding import Decoder
from tests import media
from tests.media import Film, Track

pytestmark = pytest.mark.skipif(not decoding.available(), reason="a crash would end the tests")

SEEDS = [
    ("wav", "pcm_s16le", 2), ("wav", "pcm_f32le", 1), ("wav", "adpcm_ima_wav", 1), ("w64", "pcm_s24le", 1),
    ("flac", "flac", 2),
    ("mp3", "libmp3lame", 2), ("ogg", "libopus", 1), ("ogg", "vorbis", 2), ("ogg", "flac", 1), ("matroska", "aac", 2),
    ("webm", "libopus", 1), ("matroska", "pcm_s16le", 6), ("ipod", "aac", 2), ("mov", "alac", 2), ("mp4", "ac3", 1),
    ("adts", "aac", 1), ("mpegts", "mp2", 2), ("mpegts", "aac", 1), ("aiff", "pcm_s16be", 1), ("au", "pcm_mulaw", 1),
    ("caf", "alac", 2), ("caf", "pcm_s16le", 1), ("avi", "ac3", 2), ("asf", "wmav2", 2), ("flv", "aac", 1),
    ("wv", "wavpack", 2),
    ("tta", "tta", 1), ("amr", "libopencore_amrnb", 1),
    ("3gp", "libopencore_amrnb", 1), ("ac3", "ac3", 2), ("nut", "flac", 1), ("voc", "pcm_u8", 1),
    ("mp4", "aac", 0),
]  # fmt: skip
MARKS = re.compile(
    rb"OggS|RIFF|RF64|riff|[a-zA-Z]{3}[a-zA-Z ]|fLaC|\xff[\xe2-\xff]|\x47\x40|\x1a\x45\xdf\xa3"
    rb"|\x1f\x43\xb6\x75|\xa3|\x0b\x77"
)
EXTREMES = [
    value.to_bytes(width, "big")
    for width in (1, 2, 4, 8)
    for value in (0, 1, (1 << 8 * width - 1) - 1, 1 << 8 * width - 1, (1 << 8 * width) - 1)
] + [b"\x01\0\0\0", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\x80\x3e\0\0"]

Edit = tuple[str, str, float, float, bytes]  # what, where (head, mark, any), place and length as shares, bytes
KINDS = ("flip", "set", "extreme", "cut", "delete", "double", "splice", "insert", "fill")
PLACES = ("head", "mark", "any")
SHARES = st.floats(0, 1)
EDITS = st.lists(
    st.tuples(st.sampled_from(KINDS), st.sampled_from(PLACES), SHARES, SHARES, st.binary(min_size=1, max_size=12)),
    min_size=1,
    max_size=6,
)


def make_seeds(folder: Path) -> list[bytes]:
    """Small healthy files of many kinds."""
    made = []
    for container, codec, channels in SEEDS:
        rate = 8_000 if "amr" in codec else 48_000
        bits = 12_200 if "amr" in codec else 64_000
        wave = media.noise(0.5, rate, max(channels, 1))
        track = Track(wave, rate, codec, bits, options={"strict": "experimental"})
        film = [] if channels else [Film(0.5)]
        made.append(media.write(folder / f"{container}.{codec}", container, *film, track).read_bytes())
    return made


def mutate(content: bytes, other: bytes, edits: list[Edit]) -> bytes:
    """`content` after the edits; splices take from `other`."""
    data = bytearray(content)
    for kind, place, where, length, new in edits:
        marks = [m.start() for m in MARKS.finditer(data)] if place == "mark" else []
        if marks:
            i = min(int(where * len(marks)), len(marks) - 1)
            at = marks[i] + (4 if kind == "extreme" and new[0] & 1 else 0)
            end = marks[i + 1] if i + 1 < len(marks) else len(data)
        else:
            at = int(where * (min(len(data), 300) if place == "head" else len(data)))
            end = at + 1 + int(length**4 * len(data))
        if kind == "flip":
            if at < len(data):
                data[at] ^= 1 << new[0] % 8
        elif kind == "set":
            data[at : at + len(new)] = new
        elif kind == "extreme":
            value = EXTREMES[new[0] % len(EXTREMES)]
            data[at : at + len(value)] = value
        elif kind == "cut":
            del data[at:]
        elif kind == "delete":
            del data[at:end]
        elif kind == "double":
            data[end:end] = data[at:end] * (1 + new[0] % 3)
        elif kind == "splice":
            data[at:] = other[int(length * len(other)) :]
        elif kind == "insert":
            data[at:at] = other[: int(length * len(other))]
        elif kind == "fill":
            data[at:end] = (new * ((end - at) // len(new) + 1))[: end - at]
        del data[400_000:]
    return bytes(data)


def check(path: Path, decoder: Decoder, **options: Any) -> reading.Recording | None:
    """Read a file that may be anything; what comes out is sound (None: refused)."""
    try:
        recording = reading.read(path, id="r", decode=decoder, **options)
    except AudioError as error:
        assert not error.problem.startswith(("breaks the decoder", "needs more than", "cannot be read")), error.problem
        assert len(error.problem) < 500
        return None
    for heard in recording.audios:
        assert np.isfinite(heard.samples).all()
        assert np.abs(heard.samples).max(initial=0) <= 1
        assert all(span.end <= heard.duration + 1e-3 for span in heard.lost)
        assert 0 < heard.duration <= reading.LONGEST + 1
        assert recording.source.decoded <= heard.duration + 1
    # Nothing holds less than a bit a sample at 1 kHz, but FLAC, where 14 bytes are 65,535 of them.
    # An AMR frame without data is a byte, and lasts 20 ms.
    most = 70 if "flac" in recording.source.codec else 0.02 if "amr" in recording.source.codec else 0.008
    assert recording.source.decoded <= 10 + most * path.stat().st_size
    return recording


def peak(decoder: Decoder) -> int:
    """MiB that the process of a decoder had in memory at most."""
    assert decoder._process is not None
    status = Path(f"/proc/{decoder._process.process.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) >> 10


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    own = Decoder()
    yield own
    own.close()


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    return make_seeds(tmp_path_factory.mktemp("seeds"))


def test_the_seeds_are_healthy(seeds: list[bytes], decoder: Decoder, tmp_path: Path) -> None:
    for content, (container, codec, _) in zip(seeds, SEEDS, strict=True):
        path = tmp_path / "seed"
        path.write_bytes(content)
        heard = check(path, decoder)
        assert heard is not None, (container, codec)
        assert heard.audios[0].duration == pytest.approx(0.5, abs=0.2)


@settings(
    max_examples=1000, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(number=st.integers(0, len(SEEDS) - 1), other=st.integers(0, len(SEEDS) - 1), edits=EDITS)
def test_any_bytes_are_read_or_refused(
    seeds: list[bytes], decoder: Decoder, number: int, other: int, edits: list[Edit], tmp_path: Path
) -> None:
    path = tmp_path / "mutant"
    path.write_bytes(mutate(seeds[number], seeds[other], edits))
    check(path, decoder)
    if decoder._process is not None:  # it ends after recordings of more than ten minutes
        assert peak(decoder) < 400
