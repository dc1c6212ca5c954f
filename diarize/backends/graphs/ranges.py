"""Ranges of the values inside a network, measured on its inputs: what `quantisation.quantise` needs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize.backends.graphs import ort_format, quantisation

BINS = 4096  # of the first input's largest magnitude
TAIL = 1e-5  # share of the values at each end that a range leaves out (docs/method/quantisation.md)


class Histogram:
    """Counts of values in bins of one width, from the lowest to the highest value seen."""

    def __init__(self, values: NDArray[np.float32]) -> None:
        self.width = max(float(np.abs(values).max()), 1e-6) / BINS
        self.low = 0  # first bin
        self.counts = np.zeros(1, np.int64)

    def add(self, values: NDArray[np.float32]) -> None:
        bins = np.floor(values.ravel() / np.float32(self.width)).astype(np.int64)
        low, high = min(self.low, int(bins.min())), max(self.low + len(self.counts), int(bins.max()) + 1)
        counts = np.bincount(bins - low, minlength=high - low)
        counts[self.low - low : self.low - low + len(self.counts)] += self.counts
        self.low, self.counts = low, counts

    def range(self, tail: float) -> tuple[float, float]:
        """The range that leaves out at most the share `tail` of the values at each end; 0: all values."""
        total = np.cumsum(self.counts)
        first = int(np.searchsorted(total, tail * total[-1], side="right"))
        last = int(np.searchsorted(total, (1 - tail) * total[-1], side="left"))
        return (self.low + first) * self.width, (self.low + last + 1) * self.width


def measure(
    model: Any,
    inputs: Iterable[NDArray[np.float32]],
    open_session: Callable[[bytes], Any],
    exact: Collection[str] = (),
) -> dict[str, Histogram]:
    """Histograms of all values of a graph of one input (an onnx.ModelProto) that `quantise` needs ranges of."""
    names = quantisation.ranges_needed(model, exact)
    session = open_session(ort_format.cut(model, "model", names))
    (input,) = session.get_inputs()
    histograms: dict[str, Histogram] = {}
    for values in inputs:
        for name, value in zip(names, session.run(list(names), {input.name: values}), strict=True):
            histograms.setdefault(name, Histogram(value)).add(value)
    return histograms
