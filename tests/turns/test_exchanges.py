"""Who speaks after whom, and who interrupts whom."""

from __future__ import annotations

from diarize.turns.exchanges import count_exchanges
from diarize.types import Turn


def test_a_turn_after_another_follows_it() -> None:
    turns = (Turn(0, 2, "A"), Turn(2.5, 4, "B"), Turn(4, 5, "A"), Turn(5.5, 6, "A"), Turn(9, 10, "B"))
    counts = count_exchanges(turns)
    assert counts.follows == {("B", "A"): 1, ("A", "B"): 1}  # A continues, and B begins after three seconds
    assert counts.interrupts == {}


def test_who_still_speaks_when_the_other_has_ended_interrupts() -> None:
    turns = (Turn(0, 5, "A"), Turn(2, 2.4, "B"), Turn(4, 8, "C"), Turn(7.9, 9, "A"))
    counts = count_exchanges(turns)
    assert counts.interrupts == {("C", "A"): 1, ("A", "C"): 1}  # B's word ends before, and interrupts nobody
    assert counts.follows == {}
