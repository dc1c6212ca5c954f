"""The same sound is found again after changes that an attacker has at hand, and other sound is not."""

from __future__ import annotations

import io
from itertools import combinations
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import resample_poly

from diarize.guard import fingerprints
from diarize.types import Audio
from pipelines.processes import decoding
from tests.backends.sounds import RATE, melody, noise, spoken
from tests.shared import SHARED, needs_shared


def audio(samples: NDArray[np.floating], rate: int = RATE) -> Audio:
    return Audio("a", np.ascontiguousarray(samples, dtype=np.float32), rate)


def coded(samples: NDArray[np.floating], codec: str, container: str, rate: int, path: Path) -> Audio:
    """The sound after a codec."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate)
        stream.layout = "mono"
        if codec == "libmp3lame":
            stream.bit_rate = 2 * rate
        slow = resample_poly(samples, rate, RATE) if rate != RATE else samples
        pcm = (np.clip(slow, -1, 1) * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
        frame.rate = rate
        for packet in (*stream.encode(frame), *stream.encode(None)):
            file.mux(packet)
    target = path / f"coded.{container}"
    target.write_bytes(buffer.getvalue())
    return decoding.read(target, id="coded", channel="auto", track=None).audios[0]


def test_a_recording_is_its_own_double_and_no_others(tmp_path: Path) -> None:
    sounds = {"melody": melody(6, 1), "talk": spoken(6, seed=3), "noise": noise(6), "other talk": spoken(6, seed=9)}
    prints = {name: fingerprints.fingerprint(audio(sound)) for name, sound in sounds.items()}
    for name, sound in sounds.items():
        match = fingerprints.compare(fingerprints.fingerprint(audio(sound * 0.05)), prints[name])
        assert match is not None and match.errors == 0 and match.is_same and match.start == match.other_start
    for a, b in combinations(prints.values(), 2):
        match = fingerprints.compare(a, b)
        assert match is not None and not match.is_same and match.errors > 0.35


@needs_shared
def test_speech_is_found_again_after_codecs_noise_and_cuts(tmp_path: Path) -> None:
    files = sorted((SHARED / "data" / "libri-cohort").glob("*.flac"))[:3]
    audios = [decoding.read(path, id="a", channel="auto", track=None).audios[0] for path in files]
    prints = [fingerprints.fingerprint(each) for each in audios]
    rng = np.random.default_rng(0)
    for i, original in enumerate(audios):
        sound = original.samples
        changed = {
            "mp3": coded(sound, "libmp3lame", "mp3", 16_000, tmp_path),
            "telephone": coded(sound, "pcm_mulaw", "wav", 8_000, tmp_path),
            "narrow mp3": coded(sound, "libmp3lame", "mp3", 8_000, tmp_path),
            "44.1 kHz": audio(resample_poly(sound, 441, 160), 44_100),
            "noise": audio(sound + 0.1 * sound.std() * rng.standard_normal(len(sound))),
        }
        if original.duration > 8:
            changed["a part"] = audio(sound[16_777 : 16_777 + 5 * RATE])
        for what, other in changed.items():
            match = fingerprints.compare(fingerprints.fingerprint(other), prints[i])
            assert match is not None and match.is_same, what
            wrong = fingerprints.compare(fingerprints.fingerprint(other), prints[i - 1])
            assert wrong is not None and not wrong.is_same, what


def test_a_copied_part_is_found_within_other_sound() -> None:
    enrolled = spoken(8, seed=4)
    attempt = np.concatenate([melody(3, 2), enrolled[2 * RATE : 6 * RATE], melody(3, 5)])
    match = fingerprints.compare(fingerprints.fingerprint(audio(attempt)), fingerprints.fingerprint(audio(enrolled)))
    assert match is not None and match.is_same
    assert match.start - match.other_start == pytest.approx(1.0, abs=0.05) and match.seconds == pytest.approx(
        3.0, abs=0.1
    )


def test_long_recordings_are_compared_in_parts() -> None:
    long = np.concatenate([noise(60, seed=1), melody(4, 8), noise(20, seed=2)])
    match = fingerprints.compare(fingerprints.fingerprint(audio(long)), fingerprints.fingerprint(audio(melody(4, 8))))
    assert match is not None and match.is_same and match.start == pytest.approx(60 + match.other_start, abs=0.05)


def test_silence_and_scraps_are_not_alike() -> None:
    silence = fingerprints.fingerprint(audio(np.zeros(5 * RATE)))
    match = fingerprints.compare(silence, silence)
    assert match is not None and not match.is_same
    assert fingerprints.compare(fingerprints.fingerprint(audio(noise(0.5))), silence) is None
    assert len(fingerprints.fingerprint(audio(np.zeros(10)))) == 0


def test_it_survives_storage() -> None:
    print_ = fingerprints.fingerprint(audio(noise(4)))
    data = fingerprints.encode(print_)
    assert np.array_equal(fingerprints.decode(data), print_) and len(data) / 4 < 180
    with pytest.raises(ValueError, match="buffer size"):
        fingerprints.decode(b"abc")


def test_the_right_one_of_many_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "_BATCH", 3)
    rng = np.random.default_rng(0)
    sounds = {f"talk {i}": spoken(4, seed=i) for i in range(7)}
    prints = {name: fingerprints.fingerprint(audio(sound)) for name, sound in sounds.items()}
    stored = [("empty", np.zeros(0, np.uint32)), *prints.items(), ("short", prints["talk 1"][:20])]
    for name, sound in sounds.items():
        noisy = sound + 0.05 * sound.std() * rng.standard_normal(len(sound))
        same = fingerprints.find_same(fingerprints.fingerprint(audio(0.1 * noisy)), stored)
        assert same is not None and same[0] == name and same[1].is_same
    assert fingerprints.find_same(fingerprints.fingerprint(audio(noise(4))), stored) is None
    assert fingerprints.find_same(np.zeros(100, np.uint32), stored) is None
    assert fingerprints.find_same(prints["talk 1"], []) is None
