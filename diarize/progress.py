"""How far a stage is: a backend reports it, whoever runs the backend may watch.

    with progress.watched(lambda share: print(f"{share:.0%}")):
        activity = segmenter(audio)

A backend that reports nothing works as well. Reports come from the thread that called the backend, never from threads
of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Watcher = Callable[[float], None]  # called with the share of its work that a stage has done, 0 to 1

_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Call `watcher` with each report of the block."""
    before = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(before)


def report(done: float, total: float | None) -> None:
    """`done` of `total` (both in one unit: seconds of audio, bytes, items) is done; a total that is unknown is None."""
    watcher = _watcher.get()
    if watcher is not None and total is not None and total > 0:
        watcher(min(max(done / total, 0.0), 1.0))


def reported(results: Iterable[Result], done: Sequence[float]) -> Iterator[Result]:
    """The same results; after each of them a report. `done`: how much is done with each, the last one being all."""
    for result, so_far in zip(results, done, strict=True):
        yield result
        report(so_far, done[-1])


def in_parts(items: Sequence[Item]) -> Iterator[Item]:
    """The same items; what is reported while one of them is worked on counts as a part of the whole."""
    outer = _watcher.get()
    for i, item in enumerate(items):
        if outer is None:
            yield item
        else:
            with watched(_part_of(outer, i, len(items))):
                yield item


def _part_of(watcher: Watcher, i: int, count: int) -> Watcher:
    return lambda share: watcher((i + share) / count)
