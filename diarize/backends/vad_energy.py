"""Speech is what is louder than the recording's own noise: no model, for tests and clean recordings.

It takes music, traffic and tones for speech; silero does not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diarize.audio import memory
from diarize.config import VadConfig
from diarize.speech import vad
from diarize.types import Audio, Segment

STEP = 0.02  # s between the levels
QUIETEST = -60.0  # dBFS; noise is taken to be at least this loud, so that silence has no speech
LOUDEST = -35.0  # dBFS; noise is taken to be at most this loud, so that speech without pauses is not its own noise
NOISE = 10  # percentile of the levels that is the noise
SPAN = 50.0  # dB above the noise at which speech is certain: the default thresholds lie 10 and 6 dB above it
BLOCK = 6000  # levels computed at once, 2 min


class Energy:
    """A `Detector` that ignores where speech is likely."""

    def __init__(self, config: VadConfig) -> None:
        self._config = config
        settings = ",".join(f"{k}={v}" for k, v in config.model_dump().items() if k != "backend")
        self.name = f"energy({settings})"

    def __call__(self, audio: Audio, likely: Sequence[Segment] = ()) -> tuple[Segment, ...]:
        levels = _levels(audio)
        heard = levels[levels > 2 * QUIETEST]  # digital silence is no noise
        noise = np.clip(np.percentile(heard, NOISE) if len(heard) else QUIETEST, QUIETEST, LOUDEST)
        probabilities = np.clip((levels - noise) / SPAN, 0, 1)
        return vad.segments(probabilities, STEP, audio.duration, self._config)


def load(config: VadConfig | None = None) -> Energy:
    """The detector."""
    return Energy(config or VadConfig())


def _levels(audio: Audio) -> NDArray[np.float64]:
    """RMS in dBFS of each 20 ms; what is left over at the end counts as a full one."""
    size = round(STEP * audio.rate)
    found = []
    for first in range(0, len(audio.samples), size * BLOCK):
        block = np.square(audio.samples[first : first + size * BLOCK], dtype=np.float64)
        sums = np.add.reduceat(block, np.arange(0, len(block), size))
        found.append(10 * np.log10(sums / size + 1e-20))
        memory.release(audio.samples)
    return np.concatenate(found) if found else np.zeros(0)
