from __future__ import annotations

import pytest

from diarize import units


@pytest.mark.parametrize(
    ("seconds", "sample"), [(0.0, 0), (0.3, 4800), (1 / 16000, 1), (0.00009, 1), (0.00006, 0), (36000.1, 576001600)]
)
def test_a_time_belongs_to_the_sample_at_or_before_it(seconds: float, sample: int) -> None:
    assert units.to_samples(seconds) == sample


@pytest.mark.parametrize("sample", [0, 1, 3, 4800, 575_999_999])
def test_samples_survive_the_way_to_seconds_and_back(sample: int) -> None:
    for rate in (8_000, 11_025, 16_000, 44_056, 192_000):
        assert units.to_samples(sample / rate, rate) == sample


def test_times_of_results_are_whole_milliseconds() -> None:
    assert units.round_time(1.23456) == 1.235
    assert units.to_milliseconds(1.2346) == 1235
    assert units.to_milliseconds(units.round_time(0.0015)) == round(units.round_time(0.0015) * 1000)
