"""Time stamps to places, without any file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from diarize.audio.timestamps import DecodedBlock, TimestampAligner, as_float

RATE = 1000


def piece(time: float | None, milliseconds: int = 100, damaged: bool = False) -> DecodedBlock:
    return DecodedBlock(time, np.ones((milliseconds, 1), np.float32), RATE, damaged)


def run(aligner: TimestampAligner, pieces: Iterable[DecodedBlock]) -> list[tuple[float, int]]:
    """(start, samples) of everything, in the order in which it comes out."""
    placed = [entry for one in pieces for entry in aligner.align(one)]
    placed += aligner.finish()
    return [(round(start, 6), len(p.samples)) for start, p in placed]


def test_sound_follows_sound() -> None:
    aligner = TimestampAligner(5.0, None)
    assert run(aligner, [piece(5.0), piece(5.1), piece(5.2)]) == [(0.0, 100), (0.1, 100), (0.2, 100)]
    assert aligner.holes == []


def test_sound_without_stamps_follows_too() -> None:
    assert run(TimestampAligner(0, None), [piece(None), piece(None)]) == [(0.0, 100), (0.1, 100)]


def test_a_hole_is_kept() -> None:
    aligner = TimestampAligner(0, 10)
    assert run(aligner, [piece(0), piece(3), piece(3.1)]) == [(0.0, 100), (3.0, 100), (3.1, 100)]
    assert aligner.holes[0] == pytest.approx((0.1, 3.0))


def test_a_hole_before_the_last_piece_is_kept() -> None:
    assert run(TimestampAligner(0, 10), [piece(0), piece(3)]) == [(0.0, 100), (3.0, 100)]


def test_islands_between_holes_keep_their_places() -> None:
    aligner = TimestampAligner(0, 20)
    assert run(aligner, [piece(0), piece(3), piece(7), piece(7.1)]) == [(0, 100), (3, 100), (7, 100), (7.1, 100)]
    assert len(aligner.holes) == 2


def test_what_is_more_than_clocks_drift_is_lost() -> None:
    """As of a recorder that drops a packet now and then: 60 ms missing after each 100 ms are no drift."""
    aligner = TimestampAligner(0, 20)
    run(aligner, [piece(i * 0.16) for i in range(50)])
    assert aligner.corrections <= 2
    assert sum(end - start for start, end in aligner.holes) == pytest.approx(49 * 0.06, abs=0.2)


def test_a_single_lie_is_not_followed() -> None:
    aligner = TimestampAligner(0, 100)
    assert run(aligner, [piece(0), piece(50), piece(0.2), piece(0.3)]) == [(0, 100), (0.1, 100), (0.2, 100), (0.3, 100)]
    assert aligner.holes == []
    assert aligner.ignored == 1


def test_a_single_step_back_is_not_followed() -> None:
    aligner = TimestampAligner(0, 100)
    assert run(aligner, [piece(0), piece(0.1), piece(0), piece(0.3)]) == [(0, 100), (0.1, 100), (0.2, 100), (0.3, 100)]


def test_a_jump_past_the_declared_end_is_not_followed() -> None:
    aligner = TimestampAligner(0, 1.0)
    assert run(aligner, [piece(0), piece(1e9), piece(1e9 + 0.1)]) == [(0, 100), (0.1, 100), (0.2, 100)]
    assert aligner.holes == []
    assert aligner.ignored == 1


def test_stamps_that_start_anew_are_counted_on() -> None:
    aligner = TimestampAligner(0, 100)
    pieces = [*(piece(10 * k / 100) for k in range(30)), piece(0), piece(0.1), piece(0.2)]
    assert run(aligner, pieces)[-3:] == [(3.0, 100), (3.1, 100), (3.2, 100)]


def test_sound_that_is_repeated_is_left_out() -> None:
    aligner = TimestampAligner(0, 100)
    places = run(aligner, [piece(0), piece(0.1), piece(0.14), piece(0.24), piece(0.34)])
    assert places == [(0.0, 100), (0.1, 100), (0.2, 40), (0.24, 100), (0.34, 100)]
    assert aligner.repeated == pytest.approx(0.06)


def test_after_damage_small_differences_count() -> None:
    aligner = TimestampAligner(0, 100)
    assert run(aligner, [piece(0), piece(0.12, damaged=True), piece(0.22)]) == [(0, 100), (0.12, 100), (0.22, 100)]
    assert aligner.holes[0] == pytest.approx((0.1, 0.12))


def test_slow_drift_is_corrected_and_is_no_loss() -> None:
    aligner = TimestampAligner(0, 100)
    places = run(aligner, [piece(k * 0.101) for k in range(100)])
    assert places[-1][0] == pytest.approx(9.999, abs=0.041)
    assert aligner.holes == []
    assert aligner.corrections > 0


@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), max_size=30), st.one_of(st.none(), st.floats(0, 100)))
def test_any_stamps_give_ordered_places(stamps: list[float | None], declared: float | None) -> None:
    aligner = TimestampAligner(0, declared)
    end = 0.0
    for start, samples in run(aligner, [piece(stamp) for stamp in stamps]):
        assert start >= end - 1e-5
        end = start + samples / RATE
    assert end <= max(100, 100 + (declared or 0)) if declared is not None else end <= 30 * 3601
    assert aligner.cursor == pytest.approx(end, abs=1e-5)


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (np.array([[0], [128], [255]], np.uint8), [-1, 0, 127 / 128]),
        (np.array([[-32768], [0], [16384]], np.int16), [-1, 0, 0.5]),
        (np.array([[-(2**31)], [0], [2**30]], np.int32), [-1, 0, 0.5]),
        (np.array([[-2.5], [0], [1e300]], np.float64), [-2.5, 0, np.inf]),
    ],
)
def test_full_scale_is_one(samples: NDArray[Any], expected: list[float]) -> None:
    converted = as_float(samples)
    assert converted.dtype == np.float32
    assert converted[:, 0].tolist() == expected
