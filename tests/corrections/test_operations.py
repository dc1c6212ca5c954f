"""Operations on a state: what each changes, what it refuses, and what holds for any list of them."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest

from diarize.corrections.operations import FIELDS, DoesNotFit, Draft, apply
from diarize.corrections.state import State
from diarize.types import Speaker, Transcript, Turn, Word


def transcript() -> Transcript:
    return Transcript(
        "meeting",
        20.0,
        "en",
        (Speaker("A"), Speaker("B", "Bea")),
        (Turn(1.0, 4.0, "A", 0.9), Turn(4.0, 8.0, "B"), Turn(9.0, 12.0, "A")),
        (
            Word(1.0, 2.0, "one", 0.9, "A"),
            Word(2.0, 3.0, "two", 0.8, "A"),
            Word(4.0, 5.0, "three", 0.7, "B"),
            Word(9.0, 10.0, "four", 0.6, "A"),
            Word(15.0, 15.5, "nobody's", 0.5),
        ),
    )


STATE = State.of(transcript())


def turns(state: State) -> list[tuple[int, int, str]]:
    return [(turn.start, turn.end, turn.speaker) for turn in state.turns]


def spoken(state: State) -> list[tuple[str, str | None]]:
    return [(word.text, word.speaker) for word in state.words]


def after(**operation: Any) -> State:
    return apply(STATE, operation, 7)


def test_ids_follow_from_times() -> None:
    assert [word.id for word in STATE.words] == ["w1000", "w2000", "w4000", "w9000", "w15000"]
    twice = State.of(Transcript("x", 2.0, words=(Word(1.0, 1.0, "a"), Word(1.0, 1.5, "b"))))
    assert [word.id for word in twice.words] == ["w1000", "w1000.2"]


def test_a_speaker_is_named_and_unnamed() -> None:
    named = after(op="name_speaker", speaker="A", name="Anna")
    assert [(s.id, s.name, s.human) for s in named.speakers] == [("A", "Anna", True), ("B", "Bea", False)]
    assert after(op="name_speaker", speaker="B", name=None).speakers[1].name is None


def test_speakers_are_merged() -> None:
    merged = after(op="merge_speakers", **{"from": "B", "into": "A"})
    assert turns(merged) == [(1000, 8000, "A"), (9000, 12000, "A")]
    assert {word.speaker for word in merged.words} == {"A", None}
    assert [speaker.id for speaker in merged.speakers] == ["A"]


def test_a_part_of_a_turn_is_another_speaker_s() -> None:
    """The middle of a turn: what is left of it on both sides stays."""
    state = after(op="assign", start=2000, end=3000, **{"from": "A", "to": "B"})
    assert turns(state) == [
        (1000, 2000, "A"),
        (2000, 3000, "B"),
        (3000, 4000, "A"),
        (4000, 8000, "B"),
        (9000, 12000, "A"),
    ]
    assert [turn.id for turn in state.turns] == ["t1000", "t@7.2", "t@7", "t4000", "t9000"]
    assert spoken(state)[:3] == [("one", "A"), ("two", "B"), ("three", "B")]
    assert state.words[1].human == ("speaker",) and state.words[1].probability == 0.8


def test_what_a_speaker_gets_is_joined_with_the_turns_it_touches() -> None:
    state = after(op="assign", start=3000, end=4000, **{"from": "A", "to": "B"})
    assert turns(state) == [(1000, 3000, "A"), (3000, 8000, "B"), (9000, 12000, "A")]


def test_a_turn_of_nobody() -> None:
    state = after(op="assign", start=1000, end=4000, **{"from": "A", "to": None})
    assert turns(state) == [(4000, 8000, "B"), (9000, 12000, "A")]
    assert spoken(state)[0] == ("one", None)


def test_a_new_turn_takes_words_of_nobody() -> None:
    state = after(op="insert_turn", start=14000, end=16000, speaker="B")
    assert (14000, 16000, "B") in turns(state)
    assert spoken(state)[-1] == ("nobody's", "B")


@pytest.mark.parametrize("words", ["keep", "delete"])
def test_a_deleted_turn(words: str) -> None:
    state = after(op="delete_turn", turn="t4000", words=words)
    assert turns(state) == [(1000, 4000, "A"), (9000, 12000, "A")]
    assert (("three", None) in spoken(state)) == (words == "keep")


def test_words() -> None:
    assert after(op="edit_word", word="w2000", text=" too ").words[1].text == "too"
    assert after(op="edit_word", word="w2000", text="too").words[1].probability is None
    assert after(op="delete_word", word="w2000").words[1].text == "three"
    added = after(op="insert_word", start=3200, end=3600, text="half", speaker="A").words[2]
    assert (added.id, added.human, added.probability) == ("w@7", ("new",), None)
    assert after(op="time_word", word="w1000", start=2500, end=2600).words[1].id == "w1000"


def test_a_group_is_all_or_nothing() -> None:
    draft = Draft(STATE)
    merge = {"op": "merge_speakers", "from": "B", "into": "A"}
    edits = [merge, {"op": "edit_word", "word": "w1000", "text": "x"}, {"op": "delete_word", "word": "w9"}]
    with pytest.raises(DoesNotFit, match="no word 'w9'"):
        draft.apply({"op": "group", "operations": edits}, 3)
    assert draft.freeze() == STATE
    assert turns(after(op="group", operations=[merge])) == [(1000, 8000, "A"), (9000, 12000, "A")]


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "name_speaker", "speaker": "C", "name": "x"},
        {"op": "name_speaker", "speaker": "B", "name": "Bea"},
        {"op": "name_speaker", "speaker": "B", "name": " "},
        {"op": "add_speaker", "speaker": "A", "name": None},
        {"op": "merge_speakers", "from": "A", "into": "A"},
        {"op": "assign", "start": 1000, "end": 2000, "from": "A", "to": "A"},
        {"op": "assign", "start": 13000, "end": 14000, "from": "A", "to": "B"},
        {"op": "assign", "start": 2000, "end": 1000, "from": "A", "to": "B"},
        {"op": "set_turn", "turn": "t1000", "start": 0, "end": 99_000},
        {"op": "set_turn", "turn": "t1000", "start": -1, "end": 2000},
        {"op": "set_turn", "turn": "t1000", "start": 1000, "end": 4000},
        {"op": "edit_word", "word": "w1000", "text": "\n"},
        {"op": "edit_word", "word": "w1000"},
        {"op": "edit_word", "word": "w1000", "text": "x", "more": 1},
        {"op": "edit_word", "word": 5, "text": "x"},
        {"op": "time_word", "word": "w1000", "start": True, "end": 5},
        {"op": "group", "operations": []},
        {"op": "group", "operations": [{"op": "group", "operations": []}]},
        {"op": "explode"},
        {},
        None,
        [],
    ],
    ids=str,
)
def test_what_does_not_fit_changes_nothing(operation: Any) -> None:
    draft = Draft(STATE)
    with pytest.raises(DoesNotFit):
        draft.apply(operation, 1)
    assert draft.freeze() == STATE


def random_operation(draw: random.Random, state: State) -> dict[str, Any]:
    speakers = [speaker.id for speaker in state.speakers] or ["A"]
    start = draw.randrange(0, 19_000)
    values: dict[str, Any] = {
        "speaker": draw.choice(speakers),
        "from": draw.choice([*speakers, None]),
        "to": draw.choice([*speakers, None]),
        "into": draw.choice(speakers),
        "name": draw.choice(["Anna", "Bea", None]),
        "start": start,
        "end": start + draw.randrange(0, 5000),
        "turn": draw.choice([turn.id for turn in state.turns] or ["t0"]),
        "word": draw.choice([word.id for word in state.words] or ["w0"]),
        "words": draw.choice(["keep", "delete"]),
        "text": draw.choice(["a", "b", ""]),
        "checked": draw.random() < 0.5,
    }
    name = draw.choice([name for name in FIELDS if name != "group"])
    operation = {"op": name, **{key: values[key] for key in FIELDS[name]}}
    if name == "add_speaker":
        operation["speaker"] = f"N{draw.randrange(99)}"
    if name == "merge_speakers" and operation["from"] is None:
        operation["from"] = speakers[0]
    return operation


@pytest.mark.parametrize("seed", range(60))
def test_any_list_of_operations_leaves_a_whole_state(seed: int) -> None:
    """Turns of one speaker do not touch, everybody is listed, ids are unique, and refused operations change nothing."""
    draw = random.Random(seed)
    state, fitted = STATE, 0
    for number in range(1, 60):
        operation = random_operation(draw, state)
        try:
            changed = apply(state, operation, number)
        except DoesNotFit:
            continue
        fitted += 1
        assert changed != state
        state = changed
        known = {speaker.id for speaker in state.speakers}
        assert {turn.speaker for turn in state.turns} | {w.speaker for w in state.words} - {None} <= known
        assert len({turn.id for turn in state.turns}) == len(state.turns)
        assert len({word.id for word in state.words}) == len(state.words)
        assert all(0 <= turn.start < turn.end <= state.duration for turn in state.turns)
        for speaker in known:
            own = [turn for turn in state.turns if turn.speaker == speaker]
            assert all(a.end < b.start for a, b in pairwise(own)), (operation, own)
        assert State.from_dict(state.as_dict()) == state
    assert fitted > 10
