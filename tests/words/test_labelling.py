"""Words to speakers."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diarize.config import LabelConfig
from diarize.types import Turn, Word
from diarize.words.labelling import label

ANNA, BEN = Turn(0.0, 5.0, "anna"), Turn(6.0, 9.0, "ben")


def said_by(word: Word, *turns: Turn, max_distance: float = 0.5) -> str | None:
    (labelled,) = label([word], turns, LabelConfig(max_distance=max_distance))
    return labelled.speaker


def test_the_greatest_overlap_wins() -> None:
    turns = (Turn(0.0, 2.0, "anna"), Turn(2.0, 5.0, "ben"))
    assert said_by(Word(1.5, 2.4, "on"), *turns) == "anna"
    assert said_by(Word(1.7, 2.4, "on"), *turns) == "ben"


def test_overlap_is_added_up_over_the_turns_of_a_speaker() -> None:
    turns = (Turn(0.0, 1.3, "anna"), Turn(1.3, 1.7, "ben"), Turn(1.7, 3.0, "anna"))
    assert said_by(Word(1.0, 2.0, "both"), *turns) == "anna"  # 0.3 s + 0.3 s against 0.4 s


def test_a_word_in_two_turns_goes_to_the_one_that_began_last() -> None:
    assert said_by(Word(3.0, 3.4, "wait"), Turn(0.0, 5.0, "anna"), Turn(2.9, 3.6, "ben")) == "ben"
    assert said_by(Word(4.0, 4.4, "yes"), Turn(0.0, 5.0, "anna"), Turn(2.9, 3.6, "ben")) == "anna"


def test_equal_shares_that_differ_by_rounding_are_equal() -> None:
    turns = (Turn(0.1, 0.4, "anna"), Turn(0.4, 0.7, "ben"))  # 0.4 - 0.1 and 0.7 - 0.4 differ in the last bit
    assert 0.4 - 0.1 != 0.7 - 0.4
    assert said_by(Word(0.1, 0.7, "halves"), *turns) == "ben"


def test_two_turns_that_began_together_give_the_same_speaker_every_time() -> None:
    turns = (Turn(1.0, 3.0, "anna"), Turn(1.0, 3.0, "ben"))
    assert said_by(Word(1.5, 2.0, "we"), *turns) == "anna"
    assert said_by(Word(1.5, 2.0, "we"), *turns[::-1]) == "ben"  # the order of the turns decides


def test_fault_43_a_word_in_no_turn_goes_to_the_nearest_within_reach() -> None:
    assert said_by(Word(5.1, 5.3, "so"), ANNA, BEN) == "anna"
    assert said_by(Word(5.6, 5.9, "so"), ANNA, BEN) == "ben"
    assert said_by(Word(5.25, 5.75, "so"), ANNA, BEN) == "anna"  # equally near: the earlier turn
    assert said_by(Word(5.5, 5.5, "so"), ANNA, BEN) == "anna"


def test_fault_43_a_word_in_no_turn_and_far_from_all_is_nobodys() -> None:
    assert said_by(Word(9.6, 9.9, "so"), ANNA, BEN) is None
    assert said_by(Word(9.6, 9.9, "so"), ANNA, BEN, max_distance=1.0) == "ben"
    assert said_by(Word(9.5, 9.9, "so"), ANNA, BEN) == "ben"  # the distance itself is within reach
    assert said_by(Word(5.25, 5.75, "so"), ANNA, BEN, max_distance=0.0) is None


def test_fault_43_a_word_of_zero_length_belongs_to_the_turn_around_its_instant() -> None:
    assert said_by(Word(3.0, 3.0, "a"), ANNA, BEN) == "anna"
    assert said_by(Word(0.0, 0.0, "a"), ANNA, BEN) == "anna"  # zero is a time
    assert said_by(Word(6.0, 6.0, "a"), Turn(4.0, 6.0, "anna"), BEN) == "ben"  # a turn is [start, end)
    assert said_by(Word(3.0, 3.0, "a"), ANNA, Turn(2.0, 4.0, "ben")) == "ben"
    assert said_by(Word(9.0, 9.0, "a"), ANNA, BEN) == "ben"  # in no turn, but next to one


def test_fault_43_words_out_of_order_keep_their_order_and_get_the_same_speakers() -> None:
    words = [Word(7.0, 7.5, "three"), Word(0.5, 1.0, "one"), Word(6.5, 6.9, "two"), Word(0.1, 0.4, "zero")]
    labelled = label(words, (ANNA, BEN), LabelConfig())
    assert [word.text for word in labelled] == ["three", "one", "two", "zero"]
    assert [word.speaker for word in labelled] == ["ben", "anna", "ben", "anna"]


def test_fault_43_a_word_beyond_the_end_is_nobodys_unless_the_last_turn_is_near() -> None:
    assert said_by(Word(9.2, 9.8, "bye"), ANNA, BEN) == "ben"
    assert said_by(Word(300.0, 300.5, "bye"), ANNA, BEN) is None


def test_fault_43_a_word_that_ends_before_it_starts_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="start <= end"):
        Word(2.0, 1.0, "backwards")


def test_without_turns_all_words_are_nobodys() -> None:
    assert [w.speaker for w in label([Word(0.0, 1.0, "a", speaker="anna")], (), LabelConfig())] == [None]


def test_nothing_else_about_a_word_changes() -> None:
    word = Word(1.0, 1.5, "a", probability=0.25, speaker="somebody else")
    assert label([word], (ANNA, BEN)) == (Word(1.0, 1.5, "a", probability=0.25, speaker="anna"),)


def test_turns_must_be_sorted() -> None:
    with pytest.raises(ValueError, match="sorted"):
        label([], (BEN, ANNA))


times = st.integers(0, 60).map(lambda n: n / 4)


@st.composite
def turn_lists(draw: st.DrawFn) -> list[Turn]:
    items = draw(st.lists(st.tuples(times, st.integers(1, 20), st.sampled_from("abc")), max_size=8))
    return sorted(Turn(start, start + quarters / 4, speaker) for start, quarters, speaker in items)


def by_definition(word: Word, turns: Sequence[Turn], reach: float) -> set[str | None]:
    """Every speaker that the rule allows, found by looking at all turns; ties are left open."""
    around = [t for t in turns if t.start <= word.start < t.end] if word.start == word.end else []
    if around:
        return {turn.speaker for turn in around}
    shares = {t.speaker: sum(word.overlap(u) for u in turns if u.speaker == t.speaker) for t in turns}
    if shares and max(shares.values()) > 0:
        return {speaker for speaker, share in shares.items() if share == max(shares.values())}
    distances = [word.distance(turn) for turn in turns]
    if distances and min(distances) <= reach:
        return {turn.speaker for turn, d in zip(turns, distances, strict=True) if d == min(distances)}
    return {None}


@given(turn_lists(), times, st.integers(0, 8))
def test_the_rule_as_it_is_defined(turns: list[Turn], start: float, quarters: int) -> None:
    word = Word(start, start + quarters / 4, "w")
    assert said_by(word, *turns) in by_definition(word, turns, 0.5)
