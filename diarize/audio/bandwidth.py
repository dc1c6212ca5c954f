"""The highest frequency at which a recording holds sound: telephone speech stays narrow at any sampling rate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diarize.types import Audio, Segment
from diarize.units import to_samples

FRAME = 512  # samples
BAND = 250.0  # Hz
RANGE = 60.0  # dB below the strongest band, down to which sound counts; resampling leaves less, speech more
_BLOCK = 2048  # frames at a time


def bandwidth(audio: Audio, speech: Sequence[Segment]) -> float:
    """Highest frequency of the `speech` of a recording, in Hz: the end of the highest band of 250 Hz whose mean power
    is within 60 dB of the strongest. Without speech or sound, half the sampling rate."""
    power = np.zeros(FRAME // 2 + 1)
    hann = np.hanning(FRAME + 1)[:-1].astype(np.float32)
    for segment in speech:
        # A segment's end, rounded to milliseconds, may lie a few samples after the recording's.
        samples = audio.samples[to_samples(segment.start, audio.rate) : to_samples(segment.end, audio.rate)]
        frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
        for at in range(0, len(frames), _BLOCK):
            spectra = np.fft.rfft(frames[at : at + _BLOCK] * hann, axis=1)
            power += np.square(np.abs(spectra)).sum(axis=0)
    if not power.any():
        return audio.rate / 2
    bands = (np.fft.rfftfreq(FRAME, 1 / audio.rate) / BAND).astype(int)
    means = np.bincount(bands, weights=power) / np.bincount(bands)
    reached = np.flatnonzero(means >= means.max() * 10 ** (-RANGE / 10))[-1]
    return float(min((reached + 1) * BAND, audio.rate / 2))
