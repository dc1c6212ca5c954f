"""Encoded silence is no damage: frames without speech have their time, in files of frames and in containers."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diarize.audio import amr, reading
from diarize.errors import AudioError
from tests import media
from tests.media import Track

NB, WB = b"#!AMR\n", b"#!AMR-WB\n"
NO_DATA = b"\x7c"
SID = {"amrnb": b"\x44" + bytes(5), "amrwb": b"\x4c" + bytes(5)}


def speech(seconds: float, at: float) -> list[bytes]:
    """Frames of AMR at 12.2 kbit/s: noise, with a tone of a second from `at` on."""
    file = io.BytesIO()
    wave = media.tone(media.noise(seconds, 8_000, level=0.02), 8_000, at, at + 1)
    with av.open(file, "w", format="amr") as container:
        track = Track(wave, 8_000, "libopencore_amrnb", 12_200)
        stream = media._stream(container, track)
        return [bytes(packet) for packet in media._sound(stream, track)][: round(seconds * 50)]


def wide(count: int, seed: int = 0) -> list[bytes]:
    """`count` frames of AMR-WB at 6.6 kbit/s, of random content: noises."""
    random = np.random.default_rng(seed)
    return [b"\x04" + random.bytes(17) for _ in range(count)]


def decoded(codec: str, frames: list[bytes]) -> media.Wave:
    """Samples (n,) of the frames, decoded one by one without this project."""
    context = av.CodecContext.create(f"libopencore_{codec}", "r")
    context.sample_rate, context.layout = amr.RATES[codec], "mono"
    parts = [part.to_ndarray().reshape(-1) for frame in frames for part in context.decode(av.Packet(frame))]
    return np.concatenate(parts) / 32768


def read(path: Path) -> tuple[reading.Recording, Any]:
    recording = reading.read(path, id="r")
    return recording, recording.audios[0]


def test_frames_without_speech_of_an_amr_file_have_their_time(tmp_path: Path) -> None:
    path = tmp_path / "call.amr"
    before, after = speech(4, 1), speech(4, 2)
    path.write_bytes(NB + b"".join([*before, SID["amrnb"], *[NO_DATA] * 499, *after]))
    recording, audio = read(path)
    assert audio.duration == 18
    assert audio.lost == () and recording.source.notes == ()
    last = audio.samples[14 * 16_000 :]
    assert media.tone_span(type(audio)("h", last.copy())) == pytest.approx((2, 3), abs=0.03)


@pytest.mark.parametrize("codec", ["amrnb", "amrwb"])
def test_frames_are_decoded_as_by_the_decoder_alone(codec: str, tmp_path: Path) -> None:
    sounds = speech(2, 0.5) if codec == "amrnb" else wide(100)
    frames = [*sounds, *([SID[codec], *[NO_DATA] * 7] * 20), *sounds, NO_DATA]
    path = tmp_path / "a.amr"
    path.write_bytes((NB if codec == "amrnb" else WB) + b"".join(frames))
    _, audio = read(path)
    truth = decoded(codec, frames)
    assert audio.duration == len(truth) / amr.RATES[codec] == len(frames) * amr.FRAME
    if codec == "amrwb":  # no resampling
        assert np.abs(audio.samples - truth).max() < 1e-4


@pytest.mark.parametrize("where", ["start", "end", "everywhere"])
@pytest.mark.parametrize("codec", ["amrnb", "amrwb"])
def test_frames_without_data_at_the_edges(codec: str, where: str, tmp_path: Path) -> None:
    sounds = speech(2, 0.2) if codec == "amrnb" else wide(50)
    nothing = [NO_DATA] * 150
    frames = {"start": nothing + sounds, "end": sounds + nothing, "everywhere": nothing}[where]
    path = tmp_path / "a.amr"
    path.write_bytes((NB if codec == "amrnb" else WB) + b"".join(frames))
    _, audio = read(path)
    assert audio.duration == pytest.approx(len(frames) / 50)
    assert audio.lost == ()


def test_a_speech_lost_frame_of_amr_wb_has_its_time(tmp_path: Path) -> None:
    path = tmp_path / "a.awb"
    path.write_bytes(WB + b"".join([*wide(100), *[b"\x74"] * 50, *wide(100)]))
    _, audio = read(path)
    assert audio.duration == 5 and audio.lost == ()


def test_amr_files_that_were_joined_are_one_recording(tmp_path: Path) -> None:
    path = tmp_path / "a.amr"
    path.write_bytes(NB + b"".join(speech(4, 1)) + NB + b"".join(speech(4, 2)) + WB + b"".join(wide(50)))
    recording, audio = read(path)
    assert audio.duration == pytest.approx(9) and audio.lost == ()
    second = type(audio)("h", audio.samples[4 * 16_000 : 8 * 16_000].copy())
    assert media.tone_span(second) == pytest.approx((2, 3), abs=0.03)
    assert any("16000 Hz" in note for note in recording.source.notes)


def test_channels_of_an_amr_file(tmp_path: Path) -> None:
    path = tmp_path / "a.amr"
    frames = [f for pair in zip(speech(4, 1), speech(4, 2), strict=True) for f in pair]
    path.write_bytes(b"#!AMR_MC1.0\n" + struct.pack(">I", 2) + b"".join(frames))
    audios = reading.read(path, id="r", channel="per-channel").audios
    assert [audio.duration for audio in audios] == [4, 4]
    assert media.tone_span(audios[0]) == pytest.approx((1, 2), abs=0.03)
    assert media.tone_span(audios[1]) == pytest.approx((2, 3), abs=0.03)


def test_fault_07_damage_in_an_amr_file_keeps_later_times(tmp_path: Path) -> None:
    path = tmp_path / "a.amr"
    path.write_bytes(NB + b"".join(speech(36, 30)))
    recording, audio = read(media.damage(path, 5 / 12, 6 / 12))
    assert media.tone_span(audio) == pytest.approx((30, 31), abs=0.05)
    assert audio.duration == pytest.approx(36, abs=0.05)
    assert sum(span.duration for span in audio.lost) == pytest.approx(3, abs=0.2)
    assert any("estimated from bytes" in note for note in recording.source.notes)


def test_fault_06_an_amr_file_that_ends_within_a_frame(tmp_path: Path) -> None:
    path = tmp_path / "a.amr"
    path.write_bytes((NB + b"".join(speech(4, 1)))[:-7])
    _, audio = read(path)
    assert audio.duration == pytest.approx(3.98, abs=0.021)


def in_container(path: Path, container: str, codec: str, frames: list[bytes], each: int = 1) -> Path:
    """The frames in a container, `each` in a packet; empty ones are left out."""
    sounds = speech(2, 0.5) if codec == "amrnb" else wide(10)
    bare = io.BytesIO((NB if codec == "amrnb" else WB) + b"".join(sounds))
    with av.open(bare, format="amr") as source, av.open(str(path), "w", format=container) as file:
        stream = file.add_stream_from_template(source.streams.audio[0])
        for i in range(0, len(frames), each):
            if not frames[i]:
                continue
            packet = av.Packet(b"".join(frames[i : i + each]))
            packet.stream, packet.time_base = stream, Fraction(1, 50)
            packet.pts = packet.dts = i
            packet.duration = each
            file.mux(packet)
    return path


@pytest.mark.parametrize(("container", "each"), [("3gp", 1), ("mov", 1), ("nut", 1), ("nut", 5)])
def test_frames_without_speech_in_a_container(container: str, each: int, tmp_path: Path) -> None:
    before, after = speech(4, 1), speech(4, 2)
    frames = [*before, *([SID["amrnb"], *[NO_DATA] * 7] * 25), *after]
    recording, audio = read(in_container(tmp_path / "a", container, "amrnb", frames, each))
    assert audio.duration == pytest.approx(12, abs=0.03)
    assert audio.lost == () and recording.source.notes == ()
    last = type(audio)("h", audio.samples[8 * 16_000 :].copy())
    assert media.tone_span(last) == pytest.approx((2, 3), abs=0.03)


def test_frames_that_a_container_leaves_out_behind_a_description_of_noise(tmp_path: Path) -> None:
    """As of a recorder of RTP that stores what arrives: of a pause, one frame in eight."""
    frames = [*speech(4, 1), *([SID["amrnb"], *[b""] * 7] * 25), *speech(4, 2)]
    recording, audio = read(in_container(tmp_path / "a", "3gp", "amrnb", frames))
    assert audio.duration == pytest.approx(12, abs=0.03)
    assert audio.lost == () and recording.source.notes == ()


@pytest.mark.parametrize("container", ["3gp", "nut"])
def test_wide_frames_without_speech_in_a_container(container: str, tmp_path: Path) -> None:
    frames = [*wide(100), *([SID["amrwb"], *[NO_DATA] * 7] * 25), *wide(100, seed=1)]
    _, audio = read(in_container(tmp_path / "a", container, "amrwb", frames))
    assert audio.duration == pytest.approx(8, abs=0.03)
    assert audio.lost == ()
    assert np.abs(audio.samples[: 8 * 16_000] - decoded("amrwb", frames)).max() < 1e-4


def opus(path: Path, container: str, silent: Callable[[int, bytes], bytes | None], level: float = 1e-4) -> Path:
    """Twelve seconds of Opus, with tones at 1 and 10 s; packets of the pause between go through `silent`."""
    wave = media.noise(12, 48_000, level=level)
    for at in (1, 10):
        wave = media.tone(wave, 48_000, at, at + 1)
    track = Track(wave, 48_000, "libopus", 24_000, options={"application": "voip"})
    with av.open(str(path), "w", format=container) as file:
        stream = media._stream(file, track)
        for i, packet in enumerate(media._sound(stream, track)):
            if 150 <= i < 450:
                content = silent(i - 150, bytes(packet))
                if content is None:
                    continue
                new = av.Packet(content)
                new.pts, new.dts, new.duration = packet.pts, packet.dts, packet.duration
                new.time_base, new.stream = packet.time_base, stream
                packet = new
            file.mux(packet)
    return path


def as_empty(i: int, content: bytes) -> bytes | None:
    """Every packet is there, and holds its first byte only."""
    return content if i % 20 == 0 else content[:1]


def as_webrtc(i: int, content: bytes) -> bytes | None:
    """A description of the noise every 400 ms, one empty packet, and nothing."""
    return content if i % 20 == 0 else content[:1] if i % 20 == 1 else None


def as_left_out(i: int, content: bytes) -> bytes | None:
    """A description of the noise every 400 ms, and nothing between."""
    return content if i % 20 == 0 else None


@pytest.mark.parametrize("container", ["ogg", "webm", "mp4"])
@pytest.mark.parametrize("silent", [as_empty, as_webrtc, as_left_out])
def test_pauses_of_opus_are_no_loss(container: str, silent: Callable[..., bytes | None], tmp_path: Path) -> None:
    recording, audio = read(opus(tmp_path / "a", container, silent))
    assert audio.duration == pytest.approx(12, abs=0.03)
    assert audio.lost == () and recording.source.notes == ()
    span = media.tone_span(audio)
    assert span is not None and span[0] == pytest.approx(1, abs=0.03)
    if (container, silent) != ("ogg", as_left_out):  # there, only the ends of pages have a time
        assert span[1] == pytest.approx(11, abs=0.03)


def test_packets_of_loud_opus_that_are_missing_are_lost(tmp_path: Path) -> None:
    """Nothing says that the encoder paused."""
    _, audio = read(opus(tmp_path / "a", "webm", lambda i, content: content if i > 100 else None, level=0.1))
    assert sum(span.duration for span in audio.lost) == pytest.approx(2, abs=0.1)


def test_an_opus_recording_that_ends_in_a_pause(tmp_path: Path) -> None:
    wave = media.tone(media.noise(6, 48_000, level=1e-4), 48_000, 1, 2)
    track = Track(wave, 48_000, "libopus", 24_000)
    with av.open(str(tmp_path / "a.webm"), "w", format="webm") as file:
        stream = media._stream(file, track)
        packets = media._sound(stream, track)
        for packet in [*packets[:150], packets[-1]]:
            file.mux(packet)
    _, audio = read(tmp_path / "a.webm")
    assert audio.duration == pytest.approx(6, abs=0.05) and audio.lost == ()


def test_g723_with_silence_frames_in_a_wav(tmp_path: Path) -> None:
    """Frames of 24 bytes with speech, of 4 that describe noise, of 1 for none; each 30 ms (ITU-T G.723.1, annex A)."""
    wave = media.tone(media.noise(6, 8_000, level=0.05), 8_000, 4, 5)
    file = io.BytesIO()
    with av.open(file, "w", format="wav") as container:
        track = Track(wave, 8_000, "g723_1", 6_300)
        stream = media._stream(container, track)
        packets = [bytes(packet) for packet in media._sound(stream, track)]
    sound = b"".join(packets)
    frames = [sound[i : i + 24] for i in range(0, len(sound), 24)]
    pause = [b"\x02\x00\x00\x00" if i % 10 == 0 else b"\x03" for i in range(100)]
    data = b"".join([*frames[:100], *pause, *frames[100:]])
    header = struct.pack("<HHIIHHH", 0x42, 1, 8_000, 800, 24, 0, 0)
    path = tmp_path / "a.wav"
    path.write_bytes(
        b"RIFF" + struct.pack("<I", 30 + len(data)) + b"WAVEfmt " + struct.pack("<I", len(header)) + header
        + b"data" + struct.pack("<I", len(data)) + data
    )  # fmt: skip
    _, audio = read(path)
    assert audio.duration == pytest.approx(9, abs=0.07)
    assert audio.lost == ()
    assert media.tone_span(audio) == pytest.approx((7, 8), abs=0.07)


@pytest.fixture(scope="module")
def frames() -> Iterator[list[bytes]]:
    yield [*speech(2, 0.2), SID["amrnb"], *[NO_DATA] * 20]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.sampled_from([NB, WB, b"#!AMR_MC1.0\n\0\0\0\3", b"#!AMR-WB_MC1.0\n\0\0\0\2", b"#!AMR"]),
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40), st.binary(max_size=40)), max_size=5),
)
def test_any_bytes_of_an_amr_file_are_read_or_refused(
    frames: list[bytes], start: bytes, edits: list[tuple[float, int, bytes]], tmp_path: Path
) -> None:
    content = bytearray(b"".join(frames))
    for where, size, new in edits:
        at = round(where * len(content))
        content[at : at + size] = new
    path = tmp_path / "a.amr"
    path.write_bytes(start + content)
    try:
        _, audio = read(path)
    except AudioError as error:
        assert not error.problem.startswith("breaks the decoder"), error.problem
        return
    assert 0 < audio.duration <= (len(content) + 1) * amr.FRAME * 1.5
    assert np.isfinite(audio.samples).all()
