"""Detects sound that is louder than the recording's own noise: no model, for tests and clean recordings.

It also reports music, traffic and tones as speech; silero does not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diarize.activity import NO_ACTIVITY, LocalActivity
from diarize.audio import excerpts
from diarize.config import VadConfig
from diarize.speech import vad
from diarize.types import Audio, Segment

STEP = 0.02  # s of sound for each level
QUIETEST = -60.0  # dBFS; lower limit of the noise level, so that silence has no speech
LOUDEST = -35.0  # dBFS; upper limit of the noise level, so that speech without pauses is not taken for noise
NOISE = 10  # percentile of the levels that is the noise
SPAN = 50.0  # dB above the noise at which speech is certain: the default thresholds lie 10 and 6 dB above it
BLOCK = 6000  # levels computed at once, 2 min


class Energy:
    """A `Detector` that ignores the segmentation."""

    def __init__(self, config: VadConfig) -> None:
        self._config = config
        settings = ",".join(f"{k}={v}" for k, v in config.model_dump().items() if k != "backend")
        self.name = f"energy({settings})"

    def __call__(self, audio: Audio, activity: LocalActivity = NO_ACTIVITY) -> tuple[Segment, ...]:
        levels = _levels(audio)
        audible = levels[levels > 2 * QUIETEST]  # digital silence is not noise
        noise = np.clip(np.percentile(audible, NOISE) if len(audible) else QUIETEST, QUIETEST, LOUDEST)
        probabilities = np.clip((levels - noise) / SPAN, 0, 1)
        return vad.segments(probabilities, STEP, audio.duration, self._config)


def load(config: VadConfig | None = None) -> Energy:
    """The detector."""
    return Energy(config or VadConfig())


def _levels(audio: Audio) -> NDArray[np.float64]:
    """RMS in dBFS of each 20 ms; the rest at the end counts as a full one."""
    size = round(STEP * audio.rate)
    levels = []
    for first in range(0, len(audio.samples), size * BLOCK):
        block = np.square(audio.samples[first : first + size * BLOCK], dtype=np.float64)
        sums = np.add.reduceat(block, np.arange(0, len(block), size))
        levels.append(10 * np.log10(sums / size + 1e-20))
        excerpts.release(audio.samples)
    return np.concatenate(levels) if levels else np.zeros(0)
