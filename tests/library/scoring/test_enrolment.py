"""What an utterance is measured by, on made sounds and made vectors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from diarize.library.scoring import enrolment
from diarize.library.scoring.calibration import Calibration
from diarize.library.scoring.scores import Cosine
from diarize.types import Audio, Segment, Turn, Vectors
from diarize.units import RATE

SPEECH = (Segment(1.0, 3.0),)


def sound(seconds: float = 4.0, noise: float = 0.0, level: float = 0.1) -> Audio:
    """Noise that stands for speech from 1 s to 3 s, and `noise` (RMS) everywhere."""
    random = np.random.default_rng(0)
    samples = noise * random.standard_normal(round(seconds * RATE))
    samples[RATE : 3 * RATE] += level * random.standard_normal(2 * RATE)
    return Audio("made", samples.astype(np.float32))


@pytest.mark.parametrize("decibels", [30.0, 15.0, 5.0])
def test_the_ratio_of_speech_to_noise(decibels: float) -> None:
    noisy = sound(noise=0.1 * 10 ** (-decibels / 20))
    assert enrolment.snr(noisy, SPEECH) == pytest.approx(decibels, abs=0.5)


def test_words_that_were_not_found_are_no_noise() -> None:
    noisy = sound(noise=0.001)
    samples = noisy.samples.copy()
    samples[: RATE // 3] *= 100  # a loud word before the speech
    assert enrolment.snr(Audio("made", samples), SPEECH) == pytest.approx(40, abs=1)


def test_where_all_is_speech_the_quietest_tenth_is_noise() -> None:
    noisy = sound(noise=0.01)
    everything = (Segment(0.0, 4.0),)
    assert enrolment.snr(noisy, everything) == pytest.approx(17.5, abs=1)  # half of it is speech: 3 dB less


def test_silence_and_nothing() -> None:
    assert enrolment.snr(sound(noise=0.0), SPEECH) == enrolment.BEYOND
    assert enrolment.snr(Audio("still", np.zeros(4 * RATE, np.float32)), SPEECH) == -enrolment.BEYOND
    assert enrolment.clipped(Audio("still", np.zeros(4 * RATE, np.float32)), SPEECH) == 0.0
    with pytest.raises(ValueError, match="no speech"):
        enrolment.snr(sound(), ())


def test_clipping_whatever_the_level() -> None:
    clean = sound()
    assert enrolment.clipped(clean, SPEECH) < 0.015
    limit = np.quantile(np.abs(clean.samples[RATE : 3 * RATE]), 0.97)
    cut = Audio("cut", (0.3 * np.clip(clean.samples, -limit, limit)).astype(np.float32))
    assert 0.03 < enrolment.clipped(cut, SPEECH) < 0.06


def voices(*people: int, spread: float = 0.5) -> Vectors:
    """Windows of people, one each, around a voice of their own."""
    random = np.random.default_rng(1)
    own = np.random.default_rng(2).standard_normal((4, 64))
    rows = own[list(people)] / np.linalg.norm(own[list(people)], axis=1, keepdims=True)
    rows = rows + spread * random.standard_normal(rows.shape) / 8
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


UNMEASURED = Calibration(
    "made", "cosine", (), (), (-5.0, 10.0, 0.0), 0.0, (1, 20), (4000, 8000), (-4.5, 4.5), (99, 99), 9, "made"
)
MEASURED = replace(UNMEASURED, one_voice=0.42)


@pytest.mark.parametrize("calibration", [None, UNMEASURED, MEASURED], ids=["none", "unmeasured", "measured"])
def test_one_voice_or_two(calibration: Calibration | None) -> None:
    one = enrolment.halves(voices(*[0] * 12), calibration)
    two = enrolment.halves(voices(0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0), calibration)
    assert two is not None and two.threshold == (0.42 if calibration is MEASURED else enrolment.ONE_VOICE_RATIO)
    assert one is not None and one.one_voice
    assert two is not None and not two.one_voice
    assert two.labels.tolist()[4:6] == [1, 1] and two.labels[:4].sum() == 0  # 1 is who was heard less
    assert enrolment.halves(voices(0), calibration) is None


def test_many_windows_cost_no_square_of_memory() -> None:
    found = enrolment.halves(voices(*([0] * 6000 + [1] * 100)), MEASURED)
    assert found is not None and not found.one_voice and found.labels.sum() == 100


def compare(
    a: Vectors, a_seconds: object, b: Vectors, b_seconds: object
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.asarray(10 * (Cosine()(a, b) - 0.5), np.float64)


def test_whoever_does_not_belong_is_named() -> None:
    seconds = np.full(5, 3.0)
    assert enrolment.outliers(voices(0, 0, 0, 0, 0), seconds, 0, compare, 0.0) == {}
    assert list(enrolment.outliers(voices(0, 0, 1, 0, 0), seconds, 0, compare, 0.0)) == [2]
    assert sorted(enrolment.outliers(voices(0, 1, 0, 2, 0), seconds, 0, compare, 0.0)) == [1, 3]


def test_a_stranger_is_not_let_in_by_numbers() -> None:
    many = voices(0, 0, 1, 1, 1, 1, 1, 1)
    assert sorted(enrolment.outliers(many, np.full(8, 3.0), 2, compare, 0.0)) == [2, 3, 4, 5, 6, 7]


def test_of_two_that_disagree_both_go_unless_one_is_held() -> None:
    pair, seconds = voices(0, 1), np.full(2, 3.0)
    assert sorted(enrolment.outliers(pair, seconds, 0, compare, 0.0)) == [0, 1]
    assert list(enrolment.outliers(pair, seconds, 1, compare, 0.0)) == [1]
    assert enrolment.outliers(pair[:1], seconds[:1], 0, compare, 0.0) == {}
    with pytest.raises(ValueError, match="two utterances"):
        enrolment.agreement(pair[:1], seconds[:1], compare)


def test_where_a_speaker_is_alone() -> None:
    turns = [
        Turn(0.0, 4.0, "A"),
        Turn(3.0, 6.0, "B"),  # over the end of A's
        Turn(6.0, 7.0, "A"),  # too short alone
        Turn(8.0, 10.0, "B"),
        Turn(11.0, 13.0, "A"),
        Turn(13.5, 16.0, "A"),  # the same stretch: half a second of silence
        Turn(20.0, 60.0, "A"),
    ]
    found = enrolment.alone(turns, "A")
    assert found == (Segment(0.0, 2.75), Segment(11.0, 16.0), Segment(20.0, 50.0))
    assert enrolment.alone(turns, "B") == (Segment(8.0, 10.0),)
    assert enrolment.alone([], "A") == ()


def test_a_long_talk_gives_as_much_as_is_of_use() -> None:
    talk = [Turn(40.0 * i, 40.0 * i + 35 - i, "A") for i in range(6)]
    assert [round(s.duration) for s in enrolment.alone(talk, "A")] == [30, 30]
