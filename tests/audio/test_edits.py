"""Signs of edits, and the same sound in two files."""

from __future__ import annotations

import numpy as np
import pytest

from diarize.audio import duplicates, edits
from diarize.types import Audio, Segment

RATE = 16_000


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    """Brown-like noise with the ups and downs of speech."""
    rng = np.random.default_rng(seed)
    white = rng.standard_normal(round(seconds * RATE))
    smooth = np.convolve(white, np.hanning(32) / 16, "same")
    loud = np.repeat(rng.uniform(0.2, 1, round(seconds * 5) + 1), RATE // 5)[: len(white)]
    return (0.1 * smooth * loud).astype(np.float32)


def test_unedited_sound_has_no_signs() -> None:
    assert edits.signs(Audio("a", noise(5))) == ()


def test_blanked_and_copied_parts_are_seen() -> None:
    blanked = noise(5)
    blanked[30_000:32_000] = 0
    assert [(s.kind, s.time, s.size) for s in edits.signs(Audio("a", blanked)) if s.kind == "silence"] == [
        ("silence", 1.875, 0.125)
    ]
    copied = noise(5)
    copied[60_000:72_000] = copied[10_000:22_000]
    [sign] = [s for s in edits.signs(Audio("a", copied)) if s.kind == "repeat"]
    assert sign.time == pytest.approx(3.75, abs=0.1) and sign.other == pytest.approx(0.625, abs=0.1)
    assert sign.other is not None and sign.time - sign.other == pytest.approx(50_000 / RATE, abs=1e-3)


def test_a_hard_join_is_seen_and_lost_spans_are_no_edits() -> None:
    joined = (0.001 * noise(2)).astype(np.float32)
    joined[16_000:] += 0.5
    [sign] = edits.signs(Audio("a", joined))
    assert sign.kind == "jump" and sign.time == pytest.approx(1.0, abs=0.001)
    lost = noise(5)
    lost[30_000:32_000] = 0
    assert edits.signs(Audio("a", lost, lost=(Segment(30_000 / RATE, 32_000 / RATE),))) == ()


def test_the_same_sound_is_recognised_at_another_level_and_offset() -> None:
    sound = noise(12)
    whole = duplicates.fingerprint(sound)
    part = duplicates.fingerprint((0.3 * sound[40_000:120_000] + 0.001 * noise(5, seed=9)).astype(np.float32))
    overlap = duplicates.best_overlap(whole, part)
    assert overlap is not None and overlap.same and overlap.offset == pytest.approx(2.5, abs=0.05)
    other = duplicates.best_overlap(whole, duplicates.fingerprint(noise(12, seed=1)))
    assert other is not None and not other.same and other.error > 0.4
    assert duplicates.best_overlap(whole, duplicates.fingerprint(sound[:16_000])) is None
    assert (duplicates.unpack(duplicates.pack(whole)) == whole).all()
    assert duplicates.fingerprint(sound[:100]).shape == (0, 32)
