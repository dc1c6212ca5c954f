"""Decoding: places in time, loss, length, memory."""

from __future__ import annotations

import hashlib
import mmap
import os
import pickle
import subprocess
import sys
from io import FileIO
from pathlib import Path

import numpy as np
import pytest

from diarize.audio import excerpts, reading, sample_buffer
from diarize.errors import AudioError, OutputError
from diarize.types import Segment
from tests import media
from tests.media import Film, Track
from tests.shared import SHARED, needs_shared

VORBIS = {"strict": "-2"}  # FFmpeg calls its own encoder experimental

# name -> container, codec, sample rate, options
KINDS = {
    "wav": ("wav", "pcm_s16le", 16_000, {}),
    "flac": ("flac", "flac", 44_100, {}),
    "m4a": ("ipod", "aac", 44_100, {}),
    "mkv": ("matroska", "aac", 44_100, {}),
    "webm": ("webm", "libopus", 48_000, {}),
    "mp3": ("mp3", "libmp3lame", 44_100, {}),
    "opus": ("ogg", "libopus", 48_000, {}),
    "ogg": ("ogg", "vorbis", 44_100, VORBIS),
    "aac": ("adts", "aac", 44_100, {}),
    "ts": ("mpegts", "aac", 48_000, {}),
    "aiff": ("aiff", "pcm_s16be", 44_100, {}),
    "caf": ("caf", "alac", 44_100, {}),
    "wv": ("wv", "wavpack", 44_100, {}),
    "wma": ("asf", "wmav2", 44_100, {}),
    "avi": ("avi", "mp2", 48_000, {}),
    "flv": ("flv", "aac", 44_100, {}),
    "ac3": ("ac3", "ac3", 48_000, {}),
    "amr": ("amr", "libopencore_amrnb", 8_000, {}),
    "w64": ("w64", "pcm_s24le", 48_000, {}),
    "au": ("au", "pcm_mulaw", 8_000, {}),
    "mxf": ("mxf", "pcm_s16le", 48_000, {}),
    "nut": ("nut", "pcm_s32le", 32_000, {}),
}
DELAY = {"aac": 0.05, "ac3": 0.03, "ts": 0.03, "avi": 0.06, "flv": 0.06, "wma": 0.06, "amr": 0.03}


def make(folder: Path, kind: str, seconds: float = 6.0, at: float = 4.0, channels: int = 1) -> Path:
    """A recording of noise with a tone of 1 s from `at` on."""
    container, codec, rate, options = KINDS[kind]
    wave = media.tone(media.noise(seconds, rate, 2 if codec == "vorbis" else channels), rate, at, at + 1)
    tracks: list[Track | Film] = [
        Track(wave, rate, codec, bit_rate=12_200 if kind == "amr" else 96_000, options=options)
    ]
    if kind == "mxf":  # its writer wants a picture
        tracks.insert(0, Film(seconds))
    return media.write(folder / f"tone.{kind}", container, *tracks)


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "mxf"])
def test_a_tone_stays_where_it_is(kind: str, tmp_path: Path) -> None:
    path = make(tmp_path, kind)
    recording = reading.read(path, id="r")
    (heard,) = recording.audios
    span = media.tone_span(heard)
    assert span is not None
    # What the container does not say about the encoder's delay (53 ms at most) cannot be undone.
    assert span == pytest.approx((4.0, 5.0), abs=DELAY.get(kind, 0) + 0.006)
    assert heard.duration == pytest.approx(6.0, abs=0.1)
    assert heard.lost == ()
    assert heard.rate == 16_000
    assert heard.digest == recording.source.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not heard.samples.flags.writeable


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_056, 44_100, 96_000, 192_000])
def test_fault_30_resampling_moves_nothing(rate: int, tmp_path: Path) -> None:
    clicks = np.zeros(rate * 3)
    clicks[rate] = clicks[rate * 2] = 0.9
    path = media.wav(tmp_path / "click.wav", media.pcm16(clicks[np.newaxis]), rate)
    heard = reading.read(path, id="r").audios[0]
    assert len(heard.samples) == 48_000
    magnitude = np.abs(heard.samples)
    assert int(magnitude[:24_000].argmax()) == 16_000
    assert int(magnitude[24_000:].argmax()) + 24_000 == 32_000


@pytest.mark.parametrize("kind", ["m4a", "flac", "ogg", "mkv", "webm", "mp3", "opus", "aac"])
def test_fault_07_after_a_damaged_middle_times_are_right(kind: str, tmp_path: Path) -> None:
    path = media.damage(make(tmp_path, kind, seconds=36, at=30, channels=2), 5 / 12, 6 / 12)
    recording = reading.read(path, id="r")
    (heard,) = recording.audios
    span = media.tone_span(heard)
    assert span is not None
    assert span == pytest.approx((30, 31), abs=0.05)
    assert heard.duration == pytest.approx(36, abs=0.06)
    lost = sum(segment.duration for segment in heard.lost)
    assert 2.5 <= lost <= 11
    for segment in heard.lost:  # damage takes its own time, and at most the cluster or page around it
        assert 14 <= segment.start < segment.end <= 25
        silent = heard.samples[round(segment.start * 16_000) + 800 : round(segment.end * 16_000) - 800]
        assert not silent.any()
    assert any("could not be decoded" in note for note in recording.source.notes)
    assert recording.source.decoded == pytest.approx(heard.duration - lost, abs=0.1)


def test_fault_07_loss_in_several_places_of_an_mp3(tmp_path: Path) -> None:
    path = make(tmp_path, "mp3", seconds=40, at=35)
    media.damage(media.damage(path, 0.2, 0.25, seed=1), 0.5, 0.6, seed=2)
    heard = reading.read(path, id="r").audios[0]
    assert media.tone_span(heard) == pytest.approx((35, 36), abs=0.06)
    assert len(heard.lost) == 2
    assert sum(segment.duration for segment in heard.lost) == pytest.approx(6, abs=0.5)


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "mkv"])
def test_fault_06_a_truncated_recording_ends_with_a_lost_span(kind: str, tmp_path: Path) -> None:
    path = media.cut(make(tmp_path, kind, seconds=12), 0.5)
    recording = reading.read(path, id="r")
    (heard,) = recording.audios
    assert heard.duration == pytest.approx(12, abs=0.1)
    assert len(heard.lost) == 1
    assert heard.lost[0].start == pytest.approx(6, abs=0.6)
    assert heard.lost[0].end == pytest.approx(12, abs=0.1)
    assert not heard.samples[round(heard.lost[0].start * 16_000) + 200 :].any()
    assert any("cut off" in note for note in recording.source.notes)


@pytest.mark.parametrize("kind", ["ogg", "opus"])
def test_fault_06_a_truncated_ogg_file_is_noted(kind: str, tmp_path: Path) -> None:
    whole, short = make(tmp_path, kind, seconds=12), tmp_path / f"short.{kind}"
    short.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert not any("not marked" in note for note in reading.read(whole, id="r").source.notes)
    recording = reading.read(short, id="r")
    assert 4 < recording.audios[0].duration < 8
    assert any("cut off" in note for note in recording.source.notes)


def test_fault_06_an_m4a_without_its_index(tmp_path: Path) -> None:
    path = media.cut(make(tmp_path, "m4a"), 0.5)
    with pytest.raises(AudioError, match="moov"):
        reading.read(path, id="r")


def test_fault_06_an_m4a_with_its_index_in_front(tmp_path: Path) -> None:
    rate = 44_100
    track = Track(media.noise(12, rate), rate, "aac", bit_rate=96_000)
    path = media.write(tmp_path / "a.m4a", "ipod", track, options={"movflags": "faststart"})
    heard = reading.read(media.cut(path, 0.5), id="r").audios[0]
    assert heard.duration == pytest.approx(12, abs=0.1)
    assert heard.lost[-1].end == pytest.approx(12, abs=0.1)
    assert heard.lost[-1].start == pytest.approx(6, abs=0.7)


def test_variable_bit_rate_without_a_header_is_no_loss(tmp_path: Path) -> None:
    """FFmpeg guesses the length of such a file from its first frames: here wrong by a factor."""
    rate = 44_100
    wave = np.concatenate([media.noise(2, rate, level=0.3), np.zeros((1, 10 * rate))], axis=1)
    track = Track(wave, rate, "libmp3lame", options={"compression_level": "5"}, bit_rate=320_000)
    loud = media.write(tmp_path / "a.mp3", "mp3", track, options={"write_xing": "0", "id3v2_version": "0"})
    small = Track(np.zeros((1, 10 * rate)), rate, "libmp3lame", bit_rate=32_000)
    quiet = media.write(tmp_path / "b.mp3", "mp3", small, options={"write_xing": "0", "id3v2_version": "0"})
    path = tmp_path / "vbr.mp3"
    path.write_bytes(loud.read_bytes() + quiet.read_bytes())
    recording = reading.read(path, id="r")
    assert recording.source.declared is None
    assert recording.audios[0].lost == ()
    assert recording.audios[0].duration == pytest.approx(22, abs=0.2)


def test_a_tag_between_frames_is_no_loss(tmp_path: Path) -> None:
    first = make(tmp_path, "mp3", seconds=6, at=4).read_bytes()
    picture = b"ID3\x04\x00\x00\x00\x01\x00\x00" + bytes(16_384)  # a tag of 16,384 bytes: 1.4 s of sound at this rate
    path = tmp_path / "joined.mp3"
    path.write_bytes(first + picture + first)
    heard = reading.read(path, id="r").audios[0]
    assert heard.duration == pytest.approx(12, abs=0.3)
    assert sum(segment.duration for segment in heard.lost) < 0.2


@pytest.mark.parametrize("container", ["mpegts", "matroska", "nut"])
@pytest.mark.parametrize("shift", [12.0, 0.5])
def test_fault_14_time_begins_where_the_recording_begins(container: str, shift: float, tmp_path: Path) -> None:
    rate = 48_000
    wave = media.tone(media.noise(6, rate), rate, 4, 5)
    path = media.write(tmp_path / "late", container, Track(wave, rate, "aac", bit_rate=96_000, shift=shift))
    heard = reading.read(path, id="r").audios[0]
    assert media.tone_span(heard) == pytest.approx((4, 5), abs=0.03)
    assert heard.duration == pytest.approx(6, abs=0.06)
    assert heard.lost == ()


def test_fault_14_a_negative_start(tmp_path: Path) -> None:
    rate = 16_000
    wave = media.tone(media.noise(6, rate), rate, 4, 5)
    path = media.write(tmp_path / "early.nut", "nut", Track(wave, rate, "pcm_s16le", shift=-2.0))
    heard = reading.read(path, id="r").audios[0]
    assert media.tone_span(heard) == pytest.approx((4, 5), abs=0.006)
    assert heard.duration == pytest.approx(6, abs=0.02)


def test_fault_14_sound_that_begins_after_the_picture(tmp_path: Path) -> None:
    rate = 48_000
    wave = media.tone(media.noise(6, rate), rate, 1, 2)
    path = media.write(
        tmp_path / "film.mkv", "matroska", Film(10), Track(wave, rate, "aac", bit_rate=96_000, shift=3.0)
    )
    recording = reading.read(path, id="r")
    (heard,) = recording.audios
    assert media.tone_span(heard) == pytest.approx((4, 5), abs=0.03)
    assert heard.lost == ()
    assert not heard.samples[: round(2.9 * 16_000)].any()
    assert any("begins 3." in note or "begins 2.9" in note for note in recording.source.notes)


@pytest.mark.parametrize("container", ["matroska", "mpegts", "mov"])
def test_fault_14_a_hole_in_the_stamps_keeps_later_times(container: str, tmp_path: Path) -> None:
    rate = 48_000
    wave = media.tone(media.noise(10, rate), rate, 8, 9)
    path = media.write(tmp_path / "hole", container, Track(wave, rate, "aac", bit_rate=96_000, holes=[(3.0, 5.0)]))
    heard = reading.read(path, id="r").audios[0]
    assert media.tone_span(heard) == pytest.approx((8, 9), abs=0.05)
    if container != "mov":  # its table of samples has no holes: the sample before lasts longer, and is said to
        assert len(heard.lost) == 1
        assert heard.lost[0].start == pytest.approx(3, abs=0.06)
        assert heard.lost[0].end == pytest.approx(5, abs=0.06)


def test_fault_14_stamps_of_an_mpegts_that_wrap(tmp_path: Path) -> None:
    rate = 48_000
    wave = media.tone(media.noise(10, rate), rate, 8, 9)
    wrap = 2**33 / 90_000  # s; MPEG-TS counts 33 bits at 90 kHz
    track = Track(wave, rate, "aac", bit_rate=96_000, shift=wrap - 5)
    heard = reading.read(media.write(tmp_path / "wrap.ts", "mpegts", track), id="r").audios[0]
    assert media.tone_span(heard) == pytest.approx((8, 9), abs=0.05)
    assert heard.duration == pytest.approx(10, abs=0.1)


@pytest.mark.parametrize("jitter", [0.0005, 0.015])
def test_fault_14_stamps_that_jitter_make_no_holes(jitter: float, tmp_path: Path) -> None:
    rate = 48_000
    wave = media.tone(media.noise(10, rate), rate, 8, 9)
    track = Track(wave, rate, "libopus", jitter=jitter)
    recording = reading.read(media.write(tmp_path / "jitter.mkv", "matroska", track), id="r")
    (heard,) = recording.audios
    assert media.tone_span(heard) == pytest.approx((8, 9), abs=0.02)
    assert heard.lost == ()
    assert recording.source.notes == ()
    assert np.abs(heard.samples[:-400]).reshape(-1, 10).max(axis=1).min() > 0  # nowhere a silent gap


def test_fault_15_rate_and_channels_that_change_midway(tmp_path: Path) -> None:
    """MPEG-TS segments of two recorders, one behind the other, as streaming servers write them."""
    mono = Track(media.tone(media.noise(5, 44_100), 44_100, 3, 4), 44_100, "mp2", bit_rate=96_000)
    wave = media.tone(media.noise(5, 48_000, 2), 48_000, 2, 3)
    stereo = Track(wave, 48_000, "mp2", bit_rate=192_000, shift=5)
    first = media.write(tmp_path / "1.ts", "mpegts", mono, options={"mpegts_copyts": "1"})
    second = media.write(tmp_path / "2.ts", "mpegts", stereo, options={"mpegts_copyts": "1"})
    path = tmp_path / "both.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    recording = reading.read(path, id="r")
    (heard,) = recording.audios
    assert heard.duration == pytest.approx(10, abs=0.15)
    half = heard.samples[: 5 * 16_000], heard.samples[5 * 16_000 :]
    spans = [media.tone_span(type(heard)("half", part.copy())) for part in half]
    assert spans[0] == pytest.approx((3, 4), abs=0.05)
    assert spans[1] == pytest.approx((2, 3), abs=0.1)
    assert any("48000 Hz, 2 channels" in note for note in recording.source.notes)


def test_fault_23_tiny_recordings(tmp_path: Path) -> None:
    for seconds in (0.05, 0.5, 5.0):
        path = media.wav(tmp_path / "tiny.wav", media.pcm16(media.noise(seconds, 16_000)), 16_000)
        assert reading.read(path, id="r").audios[0].duration == pytest.approx(seconds)
    flac = media.write(tmp_path / "tiny.flac", "flac", Track(media.noise(0.05, 44_100), 44_100, "flac"))
    assert reading.read(flac, id="r").audios[0].duration == pytest.approx(0.05, abs=0.001)


def test_fault_21_silence_is_a_recording(tmp_path: Path) -> None:
    path = media.wav(tmp_path / "silence.wav", np.zeros(16_000, np.int16), 16_000)
    recording = reading.read(path, id="r")
    assert recording.audios[0].duration == 1.0
    assert not recording.audios[0].samples.any()
    assert recording.source.notes == ()


@pytest.mark.parametrize("count", [3, 9, 17, 64])
def test_fault_28_many_channels_at_another_rate(count: int, tmp_path: Path) -> None:
    """As of a microphone array: FFmpeg has names for few of these numbers."""
    wave = media.noise(1, 44_100, count)
    wave[1] = media.tone(np.zeros((1, 44_100)), 44_100, 0.4, 0.6)[0]
    path = media.wav(tmp_path / "a.wav", media.pcm16(wave), 44_100)
    heard = reading.read(path, id="r", channel="per-channel").audios
    assert len(heard) == count
    assert media.tone_span(heard[1]) == pytest.approx((0.4, 0.6), abs=0.01)
    assert media.tone_span(heard[2]) is None


def test_fault_24_long_recordings_live_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_buffer, "IN_MEMORY", 16_000 * 20)
    wave = media.tone(media.noise(31, 16_000, 2), 16_000, 29, 30)
    path = media.wav(tmp_path / "long.wav", media.pcm16(wave), 16_000)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (heard,) = reading.read(path, id="r", scratch=scratch).audios
    base: object = heard.samples.base
    assert isinstance(base, mmap.mmap | memoryview)
    assert list(scratch.iterdir()) == []  # nothing to clean up, whatever happens
    before = heard.samples.copy()
    excerpts.release(heard.samples)
    assert np.array_equal(heard.samples, before)
    assert media.tone_span(heard) == pytest.approx((29, 30), abs=0.006)
    again = pickle.loads(pickle.dumps(heard.samples))
    assert np.array_equal(again, before)

    monkeypatch.setattr(sample_buffer, "IN_MEMORY", 16_000 * 600)
    (short,) = reading.read(path, id="r", scratch=scratch).audios
    assert np.array_equal(short.samples, before)
    excerpts.release(short.samples)  # nothing to give back, and no error


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_fault_24_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    """An hour is 230 MB of samples; the header is honest, the bytes are a hole in a sparse file."""
    path = media.wav(tmp_path / "long.wav", np.zeros(0, np.int16), 16_000, declared=3600 * 32_000)
    with path.open("r+b") as file:
        file.truncate(44 + 3600 * 32_000)
    code = (
        "import sys, re, pathlib; from diarize.audio import reading;"
        "a = reading.read(pathlib.Path(sys.argv[1]), id='r', scratch=pathlib.Path(sys.argv[2])).audios[0];"
        "print(a.duration, re.search(r'VmHWM:\\s+(\\d+)', pathlib.Path('/proc/self/status').read_text())[1])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(path), str(tmp_path)],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    duration, peak = out.stdout.split()
    assert float(duration) == 3600
    assert int(peak) / 1024 < 120  # MB, the interpreter and FFmpeg included


def test_hours_of_silence_need_no_disk(tmp_path: Path) -> None:
    drawn = sample_buffer.SampleBuffer(2, sample_buffer.ScratchFiles(tmp_path))
    drawn.write(0, np.ones((10, 2), np.float32))
    for hour in range(3):
        drawn.write(10 + hour * 3600 * 16_000, np.zeros((3600 * 16_000, 2), np.float32))
    mixed = drawn.mix(np.full(2, 0.5, np.float32), 1.0).samples()
    assert len(mixed) == 10 + 3 * 3600 * 16_000
    assert mixed[:10].all()
    assert not mixed[10:].any()
    assert os.fstat(drawn.file.fileno()).st_blocks * 512 < 1 << 20


def test_a_scratch_folder_without_room_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_buffer, "IN_MEMORY", 1000)
    path = media.wav(tmp_path / "a.wav", media.pcm16(media.noise(2, 16_000)), 16_000)
    with pytest.raises(OutputError, match="scratch"):
        reading.read(path, id="r", scratch=tmp_path / "no" / "scratch")
    if Path("/dev/full").exists():
        with FileIO("/dev/full", "r+") as full, pytest.raises(OutputError, match="No space left"):
            monkeypatch.setattr("tempfile.TemporaryFile", lambda dir: full)
            reading.read(path, id="r", scratch=tmp_path)


def test_the_same_bytes_give_the_same_samples(tmp_path: Path) -> None:
    path = make(tmp_path, "mp3", channels=2)
    first, second = (reading.read(path, id="r") for _ in range(2))
    assert first.source == second.source
    assert first.audios[0].samples.tobytes() == second.audios[0].samples.tobytes()


def test_source_tells_what_was_read(tmp_path: Path) -> None:
    path = make(tmp_path, "m4a", channels=2)
    source = reading.read(path, id="r", name="day 1/tone.m4a").source
    assert source.path == "day 1/tone.m4a"
    assert reading.read(path, id="r").source.path == "tone.m4a"
    assert (source.codec, source.rate, source.channels, source.stream, source.streams) == ("aac", 44_100, 2, 0, 1)
    assert "mp4" in source.container
    assert source.size == path.stat().st_size
    assert source.declared == pytest.approx(6.0, abs=0.05)
    assert source.decoded == pytest.approx(6.0, abs=0.05)


def test_the_digest_of_the_samples_is_that_of_their_float32(tmp_path: Path) -> None:
    wave = np.concatenate([media.noise(1, 8_000), media.noise(1, 8_000, level=0.2, seed=1)])
    path = media.wav(tmp_path / "call.wav", media.pcm16(wave), 8_000)
    recording = reading.read(path, id="call", channel="per-channel")
    taken = tuple(hashlib.sha256(one.samples.astype("<f4").tobytes()).hexdigest() for one in recording.audios)
    assert recording.source.pcm == tuple(one.pcm for one in recording.audios) == taken
    assert len(set(taken)) == 2


def test_per_channel_gives_one_audio_each(tmp_path: Path) -> None:
    wave = np.concatenate([media.tone(media.noise(3, 8_000), 8_000, 1, 2), media.noise(3, 8_000, level=0.2)])
    path = media.wav(tmp_path / "call.wav", media.pcm16(wave), 8_000)
    left, right = reading.read(path, id="call", channel="per-channel").audios
    assert left.id == right.id == "call"
    assert media.tone_span(left) is not None
    assert media.tone_span(right) is None
    assert media.level(right.samples) == pytest.approx(0.2, rel=0.1)
    assert left.samples.flags.c_contiguous


@needs_shared
def test_real_recordings_are_read_whole() -> None:
    for path in sorted((SHARED / "data" / "sim-dev").glob("*.flac"))[:2]:
        recording = reading.read(path, id=path.stem)
        assert recording.audios[0].duration == pytest.approx(recording.source.declared, abs=0.01)
        assert recording.audios[0].lost == ()


def test_lost_spans_are_segments_inside_the_recording(tmp_path: Path) -> None:
    path = media.damage(make(tmp_path, "flac", seconds=12, at=10), 0.3, 0.5)
    heard = reading.read(path, id="r").audios[0]
    assert heard.lost
    assert all(isinstance(span, Segment) and span.end <= heard.duration + 1e-3 for span in heard.lost)
