"""Where a look is worth its time."""

from __future__ import annotations

from dataclasses import replace

from diarize.corrections.clearest import clearest, speaking_time
from diarize.corrections.doubts import Doubt, certain_share, find_doubts
from diarize.corrections.state import EditedSpeaker, EditedTurn, EditedWord, State


def turn(start: int, end: int, speaker: str = "A", confidence: float | None = 1.0, **more: bool) -> EditedTurn:
    return EditedTurn(f"t{start}", start, end, speaker, confidence=confidence, **more)


def state(*turns: EditedTurn, words: tuple[EditedWord, ...] = ()) -> State:
    speakers = tuple(EditedSpeaker(id) for id in sorted({each.speaker for each in turns}))
    return State(60_000, speakers, turns, words)


def word(start: int, probability: float | None, speaker: str = "A", human: tuple[str, ...] = ()) -> EditedWord:
    return EditedWord(f"w{start}", start, start + 100, "x", speaker, probability, human)


def test_a_turn_is_worth_what_is_probably_wrong_of_it() -> None:
    doubts = find_doubts(state(turn(0, 10_000, confidence=0.8), turn(20_000, 21_000, "B", 0.4), turn(30_000, 31_000)))
    assert [(d.kind, d.turn, d.worth) for d in doubts] == [("speaker", "t0", 2.0), ("speaker", "t20000", 0.6)]


def test_what_a_person_decided_and_what_has_no_confidence_is_not_in_doubt() -> None:
    turns = (turn(0, 9000, confidence=0.1, human=True), turn(10_000, 19_000, confidence=0.1, checked=True))
    words = (word(0, 0.1, human=("text",)), word(5000, None))
    assert find_doubts(state(*turns, turn(20_000, 29_000, confidence=None), words=words)) == ()


def test_overlap_counts_half_unless_all_of_it_was_checked() -> None:
    both = (turn(0, 5000), turn(3000, 9000, "B"))
    assert find_doubts(state(*both)) == (Doubt(3000, 5000, "overlap", 1.0, "2 speakers at once"),)
    assert find_doubts(state(*(replace(each, checked=True) for each in both))) == ()
    assert find_doubts(state(turn(0, 5000), turn(4900, 9000, "B"))) == ()  # within the accuracy of boundaries
    assert find_doubts(state(turn(0, 5000), turn(3000, 9000))) == ()


def test_doubtful_words_in_a_row_are_one_look() -> None:
    words = (word(0, 0.4), word(100, 0.9), word(200, 0.2), word(5000, 0.3), word(5100, 0.3, "B"), word(9000, 0.5))
    doubts = find_doubts(state(turn(0, 9000), words=words))
    assert [(d.start, d.end, d.word, d.worth) for d in doubts] == [
        (0, 300, "w0", 0.35),  # (0.6 + 0.8) * 0.25 s
        (5000, 5100, "w5000", 0.175),
        (5100, 5200, "w5100", 0.175),
    ]


def test_another_system_is_compared_by_shared_time_and_not_by_names() -> None:
    ours = state(turn(0, 10_000), turn(10_000, 20_000, "B"), turn(30_000, 31_000, "B"))
    theirs = state(turn(0, 10_000, "S2"), turn(10_000, 16_000, "S1"), turn(16_000, 20_000, "S2"))
    doubts = find_doubts(ours, theirs)
    assert [(d.start, d.end, d.kind, d.worth) for d in doubts] == [
        (16_000, 20_000, "systems", 2.0),
        (30_000, 31_000, "systems", 0.5),
    ]
    assert "here B, in the other result A" in doubts[0].reason and "nobody" in doubts[1].reason
    assert find_doubts(ours, ours) == ()
    assert find_doubts(replace(ours, turns=tuple(replace(each, human=True) for each in ours.turns)), theirs) == ()


def test_a_recording_without_speech_has_no_doubts() -> None:
    assert find_doubts(state()) == () and find_doubts(state(), state()) == ()
    (doubt,) = find_doubts(state(), state(turn(0, 5000)))
    assert (doubt.start, doubt.end, doubt.reason) == (0, 5000, "here nobody, in the other result another speaker")


def test_the_share_that_is_certain() -> None:
    known = state(turn(0, 8000), turn(10_000, 12_000, "B", 0.5), words=(word(0, 0.1),))
    assert certain_share(known, find_doubts(known)) == 0.79  # of 10 s, a turn of 2 s and a word of 0.1 s
    assert certain_share(state(), ()) == 1.0


def test_the_clearest_speech_is_alone_sure_and_about_ten_seconds() -> None:
    turns = (
        turn(0, 9000, confidence=0.5),
        turn(10_000, 18_000),
        turn(15_000, 16_000, "B"),
        turn(20_000, 23_000, confidence=0.9),
        turn(30_000, 34_000, confidence=0.1, checked=True),
    )
    spans = clearest(state(*turns), "A")
    assert spans == ((10_000, 14_900), (20_000, 21_100), (30_000, 34_000))


def test_who_is_never_alone_is_heard_in_their_longest_turn() -> None:
    crowd = state(turn(0, 4000), turn(0, 4000, "B"), turn(5000, 6000, "C"))
    assert clearest(crowd, "B") == ((0, 4000),)
    assert clearest(crowd, "D") == ()


def test_speaking_time_counts_a_speakers_own_overlap_once() -> None:
    assert speaking_time(state(turn(0, 4000), turn(2000, 5000), turn(1000, 2000, "B"))) == {"A": 5000, "B": 1000}
