"""Speakers that come with words from a file: taken, compared, or said to be unused."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from diarize.config import LabelConfig
from diarize.types import Turn, Word
from diarize.words import foreign

WORDS = (
    Word(0.0, 0.5, "so", speaker="Anna Maria"),
    Word(0.6, 1.0, "yes", speaker="Anna Maria"),
    Word(0.7, 0.9, "no", speaker="Bob"),
    Word(1.1, 1.2, "well"),
    Word(3.0, 3.0, "hm", speaker="Anna Maria"),
    Word(9.8, 10.5, "bye", speaker="Bob"),
    Word(11.0, 12.0, "late", speaker="Carl"),
)
TAKEN = LabelConfig(speakers_from="transcript")


def test_turns_are_those_of_the_words() -> None:
    assert foreign.turns_of(WORDS, 10.0, 0.2) == (
        Turn(0.0, 1.0, "Anna Maria"),
        Turn(0.7, 0.9, "Bob"),
        Turn(3.0, 3.001, "Anna Maria"),
        Turn(9.8, 10.0, "Bob"),
    )
    assert foreign.turns_of(WORDS[3:4], 10.0, 0.2) == ()


def test_words_keep_their_speakers_and_those_without_get_one_by_the_turns() -> None:
    turns = foreign.turns_of(WORDS, 10.0, 0.2)
    labelled = foreign.label(WORDS, turns, TAKEN)
    assert [word.speaker for word in labelled] == [
        "Anna Maria", "Anna Maria", "Bob", "Anna Maria", "Anna Maria", "Bob", None,
    ]  # fmt: skip
    (note,) = foreign.describe(WORDS, labelled, TAKEN)
    assert note == (
        "words: the file has 3 speakers (Anna Maria, Bob, Carl): turns and speakers are those of the file; "
        "1 word without a speaker in the file, labelled by the turns"
    )


def test_both_are_compared_under_the_best_mapping() -> None:
    own = tuple(replace(w, speaker=s) for w, s in zip(WORDS, ("S2", "S2", "S2", "S2", "S1", "S1", None), strict=True))
    (note,) = foreign.describe(WORDS, own, LabelConfig(speakers_from="compare"))
    assert note.endswith("which are used: 60.0 % of 5 words have the same one (Anna Maria = S2, Bob = S1)")
    (note,) = foreign.describe(WORDS[6:], own[6:], LabelConfig(speakers_from="compare"))
    assert note.endswith("no word has a speaker in both")


def test_unused_speakers_are_said_with_the_option_that_takes_them() -> None:
    (note,) = foreign.describe(WORDS, WORDS, LabelConfig())
    assert "not used" in note and "--speakers-from transcript" in note and "--speakers-from compare" in note
    assert foreign.describe(WORDS[3:4], WORDS[3:4], LabelConfig()) == ()
    (note,) = foreign.describe(WORDS[3:4], WORDS[3:4], TAKEN)
    assert "has no speakers" in note


@given(
    st.lists(
        st.builds(
            lambda a, d, s: Word(a, a + d, "x", speaker=s),
            st.floats(0, 30),
            st.floats(0, 3),
            st.sampled_from([None, "", "A", "B"]),
        )
    )
)
def test_any_words_make_sorted_turns_within_the_recording(words: list[Word]) -> None:
    turns = foreign.turns_of(words, 20.0, 0.2)
    assert list(turns) == sorted(turns, key=lambda turn: (turn.start, turn.end, turn.speaker))
    assert all(0 <= turn.start < turn.end <= 20.0 for turn in turns)
    labelled = foreign.label(words, turns, TAKEN)
    speakers = {turn.speaker for turn in turns}
    assert all(word.speaker is None or word.speaker in speakers for word in labelled)
