"""Conditions of a comparison: through which lines the two sides were recorded, as far as their bandwidth shows it.

Speech through a telephone has other scores than speech at a microphone, and most of all if only one side is a
telephone. A calibration can hold weights for such conditions; they are fitted to trials whose sides had the same
measured bandwidths (benchmarks/conditions.py, docs/method/evidence.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

NARROW, TELEPHONE = 4_250.0, 7_000.0  # Hz: the highest bandwidth of a narrow side, and the lowest of a wide one
WIDE = "wide"
LINES = ("narrow", "telephone", WIDE)


@dataclass(frozen=True, slots=True)
class Condition:
    """Weights and limits of a calibration between two kinds of lines, as the fields of `Calibration` of these names."""

    lines: tuple[str, str]  # sorted
    weights: tuple[float, float, float]
    seconds: tuple[float, float]  # s
    bandwidth: tuple[float, float]  # Hz, of either side
    bounds: tuple[float, float]
    trials: tuple[int, int]
    speakers: int

    def __post_init__(self) -> None:
        numbers = (*self.weights, *self.seconds, *self.bandwidth, *self.bounds)
        if not all(isfinite(number) for number in numbers):
            raise ValueError(f"a condition is made of finite numbers, got {numbers}")
        if not set(self.lines) <= set(LINES) or self.lines != tuple(sorted(self.lines)):
            raise ValueError(f"a condition is of two of {', '.join(LINES)} in order, got {self.lines}")
        if not (0 < self.seconds[0] <= self.seconds[1] and 0 < self.bandwidth[0] <= self.bandwidth[1]):
            raise ValueError(f"ranges begin above 0 and rise, got {self.seconds} s, {self.bandwidth} Hz")
        if not self.bounds[0] <= 0 <= self.bounds[1] or self.weights[1] <= 0:
            raise ValueError(f"bounds {self.bounds} must lie around 0, and the weight of the score above it")


def line_of(bandwidth: float) -> str:
    """The kind of line of a side with this measured bandwidth (Hz): narrow, telephone, or wide."""
    return "narrow" if bandwidth <= NARROW else "telephone" if bandwidth < TELEPHONE else WIDE


def lines_of(a: float | None, b: float | None) -> tuple[str, str] | None:
    """The kinds of lines of two sides, sorted; None where a bandwidth was not measured."""
    if a is None or b is None:
        return None
    first, second = sorted((line_of(a), line_of(b)))
    return first, second
