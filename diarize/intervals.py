"""An index of spans of time: which overlap a span, and which is nearest. Logarithmic if spans do not nest."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Protocol


class Span(Protocol):
    """Anything with a start and an end in seconds."""

    @property
    def start(self) -> float: ...
    @property
    def end(self) -> float: ...


class SpanIndex:
    """Spans, sorted by start, searchable by time."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = spans
        self._starts = [span.start for span in spans]
        if any(a > b for a, b in zip(self._starts, self._starts[1:], strict=False)):
            raise ValueError("an index needs spans sorted by start")
        self._reach = list(accumulate((span.end for span in spans), max))  # latest end up to and including span i

    def overlapping(self, span: Span) -> Iterator[int]:
        """Positions of the spans that share more than an instant with `span`, in order.

        An empty `span` (start == end) overlaps the spans around it.
        """
        first = bisect_right(self._reach, span.start)
        last = bisect_left(self._starts, span.end) if span.end > span.start else bisect_right(self._starts, span.end)
        for i in range(first, last):
            if self._spans[i].end > span.start:
                yield i

    def closest(self, span: Span) -> int:
        """Position of the span that overlaps `span` most, else the nearest one; the earlier where two are equal.

        Raises ValueError if there are no spans.
        """
        if not self._spans:
            raise ValueError("the index has no spans")
        overlapping = list(self.overlapping(span))
        if overlapping:
            return max(overlapping, key=lambda i: (self._shared(i, span), -i))
        after = bisect_left(self._starts, span.end)
        nearest = [after] if after < len(self._spans) else []
        if after > 0:
            nearest.append(bisect_left(self._reach, self._reach[after - 1], 0, after))
        return min(nearest, key=lambda i: (self.gap(i, span), i))

    def gap(self, i: int, span: Span) -> float:
        """Seconds between span `i` and `span`; 0.0 when they touch or overlap."""
        return max(0.0, span.start - self._spans[i].end, self._spans[i].start - span.end)

    def _shared(self, i: int, span: Span) -> float:
        return min(span.end, self._spans[i].end) - max(span.start, self._spans[i].start)
