"""Cheap signs that a recording did not come from a microphone: digital silence, and bands that end too early.

They need no model and catch careless attacks. A telephone, a codec or a noise gate leaves some of them too, so each is
a remark with its figure, and not a decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diarize.audio import bandwidth as bandwidths
from diarize.types import Audio, Segment

LEAST_SILENCE = 0.05  # s of equal samples: a microphone's noise changes from sample to sample
NARROW = 7000.0  # Hz, a band that ends below is that of a telephone, or of an old synthesizer
BASS = 300.0  # Hz below which small loudspeakers give little
LEAST_BASS = -30.0  # dB, power below `BASS` against all of it: a voice near a microphone has more


@dataclass(frozen=True, slots=True)
class Sign:
    """One sign, with the figure that it is read from."""

    kind: str  # "digital_silence", "narrow_band", "no_bass"
    value: float
    text: str


def find_signs(audio: Audio, speech: Sequence[Segment]) -> tuple[Sign, ...]:
    """The signs of a recording of one person, whose `speech` is known. Without speech there is none but silence."""
    signs = []
    silence = digital_silence(audio)
    if silence > 0:
        text = f"{silence:.2f} s of digital silence: a microphone's noise never stops"
        signs.append(Sign("digital_silence", round(silence, 3), text))
    if speech:
        limit = bandwidths.bandwidth(audio, speech)
        if limit < NARROW:
            text = f"no sound above {limit:.0f} Hz, as on a telephone or from an old synthesizer"
            signs.append(Sign("narrow_band", limit, text))
        bass = bass_power(audio, speech)
        if bass < LEAST_BASS:
            share = f"the power below {BASS:.0f} Hz is {bass:.0f} dB of the whole"
            text = f"{share}, as from a small loudspeaker or a telephone"
            signs.append(Sign("no_bass", round(bass, 1), text))
    return tuple(signs)


def digital_silence(audio: Audio) -> float:
    """Seconds in which at least `LEAST_SILENCE` of samples are equal, lost spans apart."""
    if len(audio.samples) < 2:
        return 0.0
    equal = np.diff(audio.samples, prepend=np.float32(np.nan)) == 0
    for span in audio.lost:  # silence that decoding put there
        equal[int(span.start * audio.rate) : int(span.end * audio.rate) + 2] = False
    edges = np.flatnonzero(np.diff(np.concatenate([[0], equal.astype(np.int8), [0]])))
    lengths = (edges[1::2] - edges[::2]) / audio.rate
    return float(lengths[lengths >= LEAST_SILENCE].sum())


def bass_power(audio: Audio, speech: Sequence[Segment]) -> float:
    """Power below `BASS` Hz against all power of the speech, in dB."""
    total = low = 0.0
    for segment in speech:
        piece = audio.samples[int(segment.start * audio.rate) : int(segment.end * audio.rate)].astype(np.float64)
        if len(piece) < 2:
            continue
        power = np.square(np.abs(np.fft.rfft(piece)))
        total += float(power.sum())
        low += float(power[: int(BASS * len(piece) / audio.rate)].sum())
    return float(10 * np.log10(max(low, 1e-12) / total)) if total > 0 else 0.0
