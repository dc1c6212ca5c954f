"""What of a recording of one person is embedded, before it is compared (docs/verification.md).

speech     the speech that the detector finds, with margins: the default
whole      the whole recording
sox-app    what a published verification app does with SoX: channels averaged, 16 kHz, gain -1 dB, silence removed,
           the first 10 s
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import gcd

import numpy as np
from numpy.typing import NDArray

from diarize.errors import ConfigError
from diarize.types import Audio

SPEECH, WHOLE, SOX_APP = "speech", "whole", "sox-app"
PREPARATIONS = (SPEECH, WHOLE, SOX_APP)
GAIN = 10 ** (-1 / 20)  # -1 dB
QUIET = 0.001  # of full scale, 0.1 %: RMS under which sound is silence
PERIOD = 0.1  # s: shorter silence stays, shorter sound after silence does not
WINDOW = 0.02  # s over which SoX measures the level (silence.c)
LONGEST = 10.0  # s


def check(name: str) -> str:
    """`name`, if it is a preparation. Raises ConfigError."""
    if name not in PREPARATIONS:
        raise ConfigError("--prepare", name, f"is none of {', '.join(PREPARATIONS)}")
    return name


def sox_app(audio: Audio) -> Audio:
    """Mono audio at 16 kHz as `gain -1 silence 1 0.1 0.1% -1 0.1 0.1% trim 0 10` of SoX leaves it.

    Silence is a level under 0.1 % of full scale over 20 ms. It is removed at the start until there is sound for 0.1 s,
    and likewise wherever it lasts for 0.1 s. Audio that is all silence is returned whole.
    """
    samples = audio.samples * np.float32(GAIN)
    remaining = samples[_sounding(samples, audio.rate)]
    if not len(remaining):
        remaining = samples
    return replace(audio, samples=remaining[: round(LONGEST * audio.rate)].copy(), lost=(), pcm="")


def _sounding(samples: NDArray[np.float32], rate: int) -> NDArray[np.bool_]:
    """(n,): whether a sample stays."""
    window, period = round(WINDOW * rate), round(PERIOD * rate)
    energy = np.concatenate([np.zeros(window), np.cumsum(np.square(samples, dtype=np.float64))])
    power = (energy[window:] - energy[:-window]) / window  # of the window that ends with each sample
    loud = power >= QUIET**2
    edges = np.flatnonzero(np.diff(loud, prepend=not loud[:1].any(), append=not loud[-1:].any()))
    stays = np.zeros(len(samples), bool)
    in_sound = False
    for start, end in pairwise(edges):
        if end - start >= period:
            in_sound = bool(loud[start])
        stays[start:end] = in_sound
    return stays


def resample(audio: Audio, rate: int) -> Audio:
    """The audio at another rate (Hz)."""
    if audio.rate == rate:
        return audio
    from scipy.signal import resample_poly

    divisor = gcd(rate, audio.rate)
    samples = resample_poly(audio.samples, rate // divisor, audio.rate // divisor).astype(np.float32)
    return replace(audio, samples=samples, rate=rate, pcm="")
