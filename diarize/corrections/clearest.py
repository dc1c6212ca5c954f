"""Where a speaker is to be heard most clearly: to recognise a voice takes some seconds of it, and nobody else's."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from diarize.corrections.state import EditedTurn, State

WANTED = 10_000  # ms in all
LONGEST = 5_000  # ms of one part: several places of a recording say more than one
SHORTEST = 1_000  # ms of one part
COLLAR = 100  # ms around the turns of others that are left out
UNKNOWN = 0.5  # confidence of a turn that has none

Span = tuple[int, int]  # ms


def clearest(state: State, speaker: str, wanted: int = WANTED) -> tuple[Span, ...]:
    """Parts of the turns of `speaker` in which nobody else speaks, about `wanted` ms in all, in order of time.

    Chosen by confidence times length; what a person decided or checked has confidence 1. Where the speaker is nowhere
    alone for `SHORTEST`, the beginning of their longest turn; nothing for a speaker without turns.
    """
    own = [turn for turn in state.turns if turn.speaker == speaker]
    others = [turn for turn in state.turns if turn.speaker != speaker]
    starts = [turn.start for turn in others]
    longest = max((turn.end - turn.start for turn in others), default=0)
    parts: list[tuple[float, int, int]] = []
    for turn in own:
        sure = 1.0 if turn.human or turn.checked else UNKNOWN if turn.confidence is None else turn.confidence
        first = bisect_left(starts, turn.start - longest - COLLAR)
        last = bisect_left(starts, turn.end + COLLAR)
        for start, end in _without(turn, others[first:last]):
            if end - start >= SHORTEST:
                length = min(end - start, LONGEST)
                parts.append((-sure * length, start, start + length))
    if not parts:
        whole = max(own, key=lambda each: (each.end - each.start, -each.start), default=None)
        return () if whole is None else ((whole.start, min(whole.end, whole.start + wanted)),)
    chosen: list[Span] = []
    left = wanted
    for _, start, end in sorted(parts):
        if left < SHORTEST:
            break
        chosen.append((start, min(end, start + left)))
        left -= chosen[-1][1] - start
    return tuple(sorted(chosen))


def speaking_time(state: State) -> dict[str, int]:
    """Speaker -> ms in which they speak."""
    times = {speaker.id: 0 for speaker in state.speakers}
    reach: dict[str, int] = {}
    for turn in state.turns:  # by start
        start = max(turn.start, reach.get(turn.speaker, 0))
        if turn.end > start:
            times[turn.speaker] = times.get(turn.speaker, 0) + turn.end - start
            reach[turn.speaker] = turn.end
    return times


def _without(turn: EditedTurn, others: Sequence[EditedTurn]) -> list[Span]:
    """The parts of a turn that are more than `COLLAR` away from the `others`, which are sorted by start."""
    parts: list[Span] = []
    at = turn.start
    for other in others:
        if other.start - COLLAR > at:
            parts.append((at, min(turn.end, other.start - COLLAR)))
        at = max(at, other.end + COLLAR)
        if at >= turn.end:
            break
    if at < turn.end:
        parts.append((at, turn.end))
    return [part for part in parts if part[0] < part[1]]
