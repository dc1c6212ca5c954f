"""Who speaks after whom, and who interrupts whom.

A turn follows another one if it begins at most two seconds after that one has ended, nobody has begun in between, and
nobody else is speaking. A turn interrupts another one if it begins while that one goes on, and still goes on when that
one has ended: a listener's "mhm", which ends before, interrupts nobody (Schegloff 2000, "Overlapping talk and the
organization of turn-taking for conversation", Language in Society 29).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from diarize.types import Turn

PAUSE = 2.0  # s after which nobody answers


@dataclass(frozen=True, slots=True)
class Exchanges:
    """(second speaker, first speaker) -> how often."""

    follows: Counter[tuple[str, str]] = field(default_factory=Counter)
    interrupts: Counter[tuple[str, str]] = field(default_factory=Counter)


def count_exchanges(turns: Sequence[Turn]) -> Exchanges:
    """The exchanges of turns, which are sorted by start."""
    counts = Exchanges()
    running: list[Turn] = []
    last: Turn | None = None  # the latest to begin
    for turn in turns:
        running = [other for other in running if other.end > turn.start]
        for other in running:
            if other.speaker != turn.speaker and turn.start > other.start and turn.end > other.end:
                counts.interrupts[turn.speaker, other.speaker] += 1
        answers = last is not None and last.speaker != turn.speaker and last.end <= turn.start <= last.end + PAUSE
        if last is not None and answers and not running:
            counts.follows[turn.speaker, last.speaker] += 1
        running.append(turn)
        last = turn
    return counts
