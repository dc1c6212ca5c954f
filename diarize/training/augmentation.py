"""Multi-condition training: a crop at another speed, in a room, with noise, through a telephone.

Each crop draws from a generator of its own, so it does not depend on what was drawn before: a resumed run draws the
same.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy.signal import oaconvolve, resample_poly

from diarize.errors import MissingExtra
from diarize.training import codecs
from diarize.training.data.clips import Clips
from diarize.training.data.clips import crop as random_crop
from diarize.training.recipe import AugmentConfig
from diarize.types import Samples
from diarize.units import RATE

SPEAKERS_IN_BABBLE = (3, 6)
ROOM = ((3.0, 2.5, 2.3), (10.0, 8.0, 4.0))  # m, the smallest and the largest
DECAY = (0.2, 0.8)  # s until a room has lost 60 dB
MOST_REFLECTIONS = 12  # order of image sources: more change little and take long


class Augmentation:
    """Changes crops as the recipe's [augment] says."""

    def __init__(self, config: AugmentConfig, clips: Clips, speakers: Sequence[int], seed: int,
                 noises: Sequence[Samples] = ()) -> None:  # fmt: skip
        """`speakers`: indices of clips that babble is made of; `noises`: recordings of noise, in place of babble and
        pink noise. Raises MissingExtra where rooms are wanted and pyroomacoustics is not installed."""
        self.config, self._clips, self._babblers, self._noises = config, clips, tuple(speakers), noises
        self._rooms = simulate_rooms(config.rooms, seed) if config.reverberation else ()
        self._codecs = tuple(name for name in config.codecs if name in codecs.available())
        self.speeds = (1.0, *config.speeds)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Codecs of the recipe that cannot be encoded here."""
        return tuple(name for name in self.config.codecs if self.config.telephone and name not in self._codecs)

    def crop(self, clip: int, length: int, speed: float, rng: np.random.Generator) -> Samples:
        """A crop (length,) of a clip at a speed, changed."""
        samples = random_crop(self._clips, clip, round(length * speed), rng)
        if speed != 1:
            samples = change_speed(samples, speed)
        return self.change(np.resize(samples, length), rng)

    def change(self, samples: Samples, rng: np.random.Generator) -> Samples:
        """The samples in a room, with noise, through a telephone, each with its probability."""
        chances = rng.random(3)
        if chances[0] < self.config.reverberation:
            samples = reverberate(samples, self._rooms[int(rng.integers(len(self._rooms)))])
        if chances[1] < self.config.noise:
            snr = float(rng.uniform(*self.config.noise_snr))
            samples = add_noise(samples, self._noise(len(samples), rng), snr)
        if chances[2] < self.config.telephone and self._codecs:
            samples = codecs.telephone(samples, self._codecs[int(rng.integers(len(self._codecs)))])
        return np.asarray(samples, np.float32)

    def _noise(self, length: int, rng: np.random.Generator) -> Samples:
        if self._noises:
            noise = self._noises[int(rng.integers(len(self._noises)))]
            return np.resize(np.roll(noise, -int(rng.integers(len(noise)))), length)
        if rng.random() < 0.5 and self._babblers:
            voices = rng.choice(self._babblers, int(rng.integers(*SPEAKERS_IN_BABBLE)))
            babble = np.sum([random_crop(self._clips, int(voice), length, rng) for voice in voices], axis=0)
            return np.asarray(babble, np.float32)
        return pink_noise(length, rng)


def change_speed(samples: Samples, speed: float) -> Samples:
    """Faster (> 1) or slower, with the pitch, as sox's speed: another voice (Ko et al. 2015, "Audio augmentation")."""
    ratio = Fraction(1 / speed).limit_denominator(100)
    return np.asarray(resample_poly(samples, ratio.numerator, ratio.denominator), np.float32)


def add_noise(samples: Samples, noise: Samples, snr: float) -> Samples:
    """The sum, with the power of the noise `snr` dB below that of the samples."""
    power = float(np.square(samples, dtype=np.float64).mean())
    other = float(np.square(noise, dtype=np.float64).mean())
    if not power or not other:
        return samples
    return samples + noise * np.float32(np.sqrt(power / other / 10 ** (snr / 10)))


def pink_noise(length: int, rng: np.random.Generator) -> Samples:
    """Noise whose power falls by 3 dB an octave."""
    spectrum = np.fft.rfft(rng.standard_normal(length)) / np.sqrt(np.arange(length // 2 + 1) + 1.0)
    return np.asarray(np.fft.irfft(spectrum, length), np.float32)


def reverberate(samples: Samples, response: NDArray[np.float32]) -> Samples:
    """Samples in a room, as many, not delayed, as loud as before."""
    delay = int(np.argmax(np.abs(response)))
    wet = oaconvolve(samples, response)[delay : delay + len(samples)]
    before, after = (float(np.square(x, dtype=np.float64).sum()) for x in (samples, wet))
    return np.asarray(wet * np.sqrt(before / after) if after else wet, np.float32)


def simulate_rooms(count: int, seed: int) -> tuple[NDArray[np.float32], ...]:
    """Impulse responses of `count` rooms by image sources (Allen and Berkley 1979). Raises MissingExtra."""
    try:
        import pyroomacoustics
    except ModuleNotFoundError as error:
        raise MissingExtra("reverberation", "train") from error
    rng = np.random.default_rng([seed, 1979])
    responses: list[NDArray[np.float32]] = []
    while len(responses) < count:
        size = rng.uniform(*ROOM)
        source, microphone = (rng.uniform(0.3, size - 0.3) for _ in range(2))
        try:
            absorption, order = pyroomacoustics.inverse_sabine(float(rng.uniform(*DECAY)), size)
        except ValueError:  # no wall absorbs enough for a short decay in a large room
            continue
        room = pyroomacoustics.ShoeBox(
            size, fs=RATE, materials=pyroomacoustics.Material(absorption), max_order=min(order, MOST_REFLECTIONS)
        )
        room.add_source(source)
        room.add_microphone(microphone)
        room.compute_rir()
        responses.append(np.asarray(room.rir[0][0], np.float32))
    return tuple(responses)
