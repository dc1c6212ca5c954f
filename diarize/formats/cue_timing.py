"""Subtitles one after the other: none overlap, and each is shown for long enough to be read, where there is room.

A subtitle that is too short stays until the next one begins. Where people speak at once, or too fast, the time that
there is is divided by how long each text takes to read, and a subtitle may begin later than its words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from diarize.formats.line_breaks import COLUMNS, count_columns
from diarize.text import counted
from diarize.types import Segment, Turn

LONGEST, SHORTEST = 7.0, 1.0  # s of a subtitle
PACE = 17.0  # characters a second that can be read
_LATE, _LATE_OVERLAPPING = 0.5, 2.5  # s that a subtitle may begin after its words: alone, while another speaks
_NEAR = 0.5  # s between two speakers whose words may be shown together
_LEAST = 0.001  # s


@dataclass(frozen=True, slots=True)
class CuePart:
    """The text of one speaker (None: nobody) in a cue. `lead`: columns of the name in front, which is read at a glance
    and does not count in the pace."""

    speaker: str | None
    lines: tuple[str, ...]
    lead: int = 0


@dataclass(frozen=True, slots=True)
class Cue(Segment):
    """What is shown from `start` to `end`: one speaker's text in at most two lines, or a line each of two speakers."""

    parts: tuple[CuePart, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        return tuple(line for part in self.parts for line in part.lines)

    @property
    def pace(self) -> float:
        """Characters a second, without names in front; a wide character of East Asia counts twice."""
        return self.columns / self.duration

    @property
    def columns(self) -> int:
        return sum(sum(map(count_columns, part.lines)) - part.lead for part in self.parts)

    @property
    def needed(self) -> float:
        """s that it takes to read."""
        return min(LONGEST, max(SHORTEST, self.columns / PACE))


def join_short(cues: Sequence[Cue]) -> list[Cue]:
    """Cues (by start) in which two speakers have a line each, where they overlap, or where one alone is too short."""
    joined: list[Cue] = []
    following = [*(cue.start for cue in cues[1:]), float("inf")][: len(cues)]
    for cue, after in zip(cues, following, strict=True):
        last = joined[-1] if joined else None
        if last is not None and len(last.parts) == 1 and last.parts[0].speaker != cue.parts[0].speaker:
            both = Cue(last.start, max(last.end, cue.end), (*last.parts, *cue.parts))
            lone = cue.start - last.start < SHORTEST or after - cue.start < SHORTEST
            is_near = cue.start < last.end or (lone and cue.start - last.end < _NEAR)
            is_small = len(both.lines) == 2 and all(count_columns(line) <= COLUMNS for line in both.lines)
            if is_near and is_small and both.duration <= LONGEST:
                joined[-1] = both
                continue
        joined.append(cue)
    return joined


def in_sequence(cues: Sequence[Cue], duration: float) -> list[Cue]:
    """The cues (by start) without overlap, each shown until it can be read, in a recording of some seconds.

    A cue begins at most half a second after its words if nobody else speaks, 2.5 s if somebody does, unless there are
    more cues than milliseconds.
    """
    result: list[Cue] = []
    number = 0
    for group in _groups(cues):
        until = max(cue.end for cue in group)
        rest = sum(cue.needed for cue in group)
        for cue in group:
            number += 1
            after = cues[number].start if number < len(cues) else duration + LONGEST
            start = max(cue.start, result[-1].end if result else 0.0)
            scale = min(1.0, max(0.0, until - start) / rest)
            rest = max(rest - cue.needed, _LEAST)
            end = max(cue.end, min(start + cue.needed, duration))
            if end > after:
                late = _LATE_OVERLAPPING if after < cue.end else _LATE
                end = min(end, max(after, min(start + cue.needed * scale, after + late)))
            result.append(replace(cue, start=start, end=max(round(end, 3), round(start + _LEAST, 3))))
    return _extended(result, duration)


def _extended(cues: Sequence[Cue], duration: float) -> list[Cue]:
    """Cues that can be read only if they stay until the next one, which they then do."""
    following = [*(cue.start for cue in cues[1:]), duration][: len(cues)]
    return [
        replace(cue, end=max(cue.end, round(min(after, cue.start + cue.needed), 3)))
        for cue, after in zip(cues, following, strict=True)
    ]


def _groups(cues: Sequence[Cue]) -> Iterator[list[Cue]]:
    """Cues that would overlap if each were shown as long as it takes to read."""
    group: list[Cue] = []
    until = 0.0
    for cue in cues:
        if group and cue.start >= until:
            yield group
            group = []
        group.append(cue)
        until = max(until, cue.end, cue.start + cue.needed)
    if group:
        yield group


def turns_as_cues(turns: Sequence[Turn], label: Callable[[str], str], one_speaker: bool) -> list[Cue]:
    """Who speaks between each two changes, a line a speaker, two lines a cue; more speakers follow each other."""
    times = sorted({time for turn in turns for time in (turn.start, turn.end)})
    running: list[Turn] = []
    cues: list[Cue] = []
    following = iter([*turns, None])
    next_turn = next(following)
    for start, end in pairwise(times):
        while next_turn is not None and next_turn.start <= start:
            running.append(next_turn)
            next_turn = next(following)
        running = [turn for turn in running if turn.end > start]
        speakers = list(dict.fromkeys(turn.speaker for turn in running))
        size = 1 if one_speaker else 2
        shown = [speakers[i : i + size] for i in range(0, len(speakers), size)]
        shown = shown[: max(1, round((end - start) * 1000))]  # none is shorter than a millisecond
        edges = [round(start + (end - start) * i / len(shown), 3) for i in range(len(shown))] + [end] if shown else []
        for own, (first, last) in zip(shown, pairwise(edges), strict=True):
            parts = tuple(CuePart(id, (label(id),)) for id in own)
            if cues and cues[-1].parts == parts and cues[-1].end == first:
                cues[-1] = replace(cues[-1], end=last)
            else:
                cues.append(Cue(first, last, parts))
    return cues


def broken_rules(cues: Sequence[Cue]) -> tuple[str, ...]:
    """What readers cannot follow, with how many cues it concerns; cues without words are left out of none of it."""
    fast = sum(round(cue.pace, 1) > PACE for cue in cues)
    short = sum(cue.duration < SHORTEST - _LEAST / 2 for cue in cues)
    wide = sum(any(count_columns(line) > COLUMNS for line in cue.lines) for cue in cues)
    rules = (
        (fast, f"faster than {PACE:g} characters a second: the speech is"),
        (short, f"shorter than {SHORTEST:g} s: the next one begins before"),
        (wide, f"wider than {COLUMNS} columns: one word is, with the name"),
    )
    return tuple(f"{counted(n, 'subtitle')} of {len(cues)} {rule}" for n, rule in rules if n)
